"""Adam in the eigenbasis of its gradients: SOAP on one side of each matrix, with bases that several replicas share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

BETA = 0.9
"""Adam's beta_1."""
LARGEST = 1024
"""Sides of a matrix up to which its gradients' covariance is kept (two matrices of that size each)."""
SAMPLED = 10
"""Updates from one gradient that enters the covariance to the next."""
MEMORY = 0.9
"""What is left of the covariance when a gradient enters."""
RENEWED = 100
"""Updates after which the bases of a long training are renewed; the first time after SAMPLED."""


def turned(values: Tensor, by: Tensor, product: Callable[[Tensor, Tensor], Tensor] = torch.matmul) -> Tensor:
    """Q' values or values Q for Q = `by`, whichever is the smaller side; values (..., rows, columns)."""
    return product(by.mT, values) if values.shape[-2] <= values.shape[-1] else product(values, by)


class Basis:
    """Eigenvectors of the covariance of one parameter's gradients, on the smaller side of its matrix.

    If that are the rows (`left`) a gradient G becomes Q' G, else G Q. Q is the identity until a covariance was seen.
    """

    def __init__(self, rows: int, columns: int, like: Tensor) -> None:
        self.left, size = rows <= columns, min(rows, columns)
        self.covariance = torch.zeros(size, size, dtype=like.dtype, device=like.device)
        self.vectors = torch.eye(size, dtype=like.dtype, device=like.device)

    def see(self, gradient: Tensor) -> None:
        """Take a gradient (rows, columns) into the covariance."""
        square = gradient @ gradient.T if self.left else gradient.T @ gradient
        self.covariance.mul_(MEMORY).add_(square, alpha=1.0 - MEMORY)

    def renew(self) -> Tensor:
        """Go over to the eigenvectors of the covariance; the turn from the old basis.

        In float64, since the eigenvalues span many orders of magnitude.
        """
        vectors = torch.linalg.eigh(self.covariance.double())[1].to(self.vectors.dtype).contiguous()  # as one that was kept
        turn, self.vectors = self.vectors.T @ vectors, vectors
        return turn


@dataclass(frozen=True, kw_only=True)
class Rotated:
    """A parameter and its copy in the coordinates of a basis, which is what Adam updates."""

    name: str
    parameter: Tensor
    copy: Tensor
    """(rows, columns), after a dimension of replicas where they are stacked."""
    basis: Basis
    first: bool
    """Whether it is of the first replica, whose gradients the basis is made of."""

    @property
    def gradient(self) -> Tensor:
        """Zero where the loss does not depend on the parameter."""
        gradient = self.parameter.grad
        return torch.zeros_like(self.copy) if gradient is None else gradient.reshape(self.copy.shape)

    def take_gradient(self) -> None:
        """Give the copy the gradient in the basis."""
        self.copy.grad = turned(self.gradient, self.basis.vectors)

    def write_back(self) -> None:
        self.parameter.copy_(turned(self.copy, self.basis.vectors.T).view(self.parameter.shape))


class Soap(torch.optim.Optimizer):
    """One-sided SOAP (Vyas et al. 2024): fused Adam on rotated copies of all matrices; other parameters are Adam's own.

    A convolution is a matrix of output channels. All replicas share the bases, which stay as they are during a training
    unless it `renews` them, so an update is the same smooth map for each replica of a stencil.
    """

    def __init__(
        self, parameters: Mapping[str, Tensor], names: Mapping[str, str], *, stacked: bool, beta: float, renews: bool
    ) -> None:
        """`names` of the parameters within their model, by the keys of `parameters`; replicas of one name share a basis."""
        super().__init__(list(parameters.values()), {"lr": 0.0})
        self._renews, self._updates = renews, 0
        self.bases: dict[str, Basis] = {}
        self.copies = dict(parameters)
        self._rotated: list[Rotated] = []
        for key, parameter in parameters.items():
            own = parameter.dim() - stacked
            shape = (*parameter.shape[:stacked], parameter.shape[stacked], -1) if own > 1 else tuple(parameter.shape)
            copy = parameter.detach().reshape(shape).clone()
            if own > 1 and 1 < min(copy.shape[-2:]) <= LARGEST:
                self._rotate(key, names[key], parameter, copy)
        self.adam = torch.optim.Adam(list(self.copies.values()), lr=0.0, betas=(BETA, beta), fused=True)

    def _rotate(self, key: str, name: str, parameter: Tensor, copy: Tensor) -> None:
        first = name not in self.bases
        basis = self.bases.setdefault(name, Basis(copy.shape[-2], copy.shape[-1], copy))
        self.copies[key] = copy
        self._rotated.append(Rotated(name=name, parameter=parameter, copy=copy, basis=basis, first=first))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update at the rate of the first parameter group."""
        if self.samples:
            self.see({rotated.name: rotated.gradient for rotated in self._rotated if rotated.first})
        for rotated in self._rotated:
            rotated.take_gradient()
        self.adam.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        self.adam.step()
        self.write_back()
        self.count()

    @property
    def samples(self) -> bool:
        """Whether the bases see the gradients of the next update."""
        return self._updates % SAMPLED == 0

    def see(self, gradients: Mapping[str, Tensor]) -> None:
        """Take the first replica's gradients into the covariances; by name, (rows, columns), after a dimension of replicas where
        they are stacked."""
        for name, gradient in gradients.items():
            self.bases[name].see(gradient if gradient.dim() == 2 else gradient[0])

    @torch.no_grad()
    def count(self) -> None:
        """Count an update that was done; renew the bases if it is time."""
        self._updates += 1
        if self._renews and (self._updates % RENEWED == 0 or self._updates == SAMPLED):
            self.renew()

    @torch.no_grad()
    def write_back(self) -> None:
        """Bring the parameters up to date with their copies."""
        for rotated in self._rotated:
            rotated.write_back()

    @torch.no_grad()
    def renew(self) -> None:
        """Turn all bases, and with them what Adam knows: moments as vectors, second moments by the squared turn.

        A basis stays if nothing was seen yet, or if the training has diverged.
        """
        if not self.bases:
            return
        sizes = torch.stack([basis.covariance.abs().sum() for basis in self.bases.values()]).tolist()
        seen = [name for name, size in zip(self.bases, sizes, strict=True) if 0.0 < size < math.inf]
        turns = {name: self.bases[name].renew() for name in seen}
        for rotated in self._rotated:
            if (turn := turns.get(rotated.name)) is None:
                continue
            rotated.copy.copy_(turned(rotated.copy, turn))
            if state := self.adam.state[rotated.copy]:
                for moment, by in (("exp_avg", turn), ("exp_avg_sq", turn.square())):
                    state[moment].copy_(turned(state[moment], by))

    @torch.no_grad()
    def begin(self, covariances: Mapping[str, Tensor], vectors: Mapping[str, Tensor]) -> None:
        """Begin with the bases that an earlier training left, by parameter names within a model."""
        for name, basis in self.bases.items():
            basis.covariance.copy_(covariances[name])
            basis.vectors.copy_(vectors[name])
        for rotated in self._rotated:
            own = rotated.parameter.detach().reshape(rotated.copy.shape)
            rotated.copy.copy_(turned(own, rotated.basis.vectors))

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of a training depends on but the parameters themselves."""
        return {
            "adam": self.adam.state_dict()["state"],
            "bases": {name: [basis.covariance, basis.vectors] for name, basis in self.bases.items()},
            "copies": [rotated.copy for rotated in self._rotated],
            "updates": self._updates,
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.adam.load_state_dict({**self.adam.state_dict(), "state": state_dict["adam"]})
        for name, (covariance, vectors) in state_dict["bases"].items():
            self.bases[name].covariance.copy_(covariance)
            self.bases[name].vectors.copy_(vectors)
        for rotated, copy in zip(self._rotated, state_dict["copies"], strict=True):
            rotated.copy.copy_(copy)
        self._updates = state_dict["updates"]
