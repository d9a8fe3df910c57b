"""One driver at a time on a run: an operating system's lock where the folder has such, a heartbeat where it has not.

The lock dies with its holder, so the same command goes on at once. A heartbeat cannot: `.lease/<n>` is written again
every `PERIOD` seconds by its holder, and who comes next waits until it has stood still for `PATIENCE` periods, then
creates `.lease/<n + 1>`. Only one can create it, and the one before is told so by `check`, which it asks before it writes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from rayfe.exceptions import CorruptFile, LeaseLost, visible
from rayfe.records.json_text import parsed
from rayfe.signals import released
from rayfe.storage import lock_file
from rayfe.storage.files import Files
from rayfe.storage.local import open_to_lock

log = logging.getLogger(__name__)

LEASES = ".lease"
PERIOD = 10.0
"""Seconds between two beats."""
LONGEST_PERIOD = 60.0
"""Seconds between two beats that a lease may name; one that names more is waited for as if it had named `PERIOD`."""
NUMBER = re.compile(r"[1-9][0-9]{0,8}")
"""Names of leases; others are not of this package."""
MOST = 10_000
"""Bytes of a lease that are read at most."""
PATIENCE = 4
"""Periods without a beat after which a holder is taken to be gone."""
Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """What a holder writes at each beat; `machine` and `process` tell those on the same machine whether it lives."""

    token: str
    holder: str
    machine: str
    process: str
    period: float
    beat: int

    @property
    def is_of_a_dead_process(self) -> bool:
        """Whether its process is known to be gone, which only its own machine can tell."""
        pid = self.process.partition(":")[0]
        return pid.isdecimal() and self.machine == _machine() != "" and _started(int(pid)) != self.process


@contextlib.contextmanager
def hold(files: Files, *, say: Say) -> Iterator[str]:
    """Hold the run's folder (made if missing) for this process; yields a token that names this holding.

    `say` is told how long a wait takes. Another may take the run over, as after a sleep of this machine: see `check`.

    Raises:
        UsageError: another process holds the folder.
    """
    if files.local:
        with files.naming(lock_file.LOCK):
            os.makedirs(files.url(), exist_ok=True)
            # never removed: a lock file that is deleted can be held by two processes, one of them by a name that is gone
            descriptor = open_to_lock(files.url(), lock_file.LOCK)
        try:
            token = lock_file.take(descriptor, files)
            if token is not None:
                for name in files.names(LEASES):  # of a time when it was mounted without locks
                    files.remove(f"{LEASES}/{name}")
                yield token
                return
            with _heartbeat(files, say) as token:
                os.ftruncate(descriptor, 0)  # who wrote a token there could take a lock: its absence tells that it is succeeded
                yield token
                return
        finally:
            os.close(descriptor)
    with _heartbeat(files, say) as token:
        yield token


def check(files: Files, token: str) -> None:
    """Raises LeaseLost if the folder is not held under `token` now: its driver has been succeeded, or it is another folder."""
    held = lock_file.token_in(files) if files.local else None
    if held is None and (newest := _newest(files)) is not None:
        held = newest[1].token
    if held != token:
        raise LeaseLost(f"{files.url()} is held by another driver now, or is not the folder that this run's driver holds")


def is_held(files: Files) -> bool:
    """Whether a driver holds the folder now: a lock that dies with it, or a heartbeat that stood still for less than PATIENCE periods."""
    if files.local and lock_file.is_locked(files):
        return True
    newest = _newest(files)
    if newest is None or newest[1].is_of_a_dead_process:
        return False
    beat = files.modified(f"{LEASES}/{newest[0]}")
    return beat is None or (datetime.now(UTC) - beat).total_seconds() <= PATIENCE * newest[1].period


# --- the heartbeat --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _heartbeat(files: Files, say: Say) -> Iterator[str]:
    number = _wait_for_the_one_before(files, say) + 1
    mine = Lease(
        token=uuid.uuid4().hex,
        holder=lock_file.holder(),
        machine=_machine(),
        process=_started(os.getpid()),
        period=PERIOD,
        beat=0,
    )
    path = f"{LEASES}/{number}"
    files.create(path, _bytes(mine))
    newest = _newest(files)
    if newest is None or newest[1] != mine:
        raise lock_file.refusal(files, newest[1].holder if newest else "")
    for earlier in _numbers(files):
        if earlier < number:
            files.remove(f"{LEASES}/{earlier}")
    ended = threading.Event()
    beats = threading.Thread(target=_beat, args=(files, path, mine, ended), name="lease", daemon=True)
    beats.start()

    def give_up() -> None:
        ended.set()
        beats.join()
        files.remove(path)

    with released(give_up):
        yield mine.token


def _beat(files: Files, path: str, lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(lease.period):
        try:
            newest = _newest(files)
            if newest is None or newest[1].token != lease.token:
                return  # `check` says so to whoever works
            lease = dataclasses.replace(lease, beat=lease.beat + 1)
            files.write(path, _bytes(lease))
        except Exception as error:  # a network that is away for a while; clients raise their own kinds
            log.warning("%s: cannot renew the lease (%s), trying again", files.url(), error)


def _wait_for_the_one_before(files: Files, say: Say) -> int:
    """Returns the number of the last holder when it is gone, 0 if there was none.

    Raises:
        UsageError: it lives: its heart beats, or another has come in between.
    """
    found = _newest(files)
    if found is None:
        return 0
    number, lease = found
    if lease.is_of_a_dead_process:
        return number
    seconds = PATIENCE * lease.period
    say(
        f"{lease.holder} has worked on this run and has not said goodbye: waiting {seconds:.0f} s to see whether it still lives"
    )
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(1.0, lease.period / 4.0))
        now = _newest(files)
        if now is None:
            return number
        if now != found:
            raise lock_file.refusal(files, now[1].holder)
    say(f"no sign of {lease.holder}: going on")
    return number


def _newest(files: Files) -> tuple[int, Lease] | None:
    """Number and content of the last lease; None if nobody holds one."""
    for number in reversed(_numbers(files)):
        try:
            return number, _parsed(files.read(f"{LEASES}/{number}", MOST))
        except FileNotFoundError:  # given up since
            continue
        except CorruptFile as error:  # no file that a driver writes
            return number, _parsed(error.fault.encode())
    return None


def _numbers(files: Files) -> list[int]:
    return sorted(int(name) for name in files.names(LEASES) if NUMBER.fullmatch(name))


def _bytes(lease: Lease) -> bytes:
    return json.dumps(dataclasses.asdict(lease)).encode()


def _parsed(data: bytes) -> Lease:
    """The lease that these bytes are; one that is torn, by another version or by nobody is `_unknown`: its holder still may live."""
    try:
        lease = Lease(**parsed(data, Lease))
    except (ValueError, TypeError):
        return _unknown(data)
    if not 0 < lease.period <= LONGEST_PERIOD:
        return _unknown(data)
    return dataclasses.replace(lease, holder=visible(lease.holder))


def _unknown(data: bytes) -> Lease:
    """Stands for a lease that cannot be read; other bytes are another one."""
    digest = hashlib.sha256(data).hexdigest()
    return Lease(token=digest, holder="another process", machine="", process="", period=PERIOD, beat=0)


def _machine() -> str:
    """Names what process numbers are unique in: this boot and its namespace of processes. Empty if that cannot be told."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read()
        return hashlib.sha256(f"{boot}{os.readlink('/proc/self/ns/pid')}".encode()).hexdigest()[:16]
    except OSError:
        return ""


def _started(pid: int) -> str:
    """`<pid>:<when it started>`, since numbers are used again; empty if there is no such process, or it is a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{pid}:{fields[19]}"
