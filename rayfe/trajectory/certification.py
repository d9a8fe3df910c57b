"""A certificate of first order: new models at a stored model's multipliers, and how far it is from them in F, R, D, C and gamma.

F is second order in the distance from equilibrium; R, D, C and gamma are first order. What tells equilibrium is therefore not
the height of F, but whether models that were trained in another way have the same R, D and C.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from rayfe.config import RunConfig
from rayfe.records import (
    ANEW,
    ON,
    PROBE,
    TOO_SHORT,
    Annealing,
    Answer,
    CertificateRecord,
    Equilibrated,
    EquilibrateRequest,
    Measured,
    MeasureRequest,
    Outcome,
    Point,
    Reading,
    Replica,
    Request,
    Split,
    StepKey,
    StepRecord,
    Weights,
)
from rayfe.records.columns import held_readings, number
from rayfe.surface.stencil import neighbours
from rayfe.trajectory.comparison import Certified, compared
from rayfe.trajectory.draws import Sets, sets_of

SEEDS = 2
"""Seeds of a certificate unless more are asked for: the fewest that have a scatter."""
FORWARD = 1.0 / 3.0
"""Training examples that a forward pass over one example counts as."""
PROBES = 2
"""Readings of the probe in a training that is a part of an annealed one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CertificateEffort:
    """What is trained for one certificate: `seeds` times a model at the certified multipliers and its two gamma neighbours."""

    method: str
    """`records.ON` or `records.ANEW`."""
    seeds: int = SEEDS
    epochs: float | None = None
    """Epochs of each training; None: as many as `budget` pays for."""
    budget: float = 0.0
    """Training examples that the whole certificate may cost, where `epochs` is None."""
    epoch: int = 0
    """Training examples in an epoch, where `epochs` is None."""

    def hopeless(self, sets: Sets) -> bool:
        """Whether the budget does not even pay for reading the models with so many sets of draws (those through the head apart)."""
        passes = 0.5 * (1 + sets.decoder)  # half of one encodes, half of one decodes
        return self.epochs is None and self.budget < (1 + self.seeds) * self.epoch * FORWARD * passes

    def epochs_beside(self, reading: float, replicas: int, config: RunConfig) -> float:
        """Epochs of each training, whole updates, if reading one model costs `reading` examples; 0 where no update is paid for."""
        if self.epochs is not None:
            return self.epochs
        rates, models = config.equilibration, self.seeds * replicas
        probes = PROBES * models * min(PROBE, self.epoch) * FORWARD
        left = self.budget - (1 + models) * reading - probes
        batch = rates.batch_of(annealed=True)
        updates = math.floor(left / (models * batch))
        return max(0, updates) * batch / self.epoch


def certificate(
    config: RunConfig, row: StepRecord, weights: Weights, effort: CertificateEffort
) -> Generator[Request, Answer | None, CertificateRecord]:
    """Train new models at the multipliers of an accepted row, and compare its model, `weights`, with them.

    The optimizer always begins cold: what the training of the row left is stored of the last two steps only, and a model's certificate
    must not depend on when it is made. It is a function of these arguments alone (`seconds` is 0 and left to the caller).
    """
    assert row.state_sha256 is not None
    at = row.point
    points = neighbours(at, "iso", config.neighbours) if at.gamma else {"centre": at}
    if effort.hopeless(sets_of(row)):
        return _record(config, row, effort, outcome=TOO_SHORT, epochs=0.0, examples=0.0)
    first = yield from _read(config, row, {"centre": at}, [weights])
    epochs, examples = effort.epochs_beside(first.examples, len(points), config), first.examples
    if not epochs:
        return _record(config, row, effort, outcome=TOO_SHORT, epochs=0.0, examples=examples)
    found = []
    for index in range(effort.seeds):
        request = _training(config, row, points, weights, effort.method, epochs, index)
        trained = yield request
        assert isinstance(trained, Equilibrated)
        examples += trained.examples
        if trained.outcome is not Outcome.OK:
            return _record(config, row, effort, outcome=str(trained.outcome), epochs=epochs, examples=examples)
        model, cost = yield from _read_models(config, row, points, trained.weights)
        examples += cost
        found.append(model)
    if not all(math.isfinite(value) for model in found for value in (model.train.F, model.held.C)):
        return _record(config, row, effort, outcome=str(Outcome.NONFINITE), epochs=epochs, examples=examples)
    stored = Certified(train=_by_split(first)[Split.TRAIN], held=held_readings(first.readings)["centre"])
    record = _record(config, row, effort, outcome=str(Outcome.OK), epochs=epochs, examples=examples)
    return compared(record, stored, found)


# --- requests -----------------------------------------------------------------------------------------------------------


def _training(
    config: RunConfig,
    row: StepRecord,
    points: dict[str, Point],
    weights: Weights,
    method: str,
    epochs: float,
    index: int,
) -> EquilibrateRequest:
    """The training of seed number `index`.

    On: the second half of an annealed training whose rate begins as that of the walk's steps, which would undo less than a whole
    one would. Anew: as the first equilibrium is trained.
    """
    key = StepKey(
        trajectory=f"certificate of {row.trajectory}, {method}",
        seed=(row.seed + (index + 1) * 2**32) % 2**63,  # far from the seeds that people give walks
        step=row.step,
        attempt=row.attempt,
    )
    if method == ANEW:
        replicas = tuple(Replica(name=name, point=at, weights=None) for name, at in points.items())
        whole = Annealing(epochs=epochs, begin=0.0, end=epochs)
        return EquilibrateRequest(key=key, replicas=replicas, annealing=whole)
    assert method == ON, method
    rates = config.equilibration
    return EquilibrateRequest(
        key=key,
        replicas=tuple(Replica(name=name, point=at, weights=weights) for name, at in points.items()),
        annealing=Annealing(epochs=2.0 * epochs, begin=epochs, end=2.0 * epochs),
        rate=rates.learning_rate / rates.first_learning_rate,
    )


def _read(
    config: RunConfig, row: StepRecord, points: dict[str, Point], weights: Sequence[Weights], *, part: bool = False
) -> Generator[Request, Answer | None, Measured]:
    """Read models with the draws with which the row's model was judged, which are the same for all."""
    key = StepKey(trajectory=row.trajectory, seed=row.seed, step=row.step, attempt=row.attempt)
    replicas = tuple(
        Replica(name=name, point=at, weights=model) for (name, at), model in zip(points.items(), weights, strict=True)
    )
    sets = sets_of(row)
    answer = yield MeasureRequest(
        key=key,
        replicas=replicas,
        splits=config.steering,
        purpose="test",
        part=part,
        draw_sets=sets.head,
        decoder_sets=sets.decoder,
    )
    assert isinstance(answer, Measured)
    return answer


def _read_models(
    config: RunConfig, row: StepRecord, points: dict[str, Point], weights: Sequence[Weights]
) -> Generator[Request, Answer | None, tuple[Certified, float]]:
    """What the models of one seed are, and what reading them cost; neighbours on a part of the examples, as in a stencil."""
    (name, at), *others = points.items()
    read = yield from _read(config, row, {name: at}, weights[:1])
    model = Certified(train=_by_split(read)[Split.TRAIN], held=held_readings(read.readings)[name])
    if not others:
        return model, read.examples
    part = config.measure.response_size is not None
    beside = yield from _read(config, row, dict(others), weights[1:], part=part)
    around = held_readings(beside.readings)
    model = Certified(train=model.train, held=model.held, higher=around["gamma+"], lower=around["gamma-"])
    return model, read.examples + beside.examples


def _by_split(read: Measured) -> dict[Split, Reading]:
    return {reading.split: reading for reading in read.readings}


def _record(
    config: RunConfig,
    row: StepRecord,
    effort: CertificateEffort,
    *,
    outcome: str,
    epochs: float,
    examples: float,
) -> CertificateRecord:
    """A certificate without its comparison."""
    return CertificateRecord(
        trajectory=row.trajectory,
        step=row.step,
        state_sha256=str(row.state_sha256),
        method=effort.method,
        outcome=outcome,
        lam=number(row.lam),
        gamma=number(row.gamma),
        t=row.t,
        sigma=row.sigma,
        held_on=str(config.held_on),
        seeds=effort.seeds,
        epochs=epochs,
        budget=effort.budget if effort.epochs is None else None,
        examples=examples,
        seconds=0.0,
    )
