"""What fits is known before anything starts, and what does not is named."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from rayfe.config import RunConfig, UsageError

pytest.importorskip("ray")
CONFIG = RunConfig(gamma=(4.0, 5.0, 6.0), steps=3)


def plan(config: RunConfig, *nodes: dict[str, float], trajectories: int = 3) -> Any:
    from rayfe.backend.ray_room import preflight

    return preflight(config, trajectories=trajectories, nodes=nodes)


def configured(**fields: Any) -> RunConfig:
    return dataclasses.replace(CONFIG, **fields)


def test_two_cpus_hold_one_evaluator_beside_the_slivers() -> None:
    found = plan(CONFIG, {"CPU": 2})
    assert (found.evaluators, found.trials, found.unit.gpus) == (1, 3, 0.0)


def test_one_evaluator_a_gpu() -> None:
    found = plan(CONFIG, {"CPU": 8}, {"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 2}, trajectories=9)
    assert (found.evaluators, found.unit.gpus) == (4, 1.0)


def test_one_cpu_is_enough_beside_one_gpu() -> None:
    found = plan(CONFIG, {"CPU": 1, "GPU": 1})
    assert (found.evaluators, found.trials) == (1, 3)


def test_one_cpu_alone_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"beside 0.1 CPU a trajectory the machine can hold 0 \(1 CPU each; it has 1 CPU\)"):
        plan(CONFIG, {"CPU": 1})


def test_shares_of_a_gpu_put_several_evaluators_on_each_but_none_across_two() -> None:
    assert plan(configured(gpus_per_evaluator=0.5), {"CPU": 8, "GPU": 2}, trajectories=9).evaluators == 4
    assert plan(configured(gpus_per_evaluator=0.6), {"CPU": 8, "GPU": 2}, trajectories=9).evaluators == 2


def test_neighbours_side_by_side_need_an_evaluator_each() -> None:
    assert plan(configured(replicas_per_evaluator=1), {"CPU": 16}, trajectories=1).evaluators == 3
    assert plan(configured(replicas_per_evaluator=2), {"CPU": 16}, trajectories=1).evaluators == 2
    assert plan(configured(replicas_per_evaluator="all"), {"CPU": 16}, trajectories=1).evaluators == 1


def test_isolated_trajectories_run_as_many_at_a_time_as_have_bundles() -> None:
    config = configured(placement="isolated", replicas_per_evaluator=1)
    assert plan(config, {"CPU": 7}).trials == 2
    assert plan(config, {"CPU": 4}).trials == 1


def test_isolation_without_room_for_one_trajectory_is_refused() -> None:
    config = configured(placement="isolated", replicas_per_evaluator=1)
    with pytest.raises(UsageError, match=r"--placement isolated: a trajectory needs 3 evaluators of its own and there are 2"):
        plan(config, {"CPU": 3})


def test_more_evaluators_than_fit_are_refused_with_what_fits() -> None:
    with pytest.raises(UsageError, match=r"--evaluators 2: .*machine can hold 1 "):
        plan(configured(evaluators=2), {"CPU": 2}, trajectories=1)


def test_more_train_workers_than_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"--train_workers 4: .*give at most 3"):
        plan(configured(train_workers=4), {"CPU": 4}, trajectories=1)


def test_a_cpu_cluster_is_refused_where_gpus_are_asked_for() -> None:
    with pytest.raises(UsageError, match=r"can hold 0 \(0.5 CPU and 1 GPU each; it has 8 CPU and 0 GPU\)"):
        plan(configured(device="cuda"), {"CPU": 8})
