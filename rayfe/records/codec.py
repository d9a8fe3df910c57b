"""What it costs in bits to code images with a stored model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rayfe.records.stored import column


@dataclass(frozen=True, kw_only=True, slots=True)
class CodecRecord:
    """One model whose codes were measured: codec/<trajectory>-<step>.json. Means over images; z_bits and x_bits count all of a stream."""

    trajectory: str = column("name of the trajectory")
    step: int = column("number of the step whose model codes")
    state_sha256: str = column("SHA-256 of its weight file, as in steps/")
    images: int = column("validation images that were coded, evenly chosen")
    latent: int = column("dimensions of z")
    R: float = column("rate of these images, nats (1)")
    z_bits: float = column("bits of an image's z by relative entropy coding")
    blocks: int = column("blocks of dimensions of z that were coded by themselves")
    boxes: float = column("boxes of the tree that the search for z looked at, an image")
    cut: int = column("images whose search was cut short, so that their z may not be exact draws")
    D: float = column("distortion of these images by usual draws of z, one each")
    coded_D: float = column("distortion by the z that was decoded")
    D_se: float = column("standard error of coded_D - D over images")
    accuracy: float | None = column("accuracy by usual draws of z, one each; null where the task is no classification")
    coded_accuracy: float | None = column("accuracy by the z that was decoded")
    z_sha256: str = column("SHA-256 of the stream of z")
    x_sha256: str | None = column("SHA-256 of the stream of images without loss", default=None)
    reconstructions_sha256: str = column("SHA-256 of the reconstructions from decoded z, float32")
    levels: int | None = column(
        "values that a pixel may have; null: it may have more than 256, and no code without loss was made"
    )
    D_nats: float | None = column(
        "- log d(x|z) over these values, each at least 2^-24, nats, of the z of the code without loss", default=None
    )
    x_bits: float | None = column("bits of an image without loss, by bits-back", default=None)
    borrowed: int | None = column(
        "bits of that stream that z of the first image was taken from, and which come back", default=None
    )
    R_base: float | None = column(
        "rate of these images relative to the Gaussian by which both codes code z, nats: R itself where m(z) is a Gaussian; null: R",
        default=None,
    )
    z_fixed: int | None = column(
        "bits of the stream of z that it has however many images it codes; null: counted in z_bits", default=None
    )
    x_fixed: int | None = column("the same of the stream without loss, `borrowed` among them", default=None)
    seconds: float = column("seconds that coding and decoding took")

    @property
    def R_bits(self) -> float:
        return self.R / math.log(2.0)

    @property
    def base_bits(self) -> float:
        """R_base / ln 2: what a code of z can cost, as it is coded here."""
        return self.R_bits if self.R_base is None else self.R_base / math.log(2.0)

    @property
    def gain_bits(self) -> float:
        """By how much R is below that: what m(z) tells of z more than the Gaussian does. Both codes do without it."""
        return self.base_bits - self.R_bits

    @property
    def most_z_bits(self) -> float:
        """R_base / ln 2 + log2(R_base / ln 2 + 1) + 5, which a code of z should not pass (Li and El Gamal 2018 have 4)."""
        return self.base_bits + math.log2(self.base_bits + 1.0) + 5.0

    @property
    def RD_bits(self) -> float | None:
        """(R + D) / ln 2 with D in nats; None: no code without loss was made."""
        return None if self.D_nats is None else (self.R + self.D_nats) / math.log(2.0)

    @property
    def own_z_bits(self) -> float:
        """z_bits without what the stream has however many images it codes."""
        return self.z_bits - (self.z_fixed or 0) / self.images

    @property
    def own_x_bits(self) -> float | None:
        """x_bits without that."""
        return None if self.x_bits is None else self.x_bits - (self.x_fixed or 0) / self.images
