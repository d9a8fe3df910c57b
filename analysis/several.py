"""A walk on digits that holds each of three labels' losses, by a multiplier each, beside one that holds their sum alone.

The labels are those of tasks.py. J = R + lam D + sum_j gamma_j C_j; every step trains a centre and two neighbours for each
multiplier, and settles all losses along their tangents. The settle and the test of a step have draws of z of their own.

Example: python analysis/several.py --out figures --make
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tasks
import torch
import tyro
from matplotlib.figure import Figure
from torch import Tensor

from rayfe.backend.inline import InlineBackend
from rayfe.config import RunConfig, configure
from rayfe.config.presets import PRESETS
from rayfe.figures.drawing import DPI
from rayfe.model.task import MultiLabel
from rayfe.records import (
    Annealing,
    Equilibrated,
    EquilibrateRequest,
    Measured,
    MeasureRequest,
    Point,
    Reading,
    Replica,
    Split,
    StepKey,
    Weights,
)
from rayfe.records.weights import along, slope
from rayfe.surface.several import Neighbours, SeveralResponse, response_of, settled, velocity

NAMES = ("even", "above 4", "loop")
HELD: Mapping[str, np.ndarray] = {"each": np.eye(3), "sum": np.ones((1, 3))}
"""What is held: combinations of the labels' losses, a row each with its multiplier."""
TOLERANCE, DELTA, LENGTH, SETS = 0.02, 0.1, 0.13, 4
"""Of each held loss; distance of neighbours as a part of gamma; step in log lam; sets of draws of z."""
GAMMA, LAM = 4.0, 1.0
REACH = 0.3
"""How far a settle may go, as a part of gamma."""
STORED = tasks.RESULTS / "several"


class Priced(MultiLabel):
    """The labels' losses, each times its price: a buffer, which every replica has its own of."""

    price: Tensor

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.register_buffer("price", GAMMA * torch.ones(outputs))

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        columns = zip(prediction.split(1, -1), y.split(1, -1), strict=True)
        each = [MultiLabel.loss(self, *column) for column in columns]
        return torch.stack(each, dim=-1) @ self.price


@dataclass
class Walk:
    """One trajectory."""

    backend: InlineBackend
    config: RunConfig
    held: np.ndarray
    """(m, 3)"""
    seed: int
    examples: float = 0.0
    step: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def key(self) -> StepKey:
        return StepKey(trajectory="several", seed=self.seed, step=self.step, attempt=0)

    def priced(self, weights: Weights, gamma: np.ndarray) -> Weights:
        return {**weights, "task.price": (gamma @ self.held).astype(np.float32)}

    def trained(self, lam: float, starts: Sequence[Weights | None], **options: Any) -> tuple[Weights, ...]:
        replicas = [Replica(name=f"{i}", point=Point(lam=lam, gamma=1.0), weights=one) for i, one in enumerate(starts)]
        found = self.backend.answer(EquilibrateRequest(key=self.key, replicas=tuple(replicas), **options))
        assert isinstance(found, Equilibrated)
        self.examples += found.examples
        return found.weights

    def read(self, lam: float, weights: Weights, purpose: str) -> list[Reading]:
        """A reading for each label, whose C is that label's loss alone."""
        alone = [{**weights, "task.price": row.astype(np.float32)} for row in np.eye(len(NAMES))]
        replicas = tuple(Replica(name=f"{i}", point=Point(lam=lam, gamma=1.0), weights=one) for i, one in enumerate(alone))
        request = MeasureRequest(key=self.key, replicas=replicas, splits=(Split.TRAIN,), purpose=purpose, draw_sets=SETS)
        found = self.backend.answer(request)
        assert isinstance(found, Measured)
        self.examples += found.examples
        return list(found.readings)

    def losses(self, lam: float, weights: Weights, purpose: str) -> np.ndarray:
        """What is held, (m,)."""
        return self.held @ [reading.C for reading in self.read(lam, weights, purpose)]

    def at(self, lam: float, centre: Weights, tangents: Sequence[Weights], here: np.ndarray, there: np.ndarray) -> np.ndarray:
        """What is held by the chart around `centre`, whose multipliers are `here`, at other ones."""
        return self.losses(lam, moved(centre, tangents, there - here), "settle")

    def stencil(self, lam: float, weights: Weights, gamma: np.ndarray) -> tuple[Weights, list[Weights], SeveralResponse]:
        """The trained centre, its tangents and its response."""
        shifts = [sign * row for row, sign in itertools.product(np.diag(DELTA * gamma), (1.0, -1.0))]
        trained = self.trained(lam, [self.priced(weights, gamma + shift) for shift in (np.zeros_like(gamma), *shifts)])
        reads = [self.read(lam, one, "settle") for one in trained[1:]]
        C = np.array([self.held @ [one.C for one in read] for read in reads])
        D = np.array([read[0].D for read in reads])
        noise = np.array([self.held @ np.array([one.C_noise for one in read]) for read in reads])
        width = 2.0 * DELTA * gamma
        tangents = [slope(up, down, w) for up, down, w in zip(trained[1::2], trained[2::2], width, strict=True)]
        read = Neighbours(
            width=width,
            C_up=C[::2],
            C_down=C[1::2],
            D_up=D[::2],
            D_down=D[1::2],
            C_noise=np.linalg.norm(noise[::2] - noise[1::2], axis=-1),
        )
        return trained[0], tangents, response_of(read)

    def go(self, steps: int) -> list[dict[str, Any]]:
        """The rows of a walk: the start, and so many steps."""
        epochs, lam, gamma = self.config.equilibration.first_epochs, LAM, np.full(len(self.held), GAMMA)
        (weights,) = self.trained(lam, [None], annealing=Annealing(epochs=epochs, begin=0.0, end=epochs))
        weights, tangents, response = self.stencil(lam, weights, gamma)
        targets = self.losses(lam, weights, "settle")
        first = self.row(lam, gamma, weights, response)
        for self.step in range(1, steps + 1):
            ahead = lam * math.exp(LENGTH)
            predicted = gamma + LENGTH * velocity(gamma, response, lam_dot=lam)
            lam = ahead
            centre, tangents, response = self.stencil(lam, self.priced(weights, predicted), predicted)
            found = settled(
                partial(self.at, lam, centre, tangents, predicted),
                predicted,
                targets,
                response.C_gamma,
                allowed=0.1 * TOLERANCE * targets,
                reach=REACH * predicted,
            )
            weights, gamma = moved(centre, tangents, found.gamma - predicted), found.gamma
            self.row(lam, gamma, weights, response, first)
        return self.rows

    def row(
        self, lam: float, gamma: np.ndarray, weights: Weights, response: SeveralResponse, first: list[Reading] | None = None
    ) -> list[Reading]:
        """Judge a model by draws of its own, and keep its numbers; returns what was read."""
        read = self.read(lam, weights, "test")
        start = read if first is None else first
        off, error = (one.tolist() for one in drifts(np.eye(len(NAMES)), read, start))
        held_off, held_error = drifts(self.held, read, start)
        row = {"seed": self.seed, "step": self.step, "lam": lam, "R": read[0].R, "D": read[0].D}
        row |= {f"gamma {i}": value for i, value in enumerate(gamma.tolist())}
        row |= {f"C {name}": one.C for name, one in zip(NAMES, read, strict=True)}
        row |= {f"drift {name}": value for name, value in zip(NAMES, off, strict=True)}
        row |= {f"drift_se {name}": value for name, value in zip(NAMES, error, strict=True)}
        row |= {"worst held": float((np.abs(held_off) + 4.0 * held_error).max())}
        row |= {"asymmetry": response.asymmetry, "examples": self.examples}
        self.rows.append(row)
        print({name: value if isinstance(value, int) else round(value, 4) for name, value in row.items()}, flush=True)
        return read


def drifts(held: np.ndarray, read: Sequence[Reading], start: Sequence[Reading]) -> tuple[np.ndarray, np.ndarray]:
    """C / C0 - 1 of each held combination with its standard error; noise that both have in common cancels."""
    C, C0 = (held @ [one.C for one in readings] for readings in (read, start))
    noise, noise0 = (held @ np.array([one.C_noise for one in readings]) for readings in (read, start))
    return C / C0 - 1.0, np.linalg.norm(noise - (C / C0)[:, None] * noise0, axis=1) / C0


def moved(weights: Weights, tangents: Sequence[Weights], shift: np.ndarray) -> Weights:
    """The chart at this shift of the multipliers; prices move with them."""
    for tangent, amount in zip(tangents, shift.tolist(), strict=True):
        weights = along(weights, tangent, amount)
    return weights


def walk(steps: int, seeds: Sequence[int]) -> None:
    """Make the walks and keep their rows."""
    given = tasks.multi_label()
    model = given["model"] | {"task": f"{__name__}:{Priced.__name__}"}
    config = configure(PRESETS["isoc"]["digits-smoke"](), model=model, backend="inline", replicas_per_evaluator=7)
    STORED.mkdir(parents=True, exist_ok=True)
    for name, held in HELD.items():
        rows = []
        for seed in seeds:
            rows += Walk(backend=InlineBackend(config, given["data"]), config=config, held=held, seed=seed).go(steps)
        pd.DataFrame(rows).to_csv(STORED / f"{name}.csv", index=False, float_format="%.7g")


def largest(off: pd.Series) -> float:
    """The drift that is furthest from 0."""
    values = off.to_numpy(float)
    return float(values[np.abs(values).argmax()])


def drawn(found: Mapping[str, pd.DataFrame]) -> Figure:
    """C_j / C0_j - 1 of each label on the way, a panel for what is held."""
    figure = Figure(figsize=(9.0, 3.6), dpi=DPI, layout="constrained")
    for axes, (name, rows) in zip(figure.subplots(1, len(found), sharey=True), found.items(), strict=True):
        for label, color in zip(NAMES, ("#0072B2", "#D55E00", "#009E73"), strict=True):
            for seed, one in rows.groupby("seed"):
                told = label if seed == rows["seed"].iloc[0] else None
                axes.plot(one["lam"], 100.0 * one[f"drift {label}"], "o-", color=color, markersize=3, linewidth=1, label=told)
        axes.axhspan(-100.0 * TOLERANCE, 100.0 * TOLERANCE, color="#000000", alpha=0.07, linewidth=0)
        axes.set(xlabel="Lambda λ", title=f"held: {'each loss' if name == 'each' else 'the sum of the three'}")
    figure.axes[0].set_ylabel("C_j / C0_j - 1 (%)")
    figure.axes[0].legend(title="loss of label")
    return figure


def main(out: Path, make: bool = False, steps: int = 6, seeds: tuple[int, ...] = (0, 1, 2)) -> int:
    """Print the table and draw the figure.

    Args:
        out: folder for the PNG file, made if missing.
        make: make the walks first; without it the stored rows are drawn.
        steps: of each walk.
        seeds: a walk each.
    """
    if make:
        walk(steps, seeds)
    found = {name: pd.read_csv(STORED / f"{name}.csv") for name in HELD}
    for name, rows in found.items():
        ends = rows.groupby("seed").tail(1)
        worst = rows.groupby("seed")[[f"drift {label}" for label in NAMES]].agg(largest)
        print(f"\nheld: {name}; largest drifts in %, the end, and what it cost\n{(100.0 * worst).round(2).to_string()}")
        print(ends.drop(columns=[column for column in rows if "drift" in str(column)]).round(4).to_string(index=False))
    out.mkdir(parents=True, exist_ok=True)
    drawn(found).savefig(out / "several.png")
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
