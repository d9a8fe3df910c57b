"""Rows of a benchmark, and what is known of the surface that they are compared with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.benchmark.registry import INDEPENDENT, METHODS, RAYFE
from rayfe.results.frames import counted_steps, numbers
from rayfe.storage.store import Store, load_rows
from rayfe.surface.envelope import lowest


def collect(folders: Sequence[str | Path]) -> pd.DataFrame:
    """All rows of the runs in the folders of benchmarks.

    With columns `start` (the folder of the common start), `run`, `method` (`start` for that itself), `budget`, `optimizer`, `settings`
    (JSON), `searched` (candidates that they were chosen from), `lam_end` (of the curve that was asked for; NaN where that is not said),
    `data` and `model` (their names).

    Raises:
        ValueError: a folder is none, or they are of several data sets or models, whose surfaces have nothing to do with each other.
    """
    frames, surface = [], dict[str, tuple[object, Path]]()
    for missing in (given for given in folders if not Path(given).is_dir()):
        raise ValueError(f"{missing} is no folder; give one of jobs/benchmark.py")
    for folder in (one for given in folders for one in _with_a_start(Path(given))):
        described = {path: found for path in sorted(folder.iterdir()) if (found := _described(path))}
        for path, found in described.items():
            _check_surface(path, found, surface)
        asked = next(found for found in described.values() if found["method"] == "start").get("config", {})
        for path, found in described.items():
            names = {"run": path.name, "method": found["method"], "budget": found.get("budget", 1.0)}
            optimizer = found.get("settings", {}).get("optimizer", "soap")
            more = {"start": str(folder), "optimizer": optimizer, "lam_end": asked.get("lam_end", np.nan)}
            more |= {"data": _data_of(asked), "model": asked.get("model.name", "")}
            more |= {"settings": json.dumps(found.get("settings", {})), "searched": _searched(folder, found["method"])}
            frames.append(load_rows(path).assign(**names, **more))
    return pd.concat(frames, ignore_index=True)


def _check_surface(path: Path, found: Mapping[str, Any], surface: dict[str, tuple[object, Path]]) -> None:
    """Refuse a run whose run.json says another thing of its data or model than that of an earlier one, which `surface` holds by field."""
    said = {
        name: value for name, value in found.get("config", {}).items() if name.startswith(("data.name", "data.train", "model."))
    }
    for name, value in (said | {name: found[name] for name in ("data_sha256",) if name in found}).items():
        known, where = surface.setdefault(name, (value, path))
        if value != known:
            fix = "give folders of one data set and model, others have another surface"
            raise ValueError(f"{path} has {name} {value}, but {where} has {known}; {fix}")


def _data_of(config: Mapping[str, Any]) -> str:
    size = config.get("data.train_size")
    return f"{config.get('data.name', '')}{'' if size is None else f', {size} images'}"


def _with_a_start(folder: Path) -> list[Path]:
    """The folder itself, or those in it, that have a common start.

    Raises:
        FileNotFoundError: there is none.
    """
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir()]
    found = [one for one in (folder, *inside) if (one / "start").is_dir() and _described(one / "start")]
    if not found:
        raise FileNotFoundError(f"no benchmark in {folder}: it has no start")
    return found


def _searched(folder: Path, method: str) -> int:
    """Candidates of a search beside the runs, or beside the folders of several seeds."""
    places = (folder / "search", folder.parent / "search")
    return sum(len(list(place.glob(f"{method}-????????/score.json"))) for place in places)


def _described(path: Path) -> dict[str, Any] | None:
    """run.json of a run with rows; None of anything else."""
    store = Store(path)
    return store.read_config() if path.is_dir() and store.exists() and store.trajectories() else None


def polished(path: str | Path) -> pd.DataFrame:
    """R, D, C of further models, a line each of a CSV file, for the pooled envelope only."""
    return pd.read_csv(path)[["R", "D", "C"]]


@dataclass(frozen=True, kw_only=True)
class Models:
    """Models (M,) that bound F from above, each at all multipliers."""

    R: np.ndarray
    D: np.ndarray
    C: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Models:
        """Those of all rows that were read, accepted or not."""
        read = rows[["R", "D", "C"]].dropna().astype(float)
        return cls(R=read["R"].to_numpy(), D=read["D"].to_numpy(), C=read["C"].to_numpy())

    def front(self, lam: np.ndarray, gamma: np.ndarray, C0: float) -> tuple[np.ndarray, np.ndarray]:
        """R + gamma (C - C0) and D of the model that is the lowest at each lam: a curve at C0, to first order."""
        J = self.R + lam[:, None] * self.D + gamma[:, None] * self.C
        best = J.argmin(axis=1)
        return self.R[best] + gamma * (self.C[best] - C0), self.D[best]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What runs from one start are compared with. F has one gamma per lam that all methods share."""

    C0: float
    start_examples: float
    log_lam: np.ndarray
    gamma: np.ndarray
    """The multiplier as a function of log lam."""
    pooled: Models
    """Every model known."""
    independent: Models
    """Models from scratch only, which owe nothing to any walk; there may be none."""
    scratch: pd.DataFrame
    """The lowest settled model from scratch at each lam that has one."""

    def gamma_at(self, lam: np.ndarray) -> np.ndarray:
        return np.interp(np.log(lam), self.log_lam, self.gamma)

    def lowest(self, lam: np.ndarray, models: Models) -> np.ndarray:
        """min over models j of R_j + lam D_j + gamma(lam) (C_j - C0), nats: F at equilibrium is at most that + gamma C0."""
        return lowest(lam, self.gamma_at(lam), R=models.R, D=models.D, C=models.C - self.C0)

    def excess_percent(self, points: pd.DataFrame, models: Models | None = None) -> np.ndarray:
        """How far models, a row each, are above the lowest of `models` (all without it), in per cent of F = lowest + gamma C0."""
        lam, R, D, C = (numbers(points, name) for name in ("lam", "R", "D", "C"))
        gamma, least = self.gamma_at(lam), self.lowest(lam, models or self.pooled)
        return 100.0 * (R + lam * D + gamma * (C - self.C0) - least) / (least + gamma * self.C0)


def references(rows: pd.DataFrame, more: pd.DataFrame | None = None) -> dict[str, Reference]:
    """The reference of each start. Models are pooled over all of them: they are of one data set and network."""
    pooled = Models.of(pd.concat([rows, more]) if more is not None else rows)
    anew = rows[rows["method"].map(lambda name: name in METHODS and METHODS[name].family in INDEPENDENT)]
    anew = anew[anew["step"] > 0]
    independent = Models.of(anew)
    found = {}
    for start, here in rows.groupby("start"):
        first = here[here["method"] == "start"].iloc[0]
        log_lam, gamma = _multiplier(here)
        found[str(start)] = Reference(
            C0=float(first["C"]),
            start_examples=float(first["examples"]),
            log_lam=log_lam,
            gamma=gamma,
            pooled=pooled,
            independent=independent,
            scratch=_lowest_at_each_lam(anew, log_lam, gamma),
        )
    return found


def _multiplier(here: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """gamma along log lam: of rayfe's own longest run, both ways in steps, by a leap or one way, or of all accepted rows without one."""
    own = here[here["accepted"].astype(bool)]
    order = (RAYFE[route] for route in ("both", "leap", "there"))
    walks = next((found for method in order if len(found := own[own["method"] == method])), own[:0])
    if len(walks):
        longest = walks[walks["budget"] == walks["budget"].max()]
        own = pd.concat([longest[longest["step"] == 0], points(longest)])
    course = own.groupby(own["lam"].round(9))["gamma"].last()
    return np.log(course.index.to_numpy(dtype=float)), course.to_numpy(dtype=float)


def _lowest_at_each_lam(anew: pd.DataFrame, log_lam: np.ndarray, gamma: np.ndarray) -> pd.DataFrame:
    settled = anew[anew["accepted"].astype(bool)]
    lam, R, D, C = (numbers(settled, name) for name in ("lam", "R", "D", "C"))
    J = pd.Series(R + lam * D + np.interp(np.log(lam), log_lam, gamma) * C, index=settled.index)
    return settled.loc[J.groupby(settled["lam"].round(9)).idxmin()]


def points(run: pd.DataFrame) -> pd.DataFrame:
    """The models that a run ends with, one per lam, in order; not the start, and of several the lowest."""
    after = run[run["step"] > 0].assign(trajectory="all")
    return counted_steps(after).sort_values("lam", kind="stable")


def runs_of(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The start's folder and the rows of each run, but for those of starts."""
    for (start, _), run in rows[rows["method"] != "start"].groupby(["start", "run"]):
        yield str(start), run


def mean_over_log_lam(lam: np.ndarray, values: np.ndarray) -> float:
    """Mean over the range in log lam, so that runs with more points in one place are not favoured; NaN without a point."""
    if len(lam) < 2:
        return float(values[0]) if len(lam) else float("nan")
    return float(np.trapezoid(values, np.log(lam)) / np.log(lam[-1] / lam[0]))


def gaps_percent(found: pd.DataFrame, scratch: pd.DataFrame) -> Mapping[str, float]:
    """Mean of |x / x' - 1| by column x of C, D, R and gamma, at the lam at which there is a model from scratch (x'); in per cent, NaN
    where there is none."""
    pairs = found.assign(at=found["lam"].round(9)).merge(
        scratch.assign(at=scratch["lam"].round(9)), on="at", suffixes=("", "_")
    )
    off = {x: np.abs(100.0 * (numbers(pairs, x) / numbers(pairs, f"{x}_") - 1.0)) for x in ("C", "D", "R", "gamma")}
    return {x: float(values.mean()) if len(values) else float("nan") for x, values in off.items()}
