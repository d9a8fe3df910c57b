"""A configuration as flat fields, as run.json has it, and which of them define a run's rows."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from rayfe.config.run import RunConfig

VERSION = "0.1.0"
"""Of the program; run.json and a model's card name it."""
FREE = frozenset(
    {
        *("lam", "gamma", "seed", "steps", "out", "backend", "evaluators", "time_budget", "keep_states"),
        *(
            "certificate_share",
            "both_ways",
            "placement",
            "gpus_per_evaluator",
            "autoscale",
            "train_workers",
            "log_format",
            "tensorboard",
            "mlflow",
        ),
    }
)
"""Fields that may change when a run is continued: they alter rows that are yet to come by rounding at most, or none."""

BY_CONTENT = frozenset({"data.root", "known_runs"})
"""Fields that say where things are, which may move: run.json has digests of what is there."""

READINGS = 2
"""How R, D and C are read; rows of one run have one definition. 1: batch-norm statistics of consecutive chunks, noise and parts by the
place of an example; 2: statistics of the population, noise and parts by its number."""

OF_BASELINES = frozenset({"method_epochs", "method_interval"})
"""Fields that only baselines read."""
OF_TRANSFERS = frozenset({"path.last_epochs"})
"""Fields that baselines have, but do not read."""


def flat(config: object, prefix: str = "") -> dict[str, Any]:
    """Fields of a nested config by dotted name."""
    fields: dict[str, Any] = {}
    for item in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            fields |= flat(value, f"{prefix}{item.name}.")
        else:
            fields[prefix + item.name] = value
    return fields


def from_flat(fields: Mapping[str, Any]) -> RunConfig:
    """The configuration whose `flat` fields these are; what is missing has its default, lists become tuples.

    Raises:
        ValueError, TypeError: the fields are not those of a configuration.
    """
    fields = in_present_words(fields)

    def build(cls: Any, prefix: str) -> Any:
        values = {}
        for item in dataclasses.fields(cls):
            name = prefix + item.name
            if isinstance(item.default_factory, type) and dataclasses.is_dataclass(item.default_factory):
                values[item.name] = build(item.default_factory, f"{name}.")
            elif name in fields:
                value = fields[name]
                values[item.name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)

    return build(RunConfig, "")


def identity(config: RunConfig) -> dict[str, Any]:
    """The fields that define a trajectory's rows, by dotted name."""
    unread = FREE | BY_CONTENT | (OF_BASELINES if config.method is None else OF_TRANSFERS)
    still = config.path.target is None  # reads nothing else of the path
    return {
        name: value for name, value in flat(config).items() if name not in unread and not (still and name.startswith("path."))
    }


def stored_identity(run: Mapping[str, Any]) -> dict[str, Any]:
    """`identity` in a run.json, with defaults for fields that its version did not have.

    Raises:
        KeyError, TypeError, ValueError: it is not that of a run.
    """
    stored = {"equilibration.compile": False} | dict(run["identity"])
    return json.loads(json.dumps(flat(RunConfig()))) | in_present_words(stored)


def in_present_words(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a run.json with values that older versions wrote otherwise."""
    words: dict[str, dict[Any, str]] = {
        "equilibration.compile": {False: "never", True: "always"},
        "replicas_per_evaluator": {None: "all"},
    }
    return {name: words[name].get(value, value) if name in words else value for name, value in fields.items()}


def digest(config: RunConfig) -> str:
    """SHA-256 of `identity`, to tell two configurations apart."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()
