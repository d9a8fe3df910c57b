"""The inline backend, which also answers a training with a moving gamma."""

from __future__ import annotations

import dataclasses

from rayfe.backend.inline import InlineBackend
from rayfe.backend.readings import keys_of
from rayfe.benchmark.constrained import Looks, constrain
from rayfe.benchmark.multipliers import make_rule
from rayfe.benchmark.requests import Constrained, ConstrainRequest
from rayfe.data.randomness import generator
from rayfe.model.objective import training_cost
from rayfe.records import Equilibrated, EquilibrateRequest, Outcome, Split, StepKey
from rayfe.training.measure import Effort, read_draws
from rayfe.training.optimizer import left_by, make_optimizer
from rayfe.training.replicas import Replicas

HEAD_DRAWS = 8
"""Draws of z per example for C in evaluation mode during a training."""


class BenchmarkBackend(InlineBackend):
    """Every method of the benchmark trains and measures here."""

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        return self._constrain(request) if isinstance(request, ConstrainRequest) else super().equilibrate(request)

    def _constrain(self, request: ConstrainRequest) -> Constrained:
        config, key, path = self._config.equilibration, request.key, self._paths[Split.TRAIN]
        (replica,) = request.replicas
        annealing = request.annealing
        epochs = annealing.end - annealing.begin if annealing else config.epochs
        batch = config.batch_of(annealed=annealing is not None)
        updates = max(1, round(epochs * len(path) / batch))
        rate = self._learning_rate(annealing)
        rates = [rate((update + 0.5) / updates) for update in range(updates)]
        model = self._models.start(replica, key)
        replicas = self._make_replicas([model], self._device)
        optimizer = make_optimizer(replicas, request.preconditioner, config, renews=annealing is not None)
        first = round(request.hold * updates)
        weights = [0.0] * first + [value / max(rates) for value in rates[first:]]
        rule = make_rule(optimizer, request.rule, gamma=replica.point.gamma, C=request.C, steps=sum(weights))
        names = (key.seed, key.trajectory, key.step, key.attempt, "constrain")
        cost = _Cost()
        ended = constrain(
            replicas,
            optimizer,
            rule,
            path.batches(replica.point.t, batch, updates=updates, rng=generator(self._device, *names, "order")),
            rates=rates,
            weights=weights,
            config=config,
            latent=model.latent,
            noise=generator(self._device, *names, "noise"),
            lam=replica.point.lam,
            C=request.C,
            ratio=request.ratio,
            decay=request.rule.average,
            looks=Looks(count=request.evaluations, measure=lambda: self._evaluated_C(replicas, key, replica.point.t, cost)),
        )
        keep = ended.finite and config.carry_preconditioner
        return Constrained(
            outcome=Outcome.OK if ended.finite else Outcome.NONFINITE,
            weights=replicas.weights() if ended.finite else (),
            preconditioner=left_by(optimizer, replicas) if keep else None,
            readings=(),
            examples=ended.updates * batch * training_cost(config.decoder_draws) + cost.examples,
            gamma=rule.gamma,
            ratio=ended.ratio,
        )

    def _evaluated_C(self, replicas: Replicas, key: StepKey, t: float, cost: _Cost) -> float:
        """C over the training examples in evaluation mode; nothing is decoded."""
        model, C = self._models.with_weights(replicas.weights()[0]), 0.0
        path, readings = self._paths[Split.TRAIN], self._readings
        cost.examples += readings.recompute(model, readings.statistics, key.seed, "settle", t, decode=False)
        config, effort = dataclasses.replace(self._config.measure, head_draws=HEAD_DRAWS), Effort(decode=False)
        for stratum in path.present(t):
            look = keys_of(key.seed, key.step, "look")(stratum.name)
            read = read_draws(model, stratum, t, config=config, key=look, effort=effort).mean
            C += float(read.C.double() @ stratum.weights(slice(None), t))
            cost.examples += effort.cost(len(stratum), config, readings.head)
        return C


class _Cost:
    """What looks cost, in training examples."""

    examples = 0.0
