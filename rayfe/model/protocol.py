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
from rayfe.data.randomness import GLOBAL
from rayfe.exceptions import UsageError
from rayfe.model.call_checks import check_random_weights
from rayfe.model.gradient_checks import check_trainable, check_types
from rayfe.model.likelihood import check_likelihood, with_likelihood
from rayfe.model.linear import Linear
from rayfe.model.marginal import with_marginal
from rayfe.model.marginal_checks import check_marginal
from rayfe.model.mlp import MLP
from rayfe.model.posterior import with_posterior
from rayfe.model.protocol_checks import check_methods, check_ranges, check_shapes
from rayfe.model.resnet import ResNet
from rayfe.model.stored_checks import check_registered, check_stored
from rayfe.model.task import with_task
from rayfe.model.task_checks import check_labels, check_task

BUILT_IN: Mapping[str, type[nn.Module]] = MappingProxyType({"mlp": MLP, "linear": Linear, "resnet": ResNet})
"""Models by the name that needs no module."""
CPU = torch.device("cpu")
FLAT = ("mlp", "linear")
"""Those that see an example as a row of numbers."""


class Representation(Protocol):
    """A torch.nn.Module with an amortised Gaussian encoder e(z|x), a decoder d(x|z) and a classifier c(y|z).

    Pixels are floats in [0, 1], features of data of rayfe's own any real numbers; any normalisation is inside the model.
    Batch-norm may be used anywhere; its population statistics are recomputed before a model is measured. Layers may be
    stochastic in training (dropout); torch's global generator is then seeded for each update, alike for all replicas.
    Parameters may be frozen (`requires_grad` False): no training changes them, and no derivative counts them.
    Parameters must not be shared between modules, and gradients arrive at all that are not frozen. All else that an output
    depends on is a buffer of floats, or the same in every model that is built. In evaluation mode an output is a function of
    its own example and the weights: calls keep nothing for one another.
    The constructor is called as `Class(input_shape=..., classes=..., config=ModelConfig)`; `classes` is how many numbers `classify`
    returns: one for each class or target. Attributes `marginal`, `likelihood` and `task`, of the classes of these names in
    rayfe.model, say what R, D and C are, in place of the usual ones.
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
        """z (N, latent) -> logits of c(y|z), (N, classes), or what else the task's loss takes (`rayfe.model.task`)."""


def model_class(config: ModelConfig) -> type[nn.Module]:
    """The class named by `config.name`.

    Raises:
        UsageError: no such model, or no module of torch.
    """
    if config.name in BUILT_IN:
        return BUILT_IN[config.name]
    known = f"give {', '.join(BUILT_IN)}, or package.module:Class of a model of your own"
    require(":" in config.name, "model.name", config.name, known)
    found = named(config.name, "model.name", known=known)
    module = inspect.isclass(found) and issubclass(found, nn.Module)
    require(module, "model.name", config.name, f"is {found!r}, expected a subclass of torch.nn.Module")
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
    with GLOBAL, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        cls = model_class(config) if cls is None else cls
        try:
            model = cls(input_shape=input_shape, classes=classes, config=config)
        except UsageError:
            raise
        except Exception as error:  # a model of the user's own may raise anything
            check_methods(cls, config.name)
            fix = f"cannot be built for examples of shape {input_shape} ({type(error).__name__}: {error}); it is called as "
            raise UsageError("model.name", config.name, fix + "Class(input_shape=..., classes=..., config=...)") from error
        check_methods(model, config.name)
        check_shapes(model, config.name, torch.full((2, *input_shape), 0.5), classes)
        return with_parts(model, config, input_shape, classes)


def with_parts(model: Any, config: ModelConfig, input_shape: tuple[int, ...], classes: int) -> Any:
    """The model with the marginal, the likelihood, the task and the random weights that `config` names.

    Raises:
        UsageError: there is no such part, or the model has one of its own.
    """
    model = with_likelihood(with_task(model, config, classes), config, input_shape)
    return with_posterior(with_marginal(model, config, input_shape), config)


def laid_out(model: Any, device: torch.device, dtype: torch.dtype = torch.float32) -> Any:
    """The model as it is trained and read: convolutions of few channels take two thirds of the time on a CPU where an image's
    channels lie together in memory."""
    return model.to(device, dtype, memory_format=torch.channels_last)


def build_checked(config: ModelConfig, dataset: Dataset, device: torch.device = CPU) -> Any:
    """A new model for a data set, after a look at what it does with examples, at its gradients, and at what is stored of it.

    Raises:
        UsageError: model.name; it does not do what `Representation` says. model.task; labels do not fit, or it is no task.
    """
    x, y = (value.to(device) for value in some_examples(config, dataset))

    def new(seed: int) -> Any:
        return build(config, input_shape=tuple(x.shape[1:]), classes=dataset.classes, seed=seed)

    def make(seed: int) -> Any:
        return laid_out(new(seed), device)

    model = new(0)
    check_labels(config, model, dataset.train.y)
    check_registered(model, config.name)
    check_types(model, config.name)
    laid_out(model, device)
    with GLOBAL, torch.random.fork_rng():
        check_shapes(model, config.name, x, dataset.classes)
        check_random_weights(model, config, x)
        check_marginal(model, config.marginal, x)
        check_likelihood(model, config.likelihood, x)
        check_task(config, model, x, y)
        check_trainable(model, config.name, x, y, dataset.classes)
        check_ranges(make, config.name, x)
        check_stored(make, config.name, x, y)
    return model


def some_examples(config: ModelConfig, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """A few training examples as the model sees them, x (n, *input_shape) in [0, 1], and their labels.

    The first four, and those where logarithms and divisions break: the lowest and highest values, the darkest, the flattest.
    """
    rows = dataset.train.x.reshape(len(dataset.train.y), -1)
    low, high = rows.min(1), rows.max(1)
    chosen = np.unique([*range(min(4, len(rows))), low.argmin(), high.argmax(), high.argmin(), (high - low).argmin()])
    examples = dataset.train.take(chosen)
    x = torch.from_numpy(np.ascontiguousarray(examples.x)).reshape(-1, *input_shape(config, dataset.input_shape))
    return (x.float() / 255.0 if x.dtype == torch.uint8 else x.float()), torch.from_numpy(examples.y)
