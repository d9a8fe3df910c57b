"""Whether what is stored of a model is the model: weights in a new one must give the same outputs, whatever else it holds."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rayfe.model.call_checks import check_batch_norm, check_draws, check_evaluation
from rayfe.model.objective import Objective, draw_noise, rate
from rayfe.model.posterior import widths_of
from rayfe.model.protocol_checks import Refuse, close, methods_on, refusing
from rayfe.model.weights import load_weights, weights_of

UPDATES = 3
"""Updates of a trial training."""
OF_TORCH = frozenset(vars(nn.Module()))


def check_stored(make: Callable[[int], Any], name: str, x: Tensor, y: Tensor) -> None:
    """Try on examples x (N, *input_shape) with labels y (N,) whether the weights of a model are all that it is.

    `make(seed)` makes a new model, laid out as in training. It is called three times.

    Raises:
        UsageError: model.name; a tensor is not registered, random numbers come from elsewhere than torch's global generator, an
            output depends on what else is in the batch or was called before, or a new model with the same weights gives others.
    """
    refuse = refusing(name)
    model, again, other = make(0), make(0), make(1)
    _check_same_start(model, again, refuse)
    check_batch_norm(model, x, refuse)
    check_evaluation(model, x, refuse)
    _check_constants(model, x, refuse)
    check_draws(model, x, refuse)
    first = _rate(model, x)
    _train(model, x, y)
    if torch.equal(first, _rate(model, x)) and torch.equal(first, _rate(other, x)):
        refuse("encode gives the same rate R for all weights, so there is nothing to trade; learn the mean or the variance")
    load_weights(other, weights_of(model))
    _check_equal(model, other, x, refuse)


def check_registered(model: nn.Module, name: str) -> None:
    """Raises UsageError (model.name) where torch does not see layers or parameters, or where state is no tensor."""
    refuse = refusing(name)
    if model.train() is not model or model.eval() is not model:
        refuse("train() or eval() of the model does not return it; end it with: return self")
    known = {id(part) for part in (*model.modules(), *model.parameters())}
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            refuse(f"{path or 'it'} is compiled by torch.jit, and its layers cannot be read; use the module itself")
    for path, value in _own(model):
        hidden = [part for part in _within(value) if isinstance(part, nn.Module | nn.Parameter) and id(part) not in known]
        if hidden:
            kind = "ParameterList" if isinstance(hidden[0], nn.Parameter) else "ModuleList"
            fix = f"use torch.nn.{kind}" + (" or its Dict" if isinstance(value, Mapping) else "")
            there = f"{path} is a {type(value).__name__} of layers or parameters"
            if hidden[0] is value:
                there, fix = f"{path} is a {type(value).__name__}", "assign it as an attribute: self.name = ..."
            refuse(f"{there} that torch does not see, so it is neither trained nor stored; {fix}")
    state = model.state_dict()
    left = next((path for path, _ in model.named_parameters() if path not in state), None)
    if left is not None:
        refuse(f"{left} is not in its state_dict(), so it is not stored; leave state_dict() as torch has it")
    for path, value in state.items():
        if not isinstance(value, Tensor):
            refuse(f"{path} is state that is no tensor and cannot be stored; keep it in parameters and buffers")


def _check_same_start(model: nn.Module, again: nn.Module, refuse: Refuse) -> None:
    ours, theirs = weights_of(model), weights_of(again)
    if ours.keys() != theirs.keys():
        refuse("has other layers when it is built again; build the same ones every time")
    differ = [path for path, value in ours.items() if not np.array_equal(value, theirs[path], equal_nan=True)]
    if differ:
        refuse(
            f"{differ[0]} is another one when it is built again from the same torch seed; draw initial weights by torch alone"
        )


@torch.no_grad()
def _check_constants(model: Any, x: Tensor, refuse: Refuse) -> None:
    """Tensors that are plain attributes, other than what each pass leaves there, and arrays of the class or module.

    They stay behind on another device, and nothing says that they are the same in another process.
    """
    before = list(_plain_tensors(model))  # kept, so that no other tensor gets the identity of one of them
    for _, call, given in methods_on(model, x):
        call(given)
    stay = {(path, id(value)) for path, value in _plain_tensors(model)} & {(path, id(value)) for path, value in before}
    for path in sorted([path for path, _ in stay] + list(_outside(model))):
        fix = f'register it: self.register_buffer("{path.rpartition(".")[2]}", ...)'
        refuse(f"{path} is a tensor that is neither a parameter nor a buffer, so it is not stored; {fix}")


def _plain_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    known = {id(value) for value in (*model.parameters(), *model.buffers())}
    for path, value in _own(model):
        yield from ((path, part) for part in _within(value) if isinstance(part, Tensor) and id(part) not in known)


def _outside(model: nn.Module) -> Iterator[str]:
    """Names of tensors and arrays that belong to a class of the user's, or that its methods find around them."""
    classes = {cls for module in model.modules() for cls in type(module).__mro__ if cls.__module__.partition(".")[0] != "torch"}
    for cls in classes:
        for name, value in vars(cls).items():
            around = dict(_around(value)) if inspect.isfunction(value) else {name: value}
            yield from (found for found, part in around.items() if isinstance(part, Tensor | np.ndarray))


def _around(function: Any) -> Iterator[tuple[str, Any]]:
    """Globals and variables of enclosing functions that a function names."""
    code = function.__code__
    yield from ((name, function.__globals__[name]) for name in code.co_names if name in function.__globals__)
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # a cell that is still empty
            yield name, cell.cell_contents


def _train(model: Any, x: Tensor, y: Tensor) -> None:
    """A few updates of J at lam = gamma = 1, all of the examples in each."""
    model.train()
    parameters = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    rng = torch.Generator(x.device).manual_seed(0)
    for _ in range(UPDATES):
        noise = draw_noise(rng, n=len(x), widths=widths_of(model), decoder_draws=1, head_draws=2, dtype=x.dtype)
        R, D, C, _ = Objective(model)(x, y, noise, predict=False)
        optimizer.zero_grad()
        (R + D + C).mean().backward()
        optimizer.step()


@torch.no_grad()
def _rate(model: Any, x: Tensor) -> Tensor:
    return rate(*model.eval().encode(x))


@torch.no_grad()
def _check_equal(model: Any, other: Any, x: Tensor, refuse: Refuse) -> None:
    model.eval(), other.eval()
    ours = {method: (call, given) for method, call, given in methods_on(model, x)}
    theirs = {method: call for method, call, _ in methods_on(other, x)}
    differ = [method for method, (call, given) in ours.items() if not close(call(given), theirs[method](given))]
    if differ:
        what = ", ".join(_not_stored(model, other)) or "something that is neither a parameter nor a floating-point buffer"
        methods = " and ".join(differ)
        refuse(
            f"{methods} gives other values in a new model with the stored weights: not stored is {what}; make it a buffer of floats"
        )


def _not_stored(model: nn.Module, other: nn.Module) -> Iterator[str]:
    """What differs between two models with the same weights."""
    stored, theirs = weights_of(model).keys(), dict(other.named_buffers())
    for path, value in model.named_buffers():
        if path not in stored and not path.endswith("num_batches_tracked") and not torch.equal(value, theirs[path]):
            yield f"{path} ({value.dtype}{'' if path in model.state_dict() else ', persistent=False'})"
    plain = dict(_own(other))
    for path, value in _own(model):
        if isinstance(value, np.ndarray | int | float | str | list | tuple) and not _alike(value, plain.get(path)):
            yield path


def _alike(value: Any, other: Any) -> bool:
    return bool(np.array_equal(value, other)) if isinstance(value, np.ndarray) else repr(value) == repr(other)


def _own(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """Attributes by their path that are not torch's."""
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if name not in OF_TORCH:
                yield f"{path}.{name}" if path else name, value


def _within(value: Any) -> Iterator[Any]:
    """What lists, tuples, sets and mappings hold, else the value itself."""
    left, seen = [value], set()
    while left:
        part = left.pop(0)
        if not isinstance(part, Mapping | list | tuple | set | frozenset):
            yield part
        elif id(part) not in seen:
            seen.add(id(part))
            left += part.values() if isinstance(part, Mapping) else part
