"""What of a job can only be checked with the data and the user's code at hand, before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from rayfe.config import LOSSES, RunConfig, flat, require
from rayfe.config.user_code import NOTEBOOK, OF_MODELS, own_names
from rayfe.data.paths import PathData, examples_of
from rayfe.exceptions import UsageError
from rayfe.records import Split, StepRecord
from rayfe.records.columns import OF_LOSSES
from rayfe.run.choices import why_not_in_slots
from rayfe.trajectory.process_registry import OWN, check_own_process

BLENDS = 100
"""Blends of two examples that are looked at."""


def check_model(config: RunConfig, data: PathData) -> dict[str, Any]:
    """What can only be checked with the data and the user's code at hand: batches, the process, the model. Returns what run.json tells
    of the model: what D is, and of process iso-losses the names of the losses.

    Raises:
        UsageError: they do not go together, or a method of the user's own does not do what it should.
    """
    if config.method is None and config.box is None and config.process not in OWN:
        check_own_process(config)
    for name, value in own_names(flat(config)).items():
        here = config.service.backend == "inline" or not value.startswith(NOTEBOOK)
        fix = "Ray's workers cannot import what is defined in a notebook or script; put it in a .py file, or use ``backend=inline``"
        require(here, name, value, fix)
    ends = [dataset for dataset in (data.source, data.target) if dataset is not None]
    examples = min(len(examples_of(dataset, Split.TRAIN, config).y) for dataset in ends)
    for name in ("batch", "first_batch"):
        batch = getattr(config.equilibration, name)
        fix = f"there are {examples} training examples, give at most that many"
        require(batch is None or batch <= examples, f"equilibration.{name}", batch, fix)
    try:
        return _check_own_model(config, data)
    except UsageError as error:
        raise _of_its_part(error, config) from error


def _of_its_part(error: UsageError, config: RunConfig) -> UsageError:
    """What is wrong with a model of rayfe's own is the doing of the part that is not, where there is one."""
    own = {name: value for name, value in own_names(flat(config)).items() if name in OF_MODELS}
    if error.name != "model.name" or len(own) != 1:
        return error
    ((name, value),) = own.items()
    return UsageError(name, value, error.fix)


def _check_own_model(config: RunConfig, data: PathData) -> dict[str, Any]:
    import torch

    from rayfe.model.conditioned import check_conditioned
    from rayfe.model.likelihood import check_support, likelihood_of
    from rayfe.model.losses import check_losses
    from rayfe.model.protocol import build, build_checked, some_examples
    from rayfe.model.task import task_of
    from rayfe.run.runner import trains_on_gpus
    from rayfe.training.replicas import check_stacked, stacks

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    dataset = data.source
    model = build_checked(config.model, dataset, device)
    check_support(model, config.model.likelihood, *_examples_in(data))
    D = likelihood_of(model).told()
    _check_signs(config, D=D["unit"] == "nats" and not D["probability"], C=task_of(model).signed)
    told: dict[str, Any] = {"D": D}
    if config.process == LOSSES:
        told["losses"] = check_losses(
            config.model, model, dataset.class_names, *_on(device, some_examples(config.model, dataset))
        )
        taken = [prefix + name for prefix in OF_LOSSES for name in told["losses"] if prefix + name in StepRecord.__slots__]
        fix = f"a loss of its name would have a column that there is already ({', '.join(taken)}); call it otherwise"
        require(not taken, "data.name", config.data.name, fix)
    if config.box is not None:
        fix = "has a loss that may be negative, and a conditioned model is trained on log J; walk (jobs/isoc.py)"
        require(not task_of(model).signed, "model.task", config.model.task, fix)
        check_conditioned(model, config.model.name, some_examples(config.model, dataset)[0].to(device))
        return told
    if config.service.slots > 1:
        why, name = why_not_in_slots(config, dataset), "trajectories_per_evaluator"
        fix = f"{config.model.name} cannot be trained together with others ({why}); give ``trajectories_per_evaluator=1``"
        require(why is None, name, config.service.slots, fix)
    own = OF_MODELS & own_names(flat(config)).keys()
    if own and config.per_part != 1 and (stacks(model) or trains_on_gpus(config)):
        x, y = _on(device, some_examples(config.model, dataset))
        other = build(config.model, input_shape=tuple(x.shape[1:]), classes=dataset.classes).to(device)
        check_stacked([model, other], config.model.name, x, y)
    return told


def _on(device: Any, examples: Sequence[Any]) -> Any:
    return [value.to(device) for value in examples]


def _check_signs(config: RunConfig, **may_be_negative: bool) -> None:
    """Refuse to seek a D or C that the model cannot have."""
    for name, value in config.asked.wanted:
        fits = value > 0.0 or may_be_negative.get(name, False)
        fix = f"must be a positive number: {name} of this model is never negative"
        require(fits, "seek", f"{name}={value:g}", fix)


def _examples_in(data: PathData) -> Iterator[np.ndarray]:
    """Examples (N, ...) of all data, and some blends where it takes a path of them."""
    ends = [end for end in (data.source, data.target) if end is not None]
    yield from (split.x for end in ends for split in (end.train, end.validation))
    if data.kind == "displacement":
        few = [end.train.x[:BLENDS] / (255.0 if end.train.x.dtype == np.uint8 else 1.0) for end in ends]
        n = min(map(len, few))
        yield 0.5 * (few[0][:n] + few[1][:n])
