"""Whether a model's methods are functions: of their argument and the weights alone, and in training of torch's seed."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rayfe.config import ModelConfig, require
from rayfe.model.posterior import PARTS, random_layers
from rayfe.model.protocol_checks import Refuse, close, methods_on
from rayfe.model.weights import weights_of

MANY = 100
"""Examples that a method must take at once: more than there are in any other trial."""
PART_OF: Mapping[str, str] = MappingProxyType({"encode": "encoder", "decode": "decoder", "classify": "classifier"})
"""Whose weights a method draws."""
BatchNorm = nn.modules.batchnorm._BatchNorm


@torch.no_grad()
def check_evaluation(model: Any, x: Tensor, refuse: Refuse) -> None:
    """In evaluation mode an output is a function of the example alone, and calls leave their argument and the model alone."""
    model.eval()
    before = weights_of(model)
    methods = list(methods_on(model, x))
    for method, call, given in methods:
        torch.manual_seed(0)
        first = _unchanged(method, call, given, refuse)
        torch.manual_seed(1)
        if not close(first, call(given)):
            fix = "draw nothing and keep nothing there, rayfe draws z itself"
            refuse(f"{method} gives other values in evaluation mode when called again; {fix}")
        for other, meanwhile, of_it in methods:
            for rows, what in ((slice(1), "for one example alone"), (slice(-2, None), "for two examples")):
                _tried(other, meanwhile, of_it[rows], what, refuse)
                if not close(first, _tried(method, call, given, f"after {other} was called for other examples", refuse)):
                    fix = "keep nothing from call to call"
                    refuse(f"{method} gives other values after {other} was called for other examples; {fix}")
        _check_alone(method, call, given, first, refuse)
    after = weights_of(model)
    changed = [path for path, value in after.items() if not np.array_equal(value, before[path], equal_nan=True)]
    if changed:
        refuse(f"{changed[0]} changes in evaluation mode; change it only where self.training")


def _check_alone(method: str, call: Callable[[Tensor], Tensor], given: Tensor, first: Tensor, refuse: Refuse) -> None:
    """`first` is what the method gives for `given`: each example gets the same alone, in another order and among many."""
    alone = _tried(method, call, given[:1], "for one example alone", refuse)
    if alone.shape != first[:1].shape:
        shape = tuple(alone.shape[1:])
        refuse(f"{method} returns shape {shape} for one example alone; leave squeeze() without a dimension")
    if not close(first[:1], alone):
        refuse(f"{method} gives an example other values alone than in a batch; normalise by examples or by batch-norm layers")
    reverse = _tried(method, call, given.flip(0), "in another order", refuse)
    rows = torch.arange(MANY, device=given.device) % len(given)
    many = _tried(method, call, given[rows], f"for {MANY} examples", refuse)
    for what, expected, found in (("in another order", first.flip(0), reverse), (f"among {MANY} of them", first[rows], many)):
        if not close(expected, found):
            refuse(f"{method} gives examples other values {what}; compute each row of a batch by itself")


def _tried(method: str, call: Callable[[Tensor], Tensor], given: Tensor, what: str, refuse: Refuse) -> Tensor:
    try:
        return call(given)
    except Exception as error:  # a model of the user's own may raise anything
        reason = f"{type(error).__name__}: {error}"
        refuse(f"{method} fails {what} ({reason}); it must take any number of them, at any time", cause=error)


def _unchanged(method: str, call: Callable[[Tensor], Tensor], given: Tensor, refuse: Refuse) -> Tensor:
    """What the method returns, if it leaves its argument alone."""
    kept = given.clone()
    output = call(given)
    if not torch.equal(given, kept):
        refuse(f"{method} changes its argument in place; write x = x - 0.5 for x -= 0.5, and no inplace=True there")
    return output


@torch.no_grad()
def check_batch_norm(model: nn.Module, x: Tensor, refuse: Refuse) -> None:
    """Batch-norm layers must be such as have the statistics of a population."""
    model.train()
    layers = [(path, layer) for path, layer in model.named_modules() if isinstance(layer, BatchNorm)]
    for path, layer in layers:
        if layer.running_mean is None:
            refuse(f"{path} has no running statistics, so outputs depend on the batch; leave track_running_stats as it is")
        if not layer.training:
            refuse(f"{path} stays in evaluation mode, but rayfe recomputes its statistics; use a fixed scale and shift instead")
    for method, call, given in methods_on(model.eval(), x):
        calls = [path for path, _ in _calls(call, given, dict(layers))]
        again = next((path for path in calls if calls.count(path) > 1), None)
        if again is not None:
            refuse(f"{method} calls {again} more than once, but it has one set of statistics; use a layer for each place")


@torch.no_grad()
def check_random_weights(model: Any, config: ModelConfig, x: Tensor) -> None:
    """Each method calls each layer of its part's random weights once, with one row for each example, and none of another part.

    Only then is a draw of outputs a draw of weights: a layer that is called twice would have two, one whose weights are read past it none.
    What C measures and a bound of new data says would be of a model that does not draw.

    Raises:
        UsageError: model.posterior
    """
    layers = {path: (part, layer) for part in PARTS for path, layer in random_layers(model, part).items()}

    def refuse(path: str, why: str) -> None:
        require(False, "model.posterior", config.posterior, f"cannot be of {path} of {config.name}: {why}")

    for method, call, given in methods_on(model.eval(), x) if layers else ():
        calls = _calls(call, given, {path: layer for path, (_, layer) in layers.items()})
        for path, (part, _) in layers.items():
            shapes = [shape for name, shape in calls if name == path]
            if PART_OF.get(method) == part and len(shapes) != 1:
                refuse(path, f"{method} calls it {len(shapes)} times, and weights are drawn by one call of each layer")
            if PART_OF.get(method) != part and shapes:
                refuse(path, f"{method} calls it, too, which would draw nothing there; use a layer of its own")
            if shapes and shapes[0][:-1] != given.shape[:1]:
                refuse(path, f"{method} gives it {shapes[0]} for {len(given)} examples, and it needs one row for each")


def _calls(
    call: Callable[[Tensor], Tensor], given: Tensor, layers: Mapping[str, nn.Module]
) -> list[tuple[str, tuple[int, ...]]]:
    """Names of the layers that a method calls, in order, and the shapes of what it gives them."""
    calls: list[tuple[str, tuple[int, ...]]] = []

    def called(path: str, given: tuple[Tensor, ...]) -> None:
        calls.append((path, tuple(given[0].shape) if given else ()))

    hooks = [layer.register_forward_hook(lambda _, given, __, path=path: called(path, given)) for path, layer in layers.items()]
    call(given)
    for hook in hooks:
        hook.remove()
    return calls


@torch.no_grad()
def check_draws(model: Any, x: Tensor, refuse: Refuse) -> None:
    """In training mode outputs are a function of weights, examples and torch's seed."""
    model.train()
    kept = {path: value.clone() for path, value in model.state_dict().items()}
    seen = []
    for _ in range(2):
        model.load_state_dict(kept)
        torch.manual_seed(0)
        before = _other_generators()
        seen.append({method: _unchanged(method, call, given, refuse) for method, call, given in methods_on(model, x)})
        if _other_generators() != before:
            refuse("draws random numbers of Python or numpy in training mode; draw by torch's global generator alone")
    model.load_state_dict(kept)
    for method, value in seen[0].items():
        if not close(value, seen[1][method]):
            fix = "draw by torch's global generator alone, not by numpy or a generator of its own, and keep nothing from call to call"
            refuse(f"{method} gives other values in training mode when called again from the same torch seed; {fix}")


def _other_generators() -> tuple[object, bytes]:
    """States of the global generators of Python and numpy."""
    return random.getstate(), pickle.dumps(np.random.get_state(legacy=False))  # noqa: NPY002  models draw from it
