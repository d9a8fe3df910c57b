"""What it costs in bits to code images with a stored model."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rayfe.records.stored import column


@dataclass(frozen=True, kw_only=True, slots=True)
class CodecRecord:
    """One model whose codes were measured: codec/<trajectory>-<step>.json. Means over its validation images; bits count all of a stream."""

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
    seconds: float = column("seconds that coding and decoding took")

    @property
    def R_bits(self) -> float:
        return self.R / math.log(2.0)

    @property
    def most_z_bits(self) -> float:
        """R / ln 2 + log2(R / ln 2 + 1) + 5, which a code of z should not pass (Li and El Gamal 2018 have 4)."""
        return self.R_bits + math.log2(self.R_bits + 1.0) + 5.0

    @property
    def RD_bits(self) -> float | None:
        """(R + D) / ln 2 with D in nats; None: no code without loss was made."""
        return None if self.D_nats is None else (self.R + self.D_nats) / math.log(2.0)
