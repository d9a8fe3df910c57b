"""What people do instead of a transfer: train on the target, in the same rows as a walk (sec. 4, App. G)."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator

from rayfe.exceptions import WalkFailed
from rayfe.records import Annealing, Answer, EquilibrateRequest, Kind, Outcome, Point, Replica, Request, Weights
from rayfe.records.carried import Carried
from rayfe.records.columns import Observed
from rayfe.records.work import Work
from rayfe.surface.step_control import Judgement
from rayfe.trajectory.course import Course
from rayfe.trajectory.draws import Sets
from rayfe.trajectory.first_equilibrium import first_training
from rayfe.trajectory.measuring import judging_request, measure_request
from rayfe.trajectory.walk_state import Steps, WalkState

TRAINED_AT = {"finetune": 1.0, "scratch": 1.0, "joint": 0.5}
"""Position on the data path of what each method trains on; joint: both data sets, equally likely."""
ROWS = 15
"""Steps of a baseline, each of which is fully measured."""
PROCEED = Judgement(accepted=True, reason=None, next_length=0.0)


class BaselineCourse(Course):
    """`config.method`, at fixed (lam, gamma), annealed by the first equilibrium's schedule; a step is one of ROWS equal parts of it.

    Step 0 is the model before any training on the target: the source's equilibrium, with which a transfer starts, too
    (finetune, joint), or a new model (scratch). `C_target` is the source's C, which a transfer would hold; null for scratch.
    """

    def attempt(self, state: WalkState) -> Steps:
        return next_step(state) if state.accepted else first_step(state)

    def arrived(self, state: WalkState) -> str | None:
        return "trained" if state.last.step >= ROWS else None

    def done(self, state: WalkState) -> float:
        return state.last.step / ROWS


def first_step(state: WalkState) -> Steps:
    """The model before any training on the target."""
    work = state.begin(Kind.START)
    weights: Weights | None = None
    C_target = None
    if state.config.method != "scratch":
        weights, C_target = yield from _source(state, work)
    return (yield from _read(state, work, weights, None, C_target=C_target))


def _source(state: WalkState, work: Work) -> Generator[Request, Answer | None, tuple[Weights, float]]:
    """The source's equilibrium, trained as a walk trains it or read as a stored model is, and its C on the source."""
    at = state.start.point
    first = yield from first_training(state.config, work, at, state.weights)
    replica, model = Replica(name="centre", point=at, weights=first.model), first.model
    if first.trained:
        request = EquilibrateRequest(key=work.key, replicas=(replica,), preconditioner=first.preconditioner)
        walk = work.equilibrated((yield request))
        _require(walk.outcome, "learning_rate")
        model = walk.weights[0]
    read = work.measured((yield measure_request(work, (replica,), (model,), "test")))
    return model, read.readings[0].C


def next_step(state: WalkState) -> Steps:
    """The next part of the training on the target."""
    last, work, epochs = state.last, state.begin(Kind.STEP), state.config.asked.method_epochs
    interval = epochs / ROWS
    request = EquilibrateRequest(
        key=work.key,
        replicas=(Replica(name="centre", point=_point(state), weights=state.model),),
        preconditioner=state.carried.preconditioner,
        annealing=Annealing(epochs=epochs, begin=last.step * interval, end=min((last.step + 1) * interval, epochs)),
    )
    trained = work.equilibrated((yield request))
    _require(trained.outcome, "first_learning_rate")
    carried = Carried(preconditioner=trained.preconditioner)
    return (yield from _read(state, work, trained.weights[0], carried, C_target=last.C_target))


def _read(state: WalkState, work: Work, weights: Weights | None, carried: Carried | None, *, C_target: float | None) -> Steps:
    """What a step with this model leaves behind."""
    point = _point(state)
    replica = Replica(name="settled", point=point, weights=weights)
    tested = work.measured((yield judging_request(work, replica, state.judged, Sets())))
    observed = Observed(tested=tested.readings, C_target=C_target)
    return state.left_behind(work, point, Outcome.OK, PROCEED, observed, weights=tested.weights[0], carried=carried)


def _point(state: WalkState) -> Point:
    assert state.config.method is not None
    return dataclasses.replace(state.start.point, t=TRAINED_AT[state.config.method])


def _require(outcome: Outcome, rate: str) -> None:
    if outcome is not Outcome.OK:
        raise WalkFailed(f"the training diverged; lower ``equilibration.{rate}``")
