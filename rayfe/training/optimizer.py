"""The optimizer of a training, what it takes over from the last one, and the average of its late iterates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from rayfe.config import EquilibrationConfig
from rayfe.model.weights import to_host
from rayfe.records import Weights
from rayfe.records.weights import pack, unpack
from rayfe.training.replicas import Replicas
from rayfe.training.soap import BETA, Soap

CARRIED_STEP = 1e6
"""Adam's step counter with carried second moments: large, so that they are not bias-corrected again."""
AVERAGED = 0.75
"""Part of a training's updates, the last ones, whose iterates are averaged."""


def make_optimizer(
    replicas: Replicas, preconditioner: Weights | None, config: EquilibrationConfig, *, renews: bool = False
) -> torch.optim.Optimizer:
    """Adam or SOAP over the replicas, with what an earlier training left (`left_by`); SOAP's bases are renewed if it `renews`."""
    parameters = replicas.parameters()
    kept, beta = preconditioner or {}, config.second_moment_decay
    moments = unpack(kept, "second_moment")
    covariances, vectors = _tensors(kept, "covariance"), _tensors(kept, "vectors")
    optimizer: torch.optim.Optimizer
    if config.optimizer == "soap":
        names = {key: replicas.name(key) for key in parameters}
        optimizer = soap = Soap(parameters, names, stacked=replicas.stacked, beta=beta, renews=renews)
        if vectors:
            soap.begin(covariances, vectors)
        adam, updated = soap.adam, soap.copies
    else:
        optimizer = adam = torch.optim.Adam(list(parameters.values()), lr=0.0, betas=(BETA, beta), fused=True)
        updated = dict(parameters)
        moments = {**moments, **{name: unrotated(moments[name], Q.numpy()) for name, Q in vectors.items()}}
    for key, moment in replicas.spread(moments, updated).items():
        step = torch.full((), CARRIED_STEP, device=moment.device)
        adam.state[updated[key]] = {"step": step, "exp_avg": torch.zeros_like(moment), "exp_avg_sq": moment}
    return optimizer


def unrotated(moment: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Second moments (rows, columns) in a matrix's own coordinates, from those in a basis in which they are uncorrelated."""
    return vectors**2 @ moment if len(moment) == len(vectors) <= moment.shape[1] else moment @ (vectors**2).T


def _tensors(kept: Weights, group: str) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(value)) for name, value in unpack(kept, group).items()}


def left_by(optimizer: torch.optim.Optimizer, replicas: Replicas) -> Weights:
    """What the next training begins with: the first replica's second moments, and SOAP's bases, renewed."""
    if isinstance(optimizer, Soap):
        optimizer.renew()
        covariances = to_host({name: basis.covariance for name, basis in optimizer.bases.items()})
        vectors = to_host({name: basis.vectors for name, basis in optimizer.bases.items()})
        moments = _second_moments(optimizer.adam, optimizer.copies)
        return pack(second_moment=replicas.first(moments), covariance=covariances, vectors=vectors)
    return pack(second_moment=replicas.first(_second_moments(optimizer, replicas.parameters())))


def _second_moments(adam: torch.optim.Optimizer, updated: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bias-corrected, by the keys of `updated`; a parameter that nothing depends on, or that is kept as it is, has none."""
    _, beta = adam.param_groups[0]["betas"]
    states = {key: adam.state[value] for key, value in updated.items() if adam.state[value]}
    steps = torch.stack([state["step"] for state in states.values()]).tolist() if states else []
    pairs = zip(states.items(), steps, strict=True)
    return {key: state["exp_avg_sq"] / (1.0 - beta**step) for (key, state), step in pairs}


def adam_of(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The Adam that an optimizer is or has."""
    return optimizer.adam if isinstance(optimizer, Soap) else optimizer


def moved_by(optimizer: torch.optim.Optimizer, replicas: Replicas) -> Mapping[str, Tensor]:
    """The tensors that Adam updates, by the keys of the parameters: SOAP's rotated copies, or the parameters themselves."""
    return optimizer.copies if isinstance(optimizer, Soap) else replicas.parameters()


@torch.no_grad()
def go_ahead(replicas: Replicas, preconditioner: Weights | None) -> None:
    """Go to where the last training's iterate was, ahead of its mean."""
    parameters = replicas.parameters()
    for key, ahead in replicas.spread(unpack(preconditioner or {}, "ahead"), parameters).items():
        parameters[key].add_(ahead)


class Average:
    """The mean of the iterates of a training's late updates.

    An iterate at a constant rate goes on faster than one that is annealed, and its mean has as little noise. The next
    training begins where the last one's iterate was (`go_ahead`), not at its mean (MNIST, six steps of two epochs: F is
    0.4 % lower so than from the mean).
    """

    def __init__(self, iterate: Iterable[Tensor], updates: int) -> None:
        """`iterate`: the tensors that change at each of so many updates."""
        self._begin = updates - math.ceil(AVERAGED * updates)
        self.iterate = [tensor.detach() for tensor in iterate]
        self.mean = [tensor.clone() for tensor in self.iterate]

    @torch.no_grad()
    def see(self, update: int) -> None:
        """Take in the iterate after `update`."""
        if part := self.part(update):
            torch._foreach_lerp_(self.mean, self.iterate, part)

    def part(self, update: int) -> float:
        """What the iterate after `update` counts in the mean of those up to it; 0: nothing, it is too early."""
        return 1.0 / (update + 1 - self._begin) if update >= self._begin else 0.0

    @torch.no_grad()
    def finish(self) -> None:
        """Put the iterate at its mean."""
        torch._foreach_copy_(self.iterate, self.mean)
