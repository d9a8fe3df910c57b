"""One model for a whole box of multipliers: its shifts and gates depend on (log lam, log gamma).

After multi-rate VAEs (Bae et al. 2022, arXiv:2212.03905): at a fixed point the dependence folds into ordinary weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rayfe.config import require
from rayfe.data.randomness import GLOBAL
from rayfe.model.protocol_checks import methods_on
from rayfe.model.weights import to_host, weights_of
from rayfe.records import Box, Point, Weights

HIDDEN = 32
"""Units of the network that says how parameters depend on the point."""
FEATURES = 5
"""Of a point: its two coordinates in the box, their squares and their product."""


class Conditioned(nn.Module):
    """A model of the protocol, some of whose parameters are functions of the point.

    Every vector v (bias, scale or shift of batch-norm) becomes v + a(point); every row of a linear layer with a bias is also
    multiplied by 1 + b(point), its bias likewise. All a and b are outputs of one network of a hidden layer, 0 before training. Frozen
    parameters stay as they are.
    """

    def __init__(self, model: Any, box: Box, *, seed: int) -> None:
        """`model`: one with new weights; `seed`: of the network's initial weights."""
        super().__init__()
        self.model, self.box = model, box
        own = {name: value for name, value in model.named_parameters() if value.requires_grad}
        self._vectors = tuple(name for name, value in own.items() if value.dim() == 1)
        self._gated = tuple(name for name in _linear_layers(model) if {f"{name}.weight", f"{name}.bias"} <= own.keys())
        self._sizes = [own[name].numel() for name in self._vectors] + [len(own[f"{name}.bias"]) for name in self._gated]
        with GLOBAL, torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, sum(self._sizes)))
        for value in self.network[-1].parameters():
            nn.init.zeros_(value)
        self.network.to(next(iter(model.parameters())))

    @property
    def latent(self) -> int:
        return self.model.latent

    def parameters_at(self, points: Sequence[Point]) -> list[Mapping[str, Tensor]]:
        """Parameters of the model that depend on the point, by name, at each of the points."""
        like = next(iter(self.model.parameters()))
        features = torch.tensor([_features(self.box, point) for point in points], dtype=like.dtype, device=like.device)
        # by its root, not by HIDDEN itself: J is 1.9 % above models from scratch on digits, not 2.8 %
        outputs = self.network(features) / HIDDEN**0.5
        own = dict(self.model.named_parameters())
        return [self._moved(own, output.split(self._sizes)) for output in outputs]

    def _moved(self, own: Mapping[str, Tensor], parts: Sequence[Tensor]) -> dict[str, Tensor]:
        count = len(self._vectors)
        moved = {name: own[name] + shift for name, shift in zip(self._vectors, parts[:count], strict=True)}
        for name, gate in zip(self._gated, parts[count:], strict=True):
            moved[f"{name}.weight"] = own[f"{name}.weight"] * (1.0 + gate)[:, None]
            moved[f"{name}.bias"] = moved[f"{name}.bias"] * (1.0 + gate)
        return moved

    @torch.no_grad()
    def fold(self, point: Point) -> Weights:
        """The weights of an ordinary model that gives the same outputs as this one does at `point`."""
        (moved,) = self.parameters_at([point])
        return {**weights_of(self.model), **to_host(moved)}


def check_conditioned(model: Any, name: str, x: Tensor) -> None:
    """Refuse a model a part of which cannot depend on the point; x (N, *input_shape).

    Raises:
        UsageError: model.name.
    """
    (moved,) = Conditioned(model, Box(lam=(1.0, 2.0), gamma=(1.0, 2.0)), seed=0).parameters_at([Point(lam=1.0, gamma=1.0)])
    own = dict(model.named_parameters())
    for method, call, given in methods_on(model, x):
        reached = torch.autograd.grad(call(given).sum(), [own[one] for one in moved], allow_unused=True) if moved else ()
        fix = f"{method} has no bias and no batch-norm that could depend on lam and gamma; give it one, or walk (jobs/isoc.py)"
        require(any(gradient is not None for gradient in reached), "model.name", name, fix)


def _linear_layers(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]


def _features(box: Box, point: Point) -> list[float]:
    a, b = box.coordinates(point)
    return [a, b, a * a, a * b, b * b]
