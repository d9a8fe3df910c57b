"""A reading of one model."""

from __future__ import annotations

from typing import Any

from rayfe.data.device_path import DevicePath
from rayfe.model.protocol import Representation
from rayfe.records import Reading, Split
from rayfe.training.drawing import Drawing, Effort
from rayfe.training.reading import WantedReading, read_together

ONCE = Effort()


def read(model: Representation, path: DevicePath, *, drawing: Drawing, effort: Effort = ONCE, **wanted: Any) -> Reading:
    """Of the training split; `wanted` are point, t and key."""
    asked = WantedReading(replica="centre", split=Split.TRAIN, **wanted)
    return read_together([(model, asked)], path, drawing=drawing, effort=effort)[0]
