"""Where there are no locks a heartbeat says who works on a run: who comes next waits, and one driver writes at a time."""

from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from rayfe.exceptions import LeaseLost, UsageError
from rayfe.storage import lease, lock_file
from rayfe.storage.files import Files
from rayfe.storage.lease import Lease, hold

PERIOD = 0.25


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "PERIOD", PERIOD)


@pytest.fixture
def files() -> Files:
    return Files(f"memory://{uuid.uuid4().hex}/run")


def left_behind(files: Files, number: int = 1, **fields: object) -> Lease:
    """The lease of a driver elsewhere that was killed."""
    dead = Lease(token="t", holder="pid 7 on elsewhere", machine="m", process="7:7", period=PERIOD, beat=3)
    dead = dataclasses.replace(dead, **fields)
    files.write(f".lease/{number}", lease._bytes(dead))
    return dead


def silent(text: str) -> None:
    raise AssertionError(text)


def test_a_holder_leaves_nothing_behind_and_the_next_does_not_wait(files: Files) -> None:
    for _ in range(2):
        with hold(files, say=silent) as token:
            lease.check(files, token)
        assert files.names(".lease") == []


def test_a_holder_that_lives_is_seen_by_its_heartbeat_and_the_newcomer_gives_up(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(lease, "PATIENCE", 10_000)  # it gives up at the next beat, not when its patience ends
    with hold(files, say=silent) as token:
        with (
            pytest.raises(UsageError, match=rf"out='memory://.*another process \(pid {os.getpid()} on .*\) is working"),
            hold(files, say=said.append),
        ):
            pass
        lease.check(files, token)
    assert len(said) == 1


def test_the_successor_of_a_dead_holder_waits_says_how_long_and_goes_on(files: Files) -> None:
    left_behind(files, 6, period=0.5)  # the holder's period counts, not that of the newcomer
    said: list[str] = []
    began = time.monotonic()
    with hold(files, say=said.append) as token:
        waited = time.monotonic() - began
        assert files.names(".lease") == ["7"]
        lease.check(files, token)
    assert waited >= 2.0
    assert said[0].startswith("pid 7 on elsewhere has worked on this run")
    assert "waiting 2 s" in said[0]
    assert "going on" in said[1]


def test_of_two_successors_one_goes_on(files: Files) -> None:
    left_behind(files)
    outcomes: list[str] = []
    both, refused = threading.Barrier(2), threading.Event()

    def succeed() -> None:
        both.wait()
        try:
            with hold(files, say=lambda text: None):
                outcomes.append("held")
                refused.wait(60)
        except UsageError:
            outcomes.append("refused")
            refused.set()

    threads = [threading.Thread(target=succeed) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held", "refused"]


def test_a_process_of_this_machine_that_is_gone_needs_no_wait(files: Files) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    started = lease._started(ended.pid)
    ended.wait()
    assert started
    left_behind(files, machine=lease._machine(), process=started)
    with hold(files, say=silent):
        pass


def test_whoever_reads_is_told_whether_a_driver_is_there(files: Files, tmp_path: Path) -> None:
    for place in (files, Files(str(tmp_path / "run"))):
        assert not lease.is_held(place)
        with hold(place, say=silent):
            assert lease.is_held(place)
        assert not lease.is_held(place)


def test_a_heartbeat_that_stands_still_is_nobodys(files: Files) -> None:
    left_behind(files, period=60.0)
    assert lease.is_held(files)  # it may have beaten just now
    left_behind(files, period=1e-9)
    assert not lease.is_held(files)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    started = lease._started(ended.pid)
    ended.wait()
    left_behind(files, period=60.0, machine=lease._machine(), process=started)
    assert not lease.is_held(files)


def test_a_number_that_another_process_has_by_now_is_not_the_holder() -> None:
    me = Lease(token="", holder="", machine=lease._machine(), process=f"{os.getpid()}:1", period=1.0, beat=0)
    assert me.is_of_a_dead_process
    assert not dataclasses.replace(me, process=lease._started(os.getpid())).is_of_a_dead_process
    assert not dataclasses.replace(me, machine="another").is_of_a_dead_process


def test_a_torn_lease_is_waited_for_like_any_other(files: Files) -> None:
    files.write(".lease/1", b'{"token": "t", "hol')
    said: list[str] = []
    with hold(files, say=said.append):
        pass
    assert said[0].startswith("another process has worked on this run")


def test_a_holder_that_was_succeeded_is_refused_and_leaves_the_successor_alone(files: Files) -> None:
    with hold(files, say=silent) as token:
        left_behind(files, 2, token="another")  # as after a sleep of this machine
        with pytest.raises(LeaseLost, match="is held by another driver now"):
            lease.check(files, token)
        (beats,) = (thread for thread in threading.enumerate() if thread.name == "lease")
        beats.join()  # its heart beats no more
    assert files.names(".lease") == ["2"]


def test_a_store_that_is_away_for_a_while_costs_no_lease(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    write, failures = Files.write, []

    def fails_twice(self: Files, relative: str, data: bytes, **options: bool) -> None:
        if len(failures) < 2:
            failures.append(relative)
            raise ConnectionError("away")
        write(self, relative, data)

    with hold(files, say=silent) as token:
        before = lease._newest(files)
        monkeypatch.setattr(Files, "write", fails_twice)
        while lease._newest(files) == before:
            time.sleep(PERIOD / 5)
        assert len(failures) == 2
        lease.check(files, token)


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks")

    monkeypatch.setattr(lock_file.fcntl, "flock", refuse)
    return monkeypatch.undo


def test_a_folder_mounted_without_locks_has_a_heartbeat(tmp_path: Path, without_locks: Callable[[], None]) -> None:
    files = Files(tmp_path)
    with hold(files, say=silent) as token:
        assert files.names(".lease") == ["1"]
        lease.check(files, token)
        with pytest.raises(UsageError), hold(files, say=lambda text: None):
            pass
    left_behind(files, 4)
    without_locks()
    with hold(files, say=silent) as token:  # mounted anew, with locks
        lease.check(files, token)
    with hold(files, say=silent) as other:
        assert other != token
        with pytest.raises(LeaseLost):
            lease.check(files, token)


def test_a_folder_that_is_not_the_drivers_is_noticed(tmp_path: Path) -> None:
    with hold(Files(tmp_path / "shared"), say=silent) as token, pytest.raises(LeaseLost):
        lease.check(Files(tmp_path / "elsewhere"), token)
