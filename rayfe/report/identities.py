"""Do the identities of the surface hold (MATH of the paper, sec. 2): Maxwell relation, first law, concavity, J_K, closure of a line."""

from __future__ import annotations

import numpy as np
import pandas as pd

from rayfe.config.asked import Conditioned, FreeWalk
from rayfe.config.kinds import LossesWalk
from rayfe.records import BOUND_DRAWS
from rayfe.report.verdict import State, Verdict, measured, records
from rayfe.report.view import RunView
from rayfe.results.coded import brief, is_close
from rayfe.results.frames import accepted_steps, counted_steps, gammas_of, holds_losses, numbers, of_weights, percent_of_F
from rayfe.results.transfer_summary import CLOSED, unclosed

MAXWELL = 0.1
"""Largest |D_gamma - C_lam| as a part of |C_lam| that needs no second look."""
FIRST_LAW = 0.05
"""Largest sum of residuals of the first law as a part of the way in R that needs no second look."""
NOISE = 1e-3
"""Part of F below which a violated inequality between two models is noise of the draws."""
MOST_ROWS = 1500
"""Rows whose pairs are compared; evenly chosen ones where there are more."""


MOST_CODED = 3
"""Models whose codes are told."""


def variational(view: RunView) -> Verdict | None:
    """J_1 - J_K, which stays at equilibrium: what the encoder gives away."""
    rows = measured(view.rows, "J_K")
    if not len(rows):
        return None
    K, ess = BOUND_DRAWS, float(numbers(rows, "J_K_ess").min())
    gap, unit = numbers(rows, "F") - numbers(rows, "J_K"), "nats"
    if percent_of_F(view.rows):
        gap, unit = 100.0 * gap / numbers(rows, "F"), "% of F"
    text = (
        f"J_K with K = {K} is {gap.min():.2g} to {gap.max():.2g} {unit} below F; at least {K * ess:.1f} of the {K} draws count "
        f"(effective sample size)."
    )
    meaning = (
        "J_K lies between -log Z and F. The gap is the encoder's, not the training's: it says at least how far e(z|x) is from the \
posterior, and enters no tolerance. Where fewer than two draws count, more of them would show a larger gap."
    )
    return Verdict(name="Variational gap", state="holds" if K * ess >= 2.0 else "look", text=text, meaning=meaning)


def bits(view: RunView) -> Verdict | None:
    """What R and R + D are in bits, by codes of stored models."""
    found = [one for rows in view.records.values() for one in view.store.coded.rows(rows)]
    if not found:
        return None
    text = "; ".join(map(brief, found[-MOST_CODED:]))
    meaning = (
        "R is what z costs, and R + D (of a likelihood, in nats) what an image costs without loss. These are the lengths of real codes "
        "of validation images, which were decoded. A code of z for each image alone costs a few bits more than R."
    )
    return Verdict(name="Bits", state="holds" if all(map(is_close, found)) else "look", text=f"{text}.", meaning=meaning)


def maxwell(view: RunView) -> Verdict:
    """D_gamma = C_lam, where both were measured."""
    meaning = "At equilibrium D changes with gamma as C changes with lam. It checks code and noise: it holds away from \
equilibrium, too."
    rows = measured(view.rows, "maxwell_gap")
    if not len(rows):
        asked = view.config.asked
        if isinstance(asked, (FreeWalk, Conditioned, LossesWalk)):
            why = f"not for {asked.called}, which train no neighbours in lam"
        elif asked.stencil == "iso":
            why = "the stencil iso trains no neighbours in lam and takes C_lam from D_gamma; --stencil paper measures both"
        else:
            why = "no step has measured its neighbours yet"
        return Verdict(name="Maxwell relation", state="not measured", text=f"Not measured: {why}.", meaning=meaning)
    part = np.abs(numbers(rows, "maxwell_gap")) / np.maximum(np.abs(numbers(rows, "C_lam")), 1e-300)
    median, largest = float(np.median(part)), float(part.max())
    text = (
        f"|D_gamma - C_lam| is {_percent(median)} of |C_lam| in the median and {_percent(largest)} where it is largest, "
        f"of {len(rows)} rows."
    )
    return Verdict(name="Maxwell relation", state="holds" if median <= MAXWELL else "look", text=text, meaning=meaning)


def first_law(view: RunView) -> Verdict:
    """dR + lam dD + gamma dC = 0 along the accepted steps."""
    meaning = (
        "Along the surface dR = -lam dD - gamma dC. A negative sum is free energy that training still won on the way: the \
walk lags behind the surface, or caught up with it."
    )
    rows = measured(view.rows, "first_law_residual")
    if not len(rows):
        why = "no step after the start yet"
        if view.kind == "transfer":
            why = "data that move add F_t dt, which rows do not integrate"
        elif view.config.box is not None:
            why = f"not for {view.config.asked.called}: nothing walks"
        return Verdict(name="First law", state="not measured", text=f"Not measured: {why}.", meaning=meaning)
    parts = {}
    for name, walk in view.rows.groupby("trajectory", sort=True):
        steps = accepted_steps(walk)
        residuals = numbers(steps, "first_law_residual")[1:]
        known = np.isfinite(residuals)  # not of renewals and leaps, which lead to another branch
        way, residual = np.abs(np.diff(numbers(steps, "R")))[known].sum(), residuals[known].sum()
        if way > 0:
            parts[str(name)] = (residual / way, residual, way)
    if not parts:
        text = "Not measured: R never changed from one step to the next."
        return Verdict(name="First law", state="not measured", text=text, meaning=meaning)
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
    rows = measured(view.rows, "hess_max_eig")
    if len(rows):
        positive = int((numbers(rows, "hess_max_eig") > 0).sum())
        texts.append(f"the Hessian's largest eigenvalue is positive in {positive} of {len(rows)} rows")
        fine &= positive == 0
    rows = measured(view.rows, "C_gamma")
    if len(rows):
        above = numbers(rows, "C_gamma") > 2.0 * np.nan_to_num(numbers(rows, "C_gamma_se"))
        texts.append(f"C_gamma is positive by two standard errors in {int(above.sum())} of {len(rows)} rows")
        fine &= not above.any()
    pairs, violated, largest = _pairs(view.rows)
    if pairs:
        texts.append(
            f"{violated} of {pairs} pairs of models violate monotony by more than {NOISE:.1%} of F (largest sum {largest:.2g} nats)"
        )
        fine &= violated == 0
    if not texts:
        return Verdict(name="Concave free energy", state="not measured", text="No response measured yet.", meaning=meaning)
    text = "; ".join(texts)
    state: State = "holds" if fine else "look"
    return Verdict(name="Concave free energy", state=state, text=f"{text[0].upper()}{text[1:]}.", meaning=meaning)


def closure(view: RunView) -> Verdict | None:
    """Multipliers of a transfer at t = 1 against those of the target's own model, which gave the line its slope."""
    lines = view.summary if view.kind == "transfer" else pd.DataFrame()
    arrived = lines[lines["closure_gamma"].notna()] if len(lines) else lines
    if not len(arrived):
        return None
    open_ = [text for line in records(arrived) if (text := unclosed(line))]
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


def _pairs(rows: pd.DataFrame) -> tuple[int, int, float]:
    """Pairs of accepted rows that count at equal t, how many violate dlam dD + dgamma dC + dsigma dS <= 0 beyond noise, and the largest
    such sum."""
    pairs, violated, largest = 0, 0, 0.0
    if rows.empty:
        return pairs, violated, largest
    for _, shared in counted_steps(rows).groupby("t"):
        chosen = shared.iloc[np.linspace(0, len(shared) - 1, min(len(shared), MOST_ROWS)).astype(int)]
        lam, D, F, sigma, S = (
            *(numbers(chosen, name) for name in ("lam", "D", "F")),
            *(of_weights(chosen, name) for name in ("sigma", "S")),
        )
        sums = np.subtract.outer(lam, lam) * np.subtract.outer(D, D) + np.subtract.outer(sigma, sigma) * np.subtract.outer(S, S)
        losses = np.array(chosen["losses" if holds_losses(chosen) else "C"].tolist(), float).reshape(len(chosen), -1)
        for gamma, C in zip(gammas_of(chosen).T, losses.T, strict=True):
            sums = sums + np.subtract.outer(gamma, gamma) * np.subtract.outer(C, C)
        upper = np.triu_indices(len(chosen), 1)
        sums, scale = sums[upper], NOISE * np.minimum.outer(np.abs(F), np.abs(F))[upper]
        pairs, violated = pairs + len(sums), violated + int((sums > scale).sum())
        largest = max(largest, float(sums.max(initial=0.0)))
    return pairs, violated, largest


def _percent(part: float) -> str:
    return f"{100 * part:.3g} %"
