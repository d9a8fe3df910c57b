"""jobs/isoc.py with a backend that notes its work: `python tests/helpers/instrumented_job.py KIND DELAY LOG [PRESET] [--options]`.

KIND is `analytic` (a closed-form surface) or `trained`. Of every answer one line goes to LOG: process, trajectory, step, attempt,
kind of request, training examples. Then it is held back for DELAY seconds: who kills the process when a line appears loses an
answer. For tests that kill processes, and for tests/chaos.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Any

import rayfe.run.job
import rayfe.run.runner
from rayfe.backend.analytic import AnalyticBackend
from rayfe.cli.job_command import main
from rayfe.config import RunConfig
from rayfe.data.paths import epoch_of
from rayfe.records import Request
from rayfe.records.backend import Backend, Relay
from rayfe.storage.manifest import TOLD
from rayfe.surface.closed_form import PowerSurface


@dataclass
class Noted(Relay):
    """Passes requests on to `inner`, and notes each answer in the file `log`, `delay` seconds before it gives it."""

    inner: Backend
    log: str
    delay: float

    def answer(self, request: Request) -> Any:
        answer = self.inner.answer(request)
        key = request.key
        words = (os.getpid(), key.trajectory, key.step, key.attempt, type(request).__name__, repr(answer.examples))
        with open(self.log, "a") as file:  # one short write: lines of several processes do not mix
            file.write(" ".join(map(str, words)) + "\n")
        time.sleep(self.delay)
        return answer


@dataclass(frozen=True)
class Make:
    kind: str
    delay: float
    log: str

    def __call__(self, config: RunConfig, data: Any) -> Backend:
        if self.kind == "analytic":
            return Noted(AnalyticBackend(PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3), noise=1e-4), self.log, self.delay)
        from rayfe.backend.inline import InlineBackend

        return Noted(InlineBackend(config, data), self.log, self.delay)


def run(make: Make) -> Any:
    """What `rayfe.run.runner.run` is, with the backend that `make` makes."""

    def run_with(config: RunConfig, data: Any, store: Any, progress: Any) -> dict[str, str]:
        if config.service.backend == "inline":
            return rayfe.run.runner.run_inline(config, make(config, data), store, progress, epoch=epoch_of(data, config))
        from rayfe.on_ray.sweep import run_on_ray

        options = {"owner": store.owner, "backend_factory": make}
        return run_on_ray(config, data, store.url(), config.service.keep_states, progress.row, progress.event, **options)

    return run_with


if __name__ == "__main__":
    kind, delay, log, *argv = sys.argv[1:]
    if kind == "analytic":
        rayfe.run.job.check_model = lambda config, data: TOLD  # what it builds is not used here, and torch takes seconds
    rayfe.run.runner.run = run(Make(kind, float(delay), log))
    sys.exit(main("isoc", argv))
