"""The noise of single steps of stored rows: of their trainings as well as of the draws of z. Neither branch, seed nor lag is in it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from scipy.stats import t

from rayfe.config.arguments import checked
from rayfe.records import Leg
from rayfe.records.kinds import STATIONARY
from rayfe.results.frames import accepted_steps, check_rows, loss_scale, numbers
from rayfe.surface.local_fit import Scatter, scatter

QUANTITIES: Mapping[str, str | None] = MappingProxyType(
    {"gamma": None, "C_before_settle": "C_se", "D": "D_se", "R": "R_se", "C_gamma": "C_gamma_se"}
)
"""What has a bar, with the column of its error from the draws (gamma: see `_draws`)."""
NUMBERS = (
    *QUANTITIES,
    *filter(None, QUANTITIES.values()),
    "control_C_se",
    "drift_se",
    "C_target",
    "step_length",
    "response_age",
    "step",
    "accepted",
)
"""Columns that bars are computed from."""
NORMAL = 1.96
"""Standard errors of a two-sided bar of 95 %."""
NO_WALKS = ("seek", "finetune", "scratch", "joint")
"""Processes whose rows are not a smooth course."""


@checked
def error_bars(rows: pd.DataFrame) -> pd.DataFrame:
    """Standard errors of C_before_settle, D, R, gamma and C_gamma of every accepted row, a row each, same index.

    `<name>_training_se` is the scatter of the value about a local fit along its trajectory (`surface.localfit`):
    equilibrations with other batches and noise would give other values. It is widened for the few values that it is
    estimated from, so that 1.96 of it are a bar of 95 %. `<name>_noise_se` is the root of the squares of that and of the
    error from the draws.

    NaN where the walk is too short to tell (five values on one branch: a renewal or a turn begins another), for rows
    that were not accepted, and for processes that are no walks. gamma at the start is given, so it has none. C_gamma has
    bars of its own measurements, repeated as its values are. The bar of C_before_settle is for the multipliers that
    its step proposed: |C_gamma| times that of gamma, by which the settle takes the noise of training out of C again. (Its
    own scatter counts the proposals' as well, and covered 99 % where 95 % was meant.)

    It is no error of R, D, C or gamma as numbers of the surface: what lasts over several steps, such as a lag behind it, a branch or
    a seed, is not in it. Models of two ways of one walk at equal lam differ by up to 90 of these errors (MNIST). How far a model is
    from others of the same multipliers is what certificates say (`rayfe.load_certificates`).

    Raises:
        UsageError: rows; they are none such as `rayfe.load_run` gives.
    """
    names = [f"{name}_{kind}_se" for name in QUANTITIES for kind in ("training", "noise")]
    bars = pd.DataFrame(np.nan, index=rows.index, columns=names)
    if rows.empty:
        return bars
    check_rows(rows, "rows", numeric=NUMBERS, words=("trajectory", "process", "kind", "leg"))
    for _, walk in rows[~rows["process"].isin(NO_WALKS)].groupby("trajectory", sort=True):
        steps = accepted_steps(walk)
        length = np.nan_to_num(numbers(steps, "step_length"))
        renewed, turned = steps["kind"].isin(STATIONARY), steps["leg"] != steps["leg"].shift(fill_value=Leg.THERE)
        branch = np.cumsum((renewed | turned).to_numpy())
        for number in np.unique(branch):
            part = branch == number
            _fill(bars, steps[part], np.cumsum(length)[part])
    return bars


def _fill(bars: pd.DataFrame, steps: pd.DataFrame, progress: np.ndarray) -> None:
    """Bars of one branch of one walk; `progress` is the way in log lam, t or arclength, (N,)."""
    of_gamma = np.full(len(steps), np.nan)
    for name in QUANTITIES:
        value = numbers(steps, name)
        used = np.isfinite(value)
        if name == "C_gamma":
            used &= numbers(steps, "response_age") == 0.0
        if name == "gamma":
            used &= (steps["step"] > 0).to_numpy()
        if name == "C_before_settle":
            training = np.where(used, of_gamma * np.abs(numbers(steps, "C_gamma")), np.nan)
        else:
            training = np.where(used, _widened(scatter(progress[used], value[used])), np.nan)
        if name == "gamma":
            of_gamma = training
        noise = np.hypot(training, _draws(steps, name))
        if name == "C_gamma":
            training, noise = (pd.Series(one).ffill().to_numpy() for one in (training, noise))
        bars.loc[steps.index, [f"{name}_training_se", f"{name}_noise_se"]] = np.stack([training, noise], axis=1)


def _widened(noise: Scatter) -> float:
    """The scatter times Student's factor, so that NORMAL of it are a bar of 95 % however few values it is from."""
    return noise.sd * float(t.ppf(0.975, noise.freedom)) / NORMAL if noise.freedom > 0 else float("nan")


def _draws(steps: pd.DataFrame, name: str) -> np.ndarray:
    """The error from the draws of z. That of gamma: a settle's C is off as C / C0 - 1 is, and gamma moves to make up for it."""
    column = QUANTITIES[name]
    if column is not None:
        own = name == "C_before_settle" and steps["control_C_se"].notna().any()
        return numbers(steps, "control_C_se" if own else column)
    return numbers(steps, "drift_se") * loss_scale(steps, numbers(steps, "C_target")) / np.abs(numbers(steps, "C_gamma"))
