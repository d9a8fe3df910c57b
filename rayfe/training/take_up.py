"""Dimensions of z with few nats take up what the reconstruction misses: a way out of the saddle that training is slow to find.

Works for every model of the protocol in which some entries of the parameters belong to one dimension of z alone, such as a
row of the encoder's last layer and a column of the decoder's first. They are told by gradients. Those of the encoder are
fitted to the wanted signal, then those of the decoder to the examples; the classifier's are set to 0. The result is
kept only if J is lower.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rayfe.data.device_path import DeviceExamples, DevicePath
from rayfe.model.likelihood import likelihood_of
from rayfe.model.marginal import encoded
from rayfe.model.objective import Noise, Objective, draw_noise, sample
from rayfe.model.posterior import Widths
from rayfe.records import Point
from rayfe.surface.water_filling import rate_of, worth
from rayfe.training.dimensions import Missed, missed, rates_by_dimension

GAIN = 1e-3
"""Nats by which a dimension must lower J to be taken up."""
ITERATIONS = 25
"""Iterations of each of the two fits."""
FIT_PASSES = 2.0 * ITERATIONS * 0.5
"""Passes, forward and backward, over each example that is fitted: one fit goes through the encoder, the other through the decoder."""
HEAD_DRAWS = 8
Entries = dict[str, Tensor]
"""Where a dimension's own entries are, a mask by name of a parameter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """A model after an attempt to take something up."""

    model: Any
    dims: tuple[int, ...]
    """The dimensions of z that took something up; none: the model is as it was."""
    fitted: bool
    """Whether some were fitted, with success or without."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UptakePlan:
    """What some dimensions of z are to carry."""

    dims: tuple[int, ...]
    direction: Tensor
    """Of x - x_hat, a column a dimension, (features, count)."""
    rate: Tensor
    """Nats of each, (count,)."""
    variance: Tensor
    """Of what is missed in each direction, (count,)."""
    center: Tensor


def plan_of(rates: Sequence[float], found: Missed, lam: float) -> UptakePlan | None:
    """The dimensions with the fewest nats for the directions that are missed most, as long as each lowers J; None: none does."""
    order = sorted(range(len(rates)), key=lambda dim: rates[dim])
    wanted = [rate_of(variance, lam) for variance in found.variance.tolist()]
    gains = [worth(new) - worth(rates[dim]) for dim, new in zip(order, wanted, strict=False)]
    count = next((i for i, gain in enumerate(gains) if gain <= GAIN), len(gains))
    if not count:
        return None
    return UptakePlan(
        dims=tuple(order[:count]),
        direction=found.direction[:, :count],
        rate=torch.tensor(wanted[:count]).to(found.direction),
        variance=found.variance[:count],
        center=found.center,
    )


def take_up(model: Any, path: DevicePath, point: Point, *, size: int, chunk: int, key: Callable[[str], int]) -> Changed:
    """The model, in evaluation mode, with dimensions of z taken up.

    `path` is the part of p(x, t) that is looked at, `size` the examples of it that are fitted. The same model and no
    dimension where nothing pays, where dimensions have no rates of their own, where no entry belongs to one dimension alone,
    or where J would not be lower.
    """
    rates = rates_by_dimension(model, path, point.t, chunk=chunk)
    if rates is None:
        return Changed(model=model, dims=(), fitted=False)
    found = missed(model, path, point.t, count=model.latent, chunk=chunk, key=key)
    weight = likelihood_of(model).squared_weight()
    plan = None if weight is None else plan_of(rates, found, point.lam * weight)
    if plan is None:
        return Changed(model=model, dims=(), fitted=False)
    n = min(size, len(path))
    rng = torch.Generator(device=found.center.device).manual_seed(key("fit"))
    examples = next(path.batches(point.t, n, updates=1, rng=rng))
    noise = draw_noise(
        rng, n=n, widths=Widths(latent=model.latent), decoder_draws=2, head_draws=HEAD_DRAWS, dtype=examples.x.dtype
    )
    changed = copy.deepcopy(model)
    if not _fitted(changed, plan, examples, noise):
        return Changed(model=model, dims=(), fitted=False)
    lower = _J(changed, examples, noise, point) < _J(model, examples, noise, point)
    return Changed(model=changed if lower else model, dims=plan.dims if lower else (), fitted=True)


def _fitted(model: Any, plan: UptakePlan, examples: DeviceExamples, noise: Noise) -> bool:
    """Fit the encoder's and the decoder's entries of the plan's dimensions; False: a dimension has none of its own."""
    encoder = own_entries(model, range(model.latent), lambda i: _encoded(model, examples.x[:64], i))
    decoder = own_entries(model, range(model.latent), lambda i: _alone(model.decode, model.latent, i, examples.x))
    classifier = own_entries(model, range(model.latent), lambda i: _alone(model.classify, model.latent, i, examples.x))
    dims = list(plan.dims)
    if not all(encoder[i] and decoder[i] for i in dims):
        return False
    with torch.no_grad():
        mean, log_variance = model.encode(examples.x)
        z = sample(mean, log_variance, noise.decoder)
        missing = torch.stack([(examples.x - model.decode(one)).flatten(1) for one in z]).mean(0) - plan.center
        share = -torch.expm1(-2.0 * plan.rate)
        wanted = missing @ plan.direction * (share / plan.variance).sqrt()
        for name, mask in _joined(classifier, dims):
            dict(model.named_parameters())[name][mask] = 0.0

    def encoder_loss() -> Tensor:
        own_mean, own_log_variance, marginal = encoded(model, examples.x)
        mean, log_variance = marginal.in_unit(own_mean, own_log_variance)
        return (mean[:, dims] - wanted).square().mean() + (log_variance[:, dims] + 2.0 * plan.rate).square().mean()

    likelihood = likelihood_of(model)

    def decoder_loss() -> Tensor:
        return sum(likelihood(examples.x, model.decode(z)).mean() for z in sampled) / len(sampled)  # type: ignore[return-value]

    _minimise(model, encoder_loss, dict(_joined(encoder, dims)))
    with torch.no_grad():
        mean, log_variance = model.encode(examples.x)
        sampled = sample(mean, log_variance, noise.decoder)
    _minimise(model, decoder_loss, dict(_joined(decoder, dims)))
    return True


def own_entries(model: Any, dims: range, output: Callable[[int], Tensor]) -> list[Entries]:
    """For each dimension the entries of parameters on which its output depends and that of no other dimension does."""
    parameters = {name: value for name, value in model.named_parameters() if value.requires_grad}
    seen = []
    for i in dims:
        value = output(i)
        if not value.requires_grad:  # all that it depends on is frozen
            return [{} for _ in dims]
        gradients = torch.autograd.grad(value, list(parameters.values()), allow_unused=True)
        seen.append({n: g != 0 for n, g in zip(parameters, gradients, strict=True) if g is not None})
    count = {name: sum(one[name].int() for one in seen if name in one) for name in parameters}
    return [{name: m for name, mask in one.items() if (m := mask & (count[name] == 1)).any()} for one in seen]


def _encoded(model: Any, x: Tensor, i: int) -> Tensor:
    mean, log_variance = model.encode(x)
    return ((mean[:, i] + log_variance[:, i]) * _weights(len(x), x)).sum()


def _alone(output: Callable[[Tensor], Tensor], latent: int, i: int, like: Tensor) -> Tensor:
    """A number that depends on all outputs for z of which only dimension i is not 0."""
    z = torch.zeros(64, latent, dtype=like.dtype, device=like.device)
    z[:, i] = torch.linspace(-2.0, 2.0, 64, dtype=like.dtype, device=like.device)
    out = output(z).flatten(1)
    return (out * _weights(len(out), like)[:, None] * _weights(out.shape[1], like)).sum()


def _weights(count: int, like: Tensor) -> Tensor:
    """Different numbers of both signs, which do not cancel by chance."""
    return torch.sin(1.0 + 1.7 * torch.arange(count, dtype=like.dtype, device=like.device))


def _joined(entries: list[Entries], dims: list[int]) -> Iterator[tuple[str, Tensor]]:
    names = dict.fromkeys(name for i in dims for name in entries[i])
    for name in names:
        yield name, torch.stack([entries[i][name] for i in dims if name in entries[i]]).any(0)


def _minimise(model: Any, loss: Callable[[], Tensor], masks: Entries) -> None:
    """L-BFGS over the masked entries."""
    parameters = [value for name, value in model.named_parameters() if name in masks]
    chosen = [masks[name] for name, _ in model.named_parameters() if name in masks]
    optimizer = torch.optim.LBFGS(parameters, max_iter=ITERATIONS, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        gradients = torch.autograd.grad(value, parameters)
        for parameter, gradient, mask in zip(parameters, gradients, chosen, strict=True):
            parameter.grad = (gradient * mask).contiguous()  # L-BFGS takes it apart by view, also where images lie by pixel
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call]


@torch.no_grad()
def _J(model: Any, examples: DeviceExamples, noise: Noise, point: Point) -> float:
    R, D, C, _ = Objective(model)(examples.x, examples.y, noise, predict=False)
    return float((R + point.lam * D + point.gamma * C).mean())
