"""Answers requests in this process with torch; also what a Ray evaluator actor does inside."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from rayfe.backend.at_work import AtWork
from rayfe.backend.models import Models
from rayfe.backend.parts import join_measured, join_replicas, split_measure, split_replicas
from rayfe.config import LOSSES, RunConfig
from rayfe.data.device_path import DevicePath
from rayfe.data.examples import Dataset
from rayfe.data.labels import mean_label
from rayfe.data.on_device import on_device
from rayfe.data.paths import PathData
from rayfe.data.randomness import derived_seed, generator
from rayfe.model.posterior import is_random, widths_of
from rayfe.model.protocol import Representation
from rayfe.model.task import task_of
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
from rayfe.training.batch_norm import BatchNorm, recompute_statistics, recompute_together
from rayfe.training.certificate import certify
from rayfe.training.cost import FITTED, Costs
from rayfe.training.dimensions import with_dimensions
from rayfe.training.drawing import Effort
from rayfe.training.exact_derivatives import SOLVE, Curvature, Solve, derivatives, draw_parts
from rayfe.training.fleet import Fleets
from rayfe.training.fleet_slots import Job
from rayfe.training.gibbs import with_gibbs
from rayfe.training.machine import prepared_device, products
from rayfe.training.over_a_box import OverABox
from rayfe.training.reading import Wanted, WantedReading, alike, known, means_together, read_together
from rayfe.training.replicas import Replicas, stacked, stacks
from rayfe.training.replicas import make_replicas as make_here
from rayfe.training.schedule import learning_rate
from rayfe.training.settle import find_shift, searches_by_part, settled, settled_weights
from rayfe.training.slope import slope_in_t
from rayfe.training.take_up import take_up
from rayfe.training.together import Together
from rayfe.training.train import DrawnNoise, Keeper, Training, draw_probe, train
from rayfe.training.watch import Watch


class InlineBackend(Backend):
    """Models of `config` on the data path of `data`, which is copied to the device once (without `device` to the GPU, if there is one);
    a data set is a path that stays.

    With several slots as many threads may ask at once. `make_replicas` and `keeper` are for trainings by several processes.
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
        alone = make_replicas is not None or config.service.slots == 1
        self._make_replicas = make_replicas or (
            partial(make_here, compiled=config.equilibration.compiled) if alone else stacked
        )
        self._keeper, self._solve = keeper, solve
        path = PathData(kind="still", source=data) if isinstance(data, Dataset) else data
        self._models = Models(config.model, path, self._device, dtype, priced=config.process == LOSSES)
        self._paths = {
            split: on_device(path, split, config, device=self._device, dtype=dtype, shape=self._models.shape)
            for split in config.splits
        }
        self._fleets = None if alone else Fleets(config.service.slots, self._paths[Split.TRAIN])
        # convolutions of several models are no faster on a CPU, and rounded by their place in the stack
        fits = self._device.type != "cpu" or stacks(self._models.new(0))
        together = self._together = Together(config.service.slots if fits else 1)
        shared = partial(products, onednn=config.equilibration.by_onednn)
        self._at_work = AtWork(shared, together, slots=config.service.slots)
        self._part_of = self._part(config.measure.response_size)
        whole, most = self._paths[Split.TRAIN], config.measure.statistics_size
        self._statistics = whole if most is None else whole.thinned(most)
        sizes = {split: path.sizes for split, path in self._paths.items()}
        self._some = whole.present(0.0)[0].examples(slice(0, 8), 0.0).x
        self._costs = Costs(config, sizes, self._models.new(0).eval(), self._some[:1], solve=solve)
        self.drawing = self._costs.drawing
        """How examples are read."""

    def _part(self, size: int | None) -> dict[Split, DevicePath] | None:
        """Fixed parts of the splits that steer; None for all of them."""
        return None if size is None else {split: self._paths[split].thinned(size) for split in self._config.steering}

    def answer(self, request: Request) -> Answer:
        with self._at_work.on(request):
            return super().answer(request)

    # --- equilibrate --------------------------------------------------------------------------------------------------

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        parts = split_replicas(request, self._config.per_part)
        return join_replicas([self._equilibrate(part) for part in parts])

    def _equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        config, key, path = self._config.equilibration, request.key, self._paths[Split.TRAIN]
        (t,) = {replica.point.t for replica in request.replicas}
        extent = self._costs.training(request.annealing)
        models = [self._models.start(replica, key, request.round) for replica in request.replicas]
        conditioned, names = request.replicas[0].box is not None, tuple(replica.name for replica in request.replicas)
        replicas = OverABox(models[0]) if conditioned else self._make_replicas(models, self._device)
        widths, updates = widths_of(models[0]), extent.updates
        training = Training(
            replicas=replicas,
            points=[replica.point for replica in request.replicas],
            updates=updates,
            learning_rate=learning_rate(config, request.annealing, request.rate),
            config=config,
            preconditioner=request.preconditioner,
            probe=draw_probe(path, t, size=PROBE, updates=extent.probes, names=names, widths=widths, seed=key.seed),
            annealed=request.annealing is not None,
            watch=self._watch(key, updates=updates, epochs=updates * extent.batch / len(path)),
        )
        parts = (key.seed, key.trajectory, key.step, key.attempt, request.phase)
        order, noise = (derived_seed(*parts, name) for name in ("order", "noise"))
        if self._fleets:
            job = Job(training=training, t=t, batch=extent.batch, widths=widths, order=order, noise=noise)
            trained = self._fleets.train(job)
        else:
            order_rng, noise_rng = (torch.Generator(self._device).manual_seed(part) for part in (order, noise))
            batches = path.batches(t, extent.batch, updates=updates, rng=order_rng)
            trained = train(training, batches, DrawnNoise(noise_rng, widths), keeper=self._keeper)
        examples = self._costs.equilibrated(
            extent, replicas=replicas.count, updates=trained.updates, readings=len(trained.readings)
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
            path = paths[request.split]
            asked, work = (model, Wanted(t=t, key=keys)), partial(means_together, path=path)
            R, D, C, *losses = self._in_one_pass("settle", path, t, effort, asked, work)
            return Functionals(R=R, D=D, C=C, S=known(model), losses=tuple(losses))

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
        n = self._costs.derivative_examples() // 2
        batch, first, second = (
            tuple(draw_parts(path, t, n, count=2, widths=widths_of(model), decoder_draws=2, order=order, noise=noise))
            for _ in range(3)
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
        paths = self._part_of if request.part and self._part_of else self._paths
        path = paths[Split.VALIDATION if split is Split.TARGET else split]
        t = 1.0 if split is Split.TARGET else replica.point.t
        keys = self._keys(request.key.seed, split, request.purpose)
        effort = Effort(draw_sets=request.draw_sets, decoder_sets=request.decoder_sets)
        wanted = WantedReading(replica=replica.name, split=split, point=replica.point, t=t, key=keys)
        reading = self._in_one_pass("read", path, t, effort, (model, wanted), partial(read_together, path=path))
        reading = dataclasses.replace(reading, statistics_size=self._statistics_size(model, replica.point.t))
        with self._together.alone:
            return self._completed(reading, model, path, request, keys)

    def _completed(
        self, reading: Reading, model: Representation, path: DevicePath, request: MeasureRequest, keys: Callable[[str], int]
    ) -> Reading:
        """The reading with what is asked for beyond it."""
        split, point, t, seed, purpose = reading.split, reading.point, reading.point.t, request.key.seed, request.purpose
        rng = partial(generator, self._device, seed, split, purpose)
        if request.slope_in_t and split is Split.TRAIN:
            part = self._part_of[split] if self._part_of else path
            slope = slope_in_t(model, part, point, drawing=self.drawing, key=keys)
            reading = dataclasses.replace(reading, F_t=slope, slope_size=part.size(t))
        if request.certify and split is Split.TRAIN:
            uninformed = task_of(model, self._models.classes).uninformed(partial(mean_label, path, t))
            reading = dataclasses.replace(reading, label_entropy=uninformed)
        chunk = self.drawing.chunk
        if request.certify and is_random(model):  # what a certificate and dimensions of z say is of one model
            return with_gibbs(model, path, reading, request.key, chunk=chunk)
        if request.certify and split is Split.TRAIN:
            trained, key = self._config.equilibration.epochs * len(path), self._keys(seed, split, "bound")
            found = certify(model, path, reading, chunk=chunk, trained=trained, key=key, rng=rng)
            reading = dataclasses.replace(reading, certificate=found)
            reading = with_dimensions(model, path, reading, chunk=chunk, key=self._keys(seed, split, "missed"))
        return reading

    def take_up(self, request: TakeUpRequest) -> TakenUp:
        step, point = request.key, request.point
        model, path = self._models.with_weights(request.weights, seed=0), self._paths[Split.TRAIN]
        keys, drawing = self._keys(step.seed, "statistics", "take up"), self.drawing
        recompute_statistics(model, self._statistics, point.t, chunk=drawing.chunk, most=drawing.whole, key=keys)
        key = self._keys(step.seed, step.trajectory, step.step, step.attempt, "take up")
        part = path.thinned(PROBE)
        found = take_up(model.eval(), part, point, size=FITTED, chunk=drawing.chunk, key=key)
        examples = self._costs.taken_up(point.t, fitted=found.fitted)
        return TakenUp(weights=weights_of(found.model) if found.dims else request.weights, dims=found.dims, examples=examples)

    def _recompute(
        self, model: Representation, path: DevicePath, seed: int, purpose: str, t: float, *, decode: bool = True
    ) -> None:
        work = partial(recompute_together, path=path, chunk=self.drawing.chunk, decode=decode, most=self.drawing.whole)
        keys = self._keys(seed, "statistics", purpose)
        self._together.do(("statistics", decode, *alike(path, t)), (model, t, keys), lambda asked: [work(asked)] * len(asked))

    def _in_one_pass(self, what: str, path: DevicePath, t: float, effort: Effort, item: Any, work: Callable[..., Any]) -> Any:
        """What `work` says of the item, with those of other threads that ask the same."""
        return self._together.do((what, effort, *alike(path, t)), item, partial(work, drawing=self.drawing, effort=effort))

    def _statistics_size(self, model: Representation, t: float) -> int | None:
        """Examples whose statistics the model's batch-norm layers have; None without such layers."""
        return self._statistics.size(t) if any(isinstance(layer, BatchNorm) for layer in model.modules()) else None

    @staticmethod
    def _keys(*names: object) -> Callable[[str], int]:
        """Keys of noise by the name of a stratum, or of what else it is for."""
        return partial(derived_seed, *names)
