"""Runs that another run is told of: their stored models bound its free energy, too, and its steps may start from them."""

from __future__ import annotations

import functools
import hashlib
import json
import posixpath
from collections.abc import Mapping
from typing import Any

from rayfe.config import RunConfig, require, stored_identity
from rayfe.files import CorruptFile
from rayfe.store import Store
from rayfe.trajectory.envelope import Bounding


def known_models(config: RunConfig) -> tuple[Bounding, ...]:
    """Accepted steps of `config.known_runs` whose weights are stored, in the order of runs and rows.

    Raises:
        FileNotFoundError, CorruptFile: a run is not there (any more), or cannot be read.
    """
    found = []
    for location in config.known_runs or ():
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
    if not config.known_runs:
        return None
    for location in config.known_runs:
        store = Store(location)
        try:
            run = store.read_config()
            alike = run["data_sha256"] == manifest["data_sha256"] and _defining(run) == _defining(manifest)
        except (FileNotFoundError, CorruptFile, KeyError) as error:
            require(False, "known_runs", location, f"cannot be read ({error}); give folders of runs")
        require(alike, "known_runs", location, "has other data or another model; give runs of the same")
        same = run.get("readings", 1) == manifest["readings"]
        require(
            same,
            "known_runs",
            location,
            "has readings that are defined otherwise than this version's; give runs of this version",
        )
    weights = [model.row.state_sha256 for model in known_models(config)]
    return hashlib.sha256(json.dumps(weights).encode()).hexdigest()


def _defining(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What makes F the same function: model, data path and training images."""
    fields = stored_identity(manifest)
    held_out = {"data.control_share": fields["data.control_share"]} if fields.get("hold") == "control" else {}
    of = ("model.",) if fields["path.target"] is None else ("model.", "path.")
    return held_out | {name: value for name, value in fields.items() if name.startswith(of) and name != "path.last_epochs"}
