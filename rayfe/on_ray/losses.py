"""What is made of Ray's errors: which are losses of workers, how often to ask again, and what is raised in the end."""

from __future__ import annotations

from typing import NoReturn

from ray.exceptions import RayActorError, RayError, RayTaskError

LOSSES = 20
"""The same request is given up after this many lost workers in a row: it may be what kills them."""
LONGEST_WAIT = 10.0


class WorkersLost(RuntimeError):
    """A request met one dying worker after the other."""


def pause(losses: int) -> float:
    """Seconds to wait after so many losses."""
    return min(LONGEST_WAIT, 0.1 * 2.0**losses)


def raise_cause(error: RayTaskError) -> NoReturn:
    """Raise the exception of our own code, not Ray's wrapper; the wrapper has the remote traceback."""
    if isinstance(error.cause, Exception):
        raise error.cause from error
    raise error


def is_stillborn(lost: RayError) -> bool:
    """Whether an actor could not be made, such as by a module that its machine lacks: it never will be."""
    return isinstance(lost, RayActorError) and "creation task" in str(lost)


def refuse_stillborn(lost: RayError) -> None:
    """Raise WorkersLost for an actor that will never be."""
    if is_stillborn(lost):
        raise WorkersLost(f"an actor cannot be started: {str(lost).strip().splitlines()[-1]}") from lost
