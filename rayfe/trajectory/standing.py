"""Where a trajectory stands, by its rows: whether it has ended and how, how far and how long it has to go."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rayfe.config import RunConfig, Start
from rayfe.exceptions import UsageError
from rayfe.records import Kind, StepRecord
from rayfe.trajectory.course import Course
from rayfe.trajectory.courses import course_of
from rayfe.trajectory.round_trip import MET, RETURNED
from rayfe.trajectory.walk_state import WalkState


class State(enum.StrEnum):
    """What a trajectory is up to."""

    RUNNING = "running"
    """A driver works on its run, and it has not ended."""
    STOPPED = "stopped"
    """There is a further step, and no driver works on its run: the same command goes on."""
    FAILED = "failed"
    """It could not go on when it was last tried."""
    FINISHED = "finished"
    """It arrived, met a named stop, or used up its steps or its time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a trajectory stands."""

    state: State
    where: str
    """How far it is, how it ended or why it failed, for people; with fields in double backticks as in `exceptions`."""
    end: str | None = None
    """The name of the stop or the end, `steps` or `time`; None while there is a further step."""
    last: datetime | None = None
    """When its last row was stored; None: there is none, or that is not known."""

    def __str__(self) -> str:
        return f"{self.state}: {self.where}"

    @property
    def dated(self) -> str:
        """The same with the time of the last row, in UTC."""
        return f"{self}" if self.last is None else f"{self}; last row {self.last.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"

    @property
    def is_over(self) -> bool:
        """Whether there is no further step."""
        return self.end is not None


def standing(
    rows: Sequence[StepRecord],
    config: RunConfig,
    *,
    failed: str | None = None,
    in_work: bool = False,
    last: datetime | None = None,
) -> Standing:
    """Where the trajectory of these rows stands.

    `failed`: why it could not go on when it was last tried. `in_work`: a driver works on its run. `last`: when its last row was stored.
    """
    if failed is not None:
        return Standing(state=State.FAILED, where=failed, last=last)
    found = standing_of(_state(rows, config), _course(config)) if rows else NOT_STARTED
    state = State.RUNNING if in_work and not found.is_over else found.state
    return dataclasses.replace(found, state=state, last=last)


NOT_STARTED = Standing(state=State.STOPPED, where="not started")


def standing_of(state: WalkState, course: Course | None) -> Standing:
    """Where a trajectory stands by its rows, as if no driver worked on it; `course` None: it is not at hand, such as a process of the
    user's own in another environment."""
    config, rows = state.config, state.rows
    if not rows:
        return NOT_STARTED
    if rows[-1].kind == Kind.STOP:
        return _finished(str(rows[-1].reason), rows[-1].reason)
    if not state.accepted:
        return Standing(state=State.STOPPED, where="first equilibrium rejected")
    if course is not None and (end := course.arrived(state)) is not None:
        return _finished(_in_words(end, state), end)
    if not config.steps:
        return Standing(state=State.STOPPED, where=f"at step {state.last.step}, only the start was asked for", end="steps")
    if state.last.step >= config.steps:
        return _finished(f"{config.steps} step{'s' if config.steps > 1 else ''}", "steps")
    if config.service.time_budget is not None and state.seconds >= config.service.time_budget:
        return _finished(f"{config.service.time_budget:g} seconds", "time")
    return Standing(state=State.STOPPED, where=f"at step {state.last.step} of at most {config.steps}")


def _finished(where: str, end: str | None) -> Standing:
    return Standing(state=State.FINISHED, where=where, end=end)


def _in_words(end: str, state: WalkState) -> str:
    """The name of an end that a trajectory arrived at, for people."""
    config = state.config
    if end == "trained":
        return f"{config.asked.method_epochs:g} epochs"
    names = {
        "lam_end": f"lam_end {config.asked.lam_end:g}",
        "t_end": "t 1",
        "box": "all pairs of lam and gamma",
        MET: f"no longer lower at lam {state.last.lam:.3g}, the third time",
        RETURNED: f"lam_end {config.asked.lam_end:g}, the second time",
    }
    return names.get(end, end)


def seconds_left(rows: Sequence[StepRecord], config: RunConfig) -> float | None:
    """Estimated seconds to the end, from the way and the steps made; None before the first step, and while a transfer that has
    arrived trains once more.

    A trajectory ends where its way does or its steps are used up, whichever is nearer. The first equilibrium is not part of the pace.
    """
    state = _state(rows, config) if rows else None
    if state is None or len(state.accepted) < 2:
        return None
    way = _done(state)
    done = min(1.0, max(way, state.last.step / config.steps if config.steps else 1.0))
    if way >= 1.0 and not standing_of(state, _course(config)).is_over:
        return None
    return (state.seconds - state.first.seconds) * (1 - done) / done


def way_done(accepted: Sequence[StepRecord], config: RunConfig) -> float:
    """Part of the way to the end that the accepted steps have made: in log lam, in t, or in epochs of a baseline.

    0 where there is no end to arrive at.
    """
    return _done(_state(accepted, config))


def _done(state: WalkState) -> float:
    course = _course(state.config)
    return 0.0 if course is None else course.done(state)


def _state(rows: Sequence[StepRecord], config: RunConfig) -> WalkState:
    """What is known of a trajectory by its rows alone."""
    start = Start(lam=rows[0].lam, gamma=rows[0].gamma, seed=rows[0].seed, sigma=rows[0].sigma or 0.0)
    return WalkState(config=config, start=start, rows=tuple(rows))


def _course(config: RunConfig) -> Course | None:
    """The kind of trajectory; None where its process is a class of the user's that this Python process does not have."""
    try:
        return course_of(config)
    except UsageError:
        return None
