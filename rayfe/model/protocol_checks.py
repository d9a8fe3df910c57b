"""Whether a model does what the protocol says: each error names the method, what it gave and what is expected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

import torch
from torch import Tensor, nn

from rayfe.config import require
from rayfe.exceptions import UsageError
from rayfe.model.marginal import marginal_of
from rayfe.model.task import task_of

METHODS = ("encode", "decode", "classify")
CLOSE = 1e-3
"""Largest difference between outputs that count as equal, relative to 1 + their size; an example alone may take another kernel."""
TRIAL_RATE = 0.1
TRIAL_UPDATES = 20
"""Of the trial of an output that is suspected to be confined to a range: weights move by about 2."""


class Refuse(Protocol):
    """Raises the UsageError of a model: `fix` says what is wrong with it and what to do."""

    def __call__(self, fix: str, *, cause: Exception | None = None) -> NoReturn: ...


def refusing(name: str) -> Refuse:
    """What refuses the model that is called `name`."""

    def refuse(fix: str, *, cause: Exception | None = None) -> NoReturn:
        raise UsageError("model.name", name, fix) from cause

    return refuse


def methods_on(model: Any, x: Tensor) -> Iterator[tuple[str, Callable[[Tensor], Tensor], Tensor]]:
    """Each method by name, as a function that returns one tensor, and what it is called on; x (N, *input_shape)."""
    z = torch.randn(len(x), model.latent, generator=torch.Generator().manual_seed(0)).to(x)
    yield "encode", lambda given: torch.cat(tuple(model.encode(given)), dim=-1), x
    yield "decode", model.decode, z
    yield "classify", model.classify, z
    if getattr(model, "marginal", None) is not None:
        yield "marginal", lambda given: marginal_of(model).log_density(given[None])[0], z


def close(one: Tensor, other: Tensor) -> bool:
    """Whether outputs count as equal."""
    return one.shape == other.shape and bool((one - other).abs().max() <= CLOSE * (1.0 + one.abs().max()))


def check_methods(thing: Any, name: str) -> None:
    """Raises UsageError (model.name) unless a model, or its class, has every method of the protocol."""
    missing = [method for method in METHODS if not callable(getattr(thing, method, None))]
    require(not missing, "model.name", name, f"lacks the method {' and '.join(missing)} (rayfe/model/protocol.py)")


def check_ranges(make: Callable[[int], Any], name: str, x: Tensor) -> None:
    """Refuse a classifier that returns probabilities, and an encoder that returns a variance instead of its logarithm.

    Where outputs look so for a new model, `make(0)`, a short training tries to drive them out of their range.

    Raises:
        UsageError: model.name; they stay in it.
    """
    refuse, model = refusing(name), make(0)

    def positive() -> Tensor:
        return model.encode(x)[1]

    def unit() -> Tensor:
        return model.classify(model.encode(x)[0].detach())

    if bool((positive() > 0).all()) and bool((_driven(model, positive, lambda value: value.mean()) > 0).all()):
        refuse("encode's second output is positive for all weights, like a variance; return its logarithm, log_variance")
    model = make(0)
    if task_of(model).logits and _in_unit(unit()) and _in_unit(_driven(model, unit, lambda value: -value.square().mean())):
        refuse("classify returns numbers between 0 and 1 for all weights, like probabilities; return logits, without softmax")


def _in_unit(values: Tensor) -> bool:
    return bool(((values >= 0) & (values <= 1)).all())


def _driven(model: nn.Module, output: Callable[[], Tensor], loss: Callable[[Tensor], Tensor]) -> Tensor:
    """The output after a short training that lowers the loss of it."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=TRIAL_RATE)
    for _ in range(TRIAL_UPDATES):
        optimizer.zero_grad()
        loss(output()).backward()
        optimizer.step()
    return output().detach()


def check_shapes(model: Any, name: str, x: Tensor, classes: int) -> None:
    """Call every method once, in evaluation mode; x (N, *input_shape).

    Raises:
        UsageError: model.name; a method fails, or returns something else than tensors of the expected shapes and type.
    """
    training = model.training
    model.eval()
    with torch.no_grad():
        outputs_of(model, name, x, classes)
    model.train(training)


def outputs_of(model: Any, name: str, x: Tensor, classes: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean, log-variance, reconstruction and logits of examples x (N, *input_shape).

    Raises:
        UsageError: model.name; a method fails, or returns something else than tensors of the expected shapes and type.
    """
    latent: Any = getattr(model, "latent", None)
    n = len(x)
    fix = f"must have an integer attribute `latent` of at least 1, the dimensions of z; it has {latent!r}"
    require(isinstance(latent, int) and not isinstance(latent, bool) and latent > 0, "model.name", name, fix)
    pair = f"two tensors (mean, log_variance), each of shape {(n, latent)}"
    encoded = _called(name, "encode", lambda: model.encode(x), given=x, expected=pair)
    if not (isinstance(encoded, tuple | list) and len(encoded) == 2):
        fix = f"encode returns {_shown(encoded)} for x of shape {tuple(x.shape)}, expected {pair}"
        raise UsageError("model.name", name, fix)
    mean, log_variance = encoded
    _check_tensor(name, "encode (mean)", mean, (n, latent), x)
    _check_tensor(name, "encode (log_variance)", log_variance, (n, latent), x)
    shape = tuple(x.shape)
    x_hat = _called(name, "decode", lambda: model.decode(mean), given=mean, expected=f"a tensor of shape {shape}")
    _check_tensor(name, "decode", x_hat, shape, x)
    expected = f"a tensor of logits of shape {(n, classes)}"
    logits = _called(name, "classify", lambda: model.classify(mean), given=mean, expected=expected)
    _check_tensor(name, "classify", logits, (n, classes), x)
    return mean, log_variance, x_hat, logits


def _called(name: str, method: str, call: Callable[[], Any], *, given: Tensor, expected: str) -> Any:
    try:
        return call()
    except Exception as error:  # a model of the user's own may raise anything
        reason = f"{type(error).__name__}: {error}"
        fix = f"{method} fails for a tensor of shape {tuple(given.shape)} ({reason}), expected {expected}"
        raise UsageError("model.name", name, fix) from error


def _check_tensor(name: str, method: str, output: Any, shape: tuple[int, ...], x: Tensor) -> None:
    tensor = isinstance(output, Tensor)
    require(tensor, "model.name", name, f"{method} returns {_shown(output)}, expected a tensor of shape {shape}")
    found = tuple(output.shape)
    require(found == shape, "model.name", name, f"{method} returns shape {found} for {len(x)} examples, expected {shape}")
    require(output.dtype == x.dtype, "model.name", name, f"{method} returns {output.dtype}, expected {x.dtype} as x has")


def _shown(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"one tensor of shape {tuple(value.shape)}"
    kind = type(value).__name__
    return f"{kind} of {len(value)}" if isinstance(value, tuple | list) else kind
