"""Plans against what runs did: the examples of stored walks, and the steps of the presets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from rayfe.config import RenewalConfig, configure
from rayfe.config.presets import PRESETS
from rayfe.run.plan import Sizes, kept_states, plan_of, walk_steps
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store, load_rows

RESULTS = Path(__file__).parents[2] / "analysis" / "results"
MNIST = Sizes(train=60_000, read=60_000, validation=10_000, features=784, examples=70_000, parameters=412_000, head=0.0)


FIVES = Sizes(train=30_596, read=60_000, validation=10_000, features=784, examples=70_000, parameters=707_162, head=0.0)
"""MNIST 0-4 to 5-9. The stored runs did not count draws through the classifier."""
ANIMALS = Sizes(train=4000, read=4000, validation=800, features=3072, examples=9600, parameters=1_000_000, head=0.0)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("mnist-walk-gamma15", MNIST),
        ("mnist-walk-without-renewal", MNIST),
        ("mnist-walk-paper", MNIST),
        ("seek-mnist/1", MNIST),
        ("seek-mnist/2", MNIST),
        ("transfer-mnist/geodesic-32-draws", FIVES),
        ("transfer-cifar/constant-rate", ANIMALS),
    ],
)
def test_planned_examples_are_within_a_fifth_of_those_that_a_run_took(name: str, sizes: Sizes) -> None:
    _, config = stored_config(Store(RESULTS / name))
    rows = load_rows(RESULTS / name)
    for trajectory, start in config.trajectories().items():
        took = rows[rows["trajectory"] == trajectory]
        plan = plan_of(configure(config, steps=int(took["step"].max())), start, sizes)
        assert plan.examples == pytest.approx(float(took["examples"].max()), rel=0.2), trajectory


def test_steps_follow_the_lengths_of_the_stepper() -> None:
    leaps = PRESETS["isoc"]["mnist-walk"]()
    walk = configure(leaps, renewal=RenewalConfig(every=0.6))
    start = next(iter(walk.trajectories().values()))
    assert walk_steps(configure(walk, both_ways=False), start) == 27  # log(7.7 / 0.25) / 0.13 = 26.4
    assert walk_steps(walk, start) == 27 + 27 + 11
    assert walk_steps(leaps, start) == 7 + 27 + 11  # the steps before the leap, the way back and part of it there again
    transfer = PRESETS["transfer"]["fig5-quick"]()
    start = next(iter(transfer.trajectories().values()))
    assert walk_steps(transfer, start) == 18  # 0.001, half as much again each time up to 0.13, then 0.15
    assert walk_steps(configure(transfer, steps=3), start) == 3


def test_the_last_training_of_a_transfer_is_one_more_step() -> None:
    config = PRESETS["transfer"]["fig5-quick"]()
    start = next(iter(config.trajectories().values()))
    none, some = (configure(config, path=dataclasses.replace(config.path, last_epochs=n)) for n in (0.0, 20.0))
    without, with_it = plan_of(none, start, FIVES), plan_of(some, start, FIVES)
    assert with_it.steps == without.steps + 1
    assert with_it.training_examples - without.training_examples == (20 + 5 * config.equilibration.epochs) * FIVES.train


def test_paper_stencil_at_every_step_trains_five_models_a_step() -> None:
    config = configure(PRESETS["isoc"]["mnist-quick"](), stencil="paper", refresh=1)
    start = next(iter(config.trajectories().values()))
    assert plan_of(config, start, MNIST).trainings == 1 + 5 * 13


def test_kept_states_are_at_least_two() -> None:
    config = PRESETS["isoc"]["mnist-quick"]()
    assert kept_states(config, 12) == 13
    assert kept_states(configure(config, keep_states="last"), 12) == 2
    assert kept_states(configure(config, keep_states="1"), 12) == 2
    assert kept_states(configure(config, keep_states="5"), 12) == 5
