"""What fits is known before anything starts, and what does not is named."""

from __future__ import annotations

from typing import Any

import pytest

from rayfe.config import RunConfig, configure
from rayfe.exceptions import UsageError

pytest.importorskip("ray")
CONFIG = configure(gamma=(4.0, 5.0, 6.0), steps=3)


def plan(config: RunConfig, *nodes: dict[str, float], trajectories: int = 3) -> Any:
    from rayfe.on_ray.capacity import preflight

    return preflight(config, trajectories=trajectories, nodes=nodes)


def configured(**fields: Any) -> RunConfig:
    return configure(CONFIG, **fields)


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
    with pytest.raises(UsageError, match=r"placement='isolated': a trajectory needs 3 evaluators of its own and there are 2"):
        plan(config, {"CPU": 3})


def test_more_evaluators_than_fit_are_refused_with_what_fits() -> None:
    with pytest.raises(UsageError, match=r"evaluators=2: .*machine can hold 1 "):
        plan(configured(evaluators=2), {"CPU": 2}, trajectories=1)


def test_more_train_workers_than_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"train_workers=4: .*give at most 3"):
        plan(configured(train_workers=4), {"CPU": 4}, trajectories=1)


def test_a_cpu_cluster_is_refused_where_gpus_are_asked_for() -> None:
    with pytest.raises(UsageError, match=r"can hold 0 \(0.5 CPU and 1 GPU each; it has 8 CPU and 0 GPU\)"):
        plan(configured(autoscale="gpu", backend="ray"), {"CPU": 8})


class Nodes:
    """Stands for the nodes that Ray knows, and what is free on them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import ray

        self.total: dict[str, dict[str, float]] = {}
        self.free: dict[str, dict[str, float]] = {}
        self.asked: list[list[dict[str, float]]] = []
        monkeypatch.setattr(
            ray, "nodes", lambda: [{"NodeID": name, "Alive": True, "Resources": node} for name, node in self.total.items()]
        )
        monkeypatch.setattr(ray._private.state, "available_resources_per_node", lambda: self.free or self.total)
        monkeypatch.setattr("rayfe.on_ray.capacity._request_resources", self.asked.append)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    return Nodes(monkeypatch)


def room(config: RunConfig = CONFIG, trajectories: int = 9) -> Any:
    from rayfe.on_ray.capacity import Room

    return Room(config, trajectories=trajectories)


def test_nodes_that_join_give_evaluators_and_nodes_that_leave_take_theirs(nodes: Nodes) -> None:
    nodes.total = {"head": {"CPU": 2}}
    looking = room()
    assert looking.plan().evaluators == 1
    nodes.total["worker"] = {"CPU": 4}
    assert looking.plan().evaluators == 5
    del nodes.total["worker"]
    assert looking.plan().evaluators == 1


def test_what_others_use_is_not_counted_on(nodes: Nodes) -> None:
    nodes.total, nodes.free = {"head": {"CPU": 8}}, {"head": {"CPU": 4}}
    assert room().plan().evaluators == 3


def test_what_our_own_evaluators_use_is_not_taken_for_others(nodes: Nodes) -> None:
    nodes.total = {"head": {"CPU": 8}}
    looking = room()
    before = looking.plan()
    nodes.free = {"head": {"CPU": 0.2}}
    assert looking.plan() == before


def test_a_full_cluster_is_waited_for(nodes: Nodes) -> None:
    nodes.total, nodes.free = {"head": {"CPU": 8}}, {"head": {"CPU": 0.5}}
    looking = room()
    assert looking.plan() is None
    nodes.free = {"head": {"CPU": 4}}
    assert looking.plan().evaluators == 3


def test_a_cluster_that_will_never_do_is_refused_at_once(nodes: Nodes) -> None:
    nodes.total = {"head": {"CPU": 1}}
    with pytest.raises(UsageError, match="can hold 0"):
        room().plan()


def test_evaluators_asked_for_that_have_gone_are_not_missed_later(nodes: Nodes) -> None:
    nodes.total = {"head": {"CPU": 2}, "worker": {"CPU": 4}}
    looking = room(configured(evaluators=4))
    assert looking.plan().evaluators == 4
    del nodes.total["worker"]
    assert looking.plan().evaluators == 1


def test_the_autoscaler_is_asked_once_and_the_request_taken_back(nodes: Nodes) -> None:
    nodes.total = {"head": {"CPU": 0}}
    looking = room(configured(autoscale="gpu", evaluators=2))
    assert looking.plan() is None and looking.plan() is None
    assert nodes.asked == [[{"CPU": 0.5, "GPU": 1.0}, {"CPU": 0.5, "GPU": 1.0}, {"CPU": 1.0}]]
    nodes.total["worker"] = {"CPU": 4, "GPU": 2}
    assert looking.plan().evaluators == 2
    looking.give_up()
    assert nodes.asked[1:] == [[]]


def test_without_being_told_to_nothing_is_asked_of_an_autoscaler(nodes: Nodes) -> None:
    nodes.total = {"head": {"CPU": 2}}
    looking = room()
    looking.plan()
    looking.give_up()
    assert nodes.asked == []
