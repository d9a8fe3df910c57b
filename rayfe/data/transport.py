"""Couplings of source and target by optimal transport (App. F): exact, or entropic at sizes that no dense plan fits."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfe.config import PathConfig, UsageError, require
from rayfe.data.coupling import Coupling
from rayfe.data.examples import Examples
from rayfe.data.sinkhorn import NotConverged, blocks, sinkhorn, sparse_coupling
from rayfe.memory import peak_bytes
from rayfe.own import named

EXACT_LIMIT = 6000 * 6000
"""Largest cost matrix of the exact solver (float64: 288 MB, and as much for the plan)."""
DENSE_LIMIT = 5000 * 5000
"""Largest cost matrix that Sinkhorn keeps; beyond it, rows are computed again in every iteration."""
LARGEST_EXPONENT = 700.0
"""exp of the negative underflows in double precision: a row's cheapest partner must be nearer than this."""


@dataclass(frozen=True)
class Costs:
    """Transport cost between flat examples in [0, 1]."""

    source: np.ndarray
    target: np.ndarray
    function: Callable[[np.ndarray, np.ndarray], np.ndarray] | None
    """A user's cost; None: squared Euclidean distance."""

    def between(self, rows: np.ndarray, columns: np.ndarray | slice = slice(None)) -> np.ndarray:
        x, y = self.source[rows], self.target[columns]
        if self.function is None:
            squares = (x * x).sum(-1)[:, None] + (y * y).sum(-1)[None, :]
            return np.maximum(squares - 2.0 * (x @ y.T), 0.0)
        try:
            cost = np.asarray(self.function(x, y))
        except Exception as error:  # a function of the user's own may raise anything
            fix = f"fails for arrays of shapes {x.shape} and {y.shape} ({type(error).__name__}: {error})"
            raise UsageError("path.cost", "(the function)", fix) from error
        require(
            cost.shape == (len(x), len(y)),
            "path.cost",
            "(its result)",
            f"has shape {cost.shape} for {len(x)} and {len(y)} examples, return one cost for each pair",
        )
        require(bool(np.isfinite(cost).all()), "path.cost", "(its result)", "is not finite for some pair, return finite costs")
        return cost.astype(np.float32)

    def mean_over(self, source: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
        """Mean cost of the atoms of a coupling."""
        total = 0.0
        for start in range(0, len(source), 4096):
            part = slice(start, start + 4096)
            if self.function is None:
                each = np.square(self.source[source[part]] - self.target[target[part]]).sum(-1)
            else:
                each = np.diagonal(self.between(source[part], target[part]))
            total += float(weight[part] @ each)
        return total


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
    too much is coupled with what is left of the others. Sinkhorn's plan is entropic and dense, so a sparse coupling that
    follows it is stored (`sinkhorn.sparse_coupling`). Where a pair has two labels, the soft label between them (Remark 11)
    has an entropy that no classifier goes below: `label_floor` in the report, log 2 times the weight of such pairs.

    Raises:
        UsageError: the shapes of source and target differ, the cost cannot be used, the exact solver would not fit, or
            Sinkhorn does not converge.
    """
    began, before = time.monotonic(), peak_bytes()
    shapes = source.x.shape[1:], target.x.shape[1:]
    fix = f"has examples of shape {shapes[1]}, the source {shapes[0]}; both must be the same"
    require(shapes[0] == shapes[1], "path.target", config.target, fix)
    costs = Costs(_flat(source), _flat(target), _function(config.cost))
    n, m = len(source.y), len(target.y)
    unit = 1.0 / math.lcm(n, m)  # of mass: a row of the source and one of the target are whole numbers of it
    tell(f"coupling {n} source and {m} target examples by {config.solver} transport")
    a, b = np.full(n, math.lcm(n, m) // n), np.full(m, math.lcm(n, m) // m)
    problems = [(np.arange(n), np.arange(m), a, b)]
    if pairs is not None:
        problems = _within(source.y, target.y, a, b, pairs, np.random.default_rng(seed))
    solved = [_solve(costs, *problem, config=config, seed=seed, tell=tell) for problem in problems]
    atoms = [np.concatenate([part[i] for part, _ in solved]) for i in range(3)]
    weight = atoms[2] * unit
    rng = np.random.default_rng(seed)
    apart = costs.mean_over(rng.integers(n, size=4096), rng.integers(m, size=4096), np.full(4096, 1.0 / 4096))
    report = {
        "solver": config.solver,
        "source_size": n,
        "target_size": m,
        "atoms": len(weight),
        "cost": costs.mean_over(atoms[0], atoms[1], weight),
        "cost_of_independent": apart,
        "regularization": config.regularization if config.solver == "sinkhorn" else None,
        "components": max((report["components"] or 0 for _, report in solved), default=0) or None,
        "iterations": max(report["iterations"] for _, report in solved),
        "plan_marginal_error": max(report["marginal_error"] for _, report in solved),
        "marginal_error": _marginal_error(atoms[0], weight, n) + _marginal_error(atoms[1], weight, m),
        "crossing_share": _crossing(source.y[atoms[0]], target.y[atoms[1]], weight, pairs),
        "label_floor": math.log(2.0) * float(weight @ (source.y[atoms[0]] != target.y[atoms[1]])),
        "seconds": time.monotonic() - began,
        "peak_bytes": max(0, peak_bytes() - before),
    }
    tell(
        f"coupled: mean cost {report['cost']:.4g} (independent pairs: {apart:.4g}), {len(weight)} atoms, "
        f"{report['seconds']:.1f} s, {report['peak_bytes'] / 2**20:.0f} MiB; soft labels keep C above "
        f"{report['label_floor']:.3g} nats at t = 1/2"
    )
    return Coupling(source=atoms[0], target=atoms[1], weight=weight, report=report)


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
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], dict[str, Any]]:
    """Atoms of one problem in rows of the whole and units of mass, and what is to report of its solver."""
    if config.solver == "exact":
        fix = f"{len(rows)} x {len(columns)} examples do not fit; give --path.solver sinkhorn, or fewer by --data.train-size"
        require(len(rows) * len(columns) <= EXACT_LIMIT, "path.solver", "exact", fix)
        plan = _exact(costs, rows, columns, a, b)
        i, j = np.nonzero(plan)
        return (rows[i], columns[j], plan[i, j]), {"components": None, "iterations": 0, "marginal_error": 0.0}
    features, components = _features(costs, rows, columns, config, seed)
    epsilon = _epsilon(features, config, seed)
    dense = len(rows) * len(columns) <= DENSE_LIMIT
    everything = features.between(np.arange(len(rows))).astype(np.float32) if dense else None

    def cost(numbers: np.ndarray) -> np.ndarray:
        return features.between(numbers).astype(np.float32) if everything is None else everything[numbers]

    def exact(i: np.ndarray, j: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return _exact(features, i, j, a, b)

    try:
        entropic = sinkhorn(cost, a / a.sum(), b / b.sum(), epsilon=epsilon)
    except NotConverged as error:
        fix = f"{error}; give a larger one, or --path.solver exact for smaller data"
        raise UsageError("path.regularization", config.regularization, fix) from error
    if not dense:
        tell(f"entropic plan after {entropic.iterations} iterations; drawing pairs from it")
    i, j, units = sparse_coupling(entropic, a, b, rng=np.random.default_rng(seed), exact=exact, limit=EXACT_LIMIT)
    about = {"components": components, "iterations": entropic.iterations, "marginal_error": entropic.marginal_error}
    return (rows[i], columns[j], units), about


def _exact(costs: Costs, rows: np.ndarray, columns: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The optimal plan in whole units: a network simplex that starts from whole masses only adds and subtracts them."""
    import ot  # slow to import

    cost = np.concatenate([costs.between(part, columns) for part in blocks(rows, len(columns))])
    masses = a.astype(np.float64), b.astype(np.float64)
    plan, log = ot.emd(*masses, cost.astype(np.float64), numItermax=10_000_000, log=True)
    fix = f"the solver stopped early ({log['warning']}); give fewer examples by --data.train-size"
    require(log["warning"] is None, "path.solver", "exact", fix)
    return np.rint(plan).astype(np.int64)


def _features(costs: Costs, rows: np.ndarray, columns: np.ndarray, config: PathConfig, seed: int) -> tuple[Costs, int | None]:
    """What the solver measures cost in: pixels, or principal components where the cost matrix would not fit."""
    source, target = costs.source[rows], costs.target[columns]
    small = len(rows) * len(columns) <= DENSE_LIMIT
    if small or costs.function is not None or source.shape[1] <= config.components:
        return Costs(source, target, costs.function), None
    from sklearn.decomposition import PCA

    pca = PCA(n_components=config.components, svd_solver="randomized", random_state=seed)
    pca.fit(np.concatenate([source[:: max(1, len(source) // 10_000)], target[:: max(1, len(target) // 10_000)]]))
    return Costs(pca.transform(source), pca.transform(target), None), config.components


def _epsilon(costs: Costs, config: PathConfig, seed: int) -> float:
    """Regularisation in units of the cost."""
    rng = np.random.default_rng(seed)
    sample = [rng.integers(len(x), size=min(1000, len(x))) for x in (costs.source, costs.target)]
    mean = float(costs.between(*sample).mean())
    require(mean >= 0, "path.cost", config.cost, f"has the negative mean {mean:.3g}, add a constant to it")
    if mean == 0.0:
        return 1.0  # all examples are the same, every coupling will do
    epsilon = config.regularization * mean
    rows = np.arange(0, len(costs.source), max(1, len(costs.source) // 500))
    nearest = float(costs.between(rows).min(-1).max())
    fix = "underflows: for some example even the nearest partner has no weight; give a larger one, e.g. 0.05"
    require(nearest / epsilon < LARGEST_EXPONENT, "path.regularization", config.regularization, fix)
    return epsilon


def _within(
    source: np.ndarray, target: np.ndarray, a: np.ndarray, b: np.ndarray, pairs: Mapping[int, int], rng: np.random.Generator
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """One problem a pair of classes, and a last one of what the shares of paired classes leave over."""
    left_a, left_b = a.copy(), b.copy()
    problems = []
    for label, partner in pairs.items():
        rows, columns = (rng.permutation(np.flatnonzero(y == k)) for y, k in ((source, label), (target, partner)))
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


def _crossing(source: np.ndarray, target: np.ndarray, weight: np.ndarray, pairs: Mapping[int, int] | None) -> float:
    """Weight of atoms between classes that are not a pair."""
    if pairs is None:
        return 0.0
    partner = np.array([pairs.get(label, -1) for label in range(int(source.max()) + 1)])
    return float(weight @ (partner[source] != target))


def _up_to(masses: np.ndarray, mass: int) -> np.ndarray:
    """The first of `masses` until they add up to `mass`, the last one in part."""
    return np.clip(mass - (masses.cumsum() - masses), 0, masses)


def _marginal_error(rows: np.ndarray, weight: np.ndarray, size: int) -> float:
    """L1 distance of a marginal from the uniform one."""
    return float(np.abs(np.bincount(rows, weight, size) - 1.0 / size).sum())


def _flat(examples: Examples) -> np.ndarray:
    x = examples.x.reshape(len(examples.x), -1)
    if x.dtype == np.uint8:
        return x.astype(np.float32) / np.float32(255.0)
    x = x.astype(np.float32)
    fix = "is not finite between some examples, remove NaN, infinite and huge values from the data"
    require(bool(np.isfinite(np.einsum("ij,ij->i", x, x)).all()), "path.cost", "squared-l2", fix)
    return x


def _function(name: str) -> Callable[[np.ndarray, np.ndarray], np.ndarray] | None:
    if name == "squared-l2":
        return None
    function = named(name, "path.cost", known="give squared-l2, or package.module:function")
    require(callable(function), "path.cost", name, "is not a function, give package.module:function")
    return function
