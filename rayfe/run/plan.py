"""What a job would do, before anything runs: trajectories, requests, training examples, memory, disk. Numbers, no torch.

Estimates follow the walk as `walk`, `endpoint` and `baseline` drive it, without rejected attempts.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from rayfe.config import UNHELD, RunConfig, Start
from rayfe.records import Point
from rayfe.records.columns import number
from rayfe.surface.stencil import neighbours
from rayfe.surface.step_control import ROUNDING
from rayfe.trajectory.baseline import ROWS
from rayfe.trajectory.draws import BOUND, PART, Sets, sets_for
from rayfe.trajectory.line import LINE_TOLERANCE
from rayfe.trajectory.process_registry import process_class, process_of
from rayfe.trajectory.renewal import EPOCHS as RENEWAL_EPOCHS

FORWARD = 1.0 / 3.0
"""Training examples that a forward pass over one example counts as."""
SETTLES = 2.5
"""Functional evaluations of a settle, about; each encodes all examples, and before that those that statistics are of, and decodes
them where D is held."""
SECOND = 8
"""With one draw through the decoder every so many-th example has a second one."""
ARRIVAL = 7
"""Models trained until that of a geodesic's end has the start's C, about: two stencils and a round (`arrival`)."""
RENEWED = 3
"""The same for a renewed model, besides its own training: two neighbours in the last quarter of it, and two or three rounds."""
MOVED = 1.0
"""Models trained by moves beyond the chart in each step of a transfer, about (MNIST 0-4 to 5-9: 12 in 13 steps)."""
AGAIN = 0.4
"""Part of the way that a walk which came back goes a third time, about (MNIST to lam = 3.5 and 7.7: 10 of 27 steps)."""
SCATTER_C, SCATTER_D = 1.8, 0.12
"""Standard deviations over z of C and D of one example, as parts of C0 and D0, about (MNIST: 64 draws leave 0.09 % of C0 uncertain,
two leave 0.05 % of D0). Of a start with a small C0 it is more."""
LINE = 0.08
"""Largest distance in D from a geodesic's line of its own length, as a part of D0, about (MNIST 0-4 to 5-9)."""
COPIES = 11
"""Copies of the weights of one replica while it trains: itself, gradient, two moments, SOAP's own, mean, carry, answer."""
FLOAT = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """What a plan needs of data and model."""

    train: int
    """Examples that one epoch visits: of a mixture as many as the larger end has."""
    read: int
    """Examples that a reading of the training split visits: of a mixture those of both ends."""
    validation: int
    features: int
    """Numbers in one example."""
    examples: int
    """All examples that lie in memory, both ends of a data path together."""
    parameters: int
    head: float
    """Cost of one draw of z through the classifier as a part of a forward pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Of one trajectory, and of the run's memory and disk in bytes."""

    steps: int
    """Accepted steps after the start, about; renewals are steps, too. Without a third way at most."""
    trainings: int
    """Models trained: replicas of all equilibrations."""
    requests: int
    first_updates: int
    """Updates of the first equilibrium."""
    training_examples: float
    measuring_examples: float
    memory: float
    disk: float
    certificate_examples: float
    """At most, at the end: of training the last model on (`config.certificate_share`)."""

    @property
    def examples(self) -> float:
        """As its rows count them, without the certificate."""
        return self.training_examples + self.measuring_examples


def plan_of(config: RunConfig, start: Start, sizes: Sizes) -> Plan:
    """The plan of the trajectory from `start`."""
    at = Point(lam=start.lam, gamma=start.gamma, t=0.5 if config.moves_data else 0.0)
    stencil = len(neighbours(at, "paper" if config.seek else config.stencil, config.neighbours))
    if config.process in UNHELD:
        config, stencil = dataclasses.replace(config, settle=False, refresh=config.steps + 1), 1
    if config.method is not None:
        steps = min(config.steps, ROWS)
        first = 0.0 if config.method == "scratch" else config.equilibration.first_epochs + config.equilibration.epochs
        epochs, trainings, refreshes = first + config.method_epochs, steps + 2, 0
    else:
        renewals = _renewals(config, start)
        steps = min(config.steps, walk_steps(config, start) + renewals)
        refreshes = steps if config.seek else steps // config.refresh
        trained = stencil + max(0, steps - renewals) + refreshes * (stencil - 1)
        trainings, epochs = 1 + trained, config.equilibration.first_epochs + config.equilibration.epochs * trained
        if config.process == "geodesic" and config.k is None:
            epochs += config.equilibration.first_epochs + ARRIVAL * config.equilibration.epochs
            trainings += 1 + ARRIVAL
        if config.moves_data and config.settle:
            epochs, trainings = epochs + MOVED * steps * config.equilibration.epochs, trainings + round(MOVED * steps)
        if config.moves_data and config.path.last_epochs and steps < config.steps:
            steps, trainings, refreshes = steps + 1, trainings + 1 + stencil, refreshes + 1
            epochs += config.path.last_epochs + stencil * config.equilibration.epochs
        cycles = max(1, config.renewal.leap)
        epochs += renewals * ((cycles + 0.5) * RENEWAL_EPOCHS + RENEWED * config.equilibration.epochs)
        trainings += renewals * (2 + cycles + RENEWED)
    measured = _measured(config, sizes, steps=steps, refreshes=refreshes, stencil=stencil)
    replicas = config.per_part or stencil
    held = COPIES * replicas * sizes.parameters + sizes.examples * sizes.features
    working = config.measure.chunk * sizes.features * 8 + config.equilibration.largest_batch * sizes.features * 8 * replicas
    training = epochs * sizes.train * 0.5 * (1 + config.equilibration.decoder_draws)
    certificate = config.certificate_share if config.method is None else 0.0
    return Plan(
        steps=steps,
        trainings=trainings,
        first_updates=first_updates(config, sizes.train),
        requests=4 + steps * (3 if config.settle else 2) + refreshes,
        training_examples=training,
        measuring_examples=FORWARD * measured,
        memory=FLOAT * (held + working),
        disk=FLOAT * sizes.parameters * (kept_states(config, steps) + 4),
        certificate_examples=certificate * (training + FORWARD * measured),
    )


def _measured(config: RunConfig, sizes: Sizes, *, steps: int, refreshes: int, stencil: int) -> float:
    """Forward passes that measuring takes: of the start and the steps, their settles, their stencils and their certificates."""
    few, usual = Sets(), sets_of(config, sizes)
    part, statistics = (
        min(size or sizes.read, sizes.read) for size in (config.measure.response_size, config.measure.statistics_size)
    )
    measured = (steps + 1) * (statistics + _reading(config, sizes, usual) * (sizes.read + sizes.validation))
    settles = steps * SETTLES if config.settle and config.method is None else 0.0
    if config.process == "geodesic" or config.seek:  # D is settled, too
        measured += settles * (statistics + _reading(config, sizes, usual) * sizes.read)
    else:
        head = sizes.head * config.measure.head_draws * usual.head
        measured += settles * (0.5 * (statistics + sizes.read) + head * sizes.read)
    measured += refreshes * (stencil * statistics + _reading(config, sizes, few) * (sizes.read + (stencil - 1) * part))
    share = config.measure.bound_share + config.measure.gradient_share
    return measured + (steps + 1) * share * config.equilibration.epochs * sizes.train / FORWARD


def _reading(config: RunConfig, sizes: Sizes, sets: Sets) -> float:
    """Forward passes that reading one example takes."""
    decoded = 2.0 if config.measure.decoder_draws == 2 else 1.0 + 1.0 / SECOND
    return 0.5 * (1.0 + decoded * sets.decoder) + sizes.head * config.measure.head_draws * sets.head


def sets_of(config: RunConfig, sizes: Sizes) -> Sets:
    """Sets of draws that steps are read with, about: by what is held, and by how large C and D of MNIST scatter over z."""
    if not config.settle or config.method is not None:
        return Sets()
    sought = {name for name, _ in config.wanted}
    holds_C = "C" in sought if sought else config.process != "iso-functional" or bool(config.functional[2])
    holds_D = (
        "D" in sought or config.process == "geodesic" or (config.process == "iso-functional" and bool(config.functional[1]))
    )
    of_line = config.process == "geodesic" and config.k is None
    allowed = LINE * LINE_TOLERANCE if of_line else config.tolerance
    C, D = (
        PART * scatter / math.sqrt(sizes.read * draws)
        for scatter, draws in ((SCATTER_C, config.measure.head_draws), (SCATTER_D, config.measure.decoder_draws))
    )
    return Sets(
        head=sets_for(C / config.tolerance, BOUND.head) if holds_C else 1,
        decoder=sets_for(D / allowed, BOUND.decoder) if holds_D else 1,
    )


def first_updates(config: RunConfig, examples: int) -> int:
    """Updates of a first equilibrium on so many examples."""
    equilibration = config.equilibration
    return max(1, round(equilibration.first_epochs * examples / equilibration.batch_of(annealed=True)))


def walk_steps(config: RunConfig, start: Start) -> int:
    """Steps from the start to the end at the lengths that the stepper may use, all of them once more on the way back and AGAIN of
    them there again; with a leap only those before it on the way there."""
    there = steps_of(config, way_of(config, start))
    if not config.both_ways:
        return there
    leaps = config.renewal.leap and config.renewal.every is not None
    first = steps_of(config, min(number(config.renewal.every), way_of(config, start))) if leaps else there
    return min(config.steps, first + there + math.ceil(AGAIN * there))


def steps_of(config: RunConfig, way: float) -> int:
    """Steps that `way` takes at the lengths that the stepper may use, `config.steps` at most."""
    length, growth = config.step_length_first or config.step_length, process_class(config.process).growth
    steps = 0
    while way > ROUNDING * config.step_length and steps < config.steps:
        way, steps = way - length, steps + 1
        length = min(config.step_length, length * growth)
    return steps


def way_of(config: RunConfig, start: Start) -> float:
    """Progress from the start to the end; infinite where only the steps end it."""
    if config.seek:
        return math.inf
    if config.moves_data:
        return 1.0
    return process_of(config, k=None).left(Point(lam=start.lam, gamma=start.gamma))


def kept_states(config: RunConfig, steps: int) -> int:
    """Weight files that stay."""
    if config.keep_states == "all":
        return steps + 1
    return 2 if config.keep_states == "last" else max(2, min(steps + 1, int(config.keep_states)))


def _renewals(config: RunConfig, start: Start) -> int:
    if config.renewal.every is None or config.process != "iso-classification":
        return 0
    if config.renewal.leap:
        return 1
    return int(abs(math.log(config.lam_end / start.lam)) / config.renewal.every)
