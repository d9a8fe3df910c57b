"""What fits is known before anything starts, and what does not is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayfe.config import RunConfig, configure
from rayfe.data.paths import load_path
from rayfe.exceptions import UsageError
from rayfe.run.choices import devices, require_possible, settled
from rayfe.run.runner import trains_on_gpus
from rayfe.storage.store import Store
from rayfe.training.machine import Offer

pytest.importorskip("ray")
CONFIG = configure(gamma=(4.0, 5.0, 6.0), steps=3)


def plan(config: RunConfig, *nodes: dict[str, float], trajectories: int = 3) -> Any:
    from rayfe.on_ray.capacity import preflight

    return preflight(config, trajectories=trajectories, nodes=nodes)


def configured(**fields: Any) -> RunConfig:
    return configure(CONFIG, **fields)


def test_an_evaluator_takes_a_cpu_for_each_thread_and_leaves_room_for_trials() -> None:
    found = plan(CONFIG, {"CPU": 2})
    assert (found.evaluators, found.trials, found.unit.gpus) == (1, 3, 0.0)
    assert found.unit.resources == {"CPU": 1.6}
    assert plan(configured(threads=1), {"CPU": 2}).evaluators == 2
    assert plan(configured(threads=4), {"CPU": 16}, {"CPU": 6}, trajectories=99).evaluators == 5


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("cpus", [1, 2, 5, 16])
@pytest.mark.parametrize("gpus", [0, 2])
def test_threads_are_not_more_than_cpus_and_what_is_planned_fits(threads: int, cpus: int, gpus: int) -> None:
    from rayfe.on_ray.capacity import sliver

    found = plan(configured(threads=threads), {"CPU": cpus, "GPU": gpus}, trajectories=99)
    if not gpus:
        assert found.evaluators * threads <= max(cpus, threads)
    assert found.evaluators * found.unit.resources["CPU"] + found.trials * sliver(CONFIG) <= cpus + 1e-9


def test_where_no_machine_has_a_cpu_for_each_thread_an_evaluator_takes_the_largest() -> None:
    assert plan(CONFIG, {"CPU": 0}, {"CPU": 1}, {"CPU": 1}).evaluators == 2
    assert plan(configured(threads=8), {"CPU": 2}, {"CPU": 4}).evaluators == 1


def test_one_evaluator_a_gpu() -> None:
    found = plan(CONFIG, {"CPU": 8}, {"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 2}, trajectories=9)
    assert (found.evaluators, found.unit.gpus) == (4, 1.0)


def test_one_cpu_is_enough_beside_one_gpu() -> None:
    found = plan(CONFIG, {"CPU": 1, "GPU": 1})
    assert (found.evaluators, found.trials) == (1, 3)


def test_a_cluster_without_cpus_is_refused_with_the_reason() -> None:
    with pytest.raises(UsageError, match=r"there is room for 0 \(2 CPU each; there are 0 CPU\)"):
        plan(CONFIG, {"CPU": 0})


def test_neighbours_side_by_side_need_an_evaluator_each() -> None:
    assert plan(configured(replicas_per_evaluator=1), {"CPU": 16}, trajectories=1).evaluators == 3
    assert plan(configured(replicas_per_evaluator=2), {"CPU": 16}, trajectories=1).evaluators == 2
    assert plan(configured(replicas_per_evaluator="all"), {"CPU": 16}, trajectories=1).evaluators == 1


def test_isolated_trajectories_run_as_many_at_a_time_as_have_bundles() -> None:
    config = configured(placement="isolated", replicas_per_evaluator=1)
    assert plan(config, {"CPU": 12}).trials == 2
    assert plan(config, {"CPU": 6}).trials == 1


def test_isolation_without_room_for_one_trajectory_is_refused() -> None:
    config = configured(placement="isolated", replicas_per_evaluator=1)
    with pytest.raises(UsageError, match=r"placement='isolated': a trajectory needs 3 evaluators of its own and there are 2"):
        plan(config, {"CPU": 4})


def test_more_evaluators_than_fit_are_refused_with_what_fits() -> None:
    with pytest.raises(UsageError, match=r"evaluators=2: there is room for 1 "):
        plan(configured(evaluators=2), {"CPU": 2}, trajectories=1)


def test_more_train_workers_than_fit_are_refused() -> None:
    with pytest.raises(UsageError, match=r"train_workers=4: .*give at most 2"):
        plan(configured(train_workers=4), {"CPU": 4}, trajectories=1)
    with pytest.raises(UsageError, match=r"train_workers=4: .*give at most 2"):
        plan(configured(train_workers=4), {"CPU": 4, "GPU": 2.9}, trajectories=1)


def test_a_cpu_cluster_is_refused_where_gpus_are_asked_for() -> None:
    with pytest.raises(UsageError, match=r"room for 0 \(0.5 CPU and 1 GPU each; there are 8 CPU and 0 GPU\)"):
        plan(configured(autoscale="gpu", backend="ray"), {"CPU": 8})


@pytest.mark.parametrize(
    "backend, cluster, here, gpus",
    [
        ("ray", [{"CPU": 0}, {"CPU": 8, "GPU": 1}], False, True),
        ("ray", [{"CPU": 8}], True, False),
        ("inline", [{"CPU": 8, "GPU": 1}], False, False),
        ("inline", [{"CPU": 8}], True, True),
    ],
)
def test_whether_a_run_trains_on_gpus_is_asked_where_it_trains(
    monkeypatch: pytest.MonkeyPatch, backend: str, cluster: list[dict[str, float]], here: bool, gpus: bool
) -> None:
    monkeypatch.setattr("rayfe.on_ray.session.nodes", lambda: cluster)
    monkeypatch.setattr("torch.cuda.is_available", lambda: here)
    assert trains_on_gpus(configure(backend=backend)) == gpus


@pytest.mark.parametrize("gpus, way", [(1.0, "never"), (0.0, "onednn")])
def test_a_head_without_gpus_chooses_for_machines_that_have_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, gpus: float, way: str
) -> None:
    monkeypatch.setattr("rayfe.on_ray.session.nodes", lambda: [{"CPU": 8, "GPU": gpus}])
    monkeypatch.setattr("rayfe.training.machine.onednn_is_accurate", lambda: True)
    fields = {"data.name": "digits", "model.hidden": 8, "equilibration.first_epochs": 1e3, "equilibration.epochs": 1.0}
    config = configure(backend="ray", **fields)
    chosen = settled(config, Store(str(tmp_path / "run")), load_path(config), pytest.fail)
    assert (chosen.equilibration.compile, chosen.service.replicas_per_evaluator) == (way, "all")


@pytest.mark.parametrize(
    "nodes, fields, slots",
    [
        ([{"CPU": 8}], {}, 1),
        ([{"CPU": 8, "GPU": 1}], {}, 64),
        ([{"CPU": 8, "GPU": 2}, {"CPU": 8}], {}, 50),
        ([{"CPU": 8, "GPU": 4}], {"evaluators": 2}, 50),
        ([{"CPU": 8, "GPU": 8}], {}, 13),
        ([{"CPU": 8}], {"autoscale": "gpu", "evaluators": 2}, 64),
        ([{"CPU": 8, "GPU": 2}], {"placement": "isolated"}, 1),
        ([{"CPU": 8, "GPU": 2}], {"replicas_per_evaluator": 1}, 1),
        ([{"CPU": 8, "GPU": 2}], {"trajectories_per_evaluator": 7}, 7),
    ],
)
def test_slots_that_are_left_to_the_machine_follow_from_its_gpus(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nodes: list[dict[str, float]], fields: dict[str, Any], slots: int
) -> None:
    monkeypatch.setattr("rayfe.on_ray.session.nodes", lambda: nodes)
    small = {"data.name": "digits", "model.hidden": 8, "equilibration.compile": "never"}
    config = configure(seed=tuple(range(100)), backend="ray", **small, **fields)
    chosen = settled(config, Store(str(tmp_path / "run")), load_path(config), pytest.fail)
    assert chosen.service.slots == slots


def test_evaluators_with_several_places_need_fewer_and_their_trials_fit_beside_them() -> None:
    from rayfe.on_ray.capacity import preflight, sliver

    for slots, evaluators, trials in ((1, 4, 10), (4, 4, 22), (16, 4, 64), (64, 1, 64)):
        config = configured(trajectories_per_evaluator=slots)
        found = preflight(config, trajectories=64, nodes=[{"CPU": 2, "GPU": 2}] * 2)
        assert (found.evaluators, found.trials) == (evaluators, trials)
        assert found.evaluators * found.unit.resources["CPU"] + found.trials * sliver(config) <= 4


BOTH = Offer(host="a", compiles=True, onednn=True)


@pytest.mark.parametrize(
    "machines, way, told",
    [
        ([BOTH, BOTH], "always", "updates are compiled"),
        ([BOTH, Offer(host="b", compiles=False, onednn=True)], "onednn", "no C++ compiler on b: "),
        ([BOTH, Offer(host="b", compiles=True, onednn=False)], "update", "products are not by oneDNN, which rounds on b"),
        ([], "never", "no machine for evaluators is up yet: "),
    ],
)
def test_a_run_is_computed_as_all_machines_can_that_train_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machines: list[Offer], way: str, told: str
) -> None:
    monkeypatch.setattr("rayfe.on_ray.session.nodes", lambda: [{"CPU": 8}])
    monkeypatch.setattr("rayfe.run.choices.offers", lambda config: machines)
    fields = {"data.name": "digits", "model.hidden": 8, "equilibration.first_epochs": 1e4, "equilibration.epochs": 1.0}
    said: list[str] = []
    config = configure(backend="ray", **fields)
    chosen = settled(config, Store(str(tmp_path / "run")), load_path(config), said.append)
    assert chosen.equilibration.compile == way and said[0].startswith(told)


def test_a_machine_that_cannot_follow_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayfe.on_ray.session.nodes", lambda: [{"CPU": 8}])
    monkeypatch.setattr("rayfe.run.choices.offers", lambda config: [BOTH, Offer(host="b", compiles=False, onednn=False)])
    config = configure(backend="ray", **{"data.name": "digits"})
    for how, why in (("update", "install g[+][+] on b; "), ("onednn", "as float32 on the CPU of b; ")):
        with pytest.raises(UsageError, match=why):
            require_possible(configure(config, equilibration={"compile": how}), load_path(config))


def test_an_update_that_is_no_single_piece_of_code_with_a_marginal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayfe.run.choices.offers", lambda config: [BOTH])
    monkeypatch.setattr("rayfe.training.update.why_not_compiled", lambda model, x, y: "its layers change")
    config = configure(**{"data.name": "digits", "equilibration.compile": "update"})
    require_possible(config, load_path(config))
    with pytest.raises(UsageError, match="the update of mlp, marginal vamp cannot be compiled as a whole .its layers change"):
        require_possible(configure(config, model={"marginal": "vamp"}), load_path(config))


@pytest.mark.parametrize(
    "cluster, found",
    [
        ([{"CPU": 8}], ["cpu"]),
        ([{"CPU": 8}, {"GPU": 1, "accelerator_type:H200": 1}, {"GPU": 2, "accelerator_type:A100": 1}], ["A100", "H200"]),
        ([{"CPU": 8, "GPU": 1}], ["gpu"]),
    ],
)
def test_the_kinds_of_devices_are_those_of_the_evaluators(
    monkeypatch: pytest.MonkeyPatch, cluster: list[dict[str, float]], found: list[str]
) -> None:
    monkeypatch.setattr("rayfe.on_ray.session.nodes", lambda: cluster)
    monkeypatch.setattr("rayfe.on_ray.session.elsewhere", lambda: True)
    assert devices(configure(backend="ray")) == found


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
    assert looking.plan().evaluators == 3
    del nodes.total["worker"]
    assert looking.plan().evaluators == 1


def test_what_others_use_is_not_counted_on(nodes: Nodes) -> None:
    nodes.total, nodes.free = {"head": {"CPU": 8}}, {"head": {"CPU": 5.5}}
    assert room().plan().evaluators == 2


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
    assert looking.plan().evaluators == 2


def test_a_cluster_that_will_never_do_is_refused_at_once(nodes: Nodes) -> None:
    nodes.total = {"head": {"CPU": 0}}
    with pytest.raises(UsageError, match="room for 0"):
        room().plan()


def test_evaluators_asked_for_that_have_gone_are_not_missed_later(nodes: Nodes) -> None:
    nodes.total = {"head": {"CPU": 2}, "worker": {"CPU": 4}}
    looking = room(configured(evaluators=3))
    assert looking.plan().evaluators == 3
    del nodes.total["worker"]
    assert looking.plan().evaluators == 1


def test_the_autoscaler_is_asked_once_and_the_request_taken_back(nodes: Nodes) -> None:
    nodes.total = {"head": {"CPU": 0}}
    looking = room(configured(autoscale="gpu", evaluators=2))
    assert looking.plan() is None and looking.plan() is None
    assert nodes.asked == [[{"CPU": 0.1, "GPU": 1}] * 2 + [{"CPU": 1.0}]]
    nodes.total["worker"] = {"CPU": 4, "GPU": 2}
    assert looking.plan().evaluators == 2
    looking.give_up()
    assert nodes.asked[1:] == [[]]


def test_the_autoscaler_is_asked_for_as_many_machines_as_share_a_training(nodes: Nodes) -> None:
    nodes.total = {"head": {"CPU": 0}}
    assert room(configured(autoscale="gpu", train_workers=4), trajectories=1).plan() is None
    assert len(nodes.asked[0]) == 4 + 1
    nodes.total["worker"] = {"CPU": 8, "GPU": 4}
    assert room(configured(autoscale="gpu", train_workers=4), trajectories=1).plan().room == 4


def test_without_being_told_to_nothing_is_asked_of_an_autoscaler(nodes: Nodes) -> None:
    nodes.total = {"head": {"CPU": 2}}
    looking = room()
    looking.plan()
    looking.give_up()
    assert nodes.asked == []
