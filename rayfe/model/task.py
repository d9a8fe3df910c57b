"""What z is to tell of an example: the task whose loss is C (4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from rayfe.config import ModelConfig
from rayfe.model.parts import part_class, with_part

Labels = Callable[[Callable[[Tensor], Tensor]], Tensor]
"""f -> the mean of f(y) over p(x, t): f takes labels of some examples to (N, m), the mean is (m,), float64."""
SCORED = Literal["accuracy", "score"]
SPREAD = (0.1, 10.0)
"""Standard deviations of targets: the trained variance begins at 1, and the rates of learning are made for such."""


class Task(nn.Module):
    """A loss of predictions, in nats, and perhaps a score. Subclass it for a task of your own: only `loss` must be written.

    Where the loss is a sum of several, `names` and `losses` say so, and process iso-losses holds each of them (`prices`).

    `prediction` is what the model's `classify` returns, `outputs` numbers for each example. Labels `y` are whole numbers
    (N,), or floats (N, k), as the data set has them. Parameters and buffers are part of the model: trained, stored and
    differentiated like all others. The constructor is called as `Class(outputs)`.
    """

    signed: ClassVar[bool] = False
    """Whether the loss may be negative. Its drift and tolerance are then in nats, else in parts of C0."""
    logits: ClassVar[bool] = False
    """Whether predictions are logits: a model that returns probabilities is refused."""
    relative: ClassVar[bool] = False
    """Whether a number common to all outputs changes no loss; classifiers of rayfe's own then leave it out."""
    scored: ClassVar[SCORED] = "score"
    """The column of the mean of `score`."""
    prices: Tensor | None
    """By which each loss counts in what is trained, (k,), a buffer of the model; None: there are none, the loss is their sum."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.register_buffer("prices", None)

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        """-log c(y|z), nats (4); prediction (draws, N, outputs) -> (draws, N)."""
        raise NotImplementedError

    def names(self, outputs: Sequence[str]) -> tuple[str, ...]:
        """Names of the losses whose sum `loss` is, where the data have these names of outputs; none: it is one loss."""
        return ()

    def losses(self, prediction: Tensor, y: Tensor) -> Tensor:
        """The losses that `names` names, nats, (draws, N, k); their sum over k is `loss`."""
        raise NotImplementedError

    def priced(self, prediction: Tensor, y: Tensor) -> Tensor:
        """What is trained, nats (draws, N): `loss`, or the sum of the losses, each times its price."""
        if self.prices is None:
            return self.loss(prediction, y)
        return (self.losses(prediction, y) * self.prices).sum(
            -1
        )  # a product of matrices would be rounded by its place in memory

    def mean(self, prediction: Tensor) -> Tensor:
        """The prediction of an example: the mean over draws of z, (draws, N, outputs) -> (N, outputs)."""
        return prediction.mean(0)

    def score(self, prediction: Tensor, y: Tensor) -> Tensor | None:
        """How good the mean predictions (N, outputs) are, (N,), for people: nothing is trained or chosen by it. None: no such number."""
        return None

    def uninformed(self, labels: Labels) -> float | None:
        """Loss of the best prediction that knows nothing of x, nats; None: not known."""
        return None

    @classmethod
    def fault(cls, y: np.ndarray) -> str | None:
        """What is wrong with training labels y, and what to do, in words; None: they fit."""
        return None


class Classification(Task):
    """One label for each example, or probabilities of labels (N, outputs) on blends of images; C is the cross-entropy."""

    logits = relative = True
    scored = "accuracy"

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        """Relative to the largest logit from the beginning: what all logits have in common would round the loss, and in its
        gradient the sum over classes, which must vanish (common logits of 2e4: 0.002 nats; a walk diverged by them).
        """
        values = _by_class(prediction)
        values.sub_(values.detach().amax(0))
        normalizer = values.exp().sum(0).log()
        if y.is_floating_point():
            return normalizer - (y.T[:, None] * values).sum(0)
        return normalizer - values.gather(0, y.expand(1, *values.shape[1:]))[0]

    def names(self, outputs: Sequence[str]) -> tuple[str, ...]:
        return tuple(outputs)

    def losses(self, prediction: Tensor, y: Tensor) -> Tensor:
        """The part of each class: of an example with a hard label all of its loss is that of its class."""
        if y.is_floating_point():
            return -y * prediction.log_softmax(-1)
        return self.loss(prediction, y)[..., None] * (y[:, None] == torch.arange(self.outputs, device=y.device))

    def mean(self, prediction: Tensor) -> Tensor:
        """Probabilities of the classes, averaged over draws."""
        return _by_class(prediction).softmax(0).mean(1).T.contiguous()

    def score(self, prediction: Tensor, y: Tensor) -> Tensor:
        """1 where the likeliest class is the label; its probability where labels are soft."""
        chosen = prediction.argmax(-1)
        if y.is_floating_point():
            return y.gather(-1, chosen[:, None])[:, 0]
        return (chosen == y).to(prediction.dtype)

    def uninformed(self, labels: Labels) -> float:
        """Entropy of the mean label."""
        mean = labels(lambda y: y if y.is_floating_point() else nnf.one_hot(y, self.outputs))
        return float(torch.special.entr(mean / mean.sum()).sum())

    @classmethod
    def fault(cls, y: np.ndarray) -> str | None:
        if y.ndim == 1:
            return None
        other = "multi-label" if MultiLabel.fault(y) is None else "regression"
        return f"needs one label for each example, the data have {y.shape[1]} numbers for each; give ``model.task={other}``"


class Regression(Task):
    """Numbers y (N, outputs): c(y|z) is Gaussian around the prediction, with one trained variance for each target.

    The constant is kept, so that C is a negative log-density, which is below 0 where predictions are sharp. Where x determines
    y exactly, no C is the lowest: a nat of R buys a nat of C, so that at gamma > 1 only the data's number bounds F.
    """

    signed = True

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.log_variance = nn.Parameter(torch.zeros(outputs))

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return self.losses(prediction, y).sum(-1)

    def names(self, outputs: Sequence[str]) -> tuple[str, ...]:
        return tuple(outputs) if self.outputs > 1 else ()

    def losses(self, prediction: Tensor, y: Tensor) -> Tensor:
        squares = (y - prediction).square() * (-self.log_variance).exp()
        return 0.5 * (squares + self.log_variance + math.log(2.0 * math.pi))

    def score(self, prediction: Tensor, y: Tensor) -> Tensor:
        """Squared error of the mean prediction, the mean over targets: small is good."""
        return (y - prediction).square().mean(-1)

    def uninformed(self, labels: Labels) -> float:
        """That of the mean, with the variance of the labels."""
        mean = labels(lambda y: y)
        variance = labels(lambda y: (y - mean).square())
        return float(0.5 * (2.0 * math.pi * math.e * variance).log().sum())

    @classmethod
    def fault(cls, y: np.ndarray) -> str | None:
        if y.ndim == 1:
            return "needs numbers, the data have classes; give y as floats of shape (N, targets)"
        spread = y.std(0, dtype=float)
        off = next((k for k, one in enumerate(spread) if not SPREAD[0] <= one <= SPREAD[1]), None)
        if off is None:
            return None
        return (
            f"needs targets with a standard deviation from {SPREAD[0]:g} to {SPREAD[1]:g}, number {off} has {spread[off]:.3g}; "
            "give (y - y.mean(0)) / y.std(0)"
        )


class MultiLabel(Task):
    """Labels y (N, outputs) of 0 and 1, any number of which are 1: independent Bernoulli, whose logits are predicted."""

    logits = True

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return self.losses(prediction, y).sum(-1)

    def names(self, outputs: Sequence[str]) -> tuple[str, ...]:
        return tuple(outputs) if self.outputs > 1 else ()

    def losses(self, prediction: Tensor, y: Tensor) -> Tensor:
        return nnf.softplus(prediction) - y * prediction

    def mean(self, prediction: Tensor) -> Tensor:
        """Probabilities of 1, averaged over draws."""
        return prediction.sigmoid().mean(0)

    def score(self, prediction: Tensor, y: Tensor) -> Tensor:
        """Share of the labels that are predicted rightly."""
        return ((prediction > 0.5) == (y > 0.5)).to(prediction.dtype).mean(-1)

    def uninformed(self, labels: Labels) -> float:
        """Sum of the entropies of the labels."""
        mean = labels(lambda y: y)
        return float((torch.special.entr(mean) + torch.special.entr(1.0 - mean)).sum())

    @classmethod
    def fault(cls, y: np.ndarray) -> str | None:
        if y.ndim == 1:
            return "needs labels of 0 and 1 for each example, the data have one class for each; give y of shape (N, labels)"
        if not np.isin(y, (0, 1)).all():
            return "needs labels of 0 and 1, the data have other numbers; give y > threshold, or ``model.task=regression``"
        alike = np.flatnonzero(y.min(0) == y.max(0))
        return (
            f"needs labels that differ, number {alike[0]} is {y[0, alike[0]]:g} everywhere; leave it out"
            if len(alike)
            else None
        )


BUILT_IN: Mapping[str, type[Task]] = MappingProxyType(
    {"classification": Classification, "regression": Regression, "multi-label": MultiLabel}
)
"""Tasks by the name that needs no module."""


def _by_class(logits: Tensor) -> Tensor:
    """A copy, (draws, N, classes) -> (classes, draws, N): a CPU reduces over few classes six times as fast where they lie far apart."""
    return logits.movedim(-1, 0).clone(memory_format=torch.contiguous_format)


def with_task(model: Any, config: ModelConfig, outputs: int) -> Any:
    """The model with the task that `config` names.

    Raises:
        UsageError: model.task; there is none of this name, it cannot be built, or the model has one of its own.
    """
    return with_part(model, config, "task", Task, BUILT_IN, outputs=outputs)


def task_of(model: Any, outputs: int = 0) -> Task:
    """The task of a model: its attribute, or classification into so many `outputs`."""
    found = getattr(model, "task", None)
    return found if isinstance(found, Task) else Classification(outputs)


def task_class(config: ModelConfig) -> type[Task]:
    """The class that `config.task` names.

    Raises:
        UsageError: model.task; there is none such, or it is no Task.
    """
    return part_class(config, "task", Task, BUILT_IN)
