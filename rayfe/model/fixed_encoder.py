"""A stored encoder with a new decoder and a new classifier."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from rayfe.model.protocol_checks import methods_on


class FixedEncoder(nn.Module):
    """A model of the protocol whose encoder is another model's, which no training changes: e(z|x) is one given channel.

    The encoder is in evaluation mode, also in training: its batch-norm layers normalise by the statistics of all training examples,
    and its dropout is off. `model` is trained but for its own encoder, which nothing asks.
    """

    def __init__(self, model: Any, encoder: Any) -> None:
        super().__init__()
        self.model, self.encoder = model, encoder.requires_grad_(False).eval()

    @property
    def latent(self) -> int:
        return self.model.latent

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.encoder.eval()
        return self

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.encoder.encode(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.model.decode(z)

    def classify(self, z: Tensor) -> Tensor:
        return self.model.classify(z)


def shared_after_encoder(model: Any, x: Tensor) -> list[str]:
    """Names of the parameters on which both the decoder and the classifier depend, and which training changes; x (N, *input_shape).

    Where there are none, decoder and classifier of a fixed encoder are two problems, and lam and gamma change neither.
    """
    own = {name: value for name, value in model.named_parameters() if value.requires_grad}
    reached = []
    for call, given in [(call, given) for method, call, given in methods_on(model, x) if method != "encode"]:
        output = call(given).sum()
        found = torch.autograd.grad(output, [*own.values()], allow_unused=True) if output.requires_grad else [None] * len(own)
        reached.append({name for name, gradient in zip(own, found, strict=True) if gradient is not None})
    return sorted(set.intersection(*reached))
