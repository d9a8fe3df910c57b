"""What Ray's metrics say about a run, on every node's `--metrics-export-port`, by the name `ray_rayfe_...`.

Tags have few values each: no trajectory, no host.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from ray.util.metrics import Counter, Gauge, Histogram

from rayfe.records import Answer, Equilibrated, StepRecord

WAITS = [0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 1800.0]
"""Bounds of the histogram of waiting times, seconds."""
VIOLATIONS = [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
"""Bounds of the histogram of |C / C_target - 1|."""
LOST, RAISED = "LOST", "RAISED"
"""Outcomes of an evaluation besides those of `records.Outcome`: its worker died, or our own code raised."""


class StepMetrics:
    """Committed steps; kept by the driver."""

    def __init__(self) -> None:
        self._steps = Counter("rayfe_steps", "Attempted steps that were committed", ("outcome", "accepted"))
        self._violation = Histogram("rayfe_constraint_violation", "|C / C_target - 1| of accepted steps", boundaries=VIOLATIONS)

    def step(self, record: StepRecord) -> None:
        self._steps.inc(1.0, {"outcome": record.outcome, "accepted": str(record.accepted).lower()})
        if record.accepted and record.drift is not None:
            self._violation.observe(abs(record.drift))


class PoolMetrics:
    """Evaluations and evaluators; kept by each pool."""

    def __init__(self) -> None:
        self._evaluations = Counter("rayfe_evaluations", "Requests answered by evaluators", ("request", "outcome"))
        self._wait = Histogram("rayfe_queue_wait_seconds", "Wait of a request for an evaluator", boundaries=WAITS)
        self._seconds = Counter("rayfe_busy_seconds", "Seconds that evaluators were at work", ("request",))
        self._evaluators = Gauge("rayfe_evaluators", "Evaluators of a pool", ("state",))

    @contextmanager
    def waiting(self) -> Iterator[None]:
        began = time.monotonic()
        yield
        self._wait.observe(time.monotonic() - began)

    def ended(self, kind: str, outcome: str, seconds: float) -> None:
        """A request of this kind was answered, or not."""
        self._evaluations.inc(1.0, {"request": kind, "outcome": outcome})
        if seconds > 0.0:
            self._seconds.inc(seconds, {"request": kind})

    def evaluators(self, *, idle: int, up: int, members: int) -> None:
        for state, count in (("idle", idle), ("busy", up - idle), ("starting", members - up)):
            self._evaluators.set(float(count), {"state": state})


def outcome_of(answer: Answer) -> str:
    """`OK` for all but an equilibration that failed numerically."""
    return str(answer.outcome) if isinstance(answer, Equilibrated) else "OK"
