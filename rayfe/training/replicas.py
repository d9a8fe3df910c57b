"""Several models of one architecture, trained on the same batches: stacked by vmap, or one after the other."""

from __future__ import annotations

import abc
import contextlib
import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from rayfe.data.randomness import GLOBAL
from rayfe.exceptions import UsageError
from rayfe.model.objective import Noise, Objective, PerExample, draw_noise
from rayfe.model.posterior import information, is_random, widths_of
from rayfe.model.task import Task, task_of
from rayfe.model.weights import moved, to_host, weights_of
from rayfe.records import Weights


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's global generators of the CPU and of `device` start from `seed`, and get their old state back at the end."""
    with GLOBAL, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":  # not torch.manual_seed, which reseeds the process's other GPUs as well
            torch.cuda.default_generators[device.index].manual_seed(seed)
        yield


class Multipliers(NamedTuple):
    """Of each replica, (count,) each, or of one."""

    lam: Tensor
    gamma: Tensor
    sigma: Tensor


def free_energy(functionals: PerExample, lam: Tensor, gamma: Tensor) -> Tensor:
    """R + lam D + gamma C (8) of each replica over the batch, (count,)."""
    return functionals.R.mean(-1) + lam * functionals.D.mean(-1) + gamma * functionals.C.mean(-1)


class Replicas(abc.ABC):
    """Models that share batches and noise, and the masks of stochastic layers; their number is `count`."""

    count: int
    stacked: bool
    """Whether a first dimension of each of `parameters()` counts the replicas."""
    task: Task
    """Of all of them."""

    @abc.abstractmethod
    def parameters(self) -> Mapping[str, Tensor]:
        """Leaf tensors to be optimised: those that the model's author has not frozen."""

    @abc.abstractmethod
    def tensors(self) -> Mapping[str, Tensor]:
        """Parameters and buffers: all that training changes."""

    @abc.abstractmethod
    def functionals(self, x: Tensor, y: Tensor, noise: Noise, *, seed: int = 0, predict: bool = True) -> PerExample:
        """R, D, C and, with `predict`, the score of every replica in training mode, (count, N) each.

        What stochastic layers (dropout) draw is a function of `seed` alone, and the same for all replicas.
        """

    @abc.abstractmethod
    def information(self) -> Tensor | None:
        """S of each replica (5), (count,); None: no weights are random."""

    def loss(self, x: Tensor, y: Tensor, noise: Noise, at: Multipliers, *, seed: int) -> Tensor:
        """What each replica's training descends on, (count,): J = R + lam D + gamma C + sigma S at its own multipliers."""
        J = free_energy(self.functionals(x, y, noise, seed=seed, predict=False), at.lam, at.gamma)
        S = self.information()
        return J if S is None else J + at.sigma * S

    def complete_gradients(self) -> None:
        """After a backward pass: make the gradients those of the whole batch, where this process computed a part."""
        return None

    @abc.abstractmethod
    def weights(self) -> tuple[Weights, ...]:
        """Parameters and buffers of each replica."""

    @abc.abstractmethod
    def name(self, key: str) -> str:
        """The name in a model's state dict of the parameter that has this key in `parameters()`."""

    @abc.abstractmethod
    def first(self, tensors: Mapping[str, Tensor]) -> Weights:
        """From tensors by the keys of `parameters()`, those of the first replica, by state-dict name."""

    def spread(self, values: Weights, like: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """The opposite of `first`: values of one replica for all, those that there are, by key.

        They are laid out in memory as in `like`: a fused optimizer goes by addresses.
        """
        like = {key: tensor for key, tensor in like.items() if self.name(key) in values}
        if not like:
            return {}
        given = [torch.from_numpy(np.array(values[self.name(key)])) for key in like]
        pairs = zip(like.items(), moved(given, next(iter(like.values())).device), strict=True)
        with torch.no_grad():
            return {
                key: torch.empty_like(tensor).copy_(value.reshape(tensor.shape[self.stacked :]))
                for (key, tensor), value in pairs
            }


class Looped(Replicas):
    """One module a replica; also the fastest way for a single replica."""

    stacked = False

    def __init__(self, models: Sequence[nn.Module], *, compiled: bool = False) -> None:
        """`compiled`: whether updates are (`CompiledUpdate`)."""
        self.count, self.compiled = len(models), compiled
        self.objectives = [Objective(model.train()) for model in models]
        self.task = task_of(models[0])

    def parameters(self) -> Mapping[str, Tensor]:
        named = [(i, *item) for i, objective in enumerate(self.objectives) for item in objective.model.named_parameters()]
        return {f"{i}/{name}": value for i, name, value in named if value.requires_grad}

    def tensors(self) -> Mapping[str, Tensor]:
        return {f"{i}/{name}": value for i, o in enumerate(self.objectives) for name, value in o.model.state_dict().items()}

    def functionals(self, x: Tensor, y: Tensor, noise: Noise, *, seed: int = 0, predict: bool = True) -> PerExample:
        each = []
        for objective in self.objectives:
            with seeded(seed, x.device):
                each.append(objective(x, y, noise, predict))
        return PerExample(*map(torch.stack, zip(*each, strict=True)))

    def information(self) -> Tensor | None:
        models = [objective.model for objective in self.objectives]
        return torch.stack([information(model) for model in models]) if is_random(models[0]) else None

    def weights(self) -> tuple[Weights, ...]:
        return tuple(weights_of(objective.model) for objective in self.objectives)

    def name(self, key: str) -> str:
        return key.partition("/")[2]

    def first(self, tensors: Mapping[str, Tensor]) -> Weights:
        return to_host({self.name(key): value for key, value in tensors.items() if key.startswith("0/")})


class Stacked(Replicas):
    """All replicas in one batched module (torch.func.vmap over stacked parameters and buffers)."""

    stacked = True

    def __init__(self, models: Sequence[nn.Module]) -> None:
        self.count = len(models)
        self._models, self.task = [model.train() for model in models], task_of(models[0])
        self.skeleton = Objective(copy.deepcopy(models[0]).to("meta").train())
        """A model without values, for functional calls."""
        self._parameters, self._buffers = stack_module_state([Objective(model) for model in self._models])

        def one(
            parameters: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor, noise: Noise, predict: bool
        ) -> PerExample:
            return functional_call(self.skeleton, (parameters, buffers), (x, y, noise, predict))

        self._all = torch.func.vmap(one, in_dims=(0, 0, None, None, None, None), randomness="same")

    def parameters(self) -> Mapping[str, Tensor]:
        return {name: value for name, value in self._parameters.items() if value.requires_grad}

    def tensors(self) -> Mapping[str, Tensor]:
        return {**self._parameters, **self._buffers}

    def functionals(self, x: Tensor, y: Tensor, noise: Noise, *, seed: int = 0, predict: bool = True) -> PerExample:
        with seeded(seed, x.device):
            return self._all(self._parameters, self._buffers, x, y, noise, predict)

    def information(self) -> Tensor | None:
        model = self.skeleton.model
        own = {self.name(key): value for key, value in self._parameters.items()}
        return information(model, values=own) if is_random(model) else None

    def weights(self) -> tuple[Weights, ...]:
        state = self._models[0].state_dict()  # without buffers that are not persistent
        stacked = {self.name(key): value for key, value in self.tensors().items()}
        stored = to_host({name: stacked[name] for name, value in state.items() if value.is_floating_point()})
        return tuple({name: value[i].copy() for name, value in stored.items()} for i in range(self.count))

    def name(self, key: str) -> str:
        return key.removeprefix("model.")

    def first(self, tensors: Mapping[str, Tensor]) -> Weights:
        return to_host({self.name(key): value[0] for key, value in tensors.items()})


def make_replicas(models: Sequence[nn.Module], device: torch.device, *, compiled: bool = False) -> Replicas:
    """Stacked where that is faster: more than one replica, and no convolutions on a CPU.

    Those whose updates are `compiled` are not stacked: on a CPU one after the other is faster then.
    """
    alone = compiled or len(models) == 1 or (device.type == "cpu" and not stacks(models[0]))
    return Looped(models, compiled=compiled) if alone else Stacked(models)


def stacked(models: Sequence[nn.Module], device: torch.device) -> Replicas:
    """Stacked, wherever that is: for the updates of a fleet."""
    return Stacked(models)


def stacks(model: nn.Module) -> bool:
    """Whether several replicas of this model are stacked on a CPU, too; on a GPU all are."""
    return not any(isinstance(module, nn.modules.conv._ConvNd) for module in model.modules())


def check_stacked(models: Sequence[Any], name: str, x: Tensor, y: Tensor) -> None:
    """Try on x (N, *input_shape) and y (N,) what a stencil will do with models of a user's own, before anything is trained.

    Raises:
        UsageError: model.name; they cannot be stacked.
    """
    noise = draw_noise(
        torch.Generator(), n=len(x), widths=widths_of(models[0]), decoder_draws=1, head_draws=2, dtype=torch.float32
    )
    try:
        Stacked(models).functionals(x, y, noise, predict=False).D.sum().backward()
    except Exception as error:  # a model of the user's own may raise anything
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        fix = (
            f"fails where replicas are stacked by torch.func.vmap ({reason}); ``replicas_per_evaluator=1`` trains them in turn"
        )
        raise UsageError("model.name", name, fix) from error
