"""Answers requests in this process with torch; also what a Ray evaluator actor does inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from rayfe.backend.base import Backend, join_replicas, split_replicas
from rayfe.config import RunConfig
from rayfe.data.batches import DeviceExamples, derived_seed, generator, to_device
from rayfe.data.datasets import Dataset
from rayfe.equilibrate.measure import FORWARD, read, read_draws, reading_cost, recompute_statistics
from rayfe.equilibrate.replicas import load_weights, make_replicas, weights_of
from rayfe.equilibrate.schedule import first_rate, walk_rate
from rayfe.equilibrate.settle import find_shift
from rayfe.equilibrate.train import Probe, train
from rayfe.model.objective import draw_noise, training_cost
from rayfe.model.protocol import Representation, build, input_shape
from rayfe.records import (
    Equilibrated,
    EquilibrateRequest,
    Measured,
    MeasureRequest,
    Outcome,
    Settled,
    SettleRequest,
    Split,
    Weights,
)
from rayfe.weights import along

FIRST_READINGS = 50
"""Probe readings during a first equilibrium (Fig. 4a)."""


class InlineBackend(Backend):
    """Models of `config` on the examples of `dataset`, which are copied to the device once."""

    def __init__(self, config: RunConfig, dataset: Dataset, *, dtype: torch.dtype = torch.float32) -> None:
        torch.set_num_threads(config.threads)
        cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
        self._device = torch.device("cuda" if cuda else "cpu")
        self._config = config
        self._dtype = dtype
        self._shape = input_shape(config.model, dataset.input_shape)
        self._classes = dataset.classes
        self._data = {
            split: to_device(examples, self._device, dtype, self._shape)
            for split, examples in ((Split.TRAIN, dataset.train), (Split.VALIDATION, dataset.validation))
        }

    # --- equilibrate --------------------------------------------------------------------------------------------------

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        parts = split_replicas(request, self._config.replicas_per_evaluator)
        return join_replicas([self._equilibrate(part) for part in parts])

    def _equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        config, key, data = self._config.equilibration, request.key, self._data[Split.TRAIN]
        epochs = config.first_epochs if request.first else config.epochs
        updates = max(1, round(epochs * len(data) / config.batch))
        models = [self._model(replica.weights, seed=key.seed) for replica in request.replicas]
        replicas = make_replicas(models, self._device)
        probe = self._probe(request, updates)
        phase = "first" if request.first else "walk"
        trained = train(
            replicas,
            [replica.point for replica in request.replicas],
            data,
            updates=updates,
            learning_rate=self._learning_rate(first=request.first),
            config=config,
            latent=models[0].latent,
            order=generator(self._device, key.seed, key.trajectory, key.step, key.attempt, phase, "order"),
            noise=generator(self._device, key.seed, key.trajectory, key.step, key.attempt, phase, "noise"),
            preconditioner=request.preconditioner if config.carry_preconditioner else None,
            probe=probe,
        )
        per_update = config.batch * training_cost(config.decoder_draws) * replicas.count
        return Equilibrated(
            outcome=Outcome.OK if trained.finite else Outcome.NONFINITE,
            weights=replicas.weights() if trained.finite else (),
            preconditioner=trained.preconditioner if config.carry_preconditioner else None,
            readings=trained.readings,
            examples=trained.updates * per_update + len(trained.readings) * len(probe.examples) * FORWARD,
        )

    def _learning_rate(self, *, first: bool) -> Callable[[float], float]:
        config = self._config.equilibration
        if first:
            return lambda u: first_rate(u, initial=config.first_learning_rate, schedule=config.first_schedule)
        return lambda u: walk_rate(u, maximum=config.learning_rate)

    def _probe(self, request: EquilibrateRequest, updates: int) -> Probe:
        data, n = self._data[Split.TRAIN], min(self._config.measure.probe_size, len(self._data[Split.TRAIN]))
        rows = torch.linspace(0, len(data) - 1, n, device=self._device).long()
        noise = draw_noise(
            generator(self._device, request.key.seed, "probe"),
            n=n,
            latent=self._model(None, seed=0).latent,
            decoder_draws=2,
            head_draws=8,
            dtype=self._dtype,
        )
        readings = min(FIRST_READINGS if request.first else 1, updates)  # and one at the end
        return Probe(
            examples=DeviceExamples(x=data.x[rows], y=data.y[rows]),
            noise=noise,
            updates=frozenset(i * updates // readings for i in range(readings)),
            names=tuple(replica.name for replica in request.replicas),
        )

    # --- settle and measure -------------------------------------------------------------------------------------------

    def settle(self, request: SettleRequest) -> Settled:
        data, config = self._data[Split.TRAIN], self._config.measure

        def loss(shift: float) -> float:
            model = self._model(along(request.weights, request.tangent, shift), seed=0)
            self._recompute(model, request.key.seed, "settle", decode=False)
            rng = generator(self._device, request.key.seed, Split.TRAIN, "settle")
            draws = read_draws(model, data, head_draws=config.head_draws, chunk=config.chunk, rng=rng, decode=False)
            return float(draws.mean.C.double().mean())

        root = find_shift(
            loss, target=request.C_target, slope=request.C_gamma, lower=request.shift_min, upper=request.shift_max
        )
        statistics = len(data) * FORWARD * 0.5
        return Settled(
            shift=root.shift,
            C_before=root.before,
            C_after=root.after,
            weights=along(request.weights, request.tangent, root.shift),
            examples=root.evaluations * (statistics + reading_cost(len(data), decode=False)),
        )

    def measure(self, request: MeasureRequest) -> Measured:
        readings, weights, examples = [], [], 0.0
        for replica in request.replicas:
            model = self._model(replica.weights, seed=request.key.seed)
            examples += self._recompute(model, request.key.seed, request.purpose)
            weights.append(weights_of(model))
            for split in request.splits:
                data = self._data[split]
                readings.append(
                    read(
                        model,
                        data,
                        replica=replica.name,
                        split=split,
                        point=replica.point,
                        config=self._config.measure,
                        rng=generator(self._device, request.key.seed, split, request.purpose),
                    )
                )
                examples += reading_cost(len(data))
        return Measured(readings=tuple(readings), weights=tuple(weights), examples=examples)

    def _recompute(self, model: Representation, seed: int, purpose: str, *, decode: bool = True) -> float:
        rng = generator(self._device, seed, "statistics", purpose)
        return recompute_statistics(model, self._data[Split.TRAIN].x, chunk=self._config.measure.chunk, rng=rng, decode=decode)

    def _model(self, weights: Weights | None, *, seed: int) -> Any:
        initial = derived_seed(seed, "initial weights")
        model = build(self._config.model, input_shape=self._shape, classes=self._classes, seed=initial)
        if weights is not None:
            load_weights(model, weights)
        return model.to(self._device, self._dtype)
