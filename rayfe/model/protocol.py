"""What a model must offer to be walked along the surface."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rayfe.config import ModelConfig, UsageError
from rayfe.model.mlp import MLP
from rayfe.model.resnet import ResNet

BUILT_IN: Mapping[str, type[nn.Module]] = MappingProxyType({"mlp": MLP, "resnet": ResNet})
"""Models by the name that needs no module."""


class Representation(Protocol):
    """A torch.nn.Module with an amortised Gaussian encoder e(z|x), a Gaussian decoder d(x|z) and a classifier c(y|z).

    Pixels are floats in [0, 1]; any normalisation is inside the model. Batch-norm may be used anywhere; its
    population statistics are recomputed before a model is measured. Layers may be stochastic in training (dropout);
    torch's global generator is then seeded for each update, alike for all replicas. Parameters must not be shared
    between modules. The constructor is called as `Class(input_shape=..., classes=..., config=ModelConfig)`.
    """

    latent: int
    """Dimensions of z."""

    # of torch.nn.Module
    def eval(self) -> Any: ...
    def modules(self) -> Iterator[nn.Module]: ...
    def parameters(self) -> Iterator[nn.Parameter]: ...

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x (N, *input_shape) -> mean and log-variance of e(z|x), each (N, latent)."""

    def decode(self, z: Tensor) -> Tensor:
        """z (N, latent) -> mean of d(x|z), (N, *input_shape)."""

    def classify(self, z: Tensor) -> Tensor:
        """z (N, latent) -> logits of c(y|z), (N, classes)."""


def model_class(config: ModelConfig) -> type[nn.Module]:
    """The class named by `config.name`.

    Raises:
        UsageError: no such model, or it lacks a method of the protocol.
    """
    if config.name in BUILT_IN:
        return BUILT_IN[config.name]
    module_name, _, class_name = config.name.partition(":")
    if not class_name:
        raise UsageError(
            "model.name", config.name, f"give {', '.join(BUILT_IN)}, or package.module:Class of a model of your own"
        )
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise UsageError("model.name", config.name, f"cannot be imported ({error})") from error
    missing = [name for name in ("encode", "decode", "classify") if not callable(getattr(found, name, None))]
    if not (inspect.isclass(found) and issubclass(found, nn.Module)) or missing:
        raise UsageError(
            "model.name", config.name, f"must be a torch.nn.Module with methods {', '.join(missing or ['encode'])}"
        )
    return found


def input_shape(config: ModelConfig, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one example as the model sees it: flat for an MLP, as in the data set for every other model."""
    return (math.prod(shape),) if config.name == "mlp" else shape


def build(config: ModelConfig, *, input_shape: tuple[int, ...], classes: int, seed: int = 0) -> Any:
    """A newly initialised model (a torch.nn.Module that meets `Representation`); its initial weights are a function of `seed` alone.

    Raises:
        UsageError: the model's outputs do not have the shapes of the protocol.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = model_class(config)(input_shape=input_shape, classes=classes, config=config)
        _check_shapes(model, config, input_shape=input_shape, classes=classes)
    return model


def _check_shapes(model: Any, config: ModelConfig, *, input_shape: tuple[int, ...], classes: int) -> None:
    latent = getattr(model, "latent", None)
    if not isinstance(latent, int):
        raise UsageError("model.name", config.name, "must have an integer attribute `latent`, the dimensions of z")
    training = model.training
    model.eval()
    with torch.no_grad():
        x = torch.full((2, *input_shape), 0.5)
        mean, log_variance = model.encode(x)
        shapes = {
            "encode": (tuple(mean.shape), (2, latent)),
            "encode (log-variance)": (tuple(log_variance.shape), (2, latent)),
            "decode": (tuple(model.decode(mean).shape), tuple(x.shape)),
            "classify": (tuple(model.classify(mean).shape), (2, classes)),
        }
    model.train(training)
    for method, (found, expected) in shapes.items():
        if found != expected:
            raise UsageError("model.name", config.name, f"{method} returns shape {found} for two examples, expected {expected}")
