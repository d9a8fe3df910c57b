"""rayfe.walk and rayfe.transfer: the same job as the command line's, from arguments, classes and arrays."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import rayfe
from rayfe.cli.command import main as rayfe_main
from rayfe.cli.job_command import main
from rayfe.cli.options import parse
from rayfe.config import (
    EquilibrationConfig,
    MeasureConfig,
    ModelConfig,
    PathConfig,
    RenewalConfig,
    RunConfig,
    configure,
    flat,
    unread,
)
from rayfe.config.presets import PRESETS
from rayfe.config.resolve import words_of
from rayfe.config.user_code import name_of
from rayfe.exceptions import UsageError
from rayfe.records import Held, Point, Response, Velocity
from rayfe.run import api, job
from rayfe.storage.store import Store
from rayfe.surface.process import Process

QUICK = EquilibrationConfig(first_epochs=20, first_schedule="linear", first_learning_rate=1e-2, epochs=1, batch=64)
SMALL: dict[str, Any] = {"equilibration": QUICK, "measure": MeasureConfig(head_draws=8), "settle": False, "quiet": True}
NAME = "lam1-gamma4-seed0"


class Net(nn.Module):
    """A convolutional model for digits, defined as in a notebook: `notebook` puts it into `__main__`."""

    latent = 5

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, config: ModelConfig) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(36, 10))
        self.decoder = nn.Sequential(nn.Linear(5, 64), nn.Sigmoid(), nn.Unflatten(1, (1, 8, 8)))
        self.classifier = nn.Linear(5, classes)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def classify(self, z: Tensor) -> Tensor:
        return self.classifier(z)


class Constant(Process):
    """lam goes up at constant gamma."""

    moved_by = ("gamma",)

    @property
    def held(self) -> tuple[Held, ...]:
        return (Held(C=1.0),)

    def velocity(self, point: Point, response: Response) -> Velocity:
        return Velocity(lam=point.lam, gamma=0.0)

    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        return dataclasses.replace(point, lam=point.lam + velocity.lam * length)


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Net and Constant are defined in `__main__`; call it for another notebook, which has neither."""
    for cls in (Net, Constant):
        monkeypatch.setattr(cls, "__module__", "__main__")
        monkeypatch.setattr(sys.modules["__main__"], cls.__name__, cls, raising=False)

    def close() -> None:
        for cls in (Net, Constant):
            monkeypatch.delattr(sys.modules["__main__"], cls.__name__)

    yield close


@pytest.fixture(autouse=True)
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "draw_all", lambda *_, **__: {})  # seconds, and tested elsewhere
    return tmp_path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[job.Job]:
    """Jobs that would be carried out, which are not."""
    jobs: list[job.Job] = []
    monkeypatch.setattr(api, "carry_out", lambda asked, console: jobs.append(asked) or {})
    return jobs


def digits(part: slice = slice(0, 300)) -> Any:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return rayfe.dataset(bunch.images[part] / 16, bunch.target[part], name="own-digits")


# --- arguments and words ----------------------------------------------------------------------------------------------


def read_fields(config: RunConfig) -> dict[str, Any]:
    """Fields that have an effect."""
    idle = {one.name for one in unread(config)}
    return {name: value for name, value in flat(config).items() if name not in idle}


@pytest.mark.parametrize("name", PRESETS)
def test_words_of_a_configuration_make_it_again(name: str) -> None:
    first, *others = PRESETS[name].items()
    default = first[1]()
    own = {
        "isoc": {"settle": False, "renewal": RenewalConfig(every=None), "tolerance": 0.031},
        "transfer": {"settle": False, "tolerance": 0.031},
        "baseline": {"tolerance": 0.031},
        "conditioned": {"gamma": (2.0, 3.0)},
    }[name]
    changed = configure(default, lam=(0.5, 1.0), time_budget=7.5, model=Large, **own)
    for config in (changed, *(preset() for _, preset in others)):
        words = words_of(config, default)
        assert read_fields(parse(name, first[0], words)) == read_fields(config)
    assert words_of(default, default) == []


OTHERS = [
    ("isoc", "mnist-walk", ["--no-both-ways", "--renewal.leap", "0"]),
    ("isoc", "mnist-walk", ["--no-both-ways", "--renewal.every", "None", "--renewal.leap", "0"]),
    ("isoc", "digits-smoke", ["--process", "iso-functional", "--functional", "1", "0", "2", "--stencil", "paper"]),
    ("isoc", "digits-smoke", ["--process", "iso-functional", "--functional", "1", "0", "2", "--derivatives", "implicit"]),
    ("isoc", "digits-smoke", ["--process", "fixed-gamma"]),
    ("isoc", "digits-smoke", ["--seek", "C=0.1", "R=4"]),
    ("transfer", "fig6", ["--process", "geodesic", "--stencil", "paper"]),
    ("transfer", "fig6-quick", ["--process", "geodesic", "--stencil", "paper", "--lam-dot", "0"]),
    ("baseline", "fig5-quick", ["--path.last-epochs", "0"]),
]


@pytest.mark.parametrize(("name", "preset", "words"), OTHERS)
def test_words_that_change_what_a_preset_asks_for_are_taken_and_make_it_again(name: str, preset: str, words: list[str]) -> None:
    config = parse(name, preset, words)
    again = words_of(config, PRESETS[name][preset]())
    assert read_fields(parse(name, preset, again)) == read_fields(config)


def test_a_seek_may_be_one_text(asked: list[job.Job]) -> None:
    rayfe.walk("digits-smoke", seek="C=0.1 R=4", quiet=True)
    assert asked[0].config.asked.wanted == (("R", 4.0), ("C", 0.1))


Large = ModelConfig(hidden=300, dropout=0.25)


def test_arguments_are_what_the_command_line_would_have_said(asked: list[job.Job]) -> None:
    rayfe.walk("fig2", gamma=[4, 6], seed=np.arange(2), steps=3, out=Path("r"), lam_end=2.0, model=Large)
    (made,) = asked
    expected = ["fig2", "--gamma", "4.0", "6.0", "--seed", "0", "1", "--steps", "3", "--out", "r", "--lam-end", "2.0"]
    expected += ["--model.hidden", "300", "--model.dropout", "0.25", "--backend", "inline"]
    assert list(made.arguments) == expected
    assert (made.name, made.preset, made.config.gamma, made.config.seed) == ("isoc", "fig2", (4.0, 6.0), (0, 1))
    assert made.config.out == str(Path("r").absolute())


def test_a_whole_configuration_can_be_given(asked: list[job.Job]) -> None:
    config = configure(lam=(0.5,), equilibration=QUICK)
    rayfe.walk(config, steps=4, out="r")
    (made,) = asked
    assert made.config == configure(config, steps=4, backend="inline", out=made.config.out)


def test_without_out_equal_calls_share_a_folder_and_others_do_not(asked: list[job.Job]) -> None:
    data = digits(slice(0, 100))
    for call in [
        {},
        {"steps": 9, "seed": 1},
        {"settle": False},
        {"data": data},
        {"data": digits(slice(0, 100))},
        {"data": digits(slice(1, 101))},
        {"process": Constant},
    ]:
        rayfe.walk("digits-smoke", **call)
    first, grown, loose, own, same, other, process = (Path(str(made.config.out)).name for made in asked)
    assert first == grown and own == same
    assert len({first, loose, own, other, process}) == 5
    assert first.startswith("digits-smoke-")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"gamma": 0}, r"gamma=0.0: must be a positive number"),
        ({"lam": "many"}, r"lam='many': give a number"),
        ({"steps": 1.5}, r"steps=1.5: give a whole number"),
        ({"steps": -1}, r"steps=-1: must be at least 0"),
        ({"gama": 4}, r"^gama=4: is unknown; did you mean gamma\?$"),
        ({"batch": 32}, r'^batch=32: is unknown; did you mean equilibration={"batch": ...}\?$'),
        ({"epochs": 5}, r'^epochs=5: is unknown; did you mean equilibration={"epochs": ...}\?$'),
        ({"lr": 0.1}, r"^lr=0.1: is unknown"),
        ({"settle": 1}, r"^settle=1: give True or False$"),
        ({"step_length_first": True}, r"^step_length_first=True: give a number or None$"),
        ({"tolerance": "0.1"}, r"^tolerance='0.1': give a number$"),
        ({"lam": [0.1, "x"]}, r"^lam=\[0.1, 'x'\]: give a number, a list \(a number each\) or None$"),
        ({"equilibration": 5}, r'^equilibration=5: give a dict of its fields, such as equilibration={"first_epochs": ...}$'),
        (
            {"equilibration": {"epoch": 5}},
            r'^equilibration={"epoch": 5}: is unknown; did you mean equilibration={"epochs": ...}\?$',
        ),
        ({"equilibration": {"foo": 5}}, r'^equilibration={"foo": 5}: is unknown$'),
        ({"k": 0.5}, r"^k=0.5: is for transfers, not for walks; leave it away$"),
        ({"backend": "spark"}, r"backend='spark': give inline or ray"),
        ({"data": "mnits"}, r"data='mnits': .*did you mean mnist"),
        ({"data": pd.DataFrame({"a": [1.0]})}, r"data=DataFrame of shape \(1, 1\): .*rayfe.dataset"),
        ({"model": "alexnet"}, r"model='alexnet': give mlp, linear, resnet"),
        ({"model": nn.Linear(2, 2)}, r"model=Linear.*a class derived from Module"),
        ({"model": nn.Linear}, r"model='torch.nn.modules.linear:Linear': lacks the method encode"),
        ({"process": Net}, r"process=<class '.*Net'>: give a text, a class derived from Process or None"),
        ({"process": "constant-rate"}, r"process='constant-rate': is not for jobs/isoc.py, which walks"),
        ({"out": ""}, r"out='': is empty"),
        ({"preset": "fig5"}, r"preset='fig5': belongs to another job"),
        ({"preset": "-fig2"}, r"preset='-fig2': unknown preset; did you mean fig2"),
        ({"preset": 3}, r"preset=3: give a text, a RunConfig or None"),
        (
            {"equilibration": EquilibrationConfig(batch=5000)},
            r'equilibration={"batch": 5000}: there are 1442 training examples',
        ),
        (
            {"equilibration": EquilibrationConfig(first_batch=5000)},
            r'equilibration={"first_batch": 5000}: there are 1442 training',
        ),
        ({"method": "scratch"}, r"method='scratch'"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_input_is_a_usage_error_before_any_work(arguments: dict[str, Any], said: str, cwd: Path) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        rayfe.walk(**{"preset": "digits-smoke", "out": "new/run"} | arguments)
    assert isinstance(caught.value, ValueError)
    assert list(cwd.iterdir()) == []


def test_classes_without_a_name_are_refused() -> None:
    class Inner(Net):
        pass

    with pytest.raises(UsageError, match="defined inside a function; define it outside"):
        name_of(Inner, "model.name")
    Other = type("Net", (Net,), {"__module__": Net.__module__})  # noqa: N806
    with pytest.raises(UsageError, match="is another class by now"):
        name_of(Other, "model.name")
    assert name_of(Net, "model.name") == f"{__name__}:Net"


def test_two_data_sets_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="target='own-digits': is the name of the other data set"):
        rayfe.transfer(data=digits(), target=digits(slice(300, 600)))


def test_rays_workers_cannot_import_a_notebook(notebook: object) -> None:
    with pytest.raises(UsageError, match="model='__main__:Net': .*put it in a .py file, or use backend='inline'"):
        rayfe.walk("digits-smoke", model=Net, backend="ray", out="r")
    with pytest.raises(UsageError, match="process='__main__:Constant'"):
        rayfe.walk("digits-smoke", process=Constant, backend="ray", out="r")


# --- runs -------------------------------------------------------------------------------------------------------------


def test_a_walk_is_the_run_of_its_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    run = rayfe.walk("digits-smoke", steps=1, out="r", **SMALL)
    assert capsys.readouterr() == ("", "")
    command = Store("r").read_config()["command"].split()
    assert command[:3] == ["python", "jobs/isoc.py", "digits-smoke"]
    before = Path(f"r/steps/{NAME}.parquet").read_bytes()
    assert main("isoc", [*command[2:], "--out", "r"]) == 0
    assert Path(f"r/steps/{NAME}.parquet").read_bytes() == before
    assert main("isoc", [*command[2:], "--out", "fresh"]) == 0
    rows = [rows.drop(columns="seconds") for rows in (run.rows, rayfe.load_run("fresh"))]
    pd.testing.assert_frame_equal(*rows, check_exact=True)
    assert rayfe.walk("digits-smoke", steps=2, out="r", **SMALL).accepted.step.tolist() == [0, 1, 2]
    with pytest.raises(UsageError, match="settle=True: the stored run has False"):
        rayfe.walk("digits-smoke", steps=2, out="r", **SMALL | {"settle": True})


def test_a_notebooks_model_data_and_process(notebook: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> None:
    small = SMALL | {"equilibration": dataclasses.replace(QUICK, first_epochs=80)}
    run = rayfe.walk("digits-smoke", model=Net, data=digits(), process=Constant, steps=1, **small)
    assert run.trajectories == [NAME]
    assert run.accepted.step.tolist() == [0, 1]
    assert "finished: 1 step; last row 20" in repr(run)
    assert "<table" in run._repr_html_()
    model: Any = run.model(at={"lam": 1.0})
    assert isinstance(model, Net) and not model.training
    assert model.decode(torch.zeros(2, 5)).shape == (2, 1, 8, 8)
    assert torch.equal(run.model().classifier.weight, run.model(1).classifier.weight)
    assert rayfe.find_step(run.location, NAME, at={"lam": 99.0}).step == run.step().step == 1
    assert not torch.equal(run.model(0).classifier.weight, run.model(1).classifier.weight)
    assert Path(run.location, "data", "own-digits.npz").exists()
    figures = run.figures()
    assert set(figures) >= {"fig2a_rate_distortion.png", "constraint.png"}
    one = type(figures)({"constraint.png": figures["constraint.png"]})
    assert one._repr_html_().startswith('<img alt="constraint.png"') and "data:image/png;base64,iVBOR" in one._repr_html_()

    notebook()
    assert rayfe_main(["status", run.location]) == 0
    assert "finished: 1 step" in capsys.readouterr().out
    with pytest.raises(UsageError, match=r"__main__:Net': was defined in a notebook .* load_model\(..., model=Class\)"):
        rayfe.load_model(run.location, NAME, 1)
    assert isinstance(rayfe.load_model(run.location, NAME, 1, model=Net), Net)
    assert isinstance(rayfe.Run(run.location, model_class=Net).model(), Net)


def test_data_given_as_arrays_are_found_again_by_the_page_and_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    run = rayfe.walk("digits-smoke", data=digits(), steps=1, out="r", **SMALL)
    Path("r/report.html").unlink()
    assert "reconstruction" in Path(run.report()).read_text()
    words = (
        Store("r").read_config()["command"].replace("npz:own", "npz:r/data/own").replace("--steps 1", "--steps 2").split()[2:]
    )
    assert main("isoc", [*words, "--out", "r"]) == 0
    assert run.accepted.step.tolist() == [0, 1, 2]
    with pytest.raises(UsageError, match="its examples are not those of the stored run"):
        rayfe.walk("digits-smoke", data=digits(slice(1, 301)), steps=1, out="r", **SMALL)


def test_a_class_that_was_edited_is_not_the_stored_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    source = Path(__file__).read_text()
    source = (
        "from torch import Tensor, nn\nfrom typing import Any\nModelConfig = Any\n\n\n" + source[source.index("class Net") :]
    )
    source = source[: source.index("class Constant")]
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text(source)
    mine = importlib.import_module("mine")
    rayfe.walk("digits-smoke", model=mine.Net, steps=1, out="r", **SMALL)
    for old, new, refused in [
        ("    latent = 5\n", "    # five is enough\n    latent = 5\n\n", False),
        ("nn.ReLU", "nn.Softplus", True),
    ]:
        source = source.replace(old, new)
        (tmp_path / "mine.py").write_text(source)
        importlib.invalidate_caches()
        sys.modules.pop("mine")
        mine = importlib.import_module("mine")
        if refused:
            with pytest.raises(UsageError, match="model='mine:Net': its code is not that of the stored run"):
                rayfe.walk("digits-smoke", model=mine.Net, steps=1, out="r", **SMALL)
        else:
            assert rayfe.walk("digits-smoke", model=mine.Net, steps=1, out="r", **SMALL).accepted.step.tolist() == [0, 1]


def test_a_trajectory_that_fails_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "carry_out", lambda asked, console: {NAME: "step 3: rejected"})
    with pytest.warns(RuntimeWarning, match="step 3: rejected; the same call tries again"):
        run = rayfe.walk("digits-smoke", out="r")
    assert run.failed == {NAME: "step 3: rejected"}


def test_a_transfer_between_two_data_sets_of_ones_own() -> None:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    low = bunch.target < 5
    sets = [
        rayfe.dataset(bunch.images[part] / 16, bunch.target[part] % 5, name=name)
        for part, name in ((low, "low"), (~low, "high"))
    ]
    run = rayfe.transfer(
        data=sets[0],
        target=sets[1],
        model=ModelConfig(hidden=32, latent=6),
        process="constant-rate",
        stencil="iso",
        step_length=0.5,
        step_length_first=0.25,
        steps=1,
        path=PathConfig(kind="displacement", pairing="order", within_pairs=True),
        **SMALL,
    )
    assert run.accepted.t.tolist() == [0.0, 0.25]
    assert sorted(path.name for path in Path(run.location, "data").iterdir()) == ["high.npz", "low.npz"]
    assert "displacement" in Store(run.location).read_config()["command"]


def test_a_run_that_is_not_there_says_so(cwd: Path) -> None:
    run = rayfe.Run(cwd / "none")
    assert "no run at" in repr(run)
    with pytest.raises(FileNotFoundError):
        _ = run.rows
    for question in (run.model, run.step, run.summary):
        with pytest.raises(FileNotFoundError, match="no run at"):
            question()


def test_importing_rayfe_is_quick() -> None:
    code = "import sys, rayfe; assert not {'torch', 'pandas', 'ray', 'matplotlib'} & set(sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(rayfe.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_threads_that_wait_sleep_in_python_as_in_the_shell() -> None:
    """The variable is read when torch is imported: whoever imports torch is asked what it saw."""
    code = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"))
            sys.meta_path.remove(self)
sys.meta_path.insert(0, Watch())
"""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"PYTHONPATH": str(Path(rayfe.__file__).parents[1])}
    for words in ("import rayfe\nrayfe.walk", "from rayfe import walk", "import rayfe, torch"):
        seen = subprocess.run(
            [sys.executable, "-c", code + words], env=environment, check=True, timeout=120, capture_output=True
        )
        assert seen.stdout.decode().split() == ["PASSIVE"], words
