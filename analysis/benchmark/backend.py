"""A backend that also answers a training with a moving gamma; all else goes to the one behind it."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

import torch

from analysis.benchmark.constrained import Looks, constrain
from analysis.benchmark.multipliers import make_rule
from analysis.benchmark.requests import Constrained, ConstrainRequest
from rayfe.backend.inline import InlineBackend
from rayfe.backend.models import Models
from rayfe.config import RunConfig
from rayfe.data.device_path import Still, to_device
from rayfe.data.examples import Dataset
from rayfe.data.paths import PathData
from rayfe.data.randomness import derived_seed, generator
from rayfe.records import Outcome, Request, StepKey, Weights
from rayfe.records.backend import Relay
from rayfe.training.batch_norm import recompute_statistics
from rayfe.training.drawing import FORWARD, Effort, drawing_of, head_share
from rayfe.training.measure import read_draws
from rayfe.training.optimizer import left_by, make_optimizer
from rayfe.training.replicas import make_replicas
from rayfe.training.schedule import learning_rate

HEAD_DRAWS = 8
"""Draws of z per example for C in evaluation mode during a training."""
DTYPE = torch.float32


class BenchmarkBackend(Relay):
    """Every method of the benchmark trains and measures here, on the CPU."""

    def __init__(self, config: RunConfig, data: Dataset) -> None:
        self._config, self._device = config, torch.device("cpu")
        self._inner = InlineBackend(config, data, device=self._device)
        self._models = Models(config.model, PathData(kind="still", source=data), self._device, DTYPE)
        self._path = Still(to_device(data.train, self._device, DTYPE, self._models.shape))
        model, example = self._models.new(0).eval(), self._path.strata[0].examples(slice(0, 1), 0.0).x
        self._head = head_share(model, example)
        self._drawing = drawing_of(config.measure, model, example, images=len(self._path))

    def answer(self, request: Request) -> Any:
        return self._constrain(request) if isinstance(request, ConstrainRequest) else self._inner.answer(request)

    def _constrain(self, request: ConstrainRequest) -> Constrained:
        config, key, (replica,) = self._config.equilibration, request.key, request.replicas
        updates = max(1, round(config.epochs * len(self._path) / config.batch))
        rate = learning_rate(config, None, 1.0)
        rates = [rate((update + 0.5) / updates) for update in range(updates)]
        weights = [value / max(rates) for value in rates]
        replicas = make_replicas([self._models.with_weights(replica.weights, seed=key.seed)], self._device)
        optimizer = make_optimizer(replicas, request.preconditioner, config)
        rule = make_rule(optimizer, request.rule, gamma=replica.point.gamma, C=request.C, steps=sum(weights))
        rng = partial(generator, self._device, key.seed, key.trajectory, key.step, key.attempt, "constrain")
        looked: list[float] = []

        def look() -> float:
            C, cost = self._evaluated_C(replicas.weights()[0], key)
            looked.append(cost)
            return C

        ended = constrain(
            replicas,
            optimizer,
            rule,
            self._path.batches(replica.point.t, config.batch, updates=updates, rng=rng("order")),
            rates=rates,
            weights=weights,
            config=config,
            latent=self._config.model.latent,
            noise=rng("noise"),
            lam=replica.point.lam,
            C=request.C,
            ratio=request.ratio,
            decay=request.rule.average,
            looks=Looks(count=request.evaluations, measure=look),
        )
        return Constrained(
            outcome=Outcome.OK if ended.finite else Outcome.NONFINITE,
            weights=replicas.weights() if ended.finite else (),
            preconditioner=left_by(optimizer, replicas) if ended.finite else None,
            readings=(),
            examples=ended.updates * config.batch + sum(looked),
            gamma=rule.gamma,
            ratio=ended.ratio,
        )

    def _evaluated_C(self, weights: Weights, key: StepKey) -> tuple[float, float]:
        """C over the training examples in evaluation mode, with nothing decoded, and the cost in training examples."""
        drawing, effort = dataclasses.replace(self._drawing, head_draws=HEAD_DRAWS), Effort(decode=False)
        model, path, (all_of_it,) = self._models.with_weights(weights, seed=key.seed), self._path, self._path.strata
        names = partial(derived_seed, key.seed, "statistics", "settle")
        cost = FORWARD * recompute_statistics(model, path, 0.0, chunk=drawing.chunk, key=names, decode=False)
        draws = derived_seed(key.seed, key.step, "look", all_of_it.name)
        C = read_draws(model, all_of_it, 0.0, drawing=drawing, key=draws, effort=effort).mean.C
        return float(C.double().mean()), cost + effort.cost(len(path), drawing, self._head)
