"""What every backend offers: answers to the requests, as pure functions of the request and the configuration."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any

from rayfe.records import (
    Answer,
    Differentiated,
    DifferentiateRequest,
    Equilibrated,
    EquilibrateRequest,
    InTraining,
    Measured,
    MeasureRequest,
    Request,
    Settled,
    SettleRequest,
    TakenUp,
    TakeUpRequest,
)


class Backend(abc.ABC):
    """Answers requests. A repeated request gets the same answer, so a lost one may be sent again.

    Raises (all methods): whatever the backend's own code raises; numerical failures are Outcomes, not exceptions.
    """

    on_training: Callable[[InTraining], None] | None = None
    """Who is told how far a long training is; no answer depends on it."""

    @abc.abstractmethod
    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        """Train every replica at its point (sec. 5.1)."""

    @abc.abstractmethod
    def settle(self, request: SettleRequest) -> Settled:
        """Move along the chart's tangent until measured C is the target; bounds are respected, missing it is no error."""

    @abc.abstractmethod
    def measure(self, request: MeasureRequest) -> Measured:
        """Recompute batch-norm statistics and read every replica on every split."""

    @abc.abstractmethod
    def differentiate(self, request: DifferentiateRequest) -> Differentiated:
        """Hess F, tangents and the distance from equilibrium at one model (Lemma 5)."""

    def take_up(self, request: TakeUpRequest) -> TakenUp:
        """Let dimensions of z take up what the reconstruction misses; models without such dimensions stay as they are."""
        return TakenUp(weights=request.weights, dims=(), examples=0.0)

    def answer(self, request: Request) -> Answer:
        """The method that fits the request."""
        match request:
            case EquilibrateRequest():
                return self.equilibrate(request)
            case SettleRequest():
                return self.settle(request)
            case MeasureRequest():
                return self.measure(request)
            case DifferentiateRequest():
                return self.differentiate(request)
            case TakeUpRequest():
                return self.take_up(request)


class Relay(Backend):
    """A backend that has its answers from elsewhere, whatever is asked: only `answer` says how."""

    @abc.abstractmethod
    def answer(self, request: Request) -> Any: ...

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        return self.answer(request)

    def settle(self, request: SettleRequest) -> Settled:
        return self.answer(request)

    def measure(self, request: MeasureRequest) -> Measured:
        return self.answer(request)

    def differentiate(self, request: DifferentiateRequest) -> Differentiated:
        return self.answer(request)

    def take_up(self, request: TakeUpRequest) -> TakenUp:
        return self.answer(request)
