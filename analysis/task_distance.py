"""Does the Fisher-Rao length of a transfer tell how many examples fine-tuning needs? Twelve splits, a table and a figure.

    python analysis/task_distance.py               # from the rows in analysis/results/task-distance
    python analysis/task_distance.py --run RUNS    # makes these rows first: 24 runs in the folder RUNS, a quarter of an hour of a core

A split goes from five classes to five others of digits or of Fashion-MNIST. Its length is that of jobs/transfer.py, which holds C, over
the models of all steps and validation examples of both ends. The need is what jobs/baseline.py --method finetune trains on until C of
the target's training images is within 2 % of what it is at the transfer's end: examples of the training alone, without readings and
without the start, between two rows by a line in log C.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro
from matplotlib.figure import Figure

RESULTS = Path(__file__).parent / "results" / "task-distance"
DATA = {"digits": "--lam 1", "fashion-mnist": "--lam 0.25 --data.train-size 800"}
SPLITS = (("0-4", "5-9"), ("5-9", "0-4"), ("0,2,4,6,8", "1,3,5,7,9"), ("0-4", "3-7"), ("0-4", "2-6"), ("0-4", "1-5"))
"""Classes of source and target, by number."""
COMMON = (
    "fig5-quick --gamma 4 --seed 0 1 2 --backend inline --threads 1 --model.hidden 64 --model.latent 8 --model.dropout 0 "
    "--tolerance 0.05 --equilibration.first-epochs 40 --equilibration.first-schedule linear "
    "--equilibration.first-learning-rate 1e-2 --equilibration.batch 64"
)
TRANSFER = (
    "--process constant-rate --lam-dot 0 --stencil iso --step-length 0.1 --step-length-first 0.01 --path.last-epochs 0 "
    "--equilibration.epochs 10 --equilibration.learning-rate 5e-3 --certificate-share 0"
)
FINETUNE = "--method finetune --method-epochs 60"
WITHIN = 0.02
"""Part by which C of fine-tuning may be above that of the transfer's end."""
KEY = ["data", "source", "target"]
PREDICTORS = {"length": "length", "ends": "from end to end", "new": "new classes", "C_before": "C of the source's model"}
DRAWS = 10_000
"""Permutations and bootstrap samples."""


@dataclass(frozen=True, kw_only=True)
class Options:
    run: Path | None = None
    """Folder for the runs, of which new rows are made; runs that are there go on, or are read."""
    root: str | None = None
    """Folder of Fashion-MNIST's files, as --data.root of a job."""
    out: Path = RESULTS
    """Folder of rows, table and figure."""


def make(folder: Path, root: str | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row of each transfer, and one of each row of each fine-tuning.

    Raises:
        RuntimeError: a job failed.
    """
    from rayfe.cli.job_command import main

    transfers, finetunings = [], []
    for data, own in DATA.items():
        for source, target in SPLITS:
            names = ["--data.name", f"{data}:{source}", "--path.target", f"{data}:{target}"]
            names += ["--data.root", root] if root and data == "fashion-mnist" else []
            places = {job: str(folder / data / f"{source}-to-{target}" / job) for job in ("transfer", "baseline")}
            for job, options in (("transfer", TRANSFER), ("baseline", FINETUNE)):
                preset, *common = shlex.split(COMMON)
                arguments = [preset, *names, *common, *shlex.split(f"{own} {options}"), "--out", places[job]]
                if main(job, arguments) != 0:
                    raise RuntimeError(f"jobs/{job}.py {shlex.join(arguments)} failed")
            split = {"data": data, "source": source, "target": target}
            transfers += [split | line for line in transfer_lines(places["transfer"], root)]
            finetunings += [split | line for line in finetuning_lines(places["baseline"], root)]
    return pd.DataFrame(transfers), pd.DataFrame(finetunings)


def transfer_lines(place: str, root: str | None) -> Iterator[dict[str, Any]]:
    """A line of each seed: how long its way is, and C at its two ends, as a run's page has them."""
    from rayfe.report.at_hand import AtHand
    from rayfe.report.predicted import Predictor
    from rayfe.report.view import view_of
    from rayfe.storage.store import Store

    view = view_of(Store(place), readings=False)
    found = Predictor(AtHand(root=root)).predictions(view)
    assert found is not None, place
    for line in view.summary.to_dict("records"):
        way = found.ways[line["trajectory"]]
        ends = {name: line[name] for name in ("seed", "t_end", "C_start", "C_end", "accepted_steps", "examples")}
        yield ends | {"length": way.length, "ends": way.ends, "models": way.models}


def finetuning_lines(place: str, root: str | None) -> Iterator[dict[str, Any]]:
    """A line of each row of each seed: examples that it has trained on since the source's model, and C of the target."""
    from rayfe.data.local_files import load_here
    from rayfe.data.paths import epoch_of
    from rayfe.storage.manifest import stored_config
    from rayfe.storage.store import Store
    from rayfe.trajectory.baseline import ROWS

    store = Store(place)
    config = stored_config(store)[1]
    each = config.asked.method_epochs / ROWS * epoch_of(load_here(config, root), config)
    for name in store.trajectories():
        for row in store.rows(name):
            yield {"seed": row.seed, "step": row.step, "trained_on": each * row.step, "C": row.C}


def classes_in(names: str) -> set[int]:
    """The classes that 0-4 or 1,3,5 names."""
    ends = [part.split("-") for part in names.split(",")]
    return {number for part in ends for number in range(int(part[0]), int(part[-1]) + 1)}


def needed(trained_on: np.ndarray, C: np.ndarray, goal: float) -> float:
    """Examples after which C is first at most `goal`, by a line in log C between rows; inf where it never is."""
    reached = np.flatnonzero(C <= goal)
    if not len(reached) or reached[0] == 0:
        return float(trained_on[0]) if len(reached) else np.inf
    before, at = reached[0] - 1, reached[0]
    part = np.log(C[before] / goal) / np.log(C[before] / C[at])
    return float(trained_on[before] + part * (trained_on[at] - trained_on[before]))


def table_of(transfers: pd.DataFrame, finetunings: pd.DataFrame) -> pd.DataFrame:
    """A line of each split: medians over seeds, the least and the largest, and how many seeds reached the goal. A need that was not met is
    inf."""
    lines = []
    curves = {key: rows.sort_values("step") for key, rows in finetunings.groupby([*KEY, "seed"])}
    for key, seeds in transfers.groupby(KEY, sort=False):
        split: dict[str, Any] = dict(zip(KEY, key, strict=True))
        new = len(classes_in(split["target"]) - classes_in(split["source"]))
        needs, before = [], []
        for row in seeds.to_dict("records"):
            curve = curves[*key, row["seed"]]
            before.append(curve["C"].iloc[0])
            needs.append(needed(curve["trained_on"].to_numpy(), curve["C"].to_numpy(), (1.0 + WITHIN) * row["C_end"]))
        line = split | {
            "new": new,
            "seeds": len(seeds),
            "reached": int(np.isfinite(needs).sum()),
            "most": curve["trained_on"].max(),
            "C_end": seeds["C_end"].median(),
            "C_before": np.median(before),
        }
        for name, values in (("length", seeds["length"]), ("ends", seeds["ends"]), ("needed", pd.Series(needs))):
            line |= {name: values.median(), f"{name}_low": values.min(), f"{name}_high": values.max()}
        lines.append(line | {"least_t": seeds["t_end"].min()})
    return pd.DataFrame(lines)


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's rank correlation of each predictor with the need: over all splits, those of each data set, and those whose classes are
    all new; with a 95 % bootstrap interval over splits and a two-sided permutation test, null where a predictor does not vary."""
    groups = (
        {"all": table}
        | {str(name): rows for name, rows in table.groupby("data")}
        | {"all classes new": table[table["new"] == 5]}
    )
    random, lines = np.random.default_rng(0), []
    for group, rows in groups.items():
        need = rows["needed"].to_numpy()
        for name, called in PREDICTORS.items():
            x = rows[name].to_numpy(float)
            rho = float(spearman(x, need))
            drawn = random.integers(0, len(x), (DRAWS, len(x)))
            boot = spearman(x[drawn], need[drawn])
            shuffled = spearman(random.permuted(np.tile(x, (DRAWS, 1)), axis=1), need)
            low, high = np.nanquantile(boot, [0.025, 0.975]) if np.isfinite(rho) else (np.nan, np.nan)
            p = (1 + (np.abs(shuffled) >= abs(rho) - 1e-12).sum()) / (DRAWS + 1) if np.isfinite(rho) else np.nan
            lines.append({"splits": group, "n": len(x), "predictor": called, "rho": rho, "low": low, "high": high, "p": p})
    return pd.DataFrame(lines)


def spearman(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rank correlation along the last axis, ties at their mean rank; NaN where one of them does not vary."""
    from scipy.stats import rankdata

    a, b = (rankdata(values, axis=-1) - 0.5 * (values.shape[-1] + 1) for values in (x, y))
    size = np.sqrt((a**2).sum(-1) * (b**2).sum(-1))
    return np.where(size > 0.0, (a * b).sum(-1) / np.where(size > 0.0, size, 1.0), np.nan)


def draw(table: pd.DataFrame) -> Figure:
    """The need against the length, a point a split; bars from the least to the largest seed. A need that was not met is drawn at the
    end of the training."""
    from rayfe.figures.drawing import new_axes, note
    from rayfe.figures.styles import MARKERS, PALETTE

    figure, axes = new_axes("Fisher-Rao length of the transfer (rad)", "Examples that fine-tuning needs")
    for (data, rows), colour, marker in zip(table.groupby("data", sort=False), PALETTE, MARKERS, strict=False):
        style: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": "", "elinewidth": 0.8, "label": data}
        for axis, name in (("x", "length"), ("y", "needed")):
            value, low, high = (
                rows[column].clip(upper=rows["most"]).to_numpy() for column in (name, f"{name}_low", f"{name}_high")
            )
            style |= {axis: value, f"{axis}err": np.stack([value - low, high - value])}
        axes.errorbar(**style)
        for row in rows.to_dict("records"):
            at, text = (row["length"], min(row["needed"], row["most"])), f"{row['source']} → {row['target']}"
            beside = (table["length"] - at[0]).between(0.0, 0.8, "neither") & (table["needed"] - at[1]).between(0.0, 3000.0)
            place = (
                {"xytext": (-6, 4), "ha": "right"} if beside.any() else {"xytext": (5, 4)}
            )  # where there is no other point beside it
            text = text.replace("0,2,4,6,8", "even").replace("1,3,5,7,9", "odd") + (
                " (more)" if row["needed"] > row["most"] else ""
            )
            axes.annotate(text, at, textcoords="offset points", fontsize=7.5, color=colour, **place)
    axes.legend(fontsize=10)
    axes.margins(x=0.16, y=0.08)
    note(figure, "medians of three seeds; bars: least to largest, at most up to the end of the training")
    return figure


def main(options: Options) -> None:
    """Make rows where they are asked for; then table, correlations and figure."""
    from rayfe.figures.drawing import png

    files = [options.out / name for name in ("transfers.csv", "finetunings.csv")]
    if options.run is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        for path, rows in zip(files, make(options.run, options.root), strict=True):
            rows.to_csv(path, index=False, float_format="%.6g")
    transfers, finetunings = map(pd.read_csv, files)
    table = table_of(transfers, finetunings)
    found = correlations(table)
    for name, frame in (("table.csv", table), ("correlations.csv", found)):
        frame.to_csv(options.out / name, index=False, float_format="%.4g")
        print(frame.to_string(index=False, float_format="{:.3g}".format))
    (options.out / "task_distance.png").write_bytes(png(draw(table)))


if __name__ == "__main__":
    try:
        main(tyro.cli(Options, description=__doc__))
    except (OSError, ValueError, RuntimeError) as error:
        print(f"{error}", file=sys.stderr)
        sys.exit(2)
