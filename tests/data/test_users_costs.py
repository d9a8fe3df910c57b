"""Costs of the user's own: negative, forbidden, or no costs at all."""

from __future__ import annotations

import functools
import sys
import types

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from clouds import assert_marginals, cloud, config
from rayfe.data import exact_transport
from rayfe.data.transport import couple
from rayfe.exceptions import UsageError

SOLVERS = {"exact": None, "sinkhorn": 0.05}


def with_forbidden(price: float, rarity: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """L1 distance, and `price` for pairs that are not allowed: the more, the larger `rarity` is."""
    allowed = np.sin(1000 * (x[:, :1] * 7 + y[:, 1] * 13 + x[:, 2:] * y[:, 0])) > rarity
    return np.where(allowed, np.abs(x[:, None] - y[None]).sum(-1), price)


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("own_costs")
    module.l1 = lambda x, y: np.abs(x[:, None] - y[None]).sum(-1)  # type: ignore[attr-defined]
    module.infinite = lambda x, y: np.full((len(x), len(y)), np.inf)  # type: ignore[attr-defined]
    module.flat = lambda x, y: np.zeros(len(x))  # type: ignore[attr-defined]
    module.gain = lambda x, y: -np.abs(x[:, None] - y[None]).sum(-1)  # type: ignore[attr-defined]
    module.low = lambda x, y: module.l1(x, y) - 50  # type: ignore[attr-defined]
    module.broken = lambda x, y: np.full((len(x), len(y)), np.nan)  # type: ignore[attr-defined]
    module.apart = lambda x, y: np.where((x[:, :1] > 0.3) & (y[:, 0] < 0.7), np.inf, module.l1(x, y))  # type: ignore[attr-defined]
    for name, price, rarity in (("dear", 1e15, 0.5), ("closed", np.inf, 0.5), ("rare", np.inf, 0.8)):
        setattr(module, name, functools.partial(with_forbidden, price, rarity))
    module.words = lambda x, y: np.full((len(x), len(y)), "a")  # type: ignore[attr-defined]
    module.complex = lambda x, y: module.l1(x, y) + 0j  # type: ignore[attr-defined]
    module.tiny = lambda x, y: 1e-30 * module.l1(x, y)  # type: ignore[attr-defined]
    module.huge = lambda x, y: 1e200 * module.l1(x, y)  # type: ignore[attr-defined]
    module.number = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "own_costs", module)


def test_a_cost_of_the_users_own_is_minimised(costs: None) -> None:
    source, target = cloud(30), cloud(30, seed=1)
    coupling = couple(source, target, config(cost="own_costs:l1"), seed=0)
    each = np.abs(source.x[coupling.source] - target.x[coupling.target]).sum(-1)
    assert coupling.report["cost"] == pytest.approx(float(each.mean()), rel=1e-5)


@pytest.mark.parametrize("dense", [True, False])
@pytest.mark.parametrize("cost", ["dear", "closed"])
def test_forbidden_pairs_spoil_no_other(cost: str, dense: bool, costs: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A price of 1e15 is no yardstick for the rest: potentials of that size would hide differences of 1."""
    if not dense:
        monkeypatch.setattr(exact_transport, "DENSE_LIMIT", 500)
    source, target = cloud(150), cloud(150, shift=0.2, seed=1)
    price = with_forbidden(np.inf, 0.5, source.x, target.x)
    rows, columns = linear_sum_assignment(price)
    least = float(price[rows, columns].mean())
    exact = couple(source, target, config(cost=f"own_costs:{cost}"), seed=0).report
    assert exact["cost"] == pytest.approx(least, rel=2e-4)
    assert exact["gap"] <= 1e-4
    assert_marginals(couple(source, target, config(cost=f"own_costs:{cost}", regularization=0.05), seed=0), 150, 150)
    entropic = couple(source, target, config(cost=f"own_costs:{cost}", regularization=0.05), seed=0).report
    assert least <= entropic["cost"] < 1.5 * least


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
def test_a_constant_in_the_cost_changes_nothing(solver: str, costs: None) -> None:
    source, target = cloud(60), cloud(50, seed=1)
    high, low = (
        couple(source, target, config(regularization=SOLVERS[solver], cost=f"own_costs:{name}"), seed=0).report
        for name in ("l1", "low")
    )
    tolerance = 1e-5 if solver == "exact" else 0.05
    assert low["cost"] + 50 == pytest.approx(high["cost"], abs=tolerance)


def test_a_unit_of_the_cost_changes_nothing(costs: None) -> None:
    """POT's tolerances are absolute: costs of 1e-30 were all the same to it."""
    source, target = cloud(60), cloud(60, seed=1)
    usual, tiny = (couple(source, target, config(cost=f"own_costs:{name}"), seed=0).report for name in ("l1", "tiny"))
    assert tiny["cost"] == pytest.approx(1e-30 * usual["cost"], rel=1e-5)
    assert tiny["gap"] <= 1e-6


@pytest.mark.parametrize(
    ("options", "field", "hint"),
    [
        ({"cost": "own_costs:infinite"}, "path.cost", "infinite between some example and all partners"),
        ({"cost": "own_costs:flat"}, "path.cost", "shape"),
        ({"cost": "own_costs:number"}, "path.cost", "not a function"),
        ({"cost": "own_costs:missing"}, "path.cost", "cannot be imported"),
        ({"cost": "l2"}, "path.cost", "squared-l2"),
        ({"cost": ".own:l1"}, "path.cost", "is not loaded"),
        ({"cost": "own_costs:words"}, "path.cost", "holds <U1, return real numbers"),
        ({"cost": "own_costs:complex"}, "path.cost", "holds complex64"),
        ({"cost": "own_costs:huge"}, "path.cost", "infinite between some example"),
        ({"cost": "own_costs:huge", "regularization": 0.05}, "path.regularization", "forbidden; give"),
        ({"cost": "own_costs:broken"}, "path.cost", "NaN"),
        ({"cost": "own_costs:rare", "regularization": 0.05}, "path.regularization", "forbidden; give"),
        ({"cost": "own_costs:apart"}, "path.cost", "infinite for some pair of every coupling"),
        ({"regularization": 1e-4}, "path.regularization", "give a larger one, e.g. 0.0004,"),
    ],
)
def test_what_cannot_be_coupled_is_refused(costs: None, options: dict[str, object], field: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint) as refused:
        couple(cloud(40), cloud(40, seed=1), config(**options), seed=0)
    assert refused.value.name == field
