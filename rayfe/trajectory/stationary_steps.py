"""Steps of no length: the model of a walk is trained anew where it stands, to leave its branch or to make good its lag."""

from __future__ import annotations

import dataclasses
import math

from rayfe.records import Annealing, EquilibrateRequest, Outcome, Point, Replica
from rayfe.records.columns import Work, held_readings
from rayfe.records.weights import pack, unpack
from rayfe.surface.step_control import MOVES, Verdict
from rayfe.trajectory import history
from rayfe.trajectory.base import Steps
from rayfe.trajectory.constraint import wanted_loss
from rayfe.trajectory.draws import columns_of
from rayfe.trajectory.envelope import bound
from rayfe.trajectory.renewal import leap, renew
from rayfe.trajectory.step import Candidate, judging, take_step
from rayfe.trajectory.walk_state import Judged

RENEWAL_GAIN = 1e-3
"""Part of F by which a renewed model must be lower, half-way to the next renewal, and by which a last training may end higher."""


class InPlace(Judged):
    """What a walk does where it stands."""

    # --- renewals -----------------------------------------------------------------------------------------------------

    def _renewal_is_due(self) -> bool:
        every, start = self._config.renewal.every, self.accepted[0]
        if every is None or self._config.process != "iso-classification" or self._way.over_again:
            return False
        tried = history.renewals(self._rows)
        return abs(math.log(self.accepted[-1].lam / (tried[-1] if tried else start.lam))) >= every - 1e-9

    def _renewal(self) -> Steps:
        """Accepted if it bounds F lower than the last step's model does where the walk will be half-way to the next renewal; the
        first one may be a leap, which is judged where it lands."""
        last, config, here = self.accepted[-1], self._config, self._here
        work = Work(self._key(last.step + 1))
        assert self._state is not None
        holding = self._holding
        sets = self._sets(holding)
        wanted = wanted_loss(holding, sets)
        if config.renewal.leap and not history.renewals(self._rows):
            ahead = dataclasses.replace(here, lam=config.lam_end)
            found = yield from leap(config, work, here, self._state, wanted=wanted)
        else:
            ahead = self._half_way(here)
            found = yield from renew(config, work, here, self._state, wanted=wanted, F=last.F_end)
        length = last.next_step_length or config.step_length
        rejected = Verdict(accepted=False, reason="renewal", next_length=length)
        columns = self._kept_columns | {"step_length": 0.0}
        if found is None:
            return self._commit(work, here, Outcome.NOT_EQUILIBRATED, rejected, columns, accepted_state=None, carry={})
        replica = Replica(name="settled", point=found.point, weights=found.weights)
        tested, sets = yield from judging(work, replica, self._judged, holding, sets)
        train, held = tested.readings[0], held_readings(tested.readings)["settled"]
        columns |= {"tested": tested.readings, "response": found.response, "response_age": 0}
        columns |= columns_of(sets) | self._judged_columns(train, held)
        carry = pack(tangent=found.tangent, preconditioner=found.preconditioner, start=unpack(self._carry, "start"))
        holds = self._judge(Outcome.OK, held, used=0.0, length=length).accepted
        better = bound(train, ahead) < (1.0 - RENEWAL_GAIN) * bound(last, ahead)
        verdict = Verdict(accepted=True, reason=None, next_length=length) if holds and better else rejected
        return self._commit(work, found.point, Outcome.OK, verdict, columns, accepted_state=tested.weights[0], carry=carry)

    def _half_way(self, here: Point) -> Point:
        """Where the walk will be half-way to the next renewal, at the same gamma."""
        every, lam_end = self._config.renewal.every, self._config.lam_end
        assert every is not None
        length = min(0.5 * every, self._process.left(here))
        return dataclasses.replace(here, lam=here.lam * math.exp(math.copysign(length, lam_end - here.lam)))

    # --- the last training of a transfer ------------------------------------------------------------------------------

    def _last_training(self) -> Steps:
        """Anneal the model where it is, then take a step of no length there; not accepted if F is higher than before."""
        last, config, here = self.accepted[-1], self._config, self._here
        work, epochs = Work(self._key(last.step + 1)), config.path.last_epochs
        assert self._state is not None
        chart = self._chart(self._state)
        replica = Replica(name="centre", point=here, weights=chart.weights)
        whole = Annealing(epochs=epochs, begin=0.0, end=epochs)
        request = EquilibrateRequest(
            key=work.key, replicas=(replica,), preconditioner=chart.preconditioner, annealing=whole, rate=chart.rate
        )
        trained = work.equilibrated((yield request))
        if trained.outcome is not Outcome.OK:
            found = Candidate(outcome=trained.outcome, point=here, columns={})
        else:
            chart = dataclasses.replace(chart, weights=trained.weights[0], preconditioner=trained.preconditioner)
            holding = self._holding
            sets, splits = self._sets(holding), self._judged
            found = yield from take_step(
                config, work, here, chart, holding, sets=sets, refresh=True, moves=MOVES, splits=splits
            )
        higher = found.train is not None and bound(found.train, found.point) > (1.0 + RENEWAL_GAIN) * bound(last, found.point)
        return self._committed_candidate(work, found, {"step_length": 0.0}, length=0.0, previous=None, in_vain=higher)
