"""A small run with every kind of file, every kind of damage to them, and the same call afterwards.

The run is a started transfer by displacement between data that were given as arrays, on a closed-form surface, and certified.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rayfe
import rayfe.run.job
import rayfe.run.runner
import rayfe.storage.layout
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config.fields import hints_of
from rayfe.data.paths import epoch_of
from rayfe.records import CertificateRecord, ReadingRecord, StepRecord
from rayfe.storage.manifest import TOLD
from rayfe.storage.parquet import decode
from rayfe.storage.store import Store
from rayfe.surface.closed_form import MovingPowerSurface

NAME, OTHER = "lam2-gamma8-seed0", "lam2-gamma9-seed0"
SURFACE = MovingPowerSurface(kappa=10.0, a=0.3, b=1 / 3, kappa_t=3.0, a_t=0.1)
KINDS: Mapping[str, str] = {
    "run.json": "run.json",
    "its copy": "copies/run.json",
    "fingerprint": "copies/fingerprint",
    "steps": f"steps/{NAME}.parquet",
    "copy of steps": f"copies/steps/{NAME}.parquet",
    "readings": f"readings/{NAME}.parquet",
    "copy of readings": f"copies/readings/{NAME}.parquet",
    "last state": f"states/{NAME}/4.safetensors",
    "state before": f"states/{NAME}/3.safetensors",
    "older state": f"states/{NAME}/1.safetensors",
    "copy of state": f"copies/states/{NAME}.safetensors",
    "last carry": f"carry/{NAME}/4.safetensors",
    "carry before": f"carry/{NAME}/3.safetensors",
    "copy of carry": f"copies/carry/{NAME}.safetensors",
    "certificates": f"certificates/{NAME}.parquet",
    "copy of certificates": f"copies/certificates/{NAME}.parquet",
    "start": "start.safetensors",
    "data": "data/mine.npz",
    "coupling": "couplings/train.parquet",
    "lock": ".lock",
}
WITHOUT_COPY = {"older state", "carry before", "start", "data", "lock"}
"""What no other file of the run tells."""
TABLES = ({"steps", "copy of steps"}, {"readings", "copy of readings"})
"""A table and its copy: where both are gone, more than a step comes again."""
CERTIFICATES = {"certificates", "copy of certificates"}
"""Where both are gone, those of earlier ends are lost: certificates, not rows."""
SILENT = {kind for kind in KINDS if "copy" in kind} | {"fingerprint", "lock"}
"""What is made again as a matter of course."""


def _data(name: str, size: int) -> Any:
    rng = np.random.default_rng(size)
    x, held = (rng.random((number, 3), np.float32) for number in (size, size // 2))
    return rayfe.dataset(x, np.arange(size) % 2, validation=(held, np.arange(size // 2) % 2), name=name)


ASKED: Mapping[str, Any] = {
    "data": _data("mine", 24),
    "target": _data("theirs", 20),
    "start": {"multipliers": np.array([2.0, 8.0], np.float32)},
    "lam": 2.0,
    "gamma": [8.0, 9.0],
    "step_length": 0.05,
    "stencil": "paper",
    "refresh": 3,
    "path": {"kind": "displacement"},
    "equilibration": {"batch": 8, "first_batch": 8},
    "certificate_share": 1.0,
    "threads": 1,
    "quiet": True,
}


class Said(logging.Handler):
    """What was logged since it was asked last, and how many rows were added."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.rows = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())

    def row(self, record: StepRecord) -> None:
        self.rows += 1

    def event(self, text: str) -> None: ...

    def taken(self) -> tuple[list[str], int]:
        found = self.lines, self.rows
        self.lines, self.rows = [], 0
        return found


@contextmanager
def closed_form() -> Iterator[Said]:
    """Calls run on the closed-form surface, without a page, a model to check, or waiting for the disk."""
    run_inline, said = rayfe.run.runner.run_inline, Said()

    def run(config: Any, data: Any, store: Store, progress: Any) -> dict[str, str]:
        return run_inline(config, AnalyticBackend(SURFACE, noise=1e-4), store, said, epoch=epoch_of(data, config))  # type: ignore[arg-type]

    known = functools.cache(decode)  # of equal bytes the same records; a damaged file is looked at each time
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rayfe.storage.layout, "decode", lambda data, record_class: list(known(data, record_class)))
        patch.setattr(os, "fsync", lambda descriptor: None)
        patch.setattr(rayfe.run.runner, "run", run)
        patch.setattr(importlib.import_module("rayfe.config.configure"), "hints_of", functools.cache(hints_of))
        patch.setattr(rayfe.run.job, "check_model", lambda config, data: TOLD)
        for name in ("check_fits", "_report"):
            patch.setattr(rayfe.run.job, name, lambda *arguments: None)
        log = logging.getLogger("rayfe")
        patch.setattr(log, "handlers", [said])
        patch.setattr(log, "propagate", False)
        yield said


def same_call(run: Path, **changes: Any) -> None:
    """The call that made the run; raises what it raises, and AssertionError where a trajectory failed."""
    found = rayfe.transfer("fig5-quick", **{**ASKED, "steps": 4, "out": run, **changes})
    assert found.failed == {}, found.failed


def make(run: Path) -> None:
    """The run, and beside it in `older` its files as they were one step earlier."""
    with closed_form():
        same_call(run, steps=3)
        shutil.copytree(run, run.with_name("older"))
        same_call(run)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    # where it counts: tables begin with their values, archives with names
    data[len(data) // 2 if path.suffix == ".npz" else min(60, len(data) // 2)] ^= 4
    path.write_bytes(data)


def _instead(make_: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make_(path)

    return damage


def _of_another(path: Path) -> None:
    """As the same file of the other trajectory, data set or split is; where there is none, as a table is."""
    root = _root(path)
    text = str(path.relative_to(root))
    for ours, theirs in ((NAME, OTHER), ("mine", "theirs"), ("train", "validation")):
        text = text.replace(ours, theirs)
    other = root / text
    path.write_bytes((other if other != path else root / f"steps/{OTHER}.parquet").read_bytes())


def _older(path: Path) -> None:
    """As it was one step earlier; where it was the same then, or not there, as that of another step or table is."""
    root, now = _root(path), path.read_bytes()
    other = path.with_name("2.safetensors") if path.with_name("2.safetensors").exists() else root / "steps" / f"{OTHER}.parquet"
    before = root.with_name("older") / path.relative_to(root)
    data = before.read_bytes() if before.is_file() else now
    path.write_bytes(data if data != now else other.read_bytes())


def _root(path: Path) -> Path:
    return next(parent for parent in path.parents if parent.name == "run")


DAMAGES: Mapping[str, Callable[[Path], None]] = {
    "empty": lambda path: path.write_bytes(b"") and None,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-7]) and None,
    "bit": _flip,
    "gone": lambda path: path.unlink(),
    "of another": _of_another,
    "older": _older,
    "folder": _instead(lambda path: path.mkdir()),
    "pipe": _instead(lambda path: os.mkfifo(path)),
}

UNKNOWN = {"gone", "older"}
"""Of certificates or run.json and their copy that are both so nothing tells that it ever was otherwise."""

Stored = tuple[list[StepRecord], list[ReadingRecord], list[CertificateRecord]]


def stored_in(run: Path) -> Stored:
    """Rows, readings and certificates of both trajectories, without the seconds they took."""
    store, names = Store(run), (NAME, OTHER)
    rows = {name: store.rows(name) for name in names}
    return (
        [dataclasses.replace(row, seconds=0.0) for name in names for row in rows[name]],
        [reading for name in names for reading in store.readings(name, rows=rows[name])],
        [dataclasses.replace(one, seconds=0.0) for name in names for one in store.certificates(name, rows=rows[name])],
    )


def outcome(made: Path, here: Path, damaged: Mapping[str, str], whole: Stored, said: Said) -> str:
    """What the same call makes of a copy, at `here`, of the run of `make`, with these kinds of files damaged so: how many
    rows came again, or what is wrong."""
    run = here / "run"
    shutil.copytree(made, here)
    try:
        for kind, damage in damaged.items():
            DAMAGES[damage](run / KINDS[kind])
        said.taken()
        same_call(run)
        lines, rows = said.taken()
        found = stored_in(run)
        if found[:2] != whole[:2] or (found[2] != whole[2] and damaged.keys() != CERTIFICATES):
            return "other rows"
        return str(rows) if lines or _may_be_silent(damaged) else "nothing said"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(here)


def _may_be_silent(damaged: Mapping[str, str]) -> bool:
    unknown = damaged.keys() == CERTIFICATES and set(damaged.values()) <= UNKNOWN
    return unknown or damaged.keys() <= SILENT or damaged == {"run.json": "older", "its copy": "older"}


def expected(damaged: Mapping[str, str], found: str) -> bool:
    """Whether an outcome is as good as it should be: a lock file that is none is refused, and else at most one step comes again."""
    if damaged.get("lock") in ("folder", "pipe"):
        return "is no file that can be locked" in found
    most = 100 if any(table <= damaged.keys() for table in TABLES) else len(damaged) - 1
    return found.isdecimal() and int(found) <= most
