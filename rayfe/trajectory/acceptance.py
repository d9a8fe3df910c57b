"""How a step of a walk is judged: whether what it holds has the start's values, and what it leaves behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from rayfe.records import Commit, Outcome, Reading, StepRecord, Weights
from rayfe.records.carried import Carried
from rayfe.records.columns import Observed
from rayfe.records.work import Work
from rayfe.surface.envelope import excess
from rayfe.surface.equivalence import Miss
from rayfe.surface.step_control import Judgement, judge
from rayfe.trajectory import history
from rayfe.trajectory.attainable import BY_DRAWS
from rayfe.trajectory.draws import Sets, sets_of
from rayfe.trajectory.step import Candidate
from rayfe.trajectory.walk_state import WalkState


def draws_of(state: WalkState) -> Sets:
    """Draws of the next attempt: as many as the start's error asks for or the last step took, and twice as many after each
    rejection that draws may explain."""
    holding = state.holding
    return draws_after(state, usual=holding.usual, most=holding.most, misses=lambda row: (holding.miss_in(row),))


def draws_after(state: WalkState, *, usual: Sets, most: Sets, misses: Callable[[StepRecord], Sequence[Miss | None]]) -> Sets:
    """The same of whatever is held: `usual` of the first step, `most` at most, and the `misses` of a rejected row."""
    sets = usual if state.last.step == 0 else sets_of(state.last)
    for row in history.attempts(state.rows):
        if row.reason in BY_DRAWS and all(miss is not None and miss.may_hold for miss in misses(row)):
            sets = sets.doubled(most)
    return sets


def kept(state: WalkState) -> Observed:
    """What is held, which every row has from the one before."""
    last, holds_C = state.last, state.holding.holds_C
    return Observed(
        held_on=last.held_on if holds_C else None,
        C_target=last.C_target if holds_C else None,
        C_settle_target=last.C_settle_target,
        k=last.k,
    )


def with_misses(state: WalkState, observed: Observed, train: Reading, held: Reading) -> Observed:
    """And how far a model is off what is held, and above the lowest known; `held` has C of the split on which it is held."""
    first, line = state.holding.misses(held)[0], state.holding.line_miss(held)
    return dataclasses.replace(
        observed,
        drift_se=state.holding.drift_se(held),
        held_drift=first.value,
        held_drift_se=first.error,
        excess=excess(state.accepted, train),
        line_miss=None if line is None else line[0],
        line_miss_se=None if line is None else line[1],
    )


def judged(state: WalkState, outcome: Outcome, held: Reading | None, *, used: float, length: float) -> Judgement:
    """Whether the walk goes on from a model with the reading `held`, after a settle that `used` so much of its reach."""
    return judge(
        outcome=outcome,
        misses=state.holding.misses(held) if held is not None and state.config.asked.settle else (),
        shift_used=used,
        length=length,
        longest=state.config.asked.step_length,
        growth=state.process.growth,
    )


def left_behind(
    state: WalkState, work: Work, found: Candidate, *, length: float, previous: Weights | None, in_vain: bool = False
) -> Commit:
    """What a step of this length leaves behind; `previous`: the model from which the walk came to this one. `in_vain`: it is not
    wanted, whatever it holds."""
    judgement = judged(state, found.outcome, found.held, used=found.used, length=length)
    if found.train is None or found.held is None or found.chart is None:
        return state.left_behind(work, found.point, found.outcome, judgement, found.observed)
    observed = with_misses(state, found.observed, found.train, found.held)
    if in_vain and judgement.accepted:
        judgement = dataclasses.replace(judgement, accepted=False, reason="renewal")
    carried = Carried(
        tangents=found.chart.tangents,
        previous=previous,
        preconditioner=found.chart.preconditioner,
        start=state.carried.start,
    )
    return state.left_behind(work, found.point, found.outcome, judgement, observed, weights=found.state, carried=carried)
