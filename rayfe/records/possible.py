"""Whether a stored row can be one that a run wrote: what reads rows need not ask again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from rayfe.records.certificates import ANEW, ON, TOO_SHORT, CertificateRecord
from rayfe.records.kinds import Kind, Leg
from rayfe.records.points import Outcome, Split
from rayfe.records.stored import ReadingRecord, StepRecord

Row = StepRecord | ReadingRecord | CertificateRecord

LARGEST = 1e100
"""No number of a run is larger: sums and squares of such are finite."""
MOST_STEPS = 10**9
"""Steps, attempts and updates are fewer."""
COUNTED = ("step", "attempt", "update", "seed", "active_dims", "seeds")
FINITE = ("lam", "gamma", "t", "examples", "seconds", "epochs")
"""Numbers of every row; those that it measured may be infinite or undefined where a training diverged."""
WORDS: Mapping[str, tuple[str | None, ...]] = MappingProxyType(
    {
        "outcome": (*Outcome, TOO_SHORT),
        "kind": (None, *Kind),
        "leg": (None, *Leg),
        "split": tuple(Split),
        "held_on": (None, *Split),
        "method": (ON, ANEW),
    }
)
"""Columns of few words."""
ERRORS = ("dF", "dR", "dD", "dC", "control_dC", "C_gamma", "dgamma")
"""Of certificates: what comes with its standard error."""
MEASURED = ("R", "D", "C", "F", "dF", "dR", "dD", "dC", "lowest_R", "lowest_D", "lowest_C")
"""Of certificates whose trainings went well."""


def fault_of(row: Row) -> str | None:
    """What no run writes of a row, in words; None: it may be one of a run."""
    return next(_faults(row), None)


def _faults(row: Row) -> Iterator[str]:
    for name in row.__slots__:
        value = getattr(row, name)
        if isinstance(value, float) and math.isfinite(value) and abs(value) > LARGEST:
            yield f"{name} is {value:g}"
        if name in FINITE and value is not None and not (math.isfinite(value) and value >= 0.0):
            yield f"{name} is {value:g}"
        if name in COUNTED and value is not None and not 0 <= value < (2**63 if name == "seed" else MOST_STEPS):
            yield f"{name} is {value}"
        if name in WORDS and value not in WORDS[name]:
            yield f"{name} is {str(value)[:60]!r}"
    if row.lam == 0.0 or row.t > 1.0:
        yield f"lam is {row.lam:g}, t is {row.t:g}"
    if isinstance(row, CertificateRecord):
        yield from _of_certificate(row)


def _of_certificate(row: CertificateRecord) -> Iterator[str]:
    there = {name for name in row.__slots__ if getattr(row, name) is not None}
    for name in there:
        value = getattr(row, name)
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{name} is {value:g}"
    yield from (f"{name} is without its error" for name in ERRORS if (name in there) != (f"{name}_se" in there))
    if row.outcome == Outcome.OK:
        yield from (f"{name} is missing" for name in MEASURED if name not in there)
