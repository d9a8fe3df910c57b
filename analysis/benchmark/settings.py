"""Settings of each method: what the small search chose, and what a run's configuration becomes with them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from analysis.benchmark.requests import Rule
from rayfe.config import EquilibrationConfig, RenewalConfig, RunConfig
from rayfe.exceptions import UsageError


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
    optimizer: Literal["adam", "soap"]
    schedule: Literal["paper", "average"]
    """Schedule of trainings from an earlier model."""
    rule: Rule | None = None
    """How gamma moves during a training."""

    def __post_init__(self) -> None:
        if not self.epochs > 0 or not self.learning_rate > 0:
            raise ValueError(f"{self.method}: epochs {self.epochs} and learning rate {self.learning_rate} must be positive")

    def scaled(self, budget: float) -> Settings:
        """The same with `budget` times the epochs."""
        return dataclasses.replace(self, epochs=budget * self.epochs)


METHODS: Mapping[str, str] = MappingProxyType(
    {
        "rayfe": "rayfe",
        "rayfe-leap": "rayfe, by a leap",
        "rayfe-there": "rayfe, one way",
        "rayfe-plain": "rayfe, one way, without renewal",
        "paper": "paper's recipe",
        "grid": "grid, from scratch, gamma root-found",
        "warm-grid": "warm grid, gamma fixed",
        "heuristic": "gamma + 0.1 until C <= C0",
        "nupi": "Cooper, nuPI",
        "augmented": "Cooper, augmented Lagrangian",
        "geco": "GECO",
        "nupi-soap": "Cooper, nuPI, with rayfe's optimizer",
    }
)
"""Methods, as tables and figures call them."""
LABELS: Mapping[str, str] = MappingProxyType(
    {
        **METHODS,
        "variant-a": "(a) paper's stencil, fixed T",
        "variant-b": "(b) one replica, predictor, settle",
        "variant-c": "(c) and 8 draws of z through the head",
        "variant-c2": "(c') and antithetic pairs",
        "variant-d": "(d) = (c) and carried second moments",
        "variant-e": "(e) and averages of late iterates",
        "variant-f": "(f) and SOAP",
        "variant-g": "(g) and adaptive budget",
        "variant-h": "(h) = (f) by implicit tangents",
    }
)
"""The same with those of stored rows only: rayfe's walk taken apart."""
SCRATCH = ("grid",)
WALKS = ("rayfe", "rayfe-leap", "rayfe-there", "rayfe-plain", "paper")


LEAP = RenewalConfig(every=0.9, leap=4)
"""Of the preset mnist-walk."""
BEYOND, LEAPT_BEYOND = 3, 6
"""Steps that a walk which comes back goes beyond the end of the curve, where it would have the lag of the way there only; a leap
lands further off the surface."""


def defaults(base: RunConfig, adam: EquilibrationConfig) -> dict[str, Settings]:
    """Settings by method: `base` trains rayfe's walk and models from scratch, `adam` the alternatives.

    Learning rates and rules are those of `python jobs/benchmark.py --search`; epochs are varied by budgets.
    """
    walk = base.equilibration
    others = Settings(
        method="warm-grid",
        epochs=walk.epochs,
        learning_rate=adam.learning_rate,
        batch=adam.batch,
        optimizer="adam",
        schedule="paper",
    )
    own = dataclasses.replace(
        others, learning_rate=walk.learning_rate, batch=walk.batch, optimizer=walk.optimizer, schedule=walk.schedule
    )
    scratch = dataclasses.replace(
        own, epochs=walk.first_epochs, learning_rate=walk.first_learning_rate, batch=walk.batch_of(annealed=True)
    )
    nupi = Rule(name="nupi", gain=1.0, proportional=0.0)
    special = {
        "paper": dataclasses.replace(others, epochs=0.4 * walk.epochs),
        "heuristic": dataclasses.replace(others, epochs=0.2 * walk.epochs),
        "nupi": dataclasses.replace(others, rule=nupi),
        "nupi-soap": dataclasses.replace(own, schedule="paper", rule=nupi),
        "augmented": dataclasses.replace(others, rule=Rule(name="augmented", gain=3.0, penalty=1.0)),
        "geco": dataclasses.replace(others, rule=Rule(name="geco", gain=1.0)),
        "grid": scratch,
    }

    def found(method: str) -> Settings:
        return special.get(method, own if method in WALKS else others)

    return {method: dataclasses.replace(found(method), method=method) for method in METHODS}


def configured(base: RunConfig, settings: Settings) -> RunConfig:
    """The run's configuration with the method's epochs and learning rate; a walk's renewals are as long at any budget."""
    method = settings.method
    if method not in METHODS:
        raise UsageError("method", method, f"known are {', '.join(METHODS)}")
    equilibration = dataclasses.replace(base.equilibration, optimizer=settings.optimizer, schedule=settings.schedule)
    if method in SCRATCH:
        changed = dataclasses.replace(
            equilibration,
            first_batch=settings.batch,
            first_epochs=settings.epochs,
            first_learning_rate=settings.learning_rate,
            first_schedule="linear",
        )
        return dataclasses.replace(base, equilibration=changed)
    changed = dataclasses.replace(
        equilibration, batch=settings.batch, epochs=settings.epochs, learning_rate=settings.learning_rate
    )
    config = dataclasses.replace(base, equilibration=changed)
    if method in ("rayfe", "rayfe-leap") and not config.both_ways:
        return config
    if method in ("rayfe", "rayfe-leap"):
        leaps = method == "rayfe-leap"
        further = config.lam_end * math.exp((LEAPT_BEYOND if leaps else BEYOND) * config.step_length)
        renewal = dataclasses.replace(config.renewal, every=LEAP.every, leap=LEAP.leap) if leaps else config.renewal
        return dataclasses.replace(config, lam_end=further, renewal=renewal)
    config = dataclasses.replace(config, both_ways=False)
    if method == "rayfe-there":
        return config
    config = dataclasses.replace(config, renewal=dataclasses.replace(config.renewal, every=None))
    if method == "paper":
        return dataclasses.replace(config, stencil="paper", refresh=1, predictor=False, settle=False)
    return config
