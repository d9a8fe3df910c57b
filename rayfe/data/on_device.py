"""A run's data on a device: the path of one split."""

from __future__ import annotations

import torch

from rayfe.config import RunConfig
from rayfe.data.device_path import DeviceExamples, DevicePath, Mixture, Still, to_device
from rayfe.data.displacement import Displacement
from rayfe.data.examples import Dataset
from rayfe.data.paths import PathData, examples_of
from rayfe.records import Split


def on_device(
    data: PathData, split: Split, config: RunConfig, *, device: torch.device, dtype: torch.dtype, shape: tuple[int, ...]
) -> DevicePath:
    """The examples of a split, each in `shape`, copied to the device; couplings must be there where the path needs them."""

    def copied(end: Dataset) -> DeviceExamples:
        return to_device(examples_of(end, split, config), device, dtype, shape)

    if data.target is None:
        return Still(copied(data.source))
    source, target = copied(data.source), copied(data.target)
    if data.kind == "mixture":
        return Mixture(source, target)
    assert data.couplings is not None
    return Displacement(source, target, data.couplings[split], data.classes)
