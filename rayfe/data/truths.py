"""The truth that a run's data set offers, if any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rayfe.config import RunConfig
from rayfe.data.datasets import load
from rayfe.data.examples import Dataset
from rayfe.data.truth import Truth, linear_truth

OFFERS: Mapping[str, Callable[[RunConfig, Dataset], Truth | None]] = MappingProxyType({"gaussian": linear_truth})
"""What makes the truth, by the name of a data set without its classes."""


def truth_of(config: RunConfig) -> Truth | None:
    """The exact surface of a run, None where its data set knows none for its family of models.

    Raises:
        UsageError: the data cannot be loaded.
    """
    offer = OFFERS.get(config.data.name.partition(":")[0])
    return None if offer is None else offer(config, load(config.data))
