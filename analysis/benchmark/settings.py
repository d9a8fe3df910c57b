"""Settings of each method: what the small search chose, and what a run's configuration becomes with them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from analysis.benchmark.registry import METHODS, Method, Optimizer, Route, method_of
from analysis.benchmark.requests import Rule
from rayfe.config import EquilibrationConfig, RenewalConfig, RunConfig, configure


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One method at one budget."""

    method: str
    epochs: float
    """Epochs of one training: at each point, or of each model from scratch."""
    learning_rate: float
    """Maximum of the walk's schedule; from scratch the initial rate, linear to 0."""
    batch: int
    """Examples in a mini-batch."""
    optimizer: Optimizer
    schedule: Literal["paper", "average"]
    """Schedule of trainings from an earlier model."""
    rule: Rule | None = None
    """How gamma moves during a training."""
    settling: Mapping[str, float | int] | None = None
    """Learning rate and mini-batch of the trainings that settle a model from scratch; the walk's without it."""

    def __post_init__(self) -> None:
        if not self.epochs > 0 or not self.learning_rate > 0:
            raise ValueError(f"{self.method}: epochs {self.epochs} and learning rate {self.learning_rate} must be positive")

    def scaled(self, budget: float) -> Settings:
        """The same with `budget` times the epochs."""
        return dataclasses.replace(self, epochs=budget * self.epochs)


LEAP = RenewalConfig(every=0.9, leap=4)
"""Of the preset mnist-walk."""
BEYOND: Mapping[Route, int] = MappingProxyType({"both": 3, "leap": 6})
"""Steps that what comes back goes beyond the end of the curve, where it would have the lag of the way there only; a leap lands
further off the surface."""


FRESH_ADAM = 4e-3
"""Adam's initial rate for new weights, with mini-batches of 256; rayfe's is SOAP's."""
RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "nupi": Rule(name="nupi", gain=1.0, proportional=1.0),
        "augmented": Rule(name="augmented", gain=3.0, penalty=1.0),
        "geco": Rule(name="geco", gain=1.0),
    }
)
"""How gamma moves, by family."""
PART_OF_EPOCHS: Mapping[str, float] = MappingProxyType({"paper": 0.4, "heuristic": 0.2})
"""Epochs of one training over rayfe's, of families that train several times, or several models, at a point."""


def defaults(base: RunConfig, adam: EquilibrationConfig) -> dict[str, Settings]:
    """Settings by method: `base` trains rayfe's walk and models from scratch, `adam` whatever trains with Adam.

    Learning rates and rules are those of `python jobs/benchmark.py --search`; epochs are varied by budgets.
    """
    return {method.name: _default(method, base.equilibration, adam) for method in METHODS.values()}


def _default(method: Method, walk: EquilibrationConfig, adam: EquilibrationConfig) -> Settings:
    soap, scratch = method.optimizer == "soap", method.from_scratch
    by = walk if soap else adam
    return Settings(
        method=method.name,
        epochs=walk.first_epochs if scratch else walk.epochs * PART_OF_EPOCHS.get(method.family, 1.0),
        learning_rate=by.learning_rate if not scratch else walk.first_learning_rate if soap else FRESH_ADAM,
        batch=walk.batch_of(annealed=True) if scratch else by.batch,
        optimizer=method.optimizer,
        schedule=walk.schedule if scratch or method.family == "rayfe" else "paper",
        rule=RULES.get(method.family),
        settling={"learning_rate": adam.learning_rate, "batch": adam.batch} if scratch and not soap else None,
    )


def configured(base: RunConfig, settings: Settings) -> RunConfig:
    """The run's configuration with the method's epochs, learning rate and route; renewals and leaps are as long at any budget.

    Raises:
        UsageError: there is no such method.
    """
    method, own = method_of(settings.method), settings
    equilibration = dataclasses.replace(base.equilibration, optimizer=own.optimizer, schedule=own.schedule)
    if method.from_scratch:
        changed = dataclasses.replace(
            equilibration,
            first_batch=own.batch,
            first_epochs=own.epochs,
            first_learning_rate=own.learning_rate,
            first_schedule="linear",
            **(own.settling or {}),  # type: ignore[arg-type]
        )
        return configure(base, both_ways=False, equilibration=changed)
    changed = dataclasses.replace(equilibration, batch=own.batch, epochs=own.epochs, learning_rate=own.learning_rate)
    if method.route == "leap" and method.optimizer == "adam":
        changed = dataclasses.replace(changed, first_learning_rate=FRESH_ADAM)
    config = routed(configure(base, equilibration=changed), method)
    if method.family == "paper":
        return configure(config, stencil="paper", refresh=1, predictor=False, settle=False)
    return config


def routed(config: RunConfig, method: Method) -> RunConfig:
    """The configuration with the method's route: whether it goes both ways, from where, and what is renewed."""
    renewal = config.asked.renewal
    if method.route == "leap":
        renewal = dataclasses.replace(renewal, every=LEAP.every, leap=LEAP.leap)
    elif not method.renews:
        renewal = dataclasses.replace(renewal, every=None)
    if method.route == "there":
        return configure(config, both_ways=False, renewal=renewal)
    further = config.asked.lam_end * math.exp(BEYOND[method.route] * config.asked.step_length)
    return configure(config, both_ways=True, lam_end=further, renewal=renewal)
