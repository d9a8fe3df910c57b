"""Readings, response and velocity -> the records that are stored, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rayfe.records import (
    Kind,
    Leg,
    Outcome,
    Point,
    Reading,
    ReadingRecord,
    Response,
    Split,
    StepKey,
    StepRecord,
    Velocity,
)

READ = {
    Split.TRAIN: [
        ("", name)
        for name in ("R", "D", "C", "S", "F", "accuracy", "score", "C_scale", "R_se", "D_se", "C_se", "label_entropy")
    ],
    Split.VALIDATION: [("val_", name) for name in ("R", "D", "C", "accuracy", "score", "C_se")],
    Split.CONTROL: [("control_", name) for name in ("C", "C_se", "accuracy")],
    Split.TARGET: [("target_", name) for name in ("C", "accuracy")],
}
"""Columns by the split of a reading: prefix and name."""
CERTIFICATE = ("J_K", "J_K_se", "J_K_ess", "grad_norm", "missed", "uptake")
"""Columns of a certificate."""
GIBBS = {
    Split.TRAIN: {
        "error": "gibbs_error",
        "C": "gibbs_C",
        "S": "gibbs_S",
        "error_bound": "gibbs_error_bound",
        "C_bound": "gibbs_C_bound",
    },
    Split.VALIDATION: {name: f"val_gibbs_{name}" for name in ("error", "C", "error_se", "C_se")},
}
"""Columns of single draws by the split of a reading and their names there."""
RESPONSE = (
    *("D_lam", "D_gamma", "C_lam", "C_gamma", "C_lam_se", "C_gamma_se"),
    *("hess_max_eig", "maxwell_gap", "F_t", "D_t", "C_t", "S_gamma", "S_lam"),
)
"""Columns of a response."""
OF_LOSSES = {"C_": "losses", "gamma_": "multipliers", "drift_": "loss_drifts", "drift_se_": "loss_drift_ses"}
"""Columns of several losses, by what frames of rows call their parts: these and the loss's name."""
ACTIVE = 0.01
"""Nats above which a dimension of z carries something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExactSurface:
    """The exact surface at a row's multipliers, and at its lam where C_target is held: columns of the row. None: it has no such value."""

    exact_F: float
    exact_R: float
    exact_D: float
    exact_C: float | None = None
    exact_held_gamma: float | None = None
    exact_held_R: float | None = None
    exact_held_D: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Observed:
    """What an attempt measured. Fields have the name and the meaning of their column (`records.stored`), but for the first four.

    None: not measured.
    """

    tested: tuple[Reading, ...] = ()
    """Readings of the model that judge it, one a split."""
    response: Response | None = None
    """At the stencil's centre, or carried from the step before."""
    velocity: Velocity | None = None
    """That led to the row's point."""
    exact: ExactSurface | None = None

    held_on: str | None = None
    C_target: float | None = None
    C_settle_target: float | None = None
    k: float | None = None
    drift_se: float | None = None
    held_drift: float | None = None
    held_drift_se: float | None = None
    multipliers: tuple[float, ...] | None = None
    loss_drifts: tuple[float, ...] | None = None
    loss_drift_ses: tuple[float, ...] | None = None
    line_miss: float | None = None
    line_miss_se: float | None = None
    excess: float | None = None
    end_gamma: float | None = None
    end_R: float | None = None
    end_D: float | None = None
    end_moved: float | None = None
    first_updates: int | None = None
    F_start: float | None = None
    F_end: float | None = None
    C_before_settle: float | None = None
    settle_shift: float | None = None
    settle_shift_lam: float | None = None
    response_age: int | None = None
    chart_defect: float | None = None
    decrement: float | None = None
    C_lag: float | None = None
    solve_residual: float | None = None
    draw_sets: int | None = None
    decoder_sets: int | None = None
    taken_up: int | None = None
    step_length: float | None = None
    first_law_residual: float | None = None


PARTS = ("tested", "response", "velocity", "exact")
"""Fields of `Observed` that are several columns."""


def step_record(
    key: StepKey,
    observed: Observed,
    *,
    kind: Kind,
    leg: Leg,
    process: str,
    point: Point,
    outcome: Outcome,
    accepted: bool,
    reason: str | None,
    next_step_length: float | None,
    examples: float,
) -> StepRecord:
    """The row of an attempt. `seconds` is the driver's, paths and hashes are the store's."""
    columns = {item.name: getattr(observed, item.name) for item in dataclasses.fields(Observed) if item.name not in PARTS}
    for reading in observed.tested:
        columns |= _columns_of(reading)
    if observed.response is not None:
        columns |= {name: getattr(observed.response, name) for name in RESPONSE} | {"response_size": observed.response.size}
    if observed.velocity is not None:
        columns |= {"lam_dot": observed.velocity.lam, "gamma_dot": observed.velocity.gamma}
    if observed.exact is not None:
        columns |= dataclasses.asdict(observed.exact)
    return StepRecord(
        trajectory=key.trajectory,
        step=key.step,
        attempt=key.attempt,
        seed=key.seed,
        kind=str(kind),
        leg=str(leg),
        process=process,
        lam=point.lam,
        gamma=point.gamma,
        t=point.t,
        sigma=point.sigma or None,
        outcome=str(outcome),
        accepted=accepted,
        reason=reason,
        next_step_length=next_step_length,
        examples=examples,
        seconds=0.0,
        **columns,
    )


def _columns_of(reading: Reading) -> dict[str, Any]:
    """The columns that a reading of one split fills."""
    columns = {prefix + name: getattr(reading, name) for prefix, name in READ[reading.split]}
    if reading.R_dims is not None:
        columns |= {"R_dims": reading.R_dims, "active_dims": active(reading.R_dims)}
    if reading.certificate is not None:
        columns |= {name: getattr(reading.certificate, name) for name in CERTIFICATE}
    if reading.gibbs is not None:
        columns |= {column: getattr(reading.gibbs, name) for name, column in GIBBS[reading.split].items()}
    if reading.split is Split.TRAIN:
        columns |= {"read_size": reading.size, "statistics_size": reading.statistics_size}
        if reading.losses:
            columns |= {"losses": reading.losses, "multipliers": reading.multipliers}
    return columns


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
            sigma=reading.point.sigma or None,
            S=reading.S,
            accuracy=reading.accuracy,
            score=reading.score,
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
        S_gamma=row.S_gamma,
        S_lam=row.S_lam,
    )


def reading_in(row: StepRecord) -> Reading:
    """The training reading that an accepted row was made from, as far as the row has it."""
    return Reading(
        replica="settled",
        split=Split.TRAIN,
        point=row.point,
        update=0,
        R=number(row.R),
        D=number(row.D),
        C=number(row.C),
        S=row.S,
        accuracy=row.accuracy,
        C_scale=row.C_scale,
        R_se=number(row.R_se),
        D_se=number(row.D_se),
        C_se=number(row.C_se),
        label_entropy=row.label_entropy,
        losses=row.losses or (),
        prices=tuple(multiplier / row.gamma for multiplier in row.multipliers or ()),
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


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeEnds:
    """J of the first replica on the probe before and after a training, nats; None where it has no readings."""

    F_start: float | None
    F_end: float | None


def probe_ends(readings: Sequence[Reading]) -> ProbeEnds:
    """The ends of a training with these probe readings."""
    first = [reading.F for reading in readings if reading.replica == readings[0].replica]
    return ProbeEnds(F_start=first[0] if first else None, F_end=first[-1] if first else None)


def number(value: float | None) -> float:
    """A column that every accepted row has."""
    assert value is not None
    return value
