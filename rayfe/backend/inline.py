"""Answers requests in this process with torch; also what a Ray evaluator actor does inside."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from rayfe.backend.models import Models
from rayfe.backend.parts import join_measured, join_replicas, split_measure, split_replicas
from rayfe.backend.readings import Paths, Readings, keys_of
from rayfe.config import RunConfig, require
from rayfe.data.device_path import DeviceExamples, DevicePath, Mixture, Still, to_device
from rayfe.data.displacement import Displacement
from rayfe.data.examples import Dataset
from rayfe.data.paths import PathData, examples_of
from rayfe.data.randomness import generator
from rayfe.model.objective import draw_noise, training_cost
from rayfe.model.protocol import Representation, input_shape
from rayfe.records import (
    Annealing,
    Differentiated,
    DifferentiateRequest,
    Equilibrated,
    EquilibrateRequest,
    Functionals,
    Measured,
    MeasureRequest,
    Outcome,
    Response,
    Settled,
    SettleRequest,
    Split,
    TakenUp,
    TakeUpRequest,
)
from rayfe.records.backend import Backend
from rayfe.training.compiler import compiler
from rayfe.training.exact_derivatives import GRADIENTS, PRODUCT_COST, Curvature, derivatives, draw_parts
from rayfe.training.machine import keep_pages, matrix_products
from rayfe.training.measure import FORWARD
from rayfe.training.replicas import Replicas, weights_of
from rayfe.training.replicas import make_replicas as make_here
from rayfe.training.schedule import constant_rate, first_rate, walk_rate
from rayfe.training.settle import find_shift, settled_weights
from rayfe.training.take_up import take_up
from rayfe.training.train import Keeper, Probe, train

FITTED = 5000
"""Examples to which dimensions of z are fitted that take up something."""
FIRST_READINGS = 50
"""Probe readings during a training that is annealed as a whole, such as a first equilibrium (Fig. 4a)."""


class InlineBackend(Backend):
    """Models of `config` on the data path of `data`, which is copied to the device once; a data set is a path that stays.

    `make_replicas` and `keeper` are for trainings that are shared by several processes (`ray_train`).
    """

    def __init__(
        self,
        config: RunConfig,
        data: PathData | Dataset,
        *,
        dtype: torch.dtype = torch.float32,
        make_replicas: Callable[..., Replicas] | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        torch.set_num_threads(config.threads)
        keep_pages()
        matrix_products()
        cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
        self._device = torch.device("cuda" if cuda else "cpu")
        compiles = config.equilibration.compile == "always" and not cuda
        require(not compiles or compiler() is not None, "equilibration.compile", "always", "this machine has no C++ compiler")
        self._config = config
        self._dtype = dtype
        here = partial(make_here, compiled=config.equilibration.compile == "always")
        self._make_replicas = partial(make_replicas or here, bf16=config.equilibration.precision == "bf16")
        self._keeper = keeper
        path = PathData(kind="still", source=data) if isinstance(data, Dataset) else data
        self._shape = input_shape(config.model, path.input_shape)
        self._models = Models(config.model, shape=self._shape, classes=path.classes, device=self._device, dtype=dtype)
        self._paths = {split: self._path(path, split) for split in config.splits}
        self._readings = Readings(config, self._paths, self._models, classes=path.classes)

    def _path(self, data: PathData, split: Split) -> DevicePath:
        def on_device(end: Dataset) -> DeviceExamples:
            return to_device(examples_of(end, split, self._config), self._device, self._dtype, self._shape)

        if data.target is None:
            return Still(on_device(data.source))
        source, target = on_device(data.source), on_device(data.target)
        if data.kind == "mixture":
            return Mixture(source, target)
        assert data.couplings is not None
        return Displacement(source, target, data.couplings[split], data.classes)

    # --- equilibrate --------------------------------------------------------------------------------------------------

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        parts = split_replicas(request, self._config.per_part)
        return join_replicas([self._equilibrate(part) for part in parts])

    def _equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        config, key, path = self._config.equilibration, request.key, self._paths[Split.TRAIN]
        (t,) = {replica.point.t for replica in request.replicas}
        annealing = request.annealing
        epochs = annealing.end - annealing.begin if annealing else config.epochs
        batch = config.batch_of(annealed=annealing is not None)
        updates = max(1, round(epochs * len(path) / batch))
        models = [self._models.start(replica, key, request.round) for replica in request.replicas]
        replicas = self._make_replicas(models, self._device)
        probe = self._probe(request, t, updates)
        phase = _phase(request)
        order = generator(self._device, key.seed, key.trajectory, key.step, key.attempt, phase, "order")
        trained = train(
            replicas,
            [replica.point for replica in request.replicas],
            path.batches(t, batch, updates=updates, rng=order),
            updates=updates,
            learning_rate=self._learning_rate(annealing, request.rate),
            config=config,
            latent=models[0].latent,
            noise=generator(self._device, key.seed, key.trajectory, key.step, key.attempt, phase, "noise"),
            preconditioner=request.preconditioner if config.carry_preconditioner else None,
            probe=probe,
            annealed=annealing is not None,
            keeper=self._keeper,
        )
        per_update = batch * training_cost(config.decoder_draws) * replicas.count
        return Equilibrated(
            outcome=Outcome.OK if trained.finite else Outcome.NONFINITE,
            weights=replicas.weights() if trained.finite else (),
            preconditioner=trained.preconditioner if config.carry_preconditioner else None,
            readings=trained.readings,
            examples=trained.updates * per_update + len(trained.readings) * len(probe.examples) * FORWARD,
        )

    def _learning_rate(self, annealing: Annealing | None, part: float = 1.0) -> Callable[[float], float]:
        config = self._config.equilibration
        if annealing is None:
            return partial(walk_rate if config.schedule == "paper" else constant_rate, maximum=part * config.learning_rate)
        begin, width = annealing.begin / annealing.epochs, (annealing.end - annealing.begin) / annealing.epochs
        initial, schedule = config.first_learning_rate, config.first_schedule
        return lambda u: first_rate(begin + width * u, initial=part * initial, schedule=schedule)

    def _probe(self, request: EquilibrateRequest, t: float, updates: int) -> Probe:
        """A fixed part of p(x, t): the first draws of a path's batches, from random numbers that every step shares."""
        path, seed = self._paths[Split.TRAIN], request.key.seed
        n = min(self._config.measure.probe_size, len(path))
        examples = next(path.batches(t, n, updates=1, rng=generator(self._device, seed, "probe examples")))
        noise = draw_noise(
            generator(self._device, seed, "probe"),
            n=n,
            latent=self._models.pattern.latent,
            decoder_draws=2,
            head_draws=8,
            dtype=self._dtype,
        )
        annealing = request.annealing
        whole = annealing is not None and (annealing.begin, annealing.end) == (0.0, annealing.epochs)
        readings = min(FIRST_READINGS if whole else 1, updates)  # and one at the end
        return Probe(
            examples=examples,
            noise=noise,
            updates=frozenset(i * updates // readings for i in range(readings)),
            names=tuple(replica.name for replica in request.replicas),
        )

    # --- settle and measure -------------------------------------------------------------------------------------------

    def settle(self, request: SettleRequest) -> Settled:
        readings, cost = self._readings, 0.0

        def functionals(paths: Paths, shift: np.ndarray) -> Functionals:
            nonlocal cost
            found, more = readings.functionals(self._models.with_weights(settled_weights(request, shift)), paths, request)
            cost += more
            return found

        quick = None if readings.quick is None else partial(functionals, readings.quick)
        root = find_shift(request, partial(functionals, readings.paths), quick)
        return Settled(
            shift=dict(zip(request.tangents, root.shift.tolist(), strict=True)),
            before=root.before,
            after=root.after,
            weights=settled_weights(request, root.shift),
            examples=cost,
        )

    def measure(self, request: MeasureRequest) -> Measured:
        return join_measured([self._measure(part) for part in split_measure(request, self._config.per_part)])

    def _measure(self, request: MeasureRequest) -> Measured:
        readings, weights, examples = [], [], 0.0
        for replica in request.replicas:
            model = self._models.model(replica.weights, request.key.seed)
            examples += self._recompute(model, request.key.seed, request.purpose, replica.point.t)
            weights.append(weights_of(model))
            for split in request.splits:
                reading, cost = self._readings.read(model, replica, split, request)
                readings.append(reading)
                examples += cost
        return Measured(readings=tuple(readings), weights=tuple(weights), examples=examples)

    def _recompute(self, model: Representation, seed: int, purpose: str, t: float) -> float:
        return self._readings.recompute(model, self._readings.statistics, seed, purpose, t)

    # --- differentiate ------------------------------------------------------------------------------------------------

    def differentiate(self, request: DifferentiateRequest) -> Differentiated:
        config, model = self._config.implicit, self._models.with_weights(request.weights)
        path, t = self._paths[Split.TRAIN], request.point.t
        # The same examples and noise for every model of a seed.
        order, noise = (generator(self._device, request.key.seed, "implicit", name) for name in ("order", "noise"))
        n, latent = min(config.examples, len(path)) // 2, model.latent
        batch, first, second = (
            tuple(draw_parts(path, t, n, count=2, latent=latent, decoder_draws=2, order=order, noise=noise)) for _ in range(3)
        )
        curvature = Curvature(model, batch, request.point, damping=config.damping)
        found = derivatives(curvature, first, second, iterations=config.iterations, accuracy=config.accuracy)
        (D_lam, D_gamma), (C_lam, C_gamma) = found.hessian.tolist()
        response = Response(
            D_lam=D_lam,
            D_gamma=D_gamma,
            C_lam=C_lam,
            C_gamma=C_gamma,
            C_lam_se=float(found.hessian_se[1, 0]),
            C_gamma_se=float(found.hessian_se[1, 1]),
        )
        return Differentiated(
            response=response,
            tangents={"lam": found.theta_lam, "gamma": found.theta_gamma},
            decrement=found.decrement,
            C_lag=found.C_lag,
            residual=found.residual,
            examples=curvature.examples * (PRODUCT_COST * curvature.products + GRADIENTS),
        )

    def take_up(self, request: TakeUpRequest) -> TakenUp:
        step, point, config = request.key, request.point, self._config.measure
        model, path = self._models.with_weights(request.weights), self._paths[Split.TRAIN]
        cost = self._recompute(model, step.seed, "take up", point.t)
        key = keys_of(step.seed, step.trajectory, step.step, step.attempt, "take up")
        part = path.thinned(config.probe_size)
        changed, dims, more = take_up(model.eval(), part, point, size=FITTED, chunk=config.chunk, key=key)
        return TakenUp(weights=weights_of(changed) if dims else request.weights, dims=dims, examples=cost + more)


def _phase(request: EquilibrateRequest) -> str:
    """Names the random numbers of one training among those of the same step."""
    annealing = request.annealing
    if annealing is not None:
        begin = "first" if annealing.begin == 0.0 else f"from epoch {annealing.begin:.15g}"
        return begin if request.round == 0 else f"{begin}, round {request.round}"
    return "walk" if request.round == 0 else f"round {request.round}"
