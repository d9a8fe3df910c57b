"""The control split: apart from training, evenly from all classes, and what a walk on real images holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig, PathConfig, configure
from rayfe.data.datasets import load
from rayfe.data.examples import Examples, set_apart
from rayfe.data.paths import CONTROL_SHARE, coupled, load_path
from rayfe.exceptions import UsageError
from rayfe.records import Split
from rayfe.trajectory.driver import attempted
from rayfe.trajectory.trajectory import Trajectory

CONFIG = configure(
    lam=(1.0,),
    steps=2,
    tolerance=0.05,
    threads=1,
    hold="control",
    data=DataConfig(name="digits"),
    model=ModelConfig(hidden=32, latent=4),
    measure=MeasureConfig(head_draws=64),
    equilibration=EquilibrationConfig(first_epochs=30, first_learning_rate=1e-2, epochs=5, learning_rate=5e-3, batch=64),
)


@given(st.integers(1, 5), st.integers(2, 60), st.floats(0.02, 0.5))
def test_control_images_are_a_part_of_each_class_and_no_training_image(classes: int, each: int, share: float) -> None:
    y = np.tile(np.arange(classes), each)
    examples = Examples(x=np.arange(len(y), dtype=np.float32)[:, None], y=y)
    if int(each * share) == 0:
        with pytest.raises(UsageError, match="leave no control image"):
            set_apart(examples, share)
        return
    train, control = set_apart(examples, share)
    assert sorted([*train.x[:, 0], *control.x[:, 0]]) == list(range(len(y)))
    assert not set(train.x[:, 0]) & set(control.x[:, 0])
    assert set(np.bincount(control.y, minlength=classes)) == {int(each * share)}


def test_the_backend_trains_on_what_is_left_and_validates_on_the_same_images_as_ever() -> None:
    data = load(CONFIG.data)
    paths = InlineBackend(CONFIG, data)._paths
    n = len(data.train.y)
    assert len(paths[Split.TRAIN]) + len(paths[Split.CONTROL]) == n
    assert len(paths[Split.CONTROL]) == pytest.approx(0.1 * n, abs=10)
    assert len(paths[Split.VALIDATION]) == len(data.validation.y)
    assert Split.CONTROL not in InlineBackend(configure(CONFIG, hold="training"), data)._paths


def test_a_part_without_an_image_is_refused_before_anything_runs() -> None:
    few = configure(CONFIG, data=DataConfig(name="digits", train_size=20))
    with pytest.raises(UsageError, match="train_size.: 20}: leave no control image"):
        load_path(few)


def test_a_walk_on_digits_holds_the_loss_of_the_control_images() -> None:
    (start,) = CONFIG.trajectories().values()
    trajectory, backend = Trajectory(CONFIG, start, [], state=None, carry={}), InlineBackend(CONFIG, load(CONFIG.data))
    while trajectory.finished is None:
        commit = attempted(trajectory, backend)
        trajectory.committed(commit.record, commit)
    rows = trajectory.accepted
    assert len(rows) == 3
    for row in rows:
        assert row.held_on == "control"
        assert row.control_C / rows[0].control_C == pytest.approx(1.0, abs=0.05)
        assert row.control_C > row.C
    for row in rows[1:]:
        assert abs(row.C_before_settle / row.C_settle_target - 1.0) > 0.0


def test_a_transfer_by_displacement_couples_the_control_images_apart_and_holds_their_loss() -> None:
    config = configure(
        CONFIG,
        process="constant-rate",
        lam_dot=-0.5,
        step_length=0.1,
        step_length_first=0.05,
        data=DataConfig(name="digits:0-4"),
        path=PathConfig(target="digits:5-9", kind="displacement", pairing="order", within_pairs=True),
    )
    data = load_path(config)
    assert data.target is not None
    data = coupled(data, config, lambda text: None)
    assert data.couplings is not None
    parts = {split: coupling.source for split, coupling in data.couplings.items()}
    assert set(parts) == {Split.TRAIN, Split.CONTROL, Split.VALIDATION}
    kept, control = set_apart(data.source.train, CONTROL_SHARE)
    assert set(parts[Split.TRAIN]) == set(range(len(kept.y)))
    assert set(parts[Split.CONTROL]) == set(range(len(control.y)))

    (start,) = config.trajectories().values()
    trajectory, backend = Trajectory(config, start, [], state=None, carry={}), InlineBackend(config, data)
    while len(trajectory.accepted) < 3 and trajectory.finished is None:
        commit = attempted(trajectory, backend)
        trajectory.committed(commit.record, commit)
    rows = trajectory.accepted
    assert [row.held_on for row in rows] == ["control"] * 3
    assert rows[-1].t > rows[1].t == 0.05
    assert [row.control_C / rows[0].control_C for row in rows] == pytest.approx([1.0] * 3, abs=0.05)
