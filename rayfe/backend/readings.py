"""What is read of a model on the data of a configuration: functionals, certificates, batch-norm statistics, and what they cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial

from rayfe.backend.models import Models
from rayfe.config import RunConfig
from rayfe.data.device_path import DevicePath
from rayfe.data.labels import label_entropy
from rayfe.data.randomness import derived_seed, generator
from rayfe.model.protocol import Representation
from rayfe.records import Functionals, MeasureRequest, Reading, Replica, SettleRequest, Split
from rayfe.surface.water_filling import uptake
from rayfe.training.batch_norm import BatchNorm, recompute_statistics
from rayfe.training.certificate import certify
from rayfe.training.dimensions import missed, rates_by_dimension
from rayfe.training.measure import FORWARD, Effort, head_share, read, read_draws, slope_in_t

SOME_DIRECTIONS = 4
"""Directions that are followed to find the one that is missed most."""

Paths = Mapping[Split, DevicePath]


def keys_of(*names: object) -> Callable[[str], int]:
    """Keys of noise by the name of a stratum, or of what else it is for."""
    return partial(derived_seed, *names)


class Readings:
    """Readings of `models` on `paths`. All costs are in training examples."""

    def __init__(self, config: RunConfig, paths: Paths, models: Models, *, classes: int) -> None:
        self._config, self._classes, self._device, self.paths = config, classes, models.device, paths
        self.quick = self._part(config.measure.settle_size)
        self._response = self._part(config.measure.response_size) or paths
        whole, size = paths[Split.TRAIN], config.measure.statistics_size
        self.statistics = whole if size is None else whole.thinned(size)
        example = whole.present(0.0)[0].examples(slice(0, 1), 0.0).x
        self.head = head_share(models.pattern.eval(), example)

    def _part(self, size: int | None) -> Paths | None:
        """Fixed parts of the splits that steer; None for all of them."""
        return None if size is None else {split: self.paths[split].thinned(size) for split in self._config.steering}

    def recompute(
        self, model: Representation, path: DevicePath, seed: int, purpose: str, t: float, *, decode: bool = True
    ) -> float:
        """Give the model the batch-norm statistics of p(x, t) on `path`; the cost."""
        keys = keys_of(seed, "statistics", purpose)
        return FORWARD * recompute_statistics(model, path, t, chunk=self._config.measure.chunk, key=keys, decode=decode)

    def functionals(self, model: Representation, paths: Paths, request: SettleRequest) -> tuple[Functionals, float]:
        """R, D and C for a settle, and the cost. D is read only where it is held."""
        config, t, seed = self._config.measure, request.point.t, request.key.seed
        decode = any(held.D for held in request.held)
        effort = Effort(draw_sets=request.draw_sets, decoder_sets=request.decoder_sets, decode=decode)
        keys = keys_of(seed, request.split, "settle")
        statistics = self.statistics if paths is self.paths else paths[Split.TRAIN]
        cost = self.recompute(model, statistics, seed, "settle", t, decode=decode)
        R = D = C = 0.0
        for stratum in paths[request.split].present(t):
            mean = read_draws(model, stratum, t, config=config, key=keys(stratum.name), effort=effort).mean
            weights = stratum.weights(slice(None), t)
            R, D, C = (old + float(new.double() @ weights) for old, new in zip((R, D, C), mean[:3], strict=True))
            cost += effort.cost(len(stratum), config, self.head)
        return Functionals(R=R, D=D, C=C), cost

    def read(self, model: Representation, replica: Replica, split: Split, request: MeasureRequest) -> tuple[Reading, float]:
        """One reading and its cost. `TARGET`: the end of the validation path, batch-norm as it is at the model's own t."""
        path = (self._response if request.part else self.paths)[Split.VALIDATION if split is Split.TARGET else split]
        t = 1.0 if split is Split.TARGET else replica.point.t
        config, keys = self._config.measure, keys_of(request.key.seed, split, request.purpose)
        effort = Effort(draw_sets=request.draw_sets, decoder_sets=request.decoder_sets)
        reading = read(
            model, path, replica=replica.name, split=split, point=replica.point, t=t, config=config, key=keys, effort=effort
        )
        reading = dataclasses.replace(reading, statistics_size=self._statistics_size(model, replica.point.t))
        cost = effort.cost(path.size(t), config, self.head)
        if request.slope_in_t and split is Split.TRAIN:
            part = path if config.slope_size is None else path.thinned(config.slope_size)
            slope, more = slope_in_t(model, part, replica.point, config=config, key=keys, head=self.head)
            reading, cost = dataclasses.replace(reading, F_t=slope, slope_size=part.size(replica.point.t)), cost + more
        if request.certify and split is Split.TRAIN:
            reading, more = self._certified(model, path, reading, request)
            cost += more
        return reading, cost

    def _certified(
        self, model: Representation, path: DevicePath, reading: Reading, request: MeasureRequest
    ) -> tuple[Reading, float]:
        """A reading of the training split with all that is said of its model besides, and the cost."""
        config, seed = self._config, request.key.seed
        found, cost = certify(
            model,
            path,
            reading,
            config=config.measure,
            trained=config.equilibration.epochs * len(path),
            key=keys_of(seed, Split.TRAIN, "bound"),
            rng=partial(generator, self._device, seed, Split.TRAIN, request.purpose),
        )
        entropy = label_entropy(path, reading.point.t, classes=self._classes)
        reading = dataclasses.replace(reading, certificate=found, label_entropy=entropy)
        reading, more = self._by_dimension(model, path, reading, key=keys_of(seed, Split.TRAIN, "missed"))
        return reading, cost + more

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

    def _statistics_size(self, model: Representation, t: float) -> int | None:
        """Examples whose statistics the model's batch-norm layers have; None without such layers."""
        return self.statistics.size(t) if any(isinstance(layer, BatchNorm) for layer in model.modules()) else None
