"""Answers as a closed-form surface would, and counts the examples that the same requests cost with torch: a dry run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rayfe.backend.analytic import AnalyticBackend
from rayfe.backend.analytic_losses import AnalyticLosses
from rayfe.backend.parts import split_replicas
from rayfe.config import RunConfig
from rayfe.records import (
    Answer,
    Differentiated,
    DifferentiateRequest,
    Equilibrated,
    EquilibrateRequest,
    Functionals,
    Measured,
    MeasureRequest,
    Request,
    Settled,
    SettleRequest,
    TakenUp,
    TakeUpRequest,
)
from rayfe.records.backend import Backend
from rayfe.training.cost import Costs
from rayfe.training.settle import find_shift, searches_by_part, settled

SOLVES = 5
"""Linear systems of exact derivatives."""
LOWER = 0.005
"""Part by which F, R, D and C of models are lower from a renewal on, so that it is accepted."""


@dataclass(kw_only=True)
class Count:
    """What was asked for so far."""

    requests: int = 0
    models: int = 0
    """Trained, replicas of all equilibrations together."""
    first_updates: int = 0
    """Of the first equilibration."""
    training: float = 0.0
    """Training examples."""
    measuring: float = 0.0
    """The same of all else."""


class CountingBackend(Backend):
    """`models` answers, `costs` counts. Answers are those of a good run: nothing diverges, a renewal finds lower models, solves take all
    products that they may, and dimensions of z that are taken up are fitted.

    Unlike other backends it has a memory: `count`, and `renewals`, each of which lowers the surface by LOWER. `offset` lowers it likewise;
    whoever drives it sets that.
    """

    def __init__(self, config: RunConfig, costs: Costs, models: AnalyticBackend | AnalyticLosses) -> None:
        self._config, self._costs, self._models = config, costs, models
        self.count, self.renewals, self.offset = Count(), 0, 0

    def answer(self, request: Request) -> Answer:
        answer = super().answer(request)
        self.count.requests += 1
        if isinstance(answer, Equilibrated):
            self.count.training += answer.examples
        else:
            self.count.measuring += answer.examples
        return answer

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        training, cost = self._costs.training(request.annealing), 0.0
        for part in split_replicas(request, self._config.per_part):
            replicas = len(part.replicas)
            readings = (1 + len(training.probes)) * replicas
            cost += self._costs.equilibrated(training, replicas=replicas, updates=training.updates, readings=readings)
        self.count.models += len(request.replicas)
        self.count.first_updates = self.count.first_updates or training.updates
        self.renewals += any(replica.renewed for replica in request.replicas)
        return dataclasses.replace(self._models_now.equilibrate(request), examples=cost)

    def settle(self, request: SettleRequest) -> Settled:
        read, cost = self._models_now.reader(request), 0.0

        def counted(quick: bool) -> Callable[[np.ndarray], Functionals]:
            def functionals(shift: np.ndarray) -> Functionals:
                nonlocal cost
                cost += self._costs.evaluated(request, quick=quick)
                return read(shift)

            return functionals

        by_part = self._config.measure.response_size is not None and searches_by_part(request)
        root = find_shift(request, counted(False), counted(True) if by_part else None)
        return settled(request, root, examples=cost)

    def measure(self, request: MeasureRequest) -> Measured:
        return dataclasses.replace(self._models_now.measure(request), examples=self._costs.measured(request))

    def differentiate(self, request: DifferentiateRequest) -> Differentiated:
        products = SOLVES * (self._costs.solve.iterations + 1)  # and one each for the residual
        return dataclasses.replace(self._models_now.differentiate(request), examples=self._costs.differentiated(products))

    def take_up(self, request: TakeUpRequest) -> TakenUp:
        return TakenUp(weights=request.weights, dims=(), examples=self._costs.taken_up(request.point.t, fitted=True))

    @property
    def _models_now(self) -> AnalyticBackend | AnalyticLosses:
        return dataclasses.replace(self._models, part=(1.0 - LOWER) ** (self.renewals + self.offset))
