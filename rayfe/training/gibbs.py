"""Errors of single draws of weights and z, and what they and S guarantee on new data (`surface.pac_bayes`)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import torch
from torch import Tensor

from rayfe.data.device_path import DeviceExamples, DevicePath, chunks
from rayfe.data.path_sizes import PathSizes
from rayfe.data.randomness import derived_seed, normal_of
from rayfe.model.objective import sample
from rayfe.model.posterior import drawn, information, random_layers, widths_of
from rayfe.model.protocol import Representation
from rayfe.model.task import Classification, task_of
from rayfe.records import Reading, Split, StepKey
from rayfe.records.gibbs import Gibbs
from rayfe.surface.pac_bayes import guarantee
from rayfe.training.drawing import FORWARD

DRAWS = 120_000
"""Independent draws, of all examples together, at least: their error adds 0.002 to a bound of 0.1."""
GUESSES = 2.0
"""Losses are clipped at so many times that of a guess among all classes: the wider the range, the wider the bound."""
PREDICTS = ("encoder", "classifier")
"""Parts that a prediction depends on."""
BESIDE = ("decoder.", "marginal.", "likelihood.", "task.")
"""Those that it does not."""


def is_given(model: Representation, sizes: PathSizes) -> bool:
    """Whether there is a bound: the examples are of one data set that stays and have one class each, and all numbers that a prediction
    depends on are random weights. A parameter that is none would have infinite S, and batch-norm's statistics know the data."""
    if sizes.target is not None or not isinstance(task_of(model), Classification):
        return False
    layers = [layer for part in PREDICTS for layer in random_layers(model, part).values()]
    random = {id(value) for layer in layers for value in layer.parameters()}
    own = [*model.named_parameters(), *model.named_buffers()]  # type: ignore[attr-defined]
    return bool(layers) and all(id(value) in random for name, value in own if not name.startswith(BESIDE))


def draws_of(examples: int) -> int:
    """Draws of each of so many examples."""
    return -(-DRAWS // examples)


def cost(examples: int, head: float) -> float:
    """Training examples that reading `examples` counts as: half a forward pass encodes; `head`: that of `measure.head_share`."""
    return examples * draws_of(examples) * FORWARD * (0.5 + head)


def with_gibbs(model: Representation, path: DevicePath, reading: Reading, key: StepKey, *, chunk: int) -> Reading:
    """The reading with the errors of single draws, where there is a bound of them.

    The bounds of all steps of a trajectory hold at once with probability 1 - DELTA, for each of the two losses: step k has
    1 / ((k + 1) (k + 2)) of what the draws may be wrong by.
    """
    if reading.split not in (Split.TRAIN, Split.VALIDATION) or not is_given(model, path.sizes):
        return reading
    wrong, loss = _means(model, path, chunk=chunk, key=derived_seed(key.seed, reading.split, "gibbs", key.step))
    N = len(wrong)
    clip, root = _clip(model, path.strata[0].examples(slice(0, 1), 0.0).x), math.sqrt(N)
    found = Gibbs(
        error=float(wrong.mean()),
        C=clip * float(loss.mean()),
        error_se=float(wrong.std()) / root,
        C_se=clip * float(loss.std()) / root,
    )
    if reading.split is Split.TRAIN:
        own = {name: value.detach().double() for name, value in model.named_parameters()}  # type: ignore[attr-defined]
        S = sum(float(information(model, part, own)) for part in PREDICTS)
        share = 1.0 / ((key.step + 1) * (key.step + 2))
        bounds = [guarantee(float(risk.mean()), draws=N * draws_of(N), S=S, N=N, share=share).bound for risk in (wrong, loss)]
        found = dataclasses.replace(found, S=S, error_bound=bounds[0], C_bound=clip * bounds[1])
    return dataclasses.replace(reading, gibbs=found)


@torch.no_grad()
def _clip(model: Representation, x: Tensor) -> float:
    """Where losses are clipped, nats."""
    classes = model.classify(model.encode(x[:1])[0]).shape[-1]
    return GUESSES * math.log(classes)


@torch.no_grad()
def _means(model: Representation, path: DevicePath, *, chunk: int, key: int) -> tuple[Tensor, Tensor]:
    """Of each example, (N,) float64 in [0, 1], the mean over its draws: whether the answer is wrong, and the clipped loss by its range.

    Each draw of an example has weights of its own, so all are independent.
    """
    (stratum,) = path.strata
    count, parts = draws_of(len(stratum)), []
    for rows in chunks(len(stratum), chunk):
        examples = stratum.examples(rows, 0.0)
        drawn_ = [torch.stack(one) for one in zip(*_draws(model, examples, count, key), strict=True)]
        parts.append([values.mean(0) for values in drawn_])
    wrong, loss = (torch.cat(part) for part in zip(*parts, strict=True))
    return wrong, loss


def _draws(model: Representation, examples: DeviceExamples, count: int, key: int) -> Iterator[tuple[Tensor, Tensor]]:
    """`count` times, with other weights and another z each time: whether the answers are wrong, and the clipped loss by its range, (N,)."""
    widths, task, clip = widths_of(model), task_of(model), _clip(model, examples.x)
    columns = (widths.encoder, widths.latent, widths.classifier)
    for draw in range(count):
        noise = normal_of(examples.number, sum(columns), key=derived_seed(key, draw), dtype=examples.x.dtype)
        encoder, epsilon, classifier = noise.split(columns, -1)
        with drawn(model, "encoder", encoder):
            mean, log_variance = model.encode(examples.x)
        with drawn(model, "classifier", classifier):
            prediction = model.classify(sample(mean, log_variance, epsilon))
        wrong = (prediction.argmax(-1) != examples.y).double()
        yield wrong, task.loss(prediction[None], examples.y)[0].double().clamp(0.0, clip) / clip
