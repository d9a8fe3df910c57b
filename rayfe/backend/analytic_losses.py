"""Answers requests of a walk at several constant losses from a closed-form surface, with known answers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from rayfe.backend.analytic import EXAMPLES
from rayfe.backend.analytic_draws import NO_ERRORS, Errors, draws_of, named_rng
from rayfe.records import (
    DifferentiateRequest,
    Equilibrated,
    EquilibrateRequest,
    Functionals,
    Measured,
    MeasureRequest,
    Outcome,
    Point,
    Reading,
    Replica,
    Settled,
    SettleRequest,
    Split,
    Weights,
)
from rayfe.records.backend import Backend
from rayfe.records.weights import PRICES
from rayfe.surface.closed_form import Surface
from rayfe.training.settle import find_shift, settled, settled_weights

MULTIPLIERS = "multipliers"
"""Of a model: lam and gamma_j of the point at which it is at equilibrium, (1 + k,)."""


@dataclass
class AnalyticLosses(Backend):
    """Models of k losses, each exactly at equilibrium somewhere on F = sum_j shares_j F_1(lam, gamma_j): with shares that sum to 1,
    C_j is shares_j C_1(lam, gamma_j), and R and D are means with these weights. Hess F is diagonal in gamma.

    Weights are {"multipliers": (1 + k,), "task.prices": (k,)}.
    """

    surface: Surface
    """F_1."""
    shares: tuple[float, ...]
    noise: float = 0.0
    """Standard deviation of losses and of D, measured with one set of draws, relative to their values."""
    noise_of_D: float | None = None
    training_noise: float = 0.0
    """Standard deviation of the logarithms of a trained model's multipliers: the same for the replicas of one equilibration."""
    part: float = 1.0
    """R, D and losses of models are this part of the surface's."""

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        off = np.ones(1 + len(self.shares))
        if self.training_noise:
            rng = named_rng(request.key, request.annealing, request.round)
            off = np.exp(self.training_noise * rng.standard_normal(len(off)))
        starts: list[Weights] = [self._weights(replica) for replica in request.replicas]
        ends: list[Weights] = [
            {**one, MULTIPLIERS: self._aim(replica.point, one) * off}
            for replica, one in zip(request.replicas, starts, strict=True)
        ]
        readings = tuple(
            dataclasses.replace(self._reading(replica, one, Split.PROBE, NO_ERRORS), update=update)
            for update, models in enumerate((starts, ends))
            for replica, one in zip(request.replicas, models, strict=True)
        )
        return Equilibrated(
            outcome=Outcome.OK,
            weights=tuple(ends),
            preconditioner=None,
            readings=readings,
            examples=EXAMPLES * len(ends),
        )

    def reader(self, request: SettleRequest) -> Callable[[np.ndarray], Functionals]:
        """What the search of a settle reads: functionals by the shifts of its tangents."""
        errors = self._errors(request.key.seed, request.split, "settle", request)

        def functionals(shift: np.ndarray) -> Functionals:
            R, D, losses = self._functionals(settled_weights(request, shift)[MULTIPLIERS])
            losses = losses * (1.0 + errors.C)
            return Functionals(R=R, D=D * (1.0 + errors.D), C=float(losses.sum()), losses=tuple(losses.tolist()))

        return functionals

    def settle(self, request: SettleRequest) -> Settled:
        root = find_shift(request, self.reader(request))
        return settled(request, root, examples=root.evaluations * EXAMPLES / 3.0)

    def measure(self, request: MeasureRequest) -> Measured:
        weights = [self._weights(replica) for replica in request.replicas]
        errors = {split: self._errors(request.key.seed, split, request.purpose, request) for split in request.splits}
        readings = tuple(
            self._reading(replica, one, split, errors[split])
            for replica, one in zip(request.replicas, weights, strict=True)
            for split in request.splits
        )
        return Measured(readings=readings, weights=tuple(weights), examples=len(readings) * EXAMPLES / 3.0)

    def differentiate(self, request: DifferentiateRequest) -> NoReturn:
        raise NotImplementedError("walks that hold several losses ask for no exact derivatives")

    def _weights(self, replica: Replica) -> Weights:
        prices = np.ones(len(self.shares))
        weights = {PRICES: prices} if replica.weights is None else replica.weights
        return {MULTIPLIERS: self._aim(replica.point, weights), **weights}

    def _aim(self, point: Point, weights: Weights) -> np.ndarray:
        return np.array([point.lam, *(point.gamma * weights[PRICES])])

    def _functionals(self, model: np.ndarray) -> tuple[float, float, np.ndarray]:
        lam, *gamma = model.tolist()
        if not all(self.surface.contains(lam, one) for one in gamma):
            return math.nan, math.nan, np.full(len(gamma), math.nan)
        shares = np.array(self.shares)
        R, D, C = (np.array([f(lam, one) for one in gamma]) for f in (self.surface.R, self.surface.D, self.surface.C))
        return self.part * float(shares @ R), self.part * float(shares @ D), self.part * shares * C

    def _errors(self, seed: int, split: Split, purpose: str, request: SettleRequest | MeasureRequest) -> Errors:
        """Errors of all models alike, which depend on (seed, split, purpose) and the number of nested sets."""
        if not self.noise:
            return NO_ERRORS
        D_noise = self.noise if self.noise_of_D is None else self.noise_of_D
        sets = {"draw_sets": request.draw_sets, "decoder_sets": request.decoder_sets}
        return draws_of((seed, split, purpose), C_noise=self.noise, D_noise=D_noise, **sets).of(0.0)

    def _reading(self, replica: Replica, weights: Weights, split: Split, errors: Errors) -> Reading:
        R, D, losses = self._functionals(weights[MULTIPLIERS])
        noise = losses[:, None] * errors.C_noise
        losses, D_noise = losses * (1.0 + errors.C), D * errors.D_noise
        return Reading(
            replica=replica.name,
            split=split,
            point=replica.point,
            update=0,
            R=R,
            D=D * (1.0 + errors.D),
            C=float(losses.sum()),
            R_se=0.0,
            D_se=float(np.linalg.norm(D_noise)),
            C_se=float(np.linalg.norm(noise.sum(0))),
            D_noise=tuple(D_noise.tolist()),
            C_noise=tuple(noise.sum(0).tolist()),
            losses=tuple(losses.tolist()),
            loss_noise=tuple(map(tuple, noise.tolist())),
            prices=tuple(weights[PRICES].tolist()),
        )
