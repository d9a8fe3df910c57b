"""Answers requests from a closed-form surface: the same questions as to a trained model, with known answers."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rayfe.backend.analytic_draws import NO_ERRORS, AnalyticDraws, Errors, draws_of, named_rng
from rayfe.records import (
    Certificate,
    Differentiated,
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
    Response,
    Settled,
    SettleRequest,
    Split,
)
from rayfe.records.backend import Backend
from rayfe.surface.closed_form import Surface
from rayfe.training.settle import find_shift, settled, settled_weights

MULTIPLIERS = "multipliers"
"""The one array of a model: (lam, gamma), and with random weights sigma, of the point at which it is at equilibrium, (2,) or (3,)."""
EXAMPLES = 1000.0
"""Training examples that the equilibration of one replica counts as; a reading counts as a third."""
SLOPE_STEP = 1e-6
"""Half the distance in t of differences for F_t."""


@dataclass
class AnalyticBackend(Backend):
    """Models whose weights are {"multipliers": (lam, gamma)}, or (lam, gamma, sigma): each is exactly at equilibrium at that point.

    Raises:
        ValueError: `lag` outside [0, 1], `delay` or a noise negative, or `memory` not positive.
    """

    surface: Surface
    """R, D and C of a model are this surface's at the model's multipliers, and at the t of its point."""
    lag: float = 0.0
    """Part of the way from its start to its point that an equilibration leaves undone."""
    delay: float = 0.0
    """Seconds that an equilibration sleeps, in place of training."""
    noise: float = 0.0
    """Standard deviation of C and D, measured with one set of draws, relative to their values."""
    noise_of_D: float | None = None
    """The same for D alone, where it differs."""
    memory: float = math.inf
    """Distance in log lam over which errors of the draws change; infinite: all models have the same."""
    label_entropy: float | None = None
    """Entropy of the labels that this backend pretends to have, nats; None: it says nothing of it."""
    training_noise: float = 0.0
    """Standard deviation of the logarithms of a trained model's multipliers, as from other batches and noise: the same for the
    replicas of one equilibration, independent between equilibrations."""
    part: float = 1.0
    """R, D and C of models are this part of the surface's."""
    unseen: float = 0.0
    """C of examples that were not trained on, on all splits but the training one, is C (1 + unseen R)."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.lag <= 1.0:
            raise ValueError(f"lag {self.lag}: must lie in [0, 1]")
        for name in ("delay", "noise", "noise_of_D", "training_noise"):
            value = getattr(self, name) or 0.0
            if not 0.0 <= value < math.inf:
                raise ValueError(f"{name} {value}: must be finite and at least 0")
        if not self.memory > 0.0:
            raise ValueError(f"memory {self.memory}: must be positive")

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        time.sleep(self.delay)
        starts = [_start(replica) for replica in request.replicas]
        aims = [_multipliers(replica.point) for replica in request.replicas]
        examples = EXAMPLES * len(request.replicas)
        if not all(self._contains(model) for model in [*starts, *aims]):
            return Equilibrated(outcome=Outcome.NONFINITE, weights=(), preconditioner=None, readings=(), examples=examples)
        # Domains are convex, so models between a start and an aim need no check.
        off = np.ones(len(aims[0]))
        off[:2] = self._training_error(request)
        ends = [(aim + self.lag * (start - aim)) * off for start, aim in zip(starts, aims, strict=True)]
        return Equilibrated(
            outcome=Outcome.OK,
            weights=tuple({MULTIPLIERS: end} for end in ends),
            preconditioner=None,
            readings=self._probe(request.replicas, starts, ends),
            examples=examples,
        )

    def _training_error(self, request: EquilibrateRequest) -> np.ndarray:
        """Factors of (lam, gamma) that follow from the names of the request's batches and noise."""
        if not self.training_noise:
            return np.ones(2)
        rng = named_rng(request.key, request.annealing, request.round)
        return np.exp(self.training_noise * rng.standard_normal(2))

    def _probe(
        self, replicas: Sequence[Replica], starts: Sequence[np.ndarray], ends: Sequence[np.ndarray]
    ) -> tuple[Reading, ...]:
        return tuple(
            self._reading(replica, model, split=Split.PROBE, update=update, draws=None)
            for update, models in enumerate((starts, ends))
            for replica, model in zip(replicas, models, strict=True)
        )

    def reader(self, request: SettleRequest) -> Callable[[np.ndarray], Functionals]:
        """What the search of a settle reads: functionals by the shifts of its tangents."""
        # The draws of a measurement with purpose "settle", as in the other backends.
        draws = self._draws(request.key.seed, request.split, "settle", request)

        def functionals(shift: np.ndarray) -> Functionals:
            model = settled_weights(request, shift)[MULTIPLIERS]
            found, errors = self._functionals(model, request.point.t), self._errors(draws, model)
            C = found.C * self._generalization(request.split, found.R)
            return dataclasses.replace(found, D=found.D * (1.0 + errors.D), C=C * (1.0 + errors.C))

        return functionals

    def settle(self, request: SettleRequest) -> Settled:
        root = find_shift(request, self.reader(request))
        return settled(request, root, examples=root.evaluations * EXAMPLES / 3.0)

    def measure(self, request: MeasureRequest) -> Measured:
        models = [_start(replica) for replica in request.replicas]
        draws = {split: self._draws(request.key.seed, split, request.purpose, request) for split in request.splits}
        readings = tuple(
            self._certified(
                request,
                model,
                self._reading(replica, model, split=split, update=0, draws=draws[split], slope_in_t=request.slope_in_t),
            )
            for replica, model in zip(request.replicas, models, strict=True)
            for split in request.splits
        )
        return Measured(
            readings=readings,
            weights=tuple({MULTIPLIERS: model} for model in models),
            examples=len(readings) * EXAMPLES / 3.0,
        )

    def differentiate(self, request: DifferentiateRequest) -> Differentiated:
        """Exact, at the model's own multipliers; a model is its multipliers, so its tangents are unit vectors."""
        lam, gamma = map(float, request.weights[MULTIPLIERS])
        surface, point = self.surface.at(request.point.t), request.point
        F = surface.F(point.lam, point.gamma)
        J = surface.R(lam, gamma) + point.lam * surface.D(lam, gamma) + point.gamma * surface.C(lam, gamma)
        mixed = surface.C_lam(lam, gamma)
        return Differentiated(
            response=Response(
                D_lam=surface.D_lam(lam, gamma),
                D_gamma=mixed,
                C_lam=mixed,
                C_gamma=surface.C_gamma(lam, gamma),
                C_lam_se=0.0,
                C_gamma_se=0.0,
            ),
            tangents={"lam": {MULTIPLIERS: np.array([1.0, 0.0])}, "gamma": {MULTIPLIERS: np.array([0.0, 1.0])}},
            decrement=J - F,
            C_lag=surface.C(point.lam, point.gamma) - surface.C(lam, gamma),
            residual=0.0,
            examples=EXAMPLES,
        )

    def _reading(
        self,
        replica: Replica,
        model: np.ndarray,
        *,
        split: Split,
        update: int,
        draws: AnalyticDraws | None,
        slope_in_t: bool = False,
    ) -> Reading:
        point, errors = replica.point, self._errors(draws, model)
        found = self._functionals(model, 1.0 if split is Split.TARGET else point.t)
        R, D, C = found.R, found.D, found.C * self._generalization(split, found.R)
        D_noise, C_noise = tuple((D * errors.D_noise).tolist()), tuple((C * errors.C_noise).tolist())
        return Reading(
            replica=replica.name,
            split=split,
            point=replica.point,
            update=update,
            R=R,
            D=D * (1.0 + errors.D),
            C=C * (1.0 + errors.C),
            S=found.S,
            accuracy=1.0,
            R_se=0.0,
            D_se=math.hypot(*D_noise),
            C_se=math.hypot(*C_noise),
            D_noise=D_noise,
            C_noise=C_noise,
            F_t=self._slope_in_t(model, point) if slope_in_t and split is Split.TRAIN else None,
        )

    def _certified(self, request: MeasureRequest, model: np.ndarray, reading: Reading) -> Reading:
        """The encoder of such a model is its posterior, so J_K = J for every K; grad J is over its two multipliers."""
        if not request.certify or reading.split is not Split.TRAIN:
            return reading
        reading = dataclasses.replace(reading, label_entropy=self.label_entropy)
        if not self._contains(model) or reading.S is not None:
            return reading
        lam, gamma = map(float, model)
        off = _multipliers(reading.point) - model
        gradient = self.surface.at(reading.point.t).hessian(lam, gamma) @ off
        found = Certificate(J_K=reading.F, J_K_se=0.0, J_K_ess=1.0, grad_norm=float(np.linalg.norm(gradient)))
        return dataclasses.replace(reading, certificate=found)

    def _functionals(self, model: np.ndarray, t: float) -> Functionals:
        """R, D, C and S of a model at t; NaN outside the surface's domain, as of a network whose weights overflowed."""
        if not self._contains(model):
            return Functionals(R=math.nan, D=math.nan, C=math.nan)
        lam, gamma, *sigma = map(float, model)
        surface, part = self.surface.at(t), self.part
        surface = surface.at_sigma(*sigma) if sigma else surface
        S = surface.S(lam, gamma) if sigma else None
        R, D, C = (part * value(lam, gamma) for value in (surface.R, surface.D, surface.C))
        return Functionals(R=R, D=D, C=C, S=None if S is None else part * S)

    def _contains(self, model: np.ndarray) -> bool:
        lam, gamma, *sigma = map(float, model)
        return self.surface.contains(lam, gamma) and all(value > 0.0 for value in sigma)

    def _generalization(self, split: Split, R: float) -> float:
        return 1.0 if split in (Split.TRAIN, Split.PROBE) else 1.0 + self.unseen * R

    def _slope_in_t(self, model: np.ndarray, point: Point) -> float:
        """dJ/dt of a model that stays where it is; one-sided at the ends of the path."""
        before, after = max(0.0, point.t - SLOPE_STEP), min(1.0, point.t + SLOPE_STEP)

        def J(t: float) -> float:
            found = self._functionals(model, t)
            return found.R + point.lam * found.D + point.gamma * found.C

        return (J(after) - J(before)) / (after - before)

    def _draws(self, seed: int, split: Split, purpose: str, request: SettleRequest | MeasureRequest) -> AnalyticDraws | None:
        """Errors that depend on (seed, split, purpose) and the number of nested sets only, so that replicas share them."""
        if not self.noise:
            return None
        D_noise = self.noise if self.noise_of_D is None else self.noise_of_D
        names, sets = (seed, split, purpose), (request.draw_sets, request.decoder_sets)
        return draws_of(names, C_noise=self.noise, D_noise=D_noise, draw_sets=sets[0], decoder_sets=sets[1])

    def _errors(self, draws: AnalyticDraws | None, model: np.ndarray) -> Errors:
        if draws is None:
            return NO_ERRORS
        lam = max(sys.float_info.min, float(model[0]))  # outside the surface's domain nothing is read anyway
        return draws.of(0.5 * math.atan(math.log(lam) / self.memory))


def _multipliers(point: Point) -> np.ndarray:
    return np.array([point.lam, point.gamma, *([point.sigma] if point.sigma else [])], dtype=np.float64)


def _start(replica: Replica) -> np.ndarray:
    """A copy of the replica's multipliers; a new model is at equilibrium at its point, a conditioned one everywhere."""
    if replica.weights is None or replica.box is not None:
        return _multipliers(replica.point)
    return np.array(replica.weights[MULTIPLIERS], dtype=np.float64)
