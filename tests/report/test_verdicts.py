"""Certificates in words: on the exact surface all hold; each violation is found; what was not measured says why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rayfe.config import configure
from rayfe.records import StepRecord
from rayfe.report.verdict import Verdict
from rayfe.report.verdicts import verdicts
from rayfe.report.view import RunView
from rayfe.storage.store import Store


@pytest.fixture
def judged(exact: Callable[..., StepRecord], tmp_path: Path) -> Callable[..., dict[str, Verdict]]:
    """Verdicts by name of a walk of eight steps on the exact surface, some rows of it changed."""

    def judge(changes: dict[int, dict[str, Any]] | None = None, back: int = 0, **config: Any) -> dict[str, Verdict]:
        rows = [exact(step, 0.25 * 1.2**step) for step in range(9)]
        rows += [
            dataclasses.replace(exact(step, 0.25 * 1.2 ** (16 - step)), leg="back", step_length=0.1)
            for step in range(9, 9 + back)
        ]
        rows = [dataclasses.replace(row, **(changes or {}).get(row.step, {})) for row in rows]
        view = RunView(
            store=Store(tmp_path),
            manifest={},
            config=configure(**config),
            rows=pd.DataFrame([dataclasses.asdict(row) for row in rows]),
            readings=pd.DataFrame(),
            standing={},
        )
        return {found.name: found for found in verdicts(view)}

    return judge


def test_exact_surface_passes_every_certificate_that_was_measured(judged: Callable[..., dict[str, Verdict]]) -> None:
    found = judged()
    states = {name: verdict.state for name, verdict in found.items()}
    assert states.pop("Maxwell relation") == states.pop("Equilibrium") == "not measured"
    assert set(states.values()) == {"holds"}, states
    assert "1 of 1 trajectories pass" in found["C held"].text


def test_a_run_whose_R_never_changes_has_a_page_of_verdicts(judged: Callable[..., dict[str, Verdict]]) -> None:
    found = judged({step: {"R": 5.0} for step in range(9)})["First law"]
    assert (found.state, found.text) == ("not measured", "Not measured: R never changed from one step to the next.")


def test_the_tolerance_that_was_passed_is_told_where_a_floor_is_wider(judged: Callable[..., dict[str, Verdict]]) -> None:
    assert "pass at a tolerance of 0.5 %" in judged()["C held"].text
    C0 = 20 / 3 * 0.25 ** (1 / 3) * 4.0 ** (-2 / 3)
    assert "pass at a tolerance of 3 %" in judged(tolerance_floor=0.03 * C0)["C held"].text


def test_validation_C_has_one_ratio_wherever_it_is_told(judged: Callable[..., dict[str, Verdict]], exact: Any) -> None:
    """Of a walk that turned it is that of where it turned, as in the summary's warning; on the way back it is another."""
    found = judged({8: {"val_C": 2.5 * exact(8, 1.0).C}, 11: {"val_C": 9.9 * exact(8, 1.0).C}}, back=3)
    assert "2.5 times as much" in found["New data"].text


def test_maxwell_not_measured_names_the_option_that_measures_it(judged: Callable[..., dict[str, Verdict]]) -> None:
    assert "--stencil paper" in judged()["Maxwell relation"].text
    assert "no step has measured" in judged(stencil="paper")["Maxwell relation"].text


@pytest.mark.parametrize("process", ["fixed-gamma", "conditioned", "iso-losses"])
def test_what_trains_no_neighbours_names_no_option_for_them(judged: Callable[..., dict[str, Verdict]], process: str) -> None:
    text = judged(process=process)["Maxwell relation"].text
    assert "which train no neighbours in lam" in text and "--stencil" not in text


def test_no_step_of_a_conditioned_model_is_waited_for(judged: Callable[..., dict[str, Verdict]]) -> None:
    text = judged({step: {"first_law_residual": None} for step in range(9)}, process="conditioned")["First law"].text
    assert text == "Not measured: not for conditioned models: nothing walks."


def test_maxwell_gap_of_half_the_response_asks_for_a_look(judged: Callable[..., dict[str, Verdict]]) -> None:
    small = judged({step: {"maxwell_gap": 1e-6, "C_lam": 1.0} for step in range(9)})["Maxwell relation"]
    large = judged({step: {"maxwell_gap": -0.5, "C_lam": 1.0} for step in range(9)})["Maxwell relation"]
    assert (small.state, large.state) == ("holds", "look")
    assert "50 % of |C_lam| in the median" in large.text


def test_a_model_above_the_envelope_is_found_with_its_step(judged: Callable[..., dict[str, Verdict]], exact: Any) -> None:
    row = exact(5, 0.25 * 1.2**5)
    found = judged({5: {"R": row.R * 1.2, "F": row.F + 0.2 * row.R}})["Equilibrium"]
    assert found.state == "not measured"  # a bound by chance models is no certificate, whatever it is
    assert "F is at least" in found.text and "step 5" in found.text


def test_a_way_back_that_is_lower_is_told_and_counts(judged: Callable[..., dict[str, Verdict]], exact: Any) -> None:
    """Steps 9, 10, 11 are at the lam of steps 7, 6, 5; the models of step 6 and 11 are 3 % and 1 % too high."""
    high = {
        step: {"R": exact(step, lam).R + part * exact(step, lam).F, "F": (1 + part) * exact(step, lam).F}
        for step, lam, part in ((6, 0.25 * 1.2**6, 0.03), (11, 0.25 * 1.2**5, 0.01))
    }
    found = judged(high, back=3, both_ways=True)
    assert (
        "up to 1.04 nats (2.9 % of F) at lam 0.746, and by -0.315 nats (-1 % of F) at lam 0.622, the last, of 3"
        in found["There and back"].text
    )
    assert "No other model that is here is lower in F, which proves nothing" in found["Equilibrium"].text
    assert found["Concave free energy"].state == "holds"
    assert "There and back" not in judged()
    assert judged(both_ways=True)["There and back"].state == "not measured"


def test_the_variational_gap_is_told_with_its_effective_draws(judged: Callable[..., dict[str, Verdict]], exact: Any) -> None:
    assert "Variational gap" not in judged()
    F = exact(3, 0.25 * 1.2**3).F
    found = judged({3: {"J_K": 0.96 * F, "J_K_ess": 0.5}})["Variational gap"]
    assert found.state == "holds"
    assert "K = 8 is 4 to 4 % of F below F; at least 4.0 of the 8 draws count" in found.text
    assert judged({3: {"J_K": 0.96 * F, "J_K_ess": 0.2}})["Variational gap"].state == "look"


def test_drift_beyond_the_tolerance_fails(judged: Callable[..., dict[str, Verdict]], exact: Any) -> None:
    found = judged({3: {"C": exact(3, 0.25 * 1.2**3).C * 1.05}})["C held"]
    assert found.state == "fails"
    assert "+5.00" in found.text


@pytest.mark.parametrize(
    ("config", "name"),
    [({"seek": ("C=1.0", "R=6")}, "What is sought"), ({"process": "iso-functional", "stencil": "paper"}, "What is held")],
)
def test_what_is_held_or_sought_instead_of_C_is_judged_by_its_own_miss(
    judged: Callable[..., dict[str, Verdict]], config: dict[str, Any], name: str
) -> None:
    process = {"process": config.get("process", "seek"), "C_target": None}
    near, far = (
        judged({step: process | {"held_drift": miss, "held_drift_se": 0.0} for step in range(9)}, **config)
        for miss in (0.004, 0.2)
    )
    assert (near[name].state, far[name].state) == ("holds", "fails")
    assert "+20.00 ± 0.00 %" in far[name].text
    assert "C held" not in near


@pytest.mark.parametrize(
    ("config", "name"),
    [({"seek": ("C=1.0", "R=6")}, "What is sought"), ({"process": "iso-functional", "stencil": "paper"}, "What is held")],
)
@pytest.mark.parametrize(
    ("miss", "error", "state"),
    [
        (0.003, 0.0004, "holds"),
        (0.003, 0.0006, "look"),
        (0.004, None, "look"),
        (0.006, 0.0004, "look"),
        (0.006, 0.0002, "fails"),
    ],
)
def test_the_error_of_what_is_held_or_sought_counts(
    judged: Callable[..., dict[str, Verdict]], config: dict[str, Any], name: str, miss: float, error: float | None, state: str
) -> None:
    """Four standard errors on either side of a tolerance of 0.5 %: a seek that has not arrived is not green."""
    change = {"process": config.get("process", "seek"), "C_target": None, "held_drift": miss, "held_drift_se": error}
    assert judged(dict.fromkeys(range(9), change), **config)[name].state == state


def test_ways_that_do_not_meet_ask_for_a_look(judged: Callable[..., dict[str, Verdict]], exact: Any) -> None:
    """The models of steps 5 and 6 are 3 % above those of the way back, which ends at step 6's lam or at step 5's."""
    high = {
        step: {"R": exact(step, lam).R + 0.03 * exact(step, lam).F, "F": 1.03 * exact(step, lam).F}
        for step, lam in ((5, 0.25 * 1.2**5), (6, 0.25 * 1.2**6))
    }
    assert judged(high, back=3, both_ways=True)["There and back"].state == "look"
    assert judged(high, back=4, both_ways=True)["There and back"].state == "holds"


def test_the_first_law_counts_no_way_that_was_leapt(judged: Callable[..., dict[str, Verdict]]) -> None:
    whole = judged({step: {"first_law_residual": -0.1} for step in range(1, 9)})["First law"].text
    leapt = judged({step: {"first_law_residual": -0.1 if step < 5 else None} for step in range(1, 9)})["First law"].text
    way = [float(text.split("way of ")[1].split(" nats")[0]) for text in (whole, leapt)]
    assert way[1] < 0.7 * way[0]


def test_first_law_reports_the_sum_of_residuals(judged: Callable[..., dict[str, Verdict]]) -> None:
    found = judged({step: {"first_law_residual": -0.5} for step in range(1, 9)})["First law"]
    assert found.state == "look"
    assert "-4 nats" in found.text


def test_positive_curvature_is_no_concave_free_energy(judged: Callable[..., dict[str, Verdict]]) -> None:
    assert judged({4: {"hess_max_eig": 0.1}})["Concave free energy"].state == "look"
    assert judged({4: {"hess_max_eig": -0.1}})["Concave free energy"].state == "holds"
    assert judged({4: {"C_gamma": 0.1}})["Concave free energy"].state == "look"


def test_d_that_grows_with_lam_violates_monotony(judged: Callable[..., dict[str, Verdict]]) -> None:
    found = judged({8: {"D": 1000.0}})["Concave free energy"]
    assert found.state == "look"
    assert "8 of 36 pairs" in found.text


def test_over_fitting_is_named(judged: Callable[..., dict[str, Verdict]]) -> None:
    assert judged({8: {"val_C": 100.0}})["New data"].state == "look"


WORSE = {0: {"val_accuracy": 0.99}, 8: {"val_accuracy": 0.9}}


def test_validation_that_got_worse_counts_where_C_is_held(judged: Callable[..., dict[str, Verdict]]) -> None:
    found = judged(WORSE)["New data"]
    assert found.state == "look"
    assert "Validation C or accuracy got worse along 1 of 1 trajectories, where the held C did not" in found.text
    assert found.meaning.startswith("C is held on training data;")
    assert judged(hold="control")["New data"].meaning.startswith("C is held on the control split;")


@pytest.mark.parametrize(
    ("process", "config"),
    [
        ("seek", {"seek": ("C=1.0", "R=6")}),
        ("iso-functional", {"process": "iso-functional", "stencil": "paper"}),
        ("fixed-gamma", {"process": "fixed-gamma"}),
    ],
)
def test_no_held_C_is_spoken_of_where_none_is_held(
    judged: Callable[..., dict[str, Verdict]], process: str, config: dict[str, Any]
) -> None:
    changes = {step: {"process": process, "C_target": None} | WORSE.get(step, {}) for step in range(9)}
    found = judged(changes, **config)["New data"]
    assert found.state == "holds"
    assert "held" not in found.text + found.meaning


def test_without_labels_nothing_is_said_of_new_data(judged: Callable[..., dict[str, Verdict]]) -> None:
    changes = {step: {"process": "fixed-gamma", "C_target": None, "gamma": 0.0} for step in range(9)}
    assert "New data" not in judged(changes, process="fixed-gamma")
