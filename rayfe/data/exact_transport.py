"""Exact optimal transport between sets whose cost matrix does not fit into memory, by column generation.

The network simplex of POT solves the problem on few candidate pairs. Its dual potentials price every other pair, block by
block: pairs of negative reduced cost c_ij - f_i - g_j join the candidates, and the same pass gives a lower bound of the
least cost. The end is a coupling with a proof of how far it is from optimal. First potentials come from random parts of
both sides, solved in the same way.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import sparse

from rayfe.config import require
from rayfe.data.transport_costs import Costs, Spread, blocks
from rayfe.exceptions import UsageError

DENSE_LIMIT = 2000 * 2000
"""Largest problem that is solved with all pairs at once (float64: 32 MB)."""
NEAREST = 10
"""Candidate pairs that a row may add in one round: those of lowest reduced cost."""
GROUPS = 32
"""Parts of a row or column of the cost matrix by whose minima its lowest entries are found."""
REDUCTION = 4
"""The first potentials come from every so many rows and columns."""
GAP = 1e-4
"""Relative distance to the lower bound at which the rounds end."""
ROUGH_GAP = 1e-2
"""The same for the parts that only give first potentials."""
ROUNDING = 1e-6
"""Part of a usual cost that rounding to float32 may hide."""
ROUNDS = 50
SMALL = 1e-3
"""Costs that are all below this are multiplied before they go to POT, whose tolerances are absolute."""
FURTHER = 1000.0
"""By this factor further pairs are let in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimal:
    """A coupling of least cost: atoms with their masses in whole units, and the potentials that prove it."""

    source: np.ndarray
    target: np.ndarray
    units: np.ndarray
    f: np.ndarray
    g: np.ndarray
    """Potentials of rows and columns: no pair costs less than f_i + g_j, but for what `gap` says."""
    gap: float
    """The cost is at most by this part above the least possible (of its height above the cheapest pair, where that is negative)."""
    rounds: int


def _all_pairs(costs: Costs, a: np.ndarray, b: np.ndarray) -> Optimal:
    """The coupling of least cost between masses a (n,) and b (m,) in whole units, by all pairs at once."""
    cost = np.concatenate([costs.between(part) for part in blocks(np.arange(len(a)), len(b))]).astype(np.float64)
    plan, f, g = _simplex(cost, a, b)
    i, j = np.nonzero(plan)
    short = np.minimum((cost - f[:, None] - g).min(1), 0.0)
    found, total = float(cost[i, j] @ plan[i, j]) / a.sum(), float(a.sum())
    above = found - float(a @ (f + short) + b @ g) / total
    return Optimal(source=i, target=j, units=plan[i, j], f=f, g=g, gap=_part(above, found, cost.min()), rounds=0)


def optimal(
    costs: Costs,
    a: np.ndarray,
    b: np.ndarray,
    *,
    rng: np.random.Generator,
    gap: float = GAP,
    tell: Callable[[str], None] = lambda text: None,
) -> Optimal:
    """The coupling of least cost between masses a (n,) and b (m,) in whole units with the same sum, to the part `gap`.

    Of a user's cost, pairs far dearer than any that is needed count as less dear: as long as the coupling does without them, it
    is the same, and the bound holds. They are let in by and by where it does not.

    Raises:
        UsageError: the network simplex stopped early, ROUNDS did not suffice, or there is no coupling of finite cost.
    """
    if costs.function is None:
        return _bounded(costs, a, b, rng=rng, gap=gap, tell=tell)
    spread = Spread.of(costs)
    height = spread.height
    enough = (len(a) + len(b)) * (spread.highest - spread.lowest)  # one forbidden pair is dearer than to exchange all others
    while True:
        within = replace(costs, most=spread.lowest + height)
        found = _bounded(within, a, b, rng=rng, gap=gap, tell=tell)
        dearest = float(costs.of_pairs(found.source, found.target).max())
        if dearest <= within.most:
            return found
        fix = "is infinite for some pair of every coupling; forbid fewer pairs"
        require(height <= enough, "path.cost", "(its result)", fix)
        height *= FURTHER


def _bounded(
    costs: Costs,
    a: np.ndarray,
    b: np.ndarray,
    *,
    rng: np.random.Generator,
    gap: float,
    tell: Callable[[str], None],
) -> Optimal:
    """`optimal` of costs of one order of magnitude."""
    n, m, total = len(a), len(b), float(a.sum())
    if n * m <= DENSE_LIMIT:
        return _all_pairs(costs, a, b)
    f, g = _first_potentials(costs, rng)
    pairs = _some_coupling(a, b, rng)  # so that there is a solution
    usual = float(np.abs(costs.of_pairs(*np.divmod(pairs, m))).mean())
    more, _ = _underpriced(costs, f, g, np.inf)
    for rounds in range(1, ROUNDS + 1):
        pairs = np.union1d(pairs, more)
        i, j = np.divmod(pairs, m)
        plan, f, g = _simplex(sparse.coo_matrix((costs.of_pairs(i, j), (i, j)), shape=(n, m)), a, b, (f, g))
        lowest = float(costs.of_pairs(i, j).min())
        i, j, units = plan.row, plan.col, plan.data
        cost = float(costs.of_pairs(i, j) @ units) / total
        tell(f"{n} x {m}: cost {cost:.6g} among {len(pairs) / (n * m):.2g} of all pairs")
        more, short = _underpriced(costs, f, g, -ROUNDING * usual)
        above = cost - float(a @ (f + short) + b @ g) / total
        if above <= gap * (cost - min(lowest, 0.0)) + ROUNDING * usual or np.isin(more, pairs, assume_unique=True).all():
            return Optimal(source=i, target=j, units=units, f=f, g=g, gap=_part(above, cost, lowest), rounds=rounds)
    fix = f"is not optimal after {ROUNDS} rounds of further pairs; give ``path.regularization=0.05`` for an entropic plan"
    raise UsageError("path.regularization", None, fix)


def _part(above: float, cost: float, lowest: float) -> float:
    """What a cost is above its lower bound, as a part of it, or of its height above the lowest where that is negative."""
    return max(0.0, above) / ((cost - min(lowest, 0.0)) or 1.0)


def _simplex(
    cost: np.ndarray | sparse.coo_matrix, a: np.ndarray, b: np.ndarray, potentials: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[Any, np.ndarray, np.ndarray]:
    """POT's network simplex: the plan in whole units (it starts from whole masses and only adds and subtracts them), f, g."""
    import ot  # slow to import

    masses = a.astype(np.float64), b.astype(np.float64)
    lowest = min(0.0, float(cost.min()))
    if lowest < 0.0:  # POT takes the largest cost for a bound of all
        cost = cost.copy()
        entries: Any = cost.data if sparse.issparse(cost) else cost
        entries -= lowest
    unit = _unit(float(cost.max()))
    if unit != 1.0:
        cost, potentials = cost / unit, potentials and (potentials[0] / unit, potentials[1] / unit)
    plan, log = ot.emd(*masses, cost, numItermax=1_000_000_000, log=True, potentials_init=potentials)
    fix = f"the solver stopped early ({log['warning']}); give fewer examples by ``data.train_size``"
    require(log["warning"] is None, "path.regularization", None, fix)
    if sparse.issparse(plan):
        plan = plan.tocoo()
        plan.data = np.rint(plan.data).astype(np.int64)
        plan.eliminate_zeros()
    else:
        plan = np.rint(plan).astype(np.int64)
    return plan, unit * log["u"] + lowest, unit * log["v"]


def _unit(largest: float) -> float:
    """A power of two, so that no digit is lost: 1 for costs as they usually are."""
    return 2.0 ** math.floor(math.log2(largest)) if 0.0 < largest < SMALL else 1.0


def _first_potentials(costs: Costs, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Potentials of a random part of rows and columns, carried over to all by c-transforms."""
    n, m = len(costs.source), len(costs.target)
    rows, columns = (rng.choice(size, -(-size // REDUCTION), replace=False) for size in (n, m))
    part = costs.restricted(rows, columns)
    of_part = _bounded(
        part, np.full(len(rows), len(columns)), np.full(len(columns), len(rows)), rng=rng, gap=ROUGH_GAP, tell=lambda text: None
    )
    f = np.concatenate([(costs.between(some, columns) - of_part.g).min(1) for some in blocks(np.arange(n), len(columns))])
    g = np.full(m, np.inf)
    for some in blocks(rows, m):
        g = np.minimum(g, (costs.between(some) - f[some, None]).min(0))
    return f, g


def _some_coupling(a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Numbers i m + j of pairs that carry a coupling with marginals a and b: both sides laid out along a line of masses."""
    rows, columns = rng.permutation(len(a)), rng.permutation(len(b))
    ends = np.union1d(a[rows].cumsum(), b[columns].cumsum())
    i, j = (side[np.searchsorted(mass[side].cumsum(), ends)] for side, mass in ((rows, a), (columns, b)))
    return i * len(b) + j


def _underpriced(costs: Costs, f: np.ndarray, g: np.ndarray, below: float) -> tuple[np.ndarray, np.ndarray]:
    """Numbers i m + j of about NEAREST pairs of each row and of each column, those of lowest reduced cost if that is less than
    `below`, in order; and by how much each row falls short of the potentials being feasible, min_j (c_ij - f_i - g_j) <= 0."""
    n, m = len(f), len(g)
    f, g = f.astype(np.float32), g.astype(np.float32)
    short, of_rows = np.empty(n), []
    of_columns = _Lowest.none(m, below)
    for rows in blocks(np.arange(n), m):
        reduced = costs.between(rows)
        reduced -= f[rows, None]
        reduced -= g
        short[rows] = np.minimum(reduced.min(1), 0.0)
        i, j = np.nonzero(reduced <= np.minimum(_bound(reduced, 1), np.float32(below))[:, None])
        of_rows.append(rows[i] * m + j)
        of_columns = of_columns.among(rows, reduced)
    return np.union1d(np.concatenate(of_rows), of_columns.rows * m + of_columns.columns), short


@dataclass(frozen=True, slots=True)
class _Lowest:
    """The NEAREST entries of each column among the rows seen so far, up to a limit."""

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    limit: np.ndarray
    """What a further entry of a column may be at most."""

    @classmethod
    def none(cls, m: int, limit: float) -> _Lowest:
        no = np.empty(0, np.int64)
        return cls(no, no, np.empty(0, np.float32), np.full(m, limit, np.float32))

    def among(self, rows: np.ndarray, entries: np.ndarray) -> _Lowest:
        """With further rows, whose entries are (rows, columns)."""
        limit = self.limit if len(self.rows) else np.minimum(self.limit, _bound(entries, 0))
        i, j = np.nonzero(entries <= limit)
        rows, columns = np.concatenate([self.rows, rows[i]]), np.concatenate([self.columns, j])
        values = np.concatenate([self.values, entries[i, j]])
        order = np.lexsort((values, columns))
        rows, columns, values = rows[order], columns[order], values[order]
        rank = np.arange(len(columns)) - np.searchsorted(columns, columns)
        limit = self.limit.copy()
        limit[columns[rank == NEAREST - 1]] = values[rank == NEAREST - 1]
        keep = rank < NEAREST
        return _Lowest(rows[keep], columns[keep], values[keep], limit)


def _bound(entries: np.ndarray, axis: int) -> np.ndarray:
    """At least the NEAREST-th lowest entry along an axis, and little more: the NEAREST-th lowest of the minima of GROUPS parts."""
    size = entries.shape[axis]
    starts = np.unique(np.arange(GROUPS) * size // GROUPS)
    minima = np.minimum.reduceat(entries, starts, axis=axis)
    last = min(NEAREST, len(starts)) - 1
    return np.partition(minima, last, axis).take(last, axis)
