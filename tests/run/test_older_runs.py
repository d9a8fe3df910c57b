"""Runs of versions that had fewer options: continued, known to others, and found again by name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import rayfe
from rayfe.benchmark.running import _describe
from rayfe.config import READINGS, PathConfig, RunConfig, from_flat, identity, stored_identity
from rayfe.exceptions import UsageError
from rayfe.results.known_models import known_digest
from rayfe.storage.manifest import digest_of, stored_config, stored_manifest
from rayfe.storage.store import Store

RESULTS = Path(__file__).parents[2] / "analysis" / "results"
WALK, TRANSFER = RESULTS / "mnist-walk", RESULTS / "transfer-mnist" / "geodesic-32-draws"


def manifest(config: RunConfig, run: dict[str, Any]) -> dict[str, Any]:
    """Of a run with the same data, code and definition of readings, and options of this version."""
    same = json.loads(json.dumps(identity(config)))
    kept = {name: run.get(name) for name in ("job", "data_sha256", "known_sha256", "config")}
    return kept | {"identity": same, "code_sha256": {}, "readings": run.get("readings", 1)}


@pytest.mark.parametrize("place", [WALK, TRANSFER], ids=["walk", "transfer"])
def test_a_stored_run_is_continued_by_this_version_and_refused_with_other_options(place: Path) -> None:
    store = Store(place)
    run, config = stored_config(store)
    assert "path.last_epochs" not in run["identity"]
    assert config.equilibration.compile == "never"
    config = dataclasses.replace(config, both_ways=run["config"].get("both_ways", False))
    assert stored_manifest(store, manifest(config, run), config) is not None
    other = dataclasses.replace(config, refresh=config.refresh + 1)
    with pytest.raises(UsageError, match="--refresh"):
        stored_manifest(store, manifest(other, run), other)


@pytest.mark.parametrize("place", [WALK, TRANSFER], ids=["walk", "transfer"])
def test_a_run_whose_readings_are_defined_otherwise_is_read_but_not_continued(place: Path) -> None:
    store = Store(place)
    run, config = stored_config(store)
    now = manifest(config, run) | {"readings": READINGS}
    with pytest.raises(UsageError, match="readings are defined otherwise .* use another --out"):
        stored_manifest(store, now, config)
    told = dataclasses.replace(config, known_runs=(str(place),))
    with pytest.raises(UsageError, match="readings that are defined otherwise"):
        known_digest(told, now)
    assert rayfe.load_run(place)["accepted"].any()


@pytest.mark.parametrize("place", [WALK, TRANSFER], ids=["walk", "transfer"])
def test_a_stored_run_may_be_known_to_one_of_this_version(place: Path) -> None:
    run, config = stored_config(Store(place))
    told = dataclasses.replace(config, known_runs=(str(place),))
    assert known_digest(told, manifest(told, run)) is not None
    other = dataclasses.replace(told, model=dataclasses.replace(told.model, latent=told.model.latent + 1))
    with pytest.raises(UsageError, match="another model"):
        known_digest(other, manifest(other, run))


def test_the_path_of_walks_that_have_none_is_no_part_of_them() -> None:
    usual, other = RunConfig(), RunConfig(path=PathConfig(solver="sinkhorn"))
    assert identity(usual) == identity(other)
    target = PathConfig(target="mnist:5-9")
    moving = RunConfig(process="constant-rate", path=target)
    assert identity(moving) != identity(dataclasses.replace(moving, path=dataclasses.replace(target, solver="sinkhorn")))


def test_a_stored_run_that_was_compiled_stays_so() -> None:
    assert from_flat({"equilibration.compile": True}).equilibration.compile == "always"
    assert stored_identity({"identity": {"equilibration.compile": True}})["equilibration.compile"] == "always"


def test_options_of_a_later_version_do_not_rename_a_run() -> None:
    run: dict[str, Any] = {"job": "isoc", "data_sha256": "d", "code_sha256": {}, "known_sha256": None, "readings": 2}
    config = RunConfig(refresh=3)
    fields = identity(config)
    fewer = {name: value for name, value in fields.items() if name not in ("implicit.damping", "predictor")}
    assert digest_of(run | {"identity": fields}) == digest_of(run | {"identity": fewer})
    assert digest_of(run | {"identity": fields}) != digest_of(run | {"identity": identity(RunConfig())})


def test_a_benchmarks_folder_without_an_identity_is_refused_in_one_line(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.create({"method": "nupi", "data_sha256": "d"})
    with pytest.raises(UsageError, match="another configuration"):
        _describe(store, {"method": "nupi"}, {"identity": identity(RunConfig()), "data_sha256": "d"})
