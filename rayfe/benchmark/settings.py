"""Settings of each method: what the small search chose, and what a run's configuration becomes with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rayfe.benchmark.requests import Rule
from rayfe.benchmark.variants import VARIANT_LABELS, VARIANTS
from rayfe.config import RunConfig, UsageError


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One method at one budget."""

    method: str
    epochs: float
    """Epochs of one training: at each point, or of each model from scratch."""
    learning_rate: float
    """Maximum of the walk's schedule; from scratch the initial rate, linear to 0."""
    rule: Rule | None = None
    """How gamma moves during a training."""

    def __post_init__(self) -> None:
        if not self.epochs > 0 or not self.learning_rate > 0:
            raise ValueError(f"{self.method}: epochs {self.epochs} and learning rate {self.learning_rate} must be positive")

    def scaled(self, budget: float) -> Settings:
        """The same with `budget` times the epochs."""
        return dataclasses.replace(self, epochs=budget * self.epochs)


LABELS: Mapping[str, str] = MappingProxyType(
    {
        "rayfe": "rayfe",
        "rayfe-plain": "rayfe without renewal",
        "paper": "paper's recipe",
        "paper-settle": "paper's recipe with rayfe's settle",
        "grid": "grid, from scratch, gamma root-found",
        "warm-grid": "warm grid, gamma fixed",
        "heuristic": "gamma + 0.1 until C <= C0",
        "nupi": "Cooper, nuPI",
        "augmented": "Cooper, augmented Lagrangian",
        "geco": "GECO",
        "nupi-scratch": "Cooper, nuPI, from scratch at each lam",
        **VARIANT_LABELS,
    }
)
"""Methods, as tables and figures call them."""
SCRATCH = ("grid", "nupi-scratch")
WALKS = ("rayfe", "rayfe-plain", "paper", "paper-settle", *VARIANTS)


def defaults(base: RunConfig) -> dict[str, Settings]:
    """Settings by method, in terms of the walk's epochs per step and of the first equilibrium's epochs.

    Learning rates and rules are those of `python jobs/benchmark.py --search`; epochs are varied by budgets.
    """
    walk, first = base.equilibration, base.equilibration.first_epochs
    plain = {"epochs": walk.epochs, "learning_rate": walk.learning_rate}
    scratch: dict[str, Any] = {"epochs": first, "learning_rate": walk.first_learning_rate}
    nupi = Rule(name="nupi", gain=3.0, proportional=1.0)
    rules = {"nupi": nupi, "augmented": Rule(name="augmented", gain=3.0, penalty=1.0), "geco": Rule(name="geco", gain=3.0)}
    found = {name: Settings(method=name, **plain, rule=rules.get(name)) for name in LABELS if name not in SCRATCH}
    found["paper"] = found["paper-settle"] = Settings(
        method="paper", epochs=0.4 * walk.epochs, learning_rate=walk.learning_rate
    )
    found["paper-settle"] = dataclasses.replace(found["paper"], method="paper-settle")
    found["heuristic"] = Settings(method="heuristic", epochs=0.2 * walk.epochs, learning_rate=walk.learning_rate)
    found["grid"] = Settings(method="grid", **scratch)
    found["nupi-scratch"] = Settings(method="nupi-scratch", **scratch, rule=nupi)
    return {name: found[name] for name in LABELS}


def configured(base: RunConfig, settings: Settings, *, budget: float = 1.0) -> RunConfig:
    """The run's configuration with the method's epochs and learning rate; `budget` scales a walk's renewals as well."""
    method = settings.method
    if method not in LABELS:
        raise UsageError("method", method, f"known are {', '.join(LABELS)}")
    equilibration = base.equilibration
    if method in SCRATCH:
        changed = dataclasses.replace(
            equilibration,
            first_epochs=settings.epochs,
            first_learning_rate=settings.learning_rate,
            first_schedule="linear",
        )
        return dataclasses.replace(base, equilibration=changed)
    changed = dataclasses.replace(equilibration, epochs=settings.epochs, learning_rate=settings.learning_rate)
    config = dataclasses.replace(base, equilibration=changed)
    if method in VARIANTS:
        return VARIANTS[method](config)
    if method == "rayfe":
        renewal = dataclasses.replace(config.renewal, epochs=budget * config.renewal.epochs)
        return dataclasses.replace(config, renewal=renewal)
    config = dataclasses.replace(config, renewal=dataclasses.replace(config.renewal, every=None))
    if method in ("paper", "paper-settle"):
        return dataclasses.replace(config, stencil="paper", refresh=1, predictor=False, settle=method == "paper-settle")
    return config
