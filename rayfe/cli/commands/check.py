"""python -m rayfe check JOB [PRESET] [--options]: what a job would do and need, before anything runs."""

from __future__ import annotations

import functools
import os
import sys
import time
from typing import TYPE_CHECKING

from rayfe.cli.commands.parser import Refused
from rayfe.cli.options import parse
from rayfe.config import RunConfig, Start, configure
from rayfe.config.presets import PRESETS
from rayfe.config.resolve import absolute, split_preset
from rayfe.data.local_files import load_here
from rayfe.records import Split
from rayfe.run.job import Job, prepared
from rayfe.run.progress import duration, in_units
from rayfe.run.starts import started, with_outputs
from rayfe.storage.store import Store
from rayfe.surface.chance import FEW_UPDATES

if TYPE_CHECKING:
    from rayfe.data.paths import PathData
    from rayfe.run.plan import Plan, Sizes

USAGE = (
    f"usage: python -m rayfe check {'|'.join(PRESETS)} [PRESET] [--options]: the plan of that job; nothing is run or written"
)
FEW, MANY = 3, 30
"""Mini-batch updates that are timed: many, after a few that are slower; of a large model, where few tell enough, these alone."""
TRIAL = 140
"""MiB of a process that walks one trajectory, besides what all of them share."""
LONG = 1.0
"""Seconds of an update from which on the few are enough."""


def main(arguments: list[str]) -> int:
    """Print the plan; 2 where the job would refuse."""
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return 0
    if not arguments or arguments[0] not in PRESETS:
        raise Refused(f"{arguments[0] + ': unknown job; ' if arguments else ''}{USAGE}")
    job = arguments[0]
    sys.path.append(os.getcwd())  # for --model.name of a module beside the user, as jobs do
    preset, options = split_preset(job, arguments[1:])
    config = absolute(parse(job, preset, options), preset)
    config, start = started(config)
    data = with_outputs(load_here(config), start)
    asked = Job(name=job, preset=preset, arguments=tuple(options), config=config, again="", start=start)
    store, config, _ = prepared(asked, data, print)
    from rayfe.run.plan import plan_of, sizes_and_costs  # imports torch: not for --help

    sizes, costs = sizes_and_costs(config, data)
    plan = functools.cache(
        lambda lam, gamma: plan_of(config, Start(lam=lam, gamma=gamma, seed=0, sigma=config.sigma), sizes, costs)
    )
    plans = {name: plan(start.lam, start.gamma) for name, start in config.trajectories().items()}
    for line in lines(job, preset, config, sizes, plans):
        print(line)
    print(_memory(config, data))
    print(f"stored there already: {_stored(store)}")
    rate = examples_per_second(config, data)
    seconds = sum(plan.examples + plan.certificate_examples for plan in plans.values()) / rate
    print(
        f"time: about {duration(seconds)}, at {rate:,.0f} training examples a second of one evaluator with {config.service.threads} threads"
    )
    print(
        "this is a dry run without rejected attempts; with n evaluators divide by up to n, at most the number of trajectories"
    )
    return 0


def lines(job: str, preset: str, config: RunConfig, sizes: Sizes, plans: dict[str, Plan]) -> list[str]:
    """The plan in words."""
    first = next(iter(plans.values()))
    total = sum(plan.examples for plan in plans.values())
    trained, updates = sum(plan.count.training for plan in plans.values()), first.count.first_updates
    target = f" to {config.path.target}" if config.path.target else ""
    disk = sum(plan.disk for plan in plans.values())
    certified = sum(plan.certificate_examples for plan in plans.values())
    few = f" (few: --equilibration.first-epochs gives more, {FEW_UPDATES} are hardly enough)"
    return [
        f"{job} {preset}: {config.method or config.process} on {config.data.name}{target}, {config.model.name} with "
        f"{sizes.parameters:,} parameters",
        f"trajectories: {len(plans)} ({', '.join(list(plans)[:5])}{', ...' if len(plans) > 5 else ''})",
        f"each: about {max(plan.steps for plan in plans.values())} steps, {first.count.models} models trained, "
        f"{first.count.requests} requests; ends: {first.ended}",
        f"start: {updates:,} updates{few if updates < FEW_UPDATES else ''}"
        if config.start_epochs
        else "start: read as it is stored",
        f"examples: {len(sizes.paths[Split.TRAIN]):,} training and {len(sizes.paths[Split.VALIDATION]):,} validation; about "
        f"{total / 1e6:.3g} million training examples in all ({100 * trained / total:.0f} % training, the rest measuring)",
        f"certificates: about {certified / 1e6:.3g} million more, of training the last models on (--certificate-share "
        f"{config.asked.certificate_share:g})",
        f"disk: about {in_units(disk)} of weights (--keep-states {config.service.keep_states}) in {config.out}",
    ]


def examples_per_second(config: RunConfig, data: PathData) -> float:
    """Training examples that one evaluator works through in a second, from a few updates of a step's size on the source."""

    from rayfe.backend.inline import InlineBackend
    from rayfe.data.paths import PathData
    from rayfe.records import Annealing, EquilibrateRequest, Replica, StepKey

    small = configure(config, equilibration={"first_batch": None})
    backend = InlineBackend(small, PathData(kind="still", source=data.source))
    start = next(iter(config.trajectories().values()))
    epochs = config.equilibration.first_epochs
    point = start.point
    key = StepKey(trajectory="check", seed=0, step=0, attempt=0)

    def timed(updates: int) -> tuple[float, float]:
        end = updates * config.equilibration.batch / len(data.source.train.y)
        request = EquilibrateRequest(
            key=key,
            replicas=(Replica(name="centre", point=point, weights=None),),
            annealing=Annealing(epochs=max(epochs, end), begin=0.0, end=end),
        )
        began = time.perf_counter()
        answer = backend.answer(request)
        return answer.examples, time.perf_counter() - began

    timed(1)  # a process's first update takes ten times as long
    examples, seconds = timed(FEW)
    if seconds < LONG * FEW:
        examples, seconds = timed(MANY)
    return examples / seconds


def _memory(config: RunConfig, data: PathData) -> str:
    """What an evaluator takes, and on Ray each trial, which is a process of its own."""
    from rayfe.run.memory import memory_of

    slots, found = config.service.slots, memory_of(config, data)
    together = f" with {slots} trajectories" if slots > 1 else ""
    trials = f", and {TRIAL} MiB a trajectory in work" if config.service.backend == "ray" else ""
    return f"memory: about {in_units(found.of(slots))} an evaluator{together}, besides 0.5 GiB of torch{trials}"


def _stored(store: Store) -> str:
    names = store.trajectories()
    if not store.exists():
        return "nothing, a new run"
    accepted = sum(row.accepted for name in names for row in store.rows(name))
    return f"a run with {len(names)} trajectories, {accepted} accepted steps; the same command goes on from there"
