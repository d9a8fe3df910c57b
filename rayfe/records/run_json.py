"""What run.json has, field by field. Older versions lack some fields, and have others that nobody reads any more."""

from __future__ import annotations

from typing import Required, TypedDict

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
    precision: str
