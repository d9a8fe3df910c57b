"""A leap: renewals one after the other take a walk that will come back to lam_end in one go, with nothing in between."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator

from rayfe.config import RunConfig
from rayfe.records import Annealing, Answer, Outcome, Point, Replica, Request, Weights
from rayfe.records.columns import held_readings
from rayfe.records.work import Work
from rayfe.trajectory.measuring import measure_request
from rayfe.trajectory.renewal import EPOCHS, SHARE, renew, trained_anew
from rayfe.trajectory.target_loss import LARGEST_FACTOR, Charted, WantedLoss

FADING = 0.5
"""Share of new weights in one part of a leap over that in the part before it; the last has none."""
LANDING = 10
"""Settles in which gamma may move at its end, when gamma is that of elsewhere."""
ELASTICITY = 0.7
"""-d log C / d log gamma where nothing is known (0.54 and 0.61 by neighbours of two and four epochs at (0.72, 2.3) on MNIST; with
more than that gamma does not overshoot)."""


def leap(
    config: RunConfig, work: Work, here: Point, state: Weights, *, wanted: WantedLoss
) -> Generator[Request, Answer | None, Charted | None]:
    """Renew a model at one lam after the other, in equal ratios from `here` to lam_end, and bring it to the wanted C there (on the
    draws of settles); None if that fails.

    gamma follows C in between. New weights become fewer: as many each time would land with too much rate, and walks lag long on the way
    back; none, after the first time, with too little.

    Tried in its place: a conditioned model of 40 epochs, folded at lam_end and trained for twelve. It landed 2.6 % above the lowest
    known F, the leap 0.6 %, which has the epochs of the walk before it, too (MNIST, one seed).
    """
    count, gamma = config.asked.renewal.leap, here.gamma
    shares = [SHARE * FADING**index for index in range(count)]
    if count > 1:
        shares[-1] = 0.0
    ratio = (config.asked.lam_end / here.lam) ** (1.0 / count)
    whole = Annealing(epochs=EPOCHS, begin=0.0, end=EPOCHS)
    for index in range(count - 1):
        at = dataclasses.replace(here, lam=here.lam * ratio ** (index + 1), gamma=gamma)
        trained = yield from trained_anew(config, work, at, state, whole, share=shares[index], round=index)
        if trained.outcome is not Outcome.OK:
            return None
        state, replica = trained.weights[0], Replica(name="renewed", point=at, weights=None)
        reading = measure_request(work, (replica,), trained.weights, "settle", splits=config.steering)
        found = held_readings(work.measured((yield reading)).readings)["renewed"]
        gamma *= min(max((found.C / wanted.C) ** (1.0 / ELASTICITY), 1.0 / LARGEST_FACTOR), LARGEST_FACTOR)
    there = dataclasses.replace(here, lam=config.asked.lam_end, gamma=gamma)
    landing = renew(config, work, there, state, wanted=wanted, F=None, share=shares[-1], before=count - 1, rounds=LANDING)
    return (yield from landing)
