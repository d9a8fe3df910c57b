"""Entropic transport block by block, and a sparse coupling with exact marginals that follows its plan (App. F)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rayfe.data.exact_transport import optimal
from rayfe.data.transport_costs import Costs, blocks

ITERATIONS = 3000
MARGINAL_ERROR = 1e-3
"""L1 error of the target's marginal at which the iteration ends (the source's is exact)."""
SMALLEST_SHARE = 0.3
"""A row draws from its plan while this part of the row still has room; otherwise it waits for the rest."""
Cost = Callable[[np.ndarray], np.ndarray]
"""Row numbers -> these rows of the cost matrix, float32 (rows, m)."""


class NotConverged(ArithmeticError):
    """Sinkhorn's iteration did not reach MARGINAL_ERROR."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SinkhornPlan:
    """An entropic plan by its target potential: row i is `a_i softmax_j((g_j - M_ij) / epsilon + log b_j)`."""

    cost: Cost
    a: np.ndarray
    b: np.ndarray
    g: np.ndarray
    epsilon: float
    iterations: int
    marginal_error: float

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """Rows of the plan, each divided by its sum, float32."""
        return _softmax((self.g - self.cost(numbers)) / np.float32(self.epsilon) + np.log(self.b, dtype=np.float32))


def sinkhorn(cost: Cost, a: np.ndarray, b: np.ndarray, *, epsilon: float) -> SinkhornPlan:
    """The entropic plan between weights a (n,) and b (m,) with the same sum, in the log domain, at block memory.

    One pass over the cost does a whole iteration: each block of rows is normalised, which is the update of the source's
    potential, and adds to the column sums that update the target's. The start gives each column a row in which no other column
    has a larger exponent: an example far from all others has its share of the plan at once.

    Raises:
        NotConverged: after ITERATIONS.
    """
    a, b = a.astype(np.float32), b.astype(np.float32)
    g = np.full(len(b), np.inf, np.float32)
    for part in blocks(np.arange(len(a)), len(b)):
        rows = cost(part)
        g = np.minimum(g, (rows - rows.min(1, keepdims=True)).min(0))
    error = np.inf
    for iteration in range(1, ITERATIONS + 1):
        plan = SinkhornPlan(cost=cost, a=a, b=b, g=g, epsilon=epsilon, iterations=iteration, marginal_error=error)
        columns = np.zeros(len(b))
        for part in blocks(np.arange(len(a)), len(b)):
            columns += a[part] @ plan.rows(part)
        error = float(np.abs(columns - b).sum() / b.sum())
        if error <= MARGINAL_ERROR:
            return SinkhornPlan(cost=cost, a=a, b=b, g=g, epsilon=epsilon, iterations=iteration, marginal_error=error)
        g = g + np.float32(epsilon) * np.log(b / np.maximum(columns, 1e-30)).astype(np.float32)
    raise NotConverged(f"its marginal is still off by {error:.2g} after {ITERATIONS} iterations")


def sparse_coupling(
    plan: SinkhornPlan, a: np.ndarray, b: np.ndarray, *, rng: np.random.Generator, costs: Costs
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Atoms (i, j, units) with exactly the marginals a (n,) and b (m,), about one a row, drawn row by row from the plan.

    Masses are whole units of a common divisor of both marginals: with floats, what rounding leaves of a row cannot be told
    from what is small. Rows come in random order and draw among the columns that have room. A row whose plan has little
    room left waits; what waits is coupled at least cost in the end, so that a few late rows do not spoil it.
    """
    left, room = a.copy(), b.copy()
    rows: list[int] = []
    columns: list[int] = []
    units: list[int] = []
    for part in blocks(rng.permutation(len(left)), len(room)):
        for row, chance in zip(part.tolist(), plan.rows(part), strict=True):
            while left[row] > 0:
                cumulative = np.where(room > 0, chance, np.float32(0.0)).cumsum(dtype=np.float64)
                if cumulative[-1] < SMALLEST_SHARE:
                    break
                column = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
                amount = min(left[row], room[column])
                left[row] -= amount
                room[column] -= amount
                rows.append(row)
                columns.append(column)
                units.append(int(amount))
    atoms = [(np.array(rows, np.int64), np.array(columns, np.int64), np.array(units, np.int64))]
    waiting, free = np.flatnonzero(left), np.flatnonzero(room)
    if len(waiting):
        rest = optimal(costs.restricted(waiting, free), left[waiting], room[free], rng=rng)
        atoms.append((waiting[rest.source], free[rest.target], rest.units))
    source, target, amounts = (np.concatenate([atom[k] for atom in atoms]) for k in range(3))
    return source, target, amounts


def _softmax(values: np.ndarray) -> np.ndarray:
    values -= values.max(-1, keepdims=True)
    np.exp(values, out=values)
    values /= values.sum(-1, keepdims=True)
    return values
