"""One trajectory as a trial of Ray Tune: a worker process that attempts its steps and stores them."""

from __future__ import annotations

from typing import Any

from ray import tune

from rayfe.config import RunConfig, flat
from rayfe.config.user_code import introduce, own_names
from rayfe.exceptions import LeaseLost, StorageFull, WalkFailed
from rayfe.on_ray.connect import Connect
from rayfe.on_ray.losses import WorkersLost
from rayfe.results.certified import certificate_line
from rayfe.storage.store import Store
from rayfe.trajectory import driver
from rayfe.trajectory.trajectory import Trajectory

FAILURES = 3
"""A trajectory has failed after this many exceptions of our own code in a row without a committed step."""


class TrajectoryTrial(tune.Trainable):
    """One trajectory; one `step` is one attempted quasi-static step, or its last certificate. What went before is in the store alone.

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
        connect: Connect,
        epoch: int | None,
    ) -> None:
        introduce(own_names(flat(run)))
        self._run, self._epoch = run, epoch
        self._store = Store(location, keep_states=keep_states, owner=owner)
        self._backend = connect(self._store)
        self.reset_config(trial_config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up another trajectory: a process and what it has imported are used again."""
        self._name: str = new_config["trajectory"]
        self._trajectory: Trajectory | None = None
        self._failures = 0
        self._news: list[str] = []
        return True

    def step(self) -> dict[str, Any]:
        result = self._step()
        events, self._news = [*self._backend.events(), *self._news], []
        return result | ({"events": "\n".join(events)} if events else {})

    def _step(self) -> dict[str, Any]:
        try:
            if self._trajectory is None:
                self._trajectory = driver.open_trajectory(self._run, self._run.trajectories()[self._name], self._store)
            if self._trajectory.finished is None:
                driver.advance(self._trajectory, self._backend, self._store)
                self._backend.committed(self._name)
            elif self._certificate_is_due(self._trajectory):
                self._certify(self._trajectory)
            self._failures = 0
            due = self._certificate_is_due(self._trajectory)
            self._news += [f"{self._name}: {driver.CERTIFYING}"] if due else []
            return {"done": self._trajectory.finished is not None and not due}
        except Exception as error:
            self._trajectory = None  # what it holds may be half-way through a step
            self._failures += 1
            final = self._failures >= FAILURES or isinstance(error, WalkFailed | WorkersLost | LeaseLost | StorageFull)
            result = {"done": final, "failure": driver.failure(self._name, error)}
            if isinstance(error, StorageFull):
                result["full"] = error.path
            if isinstance(error, LeaseLost):
                result["lost"] = str(error)
            return result

    def _certificate_is_due(self, trajectory: Trajectory) -> bool:
        return self._epoch is not None and driver.last_certificate_is_due(self._run, trajectory, self._store)

    def _certify(self, trajectory: Trajectory) -> None:
        assert self._epoch is not None
        record = driver.certify_last(self._run, trajectory, self._backend, self._store, epoch=self._epoch)
        self._news.append(f"{self._name}: {certificate_line(record, trajectory.accepted[-1].examples)}")

    def cleanup(self) -> None:
        self._backend.close()
