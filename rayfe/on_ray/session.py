"""Ray itself: joining the cluster that is named, or starting one on this machine and ending it without a trace."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import ray
from ray.exceptions import RayError

from rayfe.on_ray.address import check_address, cluster_address, refused

HINT = "the same command goes on from the last committed step"
ENVIRONMENT = {
    "RAY_worker_niceness": "0",  # Ray's own is 15: beside other work of this machine a walk stood still
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
}


class RayDied(RuntimeError):
    """The Ray that this process had started died."""


@contextlib.contextmanager
def cluster() -> Iterator[Callable[[], None]]:
    """Ray for the time of the block; yields a check that raises RuntimeError if an embedded Ray died.

    Raises:
        UsageError: the cluster of RAY_ADDRESS cannot be joined.
        RuntimeError: Ray failed in the block.
    """
    _prepare()
    auto_init: Any = ray._private.auto_init_hook
    before, auto_init.enable_auto_connect = auto_init.enable_auto_connect, False  # or Tune, interrupted, starts another Ray
    embedded = not ray.is_initialized() and cluster_address() is None
    others = _descendants()
    try:
        if not ray.is_initialized():
            _start(cluster_address())
        yield _check_embedded if embedded else _check_nothing
    except RayDied:  # its client would end this process a minute later; to shut it down takes 20 s
        _kill(_descendants() - others)
        _stop(others)
        raise
    except BaseException as error:
        if embedded:
            _stop(others)
        if isinstance(error, RayError):
            raise RuntimeError(f"Ray failed ({' '.join(str(error).split())}); {HINT}") from error
        raise
    if embedded:
        _stop(others)
    auto_init.enable_auto_connect = before


def _prepare() -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)


def nodes() -> list[dict[str, float]]:
    """Machines of the Ray that this process has started or that RAY_ADDRESS names, or, where there is none yet, this one's GPUs.

    In the first two cases the process is connected from now on.

    Raises:
        UsageError: the cluster of RAY_ADDRESS cannot be joined.
    """
    address = cluster_address()
    if not ray.is_initialized():
        if address is None:
            return [{"GPU": _usable_gpus()}]
        _prepare()
        _start(address)
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def elsewhere() -> bool:
    """Whether `nodes` looks at a Ray that is there already, of other machines perhaps."""
    return ray.is_initialized() or cluster_address() is not None


def _stop(others: set[Any]) -> None:
    """Shut the embedded Ray down; what of it does not end is killed."""
    logging.getLogger("ray").setLevel(logging.CRITICAL + 1)  # Tune may be at work in its thread
    rest = _descendants() - others
    ray.shutdown()
    _kill(rest)


def _start(address: str | None) -> None:
    """Join the cluster at `address`, or start a Ray of our own without one.

    Raises:
        UsageError: the cluster cannot be joined.
    """
    with _own_handlers():
        if address is not None:
            check_address(address)
            try:
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
            except Exception as error:  # of many kinds: of Ray, of the system, of gRPC
                raise refused(address, error) from error
            return
        ray.init(
            address="local",
            num_cpus=max(2, int(ray._private.utils.get_num_cpus())),  # one evaluator and the slivers fit on any machine
            num_gpus=_usable_gpus(),  # Ray itself would count those that torch cannot use
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )


def _usable_gpus() -> int:
    from rayfe.training.gpu import usable_gpus  # imports torch

    return usable_gpus()


@contextlib.contextmanager
def _own_handlers() -> Iterator[None]:
    """Keep Ray from replacing the handler of SIGTERM: its own drains the node and exits with another code."""
    utils: Any = ray._private.utils
    theirs, ours = utils.set_sigterm_handler, signal.getsignal(signal.SIGTERM)
    utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        utils.set_sigterm_handler = theirs
        if ours is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, ours)  # Ray's C++ has one, too, which prints a stack


def _check_nothing() -> None:
    """A cluster looks after itself; the driver fails when its head is gone."""


def _check_embedded() -> None:
    node = ray._private.worker._global_node
    dead: list[str] = (
        [kind for kind, _ in node.dead_processes() if kind in ("raylet", "gcs_server")] if node is not None else []
    )
    if dead:
        raise RayDied(f"the Ray that this process had started died ({', '.join(dead)}); {HINT}")


def _descendants() -> set[Any]:
    import psutil  # comes inside Ray

    return set(psutil.Process().children(recursive=True))


def _kill(processes: set[Any]) -> None:
    """End processes at once, those of Ray first, which would start others again."""
    import psutil

    def order(process: Any) -> bool:
        with contextlib.suppress(psutil.Error):
            return process.name() not in ("raylet", "gcs_server")
        return True

    for process in sorted(processes, key=order):
        with contextlib.suppress(psutil.Error):
            process.kill()
