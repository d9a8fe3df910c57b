"""Settling: the shifts of a chart theta(a) = theta + sum of a_m tangent_m at which what is held has its target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rayfe.records import Functionals, Settled, SettleRequest
from rayfe.records.weights import along
from rayfe.surface.several import broyden, newton

EVALUATIONS = 6
"""Measurements that one settle may take for each multiplier that it moves."""
TRUSTED = 0.1
"""Relative error that the slope between two measurements may have: a last step so small that it does not matter is not
measured again."""
QUICK_ACCURACY = 0.3
"""Part of the accuracy to which a search by quick readings goes before the next full one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Root:
    shift: np.ndarray
    before: Functionals
    """At shift 0."""
    after: Functionals
    """At `shift`, by the secant if it was not measured; the target is missed where a bound was met."""
    evaluations: int


def searches_by_part(request: SettleRequest) -> bool:
    """Whether the search goes by a part of the examples between its readings of all: two conditions take several evaluations."""
    return len(request.held) > 1


def settled_weights(request: SettleRequest, shift: np.ndarray) -> dict[str, np.ndarray]:
    """theta(a), the weights of the chart at the shifts `shift`, one for each tangent of the request."""
    weights = request.weights
    for tangent, amount in zip(request.tangents.values(), shift.tolist(), strict=True):
        weights = along(weights, tangent, amount)
    return dict(weights)


def settled(request: SettleRequest, root: Root, *, examples: float) -> Settled:
    """The answer to the request where the search ended at `root`, for so many training examples."""
    return Settled(
        shift=dict(zip(request.tangents, root.shift.tolist(), strict=True)),
        before=root.before,
        after=root.after,
        weights=settled_weights(request, root.shift),
        examples=examples,
    )


def find_shift(
    request: SettleRequest,
    read: Callable[[np.ndarray], Functionals],
    quick: Callable[[np.ndarray], Functionals] | None = None,
) -> Root:
    """Broyden's search from no shift and the request's Jacobian, within its reach; with one multiplier, the secant method.

    Every evaluation is a measurement of a model, so the fewest are wanted: scipy's bracketing methods spend two on the
    bounds before they begin, its Broyden one on each column of the Jacobian. With `quick`, a reading of a part of
    the examples, the first move goes by it, corrected by what `read` said at no shift. The best shift seen is returned, also
    if the search ends at a bound; with one multiplier the one to which the secant of the last two measurements leads, if
    that surely is within the accuracy. A reading that is not finite ends the search; no error is raised.
    """
    search = _Search(request)
    before = search.see(np.zeros(len(search.reach)), read)
    while search.unfinished:
        candidate = search.step() if quick is None or search.evaluations > 1 else search.ahead(quick)
        if candidate is None:
            break  # at a bound, or the Jacobian says nothing
        if search.sure(candidate):
            search.trust(candidate)
            break
        search.see(candidate, read)
    return Root(shift=search.best * search.reach, before=before, after=search.best_read, evaluations=search.evaluations)


class _Search:
    """Broyden's method in units of scales and reach, so that it does not depend on units."""

    def __init__(self, request: SettleRequest) -> None:
        self._request = request
        self._targets, self._scales = np.array(request.targets), np.array(request.scales)
        self.reach = np.array([request.reach[multiplier] for multiplier in request.tangents])
        self._jacobian = np.array(request.jacobian) * self.reach[None, :] / self._scales[:, None]
        self._shift: np.ndarray | None = None
        self._reads: list[Functionals] = []
        self._miss = np.zeros(len(self._targets))
        self._seen: list[np.ndarray] = []
        self.best_size, self.evaluations = np.inf, 0
        self.best: np.ndarray
        """Where the miss was smallest; no shift if no reading was finite."""
        self.best_read: Functionals

    @property
    def unfinished(self) -> bool:
        going = bool(np.isfinite(self._miss).all()) and self.evaluations < EVALUATIONS * len(self.reach)
        return going and self.best_size > self._request.accuracy

    def miss(self, functionals: Functionals) -> np.ndarray:
        return (np.array([held.of(functionals) for held in self._request.held]) - self._targets) / self._scales

    def see(self, shift: np.ndarray, read: Callable[[np.ndarray], Functionals]) -> Functionals:
        """Read the model at `shift` and learn from it."""
        found = read(shift * self.reach)
        miss, self.evaluations = self.miss(found), self.evaluations + 1
        self._seen.append(shift)
        self._reads.append(found)
        if self._shift is None:
            self.best, self.best_read = shift, found
        elif np.isfinite(miss).all():
            self._jacobian = broyden(self._jacobian, shift - self._shift, miss - self._miss)
        self._shift, self._miss = shift, miss
        if (size := float(np.abs(miss).max())) < self.best_size:
            self.best, self.best_read, self.best_size = shift, found, size
        return found

    def step(self) -> np.ndarray | None:
        """The next shift to look at; None where there is none that was not seen."""
        assert self._shift is not None
        return self._fresh(self._shift + newton(self._jacobian, self._miss))

    def sure(self, candidate: np.ndarray) -> bool:
        """Whether the secant of two measurements is known well enough to go to `candidate` without another one."""
        if len(self.reach) > 1 or self.evaluations < 2 or abs(candidate[0]) >= 1.0:
            return False
        longest = abs(self._seen[-1][0] - self._seen[-2][0])
        near = abs(candidate[0] - self._seen[-1][0]) <= longest
        return bool(near and TRUSTED * abs(self._miss[0]) <= self._request.accuracy)

    def trust(self, candidate: np.ndarray) -> None:
        """Make `candidate` the result, with what the secant says of it."""
        before, last = self._reads[-2:]
        part = float((candidate - self._seen[-1])[0] / (self._seen[-1] - self._seen[-2])[0])
        pairs = ((getattr(before, name), getattr(last, name)) for name in ("R", "D", "C"))
        R, D, C = (new + part * (new - old) for old, new in pairs)
        S = None if before.S is None or last.S is None else last.S + part * (last.S - before.S)
        self.best, self.best_read = candidate, Functionals(R=R, D=D, C=C, S=S)

    def ahead(self, quick: Callable[[np.ndarray], Functionals]) -> np.ndarray | None:
        """The shift at which quick readings, corrected by the last full one, are on target."""
        assert self._shift is not None
        shift, miss, jacobian = self._shift, self._miss, self._jacobian
        correction = miss - self.miss(quick(shift * self.reach))
        for _ in range(EVALUATIONS):
            candidate = self._fresh(shift + newton(jacobian, miss))
            if candidate is None or np.array_equal(candidate, shift):
                break
            there = self.miss(quick(candidate * self.reach)) + correction
            if not np.isfinite(there).all():
                break
            jacobian = broyden(jacobian, candidate - shift, there - miss)
            shift, miss = candidate, there
            if float(np.abs(miss).max()) <= QUICK_ACCURACY * self._request.accuracy:
                break
        self._jacobian = jacobian
        return None if shift is self._shift else shift

    def _fresh(self, shift: np.ndarray) -> np.ndarray | None:
        shift = np.clip(shift, -1.0, 1.0)
        known = not np.isfinite(shift).all() or any(np.array_equal(shift, old) for old in self._seen)
        outside = bool(np.abs(shift).max() >= 1.0) and any(np.abs(old).max() >= 1.0 for old in self._seen[-1:])
        return None if known or outside else shift
