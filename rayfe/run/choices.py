"""Settings that are left to the machine: as the run began, or by what is here. They are stored, since rows differ by rounding."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from rayfe.config import ModelConfig, RunConfig, configure, flat, require
from rayfe.config.user_code import PARTS
from rayfe.data.examples import Dataset
from rayfe.data.paths import PathData, epoch_of
from rayfe.exceptions import UsageError
from rayfe.run import runner
from rayfe.storage.manifest import stored_choice
from rayfe.storage.store import Store

if TYPE_CHECKING:
    from rayfe.training.machine import Offer

Say = Callable[[str], None]
Way = Literal["always", "never", "onednn", "update", "bf16"]

KIND = "accelerator_type:"
"""How a node's resource begins that Ray names after the model of its GPUs."""
SHORT = 1_000_000
"""Examples, at least those of one model in turn, below which a run is computed operation by operation: it takes a minute anyhow."""
FOLLOWING = 12
"""Steps that are assumed to follow a start that is trained alone for now."""
MANY = 64
"""Trajectories that are trained together on one GPU at most, unless more are asked for."""
LONG = 5_000_000
"""Examples that a trajectory trains on, its neighbours counted, from which on compiling pays: it takes as long as 2 to 6 million."""


def settled(config: RunConfig, store: Store, data: PathData, say: Say) -> RunConfig:
    """The configuration with nothing left to this machine; `say` is told how a new run computes where that takes time or is slow.

    Raises:
        UsageError: equilibration.compile; what is asked for cannot be done here.
    """
    if config.service.replicas_per_evaluator == "auto":
        config = configure(config, replicas_per_evaluator=stored_choice(store, "replicas_per_evaluator") or "all")
    if config.service.trajectories_per_evaluator == "auto":
        slots = stored_choice(store, "trajectories_per_evaluator") or _slots(config, data, say)
        config = configure(config, trajectories_per_evaluator=slots)
    if config.service.slots > 1:
        from rayfe.run.memory import require_room

        require_room(config, data)
        if (empty := config.service.slots - len(config.trajectories())) > 0:
            say(f"{empty} of {config.service.slots} places stay empty, and each takes as long as one that is used")
    stored = stored_choice(store, "equilibration.compile")
    if config.equilibration.compile == "auto":
        going_on = configure(config, steps=config.steps or FOLLOWING)
        return _by(config, stored or _way(going_on, data, say))
    if stored is None:
        require_possible(config, data)
    return config


def _slots(config: RunConfig, data: PathData, say: Say) -> int:
    """What keeps each GPU busy with as many of the run's trajectories as fall to it; a CPU is faster with one after the other."""
    service = config.service
    alone = service.placement == "isolated" or service.train_workers or config.per_part is not None or config.box is not None
    if alone or not runner.trains_on_gpus(config):
        return 1
    slots = min(MANY, -(-len(config.trajectories()) // runner.gpus_of(config)))
    if slots > 1 and (why := why_not_in_slots(config, data.source)):
        say(f"trajectories are trained one after the other: {config.model.name} cannot be trained together with others ({why})")
        return 1
    if slots > 1 and service.backend == "inline":
        from rayfe.run.memory import memory_of, most_in, room_here

        return most_in(room_here(config), memory_of(config, data), slots)
    return slots


def why_not_in_slots(config: RunConfig, dataset: Dataset) -> str | None:
    """Why models of a configuration cannot be trained together with those of other trajectories, in one line; None if they can."""
    from rayfe.model.protocol import build, some_examples
    from rayfe.training.fleet import why_not_in_slots as why_not

    if config.model.dropout:
        return "dropout draws random numbers, ``model.dropout=0`` does not"
    x, y = some_examples(config.model, dataset)
    return why_not(lambda: build(config.model, input_shape=tuple(x.shape[1:]), classes=dataset.classes), x, y)


def _by(config: RunConfig, way: Way) -> RunConfig:
    return configure(config, equilibration={"compile": way})


def _way(config: RunConfig, data: PathData, say: Say) -> Way:
    """What pays: for matrix products on a CPU, which convolutions are not, and for long trainings."""
    equilibration = config.equilibration
    examples = epoch_of(data, config) * (config.start_epochs + config.steps * equilibration.epochs)
    if examples < SHORT or runner.trains_on_gpus(config) or not _is_products(config, data):
        return "never"
    machines = offers(config)
    if not machines:
        say("no machine for evaluators is up yet: updates are computed operation by operation, as any can")
        return "never"
    rounds = [one.host for one in machines if not one.onednn]
    if 0 < len(rounds) < len(machines):
        say(f"products are not by oneDNN, which rounds on {', '.join(rounds)}")
    eager: Way = "never" if rounds else "onednn"
    if config.service.slots > 1 or config.box is not None or _trained_on(config, data) < LONG:
        return eager
    without = [one.host for one in machines if not one.compiles]
    if without:
        there = f" on {', '.join(without)}" if any(without) else ""
        say(
            f"no C++ compiler{there}: updates are not compiled and take up to 1.6 times as long; apt install g++ helps new runs"
        )
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


def offers(config: RunConfig) -> list[Offer]:
    """What the CPUs offer that will train: this one, or those of the cluster that are up."""
    if config.service.backend == "ray":
        from rayfe.on_ray.session import elsewhere  # imports Ray

        if elsewhere():
            from rayfe.on_ray import machines

            return machines.offers(config)
    from rayfe.training.machine import offer

    return [offer()]


def devices(config: RunConfig) -> list[str]:
    """Kinds of devices that will train: `cpu`, or models of GPUs; `gpu` where those are not up yet, or Ray does not know them."""
    if not runner.trains_on_gpus(config):
        return ["cpu"]
    if config.service.backend == "ray":
        from rayfe.on_ray.session import elsewhere, nodes  # imports Ray

        if elsewhere():
            kinds = [name for node in nodes() if node.get("GPU", 0) >= 1 for name in node if name.startswith(KIND)]
            return sorted({name.removeprefix(KIND) for name in kinds}) or ["gpu"]
    import torch

    return sorted({torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())})


def _is_products(config: RunConfig, data: PathData) -> bool:
    from rayfe.model.protocol import build_checked
    from rayfe.training.replicas import stacks

    return stacks(build_checked(config.model, data.source))


def _trained_on(config: RunConfig, data: PathData) -> float:
    """Training examples of the first trajectory, by a dry run."""
    from rayfe.run.plan import plan_of, sizes_and_costs

    return plan_of(config, next(iter(config.trajectories().values())), *sizes_and_costs(config, data)).count.training


def require_possible(config: RunConfig, data: PathData) -> None:
    """Refuse a machine that cannot compute updates as is asked for, and a model that cannot be one piece of code.

    Raises:
        UsageError: equilibration.compile.
    """
    from rayfe.training.machine import check_cpu

    if not runner.trains_on_gpus(config):
        for machine in offers(config):
            check_cpu(config.equilibration, machine)
    fix = "compiles trainings that are done one after the other; give ``trajectories_per_evaluator=1``, or never or onednn here"
    alone = config.service.slots == 1 or not config.equilibration.compiled
    require(alone, "equilibration.compile", config.equilibration.compile, fix)
    usual, chosen = flat(ModelConfig()), flat(config.model)
    parts = [f"{name} {chosen[name]}" for name in PARTS if chosen[name] != usual[name]]
    if config.equilibration.compiled and (":" in config.model.name or parts):
        from rayfe.model.protocol import build_checked, some_examples
        from rayfe.training.update import why_not_compiled

        why = why_not_compiled(build_checked(config.model, data.source), *some_examples(config.model, data.source))
        made_of = ", ".join([config.model.name, *parts])
        fix = f"the update of {made_of} cannot be compiled as a whole ({why})"
        require(why is None, "equilibration.compile", config.equilibration.compile, fix)
