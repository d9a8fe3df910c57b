"""A model's weights as they are stored: parameters and floating-point buffers as numpy arrays."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from rayfe.records import Weights


def weights_of(model: nn.Module) -> Weights:
    """Parameters and floating-point buffers as numpy arrays, by state-dict name."""
    return {
        name: value.detach().cpu().numpy().copy() for name, value in model.state_dict().items() if value.is_floating_point()
    }


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Set the model's parameters and floating-point buffers; integer buffers stay.

    Raises:
        ValueError: names or shapes are not the model's.
    """
    state = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
    if state.keys() != weights.keys():
        raise ValueError(f"weights do not fit the model: {sorted(state.keys() ^ weights.keys())[:3]} differ")
    with torch.no_grad():
        for name, value in state.items():
            value.copy_(torch.from_numpy(np.array(weights[name])))


def frozen(model: nn.Module) -> frozenset[str]:
    """Names of the parameters that no training changes (`requires_grad` is False)."""
    return frozenset(name for name, value in model.named_parameters() if not value.requires_grad)
