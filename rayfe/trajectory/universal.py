"""A stored encoder with a new decoder and a new classifier: what the encoder is worth at multipliers that it was not trained for.

With the encoder fixed R is a constant, and only lam D + gamma C is left to minimise. Where decoder and classifier share no parameter
these are two problems, D alone and C alone, and the positive factors lam and gamma change neither: one training of both serves all
points. Whose encoder this is, and which are the points, is for `results.universal`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence

from rayfe.config import RunConfig
from rayfe.records import (
    Annealing,
    Answer,
    Equilibrated,
    EquilibrateRequest,
    Measured,
    MeasureRequest,
    Outcome,
    Point,
    Replica,
    Request,
    Split,
    StepKey,
    StepRecord,
    Weights,
)
from rayfe.records.universal import UniversalRecord
from rayfe.trajectory.draws import sets_of

SPLITS = (Split.TRAIN, Split.VALIDATION)


def with_new_decoders(
    config: RunConfig, row: StepRecord, encoder: Weights, points: Sequence[Point], *, seed: int, epochs: float
) -> Generator[Request, Answer | None, list[UniversalRecord]]:
    """The encoder of an accepted row's model, `encoder`, with a decoder and a classifier for each of `points`, trained as a first
    equilibrium is.

    Every encoder of a walk gets the same new weights, batches and noise for one `seed`, from 1 on, and is read with the same draws:
    the differences between encoders are then more exact than either. `seconds` are 0 and left to the caller.
    """
    replicas = tuple(Replica(name=str(i), point=point, weights=None, encoder=encoder) for i, point in enumerate(points))
    key = StepKey(trajectory="universal", seed=(row.seed + seed * 2**32) % 2**63, step=0, attempt=0)
    whole = Annealing(epochs=epochs, begin=0.0, end=epochs)
    trained = yield EquilibrateRequest(key=key, replicas=replicas, annealing=whole)
    assert isinstance(trained, Equilibrated)
    records = [
        UniversalRecord(
            trajectory=row.trajectory,
            step=row.step,
            state_sha256=str(row.state_sha256),
            seed=seed,
            epochs=epochs,
            lam=point.lam,
            gamma=point.gamma,
            outcome=str(trained.outcome),
            examples=trained.examples / len(points),
            seconds=0.0,
        )
        for point in points
    ]
    if trained.outcome is not Outcome.OK:
        return records
    replicas = tuple(dataclasses.replace(one, weights=new) for one, new in zip(replicas, trained.weights, strict=True))
    sets, key = sets_of(row), dataclasses.replace(key, seed=row.seed)
    read = yield MeasureRequest(
        key=key, replicas=replicas, splits=SPLITS, purpose="test", draw_sets=sets.head, decoder_sets=sets.decoder
    )
    assert isinstance(read, Measured)
    return [_read(record, str(i), read, read.examples / len(points)) for i, record in enumerate(records)]


def _read(record: UniversalRecord, replica: str, read: Measured, examples: float) -> UniversalRecord:
    train, other = (next(one for one in read.readings if one.replica == replica and one.split is split) for split in SPLITS)
    return dataclasses.replace(
        record,
        R=train.R,
        D=train.D,
        C=train.C,
        val_R=other.R,
        val_D=other.D,
        val_C=other.C,
        D_se=train.D_se,
        C_se=train.C_se,
        examples=record.examples + examples,
    )
