"""Samples of the weights of one part of a model at temperature sigma, by stochastic-gradient Langevin dynamics (5), (12).

F(lam, gamma, sigma) = min over p of E_p[J] + sigma KL(p || m) is reached by p(theta) in proportion to m(theta) exp(-J(theta) / sigma),
with J a mean over examples: sigma = 1 / N is Bayes' rule for N examples. Its Langevin dynamics in steps of eta are

    theta <- theta - eta (grad J - sigma grad log m) + sqrt(2 sigma eta) xi,   xi ~ N(0, I),

where J and its gradient may be those of a mini-batch (Welling and Teh 2011). What is not exact is of first order in eta.
Where J - sigma log m is quadratic, of Hessian H, the right covariance is sigma H^-1; these steps have sigma (H - eta H^2 / 2)^-1,
and a mini-batch adds its noise.

The paper's (12) has no xi: gradients are noisy by themselves. With noise of covariance I, and no prior, its steps of length eta
are those above with 2 sigma eta = eta^2. So sigma = eta / 2, and p goes as exp(-2 J / eta): the paper's exp(-2 J / sigma), whose
sigma is that step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rayfe.data.device_path import DevicePath
from rayfe.data.randomness import Counted, derived_seed, normal_of
from rayfe.exceptions import UsageError
from rayfe.model.objective import Noise, Objective, noise_of
from rayfe.model.posterior import GaussianLinear, widths_of
from rayfe.records import Point
from rayfe.training.batch_norm import BatchNorm
from rayfe.training.replicas import free_energy
from rayfe.training.train import HEAD_DRAWS

Energy = Callable[[Mapping[str, Tensor], int], Tensor]
"""J of each chain, (chains,), or an estimate of it, from parameters (chains, ...) and the number of the update."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Langevin:
    """How chains run. Their noise is a function of the seed, the chain, the update and the parameter's place."""

    sigma: float
    """Temperature, nats per example: 0 is gradient descent."""
    step: float
    """eta: below 2 / the largest eigenvalue of H, or the chain diverges."""
    updates: int
    skipped: int
    """Updates before the first sample."""
    every: int = 1
    """Updates from one sample to the next."""
    chains: int = 2
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """Weights at equilibrium: `values` (samples, chains, numbers), each name's numbers in one row after the other's."""

    values: Tensor
    shapes: Mapping[str, torch.Size]

    @property
    def mean(self) -> Tensor:
        """(numbers,)"""
        return self.values.flatten(0, 1).mean(0)

    @property
    def covariance(self) -> Tensor:
        """(numbers, numbers)"""
        return torch.cov(self.values.flatten(0, 1).T)

    @property
    def effective(self) -> float:
        """How many independent samples would have a mean as exact, by how far the means of the chains lie apart.

        It is rough for few chains, and NaN for one.
        """
        chains = self.values.shape[1]
        of_all = self.values.flatten(0, 1).var(0).sum()
        of_mean = self.values.mean(0).var(0).sum() / chains
        return float(of_all / of_mean)

    def named(self, row: Tensor) -> dict[str, Tensor]:
        """Numbers (numbers,) by name, in their shapes."""
        parts = row.split([shape.numel() for shape in self.shapes.values()])
        return {name: part.view(shape) for (name, shape), part in zip(self.shapes.items(), parts, strict=True)}


def run_chains(start: Mapping[str, Tensor], energy: Energy, deviation: Mapping[str, float], settings: Langevin) -> Samples:
    """Chains that all begin at `start`; m(theta) is N(0, deviation^2) for each number of a name.

    Raises:
        UsageError: step; a chain diverged.
    """
    state = {name: value.detach().expand(settings.chains, *value.shape).clone() for name, value in start.items()}
    numbers = torch.arange(settings.chains, device=next(iter(state.values())).device)
    amount, kept = math.sqrt(2.0 * settings.sigma * settings.step), []
    for update in range(settings.updates):
        leaves = {name: value.requires_grad_() for name, value in state.items()}
        slopes = torch.autograd.grad(energy(leaves, update).sum(), list(leaves.values()))
        with torch.no_grad():
            for (name, value), slope in zip(leaves.items(), slopes, strict=True):
                key = derived_seed(settings.seed, "langevin", name, update)
                xi = normal_of(numbers, value[0].numel(), key=key, dtype=value.dtype).view_as(value)
                drift = slope + settings.sigma / deviation[name] ** 2 * value
                state[name] = value - settings.step * drift + amount * xi
            if update >= settings.skipped and (update - settings.skipped) % settings.every == 0:
                kept.append(torch.cat([value.reshape(len(value), -1) for value in state.values()], 1))
    values = torch.stack(kept)
    if not bool(torch.isfinite(values).all()):
        raise UsageError("step", settings.step, "is too long: the chain diverged; halve it")
    return Samples(values=values, shapes={name: value.shape for name, value in start.items()})


class BatchEnergy:
    """J of a model on mini-batches of p(x, t), as a function of the parameters of one part; the rest of the model stays as it is.

    Each chain has batches and draws of z of its own, by the seed and its number. Draws come in antithetic pairs.
    """

    def __init__(
        self, model: Any, part: str, path: DevicePath, point: Point, *, batch: int, chains: int, seed: int, device: torch.device
    ) -> None:
        """
        Raises:
            UsageError: the model has no such part, that has parameters outside of linear layers, or the model has batch-norm, so that J is
                no mean over examples.
        """
        objective = Objective(model.eval())
        within = getattr(model, part, None)
        if not isinstance(within, nn.Module) or not any(True for _ in within.parameters()):
            raise UsageError("part", part, f"is no part of {type(model).__name__} that has parameters")
        if any(isinstance(layer, BatchNorm) for layer in model.modules()):
            raise UsageError("part", part, "batch-norm makes J of a batch no mean over examples; take a model without it")
        layers = {name: layer for name, layer in within.named_modules(prefix=f"model.{part}") if isinstance(layer, nn.Linear)}
        self.deviation = {
            f"{name}.{one}": math.exp(GaussianLinear(layer).log_deviation)
            for name, layer in layers.items()
            for one, _ in layer.named_parameters()
        }
        """Of the prior, that of `rayfe.model.posterior`, by name."""
        beginning = f"model.{part}."
        named = {name: value.detach() for name, value in objective.named_parameters()}
        self.start = {name: value for name, value in named.items() if name.startswith(beginning)}
        if other := sorted(set(self.start) - set(self.deviation)):
            raise UsageError("part", part, f"has {other[0]} outside of torch.nn.Linear, for which there is no prior")
        self._fixed = {name: value for name, value in named.items() if name not in self.start}
        self._path, self._point, self._batch, self._chains = path, point, batch, chains
        self._widths, self._per_epoch = widths_of(model), path.per_epoch(batch)
        self._keys = torch.tensor([derived_seed(seed, "chain", chain) for chain in range(chains)], device=device)
        self._epoch: tuple[Tensor, ...] = ()
        self._number = -1
        """Of the epoch that is at hand."""

        def one(parameters: dict[str, Tensor], x: Tensor, y: Tensor, noise: Noise) -> Any:
            return functional_call(objective, {**self._fixed, **parameters}, (x, y, noise, False))

        self._all = torch.func.vmap(one)

    def __call__(self, parameters: Mapping[str, Tensor], update: int) -> Tensor:
        number, place = divmod(update, self._per_epoch)
        if number != self._number:
            self._epoch, self._number = self._path.epoch(Counted(self._keys).epoch(number)), number
        here = tuple(part[:, place * self._batch : (place + 1) * self._batch].flatten() for part in self._epoch)
        examples = self._path.placed(here, self._point.t)
        x, y = (value.unflatten(0, (self._chains, self._batch)) for value in (examples.x, examples.y))
        numbers = update * self._batch + torch.arange(self._batch, device=x.device).expand(self._chains, -1)
        noise = noise_of(numbers, key=self._keys, widths=self._widths, decoder_draws=2, head_draws=HEAD_DRAWS, dtype=x.dtype)
        functionals = self._all(dict(parameters), x, y, noise)
        lam, gamma = (x.new_tensor(value) for value in (self._point.lam, self._point.gamma))
        return free_energy(functionals, lam, gamma)
