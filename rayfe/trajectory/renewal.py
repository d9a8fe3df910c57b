"""Renewal: a model made partly anew and trained at the same lam and C, to leave a branch that is no longer the lowest.

The surface F is a minimum over models, and branches cross: a walk that only follows its own stays on it beyond the
crossing (MNIST from (0.25, 4): six of sixteen dimensions of z up to lam = 1.5, where a new model uses fifteen).
Noise alone does not nucleate the better branch, nor do new directions in unused dimensions of z; a blend with newly
initialised weights does.
"""

from __future__ import annotations

from collections.abc import Generator

from rayfe.config import RunConfig
from rayfe.records import Annealing, Answer, EquilibrateRequest, Outcome, Point, Replica, Request, Weights
from rayfe.rows import Work, number, probe_ends
from rayfe.trajectory.arrival import Charted, settle_on, train_charted

ALONE = 0.75
"""Part of the training before which there are no neighbours."""
HOPELESS = 0.02
"""Part of F by which a renewed model may then be higher than the old one. It loses 1 to 3 % until it is settled. On MNIST, with
six epochs, one that was kept in the end was 1.6 % higher, and those that were not were 2.6 and 2.8 %."""
ROUNDS = 4
"""Settles in which gamma may move until C is the wanted one."""


def renew(
    config: RunConfig, work: Work, here: Point, state: Weights, *, C: float, F: float | None
) -> Generator[Request, Answer | None, Charted | None]:
    """Train a renewed model at `here` and bring it to the wanted C (on the draws of settles); None if that fails, or is in vain.

    `state` is the model to be renewed, and `F` its free energy on the probe (None: not known). gamma stays until the training
    has been annealed: before that C is high, whatever gamma is.
    """
    epochs = config.renewal.epochs
    renewed = Replica(name="renewed", point=here, weights=state, renewed=config.renewal.share)
    alone = Annealing(epochs=epochs, begin=0.0, end=ALONE * epochs)
    trained = work.equilibrated((yield EquilibrateRequest(key=work.key, replicas=(renewed,), annealing=alone)))
    now = probe_ends(trained.readings)["F_end"]
    if trained.outcome is not Outcome.OK or (F is not None and number(now) > (1.0 + HOPELESS) * F):
        return None
    rest = Annealing(epochs=epochs, begin=ALONE * epochs, end=epochs)
    chart = yield from train_charted(config, work, here, trained.weights[0], trained.preconditioner, annealing=rest)
    return None if chart is None else (yield from settle_on(config, work, chart, C=C, rounds=ROUNDS))
