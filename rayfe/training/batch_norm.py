"""Batch-norm statistics: of all examples of p(x, t) for evaluation, or of weighted examples at hand, with gradients."""

from __future__ import annotations

import abc
import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rayfe.data.device_path import DevicePath, Stratum, chunks
from rayfe.data.randomness import normal_of
from rayfe.model.objective import sample
from rayfe.model.protocol import Representation
from rayfe.training.moments import MERGED, Masses, Moments
from rayfe.training.together import in_one_pass

BatchNorm = nn.modules.batchnorm._BatchNorm

WHOLE_BYTES = 1 << 30
"""Memory that all examples may take as one chunk without gradients; where they need more there is a pass for each layer."""
HELD = 3
"""Copies of its largest activation that a forward pass holds at a time, about."""
DRAWS = 4
"""Draws of z per example for the decoder's statistics, as far as they cost no more than encoding: by one draw the noise of the statistics
moves D by more than its own error (digits: 0.016 and 0.013)."""


def recompute_statistics(
    model: Representation,
    path: DevicePath,
    t: float,
    *,
    chunk: int,
    key: Callable[[str], int],
    decode: bool = True,
    most: int = WHOLE_BYTES,
) -> float:
    """Set the statistics of batch-norm layers to those of p(x, t) for the weights at hand; leaves the model in evaluation mode.

    They are the population's, layer by layer: mean and variance of a layer's inputs are over all examples, and every layer before
    it normalises by such statistics, too. So neither the order of the examples nor their chunks matter. Where all examples fit
    into `most` bytes they are one chunk; otherwise the chunks are passed once for each layer of the longest sequence, as a layer's
    inputs are right only when those before it are done. A layer that is called several times has the statistics of its first call.

    `key` gives the key of the noise by the name of a stratum. Without `decode` the decoder's layers are left as they are.
    Returns the forward passes over one example that it took: half a pass for the encoder, which counts as whole wherever it ended,
    and half a pass for a whole decoder, by floating-point operations.
    """
    return recompute_together([(model, t, key)], path, chunk=chunk, decode=decode, most=most)


@torch.no_grad()
def recompute_together(
    asked: Sequence[tuple[Any, float, Callable[[str], int]]],
    path: DevicePath,
    *,
    chunk: int,
    decode: bool = True,
    most: int = WHOLE_BYTES,
) -> float:
    """`recompute_statistics` of several models (model, t, key) of one architecture, whose times have the same examples."""
    models, t = [model.eval() for model, _, _ in asked], asked[0][1]
    present, passes = path.present(t), 0.0
    look = _look(models[0], present[0].examples(slice(0, 1), t).x, decode=decode)
    names = [name for name, layer in models[0].named_modules() if layer in look.layers]
    whole = path.size(t) * look.bytes <= most

    def statistics(model: Any, own: Own) -> list[tuple[Tensor, Tensor]]:
        nonlocal passes
        layers = [model.get_submodule(name) for name in names]
        with _Layers(model, frozenset(layers), whole=whole) as taken:
            while taken.left:
                for x, weights, epsilon in _parts(model.latent, present, t, own, None if whole else chunk, look.draws):
                    decoded = taken.see(x, weights, epsilon, decode=decode)
                    passes += len(x) * (0.5 + (0.5 * look.draws * look.decoder if decoded else 0.0))
                taken.finish()
        return [(layer.running_mean, layer.running_var) for layer in layers]

    if names:
        own = [[(key(stratum.name), stratum.weights(slice(None), at)) for stratum in present] for _, at, key in asked]
        for model, found in zip(models, in_one_pass(models, statistics, own), strict=True):
            for name, (mean, variance) in zip(names, found, strict=True):
                layer = model.get_submodule(name)
                layer.running_mean, layer.running_var = mean, variance
    return passes


Own = list[tuple[int, Tensor]]
"""Of each stratum the key of the noise, and the weights of its examples."""


def _parts(
    latent: int, present: Sequence[Stratum], t: float, own: Own, chunk: int | None, draws: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """x (N, ...), weights (N,) and noise (N, draws, latent) of chunks of each stratum, or of all examples at once (`chunk` None)."""
    parts = []
    for stratum, (key, weights) in zip(present, own, strict=True):
        for rows in chunks(len(stratum), chunk or len(stratum)):
            examples = stratum.examples(rows, t)
            epsilon = normal_of(examples.number, draws * latent, key=key, dtype=examples.x.dtype)
            parts.append((examples.x, weights[rows], epsilon.view(-1, draws, latent)))
            if chunk is not None:
                yield parts.pop()
    if len(parts) == 1:
        yield parts[0]
    elif parts:
        x, weights, epsilon = (torch.cat(values) for values in zip(*parts, strict=True))
        yield x, weights, epsilon


@dataclass(frozen=True, kw_only=True, slots=True)
class _Look:
    """What a pass of one example through a model shows."""

    layers: frozenset[BatchNorm]
    """The batch-norm layers that it comes by."""
    bytes: float
    """Memory that it holds: HELD times the largest input or output of a module, about."""
    decoder: float
    """Part of decoding that is done where the last of the layers is reached."""
    draws: int
    """Draws of z that are worth decoding."""


def _look(model: Any, x: Tensor, *, decode: bool) -> _Look:
    """Pass on one example x (1, ...)."""
    called: set[BatchNorm] = set()
    largest = x.numel()

    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal largest
        largest = max([largest, *(value.numel() for value in (*inputs, output) if isinstance(value, Tensor))])
        if isinstance(module, BatchNorm) and module.running_mean is not None:
            called.add(module)

    hooks = [module.register_forward_hook(look) for module in model.modules()]
    try:
        mean, _ = model.encode(x)
        model.classify(mean)
        encoder_layers = frozenset(called)
        if decode:
            model.decode(mean)
    finally:
        for hook in hooks:
            hook.remove()
    size = HELD * largest * x.element_size()
    if not called - encoder_layers:
        return _Look(layers=frozenset(called), bytes=size, decoder=0.0, draws=1)
    encoding, decoding = operations(lambda: model.encode(x)), operations(lambda: model.decode(mean))
    with _Layers(model, frozenset(called - encoder_layers), whole=True) as layers:
        layers.weigh(x.new_ones(1))
        begun = operations(lambda: layers.through(model.decode, mean))
    draws = min(DRAWS, max(1, encoding // begun if begun else DRAWS))
    return _Look(layers=frozenset(called), bytes=size * draws, decoder=begun / decoding if decoding else 1.0, draws=draws)


def operations(call: Callable[[], Any]) -> int:
    """Floating-point operations of the matrix products and convolutions that a call does."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


class _Reached(BaseException):
    """A forward pass came to a layer beyond which it has nothing to do; no Exception, which a model may catch."""


class _Instead(abc.ABC):
    """While it lasts, some batch-norm layers do what `_forward` says instead of their own."""

    def __init__(self, layers: Iterable[BatchNorm]) -> None:
        self._layers = frozenset(layers)

    def __enter__(self) -> Self:
        for layer in self._layers:
            layer.forward = partial(self._forward, layer)  # type: ignore[method-assign]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for layer in self._layers:
            del layer.forward  # the class's own shows again

    @abc.abstractmethod
    def _forward(self, layer: BatchNorm, x: Tensor) -> Tensor: ...


class _Layers(_Instead):
    """The batch-norm layers of a model while their statistics are taken."""

    def __init__(self, model: Any, layers: frozenset[BatchNorm], *, whole: bool) -> None:
        """`whole`: all examples come at once, so that a layer is done when it was seen."""
        super().__init__(layers)
        self._model, self._whole = model, whole
        self.left = set(layers)
        """Layers whose statistics are not known yet."""
        self._moments: dict[BatchNorm, Moments] = {}
        self._masses: Callable[[int], Masses]

    def weigh(self, weights: Tensor) -> None:
        """From now on examples with these weights (N,) come, or several draws of them one after the other."""

        @functools.cache
        def masses(n: int) -> Masses:
            parts = weights.repeat(n // len(weights)).split(MERGED)
            return [(part, part.sum()) for part in parts]

        self._masses = masses

    def see(self, x: Tensor, weights: Tensor, epsilon: Tensor, *, decode: bool) -> bool:
        """Pass on examples x with their weights as far as there is something to learn; returns whether they were decoded."""
        self.weigh(weights)
        try:
            mean, log_variance = self._model.encode(x)
        except _Reached:
            return False
        z = sample(mean, log_variance, epsilon.movedim(1, 0)).flatten(0, 1)
        self.through(self._model.classify, z[: len(x)])
        if decode:
            self.through(self._model.decode, z)
        return decode

    def through(self, part: Callable[[Tensor], Any], z: Tensor) -> None:
        """Pass on z as far as there is something to learn."""
        with contextlib.suppress(_Reached):
            part(z)

    def finish(self) -> None:
        """Set the statistics of the layers that a pass has seen."""
        for layer in list(self._moments):
            self._set(layer)

    def _set(self, layer: BatchNorm) -> None:
        moments = self._moments.pop(layer)
        like: Tensor = layer.running_mean  # type: ignore[assignment]
        layer.running_mean = torch.as_tensor(moments.mean).to(like)
        layer.running_var = torch.as_tensor(moments.squares / moments.mass).to(like)
        self.left.discard(layer)

    def _forward(self, layer: BatchNorm, x: Tensor) -> Tensor:
        if layer in self.left:
            self._moments.setdefault(layer, Moments()).add(x, self._masses(len(x)))
            if not self._whole:
                raise _Reached
            self._set(layer)
            if not self.left:
                raise _Reached
        return type(layer).forward(layer, x)


class WeightedStatistics(_Instead):
    """While it lasts, the model's batch-norm layers normalise by the statistics of the examples at hand, weighted.

    Set `weights`, (N,) with sum 1, before each pass over N examples (or over several draws of z for each of them). Gradients flow
    through statistics and weights.
    """

    def __init__(self, model: Any) -> None:
        super().__init__(layer for layer in model.modules() if isinstance(layer, BatchNorm))
        self.weights = torch.empty(0)

    def _forward(self, layer: BatchNorm, x: Tensor) -> Tensor:
        weights = self.weights if len(x) == len(self.weights) else self.weights.repeat(len(x) // len(self.weights))
        weights = weights * (len(self.weights) / len(x))
        places = x[0, 0].numel()
        flat = x.reshape(*x.shape[:2], places)
        mean = torch.einsum("n,ncp->c", weights, flat) / places
        centred = flat - mean[:, None]
        variance = torch.einsum("n,ncp->c", weights, centred.square()) / places
        scale = torch.rsqrt(variance + layer.eps)
        if layer.affine:
            scale = scale * layer.weight
        normal = centred * scale[:, None]
        return (normal + layer.bias[:, None] if layer.affine else normal).reshape(x.shape)
