"""A model's weights as they are stored: parameters and floating-point buffers as numpy arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rayfe.model.losses import set_prices
from rayfe.records import Weights
from rayfe.records.weights import PRICES


def weights_of(model: nn.Module) -> Weights:
    """Parameters and floating-point buffers as numpy arrays, by state-dict name."""
    return to_host({name: value for name, value in model.state_dict().items() if value.is_floating_point()})


def to_host(tensors: Mapping[str, Tensor]) -> Weights:
    """Copies of tensors as numpy arrays."""
    here = moved([value.detach() for value in tensors.values()], torch.device("cpu"))
    return {name: value.numpy().copy() for name, value in zip(tensors, here, strict=True)}


def moved(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The tensors on `device`: themselves if they are there, or copies, of which all of one type are one transfer."""
    found = list(tensors)
    away = [i for i, tensor in enumerate(tensors) if tensor.device.type != device.type]
    for dtype in dict.fromkeys(tensors[i].dtype for i in away):
        some = [i for i in away if tensors[i].dtype is dtype]
        flat = torch.cat([tensors[i].reshape(-1) for i in some]).to(device)
        for i, part in zip(some, flat.split([tensors[i].numel() for i in some]), strict=True):
            found[i] = part.view(tensors[i].shape)
    return found


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Set the model's parameters and floating-point buffers; integer buffers stay.

    Raises:
        ValueError: names, shapes or types are not the model's.
    """
    check_fit(model, weights)
    state = _state(model)
    given = moved([torch.from_numpy(np.array(weights[name])) for name in state], next(iter(state.values())).device)
    with torch.no_grad():
        for value, new in zip(state.values(), given, strict=True):
            value.copy_(new)


def check_fit(model: nn.Module, weights: Weights) -> None:
    """Raises ValueError where names, shapes or types of weights are not the model's; its own values are not looked at.

    Where the weights have prices of the task's losses, the model gets some, too.
    """
    if PRICES in weights and PRICES not in model.state_dict():
        some = next(model.parameters())
        set_prices(model, some.new_ones(weights[PRICES].shape, requires_grad=False))
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
