"""Learning rates."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

from rayfe.config import EquilibrationConfig
from rayfe.records import Annealing

PEAK = 2.0 / 7.0
"""Where u^2 (1-u)^5 is largest."""
WARM_UP = 0.05
"""Part of a training in which a constant rate is reached."""


def walk_rate(u: float, *, maximum: float) -> float:
    """eta(u) = u^2 (1-u)^5 of sec. 5.1, scaled so that its largest value is `maximum`; u in [0, 1]."""
    return maximum * u**2 * (1.0 - u) ** 5 / (PEAK**2 * (1.0 - PEAK) ** 5)


def constant_rate(u: float, *, maximum: float) -> float:
    """`maximum` after a linear rise over the first WARM_UP; for trainings whose late iterates are averaged."""
    return maximum * min(u / WARM_UP, 1.0)


def first_rate(u: float, *, initial: float, schedule: Literal["step", "linear"]) -> float:
    """Learning rate of the first equilibrium at the fraction u of its updates.

    `step` drops by 10 after every 5/12 (the paper's 50 of 120 epochs), `linear` ends at 0.
    """
    match schedule:
        case "step":
            return initial * 0.1 ** math.floor(u * 12 / 5)
        case "linear":
            return initial * (1.0 - u)


def learning_rate(config: EquilibrationConfig, annealing: Annealing | None, part: float) -> Callable[[float], float]:
    """`part` of the learning rate of an equilibration, as a function of the fraction u of its updates: by the walk's own schedule, or the
    stretch of an annealed training."""
    if annealing is None:
        return partial(walk_rate if config.schedule == "paper" else constant_rate, maximum=part * config.learning_rate)
    begin, width = annealing.begin / annealing.epochs, (annealing.end - annealing.begin) / annealing.epochs
    initial, schedule = config.first_learning_rate, config.first_schedule
    return lambda u: first_rate(begin + width * u, initial=part * initial, schedule=schedule)
