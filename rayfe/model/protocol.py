"""What a model must offer to be walked along the surface."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rayfe.config import ModelConfig, require
from rayfe.config.user_code import named
from rayfe.data.examples import Dataset
from rayfe.exceptions import UsageError
from rayfe.model.linear import Linear
from rayfe.model.mlp import MLP
from rayfe.model.protocol_checks import check_shapes, check_trainable
from rayfe.model.resnet import ResNet

BUILT_IN: Mapping[str, type[nn.Module]] = MappingProxyType({"mlp": MLP, "linear": Linear, "resnet": ResNet})
"""Models by the name that needs no module."""
FLAT = ("mlp", "linear")
"""Those that see an example as a row of numbers."""


class Representation(Protocol):
    """A torch.nn.Module with an amortised Gaussian encoder e(z|x), a Gaussian decoder d(x|z) and a classifier c(y|z).

    Pixels are floats in [0, 1], features of data of rayfe's own any real numbers; any normalisation is inside the model.
    Batch-norm may be used anywhere; its population statistics are recomputed before a model is measured. Layers may be
    stochastic in training (dropout); torch's global generator is then seeded for each update, alike for all replicas.
    Parameters must not be shared between modules. The constructor is called as `Class(input_shape=..., classes=..., config=ModelConfig)`.
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
    known = f"give {', '.join(BUILT_IN)}, or package.module:Class of a model of your own"
    require(":" in config.name, "model.name", config.name, known)
    found = named(config.name, "model.name", known=known)
    module = inspect.isclass(found) and issubclass(found, nn.Module)
    require(module, "model.name", config.name, f"is {found!r}, expected a subclass of torch.nn.Module")
    missing = [name for name in ("encode", "decode", "classify") if not callable(getattr(found, name, None))]
    require(not missing, "model.name", config.name, f"lacks the method {' and '.join(missing)} (rayfe/model/protocol.py)")
    return found


def input_shape(config: ModelConfig, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of one example as the model sees it: flat for an MLP or a linear model, as in the data set for every other one."""
    return (math.prod(shape),) if config.name in FLAT else shape


def build(
    config: ModelConfig, *, input_shape: tuple[int, ...], classes: int, seed: int = 0, cls: type[nn.Module] | None = None
) -> Any:
    """A newly initialised model (a torch.nn.Module that meets `Representation`); its initial weights are a function of `seed` alone.

    `cls` stands in for the class that `config.name` names.

    Raises:
        UsageError: it cannot be built, or its outputs do not have the shapes of the protocol.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = (model_class(config) if cls is None else cls)(input_shape=input_shape, classes=classes, config=config)
        except UsageError:
            raise
        except Exception as error:  # a model of the user's own may raise anything
            fix = f"cannot be built for examples of shape {input_shape} ({type(error).__name__}: {error}); it is called as "
            raise UsageError("model.name", config.name, fix + "Class(input_shape=..., classes=..., config=...)") from error
        check_shapes(model, config.name, torch.full((2, *input_shape), 0.5), classes)
    return model


def build_checked(config: ModelConfig, dataset: Dataset) -> Any:
    """A new model for a data set, after a look at what it gives for examples and at its gradients (`check`).

    Raises:
        UsageError: model.name; it does not do what `Representation` says.
    """
    x, y = some_examples(config, dataset)
    model = build(config, input_shape=tuple(x.shape[1:]), classes=dataset.classes)
    with torch.random.fork_rng(devices=[]):
        check_trainable(model, config.name, x, y, dataset.classes)
    return model


def some_examples(config: ModelConfig, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """The first four training examples as the model sees them, x (4, *input_shape) in [0, 1], and their labels."""
    examples = dataset.train.take(np.arange(min(4, len(dataset.train.y))))
    x = torch.from_numpy(np.ascontiguousarray(examples.x)).reshape(-1, *input_shape(config, dataset.input_shape))
    return (x.float() / 255.0 if x.dtype == torch.uint8 else x.float()), torch.from_numpy(examples.y)
