"""Readings, response and velocity -> the records that are stored, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from rayfe.records import (
    Answer,
    Differentiated,
    Equilibrated,
    Measured,
    Outcome,
    Point,
    Reading,
    ReadingRecord,
    Response,
    Settled,
    Split,
    StepKey,
    StepRecord,
    TakenUp,
    Velocity,
)

READ = {
    Split.TRAIN: [("", name) for name in ("R", "D", "C", "F", "accuracy", "R_se", "D_se", "C_se", "label_entropy")],
    Split.VALIDATION: [("val_", name) for name in ("R", "D", "C", "accuracy", "C_se")],
    Split.CONTROL: [("control_", name) for name in ("C", "C_se", "accuracy")],
    Split.TARGET: [("target_", name) for name in ("C", "accuracy")],
}
"""Columns by the split of a reading: prefix and name."""
CERTIFICATE = ("J_K", "J_K_se", "J_K_ess", "grad_norm", "missed", "uptake")
"""Columns of a certificate."""
RESPONSE = (
    *("D_lam", "D_gamma", "C_lam", "C_gamma", "C_lam_se", "C_gamma_se"),
    *("hess_max_eig", "maxwell_gap", "F_t", "D_t", "C_t"),
)
"""Columns of a response."""
ACTIVE = 0.01
"""Nats above which a dimension of z carries something."""


def step_record(
    key: StepKey,
    *,
    point: Point,
    outcome: Outcome,
    tested: Sequence[Reading] = (),
    response: Response | None = None,
    velocity: Velocity | None = None,
    **columns: Any,
) -> StepRecord:
    """A row from the readings of its model; `columns` are those that are stored as they come. `seconds` is the driver's."""
    for reading in tested:
        columns |= {prefix + name: getattr(reading, name) for prefix, name in READ[reading.split]}
        if reading.R_dims is not None:
            columns |= {"R_dims": reading.R_dims, "active_dims": active(reading.R_dims)}
        if reading.certificate is not None:
            columns |= {name: getattr(reading.certificate, name) for name in CERTIFICATE}
        if reading.split is Split.TRAIN:
            columns |= {"read_size": reading.size, "statistics_size": reading.statistics_size}
    if response is not None:
        columns |= {name: getattr(response, name) for name in RESPONSE} | {"response_size": response.size}
    if velocity is not None:
        columns |= {"lam_dot": velocity.lam, "gamma_dot": velocity.gamma}
    return StepRecord(
        trajectory=key.trajectory,
        step=key.step,
        attempt=key.attempt,
        seed=key.seed,
        outcome=str(outcome),
        lam=point.lam,
        gamma=point.gamma,
        t=point.t,
        seconds=0.0,
        **columns,
    )


def reading_records(key: StepKey, readings: Iterable[Reading], *, first: bool) -> tuple[ReadingRecord, ...]:
    """Rows of readings; `first`: of the first equilibrium."""
    return tuple(
        ReadingRecord(
            trajectory=key.trajectory,
            step=key.step,
            attempt=key.attempt,
            replica=reading.replica,
            split=str(reading.split),
            update=reading.update,
            first=first,
            lam=reading.point.lam,
            gamma=reading.point.gamma,
            t=reading.point.t,
            R=reading.R,
            D=reading.D,
            C=reading.C,
            F=reading.F,
            accuracy=reading.accuracy,
            R_se=reading.R_se,
            D_se=reading.D_se,
            C_se=reading.C_se,
            size=reading.size,
        )
        for reading in readings
    )


def active(rates: Sequence[float]) -> int:
    """Dimensions of z with more than ACTIVE nats."""
    return sum(rate > ACTIVE for rate in rates)


def response_in(row: StepRecord) -> Response:
    """The response that an accepted row holds."""
    return Response(
        C_lam=number(row.C_lam),
        C_gamma=number(row.C_gamma),
        D_gamma=number(row.D_gamma),
        D_lam=row.D_lam,
        C_lam_se=number(row.C_lam_se),
        C_gamma_se=number(row.C_gamma_se),
        size=row.response_size,
        F_t=row.F_t,
        D_t=row.D_t,
        C_t=row.C_t,
    )


def reading_in(row: StepRecord) -> Reading:
    """The training reading that an accepted row was made from, as far as the row has it."""
    return Reading(
        replica="settled",
        split=Split.TRAIN,
        point=Point(lam=row.lam, gamma=row.gamma, t=row.t),
        update=0,
        R=number(row.R),
        D=number(row.D),
        C=number(row.C),
        accuracy=number(row.accuracy),
        R_se=number(row.R_se),
        D_se=number(row.D_se),
        C_se=number(row.C_se),
        label_entropy=row.label_entropy,
    )


def held_reading_in(row: StepRecord) -> Reading:
    """The same with C as it is on the split on which it is held."""
    error = row.C_se if row.control_C_se is None else row.control_C_se
    return dataclasses.replace(reading_in(row), C=number(row.held_C), C_se=number(error))


def held_readings(readings: Sequence[Reading]) -> dict[str, Reading]:
    """Training readings by replica, with C and its noise as they are on the control split where that was read, too."""
    control = {reading.replica: reading for reading in readings if reading.split is Split.CONTROL}
    found = {}
    for reading in (reading for reading in readings if reading.split is Split.TRAIN):
        other = control.get(reading.replica, reading)
        found[reading.replica] = dataclasses.replace(reading, C=other.C, C_se=other.C_se, C_noise=other.C_noise)
    return found


def probe_ends(readings: Sequence[Reading]) -> dict[str, float | None]:
    """F_start and F_end: J of the first replica on the probe before and after a training; None where it has no readings."""
    first = [reading.F for reading in readings if reading.replica == readings[0].replica]
    return {"F_start": first[0] if first else None, "F_end": first[-1] if first else None}


def number(value: float | None) -> float:
    """A column that every accepted row has."""
    assert value is not None
    return value


class Work:
    """What the answers of one attempted step add up to: examples, and readings to be stored."""

    def __init__(self, key: StepKey) -> None:
        self.key = key
        self.examples = 0.0
        self.readings: tuple[ReadingRecord, ...] = ()

    def equilibrated(self, answer: Answer | None, *, first: bool = False) -> Equilibrated:
        assert isinstance(answer, Equilibrated)
        self._add(answer.examples, answer.readings, first=first)
        return answer

    def measured(self, answer: Answer | None, *, again: bool = False) -> Measured:
        """`again`: the same models were read before, with fewer draws; these readings take the place of those."""
        assert isinstance(answer, Measured)
        if again:
            newer = {(reading.replica, str(reading.split)) for reading in answer.readings}
            self.readings = tuple(old for old in self.readings if (old.replica, old.split) not in newer)
        self._add(answer.examples, answer.readings)
        return answer

    def settled(self, answer: Answer | None) -> Settled:
        assert isinstance(answer, Settled)
        self._add(answer.examples, ())
        return answer

    def taken_up(self, answer: Answer | None) -> TakenUp:
        assert isinstance(answer, TakenUp)
        self._add(answer.examples, ())
        return answer

    def differentiated(self, answer: Answer | None) -> Differentiated:
        assert isinstance(answer, Differentiated)
        self._add(answer.examples, ())
        return answer

    def _add(self, examples: float, readings: Sequence[Reading], *, first: bool = False) -> None:
        self.examples += examples
        self.readings += reading_records(self.key, readings, first=first)
