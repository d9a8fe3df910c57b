"""A stored encoder with a new decoder and a new classifier."""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn

from rayfe.model.likelihood import Likelihood, likelihood_of
from rayfe.model.marginal import STANDARD, Marginal
from rayfe.model.task import Task


class FixedEncoder(nn.Module):
    """A model of the protocol whose encoder is another model's, which no training changes: e(z|x) is one given channel.

    The encoder is in evaluation mode, also in training: its batch-norm layers normalise by the statistics of all training examples,
    and its dropout is off. The marginal is the encoder's and does not move either, so that R is a constant. Of `model` the decoder and
    the classifier are used and trained, with what says what D and C are: its likelihood and its task.
    """

    def __init__(self, model: Any, encoder: Any) -> None:
        super().__init__()
        self.model, self.encoder = model, encoder.requires_grad_(False).eval()
        used = frozenset.union(*after_encoder(model))
        for name, value in model.named_parameters():
            value.requires_grad_(name in used or name.partition(".")[0] in ("likelihood", "task"))

    @property
    def latent(self) -> int:
        return self.model.latent

    @property
    def marginal(self) -> Marginal:
        return getattr(self.encoder, "marginal", STANDARD)

    @property
    def likelihood(self) -> Likelihood:
        return likelihood_of(self.model)

    @property
    def task(self) -> Task | None:
        return getattr(self.model, "task", None)

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


@torch.enable_grad()
def after_encoder(model: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the parameters that training changes on which the decoder depends, and those on which the classifier does.

    Where they have none in common, decoder and classifier of a fixed encoder are two problems, and lam and gamma change neither.
    Leaves the model in evaluation mode.
    """
    own = {name: value for name, value in model.eval().named_parameters() if value.requires_grad}
    like = next(iter(model.parameters()))
    z = torch.linspace(-1.0, 1.0, 2 * model.latent, dtype=like.dtype, device=like.device).view(2, -1)

    def reached(output: Tensor) -> frozenset[str]:
        if not output.requires_grad:  # all that it depends on is frozen
            return frozenset()
        found = torch.autograd.grad(output.sum(), [*own.values()], allow_unused=True)
        return frozenset(name for name, gradient in zip(own, found, strict=True) if gradient is not None)

    return reached(model.decode(z)), reached(model.classify(z))
