"""Answers requests in this process with torch; also what a Ray evaluator actor does inside."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from rayfe.backend.parts import join_measured, join_replicas, split_measure, split_replicas
from rayfe.config import RunConfig
from rayfe.data.device_path import DeviceExamples, DevicePath, Mixture, Still, to_device
from rayfe.data.displacement import Displacement
from rayfe.data.examples import Dataset
from rayfe.data.labels import label_entropy
from rayfe.data.paths import PathData, examples_of
from rayfe.data.randomness import derived_seed, generator
from rayfe.exceptions import WalkFailed
from rayfe.model.objective import draw_noise, training_cost
from rayfe.model.protocol import Representation, build, input_shape, laid_out
from rayfe.model.weights import frozen, load_weights, weights_of
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
    Reading,
    Replica,
    Response,
    Settled,
    SettleRequest,
    Split,
    StepKey,
    TakenUp,
    TakeUpRequest,
    Weights,
)
from rayfe.records.backend import Backend
from rayfe.records.weights import along, slope
from rayfe.surface.water_filling import uptake
from rayfe.training.batch_norm import BatchNorm, recompute_statistics
from rayfe.training.certificate import certify
from rayfe.training.dimensions import missed, rates_by_dimension
from rayfe.training.exact_derivatives import GRADIENTS, PRODUCT_COST, Curvature, derivatives, draw_parts
from rayfe.training.measure import FORWARD, Effort, head_share, read, read_draws, slope_in_t
from rayfe.training.replicas import Replicas
from rayfe.training.replicas import make_replicas as make_here
from rayfe.training.schedule import constant_rate, first_rate, walk_rate
from rayfe.training.settle import find_shift, settled_weights
from rayfe.training.take_up import take_up
from rayfe.training.train import Keeper, Probe, train

ANOTHER = -1
"""Seed of a model whose own initial weights are to be others."""
ROUNDING = 1e-4
"""Largest difference between two readings with the same draws, relative to C."""
SOME_DIRECTIONS = 4
"""Directions that are followed to find the one that is missed most."""
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
        make_replicas: Callable[[Sequence[nn.Module], torch.device], Replicas] | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        torch.set_num_threads(config.threads)
        cuda = config.device == "cuda" or (config.device == "auto" and torch.cuda.is_available())
        self._device = torch.device("cuda" if cuda else "cpu")
        self._config = config
        self._dtype = dtype
        self._make_replicas = make_replicas or partial(make_here, compiled=config.equilibration.compile)
        self._keeper = keeper
        path = PathData(kind="still", source=data) if isinstance(data, Dataset) else data
        self._shape = input_shape(config.model, path.input_shape)
        self._classes = path.classes
        self._paths = {split: self._path(path, split) for split in config.splits}
        self._quick = self._part(config.measure.settle_size)
        self._response = self._part(config.measure.response_size) or self._paths
        whole, size = self._paths[Split.TRAIN], config.measure.statistics_size
        self._statistics = whole if size is None else whole.thinned(size)
        example = whole.present(0.0)[0].examples(slice(0, 1), 0.0).x
        self._head = head_share(self._model(None, seed=0).eval(), example)

    def _part(self, size: int | None) -> dict[Split, DevicePath] | None:
        """Fixed parts of the splits that steer; None for all of them."""
        return None if size is None else {split: self._paths[split].thinned(size) for split in self._config.steering}

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
        models = [self._start(replica, key, request.round) for replica in request.replicas]
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
            latent=self._model(None, seed=0).latent,
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
        config, t, keys = self._config.measure, request.point.t, self._keys(request.key.seed, request.split, "settle")
        decode = any(held.D for held in request.held)
        effort = Effort(draw_sets=request.draw_sets, decoder_sets=request.decoder_sets, decode=decode)
        cost = 0.0

        def functionals(paths: Mapping[Split, DevicePath], shift: np.ndarray) -> Functionals:
            nonlocal cost
            model = self._model(settled_weights(request, shift), seed=0)
            statistics = self._statistics if paths is self._paths else paths[Split.TRAIN]
            cost += self._recompute(model, statistics, request.key.seed, "settle", t, decode=decode)
            R = D = C = 0.0
            for stratum in paths[request.split].present(t):
                mean = read_draws(model, stratum, t, config=config, key=keys(stratum.name), effort=effort).mean
                weights = stratum.weights(slice(None), t)
                R, D, C = (old + float(new.double() @ weights) for old, new in zip((R, D, C), mean[:3], strict=True))
                cost += effort.cost(len(stratum), config, self._head)
            return Functionals(R=R, D=D, C=C)

        quick = None if self._quick is None else partial(functionals, self._quick)
        root = find_shift(request, partial(functionals, self._paths), quick)
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
            model = self._model(replica.weights, seed=request.key.seed)
            examples += self._recompute(model, self._statistics, request.key.seed, request.purpose, replica.point.t)
            weights.append(weights_of(model))
            for split in request.splits:
                reading, cost = self._read(model, replica, split, request)
                readings.append(reading)
                examples += cost
            if request.certify and request.key.step == 0:
                self._check_stored(weights[-1], replica, readings, request)
        return Measured(readings=tuple(readings), weights=tuple(weights), examples=examples)

    # --- differentiate ------------------------------------------------------------------------------------------------

    def differentiate(self, request: DifferentiateRequest) -> Differentiated:
        config, model = self._config.implicit, self._model(request.weights, seed=0)
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

    def _reading(
        self, model: Representation, replica: Replica, split: Split, request: MeasureRequest
    ) -> tuple[Reading, DevicePath, Effort]:
        """One reading, of what, and with what effort. `TARGET`: the end of the validation path, batch-norm as it is at the model's t."""
        path = (self._response if request.part else self._paths)[Split.VALIDATION if split is Split.TARGET else split]
        effort = Effort(draw_sets=request.draw_sets, decoder_sets=request.decoder_sets)
        reading = read(
            model,
            path,
            replica=replica.name,
            split=split,
            point=replica.point,
            t=1.0 if split is Split.TARGET else replica.point.t,
            config=self._config.measure,
            key=self._keys(request.key.seed, split, request.purpose),
            effort=effort,
        )
        return dataclasses.replace(reading, statistics_size=self._statistics_size(model, replica.point.t)), path, effort

    def _check_stored(self, stored: Weights, replica: Replica, readings: Sequence[Reading], request: MeasureRequest) -> None:
        """Whether another new model with the weights to be stored has C of the training reading; a check, not counted as work.

        Raises:
            WalkFailed: it has not.
        """
        was = next(reading for reading in reversed(readings) if reading.split is Split.TRAIN)
        found, _, _ = self._reading(self._model(stored, seed=ANOTHER).eval(), replica, Split.TRAIN, request)
        if not abs(found.C - was.C) <= ROUNDING * was.C + ROUNDING**2:
            what = f"read back, the model that would be stored has C = {found.C:.6g}, and the one that was trained {was.C:.6g}"
            raise WalkFailed(f"{what}; keep all that the outputs depend on in parameters and in buffers of floats")

    def _read(self, model: Representation, replica: Replica, split: Split, request: MeasureRequest) -> tuple[Reading, float]:
        """One reading with what else is asked for, and its cost."""
        seed, purpose, config = request.key.seed, request.purpose, self._config.measure
        keys, t = self._keys(seed, split, purpose), replica.point.t
        reading, path, effort = self._reading(model, replica, split, request)

        def rng(purpose_of_it: str) -> torch.Generator:
            return generator(self._device, seed, split, purpose, purpose_of_it)

        cost = effort.cost(path.size(1.0 if split is Split.TARGET else t), config, self._head)
        if request.slope_in_t and split is Split.TRAIN:
            part = path if config.slope_size is None else path.thinned(config.slope_size)
            slope, more = slope_in_t(model, part, replica.point, config=config, key=keys, head=self._head)
            reading, cost = dataclasses.replace(reading, F_t=slope, slope_size=part.size(replica.point.t)), cost + more
        if request.certify and split is Split.TRAIN:
            trained = self._config.equilibration.epochs * len(path)
            found, more = certify(
                model, path, reading, config=config, trained=trained, key=self._keys(seed, split, "bound"), rng=rng
            )
            entropy = label_entropy(path, t, classes=self._classes)
            reading, cost = dataclasses.replace(reading, certificate=found, label_entropy=entropy), cost + more
            reading, more = self._by_dimension(model, path, reading, key=self._keys(seed, split, "missed"))
            cost += more
        return reading, cost

    def _by_dimension(
        self, model: Representation, path: DevicePath, reading: Reading, *, key: Callable[[str], int]
    ) -> tuple[Reading, float]:
        """The reading with the rate of each dimension of z and what one of them could take up, and the cost."""
        config, point = self._config.measure, reading.point
        rates, cost = rates_by_dimension(model, path, point.t, chunk=config.chunk)
        part = path.thinned(config.probe_size)
        found, more = missed(model, part, point.t, count=SOME_DIRECTIONS, chunk=config.chunk, key=key)
        assert reading.certificate is not None
        most = float(found.variance[0])
        gain = uptake(min(rates), most, point.lam)
        certificate = dataclasses.replace(reading.certificate, missed=most, uptake=gain)
        return dataclasses.replace(reading, R_dims=rates, certificate=certificate), cost + more

    def take_up(self, request: TakeUpRequest) -> TakenUp:
        step, point, config = request.key, request.point, self._config.measure
        model, path = self._model(request.weights, seed=0), self._paths[Split.TRAIN]
        cost = self._recompute(model, self._statistics, step.seed, "take up", point.t)
        key = self._keys(step.seed, step.trajectory, step.step, step.attempt, "take up")
        part = path.thinned(config.probe_size)
        changed, dims, more = take_up(model.eval(), part, point, size=FITTED, chunk=config.chunk, key=key)
        return TakenUp(weights=weights_of(changed) if dims else request.weights, dims=dims, examples=cost + more)

    def _recompute(
        self, model: Representation, path: DevicePath, seed: int, purpose: str, t: float, *, decode: bool = True
    ) -> float:
        keys = self._keys(seed, "statistics", purpose)
        return FORWARD * recompute_statistics(model, path, t, chunk=self._config.measure.chunk, key=keys, decode=decode)

    def _statistics_size(self, model: Representation, t: float) -> int | None:
        """Examples whose statistics the model's batch-norm layers have; None without such layers."""
        return self._statistics.size(t) if any(isinstance(layer, BatchNorm) for layer in model.modules()) else None

    @staticmethod
    def _keys(*names: object) -> Callable[[str], int]:
        """Keys of noise by the name of a stratum, or of what else it is for."""
        return partial(derived_seed, *names)

    def _start(self, replica: Replica, key: StepKey, round: int = 0) -> Any:
        """The model that a replica's training starts from; its new weights are others in every `round`."""
        if not replica.renewed or replica.weights is None:
            return self._model(replica.weights, seed=key.seed)
        seed = derived_seed(key.seed, key.trajectory, key.step, "renewal", *([round] if round else []))
        new = self._model(None, seed=seed)
        fresh = {**weights_of(new), **{name: replica.weights[name] for name in frozen(new)}}
        return self._model(along(replica.weights, slope(fresh, replica.weights, 1.0), replica.renewed), seed=key.seed)

    def _model(self, weights: Weights | None, *, seed: int) -> Any:
        initial = derived_seed(seed, "initial weights")
        model = build(self._config.model, input_shape=self._shape, classes=self._classes, seed=initial)
        model = laid_out(model, self._device, self._dtype)
        if weights is not None:
            load_weights(model, weights)
        return model


def _phase(request: EquilibrateRequest) -> str:
    """Names the random numbers of one training among those of the same step."""
    annealing = request.annealing
    if annealing is not None:
        begin = "first" if annealing.begin == 0.0 else f"from epoch {annealing.begin:.15g}"
        return begin if request.round == 0 else f"{begin}, round {request.round}"
    return "walk" if request.round == 0 else f"round {request.round}"
