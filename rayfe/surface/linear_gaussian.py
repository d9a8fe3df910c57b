"""The exact surface of linear models: F(lam, gamma) of a sample, minimised over the whole family.

The family: z = W x + b + noise of constant diagonal variance, a linear decoder, a linear classifier. Means are free, and
each dimension of z has a scale of its own, so x is centred and whitened and the noise is standard normal. F does not change
when z is turned, and R is smallest where its dimensions have no correlation. With M the encoder of whitened x and S its
covariance before whitening, in eigenvectors,

    R = 1/2 log det(1 + M M'),   D = tr(S P),  P = (1 + M' M)^-1,   C = loss of U = L M_1..K-1, L, c.

The decoder is a regression and gone; the classifier looks at the first K - 1 dimensions of z only.

With a learnt mixture as marginal, a Gaussian a class, m of the lowest R has the moments of z within the classes. With T the
covariance within classes of whitened x, the same for all of them, a turn of z makes it diagonal, and as -log m(z) is
-log p(y) - log m(z|y) + log p(y|z) for every y,

    R = 1/2 log det(1 + M T M') + H(y) - E[-log p(y|z)],

whose last term is the C of the mixture's own, linear classifier: what z says of the class costs R what it is worth in C.
So F is H(y) plus the F of multipliers lam and gamma - 1 with T in the place of 1, for gamma above 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from rayfe.surface.softmax_integrals import Contrasts, GaussianClasses, Loss, Nodes, gaussian_loss, sample_loss

CORRECTIONS = 10
"""Most corrections of Gaussian classes by the sample."""
STILL = 1e-9
"""Nats that a further correction may win."""
NODES = 16
"""Gauss-Hermite nodes in each contrast: more of them change F by less than 1e-7 nats (tests)."""
SMALL = 0.1
"""Signal of a dimension of z that has none at first: at none at all it would be a saddle."""
CLOSE = 0.01
"""Half the distance in log gamma over which the slope of C is taken."""
SAME = 1e-6
"""Part of C within which a point of the surface has the wanted one."""
NEWTON = 30
"""Most steps to a wanted C."""
GAMMAS = 1e3
"""Factor by which gamma of a wanted C may differ from the guess."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoder:
    """A member of the family: `M` (latent, d) of whitened x, the classifier's `L` (K - 1, K - 1) and `c` (K - 1,).

    L is lower triangular, which a turn of z can always bring about: quadrature is not quite the same for every turn.
    """

    M: np.ndarray
    L: np.ndarray
    c: np.ndarray

    @property
    def contrasts(self) -> Contrasts:
        """What the classifier sees."""
        return Contrasts(U=self.L @ self.M[: len(self.c)], L=self.L, c=self.c)

    @property
    def flat(self) -> np.ndarray:
        """All its numbers in one row."""
        return np.concatenate([self.M.ravel(), self.L.ravel(), self.c])

    def like(self, flat: np.ndarray) -> Encoder:
        """The member with these numbers."""
        M, L, c = np.split(flat, np.cumsum([self.M.size, self.L.size]))
        return Encoder(M=M.reshape(self.M.shape), L=L.reshape(self.L.shape), c=c)


@dataclass(frozen=True, kw_only=True, slots=True)
class Equilibrium:
    """A minimum of F: R, C and F in nats, D in squared units of x summed over features."""

    R: float
    D: float
    C: float
    F: float
    rates: np.ndarray
    """Nats of each dimension of z, turned so that they have no correlation; the largest first, (latent,). With a mixture those that
    say nothing of the class."""
    slope: float
    """Largest entry of the gradient of F that is left, nats per unit of M, L or c."""
    model: Encoder


class LinearGaussian:
    """F of the examples x (N, d) with labels y (N,) in 0..K-1, for z of `latent` dimensions, at least K - 1.

    Nothing is random: equal arguments give equal numbers.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, *, latent: int, nodes: int = NODES, mixture: bool = False) -> None:
        """`mixture`: the marginal is a learnt mixture of Gaussians, a class each; otherwise N(0, I)."""
        x = np.asarray(x, np.float64)
        centred = x - x.mean(0)
        spectrum, axes = np.linalg.eigh(np.einsum("ni,nj->ij", centred, centred) / len(x))
        self.spectrum: np.ndarray = spectrum[::-1]
        """Eigenvalues of the total covariance, falling, (d,)."""
        self.latent = latent
        self._x = np.ascontiguousarray(centred @ (axes[:, ::-1] / np.sqrt(self.spectrum)))
        self.classes = classes_of(self._x, y)
        """The classes of whitened x."""
        self._nodes = Nodes.grid(nodes, self.classes.count - 1)
        self._rated = self.classes.within if mixture else np.eye(len(spectrum))
        """Covariance of whitened x that R pays for."""
        self._paid = 1.0 if mixture else 0.0
        """Part of H(y) - C that it pays for besides."""

    def contains(self, gamma: float) -> bool:
        """Whether the minimum at this gamma is known."""
        return gamma > self._paid

    def at(self, lam: float, gamma: float, *, start: Encoder | None = None) -> Equilibrium:
        """The minimum for this sample, at positive lam and gamma.

        Gaussian classes with the sample's moments cost a thousandth of it and are nearly right. Their minimum is corrected
        by what the sample's loss and gradient differ from theirs, to first order, until F is still. A sample that is too far
        from Gaussian classes for that is minimised itself, from where it was lowest.

        Raises:
            ValueError: with a mixture, gamma is not above 1.
        """
        if not self.contains(gamma):
            raise ValueError(f"gamma = {gamma:g}: with a mixture as marginal the surface is known above 1")
        model, F = self._minimum(start or self.start(lam), lam, gamma, _nothing), [math.inf]
        for _ in range(CORRECTIONS):
            loss = self.sample_loss(model)
            found = self._equilibrium(model, lam, gamma, loss)
            if found.F > F[-1] + STILL:
                break
            F.append(found.F)
            if len(F) > 3 and (F[-2] - F[-1]) ** 2 <= STILL * max(F[-3] - F[-2], STILL):  # what the next one would win
                return found
            lowest = model
            model = self._minimum(self._seeded(model), lam, gamma, self._correction(model, loss))
        model = self._lowest(self._seeded(lowest), lam, gamma, self.sample_loss)
        return self._equilibrium(model, lam, gamma, self.sample_loss(model))

    def of_classes(self, lam: float, gamma: float, *, start: Encoder | None = None) -> Equilibrium:
        """The minimum for a population of Gaussian classes with this sample's moments."""
        model = self._minimum(start or self.start(lam), lam, gamma, _nothing)
        return self._equilibrium(model, lam, gamma, self.class_loss(model))

    def at_loss(self, lam: float, C: float, *, near: float) -> tuple[float, Equilibrium]:
        """gamma, looked for from `near`, at which this sample's loss is `C`, and the minimum there (31).

        Newton's method in log gamma with the slope that Gaussian classes have.

        Raises:
            ValueError: there is no such gamma within a factor of GAMMAS.
        """
        log_gamma = math.log(near)
        for _ in range(NEWTON):
            found = self.at(lam, math.exp(log_gamma))
            if abs(found.C - C) <= SAME * C:
                return math.exp(log_gamma), found
            up, down = (self.of_classes(lam, math.exp(log_gamma + step)).C for step in (CLOSE, -CLOSE))
            log_gamma += min(max((C - found.C) * 2.0 * CLOSE / min(up - down, -SAME), -1.0), 1.0)
            if abs(log_gamma - math.log(near)) > math.log(GAMMAS):
                break
        raise ValueError(f"C = {C:g} is not on the surface at lam = {lam:g}")

    def start(self, lam: float) -> Encoder:
        """The closed form without labels, besides which the first K - 1 dimensions look at the means of the classes."""
        contrasts = self.classes.count - 1
        _, _, axes = np.linalg.svd(self.classes.mean - self.classes.probability @ self.classes.mean)
        signal = np.sqrt(np.maximum(2.0 * lam * self.spectrum - 1.0, SMALL**2))
        rows = np.array([*axes[:contrasts], *(np.diag(signal)[: self.latent - contrasts])])
        idle = np.zeros((self.latent - len(rows), rows.shape[1]))  # more dimensions of z than directions
        return Encoder(M=np.concatenate([rows, idle]), L=np.eye(contrasts), c=np.zeros(contrasts))

    def _seeded(self, model: Encoder) -> Encoder:
        """The model with a SMALL signal, of the largest variance that is left, in each dimension of z that has less."""
        left, signal, right = np.linalg.svd(model.M, full_matrices=False)
        weak = signal < SMALL
        others = np.eye(len(self.spectrum)) - right[~weak].T @ right[~weak]
        largest = np.linalg.eigh((others * self.spectrum) @ others)[1][:, ::-1][:, : weak.sum()]
        M = (left[:, ~weak] * signal[~weak]) @ right[~weak] + SMALL * left[:, weak] @ largest.T
        return Encoder(M=M, L=model.L, c=model.c)

    # --- F and its gradient -------------------------------------------------------------------------------------------

    def sample_loss(self, model: Encoder) -> Loss:
        """C over the examples."""
        return sample_loss(self._x, self.classes, model.contrasts, self._nodes)

    def class_loss(self, model: Encoder) -> Loss:
        """C over Gaussian classes."""
        return gaussian_loss(self.classes, model.contrasts, self._nodes)

    def rate_and_distortion(self, model: Encoder) -> tuple[float, float, np.ndarray, np.ndarray]:
        """R but for what the mixture pays for classes, D, and their gradients in M."""
        M, rated = model.M, model.M @ self._rated
        inner = np.eye(self.latent) + rated @ M.T
        R = 0.5 * float(np.linalg.slogdet(inner)[1])
        left = np.linalg.inv(np.eye(len(self.spectrum)) + M.T @ M)
        D = float(self.spectrum @ np.diag(left))
        return R, D, np.linalg.solve(inner, rated), -2.0 * M @ (left * self.spectrum) @ left

    def free_energy(self, model: Encoder, lam: float, gamma: float, loss: Loss) -> tuple[float, np.ndarray]:
        """R + lam D + gamma C and its gradient, as `Encoder.flat`."""
        R, D, R_bar, D_bar = self.rate_and_distortion(model)
        R, gamma = R + self._paid * self.classes.entropy, gamma - self._paid
        contrasts, M = len(model.c), R_bar + lam * D_bar
        M[:contrasts] += gamma * model.L.T @ loss.gradient.U
        L = gamma * np.tril(loss.gradient.L + loss.gradient.U @ model.M[:contrasts].T)
        return R + lam * D + gamma * loss.value, Encoder(M=M, L=L, c=gamma * loss.gradient.c).flat

    def _minimum(self, start: Encoder, lam: float, gamma: float, correction: Callable[[Contrasts], Loss]) -> Encoder:
        """The minimum for Gaussian classes with a corrected loss."""
        return self._lowest(start, lam, gamma, lambda model: _sum(self.class_loss(model), correction(model.contrasts)))

    def _lowest(self, start: Encoder, lam: float, gamma: float, loss: Callable[[Encoder], Loss]) -> Encoder:
        """Where R + lam D + gamma C is lowest for this loss, by L-BFGS."""

        def F(flat: np.ndarray) -> tuple[float, np.ndarray]:
            model = start.like(flat)
            return self.free_energy(model, lam, gamma, loss(model))

        options = {"maxiter": 20_000, "maxfun": 40_000, "maxcor": 30, "ftol": 0.0, "gtol": 1e-9 * max(1.0, gamma)}
        return start.like(minimize(F, start.flat, jac=True, method="L-BFGS-B", options=options).x)

    def _correction(self, model: Encoder, sample: Loss) -> Callable[[Contrasts], Loss]:
        """The loss of a `sample` minus that of Gaussian classes to first order, in what does not change when z is turned."""
        classes = self.class_loss(model)
        at = model.contrasts
        U, c = sample.gradient.U - classes.gradient.U, sample.gradient.c - classes.gradient.c
        Q = 0.5 * np.linalg.solve(at.L.T, (sample.gradient.L - classes.gradient.L).T).T
        Q = 0.5 * (Q + Q.T)
        covariance = at.L @ at.L.T
        base = sample.value - classes.value

        def correction(now: Contrasts) -> Loss:
            moved = now.L @ now.L.T - covariance
            value = base + float(np.sum(U * (now.U - at.U)) + c @ (now.c - at.c) + np.sum(Q * moved))
            return Loss(value=value, gradient=Contrasts(U=U, L=2.0 * Q @ now.L, c=c))

        return correction

    def _equilibrium(self, model: Encoder, lam: float, gamma: float, loss: Loss) -> Equilibrium:
        R, D, _, _ = self.rate_and_distortion(model)
        F, gradient = self.free_energy(model, lam, gamma, loss)
        R += self._paid * (self.classes.entropy - loss.value)
        signal = np.linalg.eigvalsh(model.M @ self._rated @ model.M.T)[::-1]
        rates = 0.5 * np.log1p(np.maximum(signal, 0.0))
        return Equilibrium(R=R, D=D, C=loss.value, F=F, rates=rates, slope=float(np.abs(gradient).max()), model=model)


def classes_of(x: np.ndarray, y: np.ndarray) -> GaussianClasses:
    """Shares, means and covariances of the classes of a sample."""
    parts = [x[y == label] for label in range(int(y.max()) + 1)]
    mean = np.array([part.mean(0) for part in parts])
    covariance = [np.einsum("ni,nj->ij", part - m, part - m) / len(part) for part, m in zip(parts, mean, strict=True)]
    return GaussianClasses(
        probability=np.array([len(part) / len(x) for part in parts]), mean=mean, covariance=np.array(covariance)
    )


def _nothing(at: Contrasts) -> Loss:
    return Loss(value=0.0, gradient=Contrasts(U=np.zeros_like(at.U), L=np.zeros_like(at.L), c=np.zeros_like(at.c)))


def _sum(one: Loss, other: Loss) -> Loss:
    gradient = Contrasts(
        U=one.gradient.U + other.gradient.U, L=one.gradient.L + other.gradient.L, c=one.gradient.c + other.gradient.c
    )
    return Loss(value=one.value + other.value, gradient=gradient)
