"""Renewal: a model made partly anew and trained at the same lam and C, to leave a branch that is no longer the lowest.

The surface F is a minimum over models, and branches cross: a walk that only follows its own stays on it beyond the
crossing (MNIST from (0.25, 4): six of sixteen dimensions of z up to lam = 1.5, where a new model uses fifteen).
Noise alone does not nucleate the better branch, nor do new directions in unused dimensions of z; a blend with newly
initialised weights does.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator

from rayfe.config import RunConfig
from rayfe.records import Annealing, Answer, EquilibrateRequest, Outcome, Point, Replica, Request, Weights
from rayfe.rows import Work, held_readings, number, probe_ends
from rayfe.trajectory.arrival import LARGEST_FACTOR, Charted, settle_on, train_charted
from rayfe.trajectory.step import measure_request

ALONE = 0.75
"""Part of the training before which there are no neighbours."""
HOPELESS = 0.02
"""Part of F by which a renewed model may then be higher than the old one. It loses 1 to 3 % until it is settled. On MNIST, with
six epochs, one that was kept in the end was 1.6 % higher, and those that were not were 2.6 and 2.8 %."""
ROUNDS = 4
"""Settles in which gamma may move until C is the wanted one."""
LANDING = 10
"""The same after a leap, when gamma is that of elsewhere."""
ELASTICITY = 0.7
"""-d log C / d log gamma where nothing is known (0.5 to 0.6 on MNIST from lam = 0.25 to 3.5, so that gamma does not overshoot)."""


def renew(
    config: RunConfig, work: Work, here: Point, state: Weights, *, C: float, F: float | None
) -> Generator[Request, Answer | None, Charted | None]:
    """Train a renewed model at `here` and bring it to the wanted C (on the draws of settles); None if that fails, or is in vain.

    `state` is the model to be renewed, and `F` its free energy on the probe (None: not known). gamma stays until the training
    has been annealed: before that C is high, whatever gamma is.
    """
    renewed = Replica(name="renewed", point=here, weights=state, renewed=config.renewal.share)
    whole = Annealing(epochs=config.renewal.epochs, begin=0.0, end=config.renewal.epochs)
    chart = yield from _annealed(config, work, renewed, None, whole, F=F)
    return None if chart is None else (yield from settle_on(config, work, chart, C=C, rounds=ROUNDS))


def leap(
    config: RunConfig, work: Work, here: Point, state: Weights, *, C: float
) -> Generator[Request, Answer | None, Charted | None]:
    """Renew a model in one long training, during which lam climbs in equal ratios to lam_end, and bring it to the wanted C there
    (on the draws of settles); None if that fails.

    Each part of it is as long as a renewal. In between gamma follows C.
    """
    count, epochs = config.renewal.leap, config.renewal.epochs
    ratio = (config.lam_end / here.lam) ** (1.0 / count)
    lams = [*(here.lam * ratio**power for power in range(1, count)), config.lam_end]
    *parts, last = (Annealing(epochs=count * epochs, begin=index * epochs, end=(index + 1) * epochs) for index in range(count))
    weights, left, gamma, share = state, None, here.gamma, config.renewal.share
    for lam, part in zip(lams, parts, strict=False):
        at = dataclasses.replace(here, lam=lam, gamma=gamma)
        replica = Replica(name="renewed", point=at, weights=weights, renewed=share)
        request = EquilibrateRequest(key=work.key, replicas=(replica,), preconditioner=left, annealing=part)
        trained = work.equilibrated((yield request))
        if trained.outcome is not Outcome.OK:
            return None
        reading = measure_request(work, (replica,), trained.weights, "settle", splits=config.steering)
        found = held_readings(work.measured((yield reading)).readings)["renewed"]
        gamma *= min(max((found.C / C) ** (1.0 / ELASTICITY), 1.0 / LARGEST_FACTOR), LARGEST_FACTOR)
        weights, left, share = trained.weights[0], trained.preconditioner, 0.0
    there = dataclasses.replace(here, lam=config.lam_end, gamma=gamma)
    replica = Replica(name="renewed", point=there, weights=weights, renewed=share)
    chart = yield from _annealed(config, work, replica, left, last, F=None)
    return None if chart is None else (yield from settle_on(config, work, chart, C=C, rounds=LANDING))


def _annealed(
    config: RunConfig, work: Work, replica: Replica, preconditioner: Weights | None, part: Annealing, *, F: float | None
) -> Generator[Request, Answer | None, Charted | None]:
    """The replica trained for the rest of an annealed training, at the end of it with neighbours; None if that diverges, or ends
    far above F before they begin."""
    begin = part.begin + ALONE * (part.end - part.begin)
    alone, rest = dataclasses.replace(part, end=begin), dataclasses.replace(part, begin=begin)
    request = EquilibrateRequest(key=work.key, replicas=(replica,), preconditioner=preconditioner, annealing=alone)
    trained = work.equilibrated((yield request))
    now = probe_ends(trained.readings)["F_end"]
    if trained.outcome is not Outcome.OK or (F is not None and number(now) > (1.0 + HOPELESS) * F):
        return None
    weights, left = trained.weights[0], trained.preconditioner
    return (yield from train_charted(config, work, replica.point, weights, left, annealing=rest))
