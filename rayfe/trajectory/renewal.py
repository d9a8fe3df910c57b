"""Renewal: a model made partly anew and trained at the same lam and C, to leave a branch that is no longer the lowest.

The surface F is a minimum over models, and branches cross: a walk that only follows its own stays on it beyond the
crossing (MNIST from (0.25, 4): six of sixteen dimensions of z up to lam = 1.5, where a new model uses fifteen).
Noise alone does not nucleate the better branch, nor do new directions in unused dimensions of z; a blend with newly
initialised weights does.
"""

from __future__ import annotations

from collections.abc import Generator

from rayfe.config import RunConfig
from rayfe.records import (
    Annealing,
    Answer,
    EquilibrateRequest,
    MeasureRequest,
    Outcome,
    Point,
    Replica,
    Request,
    Response,
    Weights,
)
from rayfe.rows import Work, held_readings
from rayfe.trajectory.arrival import Charted, settle_on, train_charted

STRETCHES = ((0.0, 0.5), (0.5, 0.75))
"""Parts of the training after which gamma is corrected towards the wanted C; in the rest neighbours are trained, too."""
ELASTICITY = (0.3, 2.0)
"""Bounds of -d log C / d log gamma, which the old branch's response gives."""
LARGEST_FACTOR = 1.5
"""By which one correction may change gamma."""
ROUNDS = 3


def renew(
    config: RunConfig, work: Work, here: Point, state: Weights, response: Response, *, C_now: float, C: float
) -> Generator[Request, Answer | None, Charted | None]:
    """Train a renewed model at `here` and bring it to the wanted C (on the draws of settles); None if that fails.

    `state` is the model to be renewed and `C_now` its loss, `response` that of its branch.
    """
    low, high = ELASTICITY
    elasticity = min(max(-response.C_gamma * here.gamma / C_now, low), high)
    point, weights, moments, epochs, end = here, state, None, config.renewal.epochs, 0.0
    for begin, end in STRETCHES:
        share = config.renewal.share if begin == 0.0 else 0.0
        replica = Replica(name="renewed", point=point, weights=weights, renewed=share)
        annealing = Annealing(epochs=epochs, begin=begin * epochs, end=end * epochs)
        request = EquilibrateRequest(key=work.key, replicas=(replica,), preconditioner=moments, annealing=annealing)
        trained = work.equilibrated((yield request))
        if trained.outcome is not Outcome.OK:
            return None
        weights, moments = trained.weights[0], trained.preconditioner
        replica = Replica(name="renewed", point=point, weights=weights)
        measure = MeasureRequest(key=work.key, replicas=(replica,), splits=config.steering, purpose="settle", part=True)
        read = held_readings(work.measured((yield measure)).readings)["renewed"]
        factor = min(max((read.C / C) ** (1.0 / elasticity), 1.0 / LARGEST_FACTOR), LARGEST_FACTOR)
        point = Point(lam=point.lam, gamma=point.gamma * factor, t=point.t)
    annealing = Annealing(epochs=epochs, begin=end * epochs, end=epochs)
    chart = yield from train_charted(config, work, point, weights, moments, annealing=annealing)
    return None if chart is None else (yield from settle_on(config, work, chart, C=C, rounds=ROUNDS))
