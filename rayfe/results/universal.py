"""What one encoder for all of a walk's points would lose: encoders of its models at each other's multipliers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rayfe.config import require
from rayfe.records import Outcome, StepRecord
from rayfe.records.universal import ANY, UniversalRecord
from rayfe.surface.equivalence import over_seeds

Walks = Mapping[str, Sequence[StepRecord]]
"""The chosen models of each trajectory, in order of lam: as many of each."""
NAMES = ("F", "D", "C")


def spread(walks: Walks, count: int) -> dict[str, list[StepRecord]]:
    """So many rows of each trajectory, nearest to values of lam whose ratios are equal, over the range that all trajectories have.

    Raises:
        UsageError: models; a trajectory has fewer.
    """
    found = {name: sorted(rows, key=lambda row: row.lam) for name, rows in walks.items()}
    least = min(found, key=lambda name: len(found[name]))
    have = len(found[least])
    fix = f"{least} has {have} of different lam with stored weights"
    require(have >= count, "models", count, f"{fix}; give ``models={have}``" if have > 1 else f"{fix}, and two are the fewest")
    low, high = max(rows[0].lam for rows in found.values()), min(rows[-1].lam for rows in found.values())
    return {name: _nearest(rows, np.geomspace(low, max(low, high), count)) for name, rows in found.items()}


def _nearest(rows: Sequence[StepRecord], wanted: np.ndarray) -> list[StepRecord]:
    """Different rows in order, each near its wanted lam."""
    logs, chosen = np.log([row.lam for row in rows]), list[int]()
    for place, lam in enumerate(wanted):
        nearest = int(np.abs(logs - math.log(lam)).argmin())
        first = chosen[-1] + 1 if chosen else 0
        chosen.append(min(max(nearest, first), len(rows) - len(wanted) + place))
    return [rows[index] for index in chosen]


@dataclass(frozen=True, kw_only=True, slots=True)
class Matrix:
    """Encoders (rows i) at the multipliers of points (columns j), both (k,) in order of lam.

    A penalty compares encoder i with encoder j at point j, both with new decoders and classifiers, so that it is 0 where i = j. Means
    are over trajectories where there are several, otherwise over new decoders; so are their standard errors, NaN of one alone.
    """

    lam: np.ndarray
    """Geometric means over trajectories, (k,)."""
    gamma: np.ndarray
    steps: tuple[tuple[int, ...], ...]
    """Numbers of the steps, by trajectory."""
    own: Mapping[str, np.ndarray]
    """R, D and C of each encoder with the new decoders and classifiers of its own point, (k,) each."""
    penalty: Mapping[str, np.ndarray]
    """(F_ij - F_jj) / |F_jj|, D_ij - D_jj and C_ij - C_jj in nats, (k, k) each, by name."""
    error: Mapping[str, np.ndarray]
    mean: np.ndarray
    """Mean penalty in F of each encoder over the points, (k,)."""
    mean_error: np.ndarray
    excess: np.ndarray
    """F_jj less F of the stored model, in parts of its size, (k,): what new decoders and classifiers lose by their training alone."""
    excess_error: np.ndarray
    trajectories: int
    decoders: int
    """Of each encoder."""

    @property
    def repeats(self) -> int:
        """What standard errors are over."""
        return self.trajectories if self.trajectories > 1 else self.decoders

    @property
    def best(self) -> int:
        """The encoder with the smallest mean penalty in F."""
        return int(self.mean.argmin())

    @property
    def worst(self) -> np.ndarray:
        """For each encoder the point of another where its penalty in F is largest, (k,)."""
        return np.where(np.eye(len(self.lam), dtype=bool), -np.inf, self.penalty["F"]).argmax(1)


def matrix_of(walks: Walks, records: Sequence[UniversalRecord], *, seeds: int, epochs: float, shared: bool) -> Matrix:
    """The matrix of the chosen models; `shared`: each encoder was trained at every point. A seed of a trajectory with a training that
    diverged is left out.

    Raises:
        UsageError: seeds; none is left of a trajectory.
    """
    known = {record.trained: record for record in records if record.outcome == Outcome.OK}
    values, excess = [], []
    for name, rows in walks.items():
        own = [_values(rows, known, seed, epochs, shared) for seed in range(1, seeds + 1)]
        whole = [one for one in own if one is not None]
        require(bool(whole), "seeds", seeds, f"a training of each diverged for {name}; give ``seeds={seeds + 1}``")
        values.append(whole)
        stored = np.array([row.F for row in rows], float)
        excess.append([(np.diag(one["F"]) - stored) / np.abs(stored) for one in whole])
    lost = [[_penalties(one) for one in whole] for whole in values]
    penalty = {name: _over([[one[name] for one in whole] for whole in lost]) for name in NAMES}
    mean, mean_error = _over([[one["F"].mean(1) for one in whole] for whole in lost])
    above, above_error = _over(excess)
    lam, gamma = (
        np.array([[getattr(row, name) for row in rows] for rows in walks.values()], float) for name in ("lam", "gamma")
    )
    return Matrix(
        lam=np.exp(np.log(lam).mean(0)),
        gamma=gamma.mean(0),
        steps=tuple(tuple(row.step for row in rows) for rows in walks.values()),
        own={name: _over([[_own(one[name]) for one in whole] for whole in values])[0] for name in ("R", "D", "C")},
        penalty={name: value for name, (value, _) in penalty.items()},
        error={name: error for name, (_, error) in penalty.items()},
        mean=mean,
        mean_error=mean_error,
        excess=above,
        excess_error=above_error,
        trajectories=len(values),
        decoders=min(map(len, values)),
    )


def _values(
    rows: Sequence[StepRecord],
    known: Mapping[tuple[str, str, int, float, float, float], UniversalRecord],
    seed: int,
    epochs: float,
    shared: bool,
) -> dict[str, np.ndarray] | None:
    """F, D and C of encoder i at point j, (k, k) each, and R of the encoders (k,); None where a training is not there."""
    lam, gamma = (np.array([getattr(row, name) for row in rows], float) for name in ("lam", "gamma"))
    found = []
    for row in rows:
        points = zip(lam.tolist(), gamma.tolist(), strict=True) if shared else [(ANY.lam, ANY.gamma)] * len(rows)
        keys = [(row.trajectory, str(row.state_sha256), seed, epochs, *point) for point in points]
        if any(key not in known for key in keys):
            return None
        found.append([known[key] for key in keys])
    R, D, C = (np.array([[getattr(record, name) for record in line] for line in found], float) for name in ("R", "D", "C"))
    return {"R": R[:, 0], "D": D, "C": C, "F": R + lam * D + gamma * C}


def _own(values: np.ndarray) -> np.ndarray:
    return np.diag(values) if values.ndim == 2 else values


def _penalties(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    off = {name: values[name] - np.diag(values[name]) for name in NAMES}
    return off | {"F": off["F"] / np.abs(np.diag(values["F"]))}


def _over(values: Sequence[Sequence[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error of values by trajectory and new decoder."""
    repeats = np.array([np.mean(own, axis=0) for own in values] if len(values) > 1 else values[0])
    if len(repeats) < 2:
        return repeats[0], np.full_like(repeats[0], np.nan)
    return repeats.mean(0), repeats.std(0, ddof=1) / math.sqrt(len(repeats))


# --- in words -------------------------------------------------------------------------------------------------------------


def frame_of(matrix: Matrix) -> pd.DataFrame:
    """The matrix as a table, a line for each encoder and point: `encoder_lam`, `lam` and `gamma` of the point, and the penalties with
    their standard errors (`F` as a part of F, `D` in its unit, `C` in nats)."""
    k = len(matrix.lam)
    i, j = np.divmod(np.arange(k * k), k)
    columns = {"encoder_lam": matrix.lam[i], "encoder_R": matrix.own["R"][i], "lam": matrix.lam[j], "gamma": matrix.gamma[j]}
    for name in NAMES:
        columns |= {name: matrix.penalty[name][i, j], f"{name}_se": matrix.error[name][i, j]}
    return pd.DataFrame(columns)


def table_of(matrix: Matrix) -> str:
    """Each encoder on a line: what it is with new decoders and classifiers, and its penalties in F, per cent."""
    lines = [["encoder", "R", "D", "C", "mean", *(f"{lam:.3g}" for lam in matrix.lam)]]
    for i, lam in enumerate(matrix.lam):
        own = (f"{matrix.own['R'][i]:.2f}", f"{matrix.own['D'][i]:.3f}", f"{matrix.own['C'][i]:.4f}")
        lines.append([f"lam {lam:.3g}", *own, *(f"{100 * value:.2f}" for value in (matrix.mean[i], *matrix.penalty["F"][i]))])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return f"penalty in F, per cent, of each encoder on average and at the lam of each point\n{text}"


def sentence(matrix: Matrix) -> str:
    """What a universal encoder would lose, with half the 95 % interval over trajectories or new decoders."""
    i, wide = matrix.best, over_seeds(matrix.repeats) if matrix.repeats > 1 else math.nan
    worst = int(matrix.worst[i])
    F, D, C = ((matrix.penalty[name][i, worst], wide * matrix.error[name][i, worst]) for name in NAMES)
    R = matrix.own["R"][i] - matrix.own["R"][worst]
    return (
        f"One encoder for all {len(matrix.lam)} points, the one of lam {matrix.lam[i]:.3g}, would lose "
        f"{_percent(matrix.mean[i], wide * matrix.mean_error[i])} of F on average and {_percent(*F)} at lam {matrix.lam[worst]:.3g}, "
        f"where R is {R:+.3g} nats, D {_off(*D)} and C {_off(*C)} nats off; {_basis(matrix)}. New decoders and classifiers of the "
        f"models' own encoders are {_percent(matrix.excess.min())} to {_percent(matrix.excess.max())} above the stored models in F."
        f"{_beaten(matrix)}"
    )


def _beaten(matrix: Matrix) -> str:
    """That points have encoders of others below their own, which no equilibrium has."""
    F = matrix.penalty["F"]
    if not (lower := int((F < 0.0).sum())):
        return ""
    off = f"{lower} of {F.size - len(F)} penalties are negative, down to {_percent(F.min())}"
    return f" {off}: there the point's own encoder is not the best one for it, so it is not at equilibrium."


def _basis(matrix: Matrix) -> str:
    decoders = f"{matrix.decoders} new decoder{'s' if matrix.decoders > 1 else ''}"
    if matrix.trajectories > 1:
        return f"95 % intervals over {matrix.trajectories} walks, {decoders} of each encoder"
    return (
        f"95 % intervals over {decoders} of one walk's encoders" if matrix.decoders > 1 else "of one walk and one new decoder"
    )


def _percent(part: float, error: float = math.nan) -> str:
    return f"{100 * part:.2f}{'' if math.isnan(error) else f' ± {100 * error:.2f}'} %"


def _off(value: float, error: float) -> str:
    return f"{value:+.3g}{'' if math.isnan(error) else f' ± {error:.1g}'}"
