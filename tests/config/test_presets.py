"""Presets: all of them build, and those of the paper's figures have the paper's settings."""

from __future__ import annotations

import math

import pytest

from rayfe.config import RunConfig
from rayfe.config.presets import OTHER_JOB, PRESETS


def test_every_preset_builds_and_the_default_is_mnist_quick() -> None:
    for presets in PRESETS.values():
        assert all(isinstance(preset(), RunConfig) for preset in presets.values())
    assert next(iter(PRESETS["isoc"])) == "mnist-quick"


def test_fig2_has_the_papers_starts_and_epochs() -> None:
    fig2 = PRESETS["isoc"]["fig2"]()
    assert fig2.gamma == (4, 6, 8, 10, 15)
    assert fig2.lam == (0.25,)
    assert (fig2.equilibration.first_epochs, fig2.equilibration.first_schedule) == (120, "step")


def test_mnist_quick_walks_down_to_the_lam_of_fig2s_starts_in_eight_equal_steps() -> None:
    quick, fig2 = (PRESETS["isoc"][name]() for name in ("mnist-quick", "fig2"))
    (lam,), end = quick.lam, quick.asked.lam_end
    assert lam > end == fig2.lam[0] < fig2.asked.lam_end
    assert math.log(lam / end) == pytest.approx(8 * quick.asked.step_length, rel=1e-3)
    assert math.log(lam / end) <= 8 * quick.asked.step_length  # no ninth step


def test_other_jobs_presets_are_known() -> None:
    assert OTHER_JOB["fig5"] == OTHER_JOB["fig6-quick"] == "transfer"
    assert OTHER_JOB["fig2"] == "isoc"
