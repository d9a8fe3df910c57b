"""Every method on scikit-learn's digits: from the same start, resumable, with honest counts."""

import dataclasses

import numpy as np
import pytest
import torch

from analysis.benchmark import methods
from analysis.benchmark.backend import BenchmarkBackend
from analysis.benchmark.methods import AT_THE_END
from analysis.benchmark.report import report
from analysis.benchmark.running import Bench, budget_for, describe, run_method, total_examples
from analysis.benchmark.running import here as begin_here
from analysis.benchmark.settings import defaults
from rayfe import load_model
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig, configure
from rayfe.data.datasets import load
from rayfe.data.paths import PathData
from rayfe.exceptions import UsageError, WalkFailed
from rayfe.storage.manifest import manifest_of, stored_config
from rayfe.storage.store import Store, load_rows

BASE = configure(
    lam=(1.0,),
    lam_end=1.5,
    step_length=float(np.log(1.5) / 2),
    tolerance=0.05,
    threads=1,
    data=DataConfig(name="digits"),
    model=ModelConfig(hidden=32, latent=6),
    measure=MeasureConfig(head_draws=64),
    equilibration=EquilibrationConfig(
        first_epochs=15, first_schedule="linear", first_learning_rate=1e-2, epochs=4, learning_rate=5e-3, batch=128
    ),
)
POINTS = ["warm-grid", "heuristic", "nupi", "nupi-soap", "augmented", "geco"]


def started(folder, base):
    """A folder with the common start, and what all runs share."""
    data = load(base.data)

    def described(config):
        return manifest_of("benchmark", "short", ["--seed", "0"], config, PathData(kind="still", source=data))

    shared = Bench(make=lambda config: BenchmarkBackend(config, data), manifest=described)
    return begin_here(base, folder, shared, lambda row: None)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return started(tmp_path_factory.mktemp("bench"), BASE)


def run(here, method, where, **options):
    run_method(here, defaults(here.base, here.base.equilibration)[method], where, **options)
    return load_rows(here.folder / where)


@pytest.mark.parametrize("method", POINTS)
def test_methods_go_from_the_common_start_to_the_end_and_each_point_is_settled(bench, method):
    rows = run(bench, method, f"{method}-x1")
    start = bench.begin.row
    assert (rows.C[0], rows.examples[0], rows.state_sha256[0]) == (start.C, start.examples, start.state_sha256)
    assert len(rows) == 3 and rows.accepted.all() and rows.lam.iloc[-1] == pytest.approx(1.5)
    assert (rows.process[1:] == method).all() and list(rows.kind) == ["start", "step", "step"]
    off = np.abs(rows.C / start.C - 1.0)[1:]
    unsettled = np.abs(rows.C_before_settle / start.C_settle_target - 1.0)[1:]
    assert (off < np.maximum(unsettled, 0.02)).all()


@pytest.mark.parametrize("method", ["grid"])
def test_each_lam_of_a_method_from_scratch_is_a_trajectory(bench, method):
    rows = run(bench, method, f"{method}-x1")
    last = rows[rows.accepted & (rows.step == 1)]
    assert sorted(last.lam) == pytest.approx([np.sqrt(1.5), 1.5])
    n = len(load(BASE.data).train.y)
    trainings = rows[rows.step == 1].groupby("trajectory").size()
    used = rows.groupby("trajectory").examples.max() - bench.begin.row.examples
    assert (used > 0.9 * 15 * n * trainings).all()
    here, there = (frame.sort_values("attempt") for _, frame in rows[rows.step == 1].groupby("lam"))
    first = there.gamma.iloc[0] - np.nan_to_num(there.settle_shift.iloc[0])
    assert first == pytest.approx(here.gamma.iloc[-1])  # the gamma of one is the first guess of the next


@pytest.mark.parametrize("method", ["rayfe-plain", "rayfe-leap", "paper"])
def test_walks_start_there_as_well(bench, method):
    rows = run(bench, method, f"{method}-x1", limit=1.0)
    assert rows.state_sha256[0] == bench.begin.row.state_sha256 and len(rows) == 2


@pytest.mark.parametrize("method", ["nupi", "warm-grid"])
def test_an_interrupted_run_goes_on_to_the_same_rows(bench, method):
    once = run(bench, method, f"{method}-once")
    assert len(run(bench, method, f"{method}-twice", limit=1.0)) == 2
    twice = run(bench, method, f"{method}-twice")
    timeless = [name for name in once if "second" not in name]
    assert once[timeless].equals(twice[timeless])


def test_a_folder_with_other_settings_is_refused(bench):
    run(bench, "geco", "other-settings", limit=1.0)
    with pytest.raises(UsageError, match="holds a run of another budget"):
        run(bench, "geco", "other-settings", budget=2.0)
    with pytest.raises(UsageError, match=r"tolerance=0.04: the stored run has 0.05"):
        run(dataclasses.replace(bench, base=configure(BASE, tolerance=0.04)), "geco", "other-settings")


@pytest.mark.parametrize("method", ["warm-grid", "paper"])
def test_a_budget_for_so_many_examples_takes_about_as_many_start_included(bench, method):
    """What training is repeated is counted: neighbours of the paper's stencil, or the second training of a stencil for settles."""
    settings = defaults(BASE, BASE.equilibration)[method]
    once = run(bench, method, f"{method}-once-for-more")
    wanted = 2.0 * total_examples(once, settings)
    budget = budget_for(wanted, once, BASE, settings, 1.0)
    found = total_examples(run(bench, method, f"{method}-more", budget=budget), settings)
    assert found == pytest.approx(wanted, rel=0.05)
    assert found > bench.begin.row.examples and budget_for(1.0, once, BASE, settings, 1.0) is None


def test_what_a_method_leaves_is_a_run_like_any_other(bench):
    """Its models can be loaded, and the commands know its configuration and its data."""
    rows = run(bench, "warm-grid", "warm-grid-run")
    where, last = bench.folder / "warm-grid-run", rows.iloc[-1]
    mean, _ = load_model(where, last.trajectory, last.step).encode(torch.zeros(3, 64))
    assert mean.shape == (3, BASE.model.latent)
    stored, config = stored_config(Store(where))
    assert (stored["method"], config.asked.tolerance) == ("warm-grid", BASE.asked.tolerance)
    assert stored["command"] == "python jobs/benchmark.py --seed 0" and np.prod(stored["input_shape"]) == 64


def test_the_constrained_training_counts_its_measurements(bench):
    rows = run(bench, "geco", "geco-counted", limit=1.0)
    n = len(load(BASE.data).train.y)
    trained = (round(4 * n / 128)) * 128
    more = rows.examples[1] - rows.examples[0] - trained
    assert more > 2 * n / 3  # two looks at C: an encoding and its statistics each, and what every point is read with


def test_one_conditioned_model_needs_no_start_and_its_training_is_counted_once(bench):
    rows = run(bench, "conditioned", "conditioned-x1")
    box = [4.0 * factor for factor in methods.GAMMA_RANGE]
    assert len(rows) == 3 and rows.accepted.all() and rows.gamma[1:].between(*box).all()
    used, n = rows.examples.diff()[1:].tolist(), len(load(BASE.data).train.y)
    assert used[0] > 15 * n * 0.9 > used[1]
    assert rows.C_before_settle.isna().all()  # it never settles
    ends = rows.gamma.isin(box)
    assert (rows.reason[1:] == AT_THE_END).tolist() == ends[1:].tolist()


def test_a_point_at_the_end_of_the_box_of_a_conditioned_model_counts_and_says_so(bench, monkeypatch):
    monkeypatch.setattr(methods, "GAMMA_RANGE", (1.0, 1.0))  # no gamma but the start's
    rows = run(bench, "conditioned", "conditioned-narrow")
    assert rows.accepted.all() and rows.reason[1:].tolist() == ["gamma at the end of the box"] * 2


def test_a_report_has_every_method_that_was_run(bench, tmp_path):
    for method in ("nupi", "rayfe-plain"):
        run(bench, method, f"{method}-x1", **({} if method == "nupi" else {"limit": 1.0}))
    text = report([bench.folder], out=tmp_path)
    assert "| rayfe | soap | one way | 1 |" in text and "| Cooper, nuPI | adam | one way | 1 | 1 | 2 | 1.5 |" in text
    first = report([bench.folder], out=tmp_path / "to-1.3", lam_end=1.3)
    assert "| Cooper, nuPI | adam | one way | 1 | 1 | 1 | 1.22 |" in first and " 1.5 |" not in first
    with pytest.raises(UsageError, match=r"lam_end=0.01: no run has a point up to there; the first is at 1\.22"):
        report([bench.folder], out=tmp_path, lam_end=0.01)
    assert (tmp_path / "table.csv").exists() and (tmp_path / "frontier.png").read_bytes().startswith(b"\x89PNG")


def test_a_diverging_training_is_named(bench):
    settings = dataclasses.replace(defaults(BASE, BASE.equilibration)["nupi"], learning_rate=1e9)
    with pytest.raises(WalkFailed, match="lower the method's learning rate"):
        run_method(bench, settings, "diverging")
    (name,) = Store(bench.folder / "diverging").trajectories()
    assert len(Store(bench.folder / "diverging").rows(name)) == 1


def test_a_folder_without_an_identity_is_refused_in_one_line(bench, tmp_path):
    store = Store(tmp_path)
    store.create({"method": "nupi", "data_sha256": "d"})
    with pytest.raises(UsageError, match="run.json cannot be read"):
        describe(store, {"method": "nupi"}, BASE, bench.bench)


def test_a_run_that_followed_an_option_of_before_is_refused_by_its_name(bench, tmp_path):
    store, manifest = Store(tmp_path), bench.bench.manifest(BASE)
    before = manifest["identity"] | {"step_growth": 1.5}
    store.create({**manifest, "identity": before, "method": "nupi"})
    with pytest.raises(UsageError, match="step_growth=1.5: is what the stored run has"):
        describe(store, {"method": "nupi"}, BASE, bench.bench)
