"""The chart of a stencil: tangents of the weights by multiplier, and where they lead (Lemma 5, eq. 18)."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rayfe.config import RunConfig
from rayfe.records import (
    Functionals,
    Point,
    Reading,
    Replica,
    Response,
    SettleRequest,
    Split,
    StepKey,
    Weights,
)
from rayfe.records.weights import along, slope
from rayfe.surface.equivalence import Miss
from rayfe.surface.process import LOSS, Conditions, held_jacobian
from rayfe.trajectory.draws import Limit, Sets

MULTIPLIERS = ("gamma", "lam")
SETTLED = 0.1
"""Part of what something may be off by to which a settle searches."""
Tangents = Mapping[str, Weights]
"""dtheta / dmultiplier by multiplier."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Aims:
    """What a settle is to bring about: values of what `process` holds, on the draws of settles."""

    process: Conditions
    targets: tuple[float, ...]
    allowed: tuple[float, ...]
    """By how much each of what is held may be off, in its own units."""
    sets: Sets
    """The draws with which the targets were read, and a settle reads."""

    def are_met(self, found: Functionals) -> bool:
        """Whether functionals are as near to the targets as a settle searches."""
        held = zip(self.process.held, self.targets, self.allowed, strict=True)
        return all(abs(functional.of(found) - target) <= SETTLED * allowed for functional, target, allowed in held)


class Goal(abc.ABC):
    """What steps are to bring about: what a process holds, or what is sought."""

    @property
    @abc.abstractmethod
    def conditions(self) -> Conditions:
        """What is held, and the multipliers that settle it."""

    @property
    @abc.abstractmethod
    def limits(self) -> tuple[Limit, ...]:
        """By how much each condition may be off."""

    @property
    @abc.abstractmethod
    def most(self) -> Sets:
        """The most draws that a step may be read with."""

    @abc.abstractmethod
    def targets(self, sets: Sets) -> tuple[float, ...]:
        """Values of the conditions on the draws of settles."""

    @abc.abstractmethod
    def misses(self, reading: Reading) -> tuple[Miss, ...]:
        """How far each condition is off at a reading by the draws that judge."""

    def aims(self, sets: Sets) -> Aims:
        """What a settle with these draws is to bring about."""
        allowed = tuple(limit.allowed for limit in self.limits)
        return Aims(process=self.conditions, targets=self.targets(sets), allowed=allowed, sets=sets)


def newton_step(aims: Aims, at: Point, found: Functionals, response: Response) -> dict[str, float]:
    """The change of each multiplier after which what is held has its target to first order; `found` is what a model `at` has."""
    process = aims.process
    misses = [functional.of(found) - target for functional, target in zip(process.held, aims.targets, strict=True)]
    step = -np.linalg.lstsq(np.array(held_jacobian(process, at, response)), np.array(misses))[0]
    return dict(zip(process.moved_by, step.tolist(), strict=True))


def tangents_of(moved_by: Sequence[str], replicas: Sequence[Replica], weights: Sequence[Weights]) -> Tangents:
    """dtheta/dmultiplier for those a process moves, by central differences of the neighbours' weights (18)."""
    at = {replica.name: (replica.point, trained) for replica, trained in zip(replicas, weights, strict=True)}
    tangents = {}
    for multiplier in moved_by:
        (upper, up), (lower, down) = at[f"{multiplier}+"], at[f"{multiplier}-"]
        tangents[multiplier] = slope(up, down, getattr(upper, multiplier) - getattr(lower, multiplier))
    return tangents


def moved(weights: Weights, tangents: Tangents, here: Point, there: Point) -> Weights:
    """The weights that the chart predicts for `there`, from those of `here`."""
    for multiplier in MULTIPLIERS:
        if multiplier in tangents:
            weights = along(weights, tangents[multiplier], getattr(there, multiplier) - getattr(here, multiplier))
    return weights


def settle_request(
    config: RunConfig, key: StepKey, aims: Aims, weights: Weights, tangents: Tangents, point: Point, response: Response
) -> SettleRequest:
    """Settle what is held within the chart's reach, starting from the response."""
    process, delta = aims.process, config.neighbours
    reach = {"gamma": delta.reach * delta.gamma_delta * point.gamma, "lam": delta.reach * delta.lam_delta * point.lam}
    return SettleRequest(
        key=key,
        weights=weights,
        tangents={multiplier: tangents[multiplier] for multiplier in process.moved_by},
        point=point,
        held=process.held,
        targets=aims.targets,
        scales=aims.allowed,
        jacobian=held_jacobian(process, point, response),
        reach={multiplier: reach[multiplier] for multiplier in process.moved_by},
        accuracy=SETTLED,
        split=config.held_on,
        draw_sets=aims.sets.head,
        decoder_sets=aims.sets.decoder,
    )


def settle_loss(
    key: StepKey,
    weights: Weights,
    tangent: Weights,
    point: Point,
    response: Response,
    *,
    C: float,
    allowed: float,
    reach: float,
    split: Split = Split.TRAIN,
    draw_sets: int = 1,
) -> SettleRequest:
    """Settle the loss `C`, which may be off by `allowed` nats, by gamma alone, at most `reach` away, whatever else a process
    holds."""
    return SettleRequest(
        key=key,
        weights=weights,
        tangents={"gamma": tangent},
        point=point,
        held=(LOSS,),
        targets=(C,),
        scales=(allowed,),
        jacobian=((response.C_gamma,),),
        reach={"gamma": reach},
        accuracy=SETTLED,
        split=split,
        draw_sets=draw_sets,
    )
