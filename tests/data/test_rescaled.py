"""Numbers on any scale: brought to [0, 1] for training, and given back by stored and exported models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import rayfe
from rayfe.cli.command import main
from rayfe.config import ModelConfig
from rayfe.data.fingerprint import fingerprint
from rayfe.data.npz import load_npz, npz_bytes
from rayfe.data.paths import PathData
from rayfe.exceptions import UsageError

RNG = np.random.default_rng(0)
TABLE = np.stack([RNG.normal(5, 2, 200), RNG.normal(-300, 40, 200), np.full(200, 7.0)], 1)
BYTES = RNG.integers(0, 256, (200, 4, 4), np.uint8)
Y = np.arange(200) % 2


def test_each_feature_of_a_table_takes_its_own_range() -> None:
    made = rayfe.dataset(TABLE, Y, rescale=True)
    assert made.scale is not None
    np.testing.assert_allclose(made.train.x[:, :2].min(0), 0, atol=1e-6)
    np.testing.assert_allclose(made.train.x[:, :2].max(0), 1, atol=1e-6)
    assert not made.train.x[:, 2].any()  # a feature without width
    assert 0 <= made.validation.x.min() <= made.validation.x.max() <= 1
    back = made.scale.low + (made.scale.high - made.scale.low) * made.train.x.astype(float)
    known = {tuple(row) for row in TABLE.round(3).tolist()}
    assert all(tuple(row) in known for row in back.round(3).tolist())


def test_images_take_one_range_and_validation_is_clipped_to_it() -> None:
    made = rayfe.dataset(BYTES * 2.0 - 9, Y, validation=(BYTES * 3.0 - 9, Y), rescale=True)
    np.testing.assert_allclose(made.train.x[:, 0], BYTES / 255, atol=1e-6)
    np.testing.assert_allclose(made.validation.x[:, 0], np.minimum(BYTES * 1.5 / 255, 1), atol=1e-6)


@pytest.mark.parametrize("rescale", [True, (0, 400), None])
def test_the_runs_copy_keeps_the_scale(rescale: object, tmp_path: Path) -> None:
    made = rayfe.dataset(BYTES, Y, rescale=rescale, name="own")  # type: ignore[arg-type]
    (tmp_path / "own.npz").write_bytes(npz_bytes(made))
    again = load_npz(str(tmp_path / "own.npz"), name="own")
    np.testing.assert_array_equal(again.train.x, made.train.x)
    assert (again.scale and again.scale.ends()) == (made.scale and made.scale.ends())
    with_more = rayfe.dataset(tmp_path / "own.npz")
    assert (with_more.scale and with_more.scale.ends()) == (made.scale and made.scale.ends())
    if rescale is not None:
        with pytest.raises(UsageError, match="was rescaled before"):
            rayfe.dataset(tmp_path / "own.npz", rescale=True)


def test_another_scale_is_another_data_set() -> None:
    """A run is found by its data; its models must not speak in other units."""
    made = rayfe.dataset(BYTES, Y, rescale=(0, 255))
    other = replace(rayfe.dataset(BYTES * 2.0, Y, rescale=(0, 510)), name=made.name)
    np.testing.assert_array_equal(other.train.x, made.train.x)
    one, two, none = (fingerprint(PathData(kind="still", source=end)) for end in (made, other, replace(made, scale=None)))
    assert len({one, two, none}) == 3


def test_loaded_and_exported_models_speak_in_the_units_of_the_data(tmp_path: Path) -> None:
    made = rayfe.dataset(TABLE, Y, rescale=True)
    run = rayfe.walk(
        "digits-smoke", data=made, model=ModelConfig(hidden=4, latent=2), steps=1, out=tmp_path / "run", quiet=True
    )
    model = run.model(0)
    plain = model.model
    x = torch.tensor(TABLE, dtype=torch.float32)
    low, high = (torch.tensor(end, dtype=torch.float32) for end in (made.scale.low, made.scale.high))
    inside = ((x - low) / torch.where(high > low, high - low, torch.inf)).clamp(0, 1)
    with torch.no_grad():
        mean = model.encode(x)[0]
        torch.testing.assert_close(mean, plain.encode(inside)[0])
        torch.testing.assert_close(model.decode(mean), low + (high - low) * plain.decode(mean))
        loaded = rayfe.load_model(tmp_path / "run", run.trajectories[0], 0)
        torch.testing.assert_close(loaded.classify(mean), plain.classify(mean))
        assert main(["export", str(tmp_path / "run"), "--step", "0", "--to", str(tmp_path / "own.pt2")]) == 0
        exported = torch.export.load(tmp_path / "own.pt2").module()(x)
    torch.testing.assert_close(exported["mean"], mean)
    torch.testing.assert_close(exported["reconstruction"], model.decode(mean))
    assert "in the units that the data came in" in (tmp_path / "own.pt2.md").read_text()


def test_both_ends_of_a_path_are_in_the_same_units(tmp_path: Path) -> None:
    source = rayfe.dataset(TABLE, Y, rescale=True, name="a")
    target = rayfe.dataset(TABLE, Y, rescale=([0, -500, 0], [10, 0, 10]), name="b")
    with pytest.raises(UsageError, match="rescaled otherwise than the source"):
        rayfe.transfer(data=source, target=target, out=tmp_path / "run", quiet=True)
