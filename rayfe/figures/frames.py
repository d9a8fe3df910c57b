"""Frames of runs before they are drawn: several runs as one frame, and the rows of one kind of trajectory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from rayfe.config import RunConfig
from rayfe.records.run_json import SQUARED, UNIT
from rayfe.results.frames import BASELINES, loss_scale, moves_data
from rayfe.surface.equivalence import relative_tolerance


def pool(load: Callable[[str], pd.DataFrame], runs: Sequence[str]) -> pd.DataFrame:
    """Frames of `runs` (directories or URIs, read by `load`) as one; several runs are told apart by their folder's name.

    Raises:
        ValueError: no run was named, one was named twice, or one has no rows.
    """
    labels = labels_of(runs)
    frames = [load(run) for run in runs]
    for run, frame in zip(runs, frames, strict=True):
        if frame.empty:
            raise ValueError(f"{run}: no rows there; give the --out of a run that has made its first step")
    if len(runs) == 1:
        return frames[0]
    labelled = [
        frame.assign(run=label, trajectory=label + "/" + frame["trajectory"].astype(str))
        for label, frame in zip(labels, frames, strict=True)
    ]
    pooled = pd.concat(labelled, ignore_index=True)
    pooled.attrs[UNIT] = " or ".join(dict.fromkeys(frame.attrs.get(UNIT, SQUARED["unit"]) for frame in frames))
    return pooled


def labels_of(runs: Sequence[str]) -> list[str]:
    """Names that tell runs (directories or URIs) apart: the last parts of their places, as many as that takes.

    Raises:
        ValueError: no run was named, or one was named twice.
    """
    if not runs:
        raise ValueError("name at least one run directory")
    places = [run.rstrip("/") for run in runs]
    if twice := sorted({run for run in places if places.count(run) > 1}):
        raise ValueError(f"{twice[0]}: named twice; name each run once")
    parts = [run.split("/") for run in places]
    for count in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(part[-count:]) for part in parts]
        if len(set(labels)) == len(labels):
            break
    return labels


def subject_of(config: RunConfig) -> str:
    """The data and the model of a run, for the head of a figure."""
    return f"{data_of(config)}, {model_of(config)}"


def data_of(config: RunConfig) -> str:
    """The data of a run, for people."""
    return " to ".join(name.removeprefix("npz:") for name in (config.data.name, config.path.target) if name)


def model_of(config: RunConfig) -> str:
    """The model of a run, for people."""
    return f"{config.model.name.rpartition(':')[2]} with {config.model.latent} dimensions of z"


def band_of(config: RunConfig, rows: pd.DataFrame) -> float:
    """The tolerance of C of a run, a fraction of it or of its scale: with a floor in nats that of the trajectory with the smallest."""
    held = loss_scale(rows, rows["C_target"].astype(float).to_numpy())
    least = float(held[held > 0.0].min()) if (held > 0.0).any() else 1.0
    return relative_tolerance(config.asked.tolerance, config.asked.tolerance_floor, least)


def only_transfers(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of transfers.

    Raises:
        ValueError: there are none.
    """
    return _some(rows[moves_data(rows)], rows, "transfers; give runs of jobs/transfer.py")


def only_baselines(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows of baselines.

    Raises:
        ValueError: there are none.
    """
    return _some(rows[rows["process"].isin(BASELINES)], rows, "baselines; give runs of jobs/baseline.py")


def _some(found: pd.DataFrame, rows: pd.DataFrame, what: str) -> pd.DataFrame:
    if found.empty:
        there = ", ".join(sorted(set(rows["process"].astype(str)))) or "nothing"
        raise ValueError(f"the rows are of {there}, none of {what}")
    return found
