"""Random weights: a factorised Gaussian p(theta | data) over the weights of chosen parts of a model, and its information S (5), (12).

S = KL(p(theta | data) || m(theta)) is in closed form. The prior m has independent weights N(0, 1 / n), n the inputs of a weight's
layer: about what a new layer has, and a function of the architecture alone. Outputs are drawn by local reparametrisation (Kingma,
Salimans and Welling 2015): each of an example and a draw has weights of its own, so that examples do not share their noise.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as nnf
from torch import Tensor, nn

from rayfe.config import ModelConfig, require
from rayfe.model.mlp import Logits

PARTS = ("encoder", "decoder", "classifier")
"""Attributes of a model that may have random weights."""
RANDOM: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"none": (), "classifier": ("classifier",), "decoder": ("decoder",), "all": PARTS}
)
"""Parts whose weights are random, by `model.posterior`."""
NEW_DEVIATION = 0.1
"""Standard deviation of the weights of a new posterior, in those of the prior."""
TINY = 1e-20
"""Added to variances of outputs: a root has no slope at 0, where a layer without bias puts examples of zeros."""
MOST_COLUMNS = 21_201
"""Dimensions that torch's Sobol points have."""
BatchNorm = nn.modules.batchnorm._BatchNorm


class GaussianLinear(nn.Linear):
    """A linear layer with independent Gaussian weights: means `weight` and `bias`, log standard deviations `*_log_deviation`.

    Within `drawn` outputs for x (M, in) are normal with mean W x + b and variance sum_i x_i^2 s_i^2 + s_b^2, independent of each
    other; elsewhere they are W x + b.
    """

    def __init__(self, layer: nn.Linear) -> None:
        """Has the weights of `layer` as its means."""
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        for name in ("weight", "bias"):
            setattr(self, name, getattr(layer, name))
        self.relative = isinstance(layer, Logits)
        """Whether outputs are without what they have in common, which is linear in the weights, so that noise loses it, too."""
        new = math.log(NEW_DEVIATION) + self.log_deviation
        self.weight_log_deviation = nn.Parameter(torch.full_like(layer.weight, new))
        if layer.bias is not None:
            self.bias_log_deviation: nn.Parameter | None = nn.Parameter(torch.full_like(layer.bias, new))
        else:
            self.register_parameter("bias_log_deviation", None)
        self.noise: Tensor | None = None
        """(M, out) standard normal, while there is some."""

    @property
    def log_deviation(self) -> float:
        """Of the prior."""
        return -0.5 * math.log(self.in_features)

    def forward(self, input: Tensor) -> Tensor:
        mean = self._mean(input)
        if self.noise is None:
            return mean
        spread = None if self.bias_log_deviation is None else (2.0 * self.bias_log_deviation).exp()
        variance = nnf.linear(input.square(), (2.0 * self.weight_log_deviation).exp(), spread)
        moved = (variance + TINY).sqrt() * self.noise
        return mean + (moved - moved.mean(-1, keepdim=True) if self.relative else moved)

    def _mean(self, input: Tensor) -> Tensor:
        if not self.relative:
            return nnf.linear(input, self.weight, self.bias)
        return nnf.linear(input, self.weight - self.weight.mean(0), self.bias - self.bias.mean())


@dataclass(frozen=True, kw_only=True, slots=True)
class Widths:
    """Columns of noise that a model needs for each example and draw."""

    latent: int
    """Dimensions of z."""
    encoder: int = 0
    """Outputs of layers with random weights in the encoder."""
    decoder: int = 0
    classifier: int = 0


def widths_of(model: Any) -> Widths:
    """What noise a model needs; a model without `with_posterior` needs that of z alone."""
    units = {part: sum(layer.out_features for layer in random_layers(model, part).values()) for part in PARTS}
    return Widths(latent=model.latent, **units)


def is_random(model: Any) -> bool:
    """Whether some of its weights are."""
    return bool(getattr(model, "random_parts", ()))


def random_layers(model: Any, part: str) -> dict[str, GaussianLinear]:
    """The layers of a part with random weights by their names in the model, in the order of their noise."""
    if part not in getattr(model, "random_parts", ()):
        return {}
    modules = getattr(model, part).named_modules(prefix=part)
    return {path: module for path, module in modules if isinstance(module, GaussianLinear)}


@contextlib.contextmanager
def drawn(model: Any, part: str, noise: Tensor) -> Iterator[None]:
    """Within the block each row that the part is given has weights of its own, by `noise` (M, width of the part).

    With a width of 0, and outside of the block, weights are their means.
    """
    if noise.shape[-1] == 0:
        yield
        return
    layers, start = [*random_layers(model, part).values()], 0
    try:
        for layer in layers:
            layer.noise = noise[..., start : start + layer.out_features]
            start += layer.out_features
        yield
    finally:
        for layer in layers:
            layer.noise = None


def information(model: Any, part: str | None = None, values: Mapping[str, Tensor] | None = None) -> Tensor:
    """S, nats: the sum over independent weights of KL(N(mu, s^2) || N(0, 1 / n)) (5), of a part or of all.

    `values` stand in for the model's parameters of the same names; with a first dimension of replicas, S is (replicas,). Without
    random weights it is 0.
    """
    own = dict(model.named_parameters()) if values is None else values
    total = next(iter(own.values())).new_zeros(())
    for one in PARTS if part is None else (part,):
        for path, layer in random_layers(model, one).items():
            for name, dims in (("weight", 2), ("bias", 1)):
                if f"{path}.{name}" in own:
                    mean, spread = own[f"{path}.{name}"], own[f"{path}.{name}_log_deviation"]
                    total = total + divergence(mean, spread - layer.log_deviation, layer.log_deviation).flatten(-dims).sum(-1)
    return total


def divergence(mean: Tensor, log_ratio: Tensor, log_deviation: float) -> Tensor:
    """KL(N(mean, s^2) || N(0, s0^2)) of each, nats, by log_ratio = log(s / s0) and log_deviation = log s0."""
    return 0.5 * ((2.0 * log_ratio).exp() + (mean * math.exp(-log_deviation)).square() - 1.0) - log_ratio


def with_posterior(model: Any, config: ModelConfig) -> Any:
    """The model with random weights in the parts that `config.posterior` names: their linear layers become `GaussianLinear`.

    Raises:
        UsageError: model.posterior; the model has no such part, or there are other parameters or batch-norm in it.
    """
    for part in RANDOM[config.posterior]:
        module = getattr(model, part, None)
        fix = f"needs a module `{part}` of the model, and {config.name} has none; give none, or a model that has"
        require(isinstance(module, nn.Module), "model.posterior", config.posterior, fix)
        assert module is not None
        _check_layers(module, part, config)
        setattr(model, part, _random(module))
    if "encoder" in RANDOM[config.posterior]:
        marginal = getattr(model, "marginal", None)
        fix = "sends examples of its own through the encoder, whose weights are random; give another marginal"
        require(marginal is None or marginal.inputs() is None, "model.marginal", config.marginal, fix)
    if RANDOM[config.posterior]:
        model.random_parts = RANDOM[config.posterior]
        _check_widths(model, config)
    return model


def _random(module: nn.Module) -> nn.Module:
    """The module with random weights in all of its linear layers."""
    if isinstance(module, nn.Linear):
        return GaussianLinear(module)
    for name, child in module.named_children():
        setattr(module, name, _random(child))
    return module


def _check_layers(module: nn.Module, part: str, config: ModelConfig) -> None:
    def refuse(path: str, why: str) -> None:
        name = f"{part}.{path}" if path else part
        require(False, "model.posterior", config.posterior, f"cannot be of {name} of {config.name}: {why}")

    for path, layer in module.named_modules():
        if isinstance(layer, BatchNorm):
            refuse(path, "batch-norm has statistics of the data, which no prior knows; leave it away in this part")
        own = dict(layer.named_parameters(recurse=False))
        if own and type(layer) not in (nn.Linear, Logits):
            refuse(path, f"a {type(layer).__name__} has parameters, and weights are random in torch.nn.Linear alone")
        if own and (layer._forward_hooks or layer._forward_pre_hooks):
            refuse(path, "it has hooks, such as those of weight_norm, which random weights would lose; leave them away")
        if not all(value.requires_grad for value in own.values()):
            refuse(path, "it is frozen, and a posterior is trained")
    if not any(isinstance(layer, nn.Linear) for layer in module.modules()):
        refuse("", "it has no torch.nn.Linear")


def _check_widths(model: Any, config: ModelConfig) -> None:
    """What is classified needs one Sobol point for z and for all units."""
    widths = widths_of(model)
    columns = widths.latent + widths.classifier
    fix = f"has {columns} dimensions of z and units in its classifier, at most {MOST_COLUMNS} can be drawn; give fewer"
    require(columns <= MOST_COLUMNS, "model.posterior", config.posterior, fix)
