"""Certificate of one trained model on a fixed part of the training split: the bound J_K of (10), (14), and grad J."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayfe.data.device_path import DeviceExamples, DevicePath, chunks
from rayfe.data.randomness import derived_seed, normal_of
from rayfe.model.likelihood import likelihood_of
from rayfe.model.marginal import encoded
from rayfe.model.objective import sample
from rayfe.model.posterior import widths_of
from rayfe.model.protocol import Representation
from rayfe.model.task import task_of
from rayfe.records import BOUND_DRAWS, Certificate, Point, Reading
from rayfe.training.drawing import FORWARD
from rayfe.training.exact_derivatives import Curvature, draw_parts

BOUND_SHARE = 0.005
"""Cost of reading J_K (10) with each step's model, as a part of the step's training examples."""
GRADIENT_SHARE = 0.04
"""The same cost of reading the norm of J's gradient."""
PARTS = 8
"""Independent parts of the training split whose gradients of J are compared."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoundGap:
    """J_1 - J_K averaged over examples, nats: what the bound of one draw gives away to that of K."""

    mean: float
    se: float
    """Standard error over the examples (the noise of their draws is part of it)."""
    ess: float
    """Mean effective sample size as a share of K, in (0, 1]: (sum w)^2 / (K sum w^2); 1 where all draws weigh the same."""


@torch.no_grad()
def log_weights(model: Representation, examples: DeviceExamples, point: Point, *, draws: int, key: int) -> Tensor:
    """log of m(z) d(x|z)^lam c(y|z)^gamma / e(z|x) for independent z ~ e(z|x), (draws, N), float64.

    The constants of d are those of D; those of m and e cancel. Their mean over draws is
    -(R + lam D + gamma C) in expectation, and the exponentials' is Z(x). `key` and the examples' numbers determine z.
    """
    mean, log_variance, marginal = encoded(model, examples.x)
    unit = marginal.in_unit(mean, log_variance)
    rows = []
    for i in range(draws):
        epsilon = normal_of(examples.number, mean.shape[1], key=derived_seed(key, i), dtype=mean.dtype)
        z = sample(mean, log_variance, epsilon)
        log_ratio = 0.5 * (epsilon.square() + unit[1] - sample(*unit, epsilon).square()).sum(-1)
        if not marginal.closed:
            log_ratio = log_ratio + marginal.gain(z[None])[0]
        D = likelihood_of(model)(examples.x, model.decode(z))
        C = task_of(model).priced(model.classify(z)[None], examples.y)[0]
        rows.append(log_ratio.double() - point.lam * D.double() - point.gamma * C.double())
    return torch.stack(rows)


def bound(logs: Tensor) -> Tensor:
    """J_K of each example, (N,): -log of the mean over draws of the weights whose logarithms are `logs`, (K, N) (10)."""
    return math.log(len(logs)) - torch.logsumexp(logs, 0)


def effective_share(logs: Tensor) -> Tensor:
    """Effective sample size of each example as a share of K, (N,)."""
    return (2.0 * torch.logsumexp(logs, 0) - torch.logsumexp(2.0 * logs, 0)).exp() / len(logs)


def read_gap(
    model: Representation, path: DevicePath, point: Point, *, draws: int, chunk: int, key: Callable[[str], int]
) -> BoundGap:
    """J_1 - J_K on p(x, t), for a model in evaluation mode.

    Both are of the same draws, so what differs between examples and draws alike cancels: each example's gap is at least
    0, and J_K = F - gap with F = R + lam D + gamma C as read elsewhere (all examples, many draws, R in closed form)
    is far nearer to J_K of all examples than these examples' own.
    """
    found = []
    for stratum in path.present(point.t):
        parts = [
            log_weights(model, stratum.examples(rows, point.t), point, draws=draws, key=key(stratum.name))
            for rows in chunks(len(stratum), chunk)
        ]
        logs, weights = torch.cat(parts, 1), stratum.weights(slice(None), point.t)
        gap = -logs.mean(0) - bound(logs)
        centred = gap - (weights @ gap) / weights.sum()
        found.append(torch.stack([weights @ gap, ((weights * centred) ** 2).sum(), weights @ effective_share(logs)]))
    mean, square, ess = sum(found, torch.zeros_like(found[0])).tolist()
    return BoundGap(mean=mean, se=math.sqrt(square), ess=ess)


def gradient_norm(gradients: Iterable[np.ndarray]) -> float:
    """Norm of the mean of independent, equally noisy gradients: the root of the mean of g_i . g_j over pairs.

    The square is unbiased; the norm of the mean gradient would be mostly noise (MNIST, 500 images: its square was
    1.5 where this one's mean was 0.04).
    Where noise makes the square negative the norm is 0.
    """
    total, squares, count = np.zeros(1), 0.0, 0
    for gradient in gradients:
        total, squares, count = total + gradient, squares + _square(gradient), count + 1
    return math.sqrt(max(0.0, (_square(total) - squares) / (count * (count - 1))))


def _square(vector: np.ndarray) -> float:
    """Not by BLAS, whose last digits depend on the threads that numpy has, which Ray sets otherwise than a process alone."""
    return float(np.square(vector).sum())


def read_gradient(model: Any, path: DevicePath, point: Point, *, n: int, rng: Callable[[str], torch.Generator]) -> float:
    """Norm of grad J over the weights that are not frozen, from PARTS parts of `n` examples.

    Parts are drawn apart and may overlap: disjoint ones of a finite data set have negatively correlated noise
    (on 1,442 digits it hid the gradient). Batch-norm normalises by each part's statistics, as in training.
    """

    def gradients() -> Iterator[np.ndarray]:
        for i in range(PARTS):
            order, noise = rng(f"gradient order {i}"), rng(f"gradient noise {i}")
            part = draw_parts(path, point.t, n, count=1, widths=widths_of(model), decoder_draws=1, order=order, noise=noise)
            batch = tuple(part)
            yield Curvature(model, batch, point, damping=0.0).gradient(batch)

    return gradient_norm(gradients())


def bound_size(trained: float) -> int:
    """Images on which J_K is read beside a step that trains so many examples."""
    return max(2, int(BOUND_SHARE * trained / bound_cost(BOUND_DRAWS)))


def gradient_size(trained: float, epoch: int) -> int:
    """Images in each of PARTS parts whose gradients are compared beside such a step; an epoch has `epoch`."""
    return max(2, min(int(GRADIENT_SHARE * trained) // PARTS, epoch))


def bound_cost(draws: int) -> float:
    """Training examples that J_K of one image counts as: half a forward pass encodes, half decodes, for each draw."""
    return FORWARD * 0.5 * (1 + draws)


def certify(
    model: Any,
    path: DevicePath,
    reading: Reading,
    *,
    chunk: int,
    trained: float,
    key: Callable[[str], int],
    rng: Callable[[str], torch.Generator],
) -> Certificate:
    """The certificate of the model of `reading`, which is of all of `path`.

    `trained` are the examples that a step trains, of which it may cost a part. Examples and draws follow from `key` and `rng`, so
    steps differ by their models and multipliers only.
    """
    point = reading.point
    gap = read_gap(model, path.thinned(bound_size(trained)), point, draws=BOUND_DRAWS, chunk=chunk, key=key)
    error = math.hypot(gap.se, reading.R_se, point.lam * reading.D_se, point.gamma * reading.priced_C_se)
    norm = read_gradient(model, path, point, n=gradient_size(trained, len(path)), rng=rng)
    return Certificate(J_K=reading.F - gap.mean, J_K_se=error, J_K_ess=gap.ess, grad_norm=norm)
