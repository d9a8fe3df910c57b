"""Runs of versions that had fewer options: continued, known to others, and found again by name."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

import rayfe
from rayfe.config import (
    READINGS,
    PathConfig,
    RenewalConfig,
    RunConfig,
    configure,
    flat,
    from_flat,
    identity,
    retired,
)
from rayfe.exceptions import UsageError, in_shell_words, shown
from rayfe.results.pooling import require_alike
from rayfe.storage.manifest import digest_of, stored_config, stored_manifest
from rayfe.storage.store import Store

RESULTS = Path(__file__).parents[2] / "analysis" / "results"
WALK, TRANSFER = RESULTS / "mnist-walk", RESULTS / "transfer-mnist" / "geodesic-32-draws"


def manifest(config: RunConfig, run: dict[str, Any]) -> dict[str, Any]:
    """Of a run with the same data, code and definition of readings, and options of this version."""
    same = json.loads(json.dumps(identity(config)))
    kept = {name: run.get(name) for name in ("job", "data_sha256", "config")}
    return kept | {"identity": same, "code_sha256": {}, "readings": run.get("readings", 1)}


def test_a_stored_run_is_continued_by_this_version_and_refused_with_other_options() -> None:
    store = Store(WALK)
    run, config = stored_config(store)
    assert "path.last_epochs" not in run["identity"]
    assert config.equilibration.compile == "never"
    assert config.asked.both_ways == run["config"].get("both_ways", False)
    assert stored_manifest(store, manifest(config, run), config) is not None
    other = configure(config, refresh=config.asked.refresh + 1)
    with pytest.raises(UsageError, match="refresh="):
        stored_manifest(store, manifest(other, run), other)


@pytest.mark.parametrize("place", [WALK, TRANSFER], ids=["walk", "transfer"])
def test_a_run_whose_readings_are_defined_otherwise_is_read_but_not_continued(place: Path) -> None:
    store = Store(place)
    run, config = stored_config(store)
    now = manifest(config, run) | {"readings": READINGS}
    with pytest.raises(UsageError, match="readings are defined otherwise .* use another out"):
        stored_manifest(store, now, config)
    with pytest.raises(UsageError, match="readings that are defined otherwise"):
        require_alike(now, [str(place)], "with")
    assert rayfe.load_run(place)["accepted"].any()


@pytest.mark.parametrize("place", [WALK, TRANSFER], ids=["walk", "transfer"])
def test_a_stored_run_may_be_named_beside_one_of_this_version(place: Path) -> None:
    run, config = stored_config(Store(place))
    require_alike(manifest(config, run), [str(place)], "with")
    other = configure(config, model=dataclasses.replace(config.model, latent=config.model.latent + 1))
    with pytest.raises(UsageError, match="another model"):
        require_alike(manifest(other, run), [str(place)], "with")


@pytest.mark.parametrize(
    ("asked", "field", "value"),
    [
        (configure(), "restart", 0.01),
        (configure(), "equilibration.gap", 0.002),
        (configure(), "step_growth", 2.0),
        (configure(), "step_length_min", 0.1),
        (configure(process="iso-functional", stencil="paper"), "direction", "backward"),
        (configure(renewal=RenewalConfig(every=0.5)), "renewal.epochs", 10.0),
        (configure(process="geodesic", stencil="paper", path=PathConfig(target="mnist:5-9")), "line_tolerance", 0.1),
        (configure(method="joint", path=PathConfig(target="mnist:5-9")), "path.kind", "displacement"),
    ],
)
def test_a_run_that_followed_an_option_of_the_past_is_not_continued(
    tmp_path: Path, asked: RunConfig, field: str, value: object
) -> None:
    store, run = Store(tmp_path), {"job": "isoc", "data_sha256": "d", "config": flat(asked)}
    now = manifest(asked, run)
    store.create(now | {"identity": now["identity"] | {field: retired(asked)[field][0]}})
    assert stored_manifest(store, now, asked) is not None
    store.create(now | {"identity": now["identity"] | {field: value}})
    with pytest.raises(UsageError) as refused:
        stored_manifest(store, now, asked)
    assert in_shell_words(refused.value).startswith(f"--{field.replace('_', '-')} {shown(value)}: is what the stored run has")


def test_a_run_that_was_given_an_option_without_effect_goes_on_without_it(tmp_path: Path) -> None:
    store, config = Store(tmp_path), configure()
    now = manifest(config, {"job": "isoc", "data_sha256": "d", "config": flat(config)})
    store.create(now | {"identity": now["identity"] | {"functional": [1.0, 0.0, 0.0], "model.width": 32}})
    assert stored_manifest(store, now, config) is not None
    store.create(now | {"identity": now["identity"] | {"model.hidden": 32}})
    with pytest.raises(UsageError, match="the stored run has 32"):
        stored_manifest(store, now, config)


def test_a_run_that_knew_others_is_not_continued(tmp_path: Path) -> None:
    store, config = Store(tmp_path), configure()
    now = manifest(config, {"job": "isoc", "data_sha256": "d", "config": flat(config)})
    store.create(now | {"known_sha256": "k"})
    with pytest.raises(UsageError, match="known_runs="):
        stored_manifest(store, now, config)


def test_the_path_of_walks_that_have_none_is_no_part_of_them() -> None:
    assert not any(name.startswith("path.") for name in identity(configure()))
    target = PathConfig(target="mnist:5-9", kind="displacement")
    moving = configure(process="constant-rate", path=target)
    assert identity(moving) != identity(configure(moving, path=dataclasses.replace(target, regularization=0.05)))


def test_a_run_whose_updates_were_compiled_in_half_can_be_read_but_does_not_go_on(tmp_path: Path) -> None:
    assert from_flat({"equilibration.compile": True}).equilibration.compiled
    run, config = stored_config(Store(WALK))
    run["identity"]["equilibration.compile"] = True
    (tmp_path / "run.json").write_text(json.dumps(run))
    store = Store(str(tmp_path))
    with pytest.raises(UsageError, match='"compile": True}: is what the stored run has, which this version does not offer'):
        stored_manifest(store, manifest(config, run), config)


def test_a_run_that_is_computed_as_ever_keeps_its_name_and_one_that_is_not_gets_another() -> None:
    run: dict[str, Any] = {"job": "isoc", "data_sha256": "d", "code_sha256": {}, "readings": 2}

    def name(**fields: Any) -> str:
        return digest_of(run | {"identity": {"refresh": 3} | fields})

    assert name() == name(**{"equilibration.compile": False}) == name(**{"equilibration.compile": "never"})
    assert len({name(), *(name(**{"equilibration.compile": way}) for way in ("always", "onednn", "update"))}) == 4


def test_options_of_a_later_version_do_not_rename_a_run() -> None:
    run: dict[str, Any] = {"job": "isoc", "data_sha256": "d", "code_sha256": {}, "readings": 2}
    config = configure(refresh=3)
    fields = identity(config)
    fewer = {name: value for name, value in fields.items() if name not in ("implicit.damping", "predictor")}
    assert digest_of(run | {"identity": fields}) == digest_of(run | {"identity": fewer})
    assert digest_of(run | {"identity": fields}) != digest_of(run | {"identity": identity(configure())})
