"""What a job would do, before anything runs: a dry run of its trajectories, and an estimate of disk.

The trajectories are the real ones, and so are the rules by which examples are counted. Models are points of a closed-form surface,
of which this is assumed: each equilibration arrives near its point, so that a settle takes two evaluations or three; the draws of z
scatter as MNIST's do; each renewal finds lower models; a walk that comes back goes as far as MNIST's do; no step is rejected.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rayfe.backend.analytic import MULTIPLIERS, AnalyticBackend
from rayfe.backend.analytic_losses import AnalyticLosses
from rayfe.backend.counting import Count, CountingBackend
from rayfe.config import LOSSES, RunConfig, Start, configure
from rayfe.data.path_sizes import PathSizes
from rayfe.data.paths import PathData, examples_of
from rayfe.exceptions import WalkFailed, in_shell_words
from rayfe.records import ON, Leg, Split, StepRecord, Weights
from rayfe.surface.closed_form import MovingPowerSurface
from rayfe.training.cost import Costs
from rayfe.training.drawing import Drawing
from rayfe.trajectory.certification import CertificateEffort, certificate
from rayfe.trajectory.driver import answered, attempted, new_trajectory
from rayfe.trajectory.round_trip import current_way

TRAINING_NOISE = 0.02
"""Standard deviation of the log multipliers at which an equilibration arrives."""
LOSS, HIGH, RISES = 0.35, 0.05, 0.3
"""gamma C at the start, nats, and the surface's powers of gamma and lam: F is 7 nats there, of which C has a twentieth."""
FALLS = 0.2
"""The surface's power of sigma, where weights are random."""
MOVES = 0.1
"""Part by which the surface rises from one end of a data path to the other: lines in R and D are short (MNIST 0-4 to 5-9: 3 % of F)."""
SOUGHT = 1.5
"""Distance in log lam from the start to a wanted point."""
GONE_BACK, GONE_AGAIN = 0.72, 0.3
"""Parts of the whole way over which a walk that has arrived finds lower F on its way back, and there again (MNIST to lam = 7.7)."""
FLOAT = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """What a plan needs of data and model."""

    paths: Mapping[Split, PathSizes]
    parameters: int
    losses: int = 0
    """How many process iso-losses holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scatter:
    """Standard deviations over draws of z of C and D of one example, as parts of their means: draws are repeated until their error fits
    into the tolerance. Those of MNIST, with which digits agree: their C from 1.4 to 2.6."""

    C: float = 2.0
    control_C: float = 0.8
    """The same of examples that are not trained on: their C is larger."""
    D: float = 0.18


MNIST = Scatter()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Of one trajectory, and of its disk in bytes."""

    steps: int
    """Accepted steps after the start; renewals are steps, too."""
    ended: str
    """Why there is no further step; how it failed, if it did."""
    count: Count
    disk: float
    certificate_examples: float
    """At the end, of training the last model on (`config.certificate_share`)."""

    @property
    def examples(self) -> float:
        """As its rows count them, without the certificate."""
        return self.count.training + self.count.measuring


def plan_of(config: RunConfig, start: Start, sizes: Sizes, costs: Costs, scatter: Scatter = MNIST) -> Plan:
    """The plan of the trajectory from `start`."""
    start = dataclasses.replace(start, gamma=start.gamma or 1.0)  # where gamma is 0 nothing depends on it
    surface = _surface(start)
    backend = CountingBackend(config, costs, _models(config, surface, sizes, scatter, costs.drawing))
    walked = _walk(_on_surface(config, start, surface), start, backend)
    count = dataclasses.replace(backend.count)
    steps = max(0, len(walked.accepted) - 1)
    return Plan(
        steps=steps,
        ended=walked.ended,
        count=count,
        disk=FLOAT * sizes.parameters * (kept_states(config, steps) + 4),
        certificate_examples=_certificate(config, walked, backend, len(sizes.paths[Split.TRAIN])),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Walked:
    """A trajectory at its end, or as far as it came."""

    accepted: Sequence[StepRecord]
    state: Weights | None
    """The weights of the last accepted row."""
    ended: str


def _walk(config: RunConfig, start: Start, backend: CountingBackend) -> Walked:
    states: dict[int, Weights] = {}
    given = None if config.start is None or config.process == LOSSES else {MULTIPLIERS: np.array([start.lam, start.gamma])}
    trajectory = new_trajectory(config, start, given)
    try:
        while trajectory.finished is None:
            backend.offset = _offset(config, trajectory.accepted, backend.renewals)
            commit = attempted(trajectory, backend)
            if commit.state is not None:
                states[commit.record.step] = commit.state
            trajectory.committed(commit.record, commit)
        ended = trajectory.finished
    except WalkFailed as failed:
        ended = in_shell_words(failed.text)
    accepted = trajectory.accepted
    return Walked(accepted=accepted, state=states[accepted[-1].step] if accepted else None, ended=ended)


def _offset(config: RunConfig, accepted: Sequence[StepRecord], renewals: int) -> int:
    """How much lower the surface is where a walk that came back is now: at the end of its way back it is higher than on the way there,
    so that it turns, and on the first part of the way there again it is lower than on both."""
    if not config.asked.both_ways or not accepted:
        return 0
    way = current_way(config, accepted)
    gone = abs(math.log(way.rows[-1].lam / way.rows[0].lam) / math.log(config.asked.lam_end / accepted[0].lam))
    if way.leg is Leg.BACK:
        return 0 if gone < GONE_BACK else -1 - renewals
    return 1 if way.leg is Leg.THERE_AGAIN and gone < GONE_AGAIN else 0


def _certificate(config: RunConfig, walked: Walked, backend: CountingBackend, epoch: int) -> float:
    """Examples of training the last model on."""
    if not config.asked.certificate_share or config.method is not None or walked.state is None:
        return 0.0
    last = dataclasses.replace(walked.accepted[-1], state_sha256="")
    effort = CertificateEffort(method=ON, budget=config.asked.certificate_share * last.examples, epoch=epoch)
    return answered(certificate(config, last, walked.state, effort), backend).examples


def sizes_and_costs(config: RunConfig, data: PathData) -> tuple[Sizes, Costs]:
    """Sizes of data and model, and what requests cost with them."""
    import torch

    from rayfe.model.protocol import build, input_shape
    from rayfe.model.task import task_of

    shape = input_shape(config.model, data.input_shape)
    model = build(config.model, input_shape=shape, classes=data.classes).eval()
    sizes = Sizes(
        paths={split: _ends(data, split, config) for split in config.splits},
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        losses=len(task_of(model, data.classes).names(data.source.class_names)),
    )
    return sizes, Costs(config, sizes.paths, model, torch.zeros(1, *shape))


def _ends(data: PathData, split: Split, config: RunConfig) -> PathSizes:
    """Sizes of a split. A displacement that is not coupled yet has as many pairs as a coupling at least cost usually has."""
    source = len(examples_of(data.source, split, config).y)
    if data.target is None:
        return PathSizes(source=source)
    target = len(examples_of(data.target, split, config).y)
    one_to_one = source == target and not config.path.within_pairs
    pairs = source if one_to_one else source + target - 1
    return PathSizes(source=source, target=target, pairs=pairs if data.kind == "displacement" else None)


# --- the surface --------------------------------------------------------------------------------------------------------


def _surface(start: Start) -> MovingPowerSurface:
    c = FALLS if start.sigma else 0.0
    kappa = LOSS / (HIGH * start.lam**RISES * start.gamma**HIGH * (start.sigma or 1.0) ** c)
    return MovingPowerSurface(kappa=kappa, a=RISES, b=HIGH, kappa_t=MOVES * kappa, c=c)


def _models(
    config: RunConfig, surface: MovingPowerSurface, sizes: Sizes, scatter: Scatter, drawing: Drawing
) -> AnalyticBackend | AnalyticLosses:
    read = sizes.paths[config.held_on].size(0.0)
    C = scatter.control_C if config.held_on is Split.CONTROL else scatter.C
    noises = {
        "noise": C / math.sqrt(read * drawing.head_draws),
        "noise_of_D": scatter.D / math.sqrt(sizes.paths[Split.TRAIN].size(0.0) * drawing.decoder_draws),
        "training_noise": TRAINING_NOISE,
    }
    if config.process == LOSSES:
        noises["noise"] *= math.sqrt(sizes.losses)  # of one loss, which fewer examples tell
        return AnalyticLosses(surface, shares=(1.0 / sizes.losses,) * sizes.losses, **noises)
    return AnalyticBackend(surface, **noises)


def _on_surface(config: RunConfig, start: Start, surface: MovingPowerSurface) -> RunConfig:
    """The configuration with wanted values and a slope that this surface has; those of the data mean nothing on it."""
    if config.asked.seek:
        there = (start.lam * math.exp(SOUGHT), start.gamma)
        seek = tuple(f"{name}={getattr(surface, name)(*there)!r}" for name, _ in config.asked.wanted)
        return configure(config, seek=seek)
    if config.asked.k is None:
        return config
    return configure(config, k=RISES / (start.lam * (1.0 - RISES - HIGH)))


# --- disk --------------------------------------------------------------------------------------------------------------


def kept_states(config: RunConfig, steps: int) -> int:
    """Weight files that stay."""
    if config.service.keep_states == "all":
        return steps + 1
    return 2 if config.service.keep_states == "last" else max(2, min(steps + 1, int(config.service.keep_states)))
