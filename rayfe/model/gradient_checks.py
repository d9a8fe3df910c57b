"""Whether gradients of a new model are those of its outputs: they arrive, are finite, and miss nothing that outputs depend on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rayfe.config import require
from rayfe.model.likelihood import likelihood_of
from rayfe.model.marginal import marginal_of
from rayfe.model.objective import rate_of
from rayfe.model.protocol_checks import Refuse, close, methods_on, outputs_of, refusing
from rayfe.model.task import task_of

FURTHEST = 30.0
"""A new decoder whose outputs are so many times larger than 1 + the examples gives them on another scale."""


def check_types(model: nn.Module, name: str) -> None:
    """Look at the parameters and buffers of a model as its author builds it.

    Raises:
        UsageError: model.name; modules share a parameter, or a parameter or buffer is of another type than rayfe trains and stores.
    """
    first: dict[int, str] = {}
    for path, parameter in model.named_parameters(remove_duplicate=False):
        other = first.setdefault(id(parameter), path)
        require(other == path, "model.name", name, f"{other} and {path} are one parameter; give each module its own")
        wide = parameter.dtype == torch.float32
        require(wide, "model.name", name, f"{path} is {parameter.dtype}, expected torch.float32 (rayfe chooses the precision)")
    for path, value in model.named_buffers():
        fix = f"{path} is {value.dtype}, which is not stored; keep its real and imaginary part in buffers of floats"
        require(not value.is_complex(), "model.name", name, fix)


def check_trainable(model: Any, name: str, x: Tensor, y: Tensor, classes: int) -> None:
    """Look at the outputs and gradients of a new model on examples x (N, *input_shape) with labels y (N,), before any training.

    Raises:
        UsageError: model.name; a method returns values that are not finite, on another scale than x, or have no gradient;
            no gradient arrives at something that outputs depend on, or it is not finite.
    """
    refuse = refusing(name)
    model.train()
    outputs = outputs_of(model, name, x, classes)
    _check_outputs(outputs, x, refuse)
    _check_leaves(model, outputs, refuse)
    _check_arguments(model, x, refuse)
    mean, log_variance, x_hat, logits = outputs
    R, D = rate_of(marginal_of(model), mean, log_variance, mean[None]), likelihood_of(model)(x, x_hat)
    loss = R.mean() + D.mean() + task_of(model).loss(logits[None], y).mean()
    loss.backward()
    gradients = {path: parameter.grad for path, parameter in model.named_parameters() if parameter.grad is not None}
    if not gradients:
        refuse("has no parameters that its outputs depend on; register its layers as attributes")
    for path, gradient in gradients.items():
        if gradient.is_sparse:
            refuse(f"{path} has a sparse gradient, which cannot be trained here; build its layer with sparse=False")
        if not torch.isfinite(gradient).all():
            refuse("has gradients that are not finite on examples of the data")
    _check_reached(model, x, y, refuse)


def _check_outputs(outputs: Sequence[Tensor], x: Tensor, refuse: Refuse) -> None:
    for method, output in zip(("encode", "encode (log_variance)", "decode", "classify"), outputs, strict=True):
        if not torch.isfinite(output).all():
            refuse(f"{method} returns values that are not finite for examples of the data, expected numbers")
        if not output.requires_grad:
            fix = "compute it from trained parameters by torch, without detach(), no_grad() or numpy"
            refuse(f"{method} returns a tensor without a gradient; {fix}")
    largest, known = (float(value.detach().abs().max()) for value in (outputs[2], x))
    if largest > FURTHEST * (1.0 + known):
        refuse(f"decode of a new model returns {largest:.3g} where x is at most {known:.3g}; return x on the scale of the data")


def _check_leaves(model: nn.Module, outputs: Sequence[Tensor], refuse: Refuse) -> None:
    """Parameters that outputs depend on, but that are not the model's: those of layers that it does not hold."""
    known = {id(parameter) for parameter in model.parameters()}
    for leaf in _leaves([output.grad_fn for output in outputs]):
        if id(leaf) not in known:
            shape = tuple(leaf.shape)
            fix = "it is neither trained nor stored; make its layer an attribute of the model"
            refuse(f"outputs depend on a parameter of shape {shape} that is none of the model's, so {fix}")


def _leaves(functions: list[Any]) -> Iterator[Tensor]:
    """Tensors at which the graph of gradients begins."""
    seen: set[Any] = set()
    while functions:
        function = functions.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        if hasattr(function, "variable"):
            yield function.variable
        functions += [before for before, _ in function.next_functions]


def _check_arguments(model: Any, x: Tensor, refuse: Refuse) -> None:
    """Decoder and classifier must tell the encoder what they need."""
    for method, call, given in methods_on(model, x):
        z = given.detach().requires_grad_()
        if method != "encode" and torch.autograd.grad(call(z).sum(), z, allow_unused=True)[0] is None:
            refuse(f"{method} has no gradient in its argument, so the encoder learns nothing from it; leave out detach()")


@torch.no_grad()
def _check_reached(model: Any, x: Tensor, y: Tensor, refuse: Refuse) -> None:
    """Parameters without a gradient, which are not trained, must change no output. Those that are frozen on purpose may."""
    model.eval()
    missed = {path: value for path, value in model.named_parameters() if value.requires_grad and value.grad is None}
    if not missed:
        return
    before = _all_outputs(model, x, y)
    for path, value in missed.items():
        kept = value.clone()
        value.add_(torch.ones_like(value))
        same = close(before, _all_outputs(model, x, y))
        value.copy_(kept)
        if not same:
            fix = "compute by torch without detach() and no_grad(), or freeze it: requires_grad_(False)"
            refuse(f"outputs depend on {path}, but no gradient arrives there; {fix}")


def _all_outputs(model: Any, x: Tensor, y: Tensor) -> Tensor:
    """Those of each method, and what likelihood and task make of them."""
    outputs = {method: call(given) for method, call, given in methods_on(model, x)}
    functionals = likelihood_of(model)(x, outputs["decode"]), task_of(model).loss(outputs["classify"][None], y)
    return torch.cat([value.flatten() for value in (*outputs.values(), *functionals)])
