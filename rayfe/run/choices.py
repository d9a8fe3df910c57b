"""Settings that are left to the machine: as the run began, or by what is here. They are stored, since rows differ by rounding."""

from __future__ import annotations

import dataclasses
from typing import Literal

from rayfe.config import RunConfig, configure, require
from rayfe.data.paths import PathData, epoch_of
from rayfe.exceptions import UsageError
from rayfe.storage.manifest import stored_choice
from rayfe.storage.store import Store
from rayfe.training.compiler import compiler

COMPILED = 1_000_000
"""Training examples of a trajectory from which on compiling its update pays."""


def settled(config: RunConfig, store: Store, data: PathData) -> RunConfig:
    """The configuration with nothing left to this machine.

    Raises:
        UsageError: equilibration.compile; what is asked for cannot be compiled here.
    """
    if config.service.replicas_per_evaluator == "auto":
        replicas = stored_choice(store, "replicas_per_evaluator") or _replicas(config)
        config = configure(config, replicas_per_evaluator=replicas)
    chosen = config.equilibration.compile
    if chosen == "auto":
        chosen = stored_choice(store, "equilibration.compile") or _compiles(config, data)
    elif chosen == "always" and stored_choice(store, "equilibration.compile") is None:
        require_compilable(config, data)
    return configure(config, equilibration=dataclasses.replace(config.equilibration, compile=chosen))


def _replicas(config: RunConfig) -> int | Literal["all"]:
    from rayfe.run.runner import gpus

    return 1 if gpus(config) >= 2 else "all"


def _on_cpu(config: RunConfig) -> bool:
    import torch

    return config.service.device == "cpu" or not torch.cuda.is_available()


def _compiles(config: RunConfig, data: PathData) -> Literal["always", "never"]:
    """Whether compiling pays: for matrix products on a CPU, which convolutions are not, and for long trainings."""
    equilibration = config.equilibration
    examples = epoch_of(data, config) * (equilibration.first_epochs + config.steps * equilibration.epochs)
    if examples < COMPILED or compiler() is None or not _on_cpu(config):
        return "never"
    import torch

    from rayfe.model.protocol import build_checked
    from rayfe.training.replicas import stacks

    if not stacks(build_checked(config.model, data.source), torch.device("cpu")):
        return "never"
    try:
        require_compilable(config, data)
    except UsageError:
        return "never"
    return "always"


def products() -> str:
    """Which library computes products of matrices on this machine's CPU (`matrix_products`)."""
    from rayfe.training.machine import matrix_products  # imports torch

    return matrix_products()


def require_compilable(config: RunConfig, data: PathData) -> None:
    """Refuse a machine without a compiler, and a model of the user's own that cannot be one piece of code.

    Raises:
        UsageError: equilibration.compile.
    """
    name, wanted = "equilibration.compile", "always"
    fix = "on a CPU this needs a C++ compiler, install g++, or leave ``equilibration.compile`` away"
    require(compiler() is not None or not _on_cpu(config), name, wanted, fix)
    if ":" in config.model.name:
        from rayfe.model.protocol import build_checked, some_examples
        from rayfe.training.update import why_not_compiled

        why = why_not_compiled(build_checked(config.model, data.source), *some_examples(config.model, data.source))
        require(why is None, name, wanted, f"the update of {config.model.name} cannot be compiled as a whole ({why})")
