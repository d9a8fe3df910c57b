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
        ValueError: names, shapes or types are not the model's.
    """
    check_fit(model, weights)
    with torch.no_grad():
        for name, value in _state(model).items():
            value.copy_(torch.from_numpy(np.array(weights[name])))


def check_fit(model: nn.Module, weights: Weights) -> None:
    """Raises ValueError where names, shapes or types of weights are not the model's; its own values are not looked at."""
    state = _state(model)
    if state.keys() != weights.keys():
        raise ValueError(f"weights do not fit the model: {sorted(state.keys() ^ weights.keys())[:3]} differ")
    for name, value in state.items():
        found = weights[name]
        if found.shape != value.shape or found.dtype.kind != "f":
            wanted = f"{tuple(value.shape)} of {value.dtype}"
            raise ValueError(f"weights do not fit the model: {name} is {found.shape} of {found.dtype}, not {wanted}")


def _state(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if value.is_floating_point()}


def frozen(model: nn.Module) -> frozenset[str]:
    """Names of the parameters that no training changes (`requires_grad` is False)."""
    return frozenset(name for name, value in model.named_parameters() if not value.requires_grad)
