"""Walks and transfers on closed-form surfaces, driven to their end without a run's job around them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.records import EquilibrateRequest, StepRecord
from rayfe.storage.store import Store
from rayfe.surface.closed_form import HyperbolicSurface, LogSurface, MovingPowerSurface, PowerSurface
from rayfe.trajectory.driver import advance, open_trajectory

A = PowerSurface(kappa=10.0, a=1 / 3, b=1 / 3)
B = HyperbolicSurface(c=0.3, R0=5.0)
C = LogSurface(a=2.0, b=3.0, p=1.0, q=0.5, r=2.0)
SURFACE = MovingPowerSurface(kappa=10.0, a=0.3, b=1 / 3, kappa_t=3.0, a_t=0.1)
"""Moves with t: what transfers go along."""


def walk(folder: Path, backend: AnalyticBackend, **options: Any) -> tuple[list[StepRecord], str]:
    """Rows of one walk from (0.25, 4), driven to its end, and what that was."""
    return _driven(folder, backend, {"lam": (0.25,), "gamma": (4.0,), "steps": 100} | options)


def transfer(folder: Path, backend: AnalyticBackend, **options: Any) -> tuple[list[StepRecord], str]:
    """Rows of one transfer from (2, 8), driven to its end, and what that was."""
    defaults = {"lam": (2.0,), "gamma": (8.0,), "steps": 200, "step_length": 0.05, "stencil": "paper", "refresh": 3}
    kept = {name: defaults[name] for name in ("lam", "gamma", "steps")} if "method" in options else defaults
    return _driven(folder, backend, kept | options)


def _driven(folder: Path, backend: AnalyticBackend, options: dict[str, Any]) -> tuple[list[StepRecord], str]:
    config = configure(**options)
    (start,) = config.trajectories().values()
    store = Store(str(folder))
    trajectory = open_trajectory(config, start, store)
    while trajectory.finished is None:
        advance(trajectory, backend, store)
    return store.rows(start.name), trajectory.finished


class Branches(AnalyticBackend):
    """A surface of two branches: a model renewed at lam >= 1 has 10 % less D and R + lam D than the old one's."""

    BETTER = PowerSurface(kappa=9.0, a=1 / 3, b=1 / 3)

    def equilibrate(self, request: EquilibrateRequest):
        answer = super().equilibrate(request)
        marks = [self._renewed(replica) for replica in request.replicas]
        weights = [w | {"better": np.array([float(mark)])} for w, mark in zip(answer.weights, marks, strict=True)]
        return dataclasses.replace(answer, weights=tuple(weights))

    def _renewed(self, replica):
        before = replica.weights is not None and replica.weights.get("better", np.zeros(1))[0] > 0.5
        return before or (replica.renewed > 0 and replica.point.lam >= 1.0)

    def measure(self, request):
        answers = [dataclasses.replace(self, surface=self.BETTER) if self._renewed(r) else self for r in request.replicas]
        parts = [
            AnalyticBackend.measure(answer, dataclasses.replace(request, replicas=(replica,)))
            for answer, replica in zip(answers, request.replicas, strict=True)
        ]
        return dataclasses.replace(
            parts[0],
            readings=tuple(reading for part in parts for reading in part.readings),
            weights=tuple(dict(replica.weights) for replica in request.replicas),
        )

    def settle(self, request):
        better = request.weights["better"][0] > 0.5
        return AnalyticBackend.settle(dataclasses.replace(self, surface=self.BETTER) if better else self, request)
