"""Likelihoods d(x|z): how the distortion D (1) follows from an example and its reconstruction. One class each; a user's own is one more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from rayfe.config import ModelConfig, require
from rayfe.model.parts import on_trial, with_part

LEVELS = 256
"""Values of a pixel of eight bits: 0, 1/255, ..., 1."""
CERTAIN = 2.0**-24
"""A probability is at least this far from 0 and 1: float32 holds no other below 1."""
SPREAD = 0.1
"""Scale of the difference between x and x_hat from which a learnt one starts."""
BEYOND = 0.02
"""By how much a unit of the reconstruction's logit moves the location of a logistic: that of a black pixel lies below 0."""


class Likelihood(nn.Module):
    """Minus the logarithm of d(x|z), pixel by pixel, from the reconstruction x_hat that the model's `decode` gives.

    It is called as `Class(input_shape=...)`, and becomes the attribute `likelihood` of the model: its parameters are trained,
    averaged and stored with the model's. A class of the user's own gives `pixels`, and what else is not as here.
    """

    unit: ClassVar[str] = "nats"
    """Of D. In nats every constant is kept, so that D of a density may be negative."""
    probability: ClassVar[bool] = False
    """Whether exp(-D) is a probability of x, not a density: R + D then bounds the nats of a lossless code."""
    inside: ClassVar[bool] = False
    """Whether x_hat must lie in [0, 1]."""
    values: ClassVar[tuple[float, ...] | None] = None
    """All that a pixel may be; None: any number."""

    def __init__(self, *, input_shape: tuple[int, ...]) -> None:
        super().__init__()

    def pixels(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """-log d of each pixel; x and x_hat (..., *input_shape), which are broadcast -> the same shape."""
        raise NotImplementedError

    def forward(self, x: Tensor, x_hat: Tensor) -> Tensor:
        """D of each example (1); x and x_hat (N, *input_shape) -> (N,)."""
        return self.pixels(x, x_hat).flatten(1).sum(-1)

    def fault(self, x: np.ndarray) -> str | None:
        """Why examples x (N, ...), of numbers or of bytes up to 255, cannot be this likelihood's; None: they can."""
        if self.values is not None:
            white = 255 if x.dtype == np.uint8 else 1
            other = float(np.mean(~np.isin(x, [white * value for value in self.values])))
            if other > 0.0:
                values = " or ".join(f"{value:g}" for value in self.values)
                return f"needs pixels that are {values}, but {100.0 * other:.3g} % of the data's are not; give data that are, e.g. x > 0.5"
        if self.inside and x.dtype != np.uint8 and not 0.0 <= x.min() <= x.max() <= 1.0:
            return f"needs data in [0, 1], but they range from {x.min():.4g} to {x.max():.4g}"
        return None

    def squared_weight(self) -> float | None:
        """D is so many times the squared error, but for what x_hat does not enter; None: it is nothing of the kind."""
        return None

    def told(self) -> dict[str, Any]:
        """What run.json says of D."""
        return {"unit": self.unit, "probability": self.probability}

    def levels(self, x_hat: Tensor, count: int = LEVELS) -> Tensor:
        """Log-probabilities of evenly spaced levels of a pixel from 0 to 1, (N, features, count): densities, normalised over these."""
        level = torch.linspace(0.0, 1.0, count, dtype=x_hat.dtype, device=x_hat.device)
        column = level.reshape(-1, *[1] * x_hat.dim())
        logs = -self.pixels(column, x_hat[None])
        if self.values is not None:
            logs = logs.masked_fill(~torch.isin(column, torch.tensor(self.values).to(column)), -math.inf)
        return logs.flatten(2).log_softmax(0).permute(1, 2, 0)


class Gaussian(Likelihood):
    """Variance 1/2 (1), without its constant (log pi) / 2 a pixel: D is the squared error."""

    unit = "squared error"

    def pixels(self, x: Tensor, x_hat: Tensor) -> Tensor:
        return (x - x_hat).square()

    def squared_weight(self) -> float | None:
        return 1.0


class LearntGaussian(Likelihood):
    """One learnt variance for all pixels, constants kept. One for each would vanish where a pixel never changes, and D with it."""

    def __init__(self, *, input_shape: tuple[int, ...]) -> None:
        super().__init__(input_shape=input_shape)
        self.log_variance = nn.Parameter(torch.full((1,), 2.0 * math.log(SPREAD)))

    def pixels(self, x: Tensor, x_hat: Tensor) -> Tensor:
        return 0.5 * ((x - x_hat).square() * (-self.log_variance).exp() + self.log_variance + math.log(2.0 * math.pi))

    def squared_weight(self) -> float | None:
        return 0.5 * math.exp(-self.log_variance.item())


class Laplace(Likelihood):
    """One learnt scale for all pixels, constants kept: D grows as the absolute error."""

    def __init__(self, *, input_shape: tuple[int, ...]) -> None:
        super().__init__(input_shape=input_shape)
        self.log_scale = nn.Parameter(torch.full((1,), math.log(SPREAD)))

    def pixels(self, x: Tensor, x_hat: Tensor) -> Tensor:
        return (x - x_hat).abs() * (-self.log_scale).exp() + self.log_scale + math.log(2.0)


class Bernoulli(Likelihood):
    """Pixels that are 0 or 1; x_hat is the probability of 1, at least 2^-24 away from both."""

    probability = True
    inside = True
    values = (0.0, 1.0)

    def pixels(self, x: Tensor, x_hat: Tensor) -> Tensor:
        p = _certain(x_hat)
        return -(x * p.log() + (1.0 - x) * (1.0 - p).log())


class DiscretisedLogistic(Likelihood):
    """The mass that a logistic has in the bin of a pixel's level, of 256; what lies outside is black's and white's (Salimans et al.
    2017, arXiv:1701.05517). x is read at the nearest level.

    Each pixel has its own learnt scale: what stays black needs another one than the edge of a stroke. The location is
    x_hat + BEYOND logit(x_hat): so that a scale that is wide enough for rare grey leaves black certain.
    """

    probability = True
    inside = True

    def __init__(self, *, input_shape: tuple[int, ...]) -> None:
        super().__init__(input_shape=input_shape)
        self.shape = input_shape
        self.log_scale = nn.Parameter(torch.full((math.prod(input_shape),), math.log(SPREAD)))

    def pixels(self, x: Tensor, x_hat: Tensor) -> Tensor:
        width, inverse = 1.0 / (LEVELS - 1), (-self.log_scale).exp().view(self.shape)
        level = (x * (LEVELS - 1)).round() * width
        location = x_hat + BEYOND * _certain(x_hat).logit()
        upper, lower = ((level + side * width - location) * inverse for side in (0.5, -0.5))
        # sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - exp(a - b)), of which the ends have one factor each
        black, white = level < 0.5 * width, level > 1.0 - 0.5 * width
        inner = (-torch.expm1(-width * inverse)).log()
        zero = torch.zeros_like(location)
        log_mass = torch.where(white, zero, nnf.logsigmoid(upper)) + torch.where(black, zero, nnf.logsigmoid(-lower))
        return -(log_mass + torch.where(black | white, zero, inner))


def _certain(p: Tensor) -> Tensor:
    """Probabilities away from 0 and 1; gradients pass as if they were not moved."""
    return p + (p.clamp(CERTAIN, 1.0 - CERTAIN) - p).detach()


BUILT_IN: Mapping[str, type[Likelihood]] = MappingProxyType(
    {
        "gaussian": Gaussian,
        "gaussian-learnt": LearntGaussian,
        "bernoulli": Bernoulli,
        "discretised-logistic": DiscretisedLogistic,
        "laplace": Laplace,
    }
)
"""Likelihoods by the name that needs no module."""
DEFAULT = Gaussian(input_shape=())


def likelihood_of(model: Any) -> Likelihood:
    """The likelihood that a model has as its attribute; without one the Gaussian of variance 1/2."""
    found: Likelihood = getattr(model, "likelihood", DEFAULT)
    return found


def with_likelihood(model: Any, config: ModelConfig, input_shape: tuple[int, ...]) -> Any:
    """The model with the likelihood that `config` names.

    Raises:
        UsageError: model.likelihood; there is none of this name, it cannot be built, or the model has one of its own.
    """
    return with_part(model, config, "likelihood", Likelihood, BUILT_IN, input_shape=input_shape)


def check_likelihood(model: Any, name: str, x: Tensor) -> None:
    """Look at D of a new model and examples x (N, *input_shape); `name` is the likelihood's.

    Raises:
        UsageError: model.likelihood; x_hat leaves [0, 1], or D is not N finite numbers with a gradient in x_hat.
    """
    likelihood, x_hat = likelihood_of(model), model.decode(model.encode(x)[0]).detach().requires_grad_()
    low, high = x_hat.min().item(), x_hat.max().item()
    fix = f"needs reconstructions in [0, 1], but decode returns {low:.3g} to {high:.3g}; end the decoder with a sigmoid"
    require(not likelihood.inside or 0.0 <= low <= high <= 1.0, "model.likelihood", name, fix)
    if isinstance(likelihood, tuple(BUILT_IN.values())):
        return
    with on_trial("likelihood", name, f"fails for x and x_hat of shape {tuple(x.shape)}"):
        D = likelihood(x, x_hat)
        sound = D.shape == (len(x),) and bool(torch.isfinite(D).all())
        sound = sound and D.requires_grad and torch.autograd.grad(D.sum(), x_hat, allow_unused=True)[0] is not None
    fix = f"gives {tuple(D.shape)} for {len(x)} examples; `pixels` must give finite numbers of x's shape, with a gradient in x_hat"
    require(sound, "model.likelihood", name, fix)
    unit = likelihood.unit
    require(isinstance(unit, str), "model.likelihood", name, f"has the unit {unit!r}; give a word, such as nats")


def check_support(model: Any, name: str, *examples: np.ndarray) -> None:
    """Refuse examples (N, ...) that the model's likelihood cannot have, whose name is `name`.

    Raises:
        UsageError: model.likelihood.
    """
    for x in examples:
        with on_trial("likelihood", name, "fails for the data"):
            fault = likelihood_of(model).fault(x)
        require(fault is None, "model.likelihood", name, str(fault))
