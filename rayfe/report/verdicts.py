"""Certificates in plain words: was C held, is the walk at equilibrium, do the identities of the surface hold (MATH of the paper, sec. 2).

Each verdict says what was measured; a quantity without a number says so and what would measure it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd

from rayfe.records import BOUND_DRAWS, Split
from rayfe.report.view import RunView
from rayfe.results.certified import NONE, findings, largest_gap, largest_missed, last_findings
from rayfe.results.frames import accepted_steps, counted_steps, holds_nothing, numbers
from rayfe.results.learnt import worsened
from rayfe.results.transfer_summary import CLOSED, summarize_transfers, unclosed
from rayfe.results.walk_summary import EXCESS_PERCENT, OVERFIT_RATIO, summarize, way_there
from rayfe.surface.equivalence import Z, is_equivalent

State = Literal["holds", "look", "fails", "not measured"]
WORDS: Mapping[State, str] = MappingProxyType(
    {"holds": "holds", "look": "look closer", "fails": "fails", "not measured": "not measured"}
)
MAXWELL = 0.1
"""Largest |D_gamma - C_lam| as a part of |C_lam| that needs no second look."""
FIRST_LAW = 0.05
"""Largest sum of residuals of the first law as a part of the way in R that needs no second look."""
NOISE = 1e-3
"""Part of F below which a violated inequality between two models is noise of the draws."""
MOST_ROWS = 1500
"""Rows whose pairs are compared; evenly chosen ones where there are more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """One certificate: its name, how it stands, one sentence with numbers, and what it means."""

    name: str
    state: State
    text: str
    meaning: str


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
        generalisation,
    ]
    if view.kind == "baseline":
        rules = [generalisation]
    return [found for rule in rules if (found := rule(view)) is not None]


def held(view: RunView) -> Verdict | None:
    """The equivalence test of C / C0 - 1, all steps of a trajectory together; of what is held or sought instead, how far off it is."""
    meaning = (
        "The process keeps the classification loss C where the start had it; the test needs |C/C0 - 1| plus its error below \
the tolerance at all steps together."
    )
    if len(view.rows) and holds_nothing(view.rows).all():
        return None
    lines = _summary(view)
    if view.kind == "walk" and len(lines) and not lines["holds_C"].any():
        return _held_instead(view, lines)
    tested = lines[lines["drift_ok"].notna()] if len(lines) else lines
    if not len(tested):
        return Verdict(name="C held", state="not measured", text="No step after the start yet.", meaning=meaning)
    worst = tested.iloc[int(np.argmax(np.abs(numbers(tested, "drift_percent"))))]
    passed = int(tested["drift_ok"].astype(bool).sum())
    text = (
        f"{passed} of {len(tested)} trajectories pass at a tolerance of {100 * view.config.asked.tolerance:.3g} %; largest drift "
        f"{worst['drift_percent']:+.2f} ± {worst['drift_se_percent']:.2f} % ({worst['trajectory']})."
    )
    close = bool((tested["drift_percent"].abs() <= 100 * tested["tolerance"]).all())
    state: State = "holds" if passed == len(tested) else "look" if close else "fails"
    return Verdict(name="C held", state=state, text=text, meaning=meaning)


def _held_instead(view: RunView, lines: pd.DataFrame) -> Verdict:
    meaning = "The process holds or seeks something else than C; how far off it is counts in parts of its scale at the start."
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
        "order in the distance. The envelope of the models that happen to be there is a lower bound of the distance; "
        "python -m rayfe certify measures it."
    )
    found = findings(view.certificates, view.rows, step_epochs=view.config.equilibration.epochs)
    gap = largest_gap(view.rows, view.models)
    bound = f"{gap}." if gap else "No two models at the same t and multipliers to compare."
    last = last_findings(found)
    names = sorted(set(view.rows.loc[view.rows["accepted"].astype(bool), "trajectory"])) if len(view.rows) else []
    near = [name for name in names if name in last and last[name].state == "holds"]
    off = [one for one in found if one.state == "look"]
    shown = [*off, *(one for one in found if one.state == "not measured"), *found][:1]
    words = [f"{one.trajectory}, step {one.step}: {one.text}." for one in shown] or [f"Not measured: {NONE}."]
    if near or off:
        words.insert(0, f"{len(near)} of {len(names)} trajectories end with a model that is certified near equilibrium.")
    left = largest_missed(view.rows, shown)
    if left is not None:
        words.append(f"{left.placed}.")
    state: State = "look" if off else "holds" if names and len(near) == len(names) else "not measured"
    if state == "holds" and (left is not None or (gap is not None and gap.percent > EXCESS_PERCENT)):
        state = "look"
    return Verdict(name="Equilibrium", state=state, text=" ".join([*words, bound]), meaning=meaning)


def there_and_back(view: RunView) -> Verdict | None:
    """How much lower later ways were than those before them, and whether the last one is no longer lower."""
    if not view.config.asked.both_ways:
        return None
    meaning = (
        "Branches of the surface cross and are entered from one side, and a lag has the opposite sign on the way back. Of all models "
        "at one lam the lowest counts: large differences say that one way alone would not have been at equilibrium. A large one at "
        "the last lam says that the ways have not met: the walk is not over, or its start lies above the better branch."
    )
    texts, met = [], True
    for name, walk in view.rows.groupby("trajectory", sort=True):
        steps = accepted_steps(walk)
        lower, lam = _lower_than_before(steps), numbers(steps, "lam")
        again = np.flatnonzero(np.isfinite(lower) & (np.arange(len(steps)) >= len(way_there(steps))))
        if not len(again):
            continue
        best, last = again[lower[again].argmax()], again[-1]
        met &= bool(lower[last] <= EXCESS_PERCENT)
        most = f"up to {lower[best]:.2g} % (lam {lam[best]:.3g}), and by {lower[last]:.2g} % at lam {lam[last]:.3g}, the last"
        found = f"F was lower by {most}" if lower[best] > 0.0 else "F was nowhere lower"
        texts.append(f"{name}: where it went over the same lam again {found}, of {len(again)}")
    if not texts:
        return Verdict(name="There and back", state="not measured", text="No walk has passed a lam twice yet.", meaning=meaning)
    return Verdict(name="There and back", state="holds" if met else "look", text="; ".join(texts) + ".", meaning=meaning)


def _lower_than_before(steps: pd.DataFrame) -> np.ndarray:
    """By how much per cent of F each step is lower than the lowest earlier one at the same lam, both at the multipliers of the last
    of those, (N,); NaN where there is none."""
    R, D, C, lam, gamma = (numbers(steps, name) for name in ("R", "D", "C", "lam", "gamma"))
    lower = np.full(len(steps), np.nan)
    for step in range(len(steps)):
        before = np.flatnonzero(lam[:step] == lam[step])
        if len(before):
            J = R + lam[step] * D + gamma[before[-1]] * C
            lower[step] = 100.0 * (1.0 - J[step] / J[before].min())
    return lower


def variational(view: RunView) -> Verdict | None:
    """J_1 - J_K, which stays at equilibrium: what the encoder gives away."""
    rows = _measured(view.rows, "J_K")
    if not len(rows):
        return None
    K, ess = BOUND_DRAWS, float(numbers(rows, "J_K_ess").min())
    gap = 100.0 * (numbers(rows, "F") - numbers(rows, "J_K")) / np.abs(numbers(rows, "F"))
    text = (
        f"J_K with K = {K} is {gap.min():.2g} to {gap.max():.2g} % of F below F; at least {K * ess:.1f} of the {K} draws count "
        f"(effective sample size)."
    )
    meaning = (
        "J_K lies between -log Z and F. The gap is the encoder's, not the training's: it says how far e(z|x) is from the posterior, \
and enters no tolerance. Where fewer than two draws count, more of them would show a larger gap."
    )
    return Verdict(name="Variational gap", state="holds" if K * ess >= 2.0 else "look", text=text, meaning=meaning)


def maxwell(view: RunView) -> Verdict:
    """D_gamma = C_lam, where both were measured."""
    meaning = "At equilibrium D changes with gamma as C changes with lam. It checks code and noise: it holds away from \
equilibrium, too."
    rows = _measured(view.rows, "maxwell_gap")
    if not len(rows):
        why = (
            "the stencil iso trains no neighbours in lam and takes C_lam from D_gamma; --stencil paper measures both"
            if view.config.asked.stencil == "iso"
            else "no step has measured its neighbours yet"
        )
        return Verdict(name="Maxwell relation", state="not measured", text=f"Not measured: {why}.", meaning=meaning)
    part = np.abs(numbers(rows, "maxwell_gap")) / np.maximum(np.abs(numbers(rows, "C_lam")), 1e-300)
    median, largest = float(np.median(part)), float(part.max())
    text = (
        f"|D_gamma - C_lam| is {_percent(median)} of |C_lam| in the median, {_percent(largest)} at most, over {len(rows)} rows."
    )
    return Verdict(name="Maxwell relation", state="holds" if median <= MAXWELL else "look", text=text, meaning=meaning)


def first_law(view: RunView) -> Verdict:
    """dR + lam dD + gamma dC = 0 along the accepted steps."""
    meaning = (
        "Along the surface dR = -lam dD - gamma dC. A negative sum is free energy that training still won on the way: the \
walk lags behind the surface, or caught up with it."
    )
    rows = _measured(view.rows, "first_law_residual")
    if not len(rows):
        why = (
            "data that move add F_t dt, which rows do not integrate"
            if view.kind == "transfer"
            else "no step after the start yet"
        )
        return Verdict(name="First law", state="not measured", text=f"Not measured: {why}.", meaning=meaning)
    parts = {}
    for name, walk in view.rows.groupby("trajectory", sort=True):
        steps = accepted_steps(walk)
        residuals = numbers(steps, "first_law_residual")[1:]
        known = np.isfinite(residuals)  # not of renewals and leaps, which lead to another branch
        way, residual = np.abs(np.diff(numbers(steps, "R")))[known].sum(), residuals[known].sum()
        if way > 0:
            parts[str(name)] = (residual / way, residual, way)
    name, (part, residual, way) = max(parts.items(), key=lambda item: abs(item[1][0]))
    text = (
        f"The residuals sum to {residual:+.3g} nats over a way of {way:.3g} nats in R, {_percent(part)} ({name}, the largest)."
    )
    return Verdict(name="First law", state="holds" if abs(part) <= FIRST_LAW else "look", text=text, meaning=meaning)


def convexity(view: RunView) -> Verdict:
    """Hess F is negative semi-definite, C falls with gamma, and gradients of F are monotone between all pairs of models."""
    meaning = "F is concave in (lam, gamma): D and C fall when their multiplier grows. Violations are models that are not at \
equilibrium, or noise."
    texts, fine = [], True
    rows = _measured(view.rows, "hess_max_eig")
    if len(rows):
        positive = int((numbers(rows, "hess_max_eig") > 0).sum())
        texts.append(f"the Hessian's largest eigenvalue is positive in {positive} of {len(rows)} rows")
        fine &= positive == 0
    rows = _measured(view.rows, "C_gamma")
    if len(rows):
        above = numbers(rows, "C_gamma") > 2.0 * np.nan_to_num(numbers(rows, "C_gamma_se"))
        texts.append(f"C_gamma is positive by two standard errors in {int(above.sum())} of {len(rows)} rows")
        fine &= not above.any()
    pairs, violated, largest = _pairs(view.rows)
    if pairs:
        texts.append(f"{violated} of {pairs} pairs of models violate monotony (largest {largest:.2g} nats)")
        fine &= violated == 0
    if not texts:
        return Verdict(name="Concave free energy", state="not measured", text="No response measured yet.", meaning=meaning)
    text = "; ".join(texts)
    state: State = "holds" if fine else "look"
    return Verdict(name="Concave free energy", state=state, text=f"{text[0].upper()}{text[1:]}.", meaning=meaning)


def closure(view: RunView) -> Verdict | None:
    """Multipliers of a transfer at t = 1 against those of the target's own model, which gave the line its slope."""
    lines = _summary(view) if view.kind == "transfer" else pd.DataFrame()
    arrived = lines[lines["closure_gamma"].notna()] if len(lines) else lines
    if not len(arrived):
        return None
    open_ = [text for line in _records(arrived) if (text := unclosed(line))]
    worst = arrived.iloc[int(np.argmax(np.abs(np.log(numbers(arrived, "closure_gamma")))))]
    text = (
        f"{len(arrived) - len(open_)} of {len(arrived)} transfers end within {100 * CLOSED:.0f} % of the target's own lam and gamma; the "
        f"one that is furthest off at {worst['closure_lam']:.3f} and {worst['closure_gamma']:.3f} of them ({worst['trajectory']})."
    )
    meaning = (
        "A model of the target alone, trained and settled at the same C, gave the line its far end. A transfer that arrives there at "
        "the same multipliers has closed; where it has not, one of the two is not at equilibrium, or they are on other branches."
    )
    return Verdict(name="Closure", state="look" if open_ else "holds", text=text, meaning=meaning)


def generalisation(view: RunView) -> Verdict | None:
    """Validation C against training C at the end."""
    ends = [accepted_steps(walk).iloc[-1] for _, walk in view.rows.groupby("trajectory") if walk["accepted"].any()]
    ends = [end for end in ends if end["gamma"] and pd.notna(end["val_C"]) and pd.notna(end["C"])]
    if not ends:
        return None
    holding = _holding_C(view)
    worse = sum(bool(worsened(line)) for line in holding)
    meaning = f"{_what_C_is(view, holding)}; what a user of the model sees is the validation data."
    worst = max(ends, key=lambda end: end["val_C"] / end["C"])
    ratio = worst["val_C"] / worst["C"]
    text = (
        f"At the end validation C is {worst['val_C']:.4g} and training C {worst['C']:.4g} nats, {ratio:.1f} times as much; "
        f"validation accuracy {100 * worst['val_accuracy']:.1f} % ({worst['trajectory']})."
    )
    if worse:
        text += f" It got worse along {worse} of {len(holding)} trajectories, where the held C did not."
    state: State = "look" if worse or ratio > OVERFIT_RATIO else "holds"
    return Verdict(name="New data", state=state, text=text, meaning=meaning)


def _holding_C(view: RunView) -> list[dict[str, Any]]:
    """Lines of the summary whose trajectories hold C: of walks those whose process does, all transfers, no baseline."""
    return [] if view.kind == "baseline" else [line for line in _records(_summary(view)) if line.get("holds_C", True)]


def _what_C_is(view: RunView, holding: list[dict[str, Any]]) -> str:
    if not holding:
        return "C of training data is what was trained"
    return f"C is held on {'the control split' if view.config.held_on is Split.CONTROL else 'training data'}"


def _pairs(rows: pd.DataFrame) -> tuple[int, int, float]:
    """Pairs of accepted rows that count at equal t, how many violate dlam dD + dgamma dC <= 0 beyond noise, and the largest such sum."""
    pairs, violated, largest = 0, 0, 0.0
    if rows.empty:
        return pairs, violated, largest
    for _, shared in counted_steps(rows).groupby("t"):
        chosen = shared.iloc[np.linspace(0, len(shared) - 1, min(len(shared), MOST_ROWS)).astype(int)]
        lam, gamma, D, C, F = (numbers(chosen, name) for name in ("lam", "gamma", "D", "C", "F"))
        sums = np.subtract.outer(lam, lam) * np.subtract.outer(D, D) + np.subtract.outer(gamma, gamma) * np.subtract.outer(C, C)
        upper = np.triu_indices(len(chosen), 1)
        sums, scale = sums[upper], NOISE * np.minimum.outer(np.abs(F), np.abs(F))[upper]
        pairs, violated = pairs + len(sums), violated + int((sums > scale).sum())
        largest = max(largest, float(sums.max(initial=0.0)))
    return pairs, violated, largest


def _summary(view: RunView) -> pd.DataFrame:
    summary = summarize if view.kind == "walk" else summarize_transfers
    return summary(view.rows, view.config.asked.tolerance, view.config.asked.tolerance_floor)


def _records(lines: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in line.items()} for line in lines.to_dict("records")]


def _measured(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    if rows.empty:
        return rows
    return rows[rows["accepted"].astype(bool) & rows[column].notna()]


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"
