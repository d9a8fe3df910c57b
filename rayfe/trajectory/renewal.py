"""Renewal: a model made partly anew and trained at the same lam and C, to leave a branch that is no longer the lowest.

The surface F is a minimum over models, and branches cross: a walk that only follows its own stays on it beyond the
crossing (MNIST from (0.25, 4): six of sixteen dimensions of z up to lam = 1.5, where a new model uses fifteen).
Noise alone does not nucleate the better branch, nor do new directions in unused dimensions of z; a blend with newly
initialised weights does.
"""

from __future__ import annotations

from collections.abc import Generator

from rayfe.config import RunConfig
from rayfe.records import Annealing, Answer, Equilibrated, EquilibrateRequest, Outcome, Point, Replica, Request, Weights
from rayfe.records.columns import number, probe_ends
from rayfe.records.work import Work
from rayfe.trajectory.target_loss import Charted, WantedLoss, settle_on, train_charted

SHARE = 0.6
"""Part of newly initialised weights that is blended into the model's."""
EPOCHS = 12.0
"""Of the training of a renewed model, by the schedule and rate of the first equilibrium."""
ALONE = 0.75
"""Part of the training before which there are no neighbours."""
HOPELESS = 0.02
"""Part of F by which a renewed model may then be higher than the old one. It loses 1 to 3 % until it is settled. On MNIST, with
six epochs, one that was kept in the end was 1.6 % higher, and those that were not were 2.6 and 2.8 %."""
ROUNDS = 4
"""Settles in which gamma may move until C is the wanted one."""


def renew(
    config: RunConfig,
    work: Work,
    here: Point,
    state: Weights,
    *,
    wanted: WantedLoss,
    F: float | None,
    share: float = SHARE,
    before: int = 0,
    rounds: int = ROUNDS,
) -> Generator[Request, Answer | None, Charted | None]:
    """Train a renewed model at `here` and bring it to the wanted C (on the draws of settles); None if that fails, or is in vain.

    `state` is the model to be renewed by a `share` of new weights, and `F` its free energy on the probe (None: not known). gamma
    stays until the training has been annealed: before that C is high, whatever gamma is. `before`: renewals of the same step that
    came before.
    `rounds`: settles in which gamma may move.
    """
    alone = Annealing(epochs=EPOCHS, begin=0.0, end=ALONE * EPOCHS)
    trained = yield from trained_anew(config, work, here, state, alone, share=share, round=before)
    now = probe_ends(trained.readings).F_end
    if trained.outcome is not Outcome.OK or (F is not None and number(now) > (1.0 + HOPELESS) * F):
        return None
    rest = Annealing(epochs=EPOCHS, begin=ALONE * EPOCHS, end=EPOCHS)
    weights, left = trained.weights[0], trained.preconditioner
    chart = yield from train_charted(config, work, here, weights, left, annealing=rest)
    return None if chart is None else (yield from settle_on(config, work, chart, wanted=wanted, rounds=rounds))


def trained_anew(
    config: RunConfig, work: Work, at: Point, state: Weights, part: Annealing, *, share: float, round: int
) -> Generator[Request, Answer | None, Equilibrated]:
    """A model with a `share` of new weights, trained by (a part of) the first equilibrium's schedule; each `round` has its own."""
    renewed = Replica(name="renewed", point=at, weights=state, renewed=share)
    request = EquilibrateRequest(key=work.key, replicas=(renewed,), annealing=part, round=round)
    return work.equilibrated((yield request))
