"""Models of one configuration, built once and copied for each request."""

from __future__ import annotations

import copy
from typing import Any

import torch

from rayfe.config import ModelConfig
from rayfe.data.randomness import derived_seed
from rayfe.model.protocol import build
from rayfe.records import Replica, StepKey, Weights
from rayfe.records.weights import along, slope
from rayfe.training.replicas import load_weights, weights_of


class Models:
    """Makes models for examples of `shape` in `classes` classes, on a device and in one floating-point type."""

    def __init__(
        self, config: ModelConfig, *, shape: tuple[int, ...], classes: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._config, self._shape, self._classes = config, shape, classes
        self.device, self.dtype = device, dtype
        self.pattern = self.new(0)
        """One of them, for what all have in common; its weights say nothing."""

    def new(self, seed: int) -> Any:
        """A model with the initial weights of a seed."""
        initial = derived_seed(seed, "initial weights")
        return self._placed(build(self._config, input_shape=self._shape, classes=self._classes, seed=initial))

    def with_weights(self, weights: Weights) -> Any:
        """A model with these weights."""
        model = copy.deepcopy(self.pattern)
        load_weights(model, weights)
        return model

    def model(self, weights: Weights | None, seed: int) -> Any:
        """A model with these weights, or without any the new one of a seed."""
        return self.new(seed) if weights is None else self.with_weights(weights)

    def start(self, replica: Replica, key: StepKey, round: int = 0) -> Any:
        """The model that a replica's training starts from; its new weights are others in every `round`."""
        if not replica.renewed or replica.weights is None:
            return self.model(replica.weights, key.seed)
        seed = derived_seed(key.seed, key.trajectory, key.step, "renewal", *([round] if round else []))
        fresh = weights_of(self.new(seed))
        return self.with_weights(along(replica.weights, slope(fresh, replica.weights, 1.0), replica.renewed))

    def _placed(self, model: Any) -> Any:
        # Convolutions of few channels take two thirds of the time on a CPU where an image's channels lie together.
        return model.to(self.device, self.dtype, memory_format=torch.channels_last)
