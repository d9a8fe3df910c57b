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

from rayfe import driver
from rayfe.backend.base import Backend
from rayfe.backend.ray_cluster import HINT, cluster
from rayfe.backend.ray_pool import BackendFactory, PoolBackend, WorkersLost, make_inline, share, start_pool
from rayfe.backend.ray_storage import check_shared
from rayfe.config import RunConfig, UsageError, require
from rayfe.data.paths import PathData
from rayfe.files import StorageFull
from rayfe.lease import Succeeded
from rayfe.records import Point, StepRecord
from rayfe.store import Store
from rayfe.surface.stencil import neighbours
from rayfe.trajectory import Trajectory, WalkFailed

SLIVER = 0.1
"""CPUs that a trial asks for: it waits for evaluators nearly all the time."""
FAILURES = 3
"""A trajectory has failed after this many exceptions of our own code in a row without a committed step."""
LOSSES = 20
"""A trajectory has failed after this many lost trial workers without a committed step."""
OnRow = Callable[[StepRecord], None]
OnEvent = Callable[[str], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How many evaluators and trials run at a time; `gpus` of one evaluator."""

    evaluators: int
    trials: int
    gpus: float


def run_on_ray(
    config: RunConfig,
    data: PathData | None,
    store_location: str,
    keep_states: str,
    on_row: OnRow,
    on_event: OnEvent,
    *,
    owner: str | None = None,
    backend_factory: BackendFactory = make_inline,
) -> dict[str, str]:
    """Walk every trajectory to its end; returns those that failed, with one line why.

    Joins the cluster of RAY_ADDRESS, or a Ray that this process has started; otherwise starts one on this machine
    and ends it again. `on_row` and `on_event` are called in the calling thread.

    Raises:
        UsageError: the cluster cannot hold the evaluators asked for.
        KeyboardInterrupt, Terminated: at once; an embedded Ray is ended.
        UsageError: another node of the cluster does not see the store.
        StorageFull: there is no room for a file.
        RuntimeError: the embedded Ray died (RayDied), or Tune failed.
    """
    store = Store(store_location, keep_states=keep_states, owner=owner)
    unfinished, failed = _survey(config, store)
    if not unfinished:
        return failed
    with cluster() as check_alive:
        nodes = [node for node in ray.nodes() if node["Alive"]]
        plan = preflight(config, trajectories=len(unfinished), nodes=nodes)
        check_shared(store.url(), nodes, on_event)
        pool = start_pool(backend_factory, config, share(data), evaluators=plan.evaluators, gpus=plan.gpus)
        seen = {name: len(rows) for name, rows in unfinished.items()}
        watch = Watch(store=store, seen=seen, failed=failed, on_row=on_row, on_event=on_event)
        _walk(config, watch, pool, plan, check_alive)
        ray.kill(pool)  # Tune keeps its handle; in a Ray that is not ours the evaluators would stay
    return failed


def _walk(config: RunConfig, watch: Watch, pool: Any, plan: Plan, check_alive: Callable[[], None]) -> None:
    """Experiments of Tune until every trajectory has finished or failed."""
    left = list(watch.seen)
    while left:
        before = dict(watch.seen)
        left = _attempt(config, watch, PoolBackend(pool), pool, left, plan, check_alive)
        for name in [name for name in left if watch.seen[name] == before[name]]:
            watch.failed[name] = f"WorkersLost: its worker was lost {LOSSES} times without a committed step"
            left.remove(name)


def _survey(config: RunConfig, store: Store) -> tuple[dict[str, list[StepRecord]], dict[str, str]]:
    """Rows of the unfinished trajectories, and why others cannot be opened; damage in the store is repaired."""
    unfinished, failed = {}, {}
    for name, start in config.trajectories().items():
        try:
            if driver.open_trajectory(config, start, store).finished is None:
                unfinished[name] = store.rows(name)
        except StorageFull:
            raise
        except Exception as error:
            failed[name] = driver.failure(name, error)
    return unfinished, failed


# --- room -----------------------------------------------------------------------------------------------------------


def preflight(config: RunConfig, *, trajectories: int, nodes: list[dict[str, Any]]) -> Plan:
    """How many evaluators (1 CPU, and 1 GPU where there are any) fit beside the trials' slivers.

    Raises:
        UsageError: fewer than asked for, or none; Ray itself would wait for ever without a word.
    """
    resources = [node["Resources"] for node in nodes]
    gpus = 1.0 if config.device != "cpu" and any(node.get("GPU", 0) >= 1 for node in resources) else 0.0
    slots = sum(int(min(node.get("CPU", 0), node.get("GPU", 0) if gpus else node.get("CPU", 0))) for node in resources)
    cpus = sum(node.get("CPU", 0) for node in resources)

    def slivers(evaluators: int) -> int:
        return int((cpus - evaluators) / SLIVER + 1e-9)

    most = max((n for n in range(1, slots + 1) if slivers(n) >= min(n, trajectories)), default=0)
    unit = "1 CPU and 1 GPU each" if gpus else "1 CPU each"
    room = f"beside {SLIVER:g} CPU a trajectory the machine can hold {most} ({unit}; it has {cpus:g} CPUs)"
    asked = config.evaluators
    if asked is not None and asked > most:
        raise UsageError("evaluators", asked, f"{room}; ask for fewer, or add machines")
    require(most > 0, "evaluators", 1, f"{room}; add CPUs, or use --backend inline")
    per_evaluator = config.replicas_per_evaluator
    replicas = len(neighbours(Point(lam=1.0, gamma=1.0), config.stencil, config.neighbours))
    parts = 1 if per_evaluator is None else -(-replicas // per_evaluator)
    evaluators = min(asked or most, trajectories * parts)
    return Plan(evaluators=evaluators, trials=min(trajectories, 2 * evaluators + 2, slivers(evaluators)), gpus=gpus)


# --- one experiment of Tune -----------------------------------------------------------------------------------------


class TrajectoryTrial(tune.Trainable):
    """One trajectory; one `step` is one attempted quasi-static step. What went before is in the store alone.

    Exceptions of our own code become results, so that whatever Tune sees as an error is a lost worker.
    """

    def setup(  # type: ignore[override]
        self,
        trial_config: dict[str, Any],
        *,
        run: RunConfig,
        location: str,
        keep_states: str,
        owner: str | None,
        backend: Backend,
    ) -> None:
        self._name: str = trial_config["trajectory"]
        self._run, self._backend = run, backend
        self._store = Store(location, keep_states=keep_states, owner=owner)
        self._trajectory: Trajectory | None = None
        self._failures = 0

    def step(self) -> dict[str, Any]:
        try:
            if self._trajectory is None:
                self._trajectory = driver.open_trajectory(self._run, self._run.trajectories()[self._name], self._store)
            if self._trajectory.finished is None:
                driver.advance(self._trajectory, self._backend, self._store)
            self._failures = 0
            return {"done": self._trajectory.finished is not None}
        except Exception as error:
            self._trajectory = None  # what it holds may be half-way through a step
            self._failures += 1
            final = self._failures >= FAILURES or isinstance(error, WalkFailed | WorkersLost | Succeeded | StorageFull)
            full = {"full": error.path} if isinstance(error, StorageFull) else {}
            return {"done": final, "failure": driver.failure(self._name, error)} | full


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
    on_row: OnRow
    on_event: OnEvent

    def result(self, name: str, result: dict[str, Any]) -> None:
        self.rows(name)
        if "failure" in result:
            if "full" in result:  # the others have no room either
                raise StorageFull(result["full"])
            if result["done"]:
                self.failed[name] = result["failure"]
            self.on_event(f"{name}: {result['failure']}{'' if result['done'] else '; trying again'}")

    def rows(self, name: str) -> None:
        """Pass on the rows that are new in the store: also those whose trial died before it could say so."""
        for record in self.store.rows(name)[self.seen[name] :]:
            self.seen[name] += 1
            self.on_row(record)


def _attempt(
    config: RunConfig,
    watch: Watch,
    backend: Backend,
    pool: Any,
    names: list[str],
    plan: Plan,
    check_alive: Callable[[], None],
) -> list[str]:
    """One fresh experiment over `names`; returns those that neither finished nor failed.

    `fit` runs in a thread: in the main thread it would take over Ctrl-C.
    """
    news: queue.SimpleQueue[tuple[str, str, Any]] = queue.SimpleQueue()
    folder = tempfile.mkdtemp(prefix="rayfe-tune-")
    parameters = {"run": config, "location": watch.store.url(), "keep_states": config.keep_states}
    parameters |= {"owner": watch.store.owner, "backend": backend}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(TrajectoryTrial, **parameters), tune.PlacementGroupFactory([{"CPU": SLIVER}])),
        param_space={"trajectory": tune.grid_search(names)},
        tune_config=tune.TuneConfig(
            max_concurrent_trials=plan.trials, trial_dirname_creator=lambda trial: trial.config["trajectory"]
        ),
        run_config=tune.RunConfig(
            name="attempt",
            storage_path=folder,
            verbose=0,
            callbacks=[Report(news)],
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=LOSSES - 1),
        ),
    )
    ended: set[str] = set()

    def fit() -> None:
        try:
            tuner.fit()
        except Exception as error:
            news.put(("end", "", error))
        else:
            news.put(("end", "", None))

    threading.Thread(target=fit, name="tune", daemon=True).start()
    try:
        for kind, name, content in _listen(news, pool, watch.on_event, check_alive):
            if kind == "result":
                watch.result(name, content)
                ended |= {name} if content["done"] else set()
            elif kind == "lost":
                watch.rows(name)
                watch.on_event(f"{name}: lost its worker; going on from the last committed step")
            elif content is not None:
                raise RuntimeError(f"Ray Tune failed ({content}); {HINT}") from content
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for name in names:
        watch.rows(name)
    return [name for name in names if name not in ended]


def _listen(
    news: queue.SimpleQueue[tuple[str, str, Any]], pool: Any, on_event: OnEvent, check_alive: Callable[[], None]
) -> Iterator[tuple[str, str, Any]]:
    """News of the trials, the last one of kind "end"; in between events of the pool, and a look at Ray's processes."""
    asked, events = time.monotonic(), pool.events.remote()
    while True:
        with contextlib.suppress(queue.Empty):
            entry = news.get(timeout=0.2)  # short: signals are handled in between
            yield entry
            if entry[0] == "end":
                check_alive()
                return
        check_alive()
        if time.monotonic() - asked > 1.0:
            asked = time.monotonic()
            with contextlib.suppress(ray.exceptions.RayError):  # the pool is starting again
                ready, _ = ray.wait([events], timeout=0)
                if not ready:
                    continue
                done, events = events, pool.events.remote()
                for text in ray.get(done):
                    on_event(text)
