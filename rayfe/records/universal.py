"""What a stored encoder is worth with a new decoder and a new classifier."""

from __future__ import annotations

from dataclasses import dataclass

from rayfe.records.points import Point
from rayfe.records.stored import column

ANY = Point(lam=1.0, gamma=1.0)
"""Where decoder and classifier are trained that share nothing: all positive multipliers do the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UniversalRecord:
    """One stored encoder with one new decoder and classifier: a row of universal.parquet. None where the training diverged."""

    trajectory: str = column("name of the trajectory")
    step: int = column("number of the step whose encoder is kept")
    state_sha256: str = column("SHA-256 of its weight file, as in steps/")
    seed: int = column("number of the new decoder and classifier, from 1: of their weights, batches and noise")
    epochs: float = column("epochs of their training")
    lam: float = column(
        "multiplier of D in their training; 1 where decoder and classifier share nothing, so that it does not matter"
    )
    gamma: float = column("multiplier of C in their training; 1 where it does not matter, too")
    outcome: str = column("OK or NONFINITE (the training diverged)")
    R: float | None = column("rate of the encoder on the training split, nats", default=None)
    D: float | None = column("distortion of the new decoder on the training split, in the unit of D", default=None)
    C: float | None = column("loss of the task of the new classifier on the training split, nats", default=None)
    val_R: float | None = column("rate on the validation split, nats", default=None)
    val_D: float | None = column("distortion on the validation split", default=None)
    val_C: float | None = column("loss of the task on the validation split, nats", default=None)
    D_se: float | None = column("standard error of D from the draws of z", default=None)
    C_se: float | None = column("standard error of C from the draws of z", default=None)
    examples: float = column(
        "training examples that it cost; forward-only passes as 1/3, the encoder's forward pass as a whole one"
    )
    seconds: float = column("seconds that it took")

    @property
    def trained(self) -> tuple[str, str, int, float, float, float]:
        """What its numbers follow from."""
        return self.trajectory, self.state_sha256, self.seed, self.epochs, self.lam, self.gamma
