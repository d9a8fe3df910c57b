"""`python -m rayfe verify`: what is wrong with a run is named, file by file, and nothing is changed."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest

from damages import DAMAGES, KINDS, NAME, make, manifest
from rayfe.cli.command import main
from rayfe.storage.files import Files
from rayfe.storage.store import Store
from rayfe.storage.verification import faults
from stored_steps import content


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "run"
    make(folder, manifest())
    return folder


def test_a_whole_run_has_no_fault(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(made)
    assert main(["verify", str(made)]) == 0
    assert capsys.readouterr().out == f"{made}: 2 trajectories, whole\n"
    assert content(made) == before


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("lock", "fingerprint")])
def test_each_kind_of_damage_is_named_and_left_as_it_is(made: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(made.parent, tmp_path / "made")
    run = tmp_path / "made" / "run"
    has_copy = kind not in ("state before", "older state", "carry before")
    for name, damage in DAMAGES.items():
        shutil.rmtree(run)
        shutil.copytree(made, run)
        damage(run / KINDS[kind])
        before = [(path, path.lstat()) for path in sorted(run.rglob("*"))]
        found = {fault.path: fault.heals for fault in faults(Files(run))}
        assert {path.removeprefix("copies/") for path in found} == {KINDS[kind].removeprefix("copies/")}, name
        assert set(found.values()) == {has_copy}, name
        after = [(path, path.lstat()) for path in sorted(run.rglob("*"))]
        assert [(path, seen.st_mtime_ns, seen.st_ino) for path, seen in after] == [
            (path, seen.st_mtime_ns, seen.st_ino) for path, seen in before
        ]


def test_what_a_killed_process_left_and_data_that_are_damaged_are_named(made: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(made, run)
    (run / ".run.json.0123abcd.tmp").touch()
    (run / "data").mkdir()
    (run / "data" / "mine.npz").write_bytes(b"PK")
    (tmp_path / "elsewhere").mkdir()
    (run / "couplings").symlink_to(tmp_path / "elsewhere")
    assert {(fault.path, fault.heals) for fault in faults(Files(run))} == {
        (".run.json.0123abcd.tmp", True),
        ("data/mine.npz", False),
        ("couplings", False),
    }


def test_exit_codes(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path)]) == 2
    assert "no run at" in capsys.readouterr().err
    run = tmp_path / "run"
    shutil.copytree(made, run)
    (run / KINDS["last state"]).write_bytes(b"")
    assert main(["verify", str(made), str(run)]) == 1
    assert f"states/{NAME}/4.safetensors: its SHA-256 is not" in capsys.readouterr().out


def test_a_copy_of_data_that_is_damaged_is_set_aside_and_wanted_again(tmp_path: Path) -> None:
    store, buffer = Store(tmp_path), io.BytesIO()
    np.savez_compressed(buffer, x=np.arange(1000.0))
    whole = buffer.getvalue()
    assert store.lacks_data("mine")
    store.keep_data("mine", whole)
    assert not store.lacks_data("mine")
    path, aside = tmp_path / "data" / "mine.npz", tmp_path / "damaged" / "data"
    for number, bad in enumerate((b"", whole[:-7], whole[:200] + bytes([whole[200] ^ 4]) + whole[201:]), start=1):
        path.write_bytes(bad)
        assert store.lacks_data("mine")
        assert (aside / f"{number}-mine.npz").read_bytes() == bad
        store.keep_data("mine", whole)
