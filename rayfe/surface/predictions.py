"""Models as points in the space of predictions: Fisher-Rao lengths, and a map by intensive PCA (Mao et al. 2024).

Predictions are class probabilities, (..., N, K) for N examples and K classes. A model is the product over the examples of its
predictions; distances are averaged over them, so that they do not depend on N.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SMALLEST = float(np.finfo(float).tiny)
"""Below it an overlap of two predictions is not told from none."""
CHUNK = 2**22
"""Numbers that are held at once while overlaps are summed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Map:
    """Points whose distances are those of models, where some axes count negatively."""

    points: np.ndarray
    """(models, axes), by falling size of the axes' eigenvalues."""
    eigenvalues: np.ndarray
    """(models,), by falling size; the squared length along an axis counts with the sign of its eigenvalue."""

    @property
    def shares(self) -> np.ndarray:
        """(axes,): |eigenvalue| of each axis shown, as a part of the sum over all."""
        size = np.abs(self.eigenvalues)
        return size[: self.points.shape[1]] / max(float(size.sum()), SMALLEST)


def fisher_rao(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Geodesic distance of predictions (..., N, K) under Fisher's metric, radians, (...): of one example
    2 arccos(sum_y sqrt(p_y q_y)), at most pi; root mean square over examples. Broadcasts.

    It is computed as 4 arcsin of half the chord, which keeps its digits where p is near q.
    """
    chord = np.linalg.norm(np.sqrt(p) - np.sqrt(q), axis=-1)
    return np.sqrt(np.mean((4.0 * np.arcsin(0.5 * chord)) ** 2, axis=-1))


def length(way: np.ndarray) -> float:
    """Sum of the distances of models that follow one another, (models, N, K), radians; 0 of one model."""
    return float(fisher_rao(way[:-1], way[1:]).sum()) if len(way) > 1 else 0.0


def bhattacharyya(models: np.ndarray) -> np.ndarray:
    """Divergence of each two of the models (models, N, K), nats: -log sum_y sqrt(p_y q_y), mean over examples; (models, models).

    An example on which two models share no class counts as 708 nats.
    """
    root = np.sqrt(np.asarray(models, float)).transpose(1, 0, 2)
    count, total = len(models), np.zeros((len(models), len(models)))
    size = max(1, CHUNK // count**2)
    for begin in range(0, len(root), size):
        part = root[begin : begin + size]
        overlap = np.clip(part @ part.transpose(0, 2, 1), SMALLEST, 1.0)
        total -= np.log(overlap).sum(axis=0)
    np.fill_diagonal(total, 0.0)
    return total / len(root)


def intensive_pca(divergences: np.ndarray, axes: int = 2) -> Map:
    """Points (models, axes) of a symmetric matrix of divergences, which are taken for squared distances.

    The eigenvectors of -1/2 L B L, L the projection that takes means away, each times sqrt(|eigenvalue|). B is no matrix of squared
    Euclidean distances, so eigenvalues may be negative; with all axes and these signs the distances are those of B.
    The direction of an axis is by convention: its largest coordinate is positive.
    """
    centred = divergences - divergences.mean(axis=0)
    centred = centred - centred.mean(axis=1, keepdims=True)
    values, vectors = np.linalg.eigh(-0.25 * (centred + centred.T))
    order = np.argsort(-np.abs(values), kind="stable")
    values, vectors = values[order], vectors[:, order[:axes]]
    points = vectors * np.sqrt(np.abs(values[:axes]))
    largest = points[np.abs(points).argmax(axis=0), np.arange(points.shape[1])]
    return Map(points=points * np.where(largest < 0.0, -1.0, 1.0), eigenvalues=values)
