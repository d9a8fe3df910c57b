"""Where a trajectory stands, by its rows: whether it has ended and how, how far and how long it has to go."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from rayfe.config import RunConfig, Start
from rayfe.exceptions import UsageError
from rayfe.records import Kind, StepRecord
from rayfe.trajectory.course import Course
from rayfe.trajectory.courses import course_of
from rayfe.trajectory.round_trip import MET, RETURNED
from rayfe.trajectory.walk_state import WalkState


class Phase(enum.StrEnum):
    """What a trajectory is up to."""

    WAITING = "waiting"
    """It has no rows yet."""
    RUNNING = "running"
    """There is a further step to take."""
    STOPPED = "stopped"
    """It met a named stop, or only its start was asked for."""
    ENDED = "ended"
    """It arrived, or used up its steps or its time."""
    FAILED = "failed"
    """It could not go on when it was last tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """Where a trajectory stands."""

    phase: Phase
    text: str
    """For people."""
    end: str | None = None
    """The name of the stop or the end, `steps` or `time`; None while there is a further step."""

    def __str__(self) -> str:
        return self.text

    @property
    def is_over(self) -> bool:
        """Whether there is no further step."""
        return self.end is not None


NOT_STARTED = Standing(phase=Phase.WAITING, text="not started")


def standing(rows: Sequence[StepRecord], config: RunConfig, *, failed: str | None = None) -> Standing:
    """Where the trajectory of these rows stands; `failed`: why it could not go on when it was last tried."""
    if failed is not None:
        return Standing(phase=Phase.FAILED, text=f"failed: {failed}")
    return NOT_STARTED if not rows else standing_of(_state(rows, config), _course(config))


def standing_of(state: WalkState, course: Course | None) -> Standing:
    """Where a trajectory stands; `course` None: it is not at hand, such as a process of the user's own in another environment."""
    config, rows = state.config, state.rows
    if not rows:
        return NOT_STARTED
    if rows[-1].kind == Kind.STOP:
        return Standing(phase=Phase.STOPPED, text=f"ended: {rows[-1].reason}", end=rows[-1].reason)
    if not state.accepted:
        return Standing(phase=Phase.RUNNING, text="first equilibrium rejected")
    if course is not None and (end := course.arrived(state)) is not None:
        return Standing(phase=Phase.ENDED, text=f"ended: {_in_words(end, state)}", end=end)
    if config.service.only_start:
        return Standing(
            phase=Phase.STOPPED, text=f"stopped at step {state.last.step}: only the start was asked for", end="only_start"
        )
    if state.last.step >= config.steps:
        return Standing(phase=Phase.ENDED, text=f"ended: {config.steps} steps", end="steps")
    if config.service.time_budget is not None and state.seconds >= config.service.time_budget:
        return Standing(phase=Phase.ENDED, text=f"ended: {config.service.time_budget:g} seconds", end="time")
    return Standing(phase=Phase.RUNNING, text=f"at step {state.last.step} of at most {config.steps}")


def _in_words(end: str, state: WalkState) -> str:
    """The name of an end that a trajectory arrived at, for people."""
    config = state.config
    if end == "trained":
        return f"{config.asked.method_epochs:g} epochs"
    names = {
        "lam_end": f"lam_end {config.asked.lam_end:g}",
        "t_end": "t 1",
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
    done = min(1.0, max(way, state.last.step / config.steps))
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
    start = Start(lam=rows[0].lam, gamma=rows[0].gamma, seed=rows[0].seed)
    return WalkState(config=config, start=start, rows=tuple(rows))


def _course(config: RunConfig) -> Course | None:
    """The kind of trajectory; None where its process is a class of the user's that this Python process does not have."""
    try:
        return course_of(config)
    except UsageError:
        return None
