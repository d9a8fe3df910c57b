"""The command that goes on with a stored run, or makes one like it: copied and typed, it does."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rayfe
from rayfe.cli.commands.locate import way
from rayfe.cli.job_command import main
from rayfe.config.start import StoredStep
from rayfe.model.mlp import MLP
from rayfe.run import job
from rayfe.storage.again import Again, again
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store
from untrained_job import DIGITS, arrays, walk

pytestmark = pytest.mark.usefixtures("cwd")


class Own(MLP):
    """A model that is defined in a notebook."""


@pytest.fixture(autouse=True)
def untrained(runner: Callable[[Any], None], monkeypatch: pytest.MonkeyPatch) -> None:
    runner(walk)
    monkeypatch.setattr(job, "_report", lambda *_: None)


def mine() -> Any:
    return rayfe.dataset(np.random.default_rng(0).random((40, 6)), np.arange(40) % 2, name="mine")


def found(place: str) -> Again:
    store = Store(place)
    return again(store, *stored_config(store), place)


def typed(command: str) -> int:
    python, script, *words = shlex.split(command)
    assert python == "python"
    return main(Path(script).stem, words)


def steps(place: str) -> int:
    return len(rayfe.load_run(place))


def test_the_command_of_a_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("isoc", [*DIGITS, "--gamma", "4", "6", "--no-settle", "--out", "a run"]) == 0
    said = found("a run")
    assert said == Again(
        command="python jobs/isoc.py digits-smoke --gamma 4.0 6.0 --steps 2 --out 'a run' --no-settle", needs=()
    )
    assert typed(said.command.replace("--steps 2", "--steps 4")) == 0
    assert steps("a run") == 10


def test_a_run_of_arrays_goes_on_with_its_own_copy_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    rayfe.walk("digits-smoke", data=mine(), steps=1, equilibration={"batch": 8}, out="r", quiet=True)
    said = found("r")
    assert "--data.name npz:r/data/mine.npz" in said.command and said.needs == ()
    assert typed(said.command.replace("--steps 1", "--steps 3")) == 0, capsys.readouterr().err
    assert steps("r") == 4


def test_a_file_of_the_users_own_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    np.savez("own.npz", **arrays())
    Path("elsewhere").mkdir()
    assert main("isoc", [*DIGITS, "--data.name", "npz:own.npz", "--equilibration.batch", "8", "--out", "r"]) == 0
    said = found("r")
    assert said.needs == ("own.npz in the working directory",)
    assert typed(said.command) == 0


def test_a_notebooks_class_goes_on_by_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Own, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Own", Own, raising=False)
    asked: dict[str, Any] = {"model": Own, "data": mine(), "steps": 1, "equilibration": {"batch": 8, "epochs": 2}}
    rayfe.walk("digits-smoke", out="r", quiet=True, **asked)
    said = found("r")
    assert said.needs == ("Own, defined as it was",)
    assert "model=Own" in said.command and "'equilibration.batch': 8" in said.command
    run = eval(said.command.replace("steps=1", "steps=3"), {"rayfe": rayfe, "Own": Own})  # as copied
    assert run.accepted.step.tolist() == [0, 1, 2, 3]


def test_the_way_to_wanted_values_is_of_the_runs_own_preset_data_and_training(capsys: pytest.CaptureFixture[str]) -> None:
    rayfe.walk("digits-smoke", data=mine(), steps=1, equilibration={"batch": 8}, out="r", quiet=True)
    said = way(StoredStep(run="r"), ["R=3", "C=0.1"], lam=1.5, gamma=3.0)
    command = said.removeprefix("to go there: ")
    assert command.startswith("python jobs/isoc.py digits-smoke --lam 1.5 --gamma 3.0")
    assert typed(command) == 0, capsys.readouterr().err
    _, config = stored_config(Store("runs/seek-R3-C0.1"))
    assert config.asked.seek == ("R=3", "C=0.1")
    assert (config.data.name, config.equilibration.batch) == ("npz:mine.npz", 8)


def test_a_run_of_another_process_can_be_sought_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("isoc", ["gaussian-exact", "--steps", "1", "--out", "r"]) == 0
    assert typed(way(StoredStep(run="r"), ["R=3", "C=0.1"], lam=1.5, gamma=3.0).removeprefix("to go there: ")) == 0, (
        capsys.readouterr().err
    )


def test_beside_a_conditioned_model_a_seek_starts_from_the_nearest_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("conditioned", ["digits-smoke", "--lam", "1", "2", "--gamma", "4", "--steps", "1", "--out", "r"]) == 0
    near = StoredStep(run="r", trajectory="lam1-gamma4-seed0", step=1)
    command = way(near, ["R=3", "C=0.1"], lam=1.5, gamma=4.0).removeprefix("to go there: ")
    assert command.startswith("python jobs/isoc.py digits-smoke ") and "--lam" not in command and "--tolerance" not in command
    assert typed(command) == 0, capsys.readouterr().err
    assert stored_config(Store("runs/seek-R3-C0.1"))[1].start == near.name


def test_a_run_of_another_program_shows_what_it_says_of_itself() -> None:
    assert main("isoc", [*DIGITS, "--out", "r"]) == 0
    run, config = stored_config(Store("r"))
    assert again(Store("r"), run | {"job": "sweep", "command": "make it"}, config) == Again(command="make it", needs=())


@pytest.mark.parametrize("preset", ["digits-smoke", "of-an-older-version"])
def test_a_preset_that_is_gone_leaves_the_same_configuration(preset: str) -> None:
    assert main("isoc", [*DIGITS, "--out", "r"]) == 0
    run, config = stored_config(Store("r"))
    said = again(Store("r"), run | {"preset": preset}, config, "r")
    assert typed(said.command) == 0
    assert stored_config(Store("r"))[1] == config
