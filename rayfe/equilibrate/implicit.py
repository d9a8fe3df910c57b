"""Exact derivatives at a trained model: Hessian-vector products and MINRES (Lemma 5, (17), (18), (21))."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, minres
from torch import Tensor, nn

from rayfe.data.device import DeviceExamples, DevicePath
from rayfe.equilibrate.statistics import WeightedStatistics
from rayfe.model.objective import Noise, Objective, draw_noise
from rayfe.records import Held, Point, Weights

PRODUCT_COST = 2.5
"""Training examples that a Hessian-vector product over one example counts as (measured: 2.3 to 2.7 on two cores)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Half:
    """One of the independent parts of a fixed batch: examples, their noise and their probabilities (sum 1)."""

    examples: DeviceExamples
    noise: Noise
    weights: Tensor


def draw_parts(
    path: DevicePath,
    t: float,
    n: int,
    *,
    count: int,
    latent: int,
    decoder_draws: int,
    order: torch.Generator,
    noise: torch.Generator,
) -> Iterator[Half]:
    """`count` random parts of p(x, t) with n examples each, disjoint within an epoch, each with its own draws of z."""
    for part in path.batches(t, n, updates=count, rng=order):
        dtype, device = part.x.dtype, part.x.device
        yield Half(
            examples=part,
            noise=draw_noise(noise, n=n, latent=latent, decoder_draws=decoder_draws, head_draws=8, dtype=dtype),
            weights=torch.full((n,), 1.0 / n, dtype=dtype, device=device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """x of (A + damping) x = b, for A = Hess_theta J."""

    x: np.ndarray
    residual: float
    """|b - (A + damping) x| / |b|."""


class Curvature:
    """J = R + lam D + gamma C on a fixed batch with fixed noise, as a function of the weights of `model`.

    Batch-norm normalises by the statistics of each half, through which derivatives go: with frozen statistics J has
    another gradient and thus another equilibrium. Dropout is off. A may be indefinite, hence MINRES, not CG.
    """

    def __init__(self, model: nn.Module, halves: Sequence[Half], point: Point, *, damping: float) -> None:
        self._model, self._halves, self._damping = model.eval(), tuple(halves), damping
        self._objective = Objective(model)
        self._J = Held(R=1.0, D=point.lam, C=point.gamma)
        self._parameters = dict(model.named_parameters())
        self.products = 0

    @property
    def examples(self) -> int:
        return sum(len(half.examples) for half in self._halves)

    def gradients(self, held: Held | None = None) -> tuple[np.ndarray, ...]:
        """Gradients of `held` (None: of J) over the weights, from each half."""
        return tuple(self._flat(self._gradient(half, held or self._J, create_graph=False)) for half in self._halves)

    def solve(self, b: np.ndarray, *, iterations: int, accuracy: float) -> Solution:
        """MINRES from zero; ends at the accuracy (of the residual, relative to b) or after so many products."""
        n = len(b)
        operator = LinearOperator((n, n), matvec=self.product, dtype=np.float64)
        x, _ = minres(operator, b, rtol=accuracy, maxiter=iterations)
        size = float(np.linalg.norm(b))
        return Solution(x=x, residual=float(np.linalg.norm(b - self.product(x))) / size if size else 0.0)

    def product(self, vector: np.ndarray) -> np.ndarray:
        """(A + damping) vector, A averaged over the halves; by differentiating gradient . vector (Pearlmutter)."""
        self.products += 1
        parts = self._split(vector)
        total = self._damping * np.asarray(vector, dtype=np.float64)
        for half in self._halves:
            gradient = self._gradient(half, self._J, create_graph=True)
            inner = torch.stack([(g * part).sum() for g, part in zip(gradient, parts, strict=True)]).sum()
            product = torch.autograd.grad(inner, list(self._parameters.values()), materialize_grads=True)
            total = total + self._flat(product) / len(self._halves)
        return total

    def tangent(self, x: np.ndarray) -> Weights:
        """A vector over the parameters as weights; buffers, which are recomputed before every reading, stay."""
        parts = dict(zip(self._parameters, self._split(x), strict=True))
        state = {name: value for name, value in self._model.state_dict().items() if value.is_floating_point()}
        return {name: parts.get(name, torch.zeros_like(value)).cpu().numpy().copy() for name, value in state.items()}

    def _gradient(self, half: Half, held: Held, *, create_graph: bool) -> tuple[Tensor, ...]:
        with WeightedStatistics(self._model) as statistics:
            statistics.weights = half.weights
            R, D, C, _ = self._objective(half.examples.x, half.examples.y, half.noise)
            value = (half.weights * (held.R * R + held.D * D + held.C * C)).sum()
        parameters = list(self._parameters.values())
        return torch.autograd.grad(value, parameters, create_graph=create_graph, materialize_grads=True)

    def _flat(self, tensors: Sequence[Tensor]) -> np.ndarray:
        return torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).double().cpu().numpy()

    def _split(self, vector: np.ndarray) -> list[Tensor]:
        parameters = list(self._parameters.values())
        whole = torch.from_numpy(np.asarray(vector)).to(parameters[0])
        sizes = [parameter.numel() for parameter in parameters]
        return [part.view_as(parameter) for part, parameter in zip(whole.split(sizes), parameters, strict=True)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Derivatives:
    """Hess F, tangents and the distance from equilibrium at one model. Errors are half-differences of the halves."""

    hessian: np.ndarray
    """[[D_lam, D_gamma], [C_lam, C_gamma]] (21)."""
    hessian_se: np.ndarray
    theta_lam: Weights
    theta_gamma: Weights
    decrement: float
    """1/2 g1' (A + damping)^-1 g2 of independent halves: how far F is above the equilibrium nearby, nats; noise cancels."""
    C_lag: float
    """By how much C would change on the way there."""
    residual: float
    """The largest relative residual of the solves."""


def derivatives(curvature: Curvature, *, iterations: int, accuracy: float) -> Derivatives:
    """theta_lam = -A^-1 grad D, theta_gamma = -A^-1 grad C (18), and what follows from them (21)."""
    D, C, J = (curvature.gradients(held) for held in (Held(D=1.0), Held(C=1.0), None))
    means = [0.5 * (one + other) for one, other in (D, C)]
    v, w = (curvature.solve(b, iterations=iterations, accuracy=accuracy) for b in means)
    back = curvature.solve(J[1], iterations=iterations, accuracy=accuracy)
    entries = np.array([[-(one @ solved.x) for solved in (v, w)] for one in means])
    halves = np.array([[[-(half @ solved.x) for solved in (v, w)] for half in pair] for pair in (D, C)])
    return Derivatives(
        hessian=entries,
        hessian_se=0.5 * np.abs(halves[:, 0] - halves[:, 1]),
        theta_lam=curvature.tangent(-v.x),
        theta_gamma=curvature.tangent(-w.x),
        decrement=0.5 * float(J[0] @ back.x),
        C_lag=-float(means[1] @ back.x),
        residual=max(v.residual, w.residual, back.residual),
    )
