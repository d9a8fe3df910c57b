"""The table on the closed-form surface B, R = -log(D C - c^2), whose iso-C lines are known."""

import numpy as np
import pandas as pd
import pytest

from analysis.benchmark.figure import frontier
from analysis.benchmark.table import TOLERANCES, curves, reached, readable, reference, table

C0, c = 0.5, 0.3


def on_surface(lam: np.ndarray, C: np.ndarray | float = C0) -> pd.DataFrame:
    """Equilibria at `lam` with the loss `C`: D from gamma = (C + lam c^2) / C^2."""
    C = np.broadcast_to(C, lam.shape)
    gamma = (C + lam * c**2) / C**2
    D = C * gamma / lam
    return pd.DataFrame({"lam": lam, "gamma": gamma, "R": -np.log(D * C - c**2), "D": D, "C": C})


def run(method: str, frame: pd.DataFrame, *, examples: float, budget: float = 1.0) -> pd.DataFrame:
    """Rows of a run: the start at lam 0.25, then `frame`, whose examples grow to `examples` beyond the start's 1000."""
    rows = pd.concat([on_surface(np.array([0.25])), frame], ignore_index=True)
    return rows.assign(
        run=f"{method}-x{budget:g}",
        method=method,
        budget=budget,
        trajectory="walk",
        step=np.arange(len(rows)),
        accepted=True,
        kind=["start"] + ["step"] * len(frame),
        leg="there",
        examples=1000.0 + np.linspace(0.0, examples, len(rows)),
        seconds=np.linspace(5.0, 15.0, len(rows)),
        C_before_settle=1.1 * rows["C"].to_numpy(),
        C_settle_target=C0,
    )


LAM = np.geomspace(0.25, 3.5, 41)[1:]
START = run("start", on_surface(np.array([])), examples=0.0)


def lines_of(*runs: pd.DataFrame) -> pd.DataFrame:
    rows = pd.concat([START, *runs], ignore_index=True)
    return table(rows, reference(rows)).set_index("method", drop=False).rename_axis(None)


def test_equilibria_have_no_excess_and_no_drift():
    line = lines_of(run("rayfe", on_surface(LAM), examples=4e6)).loc["rayfe"]
    assert line["largest_drift_percent"] == pytest.approx(0.0, abs=1e-9)
    assert line["largest_excess_percent"] == pytest.approx(0.0, abs=1e-9)
    assert line["unsettled_percent"] == pytest.approx(10.0)
    assert (line["examples"], line["seconds"], line["points"], line["complete"]) == (4e6, 10.0, 40, True)


@pytest.mark.parametrize("own", ["rayfe", "rayfe-leap"])
def test_gamma_is_that_of_rayfes_own_run_whatever_others_follow(own):
    other = on_surface(LAM).assign(gamma=1.0)
    rows = pd.concat([START, run(own, on_surface(LAM), examples=1e6), run("warm-grid", other, examples=1e6)], ignore_index=True)
    np.testing.assert_allclose(reference(rows).gamma_at(LAM), on_surface(LAM)["gamma"], rtol=1e-9)


def test_excess_is_that_of_F_against_the_lowest_of_all_methods():
    worse = on_surface(LAM)
    worse["R"] += 0.02 * (worse.R + worse.lam * worse.D + worse.gamma * worse.C)
    lines = lines_of(run("rayfe", on_surface(LAM), examples=4e6), run("geco", worse, examples=1e6))
    assert lines.loc["geco", "mean_excess_percent"] == pytest.approx(2.0, rel=1e-6)
    assert lines.loc["geco", "largest_excess_percent"] == pytest.approx(2.0, rel=1e-6)
    assert lines.loc["rayfe", "largest_excess_percent"] == pytest.approx(0.0, abs=1e-9)


def test_curves_and_figure_say_where_along_lam_the_excess_is():
    worse = on_surface(LAM)
    worse.loc[30:, "R"] += 1.0
    rows = pd.concat([START, run("rayfe", on_surface(LAM), examples=4e6), run("geco", worse, examples=1e6)], ignore_index=True)
    known = reference(rows)
    found = curves(rows, known)
    geco = found[found["method"] == "geco"]
    assert geco["lam"].to_numpy() == pytest.approx(LAM)
    assert (geco["excess_percent"] > 1.0).tolist() == [False] * 30 + [True] * 10
    over, along = frontier(table(rows, known), found).axes
    assert {line.get_label() for line in over.get_lines()} >= {"rayfe", "GECO"}
    assert sum(len(line.get_xdata()) == 40 for line in along.get_lines()) == 2


def test_an_equilibrium_at_another_loss_has_drift_to_first_and_excess_to_second_order():
    lines = lines_of(run("rayfe", on_surface(LAM), examples=4e6), run("nupi", on_surface(LAM, 1.03 * C0), examples=4e6))
    assert lines.loc["nupi", "largest_drift_percent"] == pytest.approx(3.0, rel=1e-6)
    assert 0.0 < lines.loc["nupi", "largest_excess_percent"] < 0.2


def test_what_a_renewal_replaced_does_not_count():
    replaced = on_surface(LAM)
    replaced.loc[10, "R"] += 1.0
    frame = pd.concat([replaced[:11], on_surface(LAM)[10:]], ignore_index=True)
    rows = run("rayfe", frame, examples=4e6)
    rows.loc[12, "kind"] = "renewal"
    line = lines_of(rows).loc["rayfe"]
    assert (line["points"], line["largest_excess_percent"]) == (40, pytest.approx(0.0, abs=1e-9))


def test_a_tolerance_is_reached_by_the_cheapest_run_that_is_within_it_and_complete():
    far = on_surface(LAM, 1.015 * C0)
    runs = [
        run("rayfe", on_surface(LAM), examples=4e6),
        run("nupi", far, examples=1e6),
        run("nupi", on_surface(LAM), examples=9e6, budget=4.0),
        run("geco", on_surface(LAM[:20]), examples=1e5),
    ]
    lines = lines_of(*runs)
    tight, loose = (reached(lines, tolerance) for tolerance in TOLERANCES)
    assert (tight.loc["nupi", "examples"], loose.loc["nupi", "examples"]) == (9e6, 1e6)
    assert np.isnan(tight.loc["geco", "examples"]) and np.isnan(loose.loc["geco", "examples"])
    text = readable(lines)
    assert "| Cooper, nuPI | 9.00 M, 10 s (2.2 x rayfe) | 1.00 M, 10 s (0.2 x rayfe) |" in text
    assert "not reached in 0.10 M (0.0 x rayfe)" in text


def test_examples_of_models_from_scratch_add_up():
    parts = [run("grid", on_surface(LAM[i : i + 1]), examples=1e6).assign(trajectory=f"lam{i}") for i in range(40)]
    lines = lines_of(pd.concat(parts), run("rayfe", on_surface(LAM), examples=4e6))
    assert (lines.loc["grid", "examples"], lines.loc["grid", "points"]) == (40e6, 40)
