"""The kinds of runs, and which one is asked for; among them the walk that holds several losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from rayfe.config.asked import Asked, Baseline, Conditioned, FreeWalk, Seek, Transfer, Walk
from rayfe.config.checks import FRACTION, NOT_NEGATIVE, POSITIVE, at_least, require
from rayfe.config.sections import LOSSES, TRANSFERS


@dataclass(frozen=True, kw_only=True)
class LossesWalk(Asked):
    """A walk that holds each of the losses of a task, by a multiplier each."""

    called: ClassVar[str] = "walks that hold several losses"
    settle = True
    process: Literal["iso-losses"] = "iso-losses"
    """Each loss of the task stays while lam goes to lam_end: of classification the part of each class, of multi-label each label's."""
    lam_end: Annotated[float, POSITIVE] = 3.5
    """The walk ends when lam arrives here, from below or from above."""
    step_length: Annotated[float, POSITIVE] = 0.13
    """Largest step, in log lam."""
    refresh: Annotated[int, at_least(1)] = 5
    """Accepted steps between stencils; in between the tangents are carried. 1: a stencil at every step."""
    predictor: bool = True
    """Start each step from weights extrapolated along the walk."""
    tolerance: Annotated[float, FRACTION] = 0.005
    """Largest |C_j / C0_j - 1| of each loss at an accepted step, four standard errors of the draws of z included."""
    tolerance_floor: Annotated[float, NOT_NEGATIVE] = 1e-5
    """The same in nats for small losses: each may be off by this much whatever it is at the start."""

    def check_start(self, lam: float, gamma: float) -> None:
        require(gamma > 0, "gamma", gamma, "must be a positive number; give ``process=fixed-gamma`` to go without labels")
        require(lam != self.lam_end, "lam", lam, "is ``lam_end`` already, give another of the two")


KINDS: tuple[type[Asked], ...] = (Walk, FreeWalk, LossesWalk, Seek, Transfer, Baseline, Conditioned)


def kind_of(*, process: object, method: object, seek: object) -> type[Asked]:
    """The kind that these three fields ask for; None is what is not asked for."""
    if method is not None:
        return Baseline
    if seek is not None:
        return Seek
    if process in TRANSFERS:
        return Transfer
    if process == "conditioned":
        return Conditioned
    if process == LOSSES:
        return LossesWalk
    return FreeWalk if process == "fixed-gamma" else Walk
