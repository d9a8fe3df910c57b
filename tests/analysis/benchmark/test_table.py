"""The table on the closed-form surface B, R = 5 - log(D C - c^2), whose iso-C lines are known."""

import numpy as np
import pandas as pd
import pytest

from analysis.benchmark.figure import frontier
from analysis.benchmark.fronts import bd_rate, hypervolume
from analysis.benchmark.reference import references
from analysis.benchmark.table import ONE_SIDED, at_equal_examples, curves, over_seeds, table
from analysis.benchmark.text import equal_examples, readable, verdict

C0, c = 0.5, 0.3


def on_surface(lam: np.ndarray, C: np.ndarray | float = C0) -> pd.DataFrame:
    """Equilibria at `lam` with the loss `C`: D from gamma = (C + lam c^2) / C^2."""
    C = np.broadcast_to(C, lam.shape)
    gamma = (C + lam * c**2) / C**2
    D = C * gamma / lam
    return pd.DataFrame({"lam": lam, "gamma": gamma, "R": 5.0 - np.log(D * C - c**2), "D": D, "C": C})


def run(method: str, frame: pd.DataFrame, *, examples: float, budget: float = 1.0, seed: int = 0) -> pd.DataFrame:
    """Rows of a run: the start at lam 0.25, then `frame`, whose examples grow to `examples` beyond the start's 1000."""
    rows = pd.concat([on_surface(np.array([0.25])), frame], ignore_index=True)
    return rows.assign(
        run=f"{method}-x{budget:g}",
        start=f"seed{seed}",
        seed=seed,
        optimizer="soap",
        method=method,
        attempt=0,
        settings='{"learning_rate": 0.004, "batch": 512, "epochs": 2.0, "rule": {"name": "nupi", "gain": 1.0}}',
        searched=11,
        data="mnist",
        model="mlp",
        drift_se=1e-3,
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


def together(*runs: pd.DataFrame) -> pd.DataFrame:
    """Their rows, and those of the common starts."""
    seeds = sorted({int(one["seed"].iloc[0]) for one in runs})
    starts = [run("start", on_surface(np.array([])), examples=0.0, seed=seed) for seed in seeds]
    return pd.concat([*starts, *runs], ignore_index=True)


def lines_of(*runs: pd.DataFrame) -> pd.DataFrame:
    rows = together(*runs)
    return table(rows, references(rows)).set_index("method", drop=False).rename_axis(None)


def higher(frame: pd.DataFrame, percent: float) -> pd.DataFrame:
    """The same models with more rate: F is higher by so many per cent."""
    return frame.assign(R=frame.R + 0.01 * percent * (frame.R + frame.lam * frame.D + frame.gamma * frame.C))


def test_equilibria_have_no_excess_and_no_drift_and_the_start_counts():
    line = lines_of(run("rayfe", on_surface(LAM), examples=4e6)).loc["rayfe"]
    assert line["largest_drift_percent"] == pytest.approx(0.0, abs=1e-9)
    assert line["largest_drift_bound_percent"] == pytest.approx(0.1 * ONE_SIDED)
    assert line["largest_excess_percent"] == pytest.approx(0.0, abs=1e-9)
    assert line["unsettled_percent"] == pytest.approx(10.0)
    assert (line["examples"], line["examples_start"], line["seconds"]) == (4e6 + 1000.0, 1000.0, 15.0)
    assert (line["points"], line["complete"], line["tight"], line["route"]) == (40, True, True, "both")


@pytest.mark.parametrize("own", ["rayfe", "rayfe-leap", "rayfe-plain"])
def test_gamma_is_that_of_rayfes_own_run_whatever_others_follow(own):
    other = on_surface(LAM).assign(gamma=1.0)
    rows = together(run(own, on_surface(LAM), examples=1e6), run("warm-grid", other, examples=1e6))
    np.testing.assert_allclose(references(rows)["seed0"].gamma_at(LAM), on_surface(LAM)["gamma"], rtol=1e-9)


def test_excess_is_that_of_F_against_the_lowest_of_all_methods_and_seeds():
    runs = [
        run("rayfe", on_surface(LAM), examples=4e6),
        run("geco", higher(on_surface(LAM), 2.0), examples=1e6),
        run("geco", higher(on_surface(LAM), 4.0), examples=1e6, seed=1),
    ]
    lines = lines_of(*runs)
    assert lines.loc["geco", "mean_excess_percent"].tolist() == pytest.approx([2.0, 4.0])
    assert lines.loc["geco", "largest_excess_percent"].tolist() == pytest.approx([2.0, 4.0])
    assert lines.loc["rayfe", "largest_excess_percent"] == pytest.approx(0.0, abs=1e-9)
    line = over_seeds(lines).set_index("method").loc["geco"]
    assert (line["mean_excess_percent"], line["mean_excess_percent_se"]) == (pytest.approx(3.0), pytest.approx(1.0))
    assert (line["seeds"], line["runs"], line["loose"], line["tight"]) == (2, 2, 1, 0)
    assert "| GECO | soap | one way | 1 | 2 | 40 | 3.5 | 1.00 M | - |" in readable(over_seeds(lines))
    assert "| 3.00 ± 1.00 % |" in readable(over_seeds(lines))


def test_two_runs_of_one_seed_are_not_two_seeds():
    one = run("geco", on_surface(LAM), examples=1e6)
    again = one.assign(start="elsewhere")
    rows = pd.concat([together(one), together(one).assign(start="elsewhere").iloc[:1], again], ignore_index=True)
    line = over_seeds(table(rows, references(rows))).iloc[0]
    assert (line["seeds"], line["runs"]) == (1, 2)


def test_the_independent_envelope_is_of_models_from_scratch_only():
    few = on_surface(LAM[3::4])
    low = run("rayfe", on_surface(LAM), examples=4e6)
    lines = lines_of(
        low, run("envelope", higher(few, 1.0), examples=1e6), run("nupi", higher(on_surface(LAM), 3.0), examples=1e6)
    )
    assert lines.loc["nupi", "mean_independent_percent"] == pytest.approx(100 * (1.03 / 1.01 - 1), rel=0.02)
    assert lines.loc["nupi", "mean_excess_percent"] == pytest.approx(3.0)
    assert lines.loc["rayfe", "largest_independent_percent"] == pytest.approx(
        -1.0, rel=0.02
    )  # it may be lower than all of them
    gaps = lines.loc["rayfe", [f"gap_{name}_percent" for name in ("C", "D", "gamma")]]
    assert gaps.to_numpy(float) == pytest.approx(0.0, abs=1e-9) and lines.loc["rayfe", "gap_R_percent"] > 0.5
    assert (lines.loc["envelope", "examples"], lines.loc["envelope", "examples_start"]) == (1e6, 0.0)


def test_without_models_from_scratch_nothing_is_independent_and_the_verdict_says_so():
    lines = lines_of(run("rayfe", on_surface(LAM), examples=4e6))
    assert np.isnan(lines.loc["rayfe", ["mean_independent_percent", "gap_C_percent"]].to_numpy(float)).all()
    text = readable(over_seeds(lines))
    assert "No model from scratch is among these runs" in text and "GECO" in text[text.index("Not measured") :]
    assert "1 of 1 lines have fewer than 3 seeds" in text
    assert "their own models only" in text
    text = readable(over_seeds(lines), polished=True)
    assert "their own models only" not in text and "and those of --polish" in text


def test_only_what_holds_C_is_ranked_and_every_sentence_says_how_far_it_is_off():
    runs = [
        run("rayfe", higher(on_surface(LAM), 1.5), examples=4e6),
        run("nupi", on_surface(LAM, 0.4 * C0), examples=1e6),
        run("geco", higher(on_surface(LAM, 1.01 * C0), 2.0), examples=1e6),
    ]
    said = verdict(over_seeds(lines_of(*runs))).splitlines()
    assert said[0] == "- No method keeps the tight tolerance with all seeds."
    assert said[1].startswith("- rayfe (") and said[1].endswith("largest C/C0 - 1 0.00 %.")
    assert said[2].startswith("- GECO (") and said[2].endswith("largest C/C0 - 1 1.00 %.")
    assert said[3] == "- Cooper, nuPI (soap, one way, budget 1) does not hold C: largest C/C0 - 1 60.00 %."


@pytest.mark.parametrize("points", [1, 2, 7, 40])
def test_exact_points_of_the_front_have_all_of_its_area_and_no_more_rate_however_many_they_are(points):
    some = on_surface(LAM[:: 40 // points][:points])
    lines = lines_of(run("rayfe", on_surface(LAM), examples=4e6), run("nupi", some, examples=1e6))
    assert lines.loc["nupi", "hypervolume_percent"] == pytest.approx(100.0)
    if points > 1:
        assert lines.loc["nupi", "bd_rate_percent"] == pytest.approx(0.0, abs=1e-6)
    worse = lines_of(run("rayfe", on_surface(LAM), examples=4e6), run("nupi", higher(some, 3.0), examples=1e6))
    assert worse.loc["nupi", "hypervolume_percent"] < 99.9


def test_a_number_of_examples_that_no_method_has_is_left_out():
    summary = over_seeds(lines_of(run("rayfe", on_surface(LAM), examples=4e6)))
    head = equal_examples(summary).splitlines()[0]
    assert "at 4 M" in head and "at 8 M" not in head
    few = over_seeds(lines_of(run("rayfe", on_surface(LAM), examples=1e5)))
    assert equal_examples(few) == "" and "mean excess at" not in readable(few) and "\n\n\n" not in readable(few)


def test_curves_and_figure_say_where_along_lam_the_excess_is():
    worse = on_surface(LAM)
    worse.loc[30:, "R"] += 1.0
    rows = together(run("rayfe", on_surface(LAM), examples=4e6), run("geco", worse, examples=1e6))
    known = references(rows)
    found = curves(rows, known)
    geco = found[found["method"] == "geco"]
    assert geco["lam"].to_numpy() == pytest.approx(LAM)
    assert (geco["excess_percent"] > 1.0).tolist() == [False] * 30 + [True] * 10
    over, along = frontier(over_seeds(table(rows, known)), found).axes
    assert {line.get_label() for line in over.get_lines()} >= {"rayfe, SOAP, both ways", "GECO, SOAP, one way"}
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


def test_a_tolerance_is_kept_by_the_cheapest_budget_that_is_within_it_and_complete():
    runs = [
        run("rayfe", on_surface(LAM), examples=4e6),
        run("nupi", on_surface(LAM, 1.015 * C0), examples=1e6),
        run("nupi", on_surface(LAM), examples=9e6, budget=4.0),
        run("geco", on_surface(LAM[:20]), examples=1e5),
    ]
    text = readable(over_seeds(lines_of(*runs)))
    assert "| Cooper, nuPI | soap | one way | 9.00 M (1 of 1 runs) | 1.00 M (1 of 1 runs) |" in text
    assert "| GECO | soap | one way | not in 0.10 M (0 of 1 runs) | not in 0.10 M (0 of 1 runs) |" in text
    assert "| Cooper, nuPI | soap | one way | 0.004 | 512 | 2.0 | gain 1.0 | 11 |" in text
    assert "1 lines did not arrive" in text and "costs least by rayfe (soap, both ways, budget 1): 4.00 M" in text


def test_methods_are_compared_at_equal_examples_between_their_budgets():
    budgets = {1.0: (2e6, 8.0), 4.0: (8e6, 2.0)}
    runs = [run("nupi", higher(on_surface(LAM), p), examples=n - 1e3, budget=b) for b, (n, p) in budgets.items()]
    summary = over_seeds(lines_of(run("rayfe", on_surface(LAM), examples=4e6), *runs))
    found = {millions: at_equal_examples(summary, 1e6 * millions)["nupi", "soap"] for millions in (1, 2, 4, 8.5, 16)}
    assert found[2] == pytest.approx(8.0) and found[8.5] == pytest.approx(2.0)  # nearly as many are as many
    assert found[4] == pytest.approx(4.0)  # half-way in logarithms
    assert np.isnan([found[1], found[16]]).all()


def test_examples_of_models_from_scratch_add_up_without_a_start_and_those_given_up_are_named():
    parts = [run("grid", on_surface(LAM[i : i + 1]), examples=1e6).assign(trajectory=f"lam{i}") for i in range(40)]
    given_up = run("grid", on_surface(LAM[[0, 0]]), examples=2e6).assign(trajectory="lam40", step=[0, 1, 1], attempt=[0, 0, 1])
    given_up.loc[1, "accepted"] = False
    line = lines_of(pd.concat([*parts, given_up]), run("rayfe", on_surface(LAM), examples=4e6)).loc["grid"]
    assert (line["examples"], line["examples_for_gamma"], line["examples_start"]) == (42e6, 1e6, 0.0)


def test_hypervolume_is_the_area_that_is_dominated():
    R, D = np.array([1.0, 2.0, 2.5]), np.array([3.0, 1.0, 2.0])  # the last one is dominated
    assert hypervolume(R, D, corner=(4.0, 4.0)) == 1.0 * (4.0 - 3.0) + 2.0 * (4.0 - 1.0)
    assert hypervolume(R, D, corner=(1.0, 1.0)) == 0.0


def test_delta_rate_is_the_part_of_rate_that_is_paid_in_addition_at_equal_distortion():
    D = np.geomspace(1.0, 8.0, 7)
    assert bd_rate(1.1 * D**-0.5, D, than=(D**-0.5, D)) == pytest.approx(10.0)
    part = D[2:] * 1.2
    assert bd_rate(0.9 * part**-0.5, part, than=(D**-0.5, D)) == pytest.approx(-10.0)
    assert np.isnan(bd_rate(D[:1], D[:1], than=(D, D))) and np.isnan(bd_rate(D, D + 20.0, than=(D, D)))
