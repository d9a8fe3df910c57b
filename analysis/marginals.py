"""Marginals of z at one point of the surface: R, D, C and F of models that differ in them alone, trained on equally many examples.

Example: python analysis/marginals.py --run digits        # makes the rows of one set; without --run: table and figure of the stored rows
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import tyro
from matplotlib.axes import Axes
from scipy.optimize import root

from rayfe import load_run
from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, EquilibrationConfig, RunConfig, configure
from rayfe.config.presets import digits_smoke, gaussian_exact, mnist_quick
from rayfe.data.datasets import load
from rayfe.data.truths import truth_of
from rayfe.records import Annealing, EquilibrateRequest, MeasureRequest, Point, Reading, Replica, Split, StepKey
from rayfe.surface.linear_gaussian import Equilibrium, LinearGaussian

RESULTS = Path(__file__).parent / "results" / "marginals"
USUAL = sorted((RESULTS.parent / "certified").glob("mnist-quick*"))
"""Runs of mnist-quick with N(0, I)."""
GAMMA = 4.0
"""At which walks are compared."""
MARGINALS = ("standard", "gaussian", "mixture", "vamp", "flow")
SEEDS = (0, 1, 2)
Set = Literal["exact", "digits", "mnist"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What is trained, and where."""

    config: RunConfig
    points: tuple[Point, ...]
    marginals: tuple[str, ...] = MARGINALS


def _mnist() -> RunConfig:
    equilibration = EquilibrationConfig(
        first_epochs=30, first_schedule="linear", first_learning_rate=1.5e-2, optimizer="soap", batch=256
    )
    return configure(mnist_quick(), data=DataConfig(name="mnist", train_size=10_000), equilibration=equilibration)


CASES: Mapping[Set, Callable[[], Case]] = {
    "exact": lambda: Case(
        config=gaussian_exact(),
        points=(Point(lam=0.6, gamma=3.0), Point(lam=10.0, gamma=4.0)),
        marginals=("standard", "gaussian", "mixture"),
    ),
    "digits": lambda: Case(config=digits_smoke(), points=(Point(lam=1.0, gamma=4.0),)),
    "mnist": lambda: Case(config=_mnist(), points=(Point(lam=1.0, gamma=4.0),)),
}


def trained(config: RunConfig, point: Point, seed: int) -> dict[Hashable, Any]:
    """A first equilibrium with new weights, and its readings."""
    data = load(config.data)
    backend, began = InlineBackend(config, data), time.monotonic()
    key = StepKey(trajectory="marginals", seed=seed, step=0, attempt=0)
    epochs = config.equilibration.first_epochs
    replica = Replica(name="centre", point=point, weights=None)
    annealing = Annealing(epochs=epochs, begin=0.0, end=epochs)
    found = backend.equilibrate(EquilibrateRequest(key=key, replicas=(replica,), preconditioner=None, annealing=annealing))
    seconds = time.monotonic() - began
    model = Replica(name="centre", point=point, weights=found.weights[0])
    request = MeasureRequest(key=key, replicas=(model,), splits=(Split.TRAIN, Split.VALIDATION), purpose="marginals")
    measured = backend.measure(request)
    train, validation = measured.readings
    row: dict[Hashable, Any] = {"marginal": config.model.marginal, "seed": seed, "lam": point.lam, "gamma": point.gamma}
    row |= {"examples": found.examples + measured.examples, "seconds": seconds}
    row |= _named(train, "") | _named(validation, "val_")
    if config.data.name == "gaussian" and (truth := truth_of(config)) and (exact := truth.at(point.lam, point.gamma, None)):
        row |= {"exact_F": exact.exact_F, "exact_R": exact.exact_R, "exact_D": exact.exact_D, "exact_C": exact.exact_C}
    return row


def _named(reading: Reading, prefix: str) -> dict[Hashable, Any]:
    return {prefix + name: getattr(reading, name) for name in ("R", "D", "C", "F", "accuracy", "R_se", "D_se", "C_se")}


def make(name: Set, seeds: tuple[int, ...], marginals: tuple[str, ...]) -> None:
    """Train what is missing of a set, and store a row each at once."""
    case, path = CASES[name](), RESULTS / f"{name}.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {(row["marginal"], row["lam"], row["seed"]) for row in rows}
    for seed in seeds:
        for point in case.points:
            for marginal in case.marginals:
                if (marginal, point.lam, seed) in done or marginal not in marginals:
                    continue
                config = configure(case.config, model={"marginal": marginal})
                rows.append(trained(config, point, seed))
                RESULTS.mkdir(parents=True, exist_ok=True)
                pd.DataFrame(rows).to_csv(path, index=False, float_format="%.7g")
                print(pd.DataFrame(rows[-1:]).round(4).to_string(index=False, header=len(rows) == 1), flush=True)


def table(name: Set) -> pd.DataFrame:
    """Means over the seeds, and the standard error of F minus that of the standard marginal, seed by seed."""
    rows = pd.read_csv(RESULTS / f"{name}.csv")
    found = []
    for (lam, marginal), some in rows.groupby(["lam", "marginal"], sort=False):
        usual = rows[(rows["marginal"] == "standard") & (rows["lam"] == lam)].set_index("seed")
        off = some.set_index("seed")["F"] - usual["F"]
        columns = ("R", "D", "C", "F", "val_R", "val_D", "val_C", "val_F", "accuracy", "val_accuracy", "R_se", "seconds")
        line = {"lam": lam, "gamma": some["gamma"].iloc[0], "marginal": marginal, "seeds": len(some)}
        line |= {column: some[column].mean() for column in columns}
        line |= {"dF": off.mean(), "dF_se": off.std(ddof=1) / np.sqrt(off.count())}
        line |= {"dval_F": (some.set_index("seed")["val_F"] - usual["val_F"]).mean()}
        if "exact_F" in rows:
            line |= {"exact_F": some["exact_F"].mean(), "F_off_percent": 100.0 * (some["F"] / some["exact_F"] - 1.0).mean()}
        found.append(line)
    return pd.DataFrame(found)


def at_equal(D: float, C: float, near: Point) -> Equilibrium:
    """The exact equilibrium with N(0, I) that has this D and C, found from nearby multipliers."""
    config = CASES["exact"]().config
    examples = load(config.data).train
    surface = LinearGaussian(examples.x, examples.y, latent=config.model.latent)

    def miss(logs: np.ndarray) -> np.ndarray:
        found = surface.at(*np.exp(logs).tolist())
        return np.array([found.D / D - 1.0, found.C / C - 1.0])

    solved = root(miss, np.log([near.lam, near.gamma + 1.0]), options={"xtol": 1e-6, "eps": 1e-4})
    return surface.at(*np.exp(solved.x).tolist())


def equal_loss() -> pd.DataFrame:
    """R of trained models with a mixture beside the least R with N(0, I) at the same D and C."""
    lines = []
    rows = pd.read_csv(RESULTS / "exact.csv")
    for point in CASES["exact"]().points:
        lam, gamma = point.lam, point.gamma
        some = rows[(rows["marginal"] == "mixture") & (rows["lam"] == lam)]
        D, C = some["D"].mean(), some["C"].mean()
        found = at_equal(D, C, point)
        assert np.allclose([found.D, found.C], [D, C], rtol=1e-4)
        lines.append({"lam": lam, "gamma": gamma, "D": D, "C": C, "R": some["R"].mean(), "R with N(0, I)": found.R})
    return pd.DataFrame(lines)


def walks() -> pd.DataFrame:
    """Walks of mnist-quick with a mixture beside those with N(0, I): means over seeds, and J = R + lam D + 4 C less that of N(0, I).

    J is at one gamma, since each walk has its own. Both kinds hold their own C.
    """
    folders = {"standard": USUAL, "mixture": sorted(RESULTS.glob("mnist-walk-*"))}
    rows = pd.concat([load_run(folder).assign(marginal=name) for name, found in folders.items() for folder in found])
    rows = rows[rows["accepted"]]
    rows["J"] = rows["R"] + rows["lam"] * rows["D"] + GAMMA * rows["C"]
    cells = rows.set_index(["marginal", "seed", "step"])
    off = (cells["J"]["mixture"] - cells["J"]["standard"]).groupby("step")
    means = rows[rows["marginal"] == "mixture"].groupby("step")[["lam", "gamma", "R", "D", "C", "val_C", "examples"]].mean()
    return means.assign(
        dJ=off.mean(), dJ_se=off.std(ddof=1) / np.sqrt(off.count()), J=cells["J"]["mixture"].groupby("step").mean()
    )


def draw(names: list[Set]) -> None:
    """R, D, C and F less those with N(0, I), a point a seed, at the first of the points."""
    figure, axes = plt.subplots(len(names), 4, figsize=(11, 2.4 * len(names)), squeeze=False, layout="constrained")
    for row, name in zip(axes, names, strict=True):
        rows = pd.read_csv(RESULTS / f"{name}.csv")
        rows = rows[rows["lam"] == rows["lam"].iloc[0]]
        row[0].set_ylabel(
            f"{name}, lam {rows['lam'].iloc[0]:g}, gamma {rows['gamma'].iloc[0]:g}\nless that of N(0, I)", fontsize=8
        )
        for axis, column in zip(row, ("R", "D", "C", "F"), strict=True):
            _draw_column(axis, rows, column)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, fontsize=8)
    figure.savefig(RESULTS / "marginals.png", dpi=110)


def _draw_column(axis: Axes, rows: pd.DataFrame, column: str) -> None:
    usual = rows[rows["marginal"] == "standard"].set_index("seed")
    learnt = [marginal for marginal in MARGINALS[1:] if marginal in set(rows["marginal"])]
    for place, marginal in enumerate(learnt):
        some = rows[rows["marginal"] == marginal].set_index("seed")
        for prefix, marker, color, shift in (("", "o", "C0", -0.1), ("val_", "x", "C1", 0.1)):
            off = (some[prefix + column] - usual[prefix + column]).dropna()
            label = {"": "training", "val_": "validation"}[prefix] if place == 0 else None
            axis.plot([place + shift] * len(off), off, marker, color=color, label=label)
    axis.axhline(0.0, color="grey", linewidth=0.8)
    axis.set_xticks(range(len(learnt)), learnt, fontsize=8)
    axis.margins(x=0.15)
    axis.set_title(f"{column} ({'squared error' if column == 'D' else 'nats'})", fontsize=9)


def main(run: Set | None = None, seeds: tuple[int, ...] = SEEDS, marginals: tuple[str, ...] = MARGINALS) -> None:
    """`run`: which rows to make; without it table and figure are made of those that are stored."""
    if run is not None:
        make(run, seeds, marginals)
        return
    names: list[Set] = [name for name in CASES if (RESULTS / f"{name}.csv").exists()]
    for name in names:
        print(f"{name}\n{table(name).round(4).to_string(index=False)}\n")
    if "exact" in names:
        print(f"exact, at equal D and C\n{equal_loss().round(4).to_string(index=False)}\n")
    print(f"walks of mnist-quick with a mixture\n{walks().round(4).to_string()}\n")
    draw(names)


if __name__ == "__main__":
    tyro.cli(main)
