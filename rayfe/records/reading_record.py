"""Rows of readings: every replica, split and recorded update of an attempted step."""

from __future__ import annotations

from dataclasses import dataclass

from rayfe.records.stored import column


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingRecord:
    """One replica on one split at one recorded update: a row of readings/<trajectory>.parquet."""

    trajectory: str = column("name of the trajectory")
    step: int = column("number of the step")
    attempt: int = column("numerical attempts at this step so far, from 0")
    replica: str = column("centre, gamma+, gamma-, lam+, lam-, renewed, settled, or endpoint (a model of the target alone)")
    split: str = column("train, validation, control, target or probe")
    update: int = column("updates since the start of this equilibration")
    first: bool = column("whether the update belongs to the first equilibrium")
    lam: float = column("multiplier of D")
    gamma: float = column("multiplier of C")
    t: float = column("position on the data path")
    R: float = column("rate, nats")
    D: float = column("distortion, in the unit of the likelihood")
    C: float = column("loss of the task, nats; of losses with prices (iso-losses) the probe has the priced sum")
    F: float = column("R + lam D + gamma C, where losses have prices with the priced sum, with random weights + sigma S")
    sigma: float | None = column("multiplier of S; null: no weights are random", default=None)
    S: float | None = column("information in the random weights, nats", default=None)
    accuracy: float | None = column(
        "accuracy of the mean prediction over draws of z; null where the task is no classification", default=None
    )
    score: float | None = column("mean score of another task (columns of steps)", default=None)
    R_se: float = column("standard error of R")
    D_se: float = column("standard error of D")
    C_se: float = column("standard error of C")
    size: int | None = column(
        "examples that were read: a part of the split, drawn at random and of each class in proportion, where it is less than that of "
        "the replica `settled`",
        default=None,
    )
