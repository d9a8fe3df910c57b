"""The inline backend, which also answers a training with a moving gamma."""

from __future__ import annotations

from rayfe.backend.inline import InlineBackend
from rayfe.benchmark.multipliers import make_rule
from rayfe.benchmark.requests import Constrained, ConstrainRequest
from rayfe.data.batches import derived_seed, generator
from rayfe.equilibrate.measure import read_draws, reading_cost
from rayfe.equilibrate.replicas import make_replicas
from rayfe.equilibrate.train import FINITE_CHECK, adam, second_moments, set_rate
from rayfe.model.objective import draw_noise, training_cost
from rayfe.records import Equilibrated, EquilibrateRequest, Outcome, Split, StepKey, Weights

HEAD_DRAWS = 8
"""Draws of z per example for C in evaluation mode during a training."""
LAST_LOOK = 0.6
"""Part of a training at which C is measured for the last time; later the schedule moves nothing much any more."""


class BenchmarkBackend(InlineBackend):
    """Every method of the benchmark trains and measures here."""

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        return self._constrain(request) if isinstance(request, ConstrainRequest) else super().equilibrate(request)

    def _constrain(self, request: ConstrainRequest) -> Constrained:
        config, key, path = self._config.equilibration, request.key, self._paths[Split.TRAIN]
        (replica,) = request.replicas
        annealing = request.annealing
        epochs = annealing.end - annealing.begin if annealing else config.epochs
        updates = max(1, round(epochs * len(path) / config.batch))
        rate = self._learning_rate(annealing)
        rates = [rate((update + 0.5) / updates) for update in range(updates)]
        weights = [value / max(rates) for value in rates]
        model = self._start(replica, key)
        replicas = make_replicas([model], self._device)
        optimizer = adam(replicas, request.preconditioner, beta=config.second_moment_decay)
        rule = make_rule(optimizer, request.rule, gamma=replica.point.gamma, C=request.C, weights=weights)
        names = (key.seed, key.trajectory, key.step, key.attempt, "constrain")
        order, noise = generator(self._device, *names, "order"), generator(self._device, *names, "noise")
        looks = {round(LAST_LOOK * updates * (i + 1) / request.evaluations) for i in range(request.evaluations)}
        ratio, average, cost = request.ratio, None, 0.0
        for update, batch in enumerate(path.batches(replica.point.t, config.batch, updates=updates, rng=order)):
            set_rate(optimizer, rates[update])
            draws = draw_noise(
                noise,
                n=config.batch,
                latent=model.latent,
                decoder_draws=config.decoder_draws,
                head_draws=config.head_draws,
                dtype=self._dtype,
            )
            masks = derived_seed(noise.initial_seed(), "masks", update)
            R, D, C, _ = (value.mean() for value in replicas.functionals(batch.x, batch.y, draws, seed=masks))
            seen = float(C.detach())
            average = seen if average is None else request.rule.average * average + (1.0 - request.rule.average) * seen
            if update in looks:
                measured, more = self._evaluated_C(replicas.weights()[0], key, replica.point.t)
                ratio, cost = average / measured, cost + more
            if update % FINITE_CHECK == 0 and not seen < float("inf"):
                return self._failed(cost + update * config.batch, rule.gamma, ratio)
            rule.update(R + replica.point.lam * D, C, ratio * request.C, weight=weights[update])
        return Constrained(
            outcome=Outcome.OK,
            weights=replicas.weights(),
            preconditioner=second_moments(replicas, optimizer) if config.carry_preconditioner else None,
            readings=(),
            examples=updates * config.batch * training_cost(config.decoder_draws) + cost,
            gamma=rule.gamma,
            ratio=ratio,
        )

    def _failed(self, examples: float, gamma: float, ratio: float) -> Constrained:
        return Constrained(
            outcome=Outcome.NONFINITE,
            weights=(),
            preconditioner=None,
            readings=(),
            examples=examples,
            gamma=gamma,
            ratio=ratio,
        )

    def _evaluated_C(self, weights: Weights, key: StepKey, t: float) -> tuple[float, float]:
        """C over the training examples in evaluation mode, and its cost: nothing is decoded."""
        model, C = self._model(weights, seed=0), 0.0
        cost = self._recompute(model, key.seed, "settle", t, decode=False)
        for stratum in self._paths[Split.TRAIN].present(t):
            rng = generator(self._device, key.seed, key.step, "look", stratum.name)
            chunk = self._config.measure.chunk
            read = read_draws(model, stratum, t, head_draws=HEAD_DRAWS, chunk=chunk, rng=rng, decode=False).mean
            C += float(read.C.double() @ stratum.weights(slice(None), t).double())
            cost += reading_cost(len(stratum), decode=False)
        return C, cost
