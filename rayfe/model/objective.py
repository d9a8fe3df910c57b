"""R, D and C per example: the one definition, for training and for measuring (eqs. 1 and 4)."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rayfe.data.randomness import normal_of
from rayfe.model.likelihood import likelihood_of
from rayfe.model.marginal import Marginal, encoded
from rayfe.model.posterior import Widths, drawn
from rayfe.model.task import Task, task_of


class Noise(NamedTuple):
    """Standard normal draws: columns for z, and after them those for random weights of what z is given to (`Widths`)."""

    decoder: Tensor
    """(draws, N, latent + decoder): draws of z that are decoded."""
    head: Tensor
    """(draws, N, latent + classifier): draws of z that are classified."""
    encoder: Tensor = torch.empty(1, 0, 0)
    """(1, N, encoder): for random weights of the encoder; examples are encoded once."""


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
        with drawn(self.model, "encoder", noise.encoder[0]):
            mean, log_variance, marginal = encoded(self.model, x)
        draws, distortion = noise.decoder.shape[0], likelihood_of(self.model)
        epsilon, units = apart(noise.decoder, mean.shape[-1])
        with drawn(self.model, "decoder", units):
            x_hat = self.model.decode(sample(mean, log_variance, epsilon).flatten(0, 1))
        if draws == 1:
            D = distortion(x, x_hat)
        else:
            D = distortion(x.repeat(draws, *[1] * (x.dim() - 1)), x_hat).view(draws, -1).mean(0)
        epsilon, units = apart(noise.head, mean.shape[-1])
        z = sample(mean, log_variance, epsilon)
        with drawn(self.model, "classifier", units):
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


def apart(noise: Tensor, latent: int) -> tuple[Tensor, Tensor]:
    """Of draws (draws, N, latent + units) those of z, (draws, N, latent), and those of random weights, (draws N, units)."""
    return noise[..., :latent], noise[..., latent:].flatten(-3, -2)


@torch.no_grad()
def draw_noise(
    generator: torch.Generator, *, n: int, widths: Widths, decoder_draws: int, head_draws: int, dtype: torch.dtype
) -> Noise:
    """Noise for n examples; the draws come in antithetic pairs where their number is even."""

    def draws(count: int, columns: int) -> Tensor:
        if not columns:  # nothing is launched on a device
            return torch.empty(count, n, 0, device=generator.device, dtype=dtype)
        return torch.randn(count, n, columns, generator=generator, device=generator.device, dtype=dtype)

    return Noise(
        decoder=_paired(draws(_independent(decoder_draws), widths.latent + widths.decoder), decoder_draws),
        head=_paired(draws(_independent(head_draws), widths.latent + widths.classifier), head_draws),
        encoder=draws(1, widths.encoder),
    )


@torch.no_grad()
def noise_of(
    numbers: Tensor, *, key: int | Tensor, widths: Widths, decoder_draws: int, head_draws: int, dtype: torch.dtype
) -> Noise:
    """The same as functions of numbers (..., N) and of one key or keys (...): draws (..., draws, N, columns) that every device has."""
    counts = (_independent(decoder_draws), _independent(head_draws), 1)
    columns = (widths.latent + widths.decoder, widths.latent + widths.classifier, widths.encoder)
    sizes = [count * each for count, each in zip(counts, columns, strict=True)]
    parts = normal_of(numbers, sum(sizes), key=key, dtype=dtype).split(sizes, dim=-1)
    decoder, head, encoder = (
        part.unflatten(-1, (count, each)).movedim(-2, -3).contiguous()
        for part, count, each in zip(parts, counts, columns, strict=True)
    )
    return Noise(decoder=_paired(decoder, decoder_draws), head=_paired(head, head_draws), encoder=encoder)


def _independent(count: int) -> int:
    return count if count % 2 else count // 2


def _paired(epsilon: Tensor, count: int) -> Tensor:
    """`count` draws, (..., count, N, columns): these, and their opposites where they are half as many."""
    return epsilon if count % 2 else torch.cat([epsilon, -epsilon], dim=-3)
