"""Settings in which methods are compared: data, model, training, and how far the curve goes in how many points."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from rayfe.config import EquilibrationConfig, MeasureConfig, RenewalConfig, RunConfig, configure
from rayfe.config.presets import fig3_quick, mnist_walk

FormName = Literal["short", "long", "gamma15", "fashion", "resnet"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Form:
    """One setting: the same data, model and start for all methods."""

    walk: RunConfig
    """rayfe's walk, from which every method's configuration is derived."""
    adam: EquilibrationConfig
    """What trains with Adam, by the paper's schedule."""
    points: int
    """After the start, in equal steps of log lam."""
    methods: tuple[str, ...]
    """That are run where none is named, those first that tell most."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """That are run where none is named."""

    def base(self, *, seed: int, threads: int, data: str | None = None) -> RunConfig:
        """The walk of one start, on `data` in place of the form's own.

        Raises:
            UsageError: data.name; it is no text that names data.
        """
        length = step_length(self.walk.lam[0], self.walk.asked.lam_end, self.points)
        more = {} if data is None else {"data": {"name": data}}
        return configure(self.walk, seed=(seed,), step_length=length, threads=threads, **more)


def step_length(lam: float, lam_end: float, points: int) -> float:
    """The length of steps in log lam with which `points` of them lead from lam to lam_end."""
    return math.log(lam_end / lam) / points


def _long() -> RunConfig:
    """One start of the preset mnist-walk, with fewer epochs a point and in steps: budgets multiply epochs, but not those of renewals."""
    base = configure(mnist_walk(), gamma=(4.0,), lam_end=3.5, renewal=RenewalConfig(every=0.6), steps=200)
    equilibration = dataclasses.replace(base.equilibration, first_epochs=40.0, epochs=2.0)
    return configure(base, equilibration=equilibration, measure=dataclasses.replace(base.measure, head_draws=64))


def _short() -> RunConfig:
    """The same on a tenth of the images, not as far."""
    return configure(
        lam_end=0.7,
        data={"train_size": 6_000},
        measure=MeasureConfig(head_draws=128),
        renewal=RenewalConfig(every=0.6),
        equilibration=EquilibrationConfig(
            first_epochs=40,
            first_schedule="linear",
            first_learning_rate=1e-2,
            epochs=8,
            schedule="average",
            learning_rate=8e-3,
            optimizer="soap",
            batch=256,
        ),
    )


def _resnet() -> RunConfig:
    """The preset fig3-quick by rayfe's optimizer, with a start of three times as many updates: that of the preset is so far from
    equilibrium that C falls by more in one step than a settle can make good."""
    base = configure(fig3_quick(), steps=200, tolerance=0.005, renewal=RenewalConfig(every=0.6))
    by_soap = {"optimizer": "soap", "schedule": "average", "learning_rate": 6e-3}
    start = {"first_epochs": 30, "first_batch": 64, "first_learning_rate": 1e-2}
    return configure(base, measure={"response_size": 2_000}, equilibration=by_soap | start)


LONG = (
    *("rayfe-leap", "conditioned", "nupi-soap-leap", "rayfe-plain", "nupi-soap", "nupi", "nupi-leap", "warm-grid-soap-leap"),
    *("rayfe", "nupi-soap-both", "augmented", "augmented-soap", "geco", "geco-soap", "warm-grid", "warm-grid-soap"),
    *("paper", "paper-soap"),
)
"""Grids and the envelope take hours and are asked for by name."""
SHORT = ("rayfe-plain", "conditioned", "paper", "grid", "warm-grid", "heuristic", "nupi", "nupi-soap", "augmented", "geco")
ADAM = EquilibrationConfig(batch=512, learning_rate=4e-3)
"""For 60,000 images."""
FORMS: Mapping[FormName, Form] = MappingProxyType(
    {
        "short": Form(
            walk=_short(), adam=EquilibrationConfig(batch=256, learning_rate=6e-3), points=4, methods=SHORT, seeds=(0,)
        ),
        "long": Form(walk=_long(), adam=ADAM, points=20, methods=LONG),
        "gamma15": Form(walk=configure(_long(), gamma=(15.0,)), adam=ADAM, points=20, methods=LONG),
        "fashion": Form(
            walk=configure(_long(), data={"name": "fashion-mnist"}),
            adam=ADAM,
            points=20,
            methods=LONG[:5],
        ),
        "resnet": Form(
            walk=_resnet(),
            adam=fig3_quick().equilibration,
            points=4,
            methods=("rayfe-plain", "conditioned", "nupi-soap", "grid"),
            seeds=(0, 1),
        ),
    }
)
"""By name."""
