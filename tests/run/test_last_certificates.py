"""The certificate of a trajectory's end: when it is due again, what it may cost, and that it is the same whenever it is made."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from analytic_walks import A
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import RunConfig, configure
from rayfe.records import ON, TOO_SHORT, CertificateRecord, Equilibrated, EquilibrateRequest
from rayfe.storage.store import Store
from rayfe.trajectory import certification, driver
from rayfe.trajectory.certification import CertificateEffort
from rayfe.trajectory.trajectory import Trajectory

CONFIG = configure(lam=(0.25,), gamma=(4.0,), steps=3, certificate_share=0.5)


@pytest.fixture(autouse=True)
def probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """So small that it costs nearly nothing."""
    monkeypatch.setattr(certification, "PROBE", 10)


EPOCH = 100


class Learning(AnalyticBackend):
    """Trainings leave what an optimizer learnt, and one that begins with it ends elsewhere. Remembers what they began with."""

    def equilibrate(self, request: EquilibrateRequest) -> Equilibrated:
        self.__dict__.setdefault("given", []).append(request.preconditioner)
        return dataclasses.replace(super().equilibrate(request), preconditioner={"second_moment/w": np.ones(1)})


def ended(folder: Path, config: RunConfig, backend: AnalyticBackend) -> tuple[Trajectory, Store]:
    (start,), store = config.trajectories().values(), Store(str(folder))
    while (trajectory := driver.open_trajectory(config, start, store)).finished is None:
        driver.advance(trajectory, backend, store)
    return trajectory, store


def certified(folder: Path, config: RunConfig) -> CertificateRecord:
    """The certificate of the end of a job by this configuration, which must be due, and not be afterwards."""
    trajectory, store = ended(folder, config, AnalyticBackend(A))
    assert driver.last_certificate_is_due(config, trajectory, store)
    found = driver.certify_last(config, trajectory, AnalyticBackend(A), store, epoch=EPOCH)
    assert not driver.last_certificate_is_due(config, trajectory, store)
    return found


def test_one_that_was_too_short_is_due_again_when_more_may_be_spent(tmp_path: Path) -> None:
    short = configure(CONFIG, certificate_share=1e-6)
    found = certified(tmp_path, short)
    assert found.outcome == TOO_SHORT
    again = certified(tmp_path, CONFIG)
    assert (again.outcome, again.step) == ("OK", found.step)
    more = configure(CONFIG, certificate_share=1.0)
    assert not driver.last_certificate_is_due(more, *ended(tmp_path, more, AnalyticBackend(A)))


def test_the_ends_of_a_trajectory_that_is_extended_cost_the_share_together(tmp_path: Path) -> None:
    for steps in (3, 4, 6):
        certified(tmp_path, configure(CONFIG, steps=steps))
    (start,), store = CONFIG.trajectories().values(), Store(str(tmp_path))
    found, last = store.certificates(start.name), store.rows(start.name)[-1]
    assert [one.step for one in found] == [3, 4, 6]
    assert sum(one.examples for one in found) <= 0.5 * last.examples
    assert all(one.budget is not None for one in found)


def test_what_a_command_trained_is_not_of_that_share(tmp_path: Path) -> None:
    trajectory, store = ended(tmp_path, CONFIG, AnalyticBackend(A))
    first, last = trajectory.accepted[0], trajectory.accepted[-1]
    long = driver.certify(CONFIG, first, AnalyticBackend(A), store, CertificateEffort(method=ON, epochs=500.0))
    assert long.budget is None
    assert certified(tmp_path, CONFIG).budget == pytest.approx(0.5 * last.examples)


def test_a_model_has_the_same_certificate_as_the_last_one_and_later(tmp_path: Path) -> None:
    backend = Learning(A)
    trajectory, store = ended(tmp_path, CONFIG, backend)
    assert any(backend.__dict__["given"])  # steps are handed what was learnt
    backend.__dict__["given"].clear()
    driver.certify(CONFIG, trajectory.accepted[-1], backend, store, CertificateEffort(method=ON, epochs=5.0))
    assert backend.__dict__["given"] == [None, None]
