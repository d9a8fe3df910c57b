"""Runs that another run is told of: their stored models bound its free energy, too, and its steps may start from them."""

from __future__ import annotations

import functools
import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping
from typing import Any

from rayfe.config import RunConfig, require, stored_identity
from rayfe.exceptions import CorruptFile, UsageError
from rayfe.storage.store import Store
from rayfe.trajectory.envelope import Bounding


def known_models(config: RunConfig) -> tuple[Bounding, ...]:
    """Accepted steps of `config.known_runs` whose weights are stored, in the order of runs and rows.

    Raises:
        FileNotFoundError, CorruptFile: a run is not there (any more), or cannot be read.
    """
    found = []
    for location in config.asked.known_runs or ():
        store = Store(location)
        store.read_config()  # a run that is gone must not read as one without rows
        for name in store.trajectories():
            run = f"{posixpath.basename(store.url().rstrip('/'))} {name}"
            for row in store.rows(name):
                if row.accepted and store.has_state(row):
                    found.append(Bounding(row=row, weights=functools.partial(store.state, row), run=run))
    return tuple(found)


def known_digest(config: RunConfig, manifest: Mapping[str, Any]) -> str | None:
    """SHA-256 over the models of `config.known_runs`, None without any: rows depend on them.

    Raises:
        UsageError: one of them is no run of the same data, model and split.
    """
    if not config.asked.known_runs:
        return None
    require_alike(manifest, config.asked.known_runs, "known_runs")
    weights = [model.row.state_sha256 for model in known_models(config)]
    return hashlib.sha256(json.dumps(weights).encode()).hexdigest()


def require_alike(manifest: Mapping[str, Any], locations: Iterable[str], field: str) -> None:
    """Check that runs are of the same data, model and split as the run of `manifest`: only then their models bound its F.

    Raises:
        UsageError: one of them is not, or cannot be read; it names `field`.
    """
    for location in locations:
        try:
            run = Store(location).read_config()
            alike = run["data_sha256"] == manifest["data_sha256"] and _defining(run) == _defining(manifest)
        except (FileNotFoundError, CorruptFile, KeyError, TypeError, ValueError) as error:
            raise UsageError(field, location, f"cannot be read ({error}); give folders of runs") from error
        require(alike and _same_code(run, manifest), field, location, "has other data or another model; give runs of the same")
        same, fix = run.get("readings", 1) == manifest.get("readings", 1), "give runs of one version"
        require(same, field, location, f"has readings that are defined otherwise than this run's; {fix}")


def _same_code(run: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether a model of the user's own has the same code in both, as far as both know it."""
    digests = {digest for one in (run, other) if (digest := one.get("code_sha256", {}).get("model.name")) is not None}
    return len(digests) <= 1


def _defining(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What makes F the same function: model, data path and training images."""
    fields = stored_identity(manifest)
    held_out = {"hold": "control"} if fields.get("hold") == "control" else {}
    of = ("model.",) if fields["path.target"] is None else ("model.", "path.")
    known = stored_identity({"identity": {}})  # older runs have options that there are not any more
    defining = {name: value for name, value in fields.items() if name in known and name.startswith(of)}
    return held_out | {name: value for name, value in defining.items() if name != "path.last_epochs"}
