"""The models of a configuration on a device: new ones, ones with given weights, and what a training starts from."""

from __future__ import annotations

from typing import Any

import torch

from rayfe.config import ModelConfig
from rayfe.data.paths import PathData
from rayfe.data.randomness import derived_seed
from rayfe.model.protocol import build, input_shape
from rayfe.records import Replica, StepKey, Weights
from rayfe.records.weights import along, slope
from rayfe.training.replicas import load_weights, weights_of


class Models:
    """Models for the examples of `data`."""

    def __init__(self, config: ModelConfig, data: PathData, device: torch.device, dtype: torch.dtype) -> None:
        self._config, self._device, self._dtype = config, device, dtype
        self.shape, self.classes = input_shape(config, data.input_shape), data.classes

    def new(self, seed: int) -> Any:
        """A model with new weights, which follow from the seed."""
        initial = derived_seed(seed, "initial weights")
        model = build(self._config, input_shape=self.shape, classes=self.classes, seed=initial)
        # Convolutions of few channels take two thirds of the time on a CPU where an image's channels lie together.
        return model.to(self._device, self._dtype, memory_format=torch.channels_last)

    def with_weights(self, weights: Weights | None, *, seed: int) -> Any:
        """A model with these weights; None: with new ones."""
        model = self.new(seed)
        if weights is not None:
            load_weights(model, weights)
        return model

    def start(self, replica: Replica, key: StepKey, round: int) -> Any:
        """The model that a replica's training starts from; its new weights are others in every `round`."""
        if not replica.renewed or replica.weights is None:
            return self.with_weights(replica.weights, seed=key.seed)
        seed = derived_seed(key.seed, key.trajectory, key.step, "renewal", *([round] if round else []))
        fresh = weights_of(self.new(seed))
        return self.with_weights(along(replica.weights, slope(fresh, replica.weights, 1.0), replica.renewed), seed=key.seed)
