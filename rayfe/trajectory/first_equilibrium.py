"""Step 0: the start's own equilibrium, brought about by the walk's settings or read as a stored model is, with the response around it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator
from dataclasses import dataclass

from rayfe.config import RunConfig
from rayfe.exceptions import WalkFailed
from rayfe.records import Annealing, Answer, EquilibrateRequest, Outcome, Point, Reading, Replica, Request, Split, Weights
from rayfe.records.columns import Observed, held_readings, probe_ends
from rayfe.records.weights import without
from rayfe.records.work import Work
from rayfe.surface.response import response_of
from rayfe.surface.stencil import centre_only, neighbours
from rayfe.trajectory.chart import Tangents, tangents_of
from rayfe.trajectory.draws import Sets
from rayfe.trajectory.equilibration import LocalChart, Trainee, differentiated, with_derivatives
from rayfe.trajectory.measuring import judging_request, measure_request


@dataclass(frozen=True, kw_only=True, slots=True)
class Started:
    """The model of step 0 with the chart around it, before it is read with the draws that judge.

    `centre` is its reading with the first set of the settle's draws: of the training split, with C of the split on which it is held.
    """

    chart: Trainee
    centre: Reading
    observed: Observed


@dataclass(frozen=True, kw_only=True, slots=True)
class Tested:
    """The model of step 0, read with the draws that judge; `held` is as `Started.centre`."""

    held: Reading
    state: Weights
    observed: Observed
    """With what was observed before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class First:
    """The model that a start begins with: trained at its point, or given and read as it is."""

    model: Weights
    preconditioner: Weights | None = None
    readings: tuple[Reading, ...] = ()
    """Of its training, on the probe."""
    trained: bool = True


def first_training(
    config: RunConfig, work: Work, point: Point, given: Weights | None
) -> Generator[Request, Answer | None, First]:
    """The model with which step 0 begins: new weights, or a state dict's, trained by the first equilibrium's schedule; a stored step's
    model is what it is. `given` None: new weights.

    Raises:
        WalkFailed: the training diverged.
    """
    epochs = config.start_epochs
    if epochs == 0.0:
        assert given is not None
        return First(model=given, trained=False)
    replica = Replica(name="centre", point=point, weights=given)
    whole = Annealing(epochs=epochs, begin=0.0, end=epochs)
    first = work.equilibrated((yield EquilibrateRequest(key=work.key, replicas=(replica,), annealing=whole)), first=True)
    if first.outcome is not Outcome.OK:
        raise WalkFailed("the first equilibrium diverged; lower ``equilibration.first_learning_rate``")
    return First(model=first.weights[0], preconditioner=first.preconditioner, readings=first.readings)


def start_equilibrium(
    config: RunConfig, work: Work, point: Point, given: Weights | None, *, moved_by: tuple[str, ...]
) -> Generator[Request, Answer | None, Started]:
    """The first model at `point`, then a stencil around it; tangents in the multipliers `moved_by`.

    Raises:
        WalkFailed: a training diverged, or a model has no finite F in evaluation mode.
    """
    first = yield from first_training(config, work, point, given)
    implicit = config.asked.derivatives == "implicit"
    points = centre_only(point) if implicit else neighbours(point, config.asked.stencil, config.neighbours)
    replicas = tuple(Replica(name=name, point=at, weights=first.model) for name, at in points.items())
    models, preconditioner, F_end = yield from equilibrated_around(work, first, replicas)
    measure = measure_request(work, replicas, models, "settle", splits=config.steering, slope_in_t=config.moves_data)
    read = held_readings(work.measured((yield measure)).readings)
    observed = Observed()
    tangents: Tangents
    if implicit:
        exact = yield from differentiated(work, point, models[0])
        response, tangents = exact.response, {multiplier: exact.tangents[multiplier] for multiplier in moved_by}
        observed = with_derivatives(observed, exact)
    else:
        response, tangents = response_of(read), tangents_of(moved_by, replicas, models)
    require_finite(read["centre"].F, response.C_gamma, response.C_lam)
    observed = dataclasses.replace(
        observed,
        response=response,
        response_age=0,
        C_settle_target=read["centre"].C,
        first_updates=max((reading.update for reading in first.readings), default=None),
        F_start=probe_ends(first.readings).F_start,
        F_end=F_end,
    )
    chart = LocalChart(weights=models[0], tangents=tangents, response=response, response_age=0, preconditioner=preconditioner)
    return Started(chart=chart, centre=read["centre"], observed=observed)


def equilibrated_around(
    work: Work, first: First, replicas: tuple[Replica, ...]
) -> Generator[Request, Answer | None, tuple[tuple[Weights, ...], Weights | None, float | None]]:
    """The models of a stencil by one equilibration of the walk, what it leaves for the next one, and J of the centre at its end. A model
    that is read as it is stays the centre: only its neighbours are trained, from it.

    Raises:
        WalkFailed: it diverged.
    """
    training = replicas if first.trained else replicas[1:]
    if not training:
        return (first.model,), None, None
    request = EquilibrateRequest(key=work.key, replicas=training, preconditioner=first.preconditioner)
    walk = work.equilibrated((yield request))
    if walk.outcome is not Outcome.OK:
        raise WalkFailed("the walk's equilibration diverged at the start; lower ``equilibration.learning_rate``")
    if first.trained:
        return walk.weights, walk.preconditioner, probe_ends(walk.readings).F_end
    learnt = without(
        walk.preconditioner or {}, "ahead"
    )  # how far a neighbour's last iterate was ahead is nothing of the centre's
    return (first.model, *walk.weights), learnt or None, None


def read_start(
    config: RunConfig, work: Work, point: Point, started: Started, *, sets: Sets, splits: tuple[Split, ...], again: bool = False
) -> Generator[Request, Answer | None, Tested]:
    """Read the start with the draws that judge, as many of them as steps may have at most; `again`: it was read with fewer.

    Raises:
        WalkFailed: it has no finite F.
    """
    settled = Replica(name="settled", point=point, weights=started.chart.weights)
    tested = work.measured((yield judging_request(work, settled, splits, sets)), again=again)
    held = held_readings(tested.readings)["settled"]
    require_finite(held.F)
    observed = dataclasses.replace(
        started.observed,
        tested=tested.readings,
        draw_sets=sets.head,
        decoder_sets=sets.decoder,
        held_on=str(config.held_on),
        C_target=held.C,
        drift_se=0.0,
        excess=0.0,
    )
    return Tested(held=held, state=tested.weights[0], observed=observed)


def settle_targets(
    config: RunConfig, work: Work, point: Point, started: Started, *, usual: Sets, most: Sets
) -> Generator[Request, Answer | None, dict[Sets, Reading]]:
    """The start on the draws of settles, by every number of sets that a settle may have: only what was read with the same draws can be
    compared where few of them are read."""
    centre = Replica(name="centre", point=point, weights=started.chart.weights)
    read = {Sets(): started.centre}
    for sets in usual.up_to(most):
        if sets not in read:
            measure = measure_request(work, (centre,), (centre.weights,), "settle", splits=config.steering)
            measure = dataclasses.replace(measure, draw_sets=sets.head, decoder_sets=sets.decoder)
            read[sets] = held_readings(work.measured((yield measure), again=True).readings)["centre"]
    return read


def require_finite(*values: float) -> None:
    """Raise WalkFailed where some value is not finite."""
    if not all(map(math.isfinite, values)):
        raise WalkFailed(
            "the start or a neighbour has no finite F in evaluation mode; lower ``equilibration.first_learning_rate``"
        )
