"""Column generation: the least cost without the whole cost matrix, and a bound that proves it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayfe.data import exact_transport
from rayfe.data import transport_costs as costs_module
from rayfe.data.exact_transport import Optimal, optimal
from rayfe.data.transport_costs import Costs
from rayfe.exceptions import UsageError


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Problems of some hundred pairs are large already, and blocks have some rows."""
    monkeypatch.setattr(exact_transport, "DENSE_LIMIT", 60)
    monkeypatch.setattr(costs_module, "BLOCK", 200)


def problem(n: int, m: int, seed: int, *, features: int = 3, function=None) -> tuple[Costs, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    unit = math.lcm(n, m)
    x, y = rng.random((n, features), np.float32), rng.random((m, features), np.float32) + np.float32(0.2)
    return Costs(x, y, function), np.full(n, unit // n), np.full(m, unit // m)


def solved(costs: Costs, a: np.ndarray, b: np.ndarray) -> tuple[Optimal, float]:
    found = optimal(costs, a, b, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(np.bincount(found.source, found.units, len(a)), a)
    np.testing.assert_array_equal(np.bincount(found.target, found.units, len(b)), b)
    return found, float(costs.of_pairs(found.source, found.target) @ found.units / a.sum())


def least(costs: Costs, a: np.ndarray, b: np.ndarray) -> float:
    """By POT with all pairs at once."""
    import ot

    everything = np.stack([costs.of_pairs(np.full(len(b), i), np.arange(len(b))) for i in range(len(a))])
    return float(ot.emd2(a / a.sum(), b / b.sum(), everything))


@settings(max_examples=40)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 10))
def test_the_cost_is_the_least_and_few_atoms_carry_it(n: int, m: int, seed: int) -> None:
    costs, a, b = problem(n, m, seed)
    found, cost = solved(costs, a, b)
    assert cost == pytest.approx(least(costs, a, b), rel=2 * exact_transport.GAP)
    assert len(found.units) <= n + m - 1
    assert (found.units > 0).all()


@pytest.mark.parametrize(("n", "m"), [(120, 120), (130, 70)])
def test_the_potentials_prove_it(n: int, m: int) -> None:
    """Any potentials with f_i + g_j <= c_ij bound the least cost from below, so the gap can be checked from outside."""
    costs, a, b = problem(n, m, 0)
    found, cost = solved(costs, a, b)
    reduced = costs.between(np.arange(n)) - found.f[:, None] - found.g
    lower = float(a @ (found.f + np.minimum(reduced.min(1), 0)) + b @ found.g) / a.sum()
    assert lower <= least(costs, a, b) * (1 + 1e-6)
    assert cost - lower <= (found.gap + 1e-6) * cost
    assert found.gap <= exact_transport.GAP
    assert found.rounds >= 1


def test_only_a_few_of_the_pairs_reach_the_simplex(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_transport, "NEAREST", 3)
    sizes = []
    simplex = exact_transport._simplex
    monkeypatch.setattr(
        exact_transport, "_simplex", lambda cost, *rest: sizes.append((cost.shape, cost.size)) or simplex(cost, *rest)
    )
    costs, a, b = problem(400, 400, 1)
    _, cost = solved(costs, a, b)
    assert cost == pytest.approx(least(costs, a, b), rel=2 * exact_transport.GAP)
    assert max(size for shape, size in sizes if shape == (400, 400)) < 0.1 * 400 * 400


def test_a_cost_of_the_users_own_may_be_negative() -> None:
    gain = problem(50, 40, 0, function=lambda x, y: -np.abs(x[:, None] - y[None]).sum(-1))
    _, cost = solved(*gain)
    assert cost == pytest.approx(least(*gain), rel=2 * exact_transport.GAP)
    assert cost < 0


@pytest.mark.parametrize("same", ["sets", "examples"])
def test_what_is_the_same_is_coupled_for_nothing(same: str) -> None:
    x = np.random.default_rng(0).random((50, 3), np.float32) if same == "sets" else np.ones((50, 3), np.float32)
    _, cost = solved(Costs(x, x, None), np.ones(50, np.int64), np.ones(50, np.int64))
    assert cost == pytest.approx(0.0, abs=1e-6)


def test_unequal_masses_are_kept_to_the_unit() -> None:
    rng = np.random.default_rng(0)
    costs, _, _ = problem(60, 50, 0)
    a = rng.integers(1, 1000, 60)
    b = np.bincount(rng.integers(50, size=int(a.sum())), minlength=50)
    _, cost = solved(costs, a, b)
    assert cost == pytest.approx(least(costs, a, b), rel=2 * exact_transport.GAP)


def test_rounds_that_do_not_suffice_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exact_transport, "ROUNDS", 0)
    with pytest.raises(UsageError, match="give path=.*regularization.*0.05.* for an entropic plan"):
        solved(*problem(60, 60, 0))
