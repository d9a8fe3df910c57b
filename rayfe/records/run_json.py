"""What run.json has, field by field. Older versions lack some fields, and have others that nobody reads any more."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Required, TypedDict

Scalar = str | int | float | bool | None
Told = TypedDict(
    "Told",
    {
        "from": Required[str],
        "sha256": Required[str],
        "trajectory": str,
        "step": int,
        "lam": float,
        "gamma": float,
        "t": float,
        "examples": float | None,
    },
    total=False,
)
"""The model that a run starts from (`run.starts.StartModel.told`)."""


class Scale(TypedDict):
    """Ends of the units of the data, for all features or for each."""

    low: float | list[float]
    high: float | list[float]


class Distortion(TypedDict):
    """What the numbers D of a run are."""

    unit: str
    """nats, or squared error (of the Gaussian likelihood, without its constant)."""
    probability: bool
    """Whether exp(-D) is a probability of x."""


UNIT = "unit of D"
"""Under this name frames of rows say it, in `attrs`."""
SIGNED = "D may be negative"
"""Under this name they say whether D is of a density, of which -log may be negative."""
SQUARED: Mapping[str, Any] = MappingProxyType({"unit": "squared error", "probability": False})
"""`Distortion` of runs that do not say."""


def distortion_of(run: Mapping[str, Any]) -> Mapping[str, Any]:
    """What D is in the run whose run.json is `run`."""
    return run.get("D", SQUARED)


def attributes_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """`attrs` of frames of the rows of that run."""
    known = distortion_of(run)
    return {UNIT: known["unit"], SIGNED: known["unit"] == "nats" and not known["probability"]}


class RunJson(TypedDict, total=False):
    """Fields of run.json with their types."""

    rayfe: str
    readings: int
    job: str
    preset: str
    command: str
    config: dict[str, Scalar | list[Scalar]]
    identity: dict[str, Scalar | list[Scalar]]
    input_shape: list[int]
    classes: int
    class_names: list[str]
    scale: Scale | None
    data_sha256: str
    kept_sha256: dict[str, str]
    start: Told | None
    code_sha256: dict[str, str]
    versions: dict[str, str]
    devices: list[str]
    D: Distortion
    losses: list[str]
    precision: str
