"""One step at several constant losses: train at the next lam, bring each loss to its target, read the model with draws that saw neither."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from rayfe.config import RunConfig
from rayfe.records import (
    Answer,
    EquilibrateRequest,
    Functionals,
    Outcome,
    Point,
    Reading,
    Replica,
    Request,
    SettleRequest,
    Split,
    Weights,
)
from rayfe.records.columns import Observed
from rayfe.records.weights import PRICES, priced
from rayfe.records.work import Work
from rayfe.surface.several import newton
from rayfe.surface.step_control import MOVES
from rayfe.trajectory.chart import SETTLED
from rayfe.trajectory.draws import Sets
from rayfe.trajectory.equilibration import ROUNDS, outcome_of, with_ends
from rayfe.trajectory.losses import LossesHeld
from rayfe.trajectory.losses_chart import FULL, LossesChart, charted, multipliers_of, stencil
from rayfe.trajectory.measuring import judging, measure_request

FARTHEST = 0.5
"""Part by which a move changes a multiplier at most."""
NEAR = 0.5
"""Part of its tolerance within which each of more than FULL losses is brought by training again."""
ROUNDED = 1e-5
"""Part by which prices in float32 may seem to be nearer than the bound at which they are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrived:
    """What a step arrived at, before anybody judges it; without a chart it did not equilibrate."""

    outcome: Outcome
    observed: Observed
    chart: LossesChart | None = None
    train: Reading | None = None
    state: Weights | None = None
    """The weights that were read, with the batch-norm statistics of that reading."""
    used: float = 0.0
    """Part of its reach that the last settle used; 1 where a target was not met by any move."""


def take_step(
    config: RunConfig,
    work: Work,
    point: Point,
    start: LossesChart,
    held: LossesHeld,
    *,
    sets: Sets,
    refresh: bool,
    splits: tuple[Split, ...],
    observed: Observed,
) -> Generator[Request, Answer | None, Arrived]:
    """Train the model of `start`, whose prices are those that were predicted, and bring each loss to its target.

    Up to FULL losses are settled along the tangents; where a target lies outside the chart the settled model is moved on by a Newton
    step and trained there, MOVES times at most. Of more losses every correction is the same training over again, with other prices:
    same start, batches and noise, so that the losses are a smooth function of the prices, as they are between neighbours.
    """
    begin, targets = dataclasses.replace(start, response_age=start.response_age + 1), held.targets(sets)
    chart = begin
    allowed = np.array([limit.allowed for limit in held.limits])
    full, used = len(targets) <= FULL, 0.0
    found: Functionals | Reading
    for move in range(MOVES + 1):
        anew = (refresh and move == 0) or (full and 0 < move == MOVES and chart.response_age > 0)
        again = move if full else 0
        trained = yield from _trained(config, work, point, chart, stencil_too=anew, move=again, observed=observed)
        observed = trained.observed
        if trained.chart is None:
            return trained
        chart = trained.chart
        if full:
            settled = yield from _settled(config, work, point, chart, held, sets)
            chart, used, found = settled.chart, settled.used, settled.after
        else:
            found = yield from _losses(work, point, chart.weights, sets)
        miss = np.array(found.losses) - targets
        off = float((np.abs(miss) / allowed).max())
        if move == 0:
            observed = dataclasses.replace(observed, C_before_settle=settled.before.C if full else found.C)
        if off <= (SETTLED if full else NEAR) or (full and used < 1.0) or move == MOVES:
            break
        chart = _corrected(chart, None if full else begin, miss, point.gamma)
    used = used if full else float(off > 1.0)
    observed = dataclasses.replace(observed, response_age=chart.response_age)
    return (yield from _read(work, point, chart, held, sets=sets, splits=splits, observed=observed, used=used))


def _corrected(chart: LossesChart, begin: LossesChart | None, miss: np.ndarray, gamma: float) -> LossesChart:
    """The chart a Newton step further, at most by FARTHEST of each multiplier; with `begin` its new prices, and all else as it began."""
    here = multipliers_of(chart.weights, gamma)
    shift = np.clip(newton(chart.response.C_gamma, miss), -FARTHEST * here, FARTHEST * here)
    if begin is not None:
        weights = priced(begin.weights, chart.weights[PRICES])
        chart = dataclasses.replace(chart, weights=weights, preconditioner=begin.preconditioner)
    return chart.moved(shift, gamma)


def _read(
    work: Work,
    point: Point,
    chart: LossesChart,
    held: LossesHeld,
    *,
    sets: Sets,
    splits: tuple[Split, ...],
    observed: Observed,
    used: float,
) -> Generator[Request, Answer | None, Arrived]:
    """The model of the last move, read by the draws that judge."""
    replica = Replica(name="settled", point=point, weights=chart.weights)
    tested, sets = yield from judging(work, replica, splits, held, sets)
    train = tested.readings[0]
    if not math.isfinite(train.F):
        return Arrived(outcome=Outcome.NONFINITE, observed=observed)
    observed = dataclasses.replace(observed, tested=tested.readings, draw_sets=sets.head, decoder_sets=sets.decoder)
    return Arrived(outcome=Outcome.OK, observed=observed, chart=chart, train=train, state=tested.weights[0], used=used)


def _trained(
    config: RunConfig, work: Work, point: Point, chart: LossesChart, *, stencil_too: bool, move: int, observed: Observed
) -> Generator[Request, Answer | None, Arrived]:
    """The chart's model trained at `point`, with its neighbours where the chart is to be measured anew."""
    replicas = stencil(config, point, chart.weights, chart.tangents)
    replicas = replicas if stencil_too else replicas[:1]
    request = EquilibrateRequest(
        key=work.key, replicas=replicas, preconditioner=chart.preconditioner, round=ROUNDS * move, rate=chart.rate
    )
    trained = work.equilibrated((yield request))
    observed = with_ends(observed, trained)
    outcome = outcome_of(trained, observed)
    if outcome is not Outcome.OK:
        return Arrived(outcome=outcome, observed=observed)
    if not stencil_too:
        chart = dataclasses.replace(chart, weights=trained.weights[0], preconditioner=trained.preconditioner)
        return Arrived(outcome=outcome, observed=observed, chart=chart)
    found = yield from charted(config, work, replicas, trained.weights, trained.preconditioner)
    if not np.isfinite([*found.response.C_gamma.ravel(), *found.response.C_lam]).all():
        return Arrived(outcome=Outcome.NONFINITE, observed=observed)
    return Arrived(outcome=outcome, observed=observed, chart=dataclasses.replace(found, rate=chart.rate))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Settled:
    chart: LossesChart
    used: float
    before: Functionals
    after: Functionals


def _settled(
    config: RunConfig, work: Work, point: Point, chart: LossesChart, held: LossesHeld, sets: Sets
) -> Generator[Request, Answer | None, _Settled]:
    """The chart at the multipliers at which its model has the targets, or as near as its reach goes.

    The search goes by one set of draws first: with all of them a reading of digits costs as much as thirty epochs.
    """
    delta, gamma = config.neighbours, multipliers_of(chart.weights, point.gamma)
    reach = delta.reach * delta.gamma_delta * gamma
    before = after = None
    for some in dict.fromkeys((Sets(), sets)):
        request = SettleRequest(
            key=work.key,
            weights=chart.weights,
            tangents=chart.tangents,
            point=point,
            held=tuple(limit.held for limit in held.limits),
            targets=tuple(held.targets(some).tolist()),
            scales=tuple(limit.allowed for limit in held.limits),
            jacobian=tuple(map(tuple, chart.response.C_gamma.tolist())),
            reach=dict(zip(chart.tangents, reach.tolist(), strict=True)),
            accuracy=SETTLED,
            draw_sets=some.head,
            decoder_sets=some.decoder,
        )
        found = work.settled((yield request))
        before, after = before or found.before, found.after
        chart = dataclasses.replace(chart, weights=found.weights)
    assert before is not None and after is not None
    gone = np.abs(multipliers_of(chart.weights, point.gamma) - gamma) / reach
    return _Settled(chart=chart, used=min(1.0, float(gone.max()) * (1.0 + ROUNDED)), before=before, after=after)


def _losses(work: Work, point: Point, weights: Weights, sets: Sets) -> Generator[Request, Answer | None, Reading]:
    """A reading of a model by the draws of settles."""
    replica = Replica(name="centre", point=point, weights=weights)
    request = measure_request(work, (replica,), (weights,), "settle")
    request = dataclasses.replace(request, draw_sets=sets.head, decoder_sets=sets.decoder)
    return work.measured((yield request), again=True).readings[0]
