"""Couplings of source and target by optimal transport (App. F): of least cost, or following an entropic plan."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rayfe.config import PathConfig, require
from rayfe.data.coupling import Coupling
from rayfe.data.exact_transport import optimal
from rayfe.data.examples import Examples, chance
from rayfe.data.memory import peak_bytes
from rayfe.data.sinkhorn import NotConverged, sinkhorn, sparse_coupling
from rayfe.data.transport_costs import Costs, costs_between
from rayfe.exceptions import UsageError

COMPONENTS = 64
"""Principal components in which an entropic plan measures distance where the cost matrix would not fit into memory."""
DENSE_LIMIT = 5000 * 5000
"""Largest cost matrix that Sinkhorn keeps; beyond it, rows are computed again in every iteration."""
FORBIDDEN = 1e9
"""Pairs of a user's cost that are so many times as dear as cheap ones (of which there are one in a hundred) are taken for forbidden."""
LARGEST = 1e30
"""Stands for an infinite cost where numbers must be finite."""
PCA_SAMPLE = 10_000
"""Examples of each end from which principal components are fitted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Solved:
    """Atoms of one problem, in rows of the whole and units of mass, and what is to report of its solver."""

    source: np.ndarray
    target: np.ndarray
    units: np.ndarray
    iterations: int
    gap: float | None = None
    components: int | None = None
    marginal_error: float = 0.0


def couple(
    source: Examples,
    target: Examples,
    config: PathConfig,
    *,
    pairs: Mapping[int, int] | None = None,
    seed: int,
    tell: Callable[[str], None] = lambda text: None,
) -> Coupling:
    """A coupling with uniform marginals over the rows of both, to rounding, of at most about n + m atoms.

    `pairs` restricts it to paired classes (source label -> target label) as far as their shares agree; what a class has
    too much is coupled with what is left of the others. Solver exact gives the least cost and proves it (`exact.optimal`;
    `gap` in the report). Sinkhorn's plan is entropic and dense, so a sparse coupling that follows it is stored
    (`sinkhorn.sparse_coupling`). Where a pair has two labels, the soft label between them (Remark 11)
    has an entropy that no classifier goes below: `label_floor` in the report, log 2 times the weight of such pairs.
    What is drawn at random belongs to the examples' numbers, not to where they stand.

    Raises:
        UsageError: the shapes of source and target differ, the cost cannot be used, or a solver does not converge.
    """
    orders = np.argsort(source.number, kind="stable"), np.argsort(target.number, kind="stable")
    found = _coupled(source.take(orders[0]), target.take(orders[1]), config, pairs=pairs, seed=seed, tell=tell)
    return replace(found, source=orders[0][found.source], target=orders[1][found.target])


def _coupled(
    source: Examples,
    target: Examples,
    config: PathConfig,
    *,
    pairs: Mapping[int, int] | None,
    seed: int,
    tell: Callable[[str], None],
) -> Coupling:
    """`couple` of examples in the order of their numbers: whatever is drawn by rows here belongs to numbers."""
    began, before = time.monotonic(), peak_bytes()
    shapes = source.x.shape[1:], target.x.shape[1:]
    fix = f"has examples of shape {shapes[1]}, the source {shapes[0]}; both must be the same"
    require(shapes[0] == shapes[1], "path.target", config.target, fix)
    costs = costs_between(source, target, config.cost)
    n, m = len(source.y), len(target.y)
    unit = 1.0 / math.lcm(n, m)  # of mass: a row of the source and one of the target are whole numbers of it
    tell(f"coupling {n} source and {m} target examples by {solver_of(config)} transport")
    a, b = np.full(n, math.lcm(n, m) // n), np.full(m, math.lcm(n, m) // m)
    problems = [(np.arange(n), np.arange(m), a, b)]
    if pairs is not None:
        problems = _within(source, target, a, b, pairs, seed)
    solved = [_solve(costs, *problem, config=config, seed=seed, tell=tell) for problem in problems]
    i, j = (np.concatenate([getattr(part, side) for part in solved]) for side in ("source", "target"))
    weight = np.concatenate([part.units for part in solved]) * unit
    crossing = _crossing(source.y[i], target.y[j], weight, pairs)
    floor = math.log(2.0) * float(weight @ (source.y[i] != target.y[j]))
    report = (
        _of_solver(solved, config) | _of_cost(costs, i, j, weight, seed) | {"crossing_share": crossing, "label_floor": floor}
    )
    report |= {"seconds": time.monotonic() - began, "peak_bytes": max(0, peak_bytes() - before)}
    tell(
        f"coupled: mean cost {report['cost']:.4g} (independent pairs: {report['cost_of_independent']:.4g}), {len(weight)} atoms, "
        f"{report['seconds']:.1f} s, {report['peak_bytes'] / 2**20:.0f} MiB; soft labels keep C above {floor:.3g} nats at t = 1/2"
    )
    return Coupling(source=i, target=j, weight=weight, report=report)


def solver_of(config: PathConfig) -> str:
    """How the coupling is found, as its report says it."""
    return "exact" if config.regularization is None else "sinkhorn"


def _of_solver(solved: Sequence[Solved], config: PathConfig) -> dict[str, Any]:
    """What is to report of the solver, over all its problems the worst."""
    return {
        "solver": solver_of(config),
        "regularization": config.regularization,
        "components": max((part.components or 0 for part in solved), default=0) or None,
        "iterations": max(part.iterations for part in solved),
        "gap": max(part.gap or 0.0 for part in solved) if config.regularization is None else None,
        "plan_marginal_error": max(part.marginal_error for part in solved),
    }


def _of_cost(costs: Costs, i: np.ndarray, j: np.ndarray, weight: np.ndarray, seed: int) -> dict[str, Any]:
    """What is to report of the atoms: sizes, mean cost, that of independent pairs, error of the marginals."""
    rng, n, m = np.random.default_rng(seed), len(costs.source), len(costs.target)
    return {
        "source_size": n,
        "target_size": m,
        "atoms": len(weight),
        "cost": float(weight @ costs.of_pairs(i, j)),
        "cost_of_independent": float(costs.of_pairs(rng.integers(n, size=4096), rng.integers(m, size=4096)).mean()),
        "marginal_error": _marginal_error(i, weight, n) + _marginal_error(j, weight, m),
    }


def _solve(
    costs: Costs,
    rows: np.ndarray,
    columns: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    *,
    config: PathConfig,
    seed: int,
    tell: Callable[[str], None],
) -> Solved:
    within, rng = costs.restricted(rows, columns), np.random.default_rng(seed)
    if config.regularization is None:
        best = optimal(within, a, b, rng=rng, tell=tell)
        i, j = rows[best.source], columns[best.target]
        return Solved(source=i, target=j, units=best.units, iterations=best.rounds, gap=best.gap)
    features, components = _features(replace(within, most=LARGEST), seed)
    mean, forbidden = _usual(features, seed)
    epsilon = config.regularization * mean or 1.0  # where all costs are the same, every coupling will do
    dense = len(rows) * len(columns) <= DENSE_LIMIT
    everything = features.between(np.arange(len(rows))).astype(np.float32) if dense else None

    def cost(numbers: np.ndarray) -> np.ndarray:
        return features.between(numbers).astype(np.float32) if everything is None else everything[numbers]

    try:
        entropic = sinkhorn(cost, a / a.sum(), b / b.sum(), epsilon=epsilon)
    except NotConverged as error:
        larger = f"{4 * config.regularization:.2g}"
        fix = f"{error}; give a larger one, e.g. {larger}, or ``path.regularization=None`` for the coupling of least cost"
        raise UsageError("path.regularization", config.regularization, fix) from error
    if not dense:
        tell(f"entropic plan after {entropic.iterations} iterations; drawing pairs from it")
    i, j, units = sparse_coupling(entropic, a, b, rng=rng, costs=features)
    allowed = bool((features.of_pairs(i, j) < forbidden).all() and np.isfinite(within.of_pairs(i, j)).all())
    fix = f"couples pairs that cost {forbidden:.3g} or more, taken for forbidden; give ``path.regularization=None`` for least cost"
    require(allowed, "path.regularization", config.regularization, fix)
    return Solved(
        source=rows[i],
        target=columns[j],
        units=units,
        iterations=entropic.iterations,
        components=components,
        marginal_error=entropic.marginal_error,
    )


def _features(costs: Costs, seed: int) -> tuple[Costs, int | None]:
    """What the entropic solver measures cost in: pixels, or principal components where the cost matrix would not fit."""
    source, target = costs.source, costs.target
    small = len(source) * len(target) <= DENSE_LIMIT
    if small or costs.function is not None or source.shape[1] <= COMPONENTS:
        return costs, None
    from sklearn.decomposition import PCA

    pca, rng = PCA(n_components=COMPONENTS, svd_solver="randomized", random_state=seed), np.random.default_rng(seed)
    pca.fit(np.concatenate([x[_drawn(len(x), PCA_SAMPLE, rng)] for x in (source, target)]))
    return Costs(pca.transform(source), pca.transform(target), None), COMPONENTS


def _usual(costs: Costs, seed: int) -> tuple[float, float]:
    """Mean cost, and what is dearer than any pair that is not forbidden. Negative costs are counted from the lowest."""
    rng = np.random.default_rng(seed)
    sample = [rng.integers(len(x), size=min(1000, len(x))) for x in (costs.source, costs.target)]
    drawn = costs.between(*sample)
    lowest = min(0.0, float(drawn.min()))
    heights = drawn[drawn > lowest] - lowest
    if not len(heights):
        return 0.0, np.inf  # all pairs cost the same
    forbidden = np.inf
    if costs.function is not None:
        forbidden = FORBIDDEN * float(np.quantile(heights, 0.01, method="lower")) + lowest
    return float(drawn[drawn < forbidden].mean()) - lowest, forbidden


def _drawn(n: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many of n rows, at random."""
    return np.sort(rng.permutation(n)[:most])


def _within(
    source: Examples, target: Examples, a: np.ndarray, b: np.ndarray, pairs: Mapping[int, int], seed: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """One problem a pair of classes, and a last one of what the shares of paired classes leave over.

    Which examples of a class that has too many are left over is drawn at random, by their numbers.
    """
    left_a, left_b = a.copy(), b.copy()
    problems = []
    for label, partner in pairs.items():
        rows, columns = _shuffled(source, label, seed), _shuffled(target, partner, seed)
        mass = min(left_a[rows].sum(), left_b[columns].sum())
        if mass == 0:
            continue  # nobody on one side: the others' partners are among what is left
        of_rows, of_columns = _up_to(left_a[rows], mass), _up_to(left_b[columns], mass)
        left_a[rows] -= of_rows
        left_b[columns] -= of_columns
        problems.append((rows[of_rows > 0], columns[of_columns > 0], of_rows[of_rows > 0], of_columns[of_columns > 0]))
    rows, columns = np.flatnonzero(left_a), np.flatnonzero(left_b)
    if len(rows):
        problems.append((rows, columns, left_a[rows], left_b[columns]))
    return problems


def _shuffled(examples: Examples, label: int, seed: int) -> np.ndarray:
    """Rows of a class in an order at random that belongs to their numbers."""
    rows = np.flatnonzero(examples.y == label)
    return rows[np.argsort(chance(examples.number[rows], f"coupling {seed}"))]


def _crossing(source: np.ndarray, target: np.ndarray, weight: np.ndarray, pairs: Mapping[int, int] | None) -> float:
    """Weight of atoms between classes that are not a pair."""
    if pairs is None:
        return 0.0
    partner = np.array([pairs.get(label, -1) for label in range(int(source.max()) + 1)])
    return float(weight @ (partner[source] != target))


def _up_to(masses: np.ndarray, mass: int) -> np.ndarray:
    """The first of `masses`, which come at random, until they add up to `mass`, the last one in part."""
    return np.clip(mass - (masses.cumsum() - masses), 0, masses)


def _marginal_error(rows: np.ndarray, weight: np.ndarray, size: int) -> float:
    """L1 distance of a marginal from the uniform one."""
    return float(np.abs(np.bincount(rows, weight, size) - 1.0 / size).sum())
