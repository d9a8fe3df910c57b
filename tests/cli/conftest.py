"""A short run for the commands that look at one."""

from __future__ import annotations

import pytest

from rayfe.cli.job_command import main as job


@pytest.fixture(scope="session")
def short() -> list[str]:
    """The words of a short job of jobs/isoc.py."""
    trained = ["--equilibration.first-epochs", "2", "--equilibration.epochs", "1"]
    return ["digits-smoke", "--backend", "inline", "--steps", "1", *trained, "--no-settle", "--measure.head-draws", "8"]


@pytest.fixture(scope="module")
def run(short: list[str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A real run of one step on the digits."""
    out = str(tmp_path_factory.mktemp("commands") / "r")
    assert job("isoc", [*short, "--out", out]) == 0
    return out
