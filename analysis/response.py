"""Hess F of one stored model, by neighbours that are trained for T epochs and by exact derivatives at several dampings.

    python analysis/response.py RUN --step 8 --epochs 0.5 1 2 4 8 --damping 0.001 0.01 0.1 1 --out figures

Neighbours (lam +- 10 %, gamma +- 10 %) all begin as the stored model and share batches and noise. What they say after T updates is
(I - S) of the response at equilibrium, so it grows with T. Exact derivatives
(Lemma 5) are those of the surface plus a damping, on `--examples` images. Column `slope` is dgamma/dlam at constant C (31) with
C_lam = D_gamma; `maxwell` is C_lam / D_gamma - 1; a decrement is in nats. Rows that FILE holds already are not computed again.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import tyro

from rayfe.config import RunConfig, StencilConfig, configure, from_flat
from rayfe.records import (
    DifferentiateRequest,
    EquilibrateRequest,
    MeasureRequest,
    Outcome,
    Point,
    Replica,
    Response,
    Split,
    StepKey,
    Weights,
)
from rayfe.records.backend import Backend
from rayfe.storage.store import Store
from rayfe.surface.response import response_of
from rayfe.surface.stencil import neighbours


@dataclass(frozen=True, kw_only=True)
class Options:
    run: Annotated[str, tyro.conf.Positional]
    """Run directory."""
    out: Path
    """Folder for response.csv, made if missing; rows are added."""
    step: int
    """Accepted step whose model is read."""
    trajectory: str | None = None
    """Trajectory of the step; the only one without it."""
    epochs: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    """How long neighbours are trained, by the walk's schedule."""
    damping: tuple[float, ...] = (0.001, 0.01, 0.1, 1.0)
    """Dampings of the exact derivatives."""
    examples: int = 6000
    """Images of the exact derivatives' fixed batch."""
    iterations: int = 40
    """Hessian-vector products a solve, at most."""
    threads: int = 2


def by_neighbours(backend: Backend, key: StepKey, point: Point, weights: Weights) -> tuple[Response, float]:
    """Response by the paper's stencil around a model, and the training examples that it took.

    Raises:
        ValueError: a neighbour's training diverged.
    """
    replicas = tuple(
        Replica(name=name, point=at, weights=weights) for name, at in neighbours(point, "paper", StencilConfig()).items()
    )
    trained = backend.equilibrate(EquilibrateRequest(key=key, replicas=replicas))
    if trained.outcome is not Outcome.OK:
        raise ValueError(f"the neighbours' training ended as {trained.outcome}; train with a lower learning rate")
    now = tuple(dataclasses.replace(replica, weights=end) for replica, end in zip(replicas, trained.weights, strict=True))
    read = backend.measure(MeasureRequest(key=key, replicas=now, splits=(Split.TRAIN,), purpose="settle"))
    return response_of({reading.replica: reading for reading in read.readings}), trained.examples + read.examples


def line(response: Response) -> dict[str, float | None]:
    """What a row says of a response."""
    C_lam, C_gamma, D_gamma = response.C_lam, response.C_gamma, response.D_gamma
    assert D_gamma is not None
    return {
        "D_lam": response.D_lam,
        "D_gamma": D_gamma,
        "C_lam": C_lam,
        "C_gamma": C_gamma,
        "C_gamma_se": response.C_gamma_se,
        "slope": -D_gamma / C_gamma,
        "maxwell": C_lam / D_gamma - 1.0,
    }


def main(options: Options) -> None:
    from rayfe.backend.inline import InlineBackend
    from rayfe.data.datasets import load
    from rayfe.training.exact_derivatives import SOLVE, Solve

    store = Store(options.run)
    config = configure(from_flat(store.read_config()["config"]), threads=options.threads)
    names = store.trajectories()
    if options.trajectory is None and len(names) != 1:
        raise ValueError(f"{options.run} has {len(names)} trajectories; name one with --trajectory")
    name = options.trajectory or names[0]
    rows = [row for row in store.rows(name) if row.accepted and row.step == options.step]
    if not rows:
        raise ValueError(f"{name} has no accepted step {options.step} in {options.run}")
    row, data = rows[0], load(config.data)
    point, weights = Point(lam=row.lam, gamma=row.gamma), store.state(row)
    key = StepKey(trajectory=f"response {name} {row.step}", seed=row.seed, step=0, attempt=0)
    path = options.out / "response.csv"
    done = pd.read_csv(path) if path.exists() else pd.DataFrame()

    def backend(changed: RunConfig, solve: Solve = SOLVE) -> InlineBackend:
        return InlineBackend(changed, data, solve=solve)

    def add(kind: str, value: float, found: dict[str, float | None]) -> None:
        nonlocal done
        described = {"run": Path(options.run).name, "trajectory": name, "step": row.step, "lam": row.lam, "gamma": row.gamma}
        done = pd.concat([done, pd.DataFrame([described | {"kind": kind, "value": value} | found])], ignore_index=True)
        options.out.mkdir(parents=True, exist_ok=True)
        done.to_csv(path, index=False, float_format="%.6g")
        print({name: round(value, 5) for name, value in found.items() if value is not None} | {kind: value}, flush=True)

    def known(kind: str, value: float) -> bool:
        wanted = [Path(options.run).name, name, row.step, kind, value]
        return bool(len(done) and (done[["run", "trajectory", "step", "kind", "value"]] == wanted).all(axis=1).any())

    for epochs in options.epochs:
        if not known("epochs", epochs):
            changed = configure(config, equilibration=dataclasses.replace(config.equilibration, epochs=epochs))
            response, examples = by_neighbours(backend(changed), key, point, weights)
            add("epochs", epochs, line(response) | {"examples": examples})
    for damping in options.damping:
        if not known("damping", damping):
            solve = Solve(examples=options.examples, iterations=options.iterations, damping=damping)
            exact = backend(config, solve).differentiate(DifferentiateRequest(key=key, point=point, weights=weights))
            more = {"decrement": exact.decrement, "C_lag": exact.C_lag, "residual": exact.residual}
            add("damping", damping, line(exact.response) | more | {"examples": exact.examples})


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except (OSError, ValueError, KeyError) as error:
        print(f"{error}", file=sys.stderr)
        sys.exit(2)
