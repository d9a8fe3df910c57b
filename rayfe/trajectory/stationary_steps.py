"""Steps of no length: the model of a walk is trained anew where it stands, to leave its branch or to make good its lag."""

from __future__ import annotations

import dataclasses
import math

from rayfe.records import Annealing, EquilibrateRequest, Kind, Outcome, Point, Replica
from rayfe.records.carried import Carried
from rayfe.records.columns import held_readings
from rayfe.surface.envelope import bound
from rayfe.surface.step_control import MOVES, Judgement
from rayfe.trajectory import history
from rayfe.trajectory.acceptance import draws_of, judged, kept, left_behind, with_misses
from rayfe.trajectory.constraint import wanted_loss
from rayfe.trajectory.leap import leap
from rayfe.trajectory.measuring import judging
from rayfe.trajectory.renewal import renew
from rayfe.trajectory.step import Candidate, take_step
from rayfe.trajectory.walk_state import Steps, WalkState

RENEWAL_GAIN = 1e-3
"""Part of F by which a renewed model must be lower, half-way to the next renewal, and by which a last training may end higher."""


def renewal_is_due(state: WalkState) -> bool:
    """Whether the walk has gone far enough since the last renewal was tried; only on the way there."""
    every = state.config.asked.renewal.every
    if every is None or state.way.over_again:
        return False
    tried = history.renewals(state.rows)
    return abs(math.log(state.last.lam / (tried[-1] if tried else state.first.lam))) >= every - 1e-9


def renewal(state: WalkState) -> Steps:
    """Accepted if it bounds F lower than the last step's model does where the walk will be half-way to the next renewal; the
    first one may be a leap, which is judged where it lands."""
    config, here, last = state.config, state.here, state.last
    leaps = config.asked.renewal.leap > 0 and not history.renewals(state.rows)
    work, sets = state.begin(Kind.LEAP if leaps else Kind.RENEWAL), draws_of(state)
    wanted = wanted_loss(state.holding, sets)
    if leaps:
        ahead = dataclasses.replace(here, lam=config.asked.lam_end)
        found = yield from leap(config, work, here, state.model, wanted=wanted)
    else:
        ahead = _half_way(state)
        found = yield from renew(config, work, here, state.model, wanted=wanted, F=last.F_end)
    length = last.next_step_length or config.asked.step_length
    rejected = Judgement(accepted=False, reason="renewal", next_length=length)
    observed = dataclasses.replace(kept(state), step_length=0.0)
    if found is None:
        return state.left_behind(work, here, Outcome.NOT_EQUILIBRATED, rejected, observed)
    replica = Replica(name="settled", point=found.point, weights=found.weights)
    tested, sets = yield from judging(work, replica, state.judged, state.holding, sets)
    train, held = tested.readings[0], held_readings(tested.readings)["settled"]
    observed = dataclasses.replace(observed, tested=tested.readings, response=found.response, response_age=0)
    observed = dataclasses.replace(observed, draw_sets=sets.head, decoder_sets=sets.decoder)
    observed = with_misses(state, observed, train, held)
    holds = judged(state, Outcome.OK, held, used=0.0, length=length).accepted
    better = bound(train, ahead) < (1.0 - RENEWAL_GAIN) * bound(last, ahead)
    judgement = Judgement(accepted=True, reason=None, next_length=length) if holds and better else rejected
    carried = Carried(tangents={"gamma": found.tangent}, preconditioner=found.preconditioner, start=state.carried.start)
    return state.left_behind(work, found.point, Outcome.OK, judgement, observed, weights=tested.weights[0], carried=carried)


def _half_way(state: WalkState) -> Point:
    """Where the walk will be half-way to the next renewal, at the same gamma."""
    here, every, lam_end = state.here, state.config.asked.renewal.every, state.config.asked.lam_end
    assert every is not None
    length = min(0.5 * every, state.process.left(here))
    return dataclasses.replace(here, lam=here.lam * math.exp(math.copysign(length, lam_end - here.lam)))


def last_training(state: WalkState) -> Steps:
    """Of a transfer that arrived: anneal the model where it is, then take a step of no length there; not accepted if F is higher than
    before."""
    config, here, work = state.config, state.here, state.begin(Kind.LAST_TRAINING)
    chart, epochs = state.chart(state.model), config.path.last_epochs
    replica = Replica(name="centre", point=here, weights=chart.weights)
    whole = Annealing(epochs=epochs, begin=0.0, end=epochs)
    request = EquilibrateRequest(
        key=work.key, replicas=(replica,), preconditioner=chart.preconditioner, annealing=whole, rate=chart.rate
    )
    trained = work.equilibrated((yield request))
    observed = dataclasses.replace(kept(state), step_length=0.0)
    if trained.outcome is not Outcome.OK:
        found = Candidate(outcome=trained.outcome, point=here, observed=observed)
    else:
        chart = dataclasses.replace(chart, weights=trained.weights[0], preconditioner=trained.preconditioner)
        found = yield from take_step(
            config,
            work,
            here,
            chart,
            state.holding,
            sets=draws_of(state),
            refresh=True,
            moves=MOVES,
            splits=state.judged,
            observed=observed,
        )
    higher = found.train is not None and bound(found.train, found.point) > (1.0 + RENEWAL_GAIN) * bound(state.last, found.point)
    return left_behind(state, work, found, length=0.0, previous=None, in_vain=higher)
