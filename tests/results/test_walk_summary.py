"""summary.py on closed-form walks: surface A of MATH.md section 8, F = kappa lam^a gamma^b, along its exact iso-C line."""

from __future__ import annotations

import dataclasses
import io
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from rayfe.records import StepRecord
from rayfe.records.run_json import SIGNED
from rayfe.results.frames import drift
from rayfe.results.printed import print_walks
from rayfe.results.walk_summary import NO_STOP, envelope_excess, found_stop, passes, summarize, verdict, warnings

A = B = 1 / 3
KAPPA = 20.0
SE = 1e-5
TOLERANCE = 0.005


def record(lam: float, gamma: float, *, step: int, start: float, seed: int = 0, **changes: object) -> dict[str, object]:
    """A row on the exact surface."""
    F = KAPPA * lam**A * gamma**B
    C = B * F / gamma
    values = {
        "trajectory": f"lam0.25-gamma{start:g}-seed{seed}",
        "step": step,
        "attempt": 0,
        "accepted": True,
        "outcome": "OK",
        "process": "iso-classification",
        "lam": lam,
        "gamma": gamma,
        "R": F * (1 - A - B),
        "D": A * F / lam,
        "C": C,
        "F": F,
        "R_se": 0.0,
        "D_se": SE,
        "C_se": SE,
        "drift_se": SE / C if step else 0.0,
        "val_C": 1.2 * C,
        "val_accuracy": 0.95,
        "C_target": KAPPA * B * 0.25**A * start ** (B - 1),
        "examples": 1000.0 * (step + 1),
        "seconds": 10.0 * (step + 1),
        "seed": seed,
    }
    return dataclasses.asdict(StepRecord(**(values | changes)))


def walk(*, start: float = 4.0, steps: int = 6, seed: int = 0) -> pd.DataFrame:
    """The iso-C line through (0.25, start), equal steps in log lam up to lam = 2."""
    lams = 0.25 * 8 ** (np.arange(steps + 1) / max(steps, 1))
    gammas = start * (lams / 0.25) ** (A / (1 - B))
    points = enumerate(zip(lams.tolist(), gammas.tolist(), strict=True))
    return pd.DataFrame([record(lam, gamma, step=step, start=start, seed=seed) for step, (lam, gamma) in points])


def with_row(rows: pd.DataFrame, **changes: object) -> pd.DataFrame:
    return pd.concat([rows, pd.DataFrame([rows.iloc[-1].to_dict() | changes])], ignore_index=True)


def stopped(rows: pd.DataFrame, reason: str = "gamma_zero") -> pd.DataFrame:
    return with_row(rows, step=int(rows["step"].max()) + 1, accepted=False, kind="stop", reason=reason, lam=2.02, gamma=0.01)


def printed(rows: pd.DataFrame, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    print_walks(summarize(rows, TOLERANCE), console)
    return console.file.getvalue()


def test_summary_reports_the_exact_start_and_end():
    rows = walk()
    line = summarize(rows.sample(frac=1.0, random_state=0), TOLERANCE).iloc[0]
    first, last = rows.iloc[0], rows.iloc[-1]
    assert (line["lam_start"], line["gamma_start"], line["seed"]) == (0.25, 4.0, 0)
    assert (line["lam_end"], line["gamma_end"]) == (last["lam"], last["gamma"])
    for name in ("R", "D", "val_C", "val_accuracy"):
        assert (line[f"{name}_start"], line[f"{name}_end"]) == (first[name], last[name])
    assert line["C0"] == first["C"]
    assert (line["accepted_steps"], line["rejected_attempts"], line["end"]) == (6, 0, NO_STOP)
    assert (line["examples"], line["seconds"]) == (7000.0, 70.0)
    assert abs(line["drift_percent"]) < 1e-10
    assert line["drift_ok"]


def test_rejected_attempts_count_but_their_values_do_not():
    rows = with_row(walk(), step=7, accepted=False, outcome="NONFINITE", reason="NONFINITE", C=9.0, R=None, examples=9000.0)
    line = summarize(rows, TOLERANCE).iloc[0]
    assert (line["accepted_steps"], line["rejected_attempts"], line["examples"], line["end"]) == (6, 1, 9000.0, NO_STOP)
    assert line["drift_ok"]


def test_a_found_stop_ends_the_line_by_name_and_is_no_rejected_attempt():
    line = summarize(stopped(walk()), TOLERANCE).iloc[0]
    assert (line["end"], line["end_lam"], line["rejected_attempts"]) == ("gamma_zero", 2.02, 0)
    assert "ended: gamma_zero at lam 2.02" in verdict(line)


def test_a_stop_name_on_a_row_that_is_not_the_last_is_not_a_stop():
    rows = stopped(walk())
    assert found_stop(rows) is not None
    assert found_stop(with_row(rows, step=8, accepted=True, kind="step", reason=None)) is None


def test_drift_is_the_signed_largest_with_its_paired_error():
    rows = walk()
    C0 = rows.loc[0, "C"]
    rows.loc[2, ["C", "drift_se"]] = [C0 * 1.001, 3e-4]
    rows.loc[4, ["C", "drift_se"]] = [C0 * 0.997, 4e-4]
    line = summarize(rows, TOLERANCE).iloc[0]
    assert line["drift_percent"] == pytest.approx(-0.3, rel=1e-9)
    assert line["drift_se_percent"] == pytest.approx(0.04, rel=1e-9)


def test_the_start_has_no_drift_and_no_error_against_itself():
    held = drift(walk(), float(walk()["C"].iloc[0]))
    assert held["drift"].iloc[0] == 0.0
    assert held["drift_se"].iloc[0] == 0.0
    assert (held["drift_se"].iloc[1:] > 0).all()


@pytest.mark.parametrize("steps", [1, 6, 60])
@pytest.mark.parametrize(("inside", "passed"), [(1e-9, True), (-1e-9, False)])
def test_equivalence_test_turns_where_the_simultaneous_bound_meets_the_tolerance(steps: int, inside: float, passed: bool):
    se = np.full(steps, 1e-3)
    z = NormalDist().inv_cdf(1 - 0.05 / steps)
    drifts = np.append(np.zeros(steps - 1), TOLERANCE - z * 1e-3 - inside)
    assert passes(pd.DataFrame({"drift": drifts, "drift_se": se}), TOLERANCE) is passed


def test_equivalence_needs_an_error_bar():
    rows = walk()
    rows.loc[3, "drift_se"] = np.nan
    assert not summarize(rows, TOLERANCE)["drift_ok"].iloc[0]


@pytest.mark.parametrize(("floor", "passes"), [(0.0, False), (1e-5, False), (1e-3, True)])
def test_a_tiny_loss_may_be_off_by_the_floor_whatever_part_of_it_that_is(floor: float, passes: bool):
    """C0 = 0.01 nats, off by 5 %, is 5e-4 nats."""
    rows = walk()
    rows["C"] *= 0.01 / rows["C"].iloc[0]
    rows["drift_se"] = 1e-3
    rows.loc[3, "C"] *= 1.05
    line = summarize(rows, TOLERANCE, floor).iloc[0]
    assert bool(line["drift_ok"]) is passes
    assert line["tolerance"] == max(TOLERANCE, floor / 0.01)


def test_a_tolerance_below_the_noise_is_warned_of_with_what_is_attainable():
    rows = walk()
    rows.loc[1:, "drift_se"] = 0.003
    line = summarize(rows, TOLERANCE).iloc[0]
    z = NormalDist().inv_cdf(1 - 0.05 / 6)
    assert line["attainable_percent"] == pytest.approx(0.3 * z)
    assert any(f"would need {0.3 * z:.2g} %" in text for text in warnings(line))
    rows.loc[1:, "drift_se"] = 0.9 * TOLERANCE / z
    line = summarize(rows, TOLERANCE).iloc[0]
    assert line["drift_ok"] and not any("noise" in text for text in warnings(line))


@pytest.mark.parametrize(("drifted", "passes"), [(1.003, True), (1.006, False)])
def test_summary_passes_a_drift_inside_the_tolerance_and_fails_one_outside(drifted: float, passes: bool):
    rows = walk()
    rows.loc[3, "C"] *= drifted
    line = summarize(rows, TOLERANCE).iloc[0]
    assert bool(line["drift_ok"]) is passes
    assert f"equivalence test {'passed' if passes else 'failed'}" in verdict(line)


def test_excess_is_zero_on_a_concave_surface():
    rows = pd.concat([walk(start=start) for start in (4.0, 8.0, 15.0)], ignore_index=True)
    assert np.allclose(envelope_excess(rows), 0.0, atol=1e-12)
    assert (envelope_excess(rows) >= 0.0).all()


def test_excess_is_what_one_row_was_lifted_above_a_twin_of_another_trajectory():
    rows = pd.concat([walk(seed=0), walk(seed=1)], ignore_index=True)
    lift = 0.03 * rows.loc[3, "F"]
    rows.loc[3, ["R", "F"]] += lift
    excess = envelope_excess(rows)
    assert excess[3] == pytest.approx(lift, rel=1e-12)
    assert np.allclose(excess.drop(3), 0.0, atol=1e-12)
    summary = summarize(rows, TOLERANCE).set_index("seed")
    assert summary.loc[0, "excess_percent"] == pytest.approx(100 * 0.03 / 1.03, rel=1e-9)
    assert summary.loc[0, "excess_nats"] == pytest.approx(lift, rel=1e-9)
    assert np.isnan(summary.loc[1, "excess_percent"])


def test_excess_leaves_out_rejected_rows_and_keeps_the_index():
    rows = with_row(walk(), accepted=False, R=0.0, D=0.0, C=0.0)
    rows.index = rows.index + 100
    excess = envelope_excess(rows)
    assert excess.index.equals(rows.index)
    assert np.isnan(excess.iloc[-1])
    assert np.allclose(excess.iloc[:-1], 0.0, atol=1e-12)


def test_rows_at_different_t_are_not_compared():
    rows = pd.concat([walk(), walk().assign(t=0.5, R=0.0)], ignore_index=True)
    assert np.allclose(envelope_excess(rows)[:7], 0.0, atol=1e-12)


def test_a_start_alone_and_a_failed_start_are_lines_without_a_test():
    failed = walk(start=8.0, steps=0).assign(accepted=False, outcome="NONFINITE", R=None, D=None, C=None, F=None, val_C=None)
    rows = pd.concat([walk(steps=0), failed.astype(object)], ignore_index=True)
    summary = summarize(rows, TOLERANCE)
    assert list(summary["accepted_steps"]) == [0, 0]
    assert summary["drift_ok"].isna().all()
    assert "only the start so far" in verdict(summary.iloc[0])
    assert "the start is not there yet" in verdict(summary.iloc[1])
    assert warnings(summary.iloc[1]) == []
    assert "lam0.25-gamma8-seed0" in printed(rows)


def test_a_healthy_walk_has_a_verdict_and_no_warning():
    text = " ".join(printed(stopped(walk())).split())
    assert (
        "C held, off by up to +0.00 ± 0.00 % (tolerance 0.5 %, equivalence test passed); D fell 26.7 -> 9.43 (± 1e-05 by the "
        "draws" in text
    )
    assert "of z alone) while R rose 6.67 -> 18.9" in text
    assert "warning" not in text


@pytest.mark.parametrize(
    ("worse", "said"),
    [
        ({}, None),
        ({"val_C": 1.1}, "only training C is held (validation C 2.2 -> 2.42, accuracy 95.0 -> 95.0 %): "),
        ({"val_C": 1.02}, None),  # 0.04 nats, within its error
        ({"val_accuracy": 0.98}, "only training C is held (validation C 2.2 -> 2.2, accuracy 95.0 -> 93.1 %): "),
        ({"val_C": 0.5, "val_accuracy": 0.98}, "only training C is held (validation C 2.2 -> 1.1, accuracy 95.0 -> 93.1 %): "),
    ],
)
def test_a_validation_that_got_worse_is_the_first_thing_that_is_said(worse: dict[str, float], said: str | None):
    rows = walk().assign(val_C=2.2, val_C_se=0.02)
    for column, factor in worse.items():
        rows.loc[len(rows) - 1, column] *= factor
    first = printed(rows, width=200).splitlines()[0]
    assert first.startswith(f"lam0.25-gamma4-seed0: {said or 'C held, off by up to'}")


def test_a_start_at_chance_says_so_by_its_numbers_and_what_to_raise():
    start = walk(steps=0).assign(label_entropy=2.303, first_updates=120, C=2.29, R=0.01, accepted=True)
    line = summarize(stopped(start, "at_chance"), TOLERANCE).iloc[0]
    assert verdict(line) == (
        "nothing to hold: C0 is 2.29 nats, where guessing has 2.3, and R 0.01 nats; its first equilibrium had only 120 updates: "
        "raise ``equilibration.first_epochs``; ended: at_chance"
    )
    assert warnings(line) == []


def test_that_the_models_of_one_run_are_no_lower_is_no_distance_and_that_others_are_not_is_one():
    for steps in (0, 1):
        assert np.isnan(summarize(walk(steps=steps), TOLERANCE).iloc[0]["excess_percent"])
    rows = walk()
    own, name = rows[["t", "R", "D", "C"]].astype(float), rows["trajectory"].iloc[0]
    for elsewhere, percent in ((False, None), (True, 0.0)):
        models = pd.concat([own.assign(elsewhere=False), own.assign(elsewhere=elsewhere)], ignore_index=True)
        (line,) = summarize(rows, TOLERANCE, models=models).to_dict("records")
        assert (
            np.isnan(line["excess_percent"]) if percent is None else line["excess_percent"] == pytest.approx(percent, abs=1e-9)
        )
        console = Console(file=io.StringIO(), width=100, color_system=None)
        print_walks(pd.DataFrame([line]), console)
        (cells,) = (text.split() for text in console.file.getvalue().splitlines() if text.strip().startswith(f"{name} "))
        assert cells[-1] == ("-" if percent is None else "0.0")


def test_excess_of_F_that_may_be_near_nought_is_told_in_nats():
    rows = pd.concat([walk(seed=0), walk(seed=1)], ignore_index=True)
    rows.loc[3, ["R", "F"]] += 0.5
    assert "others, %" in printed(rows) and "others, nats" not in printed(rows)
    rows.attrs[SIGNED] = True
    text = printed(rows)
    assert "others, nats" in text and "F is at least 0.5 nats too high" in " ".join(text.split()) and "% of F" not in text


def test_warnings_name_over_fitting_wrong_directions_and_excess():
    rows = pd.concat([walk(seed=0), walk(seed=1)], ignore_index=True)
    rows.loc[6, ["R", "F"]] += 0.5 * rows.loc[6, "F"]
    rows.loc[6, "val_C"] = 1.6 * rows.loc[6, "C"]
    rows.loc[0, "R"], rows.loc[0, "D"] = rows.loc[6, "R"], rows.loc[6, "D"]
    found = " ".join(warnings(summarize(rows, TOLERANCE).iloc[0]))
    for words in ("over-fitting", "1.6 times", "R did not rise", "D did not fall", "off equilibrium"):
        assert words in found


def test_a_walk_down_is_warned_of_nothing_that_it_should_do():
    down = walk().assign(lam=walk()["lam"].to_numpy()[::-1], D=walk()["D"].to_numpy()[::-1], R=walk()["R"].to_numpy()[::-1])
    assert warnings(summarize(down, TOLERANCE).iloc[0]) == []
    down.loc[6, "R"] = 100.0
    assert any(found.startswith("R did not fall") for found in warnings(summarize(down, TOLERANCE).iloc[0]))


@pytest.mark.parametrize("process", ["seek", "iso-functional"])
def test_what_does_not_hold_C_is_not_tested_for_it(process):
    rows = walk().assign(process=process, C_target=None, held_drift=1e-3, held_drift_se=1e-4)
    (line,) = summarize(rows, TOLERANCE).to_dict("records")
    assert (line["holds_C"], line["drift_ok"]) == (False, None)
    assert "equivalence" not in verdict(line)


def test_a_transfer_may_lower_the_rate_without_a_warning():
    rows = walk().assign(process="geodesic")
    rows.loc[0, "R"] = 100.0
    assert not any("rise" in text for text in warnings(summarize(rows, TOLERANCE).iloc[0]))


@pytest.mark.parametrize(("process", "bounded"), [("iso-classification", True), ("conditioned", False)])
def test_the_table_fits_80_columns_with_names_and_numbers_whole(process: str, bounded: bool):
    rows = pd.concat([stopped(walk(start=15.0, seed=12)), walk(start=8.0)], ignore_index=True)
    rows = with_row(rows.assign(process=process), accepted=False, reason="NOT_EQUILIBRATED")
    text = printed(rows, width=80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert {" lam0.25-gamma15-seed12", " lam0.25-gamma8-seed0"} <= {line[:23].rstrip() for line in text.splitlines()}
    assert ("F above" in text) is bounded  # nothing is known of a box but its own models


def test_no_rows_give_an_empty_summary_that_prints():
    assert summarize(pd.DataFrame(), TOLERANCE).empty
    assert printed(pd.DataFrame()) == "no steps yet\n"
