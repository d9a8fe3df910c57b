"""The models of a configuration on a device: new ones, ones with given weights, and what a training starts from."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayfe.config import ModelConfig
from rayfe.data.paths import PathData
from rayfe.data.randomness import derived_seed
from rayfe.exceptions import WalkFailed
from rayfe.model.conditioned import Conditioned
from rayfe.model.fixed_encoder import FixedEncoder
from rayfe.model.losses import set_prices
from rayfe.model.protocol import build, input_shape, laid_out
from rayfe.model.task import task_of
from rayfe.model.weights import frozen, load_weights, weights_of
from rayfe.records import Box, Replica, StepKey, Weights
from rayfe.records.weights import PRICES, along, slope

PARTS = ("mean", "log-variance", "reconstruction", "logits")
"""What a model gives, by name."""
ANOTHER = -1
"""Seed of a model whose own initial weights are to be others."""
ROUNDING = 1e-4
"""Largest difference between outputs of two models that are the same, relative to 1 + their size."""


class Models:
    """Models for the examples of `data`."""

    def __init__(
        self, config: ModelConfig, data: PathData, device: torch.device, dtype: torch.dtype, *, priced: bool = False
    ) -> None:
        """`priced`: the losses of the task have prices, which are 1 in new models."""
        self._config, self._device, self._dtype = config, device, dtype
        self._names, self._priced = tuple(data.source.class_names), priced
        self.shape, self.classes = input_shape(config, data.input_shape), data.classes
        self._built = self.new(0)
        self._copies = _can_be_copied(self._built)

    def new(self, seed: int) -> Any:
        """A model with new weights, which follow from the seed."""
        initial = derived_seed(seed, "initial weights")
        model = build(self._config, input_shape=self.shape, classes=self.classes, seed=initial)
        if self._priced:
            set_prices(model, torch.ones(len(task_of(model, self.classes).names(self._names))))
        return laid_out(model, self._device, self._dtype)

    def with_weights(self, weights: Weights | None, *, seed: int) -> Any:
        """A model with these weights; None: with new ones."""
        if weights is None:
            return self.new(seed)
        model = copy.deepcopy(self._built) if self._copies else self.new(seed)  # a ResNet takes long to build
        load_weights(model, {PRICES: np.ones(len(self._built.task.prices)), **weights} if self._priced else weights)
        return model

    def of(self, replica: Replica, *, seed: int) -> Any:
        """The model of a replica, a conditioned one folded at its point."""
        if replica.encoder is not None:
            return self._of_encoder(replica, replica.encoder, seed)
        if replica.box is None:
            return self.with_weights(replica.weights, seed=seed)
        return self.with_weights(self._conditioned(replica, replica.box, seed).fold(replica.point), seed=seed)

    def _conditioned(self, replica: Replica, box: Box, seed: int) -> Conditioned:
        model = Conditioned(self.new(seed), box, seed=derived_seed(seed, "conditioning"))
        if replica.weights is not None:
            load_weights(model, replica.weights)
        return model

    def _of_encoder(self, replica: Replica, encoder: Weights, seed: int) -> FixedEncoder:
        rest = self.with_weights(self._fresh(encoder, seed), seed=seed)
        model = FixedEncoder(rest, self.with_weights(encoder, seed=0))
        if replica.weights is not None:
            load_weights(model, replica.weights)
        return model

    def start(self, replica: Replica, key: StepKey, round: int) -> Any:
        """The model that a replica's training starts from; its new weights are others in every `round`."""
        if replica.box is not None:
            return self._conditioned(replica, replica.box, key.seed)
        if replica.encoder is not None:
            return self._of_encoder(replica, replica.encoder, key.seed)
        if not replica.renewed or replica.weights is None:
            return self.with_weights(replica.weights, seed=key.seed)
        seed = derived_seed(key.seed, key.trajectory, key.step, "renewal", *([round] if round else []))
        fresh = self._fresh(replica.weights, seed)
        return self.with_weights(along(replica.weights, slope(fresh, replica.weights, 1.0), replica.renewed), seed=key.seed)

    def _fresh(self, weights: Weights, seed: int) -> Weights:
        """New weights, but for the parameters that no training changes."""
        new = self.new(seed)
        return {**weights_of(new), **{name: weights[name] for name in frozen(new)}}

    def check_stored(self, model: Any, stored: Weights, x: Tensor) -> None:
        """Whether another new model with the weights to be stored gives what `model` gives for `x` (N, ...).

        Raises:
            WalkFailed: it does not.
        """
        again = self.new(ANOTHER).eval()
        load_weights(again, stored)
        for part, was, now in zip(PARTS, _outputs(model.eval(), x), _outputs(again, x), strict=True):
            off = float((now - was).abs().max() / (1.0 + was.abs().max()))
            if not off <= ROUNDING:
                what = f"read back, the model that would be stored gives another {part} than the one that was trained ({off:.2g} off)"
                raise WalkFailed(f"{what}; keep all that the outputs depend on in parameters and in buffers of floats")


def _can_be_copied(model: Any) -> bool:
    try:
        copy.deepcopy(model)
    except Exception:  # a model of the user's own may raise anything
        return False
    return True


@torch.no_grad()
def _outputs(model: Any, x: Tensor) -> tuple[Tensor, ...]:
    mean, log_variance = model.encode(x)
    return tuple(part.detach() for part in (mean, log_variance, model.decode(mean), model.classify(mean)))
