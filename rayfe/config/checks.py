"""Bad input: one line that names the field, the value and the fix."""

from __future__ import annotations

import math

from rayfe.exceptions import UsageError


def require(condition: bool, name: str, value: object, fix: str) -> None:
    """Raise UsageError(name, value, fix) unless `condition` holds."""
    if not condition:
        raise UsageError(name, value, fix)


def positive(name: str, value: float, unit: str = "") -> None:
    require(math.isfinite(value) and value > 0, name, value, f"must be a positive number{unit}")


def at_least(name: str, value: int, least: int) -> None:
    require(value >= least, name, value, f"must be at least {least}")


def fraction(name: str, value: float) -> None:
    require(math.isfinite(value) and 0 < value < 1, name, value, "must lie between 0 and 1")
