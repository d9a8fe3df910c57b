"""R, D and C per example: the one definition, for training and for measuring (eqs. 1 and 4)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rayfe.data.randomness import normal_of
from rayfe.model.likelihood import likelihood_of
from rayfe.model.marginal import Marginal, encoded
from rayfe.model.task import Task, task_of


class Noise(NamedTuple):
    """Standard normal draws for the encoder."""

    decoder: Tensor
    """(draws, N, latent): draws of z that are decoded."""
    head: Tensor
    """(draws, N, latent): draws of z that are classified."""


class PerExample(NamedTuple):
    """Functionals of each example, (N,), averaged over the draws of z."""

    R: Tensor
    D: Tensor
    C: Tensor
    """In training each loss times its price, where losses have prices."""
    score: Tensor
    """The task's score of the mean prediction over draws; NaN: it has none."""


def rate(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(e(z|x) || N(0, I)) in closed form (1); mean and log-variance (N, latent) -> nats (N,)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance).sum(-1)


def rate_of(marginal: Marginal, mean: Tensor, log_variance: Tensor, z: Tensor) -> Tensor:
    """E[log e(z|x) - log m(z)] (1), nats (N,): in closed form where m has one, else by the draws z (draws, N, latent)."""
    R = rate(*marginal.in_unit(mean, log_variance))
    return R if marginal.closed else R - marginal.gain(z).mean(0)


def sample(mean: Tensor, log_variance: Tensor, epsilon: Tensor) -> Tensor:
    """z = mean + sigma epsilon for epsilon (draws, N, latent)."""
    return mean + (0.5 * log_variance).exp() * epsilon


class Objective(nn.Module):
    """A model together with its functionals, so that torch.func can treat both as one module."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model: Any = model  # meets protocol.Representation

    def forward(self, x: Tensor, y: Tensor, noise: Noise, predict: bool = True) -> PerExample:
        """Without `predict`, as in training, nothing is said of the predictions: `score` is 0."""
        mean, log_variance, marginal = encoded(self.model, x)
        draws, distortion = noise.decoder.shape[0], likelihood_of(self.model)
        x_hat = self.model.decode(sample(mean, log_variance, noise.decoder).flatten(0, 1))
        if draws == 1:
            D = distortion(x, x_hat)
        else:
            D = distortion(x.repeat(draws, *[1] * (x.dim() - 1)), x_hat).view(draws, -1).mean(0)
        z = sample(mean, log_variance, noise.head)
        task, prediction = task_of(self.model), self.model.classify(z.flatten(0, 1)).view(*z.shape[:2], -1)
        score = mean.new_zeros(len(y))
        if predict:
            score = scored(task, task.mean(prediction.detach()), y)
        R = rate_of(marginal, mean, log_variance, z)
        return PerExample(R=R, D=D, C=task.priced(prediction, y).mean(0), score=score)


def scored(task: Task, prediction: Tensor, y: Tensor) -> Tensor:
    """The task's score of mean predictions (N, outputs), (N,); NaN where it has none."""
    score = task.score(prediction, y)
    return prediction.new_full((len(y),), torch.nan) if score is None else score.to(prediction.dtype)


@torch.no_grad()
def draw_noise(
    generator: torch.Generator, *, n: int, latent: int, decoder_draws: int, head_draws: int, dtype: torch.dtype
) -> Noise:
    """Noise for n examples; the draws come in antithetic pairs where their number is even."""

    def draws(count: int) -> Tensor:
        return _paired(
            torch.randn(_independent(count), n, latent, generator=generator, device=generator.device, dtype=dtype), count
        )

    return Noise(decoder=draws(decoder_draws), head=draws(head_draws))


@torch.no_grad()
def noise_of(
    numbers: Tensor, *, key: int | Tensor, latent: int, decoder_draws: int, head_draws: int, dtype: torch.dtype
) -> Noise:
    """The same as functions of numbers (..., N) and of one key or keys (...): draws (..., draws, N, latent) that every device has."""
    counts = (_independent(decoder_draws), _independent(head_draws))
    columns = normal_of(numbers, sum(counts) * latent, key=key, dtype=dtype)
    epsilon = columns.unflatten(-1, (-1, latent)).movedim(-2, -3).contiguous()
    decoder, head = epsilon.split(counts, dim=-3)
    return Noise(decoder=_paired(decoder, decoder_draws), head=_paired(head, head_draws))


def _independent(count: int) -> int:
    return count if count % 2 else count // 2


def _paired(epsilon: Tensor, count: int) -> Tensor:
    """`count` draws, (..., count, N, latent): these, and their opposites where they are half as many."""
    return epsilon if count % 2 else torch.cat([epsilon, -epsilon], dim=-3)
