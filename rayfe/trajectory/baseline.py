"""What people do instead of a transfer: train on the target, in the same rows as a walk (sec. 4, App. G)."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from rayfe.exceptions import WalkFailed
from rayfe.records import (
    Annealing,
    Answer,
    EquilibrateRequest,
    Outcome,
    Point,
    Replica,
    Request,
    StepRecord,
    Weights,
)
from rayfe.records.columns import Work
from rayfe.records.weights import pack, unpack
from rayfe.surface.step_control import Verdict
from rayfe.trajectory.base import Steps, Trajectory
from rayfe.trajectory.draws import Sets
from rayfe.trajectory.step import judging_request, measure_request

TRAINED_AT = {"finetune": 1.0, "scratch": 1.0, "joint": 0.5}
"""Position on the data path of what each method trains on; joint: both data sets, equally likely."""
ROWS = 15
"""Steps of a baseline, each of which is fully measured."""
PROCEED = Verdict(accepted=True, reason=None, next_length=0.0)


class Baseline(Trajectory):
    """`config.method`, at fixed (lam, gamma), annealed by the first equilibrium's schedule; a step is one of ROWS equal parts of it.

    Step 0 is the model before any training on the target: the source's equilibrium, with which a transfer starts, too
    (finetune, joint), or a new model (scratch). `C_target` is the source's C, which a transfer would hold; null for scratch.
    """

    def _end(self, accepted: Sequence[StepRecord]) -> str | None:
        return "trained" if accepted[-1].step >= ROWS else None

    def attempt(self) -> Steps:
        return self._first_step() if not self.accepted else self._next_step()

    @property
    def _point(self) -> Point:
        assert self._config.method is not None
        return Point(lam=self.start.lam, gamma=self.start.gamma, t=TRAINED_AT[self._config.method])

    def _first_step(self) -> Steps:
        work = Work(self._key(0))
        weights: Weights | None = None
        C_target = None
        if self._config.method != "scratch":
            weights, C_target = yield from self._source(work)
        return (yield from self._read(work, weights, {}, C_target=C_target))

    def _source(self, work: Work) -> Generator[Request, Answer | None, tuple[Weights, float]]:
        """The source's equilibrium, trained as a walk trains it, and its C on the source."""
        config, at = self._config, Point(lam=self.start.lam, gamma=self.start.gamma)
        new = Replica(name="centre", point=at, weights=None)
        epochs = config.equilibration.first_epochs
        whole = Annealing(epochs=epochs, begin=0.0, end=epochs)
        first = work.equilibrated((yield EquilibrateRequest(key=work.key, replicas=(new,), annealing=whole)), first=True)
        self._require(first.outcome, "first-learning-rate")
        replica = Replica(name="centre", point=at, weights=first.weights[0])
        request = EquilibrateRequest(key=work.key, replicas=(replica,), preconditioner=first.preconditioner)
        walk = work.equilibrated((yield request))
        self._require(walk.outcome, "learning-rate")
        read = work.measured((yield measure_request(work, (replica,), walk.weights, "test")))
        return walk.weights[0], read.readings[0].C

    def _next_step(self) -> Steps:
        last, config = self.accepted[-1], self._config
        work, interval = Work(self._key(last.step + 1)), config.method_epochs / ROWS
        end = min((last.step + 1) * interval, config.method_epochs)
        assert self._state is not None
        request = EquilibrateRequest(
            key=work.key,
            replicas=(Replica(name="centre", point=self._point, weights=self._state),),
            preconditioner=unpack(self._carry, "preconditioner") or None,
            annealing=Annealing(epochs=config.method_epochs, begin=last.step * interval, end=end),
        )
        trained = work.equilibrated((yield request))
        self._require(trained.outcome, "first-learning-rate")
        carry = pack(preconditioner=trained.preconditioner)
        return (yield from self._read(work, trained.weights[0], carry, C_target=last.C_target))

    def _read(self, work: Work, weights: Weights | None, carry: Weights, *, C_target: float | None) -> Steps:
        replica = Replica(name="settled", point=self._point, weights=weights)
        tested = work.measured((yield judging_request(work, replica, self._judged, Sets())))
        columns = {"process": self._config.method, "tested": tested.readings, "C_target": C_target}
        return self._commit(
            work, self._point, Outcome.OK, PROCEED, columns, accepted_state=tested.weights[0], carry=carry or None
        )

    def _require(self, outcome: Outcome, rate: str) -> None:
        if outcome is not Outcome.OK:
            raise WalkFailed(f"the training diverged; lower --equilibration.{rate}")
