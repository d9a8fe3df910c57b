"""Settings that are left to the machine: as the run began, or by what is here. They are stored, since rows differ by rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from rayfe.config import RunConfig, configure, require
from rayfe.data.paths import PathData, epoch_of
from rayfe.exceptions import UsageError
from rayfe.run import runner
from rayfe.storage.manifest import stored_choice
from rayfe.storage.store import Store
from rayfe.training.compiler import compiler

Say = Callable[[str], None]
Way = Literal["always", "never", "onednn", "update"]

SHORT = 1_000_000
"""Examples, at least those of one model in turn, below which a run is computed operation by operation: it takes a minute anyhow."""
LONG = 5_000_000
"""Examples that a trajectory trains on, its neighbours counted, from which on compiling pays: it takes as long as 2 to 6 million."""


def settled(config: RunConfig, store: Store, data: PathData, say: Say) -> RunConfig:
    """The configuration with nothing left to this machine; `say` is told how a new run computes where that takes time or is slow.

    Raises:
        UsageError: equilibration.compile; what is asked for cannot be done here.
    """
    if config.service.replicas_per_evaluator == "auto":
        config = configure(config, replicas_per_evaluator=stored_choice(store, "replicas_per_evaluator") or "all")
    stored = stored_choice(store, "equilibration.compile")
    if config.equilibration.compile == "auto":
        return _by(config, stored or _way(config, data, say))
    if stored is None:
        require_possible(config, data)
    return config


def _by(config: RunConfig, way: Way) -> RunConfig:
    return configure(config, equilibration={"compile": way})


def _way(config: RunConfig, data: PathData, say: Say) -> Way:
    """What pays: for matrix products on a CPU, which convolutions are not, and for long trainings."""
    equilibration = config.equilibration
    examples = epoch_of(data, config) * (config.start_epochs + config.steps * equilibration.epochs)
    if examples < SHORT or runner.trains_on_gpus(config) or not _is_products(config, data):
        return "never"
    from rayfe.training.machine import onednn_is_accurate

    eager: Way = "onednn" if onednn_is_accurate() else "never"
    if config.box is not None or _trained_on(config, data) < LONG:
        return eager
    if compiler() is None:
        say("no C++ compiler: updates are not compiled and take up to 1.6 times as long; apt install g++ helps new runs")
        return eager
    way: Way = "always" if eager == "onednn" else "update"
    try:
        require_possible(_by(config, way), data)
    except UsageError as error:
        say(f"updates are not compiled: {error.fix}")
        return eager
    say(
        f"updates are compiled: half a minute once on a machine, then each takes 0.6 to 0.9 of the time (equilibration.compile {way})"
    )
    return way


def _is_products(config: RunConfig, data: PathData) -> bool:
    from rayfe.model.protocol import build_checked
    from rayfe.training.replicas import stacks

    return stacks(build_checked(config.model, data.source))


def _trained_on(config: RunConfig, data: PathData) -> float:
    """Training examples of the first trajectory, by a dry run."""
    from rayfe.run.plan import plan_of, sizes_and_costs

    return plan_of(config, next(iter(config.trajectories().values())), *sizes_and_costs(config, data)).count.training


def require_possible(config: RunConfig, data: PathData) -> None:
    """Refuse a machine that cannot compute updates as is asked for, and a model of the user's own that cannot be one piece of code.

    Raises:
        UsageError: equilibration.compile.
    """
    from rayfe.training.machine import check_cpu

    if not runner.trains_on_gpus(config):
        check_cpu(config.equilibration)
    if config.equilibration.compiled and ":" in config.model.name:
        from rayfe.model.protocol import build_checked, some_examples
        from rayfe.training.update import why_not_compiled

        why = why_not_compiled(build_checked(config.model, data.source), *some_examples(config.model, data.source))
        fix = f"the update of {config.model.name} cannot be compiled as a whole ({why})"
        require(why is None, "equilibration.compile", config.equilibration.compile, fix)
