"""Where a trajectory stands, by its rows: whether it has ended, what it arrived at, how far and how long it has to go."""

from __future__ import annotations

from collections.abc import Sequence

from rayfe.config import RunConfig
from rayfe.exceptions import UsageError
from rayfe.records import StepRecord
from rayfe.surface.step_control import STOPS
from rayfe.trajectory.baseline import ROWS
from rayfe.trajectory.history import last_training_is_due
from rayfe.trajectory.process_registry import process_of
from rayfe.trajectory.round_trip import MET, RETURNED, current_way, part_done
from rayfe.trajectory.seek import reached


def standing(rows: Sequence[StepRecord], config: RunConfig) -> str:
    """Where a trajectory stands: waiting, at step k of N, or how it ended."""
    if not rows:
        return "not started"
    if rows[-1].reason in STOPS:
        return f"ended: {rows[-1].reason}"
    accepted = [row for row in rows if row.accepted]
    if not accepted:
        return "first equilibrium rejected"
    end = _end(accepted, config)
    if end and not last_training_is_due(rows, config):
        return f"ended: {end}"
    if accepted[-1].step >= config.steps:
        return f"ended: {config.steps} steps"
    return f"at step {accepted[-1].step} of at most {config.steps}"


def seconds_left(rows: Sequence[StepRecord], config: RunConfig) -> float | None:
    """Estimated seconds to the end, from the way and the steps made; None before the first step, and while a transfer that has
    arrived trains once more.

    A trajectory ends where its way does or its steps are used up, whichever is nearer. The first
    equilibrium is not part of the pace.
    """
    accepted = [row for row in rows if row.accepted]
    if len(accepted) < 2 or (_end(accepted, config) and last_training_is_due(rows, config)):
        return None
    start, last = accepted[0], accepted[-1]
    done = min(1.0, max(way_done(accepted, config), last.step / config.steps))
    return (rows[-1].seconds - start.seconds) * (1 - done) / done


def way_done(accepted: Sequence[StepRecord], config: RunConfig) -> float:
    """Part of the way to the end that the accepted steps have made: in log lam, in t, or in epochs of a baseline.

    0 where the process has no end to arrive at.
    """
    start, last = accepted[0], accepted[-1]
    if config.method is not None:
        return last.step / ROWS
    if config.seek:
        return 1.0 if reached(config, last) else 0.0
    return (part_done(config, accepted) if _has_process(config, start) else None) or 0.0


def _end(accepted: Sequence[StepRecord], config: RunConfig) -> str | None:
    """What a trajectory arrived at, None before it."""
    if config.method is not None:
        return f"{config.method_epochs:g} epochs" if accepted[-1].step >= ROWS else None
    if config.seek:
        return reached(config, accepted[-1])
    if not _has_process(config, accepted[0]):
        return None
    end, last = current_way(config, accepted).ended, accepted[-1]
    names = {
        "lam_end": f"lam_end {config.lam_end:g}",
        "t_end": "t 1",
        MET: f"no longer lower at lam {last.lam:.3g}, the third time",
        RETURNED: f"lam_end {config.lam_end:g}, the second time",
    }
    return names.get(end, end) if end else None


def _has_process(config: RunConfig, start: StepRecord) -> bool:
    """Whether the process of a run is at hand: a class of the user's may be one that this process does not have."""
    try:
        process_of(config, k=start.k)
    except UsageError:
        return False
    return True
