"""Whether a stored row can be one that a run wrote: what reads rows need not ask again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from rayfe.records.certificates import ANEW, ON, TOO_SHORT, CertificateRecord
from rayfe.records.codec import CodecRecord
from rayfe.records.kinds import Kind, Leg
from rayfe.records.points import Outcome, Split
from rayfe.records.reading_record import ReadingRecord
from rayfe.records.stored import StepRecord
from rayfe.records.universal import UniversalRecord

Row = StepRecord | ReadingRecord | CertificateRecord | UniversalRecord | CodecRecord

LARGEST = 1e100
"""No number of a run is larger: sums and squares of such are finite."""
MOST_STEPS = 10**9
"""There are fewer steps, attempts and updates."""
TINY = 1e-300
RANGES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"lam": (TINY, LARGEST), "t": (0.0, 1.0), "seed": (0, 2**63)}
    | dict.fromkeys(("gamma", "sigma", "examples", "seconds", "epochs"), (0.0, LARGEST))
    | dict.fromkeys(("step", "attempt", "update", "active_dims", "seeds"), (0, MOST_STEPS))
)
"""Of numbers that are finite in every row; those that were measured may be infinite or undefined where a training diverged."""
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
MEASURED = ("F", "dF")
"""Of certificates whose trainings went well."""
NEEDED = ("R", "D", "C", "D_se", "C_se")
"""Of new decoders and classifiers whose training went well."""
LOSSLESS = ("levels", "D_nats", "x_bits", "x_sha256")
"""Of coded images: all where there is a code without loss, otherwise none."""


def fault_of(row: Row) -> str | None:
    """What no run writes of a row, in words; None: it may be one of a run."""
    return next(_faults(row), None)


def _faults(row: Row) -> Iterator[str]:
    for name in row.__slots__:
        value = getattr(row, name)
        if type(value) is float and LARGEST < abs(value) < math.inf:
            yield f"{name} is {value:g}"
    for name, (least, most) in RANGES.items():
        value = getattr(row, name, None)
        if value is not None and not least <= value <= most:
            yield f"{name} is {value:g}"
    for name, words in WORDS.items():
        if hasattr(row, name) and getattr(row, name) not in words:
            yield f"{name} is {str(getattr(row, name))[:60]!r}"
    match row:
        case CertificateRecord():
            yield from _of_certificate(row)
        case CodecRecord():
            yield from _of_coded(row)
        case UniversalRecord(outcome=Outcome.OK):
            yield from (f"{name} is {value}" for name in NEEDED if not _is_finite(value := getattr(row, name)))


def _of_certificate(row: CertificateRecord) -> Iterator[str]:
    there = {name for name in row.__slots__ if getattr(row, name) is not None}
    for name in there:
        value = getattr(row, name)
        if isinstance(value, float) and not math.isfinite(value):
            yield f"{name} is {value:g}"
    yield from (f"{name} is without its error" for name in ERRORS if (name in there) != (f"{name}_se" in there))
    if row.outcome == Outcome.OK:
        yield from (f"{name} is missing" for name in MEASURED if name not in there)


def _of_coded(row: CodecRecord) -> Iterator[str]:
    for name in set(row.__slots__) - {"R", "D", "coded_D"}:  # D of a density may be negative, and R by draws that is near 0
        value = getattr(row, name)
        if isinstance(value, int | float) and value < 0:
            yield f"{name} is {value:g}"
    if row.R_bits <= -1.0:
        yield f"R is {row.R:g}"
    yield from (f"{name} is 0" for name in ("images", "latent", "x_bits") if getattr(row, name) == 0)
    if len({getattr(row, name) is None for name in LOSSLESS}) > 1 or row.RD_bits == 0.0:
        yield "the code without loss has no R and D"


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
