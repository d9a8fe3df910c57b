"""Verdicts in plain words: was C held, is the walk at equilibrium, what it is worth on new data; `identities` has the others.

Each verdict says what was measured; a quantity without a number says so and what would measure it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from rayfe.records import Split
from rayfe.report.identities import bits, closure, convexity, first_law, maxwell, variational
from rayfe.report.verdict import State, Verdict, records
from rayfe.report.view import RunView
from rayfe.results.certified import Finding, findings, largest_gap, largest_missed, last_findings, way_to_measure
from rayfe.results.frames import accepted_steps, holds_nothing, numbers, of_weights, percent_of_F, size_of_F, span_of, told_F
from rayfe.results.guaranteed import guarantee_line
from rayfe.results.learnt import worsened
from rayfe.results.walk_summary import EXCESS_PERCENT, OVERFIT_RATIO, overfit, way_there
from rayfe.surface.equivalence import Z, is_equivalent


def verdicts(view: RunView) -> list[Verdict]:
    """All certificates of a run, those that do not apply left out."""
    rules: list[Callable[[RunView], Verdict | None]] = [
        held,
        equilibrium,
        there_and_back,
        variational,
        maxwell,
        first_law,
        convexity,
        closure,
        bits,
        generalisation,
    ]
    if view.kind == "baseline":
        rules = [bits, generalisation]
    return [found for rule in rules if (found := rule(view)) is not None]


def held(view: RunView) -> Verdict | None:
    """The equivalence test of C / C0 - 1, all steps of a trajectory together; of what is held or sought instead, how far off it is."""
    meaning = "The process keeps the loss C of the task where the start had it; the test needs |C/C0 - 1| plus its error below \
the tolerance at all steps together."
    if len(view.rows) and holds_nothing(view.rows).all():
        return None
    lines = view.summary
    if view.kind == "walk" and len(lines) and not lines["holds_C"].any():
        return _held_instead(view, lines)
    tested = lines[lines["drift_ok"].notna()] if len(lines) else lines
    if not len(tested):
        return Verdict(name="C held", state="not measured", text="No step after the start yet.", meaning=meaning)
    worst = tested.iloc[int(np.argmax(np.abs(numbers(tested, "drift_percent"))))]
    passed = int(tested["drift_ok"].astype(bool).sum())
    limit = f"{span_of(100 * numbers(tested, 'tolerance'))} {worst['unit']}"
    text = (
        f"{passed} of {len(tested)} trajectories pass at a tolerance of {limit}; largest drift "
        f"{worst['drift_percent']:+.2f} ± {worst['drift_se_percent']:.2f} {worst['unit']} ({worst['trajectory']})."
    )
    close = bool((tested["drift_percent"].abs() <= 100 * tested["tolerance"]).all())
    if passed < len(tested) and close:
        text += " The drifts are within it, but not by the errors of all steps: more draws of z (measure.head_draws) make these smaller."
    state: State = "holds" if passed == len(tested) else "look" if close else "fails"
    return Verdict(name="C held", state=state, text=text, meaning=meaning)


def _held_instead(view: RunView, lines: pd.DataFrame) -> Verdict:
    meaning = "The process holds or seeks something else than C; how far off it is counts in parts of it, or of a nat below 0."
    name, which = ("What is sought", "held_end") if view.config.asked.seek else ("What is held", "held")
    known = lines[lines[f"{which}_percent"].notna()]
    if not len(known):
        return Verdict(name=name, state="not measured", text="No step after the start yet.", meaning=meaning)
    off, error = np.abs(numbers(known, f"{which}_percent")), numbers(known, f"{which}_se_percent")
    limit = 100 * view.config.asked.tolerance
    passed = sum(is_equivalent(*one, limit) for one in zip(off, error, strict=True))
    worst = known.iloc[int(off.argmax())]
    text = (
        f"{passed} of {len(known)} trajectories surely are within the tolerance of {limit:.3g} %, {Z:g} standard errors included; the one "
        f"that is furthest off by {worst[f'{which}_percent']:+z.2f} ± {worst[f'{which}_se_percent']:.2f} % ({worst['trajectory']})."
    )
    outside = bool((off - Z * np.nan_to_num(error) > limit).any())
    state: State = "holds" if passed == len(known) else "fails" if outside else "look"
    return Verdict(name=name, state=state, text=text, meaning=meaning)


def equilibrium(view: RunView) -> Verdict:
    """What certificates say: models that were trained at the same multipliers in another way. The envelope alone proves nothing."""
    meaning = (
        "At equilibrium, models that are trained at the same multipliers in another way have the same C, D, R and gamma (D and R at "
        "gamma = 0), and do not end lower in F, and no dimension of z is worth more elsewhere. F alone does not tell: it is second "
        "order in the distance. The envelope of the models that are here is a lower bound of the distance."
    )
    found = findings(view.certificates, view.rows, step_epochs=view.config.equilibration.epochs)
    gap = largest_gap(view.rows, view.models)
    bound = f"{str(gap)[0].upper()}{str(gap)[1:]}." if gap else "No two models at the same t and multipliers to compare."
    last = last_findings(found)
    names = sorted(set(view.rows.loc[view.rows["accepted"].astype(bool), "trajectory"])) if len(view.rows) else []
    near = [name for name in names if name in last and last[name].state == "holds"]
    off = [one for one in found if one.state == "look"]
    shown = [*off, *(one for one in found if one.state == "not measured"), *found][:1]
    words = [f"{one.trajectory}, step {one.step}: {_measured(one)}." for one in shown] or ["Not measured."]
    if near or off:
        words.insert(0, f"{len(near)} of {len(names)} trajectories end with a model that is certified near equilibrium.")
    left = largest_missed(view.rows, shown)
    if left is not None:
        words.append(f"{left.placed}.")
    if not near and not off:
        words.append(way_to_measure(view.rows, "RUN").replace("nothing", "Nothing", 1) + ".")
    state: State = "look" if off else "holds" if names and len(near) == len(names) else "not measured"
    if state == "holds" and (left is not None or (gap is not None and gap.percent > EXCESS_PERCENT)):
        state = "look"
    return Verdict(name="Equilibrium", state=state, text=" ".join([*words, bound]), meaning=meaning)


def _measured(one: Finding) -> str:
    """The distances of a model; of one whose certificate proves nothing, why it does not."""
    return one.text if one.state != "not measured" else f"not measured: {one.why or one.off}"


def there_and_back(view: RunView) -> Verdict | None:
    """How much lower later ways were than those before them, and whether the last one is no longer lower."""
    if not view.config.asked.both_ways:
        return None
    meaning = (
        "Branches of the surface cross and are entered from one side, and a lag has the opposite sign on the way back. Of all models "
        "at one lam the lowest counts: large differences say that one way alone would not have been at equilibrium. A large one at "
        "the last lam says that the ways have not met: the walk is not over, or its start lies above the better branch."
    )
    texts, met, told = [], True, percent_of_F(view.rows)
    for name, walk in view.rows.groupby("trajectory", sort=True):
        steps = accepted_steps(walk)
        nats, lam = _lower_than_before(steps), numbers(steps, "lam")
        lower = 100.0 * nats / (size_of_F(steps).to_numpy() + nats)
        again = np.flatnonzero(np.isfinite(lower) & (np.arange(len(steps)) >= len(way_there(steps))))
        if not len(again):
            continue
        best, last = again[lower[again].argmax()], again[-1]
        met &= bool(lower[last] <= EXCESS_PERCENT)
        largest, end = (told_F(nats[step], lower[step], in_percent=told) for step in (best, last))
        most = f"up to {largest} at lam {lam[best]:.3g}, and by {end} at lam {lam[last]:.3g}, the last"
        found = f"F was lower by {most}" if lower[best] > 0.0 else "F was nowhere lower"
        texts.append(f"{name}: where it went over the same lam again {found}, of {len(again)}")
    if not texts:
        return Verdict(name="There and back", state="not measured", text="No walk has passed a lam twice yet.", meaning=meaning)
    return Verdict(name="There and back", state="holds" if met else "look", text="; ".join(texts) + ".", meaning=meaning)


def _lower_than_before(steps: pd.DataFrame) -> np.ndarray:
    """By how many nats of F each step is lower than the lowest earlier one at the same lam, both at the multipliers of the last of
    those, (N,); NaN where there is none."""
    R, D, C, lam, gamma = (numbers(steps, name) for name in ("R", "D", "C", "lam", "gamma"))
    R, lower = (
        R + of_weights(steps, "sigma") * of_weights(steps, "S"),
        np.full(len(steps), np.nan),
    )  # sigma stays where lam goes
    for step in range(len(steps)):
        before = np.flatnonzero(lam[:step] == lam[step])
        if len(before):
            J = R + lam[step] * D + gamma[before[-1]] * C
            lower[step] = J[before].min() - J[step]
    return lower


def generalisation(view: RunView) -> Verdict | None:
    """Validation C against training C at the end."""
    ends = [
        line for line in records(view.summary) if line["gamma_end"] and pd.notna(line["val_C_end"]) and pd.notna(line["C_end"])
    ]
    if not ends:
        return None
    holding = _holding_C(view)
    worse = sum(bool(worsened(line)) for line in holding)
    meaning = f"{_what_C_is(view, holding)}; what a user of the model sees is the validation data."
    worst = max(ends, key=overfit)
    ratio, accuracy = overfit(worst), worst["val_accuracy_end"]
    times = f", {ratio:.1f} times as much" if worst["unit"] == "%" else ""
    right = "" if pd.isna(accuracy) else f"; validation accuracy {100 * accuracy:.1f} %"
    text = (
        f"At the end validation C is {worst['val_C_end']:.4g} and training C {worst['C_end']:.4g} nats{times}{right} "
        f"({worst['trajectory']})."
    )
    if worse:
        text += f" Validation C or accuracy got worse along {worse} of {len(holding)} trajectories, where the held C did not."
    if bounded := guarantee_line(view.rows):
        text += f" {bounded[0].upper()}{bounded[1:]}."
    state: State = "look" if worse or ratio > OVERFIT_RATIO else "holds"
    return Verdict(name="New data", state=state, text=text, meaning=meaning)


def _holding_C(view: RunView) -> list[dict[str, Any]]:
    """Lines of the summary whose trajectories hold C: of walks those whose process does, all transfers, no baseline."""
    return [] if view.kind == "baseline" else [line for line in records(view.summary) if line.get("holds_C", True)]


def _what_C_is(view: RunView, holding: list[dict[str, Any]]) -> str:
    if not holding:
        return "C of training data is what was trained"
    return f"C is held on {'the control split' if view.config.held_on is Split.CONTROL else 'training data'}"
