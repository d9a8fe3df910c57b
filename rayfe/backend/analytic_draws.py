"""Errors that draws of z put readings of a closed-form surface off by, as those of a trained model are."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

NOISE_BLOCKS = 64
"""Blocks of (pretended) examples over which the noise of a reading is kept."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Errors of D and C of one reading, relative to their values: of each set the mean over two independent halves, per block.

    Those of a model are cos(angle) times the ones `here` plus sin(angle) times the ones `there`, so that every model has errors of the
    same size, and models at a right angle independent ones. Shapes (2, blocks): half the sum and half the difference of
    the halves (`records.Reading` has the differences).
    """

    D_here: np.ndarray
    D_there: np.ndarray
    C_here: np.ndarray
    C_there: np.ndarray

    def of(self, angle: float) -> Errors:
        """The errors of a model."""
        D, C = (
            math.cos(angle) * here + math.sin(angle) * there
            for here, there in ((self.D_here, self.D_there), (self.C_here, self.C_there))
        )
        return Errors(D=float(D[0].sum()), C=float(C[0].sum()), D_noise=D[1], C_noise=C[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Errors:
    """What the draws put D and C of a model off by, relative to their values, and the noise by which that is estimated, (blocks,)."""

    D: float = 0.0
    C: float = 0.0
    D_noise: np.ndarray
    C_noise: np.ndarray


NO_ERRORS = Errors(D_noise=np.empty(0), C_noise=np.empty(0))
"""Of readings without noise."""


def draws_of(names: tuple[object, ...], *, C_noise: float, D_noise: float, draw_sets: int, decoder_sets: int) -> Draws:
    """Draws with these names: the mean over nested sets, of each of which the errors have standard deviation `C_noise` and `D_noise`."""
    sets = np.array([_set((*names, k)) for k in range(max(draw_sets, decoder_sets))])
    D, C = D_noise * sets[:decoder_sets, 0].mean(0), C_noise * sets[:draw_sets, 1].mean(0)
    return Draws(D_here=D[0], D_there=D[1], C_here=C[0], C_there=C[1])


def _set(names: tuple[object, ...]) -> np.ndarray:
    """One set, (D or C, here or there, half the sum or half the difference of two halves, block), of errors of size 1.

    Sum and difference are independent and of the same spread: the error of a model has standard deviation 1, and so has
    what is estimated from the differences.
    """
    return named_rng(*names).standard_normal((2, 2, 2, NOISE_BLOCKS)) / math.sqrt(NOISE_BLOCKS)


def named_rng(*parts: object) -> np.random.Generator:
    """Random numbers that depend on all parts and nothing else."""
    text = "\x1f".join(map(str, parts))
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big"))
