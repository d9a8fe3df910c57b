"""Whether what is stored of a model is the model: weights in a new one must give the same outputs, whatever else it holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rayfe.model.objective import Objective, draw_noise, rate
from rayfe.model.protocol_checks import Refuse, methods_on, refusing
from rayfe.model.weights import load_weights, weights_of

UPDATES = 3
"""Updates of a trial training."""
CLOSE = 1e-3
"""Largest difference between outputs that count as equal, relative to 1 + their size; an example alone may take another kernel."""
OF_TORCH = frozenset(vars(nn.Module()))
BatchNorm = nn.modules.batchnorm._BatchNorm


def check_stored(make: Callable[[int], Any], name: str, x: Tensor, y: Tensor) -> None:
    """Try on examples x (N, *input_shape) with labels y (N,) whether the weights of a model are all that it is.

    `make(seed)` makes a new model, laid out as in training. It is called three times.

    Raises:
        UsageError: model.name; a layer or a tensor is not registered, random numbers come from elsewhere than torch's
            global generator, an output depends on what else is in the batch, or a new model with the same weights
            gives other outputs.
    """
    refuse = refusing(name)
    model, again, other = make(0), make(0), make(1)
    _check_registered(model, refuse)
    _check_batch_norm(model, refuse)
    _check_same_start(model, again, refuse)
    _check_evaluation(model, x, refuse)
    _check_constants(model, x, refuse)
    _check_draws(model, x, refuse)
    first = _rate(model, x)
    _train(model, x, y)
    if torch.equal(first, _rate(model, x)) and torch.equal(first, _rate(other, x)):
        refuse("encode gives the same rate R for all weights, so there is nothing to trade; learn the mean or the variance")
    load_weights(other, weights_of(model))
    _check_equal(model, other, x, refuse)


def _check_registered(model: nn.Module, refuse: Refuse) -> None:
    """Layers and parameters in lists, which torch does not see, and state that is no tensor."""
    known = {id(part) for part in (*model.modules(), *model.parameters())}
    for path, value in _own(model):
        hidden = [part for part in _within(value) if isinstance(part, nn.Module | nn.Parameter) and id(part) not in known]
        if hidden:
            kind = "ParameterList" if isinstance(hidden[0], nn.Parameter) else "ModuleList"
            there = f"{path} is a {type(value).__name__} of layers or parameters that torch does not see, so they are neither"
            refuse(f"{there} trained nor stored; use torch.nn.{kind}" + (" or its Dict" if isinstance(value, Mapping) else ""))
    for path, value in model.state_dict().items():
        if not isinstance(value, Tensor):
            refuse(f"{path} is state that is no tensor and cannot be stored; keep it in parameters and buffers")


def _check_batch_norm(model: nn.Module, refuse: Refuse) -> None:
    model.train()
    for path, layer in model.named_modules():
        if isinstance(layer, BatchNorm) and layer.running_mean is None:
            refuse(f"{path} has no running statistics, so outputs depend on the batch; leave track_running_stats as it is")
        if isinstance(layer, BatchNorm) and not layer.training:
            refuse(f"{path} stays in evaluation mode, but rayfe recomputes its statistics; use a fixed scale and shift instead")


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
def _check_evaluation(model: Any, x: Tensor, refuse: Refuse) -> None:
    """In evaluation mode an output is a function of the example alone, and calls leave their argument and the model alone."""
    model.eval()
    before = weights_of(model)
    for method, call, given in methods_on(model, x):
        kept = given.clone()
        torch.manual_seed(0)
        first = call(given)
        if not torch.equal(given, kept):
            refuse(f"{method} changes its argument in place; write x = x - 0.5 for x -= 0.5, and no inplace=True there")
        torch.manual_seed(1)
        if not _close(first, call(given)):
            refuse(
                f"{method} gives other values in evaluation mode when called again; draw nothing there, rayfe draws z itself"
            )
        try:
            alone = call(given[:1])
        except Exception as error:  # a model of the user's own may raise anything
            reason = f"{type(error).__name__}: {error}"
            refuse(f"{method} fails for one example alone ({reason}); it must take any number of them", cause=error)
        if alone.shape != first[:1].shape:
            refuse(
                f"{method} returns shape {tuple(alone.shape[1:])} for one example alone; leave squeeze() without a dimension"
            )
        if not _close(first[:1], alone):
            refuse(
                f"{method} gives an example other values alone than in a batch; normalise by examples or by batch-norm layers"
            )
    after = weights_of(model)
    changed = [path for path, value in after.items() if not np.array_equal(value, before[path], equal_nan=True)]
    if changed:
        refuse(f"{changed[0]} changes in evaluation mode; change it only where self.training")


@torch.no_grad()
def _check_constants(model: Any, x: Tensor, refuse: Refuse) -> None:
    """Tensors that are plain attributes, other than what each pass leaves there: they stay behind on another device."""
    before = list(_plain_tensors(model))  # kept, so that no other tensor gets the identity of one of them
    for _, call, given in methods_on(model, x):
        call(given)
    stay = {(path, id(value)) for path, value in _plain_tensors(model)} & {(path, id(value)) for path, value in before}
    for path, _ in sorted(stay):
        fix = f'register it: self.register_buffer("{path.rpartition(".")[2]}", ...)'
        refuse(f"{path} is a tensor that is neither a parameter nor a buffer, so it is not stored; {fix}")


def _plain_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    known = {id(value) for value in (*model.parameters(), *model.buffers())}
    for path, value in _own(model):
        yield from ((path, part) for part in _within(value) if isinstance(part, Tensor) and id(part) not in known)


@torch.no_grad()
def _check_draws(model: Any, x: Tensor, refuse: Refuse) -> None:
    """In training mode outputs are a function of weights, examples and torch's seed."""
    model.train()
    kept = {path: value.clone() for path, value in model.state_dict().items()}
    seen = []
    for _ in range(2):
        model.load_state_dict(kept)
        torch.manual_seed(0)
        seen.append({method: call(given) for method, call, given in methods_on(model, x)})
    model.load_state_dict(kept)
    for method, value in seen[0].items():
        if not _close(value, seen[1][method]):
            fix = "draw by torch's global generator alone, not by numpy or a generator of its own"
            refuse(f"{method} gives other values in training mode when called again from the same torch seed; {fix}")


def _train(model: Any, x: Tensor, y: Tensor) -> None:
    """A few updates of J at lam = gamma = 1, all of the examples in each."""
    model.train()
    parameters = [value for value in model.parameters() if value.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    rng = torch.Generator(x.device).manual_seed(0)
    for _ in range(UPDATES):
        noise = draw_noise(rng, n=len(x), latent=model.latent, decoder_draws=1, head_draws=2, dtype=x.dtype)
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
    differ = [method for method, (call, given) in ours.items() if not _close(call(given), theirs[method](given))]
    if differ:
        what = ", ".join(_not_stored(model, other)) or "something that is neither a parameter nor a floating-point buffer"
        methods = " and ".join(differ)
        refuse(
            f"{methods} give other values in a new model with the stored weights: not stored is {what}; make it a buffer of floats"
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


def _within(value: Any) -> Iterable[Any]:
    """What lists, tuples, sets and mappings hold, else the value itself."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return [part for each in value for part in _within(each)]
    return [value]


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= CLOSE * (1.0 + one.abs().max()))
