"""The whole update of a model, gradient and optimizer, as one piece of compiled code."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import torch
import torch.nn.functional as nnf
from torch import Tensor
from torch.func import functional_call, grad_and_value
from torch.overrides import TorchFunctionMode

from rayfe.data.device_path import DeviceExamples
from rayfe.model.objective import Noise, Objective
from rayfe.model.posterior import information, is_random
from rayfe.training.optimizer import Average, adam, adam_of, adam_scales, moved_by
from rayfe.training.replicas import Looped, Multipliers, seeded
from rayfe.training.soap import Soap, turned

VARIANTS = 64
"""Pieces of code that a process may hold: one for each architecture, batch and optimizer."""
WIDE = 64
"""Rows and columns of a matrix, at least, whose products may be rounded to bfloat16: those of smaller ones take no time."""

Product = Callable[[Tensor, Tensor], Tensor]


class Theta(NamedTuple):
    """What Adam updates of one parameter, (rows, columns) where it is rotated by a basis."""

    value: Tensor
    first: Tensor
    second: Tensor
    mean: Tensor | None
    """Of the late iterates, if they are averaged."""


class Model(NamedTuple):
    """All tensors of a model's training, by the names of parameters in an `Objective`."""

    theta: Mapping[str, Theta]
    others: Mapping[str, Tensor]
    """Buffers, which the update changes, and parameters that J does not depend on."""
    shapes: Mapping[str, tuple[int, ...]]
    """Of the parameters whose copy is rotated."""


class CompiledUpdate:
    """Does what `Descent` does operation by operation, to rounding. Gradients of SOAP's matrices arise in their bases."""

    def __init__(
        self,
        replicas: Looped,
        optimizer: torch.optim.Optimizer,
        at: Multipliers,
        *,
        average: Average | None = None,
        rounds: bool = False,
        backend: str = "inductor",
    ) -> None:
        """`rounds`: products with large matrices are of bfloat16 numbers, added up in float32. `backend` is torch.compile's."""
        self._replicas, self._optimizer, self._average = replicas, optimizer, average
        self._product: Product = rounded_product if rounds else torch.matmul
        self._points = [Multipliers(*one) for one in zip(*at, strict=True)]
        self._models: list[Model] = []
        self._code = _compiled(backend)
        self._step = torch.empty(())
        """Updates that Adam counts, of all parameters: they began together."""

    def __call__(self, number: int, batch: DeviceExamples, noise: Noise, seed: int) -> Tensor:
        """J before the update of this number, summed over the replicas. The first call compiles, unless that was done in this
        process."""
        if not self._models:
            self._begin()
            return _in_another_thread(lambda: self._update(number, batch, noise, seed))
        return self._update(number, batch, noise, seed)

    @torch.no_grad()
    def _update(self, number: int, batch: DeviceExamples, noise: Noise, seed: int) -> Tensor:
        soap = self._optimizer if isinstance(self._optimizer, Soap) else None
        self._step += 1
        self._set_scales(number)
        total = torch.zeros((), dtype=batch.x.dtype, device=batch.x.device)
        sampled: dict[str, Tensor] = {}
        for objective, model, point in zip(self._replicas.objectives, self._models, self._points, strict=True):
            bases = {name: soap.bases[name.removeprefix("model.")].vectors for name in model.shapes} if soap else {}
            with seeded(seed, batch.x.device):
                J, gradients = self._code(
                    objective, model, bases, batch.x, batch.y, noise, point, self._scales, self._betas, self._product
                )
            total += J
            sampled = sampled or {name.removeprefix("model."): gradient for name, gradient in gradients.items()}
        if soap:
            if soap.samples:
                soap.see({name: turned(gradient, soap.bases[name].vectors.T) for name, gradient in sampled.items()})
            soap.count()
        return total

    def _begin(self) -> None:
        """Gather what the first update has left."""
        adam, moved, parameters = (
            adam_of(self._optimizer),
            moved_by(self._optimizer, self._replicas),
            self._replicas.parameters(),
        )
        steps: list[Tensor] = []
        for i, objective in enumerate(self._replicas.objectives):
            theta, shapes = {}, {}
            others = {name: value.detach() for name, value in (*objective.named_buffers(), *objective.named_parameters())}
            for name in list(others):
                key = f"{i}/{name.removeprefix('model.')}"
                if key not in moved or not (state := adam.state[moved[key]]):
                    continue
                mean = self._average.means[key] if self._average else None
                theta[name] = Theta(moved[key].detach(), state["exp_avg"], state["exp_avg_sq"], mean)
                steps.append(state["step"])
                state["step"] = steps[0]
                del others[name]
                if moved[key] is not parameters[key]:
                    shapes[name] = tuple(parameters[key].shape)
            self._models.append(Model(theta, others, shapes))
        (self._count,) = set(torch.stack(steps).tolist())
        self._step = steps[0]
        self._betas: tuple[float, float] = adam.param_groups[0]["betas"]
        self._scales = next(iter(self._models[0].theta.values())).value.new_empty(3)

    def _set_scales(self, number: int) -> None:
        """The rate over the first moments' bias, the root of the second moments' bias, and the iterate's weight in the average."""
        self._count += 1
        scales = adam_scales(self._optimizer.param_groups[0]["lr"], self._count, self._betas)
        weight = self._average.weight(number) if self._average else 0.0
        for scale, value in zip(self._scales, (*scales, weight), strict=True):
            scale.fill_(value)


def _update(
    objective: Objective,
    model: Model,
    bases: Mapping[str, Tensor],
    x: Tensor,
    y: Tensor,
    noise: Noise,
    point: Multipliers,
    scales: Tensor,
    betas: tuple[float, float],
    product: Product,
) -> tuple[Tensor, dict[str, Tensor]]:
    """J, and the gradients of the matrices that are rotated; changes the tensors of `model`."""

    def loss(theta: dict[str, Tensor], others: Mapping[str, Tensor]) -> Tensor:
        return free_energy_of(objective, theta, others, model.shapes, bases, x, y, noise, point, product)

    gradients, J = grad_and_value(loss)({name: theta.value for name, theta in model.theta.items()}, model.others)
    for name, (value, first, second, mean) in model.theta.items():
        adam(value, first, second, gradients[name], scales=(scales[0], scales[1]), betas=betas)
        if mean is not None:
            mean.lerp_(value, scales[2])
    return J, {name: gradients[name] for name in bases}


def free_energy_of(
    objective: Objective,
    theta: Mapping[str, Tensor],
    others: Mapping[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    bases: Mapping[str, Tensor],
    x: Tensor,
    y: Tensor,
    noise: Noise,
    point: Multipliers,
    product: Product = torch.matmul,
) -> Tensor:
    """J (5), (8) over a batch, of a model by its parameters `theta`, those in `bases` rotated by them, and by its `others`."""
    own = {
        name: turned(value, bases[name].mT, product).view(shapes[name]) if name in bases else value
        for name, value in theta.items()
    }
    with _Products(product, [(own[name], theta[name], bases[name]) for name in bases]):
        R, D, C, _ = functional_call(objective, {**own, **others}, (x, y, noise, False))
    J = R.mean() + point.lam * D.mean() + point.gamma * C.mean()
    if not is_random(objective.model):
        return J
    named = {name.removeprefix("model."): value for name, value in (*others.items(), *own.items())}
    return J + point.sigma * information(objective.model, values=named)


def _in_another_thread(call: Callable[[], Tensor]) -> Tensor:
    """What `call` returns or raises. A signal is answered at once by this thread, which only waits.

    Compiling takes half a minute in libraries that swallow exceptions here and there, also those that a signal raises.
    """
    answer: Future[Tensor] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # raised again by who waits
            answer.set_exception(error)

    threading.Thread(target=work, name="compiles", daemon=True).start()
    return answer.result()


def rounded_product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b of the nearest bfloat16 numbers, added up in float32; so are the products of its gradient."""
    wide = min(b.shape) >= WIDE
    return (a.bfloat16() @ b.bfloat16()).to(a.dtype) if wide else a @ b


class _Products(TorchFunctionMode):
    """Linear layers by `product`; with a matrix that was turned back it is two, with its copy and the basis, where the batch is
    smaller than its longer side."""

    def __init__(self, product: Product, matrices: Sequence[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Matrices, their copies in the bases, and these."""
        super().__init__()
        self._product, self._matrices = product, matrices

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not nnf.linear:
            return func(*args, **(kwargs or {}))
        x, weight, *bias = args
        out = self._linear(x, weight)
        return out + bias[0] if bias and bias[0] is not None else out

    def _linear(self, x: Tensor, weight: Tensor) -> Tensor:
        for matrix, copy, Q in self._matrices:
            if matrix is weight and x.dim() == 2 and len(x) < max(copy.shape):
                left = copy.shape[0] <= copy.shape[1]
                factors = (copy.T, Q.T) if left else (Q, copy.T)
                return self._product(self._product(x, factors[0]), factors[1])
        return self._product(x, weight.T)


@functools.cache
def _compiled(backend: str) -> Callable[..., Any]:
    """One for the process, so that every model of an architecture finds the code of the first; made late, since it imports much."""
    torch._dynamo.config.recompile_limit = VARIANTS
    options: dict[str, Any] | None = {"fallback_random": True} if backend == "inductor" else None  # masks as without it
    return torch.compile(_update, fullgraph=True, dynamic=False, backend=backend, options=options)
