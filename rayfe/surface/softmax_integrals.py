"""Classification loss of a linear classifier on Gaussian z, by Gauss-Hermite quadrature over K - 1 contrasts.

Logits are t_k = B_k z + c_k, the last class's are 0. Of a mean m of z they are Gaussian with mean U x + c and covariance
L L', in K - 1 dimensions. C = E[log(1 + sum_j exp t_j)] - E[t_y] (4), and the last term is linear.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True)
class Contrasts:
    """A linear classifier of noisy x: `U` (K - 1, d), `L` (K - 1, K - 1) the factor of the noise, `c` (K - 1,)."""

    U: np.ndarray
    L: np.ndarray
    c: np.ndarray


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """C in nats and its gradient in U, L and c."""

    value: float
    gradient: Contrasts


@dataclass(frozen=True, kw_only=True, slots=True)
class Nodes:
    """Nodes (Q, K - 1) and weights (Q,) of the standard normal distribution."""

    at: np.ndarray
    weight: np.ndarray

    @staticmethod
    def grid(count: int, dimensions: int) -> Nodes:
        """`count` Gauss-Hermite nodes in each of the dimensions."""
        at, weight = np.polynomial.hermite_e.hermegauss(count)
        weight = weight / weight.sum()
        grids = np.meshgrid(*[at] * dimensions, indexing="ij")
        weights = np.meshgrid(*[weight] * dimensions, indexing="ij")
        return Nodes(at=np.stack([grid.ravel() for grid in grids], -1), weight=np.prod([w.ravel() for w in weights], 0))


@dataclass(frozen=True, kw_only=True, slots=True)
class GaussianClasses:
    """Classes as Gaussians: probabilities (K,), means (K, d) and covariances (K, d, d)."""

    probability: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    @property
    def count(self) -> int:
        return len(self.probability)

    @property
    def within(self) -> np.ndarray:
        """Mean covariance within the classes, (d, d)."""
        return np.einsum("k,kij->ij", self.probability, self.covariance)

    @property
    def entropy(self) -> float:
        """H(y), nats."""
        return -float(self.probability @ np.log(self.probability))


def gaussian_loss(classes: GaussianClasses, at: Contrasts, nodes: Nodes) -> Loss:
    """C of a population whose classes are Gaussian: K integrals."""
    total, U_bar, L_bar, c_bar = 0.0, np.zeros_like(at.U), np.zeros_like(at.L), np.zeros_like(at.c)
    for probability, mean, covariance in zip(classes.probability, classes.mean, classes.covariance, strict=True):
        spread = at.U @ covariance
        root = np.linalg.cholesky(spread @ at.U.T + at.L @ at.L.T)
        value, slope = _softplus((at.U @ mean + at.c)[:, None] + root @ nodes.at.T)
        total += probability * float(nodes.weight @ value)
        slope *= probability * nodes.weight
        Q_bar = _through_cholesky(root, slope @ nodes.at)
        U_bar += 2.0 * Q_bar @ spread + np.outer(slope.sum(1), mean)
        L_bar += 2.0 * Q_bar @ at.L
        c_bar += slope.sum(1)
    return _without_labels_mean(classes, at, total, Contrasts(U=U_bar, L=L_bar, c=c_bar))


def sample_loss(x: np.ndarray, classes: GaussianClasses, at: Contrasts, nodes: Nodes, *, chunk: int = 500) -> Loss:
    """C of a sample, the mean over its N examples x (N, d) of an integral each; `classes` has their shares and means.

    Chunks fit into a processor's cache.
    """
    noise = at.L @ nodes.at.T
    total, U_bar, by_node = 0.0, np.zeros_like(at.U), np.zeros_like(noise)
    for begin in range(0, len(x), chunk):
        part = x[begin : begin + chunk]
        value, slope = _softplus((at.U @ part.T + at.c[:, None])[:, :, None] + noise[:, None])
        total += float((value @ nodes.weight).sum())
        by_node += slope.sum(1)
        U_bar += (slope @ nodes.weight) @ part
    slope = by_node * nodes.weight / len(x)
    gradient = Contrasts(U=U_bar / len(x), L=slope @ nodes.at, c=slope.sum(1))
    return _without_labels_mean(classes, at, total / len(x), gradient)


def _softplus(t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """log(1 + sum_j exp t_j) and its gradient, the probabilities of the classes but the last; t (K - 1, ...), overwritten."""
    top = np.maximum(t.max(0), 0.0)
    t -= top
    np.exp(t, out=t)
    total = t.sum(0)
    total += np.exp(-top)
    t /= total
    return top + np.log(total), t


def _without_labels_mean(classes: GaussianClasses, at: Contrasts, total: float, gradient: Contrasts) -> Loss:
    """Take E[t_y] away, which needs the means of the classes only."""
    share, mean = classes.probability[:-1], classes.mean[:-1]
    labelled = share @ (np.einsum("kd,kd->k", at.U, mean) + at.c)
    less = Contrasts(U=gradient.U - share[:, None] * mean, L=gradient.L, c=gradient.c - share)
    return Loss(value=total - float(labelled), gradient=less)


def _through_cholesky(root: np.ndarray, root_bar: np.ndarray) -> np.ndarray:
    """Gradient in a symmetric matrix from that in its Cholesky factor."""
    inner = np.tril(root.T @ root_bar)
    inner[np.diag_indices_from(inner)] *= 0.5
    inverse = np.linalg.inv(root)
    found = inverse.T @ inner @ inverse
    return 0.5 * (found + found.T)
