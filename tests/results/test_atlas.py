"""Places between stored models, on a surface whose every point is known."""

import dataclasses

import pandas as pd
import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.cli.command import main
from rayfe.config import configure, flat
from rayfe.results.atlas import locate, nearest, stored_models
from rayfe.storage.store import Store, load_rows
from rayfe.surface.closed_form import PowerSurface
from rayfe.trajectory.driver import advance, open_trajectory

SURFACE = PowerSurface(kappa=10.0, a=1 / 3, b=1 / 3)


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    """Walks from five gammas, as `jobs/isoc.py` would leave them."""
    config = configure(lam=(0.25,), gamma=(2.0, 3.0, 4.0, 6.0, 8.0))
    store = Store(str(tmp_path_factory.mktemp("atlas")))
    known = {"command": "", "input_shape": [1, 8, 8], "classes": 10, "class_names": [], "data_sha256": ""}
    store.create(known | {"job": "isoc", "preset": "digits-smoke", "config": flat(config)})
    for start in config.trajectories().values():
        trajectory = open_trajectory(config, start, store)
        while trajectory.finished is None:
            advance(trajectory, AnalyticBackend(SURFACE), store)
    return store.url()


@pytest.mark.parametrize(("lam", "gamma"), [(0.6, 4.0), (1.2, 7.0), (2.5, 10.0)])
@pytest.mark.parametrize("names", [("D", "C"), ("R", "C"), ("lam", "gamma")])
def test_a_place_between_walks_is_that_of_the_surface(run, lam, gamma, names):
    exact = {"lam": lam, "gamma": gamma} | {name: getattr(SURFACE, name)(lam, gamma) for name in "RDC"}
    place = locate(load_rows(run), {name: exact[name] for name in names})
    assert place is not None
    assert dataclasses.asdict(place) == pytest.approx(exact, rel=0.02)


def test_one_walk_alone_surrounds_nothing_but_has_a_nearest_model(run):
    rows = load_rows(run)
    one = rows[rows.trajectory == "lam0.25-gamma4-seed0"]
    wanted = {"D": SURFACE.D(0.6, 6.0), "C": 1.1 * float(one.C.iloc[0])}
    assert locate(one, wanted) is None
    row = nearest(one, wanted)
    assert abs(row.D / wanted["D"] - 1) < 0.15


def test_models_off_the_surface_do_not_count(run):
    rows = load_rows(run)
    bad = rows.iloc[[3]].assign(R=rows.R.iloc[3] * 1.5, trajectory="bad")
    assert "bad" not in set(stored_models(pd.concat([rows, bad], ignore_index=True)).trajectory)
    assert len(stored_models(rows)) == rows.accepted.sum()


def test_locate_prints_the_place_and_how_to_go_there(run, capsys):
    assert main(["locate", run, f"D={SURFACE.D(1.2, 7.0)}", f"C={SURFACE.C(1.2, 7.0)}"]) == 0
    said = capsys.readouterr().out
    assert "between the stored models" in said
    assert "to go there: python jobs/isoc.py digits-smoke" in said and "--seek D=" in said


@pytest.mark.parametrize("words", [["C=0.1"], ["C=0.1", "D=-1"], ["C=0.1", "D=x"]])
def test_bad_places_are_one_line(run, words, capsys):
    assert main(["locate", run, *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
