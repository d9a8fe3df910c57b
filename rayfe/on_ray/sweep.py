"""Trajectories as Ray Tune trials, their requests to a pool of evaluators. The store alone is the state of record.

Tune schedules and restarts trials whose worker was lost. It never resumes an experiment: each call starts a
fresh one over the unfinished trajectories, in a temporary folder.
"""

from __future__ import annotations

import contextlib
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import ray
from ray import tune
from ray.tune.search.basic_variant import BasicVariantGenerator

from rayfe.config import RunConfig
from rayfe.data.paths import PathData, epoch_of
from rayfe.exceptions import LeaseLost, StorageError, StorageFull
from rayfe.on_ray.capacity import Room
from rayfe.on_ray.evaluator import BackendFactory, make_inline, share
from rayfe.on_ray.in_training import take
from rayfe.on_ray.machines import try_out
from rayfe.on_ray.metrics import StepMetrics
from rayfe.on_ray.service import Service, first_plan
from rayfe.on_ray.session import HINT, RayDied, cluster
from rayfe.on_ray.shared_storage import check_shared
from rayfe.on_ray.trial import TrajectoryTrial
from rayfe.records import InTraining, StepRecord
from rayfe.signals import released
from rayfe.storage.store import Store
from rayfe.trajectory import driver

LOSSES = 20
"""A trajectory has failed after this many lost trial workers without a committed step."""
OnRow = Callable[[StepRecord], None]
OnEvent = Callable[[str], None]
OnTraining = Callable[[InTraining], None]


def run_on_ray(
    config: RunConfig,
    data: PathData | None,
    store_location: str,
    keep_states: str,
    on_row: OnRow,
    on_event: OnEvent,
    *,
    on_training: OnTraining = lambda now: None,
    owner: str | None = None,
    backend_factory: BackendFactory = make_inline,
) -> dict[str, str]:
    """Walk every trajectory to its end; returns those that failed, with one line why.

    Joins the cluster of RAY_ADDRESS, or a Ray that this process has started; otherwise starts one on this machine
    and ends it again. `on_row`, `on_event` and `on_training` are called in the calling thread. Without `data`, where the
    backend of `backend_factory` needs none, there are no certificates.

    Raises:
        UsageError: the cluster cannot be joined or used, or cannot hold the evaluators, or another node does not see the store.
        KeyboardInterrupt: an embedded Ray is ended.
        StorageFull: there is no room for a file.
        LeaseLost: another driver has taken the run over.
        RuntimeError: the embedded Ray died (RayDied), or Tune failed.
    """
    store = Store(store_location, keep_states=keep_states, owner=owner)
    epoch = None if data is None else epoch_of(data, config)
    unfinished, failed = _survey(config, store, certified=epoch is not None)
    if not unfinished:
        return failed
    seen = {name: len(rows) for name, rows in unfinished.items()}
    with cluster() as check_alive:
        watch = Watch(
            store=store,
            seen=seen,
            failed=failed,
            metrics=StepMetrics(),
            on_row=on_row,
            on_event=on_event,
            on_training=on_training,
        )
        check_shared(store.url(), [node for node in ray.nodes() if node["Alive"]], on_event)
        room = Room(config, trajectories=len(unfinished))
        with released(room.give_up):
            plan, examples = first_plan(room, on_event), share(data)
            try_out(backend_factory, config, examples, plan.unit)
            service = Service(config, backend_factory, examples, room, plan, check_alive)
            _served(config, watch, service, epoch)
    return failed


def _served(config: RunConfig, watch: Watch, service: Service, epoch: int | None) -> None:
    """Walk, and end what answers."""
    try:
        _walk(config, watch, service, epoch)
    except RayDied:
        raise
    except Exception:
        service.close()  # in a Ray that is not ours its evaluators would stay, and keep their CPUs
        raise
    service.close()


def _walk(config: RunConfig, watch: Watch, service: Service, epoch: int | None) -> None:
    """Experiments of Tune until every trajectory has finished or failed."""
    left = list(watch.seen)
    while left:
        before = dict(watch.seen)
        left = _attempt(config, watch, service, left, epoch)
        for name in [name for name in left if watch.seen[name] == before[name]]:
            watch.failed[name] = f"WorkersLost: its worker was lost {LOSSES} times without a committed step"
            service.forget(name)
            left.remove(name)


def _survey(config: RunConfig, store: Store, *, certified: bool) -> tuple[dict[str, list[StepRecord]], dict[str, str]]:
    """Rows of the trajectories that have work left, and why others cannot be opened; damage in the store is repaired.

    `certified`: a trajectory that has ended and lacks its certificate has work left.
    """
    unfinished, failed = dict[str, list[StepRecord]](), driver.Failures(store)
    for name, start in config.trajectories().items():
        try:
            trajectory = driver.open_trajectory(config, start, store)
            if trajectory.finished is None or (certified and driver.last_certificate_is_due(config, trajectory, store)):
                unfinished[name] = store.rows(name)
        except (StorageError, LeaseLost):
            raise
        except Exception as error:
            failed[name] = driver.failure(name, error)
    return unfinished, failed


# --- one experiment of Tune -----------------------------------------------------------------------------------------


class Report(tune.Callback):
    """Passes on what Tune sees, to the thread that waits."""

    def __init__(self, news: queue.SimpleQueue[tuple[str, str, Any]]) -> None:
        self._news = news

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its callbacks for a resume that is never made

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict[str, Any], **info: Any) -> None:
        self._news.put(("result", trial.config["trajectory"], result))

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        self._news.put(("lost", trial.config["trajectory"], None))


@dataclass(kw_only=True)
class Watch:
    """Turns news of trials into rows and events; `seen` counts the rows of each trajectory that were passed on."""

    store: Store
    seen: dict[str, int]
    failed: dict[str, str]
    metrics: StepMetrics
    on_row: OnRow
    on_event: OnEvent
    on_training: OnTraining

    def result(self, name: str, result: dict[str, Any]) -> None:
        self.rows(name)
        for text in result.get("events", "").splitlines():
            self.on_event(text)
        if "failure" in result:
            if "full" in result:  # the others have no room either
                raise StorageFull(result["full"])
            if "lost" in result:
                raise LeaseLost(result["lost"])
            if result["done"]:
                self.failed[name] = result["failure"]
            self.on_event(f"{name}: {result['failure']}{'' if result['done'] else '; trying again'}")

    def rows(self, name: str) -> None:
        """Pass on the rows that are new in the store: also those whose trial died before it could say so."""
        for record in self.store.rows(name)[self.seen[name] :]:
            self.seen[name] += 1
            self.metrics.step(record)
            self.on_row(record)


def _attempt(config: RunConfig, watch: Watch, service: Service, names: list[str], epoch: int | None) -> list[str]:
    """One fresh experiment over `names`; returns those that neither finished nor failed.

    `fit` runs in a thread: in the main thread it would take over Ctrl-C.
    """
    news: queue.SimpleQueue[tuple[str, str, Any]] = queue.SimpleQueue()
    folder = tempfile.mkdtemp(prefix="rayfe-tune-")
    tuner = _tuner(config, watch.store, service, names, folder, [Report(news)], epoch)
    ended: set[str] = set()

    def fit() -> None:
        try:
            tuner.fit()
        except Exception as error:
            news.put(("end", "", error))
        else:
            news.put(("end", "", None))

    threading.Thread(target=fit, name="tune", daemon=True).start()
    with released(lambda: shutil.rmtree(folder, ignore_errors=True)):
        for kind, name, content in _listen(news, service, watch):
            if kind == "result":
                watch.result(name, content)
                ended |= {name} if content["done"] else set()
            elif kind == "lost":
                watch.rows(name)
                watch.on_event(f"{name}: lost its worker; going on from the last committed step")
            elif content is not None:
                raise RuntimeError(f"Ray Tune failed ({content}); {HINT}") from content
    for name in names:
        watch.rows(name)
    return [name for name in names if name not in ended]


def _tuner(
    config: RunConfig,
    store: Store,
    service: Service,
    names: list[str],
    folder: str,
    callbacks: list[tune.Callback],
    epoch: int | None,
) -> tune.Tuner:
    """One trial a trajectory; workers that are lost are replaced, and workers that are done take the next trajectory."""
    parameters = {"run": config, "location": store.url(), "keep_states": config.service.keep_states, "owner": store.owner}
    parameters |= {"connect": service.connect, "epoch": epoch}
    # max_concurrent_trials of TuneConfig cannot be changed on the way; this is the same limit by Tune's own hand
    service.limit = BasicVariantGenerator(max_concurrent=service.plan.trials)
    return tune.Tuner(
        tune.with_resources(tune.with_parameters(TrajectoryTrial, **parameters), tune.PlacementGroupFactory(service.bundles)),
        param_space={"trajectory": tune.grid_search(names)},
        tune_config=tune.TuneConfig(
            search_alg=service.limit, reuse_actors=True, trial_dirname_creator=lambda trial: trial.config["trajectory"]
        ),
        run_config=tune.RunConfig(
            name="attempt",
            storage_path=folder,
            verbose=0,
            callbacks=callbacks,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=LOSSES - 1),
        ),
    )


def _listen(news: queue.SimpleQueue[tuple[str, str, Any]], service: Service, watch: Watch) -> Iterator[tuple[str, str, Any]]:
    """News of the trials, the last one of kind "end"; in between events of the pool, and a look at Ray and its nodes."""
    asked, events = time.monotonic(), service.pool.events.remote() if service.pool is not None else None
    while True:
        with contextlib.suppress(queue.Empty):
            entry = news.get(timeout=0.2)  # short: nodes and the pool are looked at in between
            yield entry
            if entry[0] == "end":
                service.check_alive()
                take(watch.on_training)
                return
        service.check_alive()
        service.look()
        if time.monotonic() - asked <= 1.0:
            continue
        asked = time.monotonic()
        take(watch.on_training)
        if events is not None:
            with contextlib.suppress(ray.exceptions.RayError):  # the pool is starting again
                ready, _ = ray.wait([events], timeout=0)
                if not ready:
                    continue
                done, events = events, service.pool.events.remote()
                for text in ray.get(done):
                    watch.on_event(text)
