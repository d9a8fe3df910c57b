"""Digits whose three labels' losses are held, by a multiplier each, in three ways of equal training examples: a table and a figure.

- each: process iso-losses (preset digits-labels).
- sum: process iso-classification, which holds the sum of the three, with longer equilibrations.
- cooper: from the start of `each`, along the same lam, trainings of R + lam D under three constraints, whose multipliers Cooper moves
  (nuPI; settings are those of jobs/benchmark.py). Model, multipliers and optimizer go on from one lam to the next.

Example: python analysis/several.py --out figures
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cooper
import numpy as np
import pandas as pd
import torch
import tyro
from matplotlib.figure import Figure
from torch import Tensor

import rayfe
from rayfe.backend.inline import InlineBackend
from rayfe.backend.models import Models
from rayfe.config import configure
from rayfe.config.presets import PRESETS
from rayfe.data.datasets import load
from rayfe.data.device_path import Still, to_device
from rayfe.data.paths import PathData
from rayfe.data.randomness import generator
from rayfe.figures.drawing import DPI
from rayfe.model.likelihood import likelihood_of
from rayfe.model.marginal import encoded
from rayfe.model.objective import Noise, draw_noise, rate, sample
from rayfe.model.posterior import widths_of
from rayfe.model.task import task_of
from rayfe.records import Measured, MeasureRequest, Point, Reading, Replica, Split, StepKey, StepRecord, Weights
from rayfe.storage.store import Store
from rayfe.training.optimizer import left_by, make_optimizer
from rayfe.training.replicas import Looped
from rayfe.training.schedule import learning_rate
from rayfe.training.train import HEAD_DRAWS, set_rate

STORED = Path(__file__).parent / "results" / "tasks" / "several"
PRESET, LABELS = "digits-labels", ("even", "above 4", "loop")
EPOCHS = {"each": 25.0, "sum": 95.0}
"""Of one equilibration: the walks cost as many examples so."""
METHODS = {"each": "iso-losses: each loss", "sum": "iso-classification: the sum", "cooper": "Cooper (nuPI): each loss"}
TOLERANCE, SETS = 0.02, 16
"""Of each loss; sets of draws with which all models are read at last."""
GAIN, PROPORTIONAL, AVERAGE, LOOKS, LAST_LOOK = 1.0, 1.0, 0.98, 2, 0.6
"""Of nuPI; readings of the losses in evaluation mode during a training, and the part of it at which the last one is."""


class Constraints(cooper.ConstrainedMinimizationProblem):
    """R + lam D with each loss at its level; violations are relative, so that multipliers are gamma_j C0_j."""

    def __init__(self, multipliers: Tensor) -> None:
        super().__init__()
        self.held = cooper.Constraint(
            constraint_type=cooper.ConstraintType.EQUALITY,
            formulation_type=cooper.formulations.Lagrangian,
            multiplier=cooper.multipliers.DenseMultiplier(init=multipliers),
        )

    def compute_cmp_state(self, loss: Tensor, violation: Tensor) -> cooper.CMPState:
        return cooper.CMPState(loss=loss, observed_constraints={self.held: cooper.ConstraintState(violation=violation)})


class Comparison:
    """Models of the preset, trained by Cooper and read with each label's loss."""

    def __init__(self) -> None:
        self.config = configure(PRESETS["isoc"][PRESET](), backend="inline")
        data = PathData(kind="still", source=load(self.config.data))
        device = torch.device("cpu")
        self.backend = InlineBackend(self.config, data, device=device)
        self.models = Models(self.config.model, data, device, torch.float32, priced=True)
        self.path = Still(to_device(data.source.train, device, torch.float32, self.models.shape))

    def read(self, row: StepRecord, weights: Weights, purpose: str, sets: int) -> tuple[Reading, float]:
        """R, D and the losses of a model, and what that cost."""
        key = StepKey(trajectory=row.trajectory, seed=row.seed, step=row.step, attempt=0)
        replica = Replica(name="model", point=Point(lam=row.lam, gamma=row.gamma), weights=weights)
        request = MeasureRequest(key=key, replicas=(replica,), splits=(Split.TRAIN,), purpose=purpose, draw_sets=sets)
        found = self.backend.answer(request)
        assert isinstance(found, Measured)
        return found.readings[0], found.examples

    def constrained(self, rows: list[StepRecord], start: Weights) -> list[tuple[Weights, np.ndarray, float]]:
        """Models, multipliers and examples at the lam of the `rows` of a walk, with as many examples for each as its step had on the
        average."""
        budget = (rows[-1].examples - rows[0].examples) / (len(rows) - 1)
        level = np.array(self.read(rows[0], start, "settle", SETS)[0].losses)
        weights, learnt, gamma, ratio = start, None, np.full(len(level), rows[0].gamma), np.ones(len(level))
        found = [(start, gamma, rows[0].examples)]
        for row in rows[1:]:
            look_costs = LOOKS * self.read(row, weights, "settle", 1)[1]
            updates = round((budget - look_costs) / self.config.equilibration.batch)
            weights, learnt, gamma, ratio = self._trained(row, weights, learnt, gamma, ratio, level, updates)
            found.append((weights, gamma, found[-1][2] + updates * self.config.equilibration.batch + look_costs))
        return found

    def _trained(
        self,
        row: StepRecord,
        weights: Weights,
        learnt: Weights | None,
        gamma: np.ndarray,
        ratio: np.ndarray,
        level: np.ndarray,
        updates: int,
    ) -> tuple[Weights, Weights, np.ndarray, np.ndarray]:
        config, model = self.config.equilibration, self.models.with_weights(weights, seed=row.seed)
        replicas = Looped([model])
        optimizer, scheduled = make_optimizer(replicas, learnt, config), learning_rate(config, None, 1.0)
        rates = [scheduled((update + 0.5) / updates) for update in range(updates)]
        parts = [one / max(rates) for one in rates]
        problem = Constraints(torch.tensor(gamma * level, dtype=torch.float32))
        multipliers = next(iter(problem.dual_parameters()))
        first = multipliers.detach().clone()
        dual_rate = GAIN * float(first.mean()) / sum(parts)
        dual = cooper.optim.nuPI(
            [multipliers], lr=dual_rate, Kp=PROPORTIONAL * first / dual_rate, ema_nu=AVERAGE, maximize=True
        )
        both = cooper.optim.SimultaneousOptimizer(problem, optimizer, dual)
        order, noise = (generator(torch.device("cpu"), row.seed, row.step, "cooper", name) for name in ("order", "noise"))
        looks = {round(updates * LAST_LOOK * (i + 1) / LOOKS) for i in range(LOOKS)}
        average, C0 = None, torch.tensor(level, dtype=torch.float32)
        for update, batch in enumerate(self.path.batches(0.0, config.batch, updates=updates, rng=order)):
            set_rate(optimizer, rates[update])
            dual.param_groups[0]["lr"] = parts[update] * dual_rate
            drawn = draw_noise(
                noise, n=len(batch), widths=widths_of(model), decoder_draws=1, head_draws=HEAD_DRAWS, dtype=torch.float32
            )
            R, D, losses = functionals(model, batch.x, batch.y, drawn)
            seen = losses.detach().numpy().astype(float)
            average = seen if average is None else AVERAGE * average + (1.0 - AVERAGE) * seen
            if update in looks:
                ratio = average / np.array(self.read(row, replicas.weights()[0], "settle", 1)[0].losses)
            both.roll({"loss": R + row.lam * D, "violation": (losses - torch.tensor(ratio).float() * C0) / C0})
        return replicas.weights()[0], left_by(optimizer, replicas), multipliers.detach().numpy() / level, ratio


def functionals(model: Any, x: Tensor, y: Tensor, noise: Noise) -> tuple[Tensor, Tensor, Tensor]:
    """R, D and each loss of a batch, as in training."""
    mean, log_variance, _ = encoded(model, x)
    D = likelihood_of(model)(x, model.decode(sample(mean, log_variance, noise.decoder[0])))
    z = sample(mean, log_variance, noise.head)
    losses = task_of(model).losses(model.classify(z.flatten(0, 1)).view(*z.shape[:2], -1), y)
    return rate(mean, log_variance).mean(), D.mean(), losses.mean((0, 1))


def walk(runs: Path, seeds: tuple[int, ...], steps: int) -> None:
    """Make the walks below `runs`, and keep what is read of their models."""
    models, found = Comparison(), []
    for name, process in (("each", "iso-losses"), ("sum", "iso-classification")):
        equilibration = {"epochs": EPOCHS[name]}
        rayfe.walk(PRESET, process=process, seed=seeds, steps=steps, equilibration=equilibration, out=runs / name)
    for seed in seeds:
        for name in ("each", "sum"):
            store = Store(str(runs / name))
            rows = [row for row in store.rows(f"lam1-gamma4-seed{seed}") if row.accepted]
            states = [store.state(row) for row in rows]
            if name == "each":
                trained = models.constrained(rows, states[0])
                found += kept(
                    models,
                    "cooper",
                    rows,
                    [one[0] for one in trained],
                    [one[1] for one in trained],
                    [one[2] for one in trained],
                )
            gamma = [np.array(row.multipliers or 3 * (row.gamma,)) for row in rows]
            found += kept(models, name, rows, states, gamma, [row.examples for row in rows])
    STORED.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(found).to_csv(STORED / "rows.csv", index=False, float_format="%.7g")


def kept(
    models: Comparison,
    method: str,
    rows: list[StepRecord],
    states: list[Weights],
    gamma: list[np.ndarray],
    examples: list[float],
) -> list[dict[str, Any]]:
    """What is read of models at the lam of these rows."""
    lines: list[dict[str, Any]] = []
    for row, weights, multipliers, cost in zip(rows, states, gamma, examples, strict=True):
        read = models.read(row, weights, "test", SETS)[0]
        line = {
            "method": method,
            "seed": row.seed,
            "step": row.step,
            "lam": row.lam,
            "R": read.R,
            "D": read.D,
            "examples": cost,
        }
        line |= {f"C_{name}": loss for name, loss in zip(LABELS, read.losses, strict=True)}
        line |= {f"gamma_{name}": one for name, one in zip(LABELS, multipliers.tolist(), strict=True)}
        lines.append(line)
    return lines


def drifts(rows: pd.DataFrame) -> pd.DataFrame:
    """C_j / C0_j - 1 of each label, a row each."""
    names = [f"C_{name}" for name in LABELS]
    first = rows.sort_values("step").groupby(["method", "seed"])[names].transform("first")
    return (rows[names] / first - 1.0).set_axis(list(LABELS), axis=1)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """A line for each method and seed: the largest |C_j / C0_j - 1| on the way, and of the last models J = R + lam D + the sum of
    gamma_j (C_j - C0_j), all at one lam and at the mean multipliers of `each`."""
    off, ends = (100.0 * drifts(rows)).abs(), rows[rows["step"] == rows["step"].max()]
    assert ends["lam"].max() / ends["lam"].min() < 1.0 + 1e-9, "the walks end at different lam"
    gamma = np.array([ends.loc[ends["method"] == "each", f"gamma_{name}"].mean() for name in LABELS])
    lines = []
    for (method, seed), one in rows.groupby(["method", "seed"]):
        first, last = one.iloc[0], one.iloc[-1]
        paid = sum(g * (last[f"C_{name}"] - first[f"C_{name}"]) for g, name in zip(gamma, LABELS, strict=True))
        line = {"method": method, "seed": seed} | {f"{name}, % off": off.loc[one.index, name].max() for name in LABELS}
        J = last["R"] + last["lam"] * last["D"] + paid
        lines.append(line | {"J": J, "R": last["R"], "D": last["D"], "million examples": last["examples"] / 1e6})
    return pd.DataFrame(lines).round(3)


def drawn(rows: pd.DataFrame) -> Figure:
    """C_j / C0_j - 1 of each label on the way, a panel for each method."""
    figure, off = Figure(figsize=(10.5, 3.6), dpi=DPI, layout="constrained"), 100.0 * drifts(rows)
    for axes, (method, title) in zip(figure.subplots(1, len(METHODS), sharey=True), METHODS.items(), strict=True):
        for label, color in zip(LABELS, ("#0072B2", "#D55E00", "#009E73"), strict=True):
            chosen = rows[rows["method"] == method]
            for number, (_, one) in enumerate(chosen.groupby("seed")):
                named: Mapping[str, str] = {} if number else {"label": label}
                axes.plot(one["lam"], off.loc[one.index, label], "o-", color=color, markersize=3, linewidth=1, **named)
        axes.axhspan(-100.0 * TOLERANCE, 100.0 * TOLERANCE, color="#000000", alpha=0.07, linewidth=0)
        axes.set(xlabel="Lambda λ", title=title)
    figure.axes[0].set_ylabel("C_j / C0_j - 1 (%)")
    figure.axes[0].legend(title="loss of label")
    return figure


def main(out: Path, runs: Path | None = None, seeds: tuple[int, ...] = (0, 1, 2), steps: int = 6) -> int:
    """Print the table and draw the figure.

    Args:
        out: folder for the PNG file, made if missing.
        runs: folder in which the walks are made first, within a few minutes each; without it the stored rows are drawn.
        seeds: a walk of each method for each.
        steps: of each walk.
    """
    if runs is not None:
        walk(runs, seeds, steps)
    rows = pd.read_csv(STORED / "rows.csv")
    print(table(rows).to_string(index=False))
    out.mkdir(parents=True, exist_ok=True)
    drawn(rows).savefig(out / "several.png")
    return 0


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
