"""Answers requests in this process with torch; also what a Ray evaluator actor does inside."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import nn

from rayfe.backend.models import Models
from rayfe.backend.parts import join_measured, join_replicas, split_measure, split_replicas
from rayfe.config import RunConfig
from rayfe.data.device_path import DevicePath
from rayfe.data.examples import Dataset
from rayfe.data.labels import label_entropy
from rayfe.data.on_device import on_device
from rayfe.data.paths import PathData
from rayfe.data.randomness import derived_seed, generator
from rayfe.model.protocol import Representation
from rayfe.model.weights import weights_of
from rayfe.records import (
    PROBE,
    Answer,
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
    Request,
    Settled,
    SettleRequest,
    Split,
    StepKey,
    TakenUp,
    TakeUpRequest,
)
from rayfe.records.backend import Backend
from rayfe.surface.water_filling import uptake
from rayfe.training.batch_norm import BatchNorm, recompute_statistics
from rayfe.training.certificate import certify
from rayfe.training.cost import FITTED, Costs
from rayfe.training.dimensions import missed, rates_by_dimension
from rayfe.training.exact_derivatives import SOLVE, Curvature, Solve, derivatives, draw_parts
from rayfe.training.machine import prepared_device, products
from rayfe.training.measure import Effort, read, read_draws, slope_in_t
from rayfe.training.over_a_box import OverABox
from rayfe.training.replicas import Replicas
from rayfe.training.replicas import make_replicas as make_here
from rayfe.training.schedule import learning_rate
from rayfe.training.settle import find_shift, searches_by_part, settled, settled_weights
from rayfe.training.take_up import take_up
from rayfe.training.train import Keeper, draw_probe, train
from rayfe.training.watch import Watch

SOME_DIRECTIONS = 4
"""Directions that are followed to find the one that is missed most."""


class InlineBackend(Backend):
    """Models of `config` on the data path of `data`, which is copied to the device once (without `device` to the GPU, if there is one);
    a data set is a path that stays.

    `make_replicas` and `keeper` are for trainings that are shared by several processes (`ray_train`).
    """

    def __init__(
        self,
        config: RunConfig,
        data: PathData | Dataset,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
        make_replicas: Callable[[Sequence[nn.Module], torch.device], Replicas] | None = None,
        keeper: Keeper | None = None,
        solve: Solve = SOLVE,
    ) -> None:
        self._device, self._config = prepared_device(config, device), config
        self._make_replicas = make_replicas or partial(make_here, compiled=config.equilibration.compiled)
        self._keeper, self._solve = keeper, solve
        path = PathData(kind="still", source=data) if isinstance(data, Dataset) else data
        self._models = Models(config.model, path, self._device, dtype)
        self._paths = {
            split: on_device(path, split, config, device=self._device, dtype=dtype, shape=self._models.shape)
            for split in config.splits
        }
        self._part_of = self._part(config.measure.response_size)
        whole, most = self._paths[Split.TRAIN], config.measure.statistics_size
        self._statistics = whole if most is None else whole.thinned(most)
        sizes = {split: path.sizes for split, path in self._paths.items()}
        self._some = whole.present(0.0)[0].examples(slice(0, 8), 0.0).x
        self._costs = Costs(config, sizes, self._models.new(0).eval(), self._some[:1], solve=solve)
        self._drawing = self._costs.drawing

    def _part(self, size: int | None) -> dict[Split, DevicePath] | None:
        """Fixed parts of the splits that steer; None for all of them."""
        return None if size is None else {split: self._paths[split].thinned(size) for split in self._config.steering}

    def answer(self, request: Request) -> Answer:
        with products(onednn=self._config.equilibration.by_onednn):
            return super().answer(request)

    # --- equilibrate --------------------------------------------------------------------------------------------------

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        parts = split_replicas(request, self._config.per_part)
        return join_replicas([self._equilibrate(part) for part in parts])

    def _equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        config, key, path = self._config.equilibration, request.key, self._paths[Split.TRAIN]
        (t,) = {replica.point.t for replica in request.replicas}
        annealing, training = request.annealing, self._costs.training(request.annealing)
        updates = training.updates
        models = [self._models.start(replica, key, request.round) for replica in request.replicas]
        conditioned = request.replicas[0].box is not None
        replicas = OverABox(models[0]) if conditioned else self._make_replicas(models, self._device)
        probe = draw_probe(
            path,
            t,
            size=PROBE,
            updates=training.probes,
            names=tuple(replica.name for replica in request.replicas),
            latent=models[0].latent,
            seed=key.seed,
        )
        phase = request.phase
        order = generator(self._device, key.seed, key.trajectory, key.step, key.attempt, phase, "order")
        trained = train(
            replicas,
            [replica.point for replica in request.replicas],
            path.batches(t, training.batch, updates=updates, rng=order),
            updates=updates,
            learning_rate=learning_rate(config, annealing, request.rate),
            config=config,
            latent=models[0].latent,
            noise=generator(self._device, key.seed, key.trajectory, key.step, key.attempt, phase, "noise"),
            preconditioner=request.preconditioner,
            probe=probe,
            annealed=annealing is not None,
            keeper=self._keeper,
            watch=self._watch(key, updates=updates, epochs=updates * training.batch / len(path)),
        )
        examples = self._costs.equilibrated(
            training, replicas=replicas.count, updates=trained.updates, readings=len(trained.readings)
        )
        return Equilibrated(
            outcome=Outcome.OK if trained.finite else Outcome.NONFINITE,
            weights=replicas.weights() if trained.finite else (),
            preconditioner=trained.preconditioner,
            readings=trained.readings,
            examples=examples,
        )

    def _watch(self, key: StepKey, *, updates: int, epochs: float) -> Watch | None:
        return Watch(self.on_training, key, updates=updates, epochs=epochs) if self.on_training else None

    # --- settle and measure -------------------------------------------------------------------------------------------

    def settle(self, request: SettleRequest) -> Settled:
        t, keys = request.point.t, self._keys(request.key.seed, request.split, "settle")
        decode = any(held.D for held in request.held)
        effort = Effort(draw_sets=request.draw_sets, decoder_sets=request.decoder_sets, decode=decode)
        cost = 0.0

        def functionals(paths: Mapping[Split, DevicePath], shift: np.ndarray) -> Functionals:
            nonlocal cost
            cost += self._costs.evaluated(request, quick=paths is self._part_of)
            model = self._models.with_weights(settled_weights(request, shift), seed=0)
            statistics = self._statistics if paths is self._paths else paths[Split.TRAIN]
            self._recompute(model, statistics, request.key.seed, "settle", t, decode=decode)
            parts = []
            for stratum in paths[request.split].present(t):
                mean = read_draws(model, stratum, t, drawing=self._drawing, key=keys(stratum.name), effort=effort).mean
                weights = stratum.weights(slice(None), t)
                parts.append(torch.stack([value.double() @ weights for value in mean[:3]]))
            R, D, C = sum(parts, torch.zeros_like(parts[0])).tolist()
            return Functionals(R=R, D=D, C=C)

        quick = partial(functionals, self._part_of) if self._part_of and searches_by_part(request) else None
        root = find_shift(request, partial(functionals, self._paths), quick)
        return settled(request, root, examples=cost)

    def measure(self, request: MeasureRequest) -> Measured:
        return join_measured([self._measure(part) for part in split_measure(request, self._config.per_part)])

    def _measure(self, request: MeasureRequest) -> Measured:
        readings, weights = [], []
        for replica in request.replicas:
            model = self._models.of(replica, seed=request.key.seed)
            self._recompute(model, self._statistics, request.key.seed, request.purpose, replica.point.t)
            weights.append(weights_of(model))
            if request.certify and request.key.step == 0:
                self._models.check_stored(model, weights[-1], self._some)
            readings += [self._read(model, replica, split, request) for split in request.splits]
        return Measured(readings=tuple(readings), weights=tuple(weights), examples=self._costs.measured(request))

    # --- differentiate ------------------------------------------------------------------------------------------------

    def differentiate(self, request: DifferentiateRequest) -> Differentiated:
        config, model = self._solve, self._models.with_weights(request.weights, seed=0)
        path, t = self._paths[Split.TRAIN], request.point.t
        # The same examples and noise for every model of a seed.
        order, noise = (generator(self._device, request.key.seed, "implicit", name) for name in ("order", "noise"))
        n, latent = self._costs.derivative_examples() // 2, model.latent
        batch, first, second = (
            tuple(draw_parts(path, t, n, count=2, latent=latent, decoder_draws=2, order=order, noise=noise)) for _ in range(3)
        )
        curvature = Curvature(model, batch, request.point, damping=config.damping)
        found = derivatives(curvature, first, second, iterations=config.iterations, accuracy=config.accuracy)
        return Differentiated(
            response=found.response,
            tangents={"lam": found.theta_lam, "gamma": found.theta_gamma},
            decrement=found.decrement,
            C_lag=found.C_lag,
            residual=found.residual,
            examples=self._costs.differentiated(curvature.products),
        )

    def _read(self, model: Representation, replica: Replica, split: Split, request: MeasureRequest) -> Reading:
        """One reading. `TARGET`: the end of the validation path, batch-norm as it is at the model's own t."""
        path = (self._part_of if request.part and self._part_of else self._paths)[
            Split.VALIDATION if split is Split.TARGET else split
        ]
        t = 1.0 if split is Split.TARGET else replica.point.t
        seed, purpose = request.key.seed, request.purpose

        def rng(purpose_of_it: str) -> torch.Generator:
            return generator(self._device, seed, split, purpose, purpose_of_it)

        keys = self._keys(seed, split, purpose)
        effort = Effort(draw_sets=request.draw_sets, decoder_sets=request.decoder_sets)
        reading = read(
            model,
            path,
            replica=replica.name,
            split=split,
            point=replica.point,
            t=t,
            drawing=self._drawing,
            key=keys,
            effort=effort,
        )
        reading = dataclasses.replace(reading, statistics_size=self._statistics_size(model, replica.point.t))
        if request.slope_in_t and split is Split.TRAIN:
            part = self._part_of[split] if self._part_of else path
            slope = slope_in_t(model, part, replica.point, drawing=self._drawing, key=keys)
            reading = dataclasses.replace(reading, F_t=slope, slope_size=part.size(replica.point.t))
        if request.certify and split is Split.TRAIN:
            trained = self._config.equilibration.epochs * len(path)
            found = certify(
                model, path, reading, chunk=self._drawing.chunk, trained=trained, key=self._keys(seed, split, "bound"), rng=rng
            )
            entropy = label_entropy(path, t, classes=self._models.classes)
            reading = dataclasses.replace(reading, certificate=found, label_entropy=entropy)
            reading = self._by_dimension(model, path, reading, key=self._keys(seed, split, "missed"))
        return reading

    def _by_dimension(self, model: Representation, path: DevicePath, reading: Reading, *, key: Callable[[str], int]) -> Reading:
        """The reading with the rate of each dimension of z and what one of them could take up."""
        point, chunk = reading.point, self._drawing.chunk
        rates = rates_by_dimension(model, path, point.t, chunk=chunk)
        part = path.thinned(PROBE)
        found = missed(model, part, point.t, count=SOME_DIRECTIONS, chunk=chunk, key=key)
        assert reading.certificate is not None
        most = float(found.variance[0])
        gain = uptake(min(rates), most, point.lam)
        certificate = dataclasses.replace(reading.certificate, missed=most, uptake=gain)
        return dataclasses.replace(reading, R_dims=rates, certificate=certificate)

    def take_up(self, request: TakeUpRequest) -> TakenUp:
        step, point = request.key, request.point
        model, path = self._models.with_weights(request.weights, seed=0), self._paths[Split.TRAIN]
        self._recompute(model, self._statistics, step.seed, "take up", point.t)
        key = self._keys(step.seed, step.trajectory, step.step, step.attempt, "take up")
        part = path.thinned(PROBE)
        found = take_up(model.eval(), part, point, size=FITTED, chunk=self._drawing.chunk, key=key)
        examples = self._costs.taken_up(point.t, fitted=found.fitted)
        return TakenUp(weights=weights_of(found.model) if found.dims else request.weights, dims=found.dims, examples=examples)

    def _recompute(
        self, model: Representation, path: DevicePath, seed: int, purpose: str, t: float, *, decode: bool = True
    ) -> None:
        keys = self._keys(seed, "statistics", purpose)
        recompute_statistics(model, path, t, chunk=self._drawing.chunk, key=keys, decode=decode)

    def _statistics_size(self, model: Representation, t: float) -> int | None:
        """Examples whose statistics the model's batch-norm layers have; None without such layers."""
        return self._statistics.size(t) if any(isinstance(layer, BatchNorm) for layer in model.modules()) else None

    @staticmethod
    def _keys(*names: object) -> Callable[[str], int]:
        """Keys of noise by the name of a stratum, or of what else it is for."""
        return partial(derived_seed, *names)
