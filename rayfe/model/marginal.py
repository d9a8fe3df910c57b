"""The marginal m(z) that the rate R = E[log e(z|x) - log m(z)] (1) is relative to: N(0, I), or a part of the model that is learnt."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from rayfe.config import ModelConfig, require
from rayfe.model.beside import beside
from rayfe.model.parts import with_part

COMPONENTS = 64
"""Gaussians of a mixture, and pseudo-inputs of a VampPrior."""
SPREAD = 0.5
"""Standard deviation of a new mixture's means."""
BRIGHT = 0.2
"""Largest entry of new pseudo-inputs."""
FLOW, UNITS = 3, 64
"""Transformations of a flow, and units in each of the two hidden layers of one."""
LOG_2PI = math.log(2.0 * math.pi)


class Marginal(nn.Module):
    """m(z), called as `Class(latent=..., input_shape=...)`; its parameters are trained with the model's.

    R is that of the Gaussian of its `moments`, in closed form, less what m gains on that by the draws of z.
    """

    closed: ClassVar[bool] = False
    """Whether m is that Gaussian itself: R has no draws then, and each dimension of z a rate of its own."""

    def log_density(self, z: Tensor) -> Tensor:
        """log m(z), normalised; z (draws, N, latent) -> nats (draws, N)."""
        raise NotImplementedError

    def draw(self, epsilon: Tensor, generator: torch.Generator) -> Tensor | None:
        """z ~ m, (count, latent), from standard normal `epsilon` (count, latent); None: no way to draw is known."""
        return None

    def moments(self) -> tuple[Tensor, Tensor] | None:
        """Mean and log-variance (latent,) of a Gaussian near m; None: of N(0, I).

        Where they move with m, R does not change when z, m and what takes z in are scaled, not even by its noise.
        """
        return None

    def in_unit(self, mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (N, latent) of e(z|x) in units in which the Gaussian of the moments is N(0, I)."""
        moments = self.moments()
        if moments is None:
            return mean, log_variance
        return (mean - moments[0]) * (-0.5 * moments[1]).exp(), log_variance - moments[1]

    def of_unit(self, z: Tensor) -> Tensor:
        """z (..., latent) from those units."""
        moments = self.moments()
        return z if moments is None else moments[0] + (0.5 * moments[1]).exp() * z

    def gain(self, z: Tensor) -> Tensor:
        """log m(z) less that of the Gaussian of the moments; z (draws, N, latent) -> nats (draws, N)."""
        return self.log_density(z) - log_gaussian(z, self.moments())

    def inputs(self) -> Tensor | None:
        """Examples (K, *input_shape) whose encodings the marginal needs (`through`)."""
        return None

    def through(self, mean: Tensor, log_variance: Tensor) -> Marginal:
        """The marginal, given the encodings (K, latent) of its `inputs`."""
        return self


class Standard(Marginal):
    """N(0, I)."""

    closed = True

    def log_density(self, z: Tensor) -> Tensor:
        return log_gaussian(z, None)

    def draw(self, epsilon: Tensor, generator: torch.Generator) -> Tensor | None:
        return epsilon


class Gaussian(Marginal):
    """A Gaussian with learnt mean and variance in each dimension. It gains nothing where the encoder's last layer scales and shifts z."""

    closed = True

    def __init__(self, *, latent: int, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(latent))
        self.log_variance = nn.Parameter(torch.zeros(latent))

    def log_density(self, z: Tensor) -> Tensor:
        return log_gaussian(z, self.moments())

    def draw(self, epsilon: Tensor, generator: torch.Generator) -> Tensor | None:
        return self.mean + (0.5 * self.log_variance).exp() * epsilon

    def moments(self) -> tuple[Tensor, Tensor] | None:
        return self.mean, self.log_variance


class Mixture(Marginal):
    """COMPONENTS Gaussians with diagonal covariances and learnt weights, means and variances."""

    def __init__(self, *, latent: int, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(COMPONENTS))
        self.means = nn.Parameter(SPREAD * torch.randn(COMPONENTS, latent))
        self.log_variances = nn.Parameter(torch.zeros(COMPONENTS, latent))

    def log_density(self, z: Tensor) -> Tensor:
        return log_mixture(z, self.logits.log_softmax(0), self.means, self.log_variances)

    def draw(self, epsilon: Tensor, generator: torch.Generator) -> Tensor | None:
        return _drawn(epsilon, generator, self.logits.softmax(0), self.means, self.log_variances)

    def moments(self) -> tuple[Tensor, Tensor] | None:
        return _moments(self.logits.softmax(0), self.means, self.log_variances)


class Vamp(Marginal):
    """The mean of e(z|u) over COMPONENTS learnt pseudo-inputs u (VampPrior, Tomczak and Welling 2018)."""

    def __init__(self, *, latent: int, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.pseudo = nn.Parameter(BRIGHT * torch.rand(COMPONENTS, *input_shape))

    def log_density(self, z: Tensor) -> Tensor:
        raise TypeError("a VampPrior has a density through an encoder alone: marginal_of(model)")

    def inputs(self) -> Tensor | None:
        return self.pseudo

    def through(self, mean: Tensor, log_variance: Tensor) -> Marginal:
        return Encodings(mean, log_variance)


class Encodings(Marginal):
    """The mean of given Gaussians (K, latent)."""

    def __init__(self, mean: Tensor, log_variance: Tensor) -> None:
        super().__init__()
        self._mean, self._log_variance = mean, log_variance
        self._shares = mean.new_full((len(mean),), 1.0 / len(mean))

    def log_density(self, z: Tensor) -> Tensor:
        return log_mixture(z, self._shares.log(), self._mean, self._log_variance)

    def draw(self, epsilon: Tensor, generator: torch.Generator) -> Tensor | None:
        return _drawn(epsilon, generator, self._shares, self._mean, self._log_variance)

    def moments(self) -> tuple[Tensor, Tensor] | None:
        return _moments(self._shares, self._mean, self._log_variance)


class Flow(Marginal):
    """A masked autoregressive flow (Papamakarios et al. 2017), by zuko."""

    def __init__(self, *, latent: int, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        found = importlib.util.find_spec("zuko") is not None
        require(found, "model.marginal", "flow", "needs the package zuko: pip install 'rayfe[flow]'")
        import zuko

        self.flow = zuko.flows.MAF(latent, transforms=FLOW, hidden_features=(UNITS, UNITS))

    def log_density(self, z: Tensor) -> Tensor:
        density: Tensor = self.flow().log_prob(z)
        return density

    def draw(self, epsilon: Tensor, generator: torch.Generator) -> Tensor | None:
        z: Tensor = self.flow().transform.inv(epsilon)
        return z


def log_gaussian(z: Tensor, moments: tuple[Tensor, Tensor] | None) -> Tensor:
    """log density of a Gaussian, by mean and log-variance (latent,) or N(0, I), at z (draws, N, latent): (draws, N)."""
    if moments is None:
        return -0.5 * (z.square() + LOG_2PI).sum(-1)
    mean, log_variance = moments
    return -0.5 * ((z - mean).square() * (-log_variance).exp() + log_variance + LOG_2PI).sum(-1)


def log_mixture(z: Tensor, log_weights: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    """log density of a mixture of K Gaussians, weights (K,), means and log-variances (K, latent), at z (draws, N, latent): (draws, N).

    Each logarithm is linear in z and z^2, so it is one product of matrices: differences (draws, N, K, latent) would take more
    memory than all else in an update. z and the means are seen from the components' common mean, so that little is lost to rounding.
    """
    center = means.mean(0)
    z, means, precision = z - center, means - center, (-log_variances).exp()
    constant = log_weights - 0.5 * (means.square() * precision + log_variances + LOG_2PI).sum(-1)
    factors = torch.cat([means * precision, -0.5 * precision], -1)
    return torch.logsumexp(torch.cat([z, z.square()], -1) @ factors.T + constant, dim=-1)


def _moments(weights: Tensor, means: Tensor, log_variances: Tensor) -> tuple[Tensor, Tensor]:
    center = weights @ means
    return center, (weights @ ((means - center).square() + log_variances.exp())).log()


def _drawn(epsilon: Tensor, generator: torch.Generator, weights: Tensor, means: Tensor, log_variances: Tensor) -> Tensor:
    chosen = torch.multinomial(weights, len(epsilon), replacement=True, generator=generator)
    return means[chosen] + (0.5 * log_variances[chosen]).exp() * epsilon


STANDARD = Standard()
"""It has no parameters, so that all models may share it."""
BUILT_IN: Mapping[str, type[Marginal]] = MappingProxyType(
    {"standard": Standard, "gaussian": Gaussian, "mixture": Mixture, "vamp": Vamp, "flow": Flow}
)
"""Marginals by the name that needs no module."""


class Encoded(NamedTuple):
    """e(z|x), each (N, latent), and the marginal that its rate is relative to."""

    mean: Tensor
    log_variance: Tensor
    marginal: Marginal


def encoded(model: Any, x: Tensor) -> Encoded:
    """e(z|x) of examples x (N, *input_shape), and m(z), which may go through the encoder beside them."""
    own: Marginal = getattr(model, "marginal", STANDARD)
    given = own.inputs()
    if given is None:
        mean, log_variance = model.encode(x)
        return Encoded(mean, log_variance, own)
    with beside(model, len(x)):
        means, log_variances = (value.split([len(x), len(given)]) for value in model.encode(torch.cat([x, given])))
    return Encoded(means[0], log_variances[0], own.through(means[1], log_variances[1]))


def marginal_of(model: Any) -> Marginal:
    """m(z) of a model in evaluation mode."""
    own: Marginal = getattr(model, "marginal", STANDARD)
    given = own.inputs()
    return own if given is None else own.through(*model.encode(given))


def with_marginal(model: Any, config: ModelConfig, input_shape: tuple[int, ...]) -> Any:
    """The model with the marginal that `config` names.

    Raises:
        UsageError: model.marginal; there is none of this name, it cannot be built, or the model has one of its own.
    """
    return with_part(model, config, "marginal", Marginal, BUILT_IN, latent=model.latent, input_shape=input_shape)
