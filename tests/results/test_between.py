"""A model between stored ones: which rows it is made of, with which shares, and where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rayfe.config import RunConfig, configure
from rayfe.exceptions import UsageError
from rayfe.records import Commit, Kind, Leg
from rayfe.results.between import Between, find_between
from rayfe.results.stored_model import find_model
from rayfe.storage.store import Store
from stored_steps import step_record

NAME, WALK = "lam1-gamma4-seed0", configure(lam=(1.0,), gamma=(4.0,))


def walked(folder: Path, *rows: dict[str, Any]) -> Store:
    """A walk whose weights `a` are a cubic in log lam plus the row's `branch`, and whose variances are 1 but for the row's own."""
    store = Store(folder)
    for step, row in enumerate(rows):
        lam, branch = row["lam"], row.pop("branch", 0.0)
        state = {"a": np.array([cubic(lam) + branch]), "n.running_var": np.array([row.pop("variance", 1.0)])}
        known = {"gamma": 4.0, "R": 10.0 + branch, "D": 20.0, "C": 0.1}
        record = step_record(step, trajectory=NAME, **known | row)
        store.commit(NAME, Commit(record=record, readings=(), state=state, carry=None))
    return store


def cubic(lam: float) -> float:
    x = np.log(lam)
    return 1.0 + x - 2.0 * x**2 + 3.0 * x**3


def found(store: Store, lam: float, config: RunConfig = WALK) -> Between:
    return find_between(store, config, NAME, lam)


def steps(between: Between) -> list[int]:
    return [row.step for row in between.rows]


def test_a_cubic_goes_through_two_rows_on_each_side(tmp_path: Path) -> None:
    store = walked(tmp_path, *({"lam": lam} for lam in (1.0, 1.2, 1.5, 1.7, 2.1)))
    for lam, around in ((1.3, [0, 1, 2, 3]), (1.6, [1, 2, 3, 4])):
        between = found(store, lam)
        assert steps(between) == around
        assert between.weights(store)["a"] == pytest.approx(cubic(lam), rel=1e-12)
        assert between.gamma == pytest.approx(4.0) and sum(between.shares) == pytest.approx(1.0)


def test_no_cubic_goes_through_steps_of_very_different_lengths(tmp_path: Path) -> None:
    """The last step to lam_end is what is left: the row before it would have a share of many times the model."""
    store = walked(tmp_path, *({"lam": lam} for lam in (1.0, 1.2, 1.44, 1.45)))
    assert steps(found(store, 1.3)) == [1, 2]
    assert steps(found(walked(tmp_path / "even", *({"lam": lam} for lam in (1.0, 1.2, 1.44, 1.6))), 1.3)) == [0, 1, 2, 3]


def test_at_the_ends_of_a_way_it_is_a_line_through_one_row_on_each_side(tmp_path: Path) -> None:
    store = walked(tmp_path, *({"lam": lam} for lam in (1.0, 1.2, 1.5)))
    between = found(store, 1.2**0.25)
    assert (steps(between), between.shares) == ([0, 1], pytest.approx((0.75, 0.25)))
    assert between.weights(store)["a"] == pytest.approx(0.75 * cubic(1.0) + 0.25 * cubic(1.2))


@pytest.mark.parametrize("step", range(5))
def test_at_the_lam_of_a_row_it_is_the_stored_model(tmp_path: Path, step: int) -> None:
    store = walked(tmp_path, *({"lam": lam} for lam in (1.0, 1.2, 1.5, 1.7, 2.1)))
    row = store.rows(NAME)[step]
    stored, weights = store.state(row), found(store, row.lam).weights(store)
    assert all((weights[name] == value).all() and weights[name].dtype == value.dtype for name, value in stored.items())


def test_a_variance_is_never_below_all_that_it_is_made_of(tmp_path: Path) -> None:
    rows = ({"lam": lam, "variance": variance} for lam, variance in ((1.0, 90.0), (1.2, 0.1), (1.5, 0.2), (1.7, 90.0)))
    store = walked(tmp_path, *rows)
    assert found(store, 1.35).weights(store)["n.running_var"] == pytest.approx(0.1)


@pytest.mark.parametrize("kind", [Kind.RENEWAL, Kind.LEAP])
def test_no_model_is_made_of_two_branches(tmp_path: Path, kind: Kind) -> None:
    there = [{"lam": lam} for lam in (1.0, 1.2, 1.5, 1.7)]
    anew = {"kind": kind, "branch": 5.0, "lam": 1.7 if kind is Kind.RENEWAL else 2.6}
    store = walked(tmp_path, *there, anew, *({"lam": lam, "branch": 5.0} for lam in (2.9, 3.2)))
    assert steps(found(store, 1.6)) == [2, 3]
    assert steps(found(store, 2.8)) == [4, 5]
    if kind is Kind.LEAP:
        with pytest.raises(UsageError, match=r"lam=2.0: .* has stored steps beside it only in lam 1 to 1.7, 2.6 to 3.2"):
            found(store, 2.0)


@pytest.mark.parametrize(("branch", "lower"), [(-1.0, [5, 6, 7, 8]), (1.0, [0, 1, 2, 3])])
def test_of_two_ways_it_is_made_of_the_lower_one(tmp_path: Path, branch: float, lower: list[int]) -> None:
    there = [{"lam": lam} for lam in (1.0, 1.2, 1.5, 1.7, 2.0)]
    back = [{"lam": lam, "leg": Leg.BACK, "branch": branch} for lam in (1.8, 1.6, 1.3, 1.1)]
    store = walked(tmp_path, *there, *back)
    assert steps(found(store, 1.4)) == lower


def test_only_rows_whose_weights_are_kept_have_a_model_between_them(tmp_path: Path) -> None:
    store = walked(tmp_path, *({"lam": lam} for lam in (1.0, 1.2, 1.5, 1.7)))
    (tmp_path / f"states/{NAME}/1.safetensors").unlink()
    assert steps(found(store, 1.6)) == [2, 3]
    with pytest.raises(UsageError, match="lam=1.3: .* only in lam 1.5 to 1.7; give one there, or a step"):
        found(store, 1.3)


def test_what_has_not_been_read_of_it_is_null(tmp_path: Path) -> None:
    record = found(walked(tmp_path, {"lam": 1.0}, {"lam": 1.5}), 1.2).record
    assert (record.lam, record.C, record.state_sha256, record.accepted) == (1.2, None, None, False)


@pytest.mark.parametrize(
    ("config", "fix"),
    [
        (
            configure(process="conditioned", lam=(1.0, 2.0), gamma=(4.0,)),
            "is for walks, not for conditioned models; name a step",
        ),
        (configure(seek="C=0.1 R=12", lam=(1.0,), gamma=(4.0,)), "is for walks, not for the way to a wanted point"),
    ],
)
def test_what_is_no_walk_has_none(tmp_path: Path, config: RunConfig, fix: str) -> None:
    with pytest.raises(UsageError, match=f"lam=1.2: {fix}"):
        found(walked(tmp_path, {"lam": 1.0}, {"lam": 1.5}), 1.2, config)


@pytest.mark.parametrize(
    ("step", "lam", "fix"),
    [
        (1, 1.2, "one of them only"),
        (None, -1.0, "must be a positive number"),
        (None, float("nan"), "must be a positive number"),
    ],
)
def test_bad_wishes_are_one_line(tmp_path: Path, step: int | None, lam: float, fix: str) -> None:
    with pytest.raises(UsageError, match=fix):
        find_model(walked(tmp_path, {"lam": 1.0}, {"lam": 1.5}), WALK, None, step, None, lam)


def test_at_the_lam_of_a_step_it_is_that_step(tmp_path: Path) -> None:
    store = walked(tmp_path, *({"lam": lam} for lam in (1.0, 1.2, 1.44)))
    assert find_model(store, WALK, None, None, None, 1.2) == store.rows(NAME)[1]
