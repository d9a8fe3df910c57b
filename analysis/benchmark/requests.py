"""A training in which gamma moves with every update until C has its level: what constrained optimisation needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rayfe.records import Equilibrated, EquilibrateRequest

RuleName = Literal["nupi", "augmented", "geco"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rule:
    """How gamma follows the violation C - C0. Steps are in units of the problem, so that one setting fits all points.

    At the start of a training the relative violation v = C / C0 - 1 moves gamma by the fraction `gain` v over the whole
    training (a rule that adds), or multiplies it by exp(gain v) (geco).
    """

    name: RuleName
    gain: float
    proportional: float = 0.0
    """nuPI: fraction of gamma by which its proportional term answers v; 0 is plain gradient ascent."""
    penalty: float = 0.0
    """Augmented Lagrangian: coefficient of (C - C0)^2 / 2 in units of gamma / C0."""
    average: float = 0.98
    """Decay of the moving average of C per update."""

    def __post_init__(self) -> None:
        if not self.gain > 0:
            raise ValueError(f"gain {self.gain}: must be positive")
        if not 0 <= self.average < 1:
            raise ValueError(f"average {self.average}: must lie between 0 and 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class ConstrainRequest(EquilibrateRequest):
    """Minimise R + lam D subject to C = `C`; its one replica's gamma is the multiplier's first value."""

    rule: Rule
    C: float
    """The level in evaluation mode, on the draws of settles."""
    ratio: float = 1.0
    """C of a batch divided by C in evaluation mode, as far as it is known."""
    evaluations: int = 2
    """How often C is measured in evaluation mode during the training, to bring `ratio` up to date."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Constrained(Equilibrated):
    gamma: float
    """The multiplier at the end."""
    ratio: float
    """C of a batch divided by C in evaluation mode, at the last measurement."""
