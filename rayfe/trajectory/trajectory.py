"""A trajectory as an ask/tell machine: its rows so far, and an attempt at the next one. No torch, no Ray, no IO.

`attempt()` is a generator: it yields requests, is sent their answers, and returns what the attempted step leaves
behind. Whoever drives it (`driver`, a notebook, a test) decides where requests are answered.
"""

from __future__ import annotations

from collections.abc import Sequence

from rayfe.config import RunConfig, Start
from rayfe.data.truth import Truth
from rayfe.records import Commit, StepRecord, Weights
from rayfe.trajectory.course import Course
from rayfe.trajectory.courses import course_of
from rayfe.trajectory.standing import Standing, standing_of
from rayfe.trajectory.walk_state import Steps, WalkState


class Trajectory:
    """Attempted steps from one start.

    `rows` are the attempted steps so far; `state` and `carry` are the weights of the last accepted one and what it left for the next, as
    they are stored. Without an accepted row `state` is what the trajectory starts from; None: new weights. Together they define
    everything that follows. `truth` is the exact surface, where the data set knows it.
    `course` is the kind of trajectory; without it that of the configuration.
    """

    def __init__(
        self,
        config: RunConfig,
        start: Start,
        rows: Sequence[StepRecord],
        *,
        state: Weights | None,
        carry: Weights,
        truth: Truth | None = None,
        course: Course | None = None,
    ) -> None:
        self._course = course or course_of(config)
        self._state = WalkState(config=config, start=start, rows=tuple(rows), weights=state, carry=carry, truth=truth)

    @property
    def start(self) -> Start:
        return self._state.start

    @property
    def rows(self) -> tuple[StepRecord, ...]:
        """All attempted steps so far."""
        return self._state.rows

    @property
    def accepted(self) -> tuple[StepRecord, ...]:
        return self._state.accepted

    @property
    def seconds(self) -> float:
        return self._state.seconds

    @property
    def standing(self) -> Standing:
        """Where it stands."""
        return standing_of(self._state, self._course)

    @property
    def finished(self) -> str | None:
        """Why there is no further step: a named stop, the process's end, `steps` or `time`; None while there is one."""
        return self.standing.end

    def attempt(self) -> Steps:
        """Requests of the next attempted step; returns its Commit. Raises as `Course.attempt` does."""
        return self._course.attempt(self._state)

    def committed(self, record: StepRecord, commit: Commit) -> None:
        """Take note that the step is stored."""
        self._state = self._state.after(record, commit)
