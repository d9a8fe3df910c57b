"""A small run on a closed-form surface, every kind of its files, every kind of damage, and the same command afterwards."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.data.paths import load_path
from rayfe.records import CertificateRecord, Outcome, ReadingRecord, StepRecord
from rayfe.run.runner import run_inline
from rayfe.storage.manifest import digest_of, grown, manifest_of, stored_manifest
from rayfe.storage.store import Store
from rayfe.surface.closed_form import PowerSurface

CONFIG = configure(lam=(0.25,), gamma=(4.0, 6.0), steps=4, data={"name": "digits"})
NAME, OTHER = CONFIG.trajectories()
SURFACE = PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3)
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
    "lock": ".lock",
}
TABLES = ({"steps", "copy of steps"}, {"readings", "copy of readings"})
"""A table and its copy: where both are gone, more than a step comes again."""
SILENT = {"its copy", "fingerprint", "copy of steps", "copy of readings", "copy of state", "copy of carry", "lock"}
"""What is made again as a matter of course."""


class Rows:
    """Counts the rows that a run adds."""

    def __init__(self) -> None:
        self.added = 0

    def row(self, record: StepRecord) -> None:
        self.added += 1

    def event(self, text: str) -> None: ...


def manifest() -> dict[str, Any]:
    return manifest_of("isoc", "digits-smoke", [], CONFIG, load_path(CONFIG))


def same_command(run: Path, asked: dict[str, Any]) -> int:
    """What the job's command does with a run that is there, without pages; returns how many rows were added."""
    rows = Rows()
    with Store(run).lock(say=lambda text: None) as store:
        stored = stored_manifest(store, asked, CONFIG)
        store.create(grown(asked, stored), fingerprint=digest_of(asked))
        failed = run_inline(CONFIG, AnalyticBackend(SURFACE, noise=1e-4), store, rows)
    assert failed == {}, failed
    return rows.added


def make(run: Path, asked: dict[str, Any]) -> None:
    """The run, and beside it in `older` its files as they were one step earlier."""
    earlier = dataclasses.replace(CONFIG, steps=3)
    with Store(run).lock(say=lambda text: None) as store:
        store.create(asked | {"preset": "before"}, fingerprint="0" * 8)
        assert run_inline(earlier, AnalyticBackend(SURFACE, noise=1e-4), store, Rows()) == {}
    shutil.copytree(run, run.with_name("older"))
    same_command(run, asked)
    store = Store(run)
    for name in (NAME, OTHER):
        row = [row for row in store.rows(name) if row.accepted][-1]
        store.keep_certificate(certificate_of(row))
        store.keep_certificate(dataclasses.replace(certificate_of(row), method="on"))


def certificate_of(row: StepRecord) -> CertificateRecord:
    assert row.state_sha256 is not None
    key = {"trajectory": row.trajectory, "step": row.step, "state_sha256": row.state_sha256, "method": "anew"}
    numbers = {"lam": row.lam, "gamma": row.gamma, "t": 0.0, "seeds": 1, "epochs": 1.0, "examples": 1.0, "seconds": 0.0}
    numbers |= {"F": 1.0, "dF": 0.0, "dF_se": 0.1}
    return CertificateRecord(**key, **numbers, outcome=Outcome.OK, held_on="train")  # type: ignore[arg-type]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[min(60, len(data) // 3)] ^= 4
    path.write_bytes(data)


def _instead(make_: Callable[[Path], object]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.unlink()
        make_(path)

    return damage


def _of_another(path: Path) -> None:
    other = Path(str(path).replace(NAME, OTHER))
    other = other if other != path else path.parents[len(path.relative_to(_root(path)).parts) - 1] / f"steps/{OTHER}.parquet"
    path.write_bytes(other.read_bytes())


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


def rows_of(run: Path) -> tuple[list[StepRecord], list[ReadingRecord]]:
    """Rows and readings of both trajectories, without the seconds they took."""
    store = Store(run)
    rows = [dataclasses.replace(row, seconds=0.0) for name in (NAME, OTHER) for row in store.rows(name)]
    return rows, [reading for name in (NAME, OTHER) for reading in store.readings(name)]


def outcome(made: Path, here: Path, damaged: Mapping[str, str], asked: dict[str, Any], said: Callable[[], str]) -> str:
    """What the same command makes of a copy, at `here`, of the run of `make`, with these kinds of files damaged so: how many
    rows came again, or what is wrong. `said` returns what was said since it was asked last."""
    run = here / "run"
    shutil.copytree(made, here)
    try:
        for kind, damage in damaged.items():
            DAMAGES[damage](run / KINDS[kind])
        said()
        added = same_command(run, asked)
        if rows_of(run) != rows_of(made / "run"):
            return "other rows"
        return "nothing said" if damaged.keys() - SILENT and not said() else str(added)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        shutil.rmtree(here)


def expected(damaged: Mapping[str, str], found: str) -> bool:
    """Whether an outcome is as good as it should be: a lock file that is none is refused, and else at most one step comes again."""
    if damaged.get("lock") in ("folder", "pipe"):
        return "is no file that can be locked" in found
    most = 100 if any(table <= damaged.keys() for table in TABLES) else len(damaged) - 1
    return found.isdecimal() and int(found) <= most
