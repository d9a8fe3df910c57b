"""Forms: what each is of, the job as a whole in small, and that rows of different surfaces never meet."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import get_args

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import torch

from analysis.benchmark import job, report
from analysis.benchmark.forms import FORMS, FormName
from analysis.benchmark.points import lams
from analysis.benchmark.reference import collect, references
from analysis.benchmark.registry import METHODS
from analysis.benchmark.table import table
from rayfe.config import EquilibrationConfig, configure
from rayfe.model.conditioned import check_conditioned
from rayfe.model.protocol import build

RESULTS = Path(__file__).parents[3] / "analysis" / "results"


@pytest.mark.parametrize("name", FORMS)
def test_a_form_has_as_many_points_as_it_says_up_to_the_end_of_its_curve_and_is_explained(name, capsys):
    form = FORMS[name]
    base = form.base(seed=3, threads=1)
    (start,) = base.trajectories().values()
    every = lams(base, start)
    assert (len(every), start.seed) == (form.points, 3) and every[-1] == pytest.approx(form.walk.asked.lam_end)
    assert set(form.methods) <= set(METHODS) and set(FORMS) == set(get_args(FormName))
    with pytest.raises(SystemExit):
        job.main(["--help"])
    assert f"{name}: " in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["long", "resnet"])
def test_every_part_of_a_forms_model_can_be_conditioned(name):
    """Else train-once could not be among its methods."""
    config = FORMS[name].walk.model
    shape = {"mlp": (784,), "resnet": (3, 32, 32)}[config.name]
    x = torch.rand(4, *shape)
    check_conditioned(build(config, input_shape=shape, classes=10), config.name, x)


def tiny(form):
    """The same methods, model and job on few of scikit-learn's digits."""
    walk = configure(
        form.walk,
        lam_end=1.2 * form.walk.lam[0],
        tolerance=0.1,
        data={"name": "digits", "train_size": 80},
        model={"width": 2, "latent": 4},
        measure={"head_draws": 8, "response_size": None},
        equilibration={"first_epochs": 2, "epochs": 1, "batch": 40, "first_batch": 40},
    )
    return dataclasses.replace(form, walk=walk, adam=EquilibrationConfig(batch=40), points=2)


def test_the_resnets_form_goes_from_its_start_to_tables_and_figure_and_says_of_what_they_are(tmp_path, monkeypatch, capsys):
    form = tiny(FORMS["resnet"])
    monkeypatch.setattr(job, "FORMS", {"resnet": form})
    methods = ["nupi-soap", "conditioned"]
    words = ["--form", "resnet", "--out", str(tmp_path), "--seed", "0", "--threads", "1", "--method", *methods]
    assert job.main(words) == 0
    assert "Data: digits, 80 images. Model: resnet." in capsys.readouterr().out
    lines = pd.read_csv(tmp_path / "table.csv")
    assert lines["method"].tolist() == methods and lines["complete"].all()
    assert (lines["model"] == "resnet").all() and np.isfinite(lines["mean_excess_percent"]).all()
    assert matplotlib.image.imread(tmp_path / "frontier.png").std() > 0.05


@pytest.fixture
def two(tmp_path):
    """Two folders of one benchmark."""
    for name in ("one", "other"):
        shutil.copytree(RESULTS / "benchmark-long-again-seed1", tmp_path / name)
    return tmp_path / "one", tmp_path / "other"


@pytest.mark.parametrize(
    ("where", "field", "value"),
    [
        ("config", "data.name", "fashion-mnist"),
        ("config", "data.train_size", 6000),
        ("config", "model.name", "resnet"),
        ("config", "model.hidden", 400),
        (None, "data_sha256", "0"),
    ],
)
def test_rows_of_different_data_or_models_are_never_compared(two, where, field, value):
    rows = collect(two)
    assert set(rows["data"]) == {"mnist"} and set(rows["model"]) == {"mlp"} and len(set(rows["start"])) == 2
    path = two[1] / "rayfe-leap-x1" / "run.json"
    run = json.loads(path.read_text())
    (run if where is None else run[where])[field] = value
    path.write_text(json.dumps(run))
    with pytest.raises(
        ValueError, match=f"other/rayfe-leap-x1 has {field} {value}, but .*one/.* has .*; give folders of one data set"
    ):
        collect(two)


@pytest.mark.parametrize(
    ("folder", "said"), [("benchmark-short", "data.train_size 6000"), ("benchmark-fashion", "data.name fashion-mnist")]
)
def test_stored_rows_of_another_form_are_refused_by_the_table_in_one_line(folder, said, capsys):
    assert report.main([str(RESULTS / name) for name in ("benchmark-long", folder)]) == 2
    error = capsys.readouterr().err
    assert f" has {said}, but " in error and error.count("\n") == 1


def test_stored_rows_of_fashion_mnist_are_of_three_whole_methods():
    rows = collect([RESULTS / "benchmark-fashion"])
    lines = table(rows, references(rows))
    assert set(lines["data"]) == {"fashion-mnist"} and lines["complete"].all() and (lines["points"] == 20).all()
    assert set(lines["method"]) == {"rayfe-plain", "conditioned", "nupi-soap"}


@pytest.mark.parametrize(
    ("shape", "count", "line"),
    [
        ((3, 8, 8), 20, "--data: has too few training images; the form needs 5000\n"),
        ((1, 9, 9), 5000, "--data: resnet takes images (C, H, W) with H and W divisible by 8, but the data's are (1, 9, 9)"),
    ],
)
def test_data_that_a_form_cannot_have_are_refused_before_any_work(tmp_path, shape, count, line, capsys):
    rng, many = np.random.default_rng(0), {"train": count, "test": 20}
    images = {f"x_{split}": rng.random((n, *shape), np.float32) for split, n in many.items()}
    labels = {f"y_{split}": np.arange(n) % 2 for split, n in many.items()}
    np.savez(tmp_path / "own.npz", **images, **labels, channels="first")
    words = ["--form", "resnet", "--data", f"npz:{tmp_path}/own.npz", "--out", str(tmp_path / "out")]
    assert job.main(words) == 2
    assert capsys.readouterr().err.startswith(line) and not list((tmp_path / "out").glob("*"))
