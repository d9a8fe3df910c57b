"""Data whose equilibrium surface is known: Gaussian classes with one common covariance, the same examples everywhere.

The eigenvalues of the covariance fall over three decades. The means of the classes differ in two directions of small variance,
which a model that only reconstructs takes up late: labels and reconstruction compete for dimensions of z.
"""

from __future__ import annotations

import numpy as np

from rayfe.config import DataConfig
from rayfe.data.examples import Dataset, Examples

SEED = 2002_12406
FEATURES = 32
CLASSES = 3
TRAIN, VALIDATION = 24_000, 6_000
DECADES = 3.0
LABELLED = (22, 24)
"""Numbers of the eigenvectors in which the means differ, the largest eigenvalue being 0."""
DISTANCE = 2.5
"""Of each mean from the centre, in standard deviations."""


def gaussian(config: DataConfig) -> Dataset:
    """Examples (N, 32), float32 and not confined to [0, 1]; as many of each class, in random order."""
    rng = np.random.default_rng(SEED)
    axes, _ = np.linalg.qr(rng.standard_normal((FEATURES, FEATURES)))
    deviation = 10.0 ** (-0.5 * DECADES * np.arange(FEATURES) / (FEATURES - 1))
    angles = 2.0 * np.pi * np.arange(CLASSES) / CLASSES
    mean = np.zeros((CLASSES, FEATURES))
    mean[:, LABELLED] = DISTANCE * np.stack([np.cos(angles), np.sin(angles)], -1)

    def split(count: int) -> Examples:
        y = rng.permutation(np.arange(count) % CLASSES)
        x = ((mean[y] + rng.standard_normal((count, FEATURES))) * deviation) @ axes.T
        return Examples(x=x.astype(np.float32), y=y.astype(np.int64))

    return Dataset(
        name=config.name,
        train=split(TRAIN),
        validation=split(VALIDATION),
        class_names=tuple(str(label) for label in range(CLASSES)),
    )
