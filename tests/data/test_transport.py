"""Couplings: exact marginals, optimal where they should be, sparse, and refused in one line where they cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clouds import assert_marginals, cloud, config, examples
from rayfe.data import exact_transport, sinkhorn, transport
from rayfe.data import transport_costs as costs_module
from rayfe.data.transport import couple
from rayfe.exceptions import UsageError

RNG = np.random.default_rng(0)
SOLVERS = {"exact": None, "sinkhorn": 0.05}
"""Regularisation by the solver that a coupling then has."""


@settings(max_examples=25)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from(["exact", "sinkhorn"]), st.integers(0, 5))
def test_marginals_are_exact_and_atoms_few(n: int, m: int, solver: str, seed: int) -> None:
    coupling = couple(cloud(n, seed=seed), cloud(m, seed=seed + 1), config(regularization=SOLVERS[solver]), seed=seed)
    assert_marginals(coupling, n, m)
    assert len(coupling.weight) <= 2 * (n + m)


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
@pytest.mark.parametrize("dense", [True, False])
def test_pairs_are_of_examples_whatever_their_order(solver: str, dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where components and regularisation are fitted to parts, and where a class has too many."""
    if not dense:
        monkeypatch.setattr(transport, "DENSE_LIMIT", 10)
        monkeypatch.setattr(transport, "PCA_SAMPLE", 20)
    rng = np.random.default_rng(1)
    ends = [examples(rng.random((n, 6)), y=rng.integers(0, 2, n)) for n in (60, 45)]
    orders = [rng.permutation(len(end.y)) for end in ends]
    monkeypatch.setattr(transport, "COMPONENTS", 3)
    options = config(regularization=SOLVERS[solver])
    found = []
    for source, target in (ends, [end.take(order) for end, order in zip(ends, orders, strict=True)]):
        coupling = couple(source, target, options, pairs={0: 0, 1: 1}, seed=0)
        atoms = zip(source.number[coupling.source], target.number[coupling.target], coupling.weight, strict=True)
        found.append(sorted(atoms))
    np.testing.assert_allclose(found[0], found[1])


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
@pytest.mark.parametrize(("n", "m"), [(1201, 1200), (1200, 1201), (1501, 750)])
def test_marginals_are_exact_where_the_smallest_shares_are_tiny(n: int, m: int, solver: str) -> None:
    """A row of one side is 1/m of a row longer than one of the other, and these slivers must not be dropped."""
    coupling = couple(cloud(n), cloud(m, seed=1), config(regularization=SOLVERS[solver]), seed=0)
    assert_marginals(coupling, n, m)
    assert len(coupling.weight) <= n + m


def test_what_the_plan_leaves_over_is_coupled_block_by_block_where_it_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = cloud(300, 5), cloud(300, 5, shift=0.3, seed=1)
    whole = couple(source, target, config(regularization=0.05), seed=0)
    monkeypatch.setattr(exact_transport, "DENSE_LIMIT", 500)
    parts = couple(source, target, config(regularization=0.05), seed=0)
    assert_marginals(parts, 300, 300)
    assert parts.report["cost"] == pytest.approx(whole.report["cost"], rel=1e-3)


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
def test_the_order_of_examples_does_not_matter(solver: str) -> None:
    source, target = cloud(80), cloud(80, shift=0.2, seed=1)
    shuffled = source.take(RNG.permutation(80)), target.take(RNG.permutation(80))
    one, two = (
        couple(source, target, config(regularization=SOLVERS[solver]), seed=0),
        couple(*shuffled, config(regularization=SOLVERS[solver]), seed=0),
    )
    assert two.report["cost"] == pytest.approx(one.report["cost"], rel=1e-5 if solver == "exact" else 0.05)


def test_the_entropic_plan_is_that_of_pot() -> None:
    import ot

    cost = np.square(cloud(60).x[:, None] - cloud(50, seed=1).x[None]).sum(-1)
    a, b, epsilon = np.full(60, 1 / 60), np.full(50, 1 / 50), 0.1 * float(cost.mean())
    plan = sinkhorn.sinkhorn(lambda rows: cost[rows], a, b, epsilon=epsilon)
    reference = ot.bregman.sinkhorn_log(a, b, cost.astype(np.float64), epsilon, stopThr=1e-10)
    assert np.abs(plan.rows(np.arange(60)) / 60 - reference).sum() < 5 * sinkhorn.MARGINAL_ERROR


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
def test_examples_that_are_all_the_same_are_coupled_for_nothing(solver: str) -> None:
    coupling = couple(examples(np.ones((20, 3))), examples(np.ones((30, 3))), config(regularization=SOLVERS[solver]), seed=0)
    assert_marginals(coupling, 20, 30)
    assert coupling.report["cost"] == 0.0


def test_in_one_dimension_the_exact_coupling_sorts() -> None:
    x, y = RNG.random((50, 1)), RNG.random((50, 1))
    coupling = couple(examples(x), examples(y), config(), seed=0)
    order = np.argsort(x[coupling.source, 0])
    assert (np.diff(y[coupling.target[order], 0]) >= 0).all()
    assert coupling.report["cost"] == pytest.approx(np.mean((np.sort(x[:, 0]) - np.sort(y[:, 0])) ** 2), rel=1e-4)


def test_a_set_is_coupled_with_itself_for_nothing() -> None:
    here = cloud(40)
    coupling = couple(here, here, config(), seed=0)
    np.testing.assert_array_equal(coupling.source, coupling.target)
    assert coupling.report["cost"] == 0.0


@pytest.mark.parametrize("regularization", [0.2, 0.05, 0.01])
def test_the_stored_coupling_costs_little_more_than_the_entropic_plan(regularization: float) -> None:
    source, target = cloud(200, 5), cloud(250, 5, shift=0.3, seed=1)
    coupling = couple(source, target, config(regularization=regularization), seed=0)
    exact = couple(source, target, config(), seed=0)
    cost = np.square(source.x[:, None] - target.x[None]).sum(-1)
    plan = sinkhorn.sinkhorn(
        lambda rows: cost[rows], np.full(200, 1 / 200), np.full(250, 1 / 250), epsilon=regularization * float(cost.mean())
    )
    of_plan = float((plan.rows(np.arange(200)) * cost).sum() / 200)
    assert coupling.report["cost"] == pytest.approx(of_plan, rel=0.05)
    assert exact.report["cost"] <= coupling.report["cost"] <= coupling.report["cost_of_independent"]


def test_block_by_block_agrees_with_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = cloud(120, 4), cloud(90, 4, seed=1)
    whole = couple(source, target, config(regularization=0.05), seed=0)
    monkeypatch.setattr(transport, "DENSE_LIMIT", 1)
    monkeypatch.setattr(costs_module, "BLOCK", 1000)
    parts = couple(source, target, config(regularization=0.05), seed=0)
    assert parts.report["cost"] == pytest.approx(whole.report["cost"], rel=0.05)
    assert parts.report["components"] is None  # fewer features than components
    assert_marginals(parts, 120, 90)


def test_large_problems_are_solved_in_principal_components_and_reported_in_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "DENSE_LIMIT", 1)
    monkeypatch.setattr(transport, "COMPONENTS", 5)
    source, target = cloud(150, 30), cloud(150, 30, seed=1)
    coupling = couple(source, target, config(regularization=0.05), seed=0)
    pixels = np.square(source.x[coupling.source] - target.x[coupling.target]).sum(-1)
    assert coupling.report["components"] == 5
    assert coupling.report["cost"] == pytest.approx(float(coupling.weight @ pixels), rel=1e-5)
    assert coupling.report["plan_marginal_error"] <= sinkhorn.MARGINAL_ERROR


def test_the_same_seed_gives_the_same_coupling() -> None:
    one, two = (couple(cloud(60), cloud(60, seed=1), config(), seed=3) for _ in range(2))
    for name in ("source", "target", "weight"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
def test_within_pairs_only_what_the_shares_leave_over_crosses(solver: str) -> None:
    source = examples(RNG.random((60, 2)), np.repeat([0, 1], [30, 30]))
    target = examples(RNG.random((60, 2)), np.repeat([0, 1], [36, 24]))
    coupling = couple(
        source, target, config(regularization=SOLVERS[solver], pairing="order", within_pairs=True), pairs={0: 1, 1: 0}, seed=0
    )
    assert_marginals(coupling, 60, 60)
    pairs = np.array([1, 0])
    crossing = coupling.weight[pairs[source.y[coupling.source]] != target.y[coupling.target]].sum()
    assert crossing == pytest.approx(0.1)
    assert coupling.report["crossing_share"] == pytest.approx(0.1)


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
def test_a_class_whose_partner_has_no_examples_crosses(solver: str) -> None:
    source = examples(RNG.random((30, 2)), np.repeat([0, 1], 15))
    target = examples(RNG.random((30, 2)))
    coupling = couple(
        source, target, config(regularization=SOLVERS[solver], pairing="order", within_pairs=True), pairs={0: 0, 1: 1}, seed=0
    )
    assert_marginals(coupling, 30, 30)
    assert coupling.report["crossing_share"] == pytest.approx(0.5)


def test_the_gap_is_computed_also_with_all_pairs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that stops at another coupling is found out."""
    import ot

    source, target = cloud(30), cloud(30, seed=1)
    best = couple(source, target, config(), seed=0).report
    assert best["gap"] <= 1e-12
    emd = ot.emd

    def poor(a: np.ndarray, b: np.ndarray, cost: np.ndarray, **options: object) -> object:
        _, log = emd(a, b, cost, **options)
        return np.diag(a), log

    monkeypatch.setattr(ot, "emd", poor)
    worse = couple(source, target, config(), seed=0).report
    assert worse["gap"] == pytest.approx(1 - best["cost"] / worse["cost"], rel=1e-4)
    assert worse["gap"] > 0.1


def test_one_example_far_from_all_others_is_coupled(monkeypatch: pytest.MonkeyPatch) -> None:
    """exp(-cost / epsilon) of all its pairs is 0 in double precision."""
    source, target = cloud(100), cloud(100, shift=0.2, seed=1)
    source.x[3], target.x[5] = 300.0, -300.0
    coupling = couple(source, target, config(regularization=0.001), seed=0)
    exact = couple(source, target, config(), seed=0)
    assert_marginals(coupling, 100, 100)
    assert coupling.report["cost"] == pytest.approx(exact.report["cost"], rel=0.01)
    assert coupling.report["plan_marginal_error"] <= sinkhorn.MARGINAL_ERROR


@pytest.mark.parametrize("solver", ["exact", "sinkhorn"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e25])
def test_a_distance_that_is_not_finite_is_refused(solver: str, value: float) -> None:
    x = cloud(20).x.copy()
    x[3, 1] = value
    with np.errstate(over="ignore"), pytest.raises(UsageError, match="not finite") as refused:
        couple(examples(x), cloud(20), config(regularization=SOLVERS[solver]), seed=0)
    assert refused.value.name == "path.cost"


def test_ends_of_different_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="shape") as refused:
        couple(cloud(20, 3), cloud(20, 4), config(), seed=0)
    assert refused.value.name == "path.target"


def test_an_exact_solver_that_stops_early_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import ot

    given_up = {"warning": "numItermax reached", "u": np.zeros(20), "v": np.zeros(20)}
    monkeypatch.setattr(ot, "emd", lambda a, b, cost, **options: (np.zeros(cost.shape), given_up))
    with pytest.raises(UsageError, match="numItermax"):
        couple(cloud(20), cloud(20), config(), seed=0)


def test_an_iteration_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinkhorn, "ITERATIONS", 1)
    with pytest.raises(UsageError, match="still off"):
        couple(cloud(40), cloud(40, shift=1.0, seed=1), config(regularization=0.01), seed=0)
