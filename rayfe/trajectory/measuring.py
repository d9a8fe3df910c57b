"""Requests that read models: those of a stencil, which steer, and the one of a step, by which it is judged."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from typing import Protocol

from rayfe.config import RunConfig
from rayfe.records import (
    Answer,
    Measured,
    MeasureRequest,
    Reading,
    Replica,
    Request,
    Split,
    Weights,
)
from rayfe.records.columns import held_readings
from rayfe.records.work import Work
from rayfe.surface.equivalence import Miss
from rayfe.trajectory.draws import Sets, is_fine


class Judge(Protocol):
    """What steps are judged by."""

    @property
    def most(self) -> Sets:
        """The most draws that a step may be read with."""

    def misses(self, reading: Reading) -> tuple[Miss, ...]:
        """How far each condition is off at a reading by the draws that judge."""


def read_stencil(
    config: RunConfig, work: Work, replicas: Sequence[Replica], weights: Sequence[Weights], *, centre: bool = True
) -> Generator[Request, Answer | None, list[Reading]]:
    """Readings of a centre and its neighbours, from which the response comes: with `measure.response_size` neighbours are read
    on a part of the examples. Without `centre` it is left out there."""
    slope_in_t, splits = config.moves_data, config.steering
    if config.measure.response_size is None:
        request = measure_request(work, replicas, weights, "settle", splits=splits, slope_in_t=slope_in_t)
        return list(work.measured((yield request)).readings)
    read: list[Reading] = []
    if centre:
        request = measure_request(work, replicas[:1], weights[:1], "settle", splits=splits, slope_in_t=slope_in_t)
        read += work.measured((yield request)).readings
    request = measure_request(work, replicas[1:], weights[1:], "settle", splits=splits, slope_in_t=slope_in_t, part=True)
    return [*read, *work.measured((yield request)).readings]


def measure_request(
    work: Work,
    replicas: Sequence[Replica],
    weights: Sequence[Weights | None],
    purpose: str,
    *,
    splits: tuple[Split, ...] = (Split.TRAIN,),
    slope_in_t: bool = False,
    part: bool = False,
) -> MeasureRequest:
    """Read the replicas with the weights that they have now, on a `part` of the examples if that will do."""
    now = (
        Replica(name=replica.name, point=replica.point, weights=trained, box=replica.box)
        for replica, trained in zip(replicas, weights, strict=True)
    )
    return MeasureRequest(key=work.key, replicas=tuple(now), splits=splits, purpose=purpose, slope_in_t=slope_in_t, part=part)


def judging(
    work: Work, replica: Replica, splits: tuple[Split, ...], goal: Judge, sets: Sets
) -> Generator[Request, Answer | None, tuple[Measured, Sets]]:
    """Read a step's model at last; where the errors of what is held are too large, again with twice the draws, as many as a step may
    have at most. Returns the last reading and its sets."""
    tested = work.measured((yield judging_request(work, replica, splits, sets)))
    while not is_fine(goal.misses(held_readings(tested.readings)[replica.name])) and sets != sets.doubled(goal.most):
        sets = sets.doubled(goal.most)
        tested = work.measured((yield judging_request(work, replica, splits, sets)), again=True)
    return tested, sets


def judging_request(work: Work, replica: Replica, splits: tuple[Split, ...], sets: Sets) -> MeasureRequest:
    """Read a step's model with draws that neither training nor settling saw, and its certificate."""
    return dataclasses.replace(
        measure_request(work, (replica,), (replica.weights,), "test", splits=splits),
        certify=True,
        draw_sets=sets.head,
        decoder_sets=sets.decoder,
    )


def by_name(readings: Sequence[Reading]) -> dict[str, Reading]:
    """Training readings by replica."""
    return {reading.replica: reading for reading in readings if reading.split is Split.TRAIN}
