"""How far a walk lags behind the surface: walk its last steps back and compare at equal lam (certificate 4).

    python analysis/retrace.py RUN --back 3 --out figures

The way back starts from a stored step, with the walk's own settings, and ends at the lam of each earlier step in turn. A lag
has the opposite sign on the way back, so D, R and gamma of both ways bracket the surface: columns `D_middle` and
`D_half` (half of back minus forward, the loop's half-width) with `D_half_se`, the error of the half-width from the noise
of training and the draws (`rayfe.error_bars`; both ways taken to be as noisy as the stored one, empty where the stored
walk is too short to tell). A half-width within two errors of zero shows no lag.
The first step back still has a part of the forward lag, so its bracket is too narrow. `F_fell` is by how much the model that
came back is lower at the stored row's multipliers, nats: where it is large the walk has not lagged but was still training,
and both ways lie on the same side of the surface.

The step must be one of the last two (what a step leaves for the next is kept of those). Rows are added to FILE.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from rayfe import error_bars
from rayfe.config import RenewalConfig, RunConfig, Start, configure
from rayfe.exceptions import WalkFailed
from rayfe.records import Kind, StepRecord, Weights
from rayfe.records.backend import Backend
from rayfe.records.kinds import STATIONARY
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store
from rayfe.trajectory.driver import attempted
from rayfe.trajectory.trajectory import Trajectory

COMPARED = ("D", "R", "gamma")


@dataclass(frozen=True, kw_only=True)
class Options:
    run: Annotated[str, tyro.conf.Positional]
    """Run directory."""
    out: Path
    """Folder for retrace.csv, made if missing; rows are added."""
    back: int = 3
    """Steps to walk back."""
    step: int | None = None
    """Step to turn at; the last accepted one without it."""
    trajectory: tuple[str, ...] = ()
    """Trajectories to retrace; all without it."""


def retrace(
    backend: Backend, config: RunConfig, start: Start, rows: Sequence[StepRecord], *, state: Weights, carry: Weights, back: int
) -> list[StepRecord]:
    """Rows of the way back from the last of the accepted `rows`, one at the lam of each of the `back` rows before it.

    `state` and `carry` are the last row's. The start's row goes along, for what it holds; the rows between do not, since
    their secant and their last step lead forward.

    Raises:
        ValueError: fewer rows, another process than iso-classification, or a renewal on the way (another branch).
        WalkFailed: a step back does not succeed.
    """
    way = list(rows[-1 - back :])
    if config.process != "iso-classification" or len(way) <= back or back < 1:
        raise ValueError(f"give a walk of iso-classification with at least {back} steps before the one to turn at")
    if any(row.kind in STATIONARY for row in way[1:]):
        raise ValueError(f"{start.name}: a renewal lies on the way, which leads to another branch; turn nearer to the end")
    been = [rows[0], dataclasses.replace(way[-1], kind=str(Kind.RENEWAL), step_length=0.0, next_step_length=None)]
    found = []
    for target in reversed(way[:-1]):
        once = configure(config, both_ways=False, renewal=RenewalConfig(), time_budget=None, steps=10**6)
        leg = configure(once, lam_end=target.lam)
        walk = Trajectory(leg, start, been, state=state, carry=carry)
        while walk.finished is None:
            commit = attempted(walk, backend)
            walk.committed(commit.record, commit)
            if commit.record.accepted:
                state, carry = commit.state or {}, commit.carry or {}
        if walk.finished != "lam_end":
            raise WalkFailed(f"{start.name}: the way back ended as {walk.finished} at lam {walk.accepted[-1].lam:.4g}")
        been = list(walk.rows)
        found.append(walk.accepted[-1])
    return found


def loop(forward: Sequence[StepRecord], back: Sequence[StepRecord]) -> pd.DataFrame:
    """A line for each row of the way back: both ways at equal lam, their middle and half-width with its error."""
    bars = error_bars(pd.DataFrame([dataclasses.asdict(row) for row in forward]))
    lines = []
    for returned in back:
        number = next(i for i, row in enumerate(forward) if row.lam == returned.lam)
        row = forward[number]
        line: dict[str, object] = {
            "trajectory": row.trajectory,
            "step": row.step,
            "turned_at": forward[-1].step,
            "lam": row.lam,
        }
        for name in COMPARED:
            there, here = float(getattr(row, name)), float(getattr(returned, name))
            error = float(bars[f"{name}_noise_se"].iloc[number])
            half = {"middle": 0.5 * (there + here), "half": 0.5 * (here - there), "half_se": error / math.sqrt(2.0)}
            line |= {f"{name}_forward": there, f"{name}_back": here} | {f"{name}_{kind}": value for kind, value in half.items()}
        bound = float(returned.R) + row.lam * float(returned.D) + row.gamma * float(returned.C)  # type: ignore[arg-type]
        line["F_fell"] = float(row.F) - bound  # type: ignore[arg-type]
        lines.append(line | {"drift_forward": row.drift, "drift_back": returned.drift})
    return pd.DataFrame(lines)


def main(options: Options) -> None:
    from rayfe.backend.inline import InlineBackend
    from rayfe.data.paths import load_path

    store = Store(options.run)
    _, config = stored_config(store)
    config = configure(config, backend="inline")
    starts = config.trajectories()
    backend = InlineBackend(config, load_path(config))
    for name in options.trajectory or store.trajectories():
        rows = [row for row in store.rows(name) if row.accepted and (options.step is None or row.step <= options.step)]
        if not rows or name not in starts:
            raise ValueError(f"{name}: no such trajectory with accepted steps in {options.run}")
        back = retrace(
            backend, config, starts[name], rows, state=store.state(rows[-1]), carry=store.carry(rows[-1]), back=options.back
        )
        found = loop(rows, back)
        path = options.out / "retrace.csv"
        before = [pd.read_csv(path)] if path.exists() else []
        options.out.mkdir(parents=True, exist_ok=True)
        pd.concat([*before, found.assign(run=Path(options.run).name)]).to_csv(path, index=False, float_format="%.6g")
        print(found.round(4).to_string(index=False), flush=True)


if __name__ == "__main__":
    try:
        main(tyro.cli(Options))
    except (OSError, ValueError, WalkFailed) as error:
        print(f"{error}", file=sys.stderr)
        sys.exit(2)
