"""A configuration as flat fields, as run.json has it, and which of them define a run's rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rayfe.config.asked import Baseline, FreeWalk, Moving, Seek, Transfer, Walk
from rayfe.config.configure import renamed
from rayfe.config.fields import flat
from rayfe.config.run import RunConfig

VERSION = "0.1.0"
"""Of the program; run.json and a model's card name it."""
FREE = frozenset(
    {
        *(
            "lam",
            "gamma",
            "seed",
            "steps",
            "out",
            "backend",
            "evaluators",
            "time_budget",
            "keep_states",
            "certificate_share",
        ),
        *("both_ways", "placement", "autoscale", "train_workers", "log_format"),
    }
)
"""Fields that may change when a run is continued: they alter rows that are yet to come by rounding at most, or none."""

BEFORE = MappingProxyType({"equilibration.compile": False, "trajectories_per_evaluator": 1})
"""How runs were computed before there was a field for it."""

BY_CONTENT = frozenset({"data.root", "start"})
"""Fields that say where things are, which may move: run.json has a digest of what is there."""

UNREAD_BY_BASELINES = frozenset({"path.kind", "path.last_epochs"})
"""Fields of a data path that baselines have: they train on its two data sets themselves, and never blend or couple them."""

READINGS = 2
"""How R, D and C are read; rows of one run have one definition. 1: batch-norm statistics of consecutive chunks, noise and parts by the
place of an example; 2: statistics of the population, noise and parts by its number."""


def identity(config: RunConfig) -> dict[str, Any]:
    """The fields that define a trajectory's rows, by flat name; `method` and `seek` also of those that have none. `lam` and `gamma`
    are there of a conditioned model, and are the ends of its box."""
    kind: dict[str, Any] = {"method": config.method, "seek": config.asked.seek}
    unread = FREE | BY_CONTENT | (set() if config.method is None else UNREAD_BY_BASELINES)
    box = {} if config.box is None else {"lam": list(config.box.lam), "gamma": list(config.box.gamma)}
    return {name: value for name, value in (kind | flat(config)).items() if name not in unread} | box


def stored_identity(run: Mapping[str, Any]) -> dict[str, Any]:
    """`identity` in a run.json, with defaults for fields that its version did not have.

    Raises:
        KeyError, TypeError, ValueError: it is not that of a run.
    """
    return usual_identity() | renamed(dict(BEFORE) | run["identity"])


def usual_identity() -> dict[str, Any]:
    """The defaults of all fields that any kind has, and two draws through the decoder, as JSON has them."""
    kinds = (Seek(seek=("R=1", "C=1")), Baseline(), FreeWalk(), Transfer(process="constant-rate"), Walk())
    usual = {name: value for asked in kinds for name, value in identity(RunConfig(asked=asked)).items()}
    return json.loads(json.dumps(usual | {"measure.decoder_draws": 2}))


def retired(config: RunConfig) -> dict[str, tuple[Any, ...]]:
    """What older versions had options for, by the names that run.json has them under, with the values with which a run goes on.

    Only what matters to its rows: a walk without renewals may have had any. Several values: presets had others than the default,
    and rows differ in what the probe of a training reads alone.
    """
    asked, values = config.asked, _of_all(config)
    if asked.hold == "control":
        values["data.control_share"] = (0.1,)
    if asked.derivatives == "implicit":
        solve = {"examples": 10_000, "damping": 0.01, "iterations": 40, "accuracy": 1e-3}
        values |= {f"implicit.{name}": (value,) for name, value in solve.items()}
    if config.path.regularization is not None:
        values["path.components"] = (64,)
    if asked.stencil == "paper":
        values["neighbours.lam_delta"] = (config.neighbours.lam_delta,)
    if asked.settle:
        values["neighbours.reach"] = (config.neighbours.reach,)
    return values | _of_steps(config)


def _of_steps(config: RunConfig) -> dict[str, tuple[Any, ...]]:
    """Of what goes in steps, and of baselines."""
    asked = config.asked
    values: dict[str, tuple[Any, ...]] = {
        "restart": (None,),
        "order": (1,),
        "known_runs": (None,),
        "equilibration.gap": (None,),
    }
    if config.process == "iso-functional":
        values["direction"] = ("forward",)
    if asked.renewal.every is not None:
        values |= {"renewal.share": (0.6,), "renewal.epochs": (12.0,)}
    if isinstance(asked, Baseline):
        # older versions trained on blends of two images on a displacement
        return values | {"method_interval": (asked.method_epochs / 15,), "path.kind": ("mixture",)}
    if not isinstance(asked, Moving):
        return values
    first = asked.step_length_first
    values["step_length_min"] = (0.005 / 0.13 * asked.step_length if first is None else 0.1 * first,)
    values["step_growth"] = (1.5 if config.moves_data else 1.3,)
    if config.process == "geodesic" and asked.k is None:
        values["line_tolerance"] = (0.05,)
    return values


def _of_all(config: RunConfig) -> dict[str, tuple[Any, ...]]:
    """Of all kinds of runs."""
    return {
        "device": ("auto",),
        "equilibration.head_draws": (8,),
        "equilibration.decoder_draws": (1,),
        "equilibration.carry_preconditioner": (True,),
        "measure.bound_draws": (8,),
        "measure.bound_share": (0.005,),
        "measure.gradient_share": (0.04,),
        "measure.probe_size": (5000, 1000),
        "measure.settle_size": (None, config.measure.response_size),
        "measure.slope_size": (None, 4000, config.measure.response_size),
    }


def digest(config: RunConfig) -> str:
    """SHA-256 of `identity`, to tell two configurations apart."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()
