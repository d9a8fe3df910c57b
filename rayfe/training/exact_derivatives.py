"""Exact derivatives at a trained model: Hessian-vector products and MINRES (Lemma 5, (17), (18), (21))."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, minres
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from rayfe.data.device_path import DeviceExamples, DevicePath
from rayfe.model.objective import Noise, Objective, draw_noise
from rayfe.model.posterior import Widths
from rayfe.model.weights import to_host
from rayfe.records import Held, Point, Response, Weights
from rayfe.training.batch_norm import WeightedStatistics

PRODUCT_COST = 2.5
"""Training examples that a Hessian-vector product over one example counts as (measured: 2.3 to 2.7 on two cores)."""

GRADIENTS = 6.0
"""Gradients that `derivatives` takes: of D, C and J on two batches."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Solve:
    """Linear systems with the Hessian of J over the weights, on a fixed batch."""

    examples: int = 10_000
    """Training images in each of three independent batches: of the Hessian, and of the two gradients that it is between."""
    damping: float = 0.01
    """Added to the Hessian, nats per squared unit of the weights: directions flatter than this do not respond."""
    iterations: int = 40
    """Largest number of Hessian-vector products for each of five systems."""
    accuracy: float = 1e-3
    """Relative residual at which a solve ends."""


SOLVE = Solve()


@dataclass(frozen=True, kw_only=True, slots=True)
class Half:
    """A part of a batch that is small enough to be differentiated at once: examples, their noise and probabilities (sum 1)."""

    examples: DeviceExamples
    noise: Noise
    weights: Tensor


def draw_parts(
    path: DevicePath,
    t: float,
    n: int,
    *,
    count: int,
    widths: Widths,
    decoder_draws: int,
    order: torch.Generator,
    noise: torch.Generator,
) -> Iterator[Half]:
    """`count` random parts of p(x, t) with n examples each, disjoint within an epoch, each with its own draws of z.

    Another call draws independently: its parts may have the same examples, and are a batch of their own.
    """
    for part in path.batches(t, n, updates=count, rng=order):
        dtype, device = part.x.dtype, part.x.device
        yield Half(
            examples=part,
            noise=draw_noise(noise, n=n, widths=widths, decoder_draws=decoder_draws, head_draws=8, dtype=dtype),
            weights=torch.full((n,), 1.0 / n, dtype=dtype, device=device),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Solution:
    """x of (A + damping) x = b, for A = Hess_theta J."""

    x: np.ndarray
    residual: float
    """|b - (A + damping) x| / |b|."""


class Curvature:
    """J = R + lam D + gamma C on a fixed batch with fixed noise, as a function of the weights of `model` that are not frozen.

    Batch-norm normalises by the statistics of each half, through which derivatives go: with frozen statistics J has
    another gradient and thus another equilibrium. Dropout is off. A may be indefinite, hence MINRES, not CG.
    """

    def __init__(self, model: nn.Module, halves: Sequence[Half], point: Point, *, damping: float) -> None:
        self._model, self._halves, self._damping = model.eval(), tuple(halves), damping
        self._objective = Objective(model)
        self._J = Held(R=1.0, D=point.lam, C=point.gamma)
        self._parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self.products = 0

    @property
    def examples(self) -> int:
        return sum(len(half.examples) for half in self._halves)

    def gradient(self, batch: Sequence[Half], held: Held | None = None) -> np.ndarray:
        """Gradient of `held` (None: of J) over the weights, the mean over the parts of a batch."""
        parts = [self._flat(self._gradient(half, held or self._J, create_graph=False)) for half in batch]
        return np.mean(parts, axis=0)

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
        """A vector over the trained parameters as weights; frozen ones stay, and so do buffers."""
        parts = dict(zip(self._parameters, self._split(x), strict=True))
        state = {name: value for name, value in self._model.state_dict().items() if value.is_floating_point()}
        return to_host({name: parts.get(name, torch.zeros_like(value)) for name, value in state.items()})

    def _gradient(self, half: Half, held: Held, *, create_graph: bool) -> tuple[Tensor, ...]:
        with WeightedStatistics(self._model) as statistics, twice_differentiable(self._model):
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


@contextlib.contextmanager
def twice_differentiable(model: nn.Module) -> Iterator[None]:
    """Attention and recurrent layers are computed in ways that can be differentiated twice: torch's fast ones cannot."""
    recurrent = any(isinstance(layer, nn.RNNBase) for layer in model.modules())
    with sdpa_kernel(SDPBackend.MATH), torch.backends.cudnn.flags(enabled=False) if recurrent else contextlib.nullcontext():
        yield


@dataclass(frozen=True, kw_only=True, slots=True)
class Derivatives:
    """Hess F, tangents and the distance from equilibrium at one model.

    Each is a product of two gradients with A^-1. The three are from independent draws of examples and noise, so that noise
    cancels in the mean: with the same draws for both gradients their noise would add itself, and disjoint halves of finite data
    have opposite gradients of J at equilibrium.
    """

    hessian: np.ndarray
    """[[D_lam, D_gamma], [C_lam, C_gamma]] (21)."""
    hessian_se: np.ndarray
    """Half the difference between the products of either batch with itself, in which its own noise is alike."""
    theta_lam: Weights
    theta_gamma: Weights
    decrement: float
    """1/2 g1' (A + damping)^-1 g2: how far F is above the equilibrium nearby, nats; the noise of draws may make it negative."""
    C_lag: float
    """By how much C would change on the way there: -grad C' (A + damping)^-1 g."""
    residual: float
    """The largest relative residual of the solves."""

    @property
    def response(self) -> Response:
        """Hess F as a walk takes it, with the standard errors of the row of C."""
        (D_lam, D_gamma), (C_lam, C_gamma) = self.hessian.tolist()
        C_lam_se, C_gamma_se = self.hessian_se[1].tolist()
        return Response(D_lam=D_lam, D_gamma=D_gamma, C_lam=C_lam, C_gamma=C_gamma, C_lam_se=C_lam_se, C_gamma_se=C_gamma_se)


def derivatives(
    curvature: Curvature, first: Sequence[Half], second: Sequence[Half], *, iterations: int, accuracy: float
) -> Derivatives:
    """theta_lam = -A^-1 grad D, theta_gamma = -A^-1 grad C (18), and what follows from them (21).

    Gradients are of the batches `first` and `second`, A of the batch of `curvature`: three independent draws.
    """
    batches = (first, second)
    D, C, J = ([curvature.gradient(batch, held) for batch in batches] for held in (Held(D=1.0), Held(C=1.0), None))
    v, w = ([curvature.solve(b, iterations=iterations, accuracy=accuracy) for b in pair] for pair in (D, C))
    back = curvature.solve(J[1], iterations=iterations, accuracy=accuracy)
    crossed = [[-0.5 * (a[0] @ x[1].x + a[1] @ x[0].x) for x in (v, w)] for a in (D, C)]
    alike = [[a[0] @ x[0].x - a[1] @ x[1].x for x in (v, w)] for a in (D, C)]
    return Derivatives(
        hessian=np.array(crossed),
        hessian_se=0.5 * np.abs(np.array(alike)),
        theta_lam=curvature.tangent(-0.5 * (v[0].x + v[1].x)),
        theta_gamma=curvature.tangent(-0.5 * (w[0].x + w[1].x)),
        decrement=0.5 * float(J[0] @ back.x),
        C_lag=-0.5 * float(w[0].x @ J[1] + w[1].x @ J[0]),
        residual=max(solution.residual for solution in (*v, *w, back)),
    )
