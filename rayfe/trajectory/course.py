"""What a kind of trajectory is: what it asks for next, and where it ends."""

from __future__ import annotations

import abc

from rayfe.trajectory.walk_state import Steps, WalkState


class Course(abc.ABC):
    """A kind of trajectory. It has no state of its own: whatever it answers follows from the WalkState."""

    @abc.abstractmethod
    def attempt(self, state: WalkState) -> Steps:
        """Requests of the next attempted step; returns what it leaves behind.

        Raises:
            WalkFailed: the first equilibrium diverged, or steps became too short (`surface.step_control.shortest_step`).
        """

    @abc.abstractmethod
    def arrived(self, state: WalkState) -> str | None:
        """The name of the end at which the last accepted step arrived; None before it. There is an accepted step."""

    @abc.abstractmethod
    def done(self, state: WalkState) -> float:
        """Part of the way to the end that the accepted steps have made, in [0, 1]; 0 where there is no end to arrive at."""
