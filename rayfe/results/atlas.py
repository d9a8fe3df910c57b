"""The surface that the models of many walks give: R and the multipliers at any (D, C), and the nearest stored model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import QhullError

from rayfe.results.frames import counted_steps, numbers, paid
from rayfe.results.walk_summary import envelope_excess

LOCATABLE = ("R", "D", "C", "lam", "gamma")
"""Columns by which a place on the surface is named."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """R, D, C and multipliers of the surface at a wanted place, between stored models."""

    R: float
    D: float
    C: float
    lam: float
    gamma: float


def stored_models(rows: pd.DataFrame, models: pd.DataFrame | None = None) -> pd.DataFrame:
    """Accepted rows with R, D and C, without those that another one, or one of `models`, bounds from below at their own multipliers
    by more than a per cent of F: those are off the surface. Rows of one data set and model, at one t."""
    accepted = rows[rows["accepted"].astype(bool) & rows["R"].notna()].reset_index(drop=True)
    lam, R, D = (numbers(accepted, name) for name in ("lam", "R", "D"))
    excess, own = numbers(accepted.assign(excess=envelope_excess(accepted, models)), "excess"), R + lam * D + paid(accepted)
    return accepted.assign(excess=excess)[excess <= 0.01 * np.abs(own)]


def nearest(rows: pd.DataFrame, wanted: Mapping[str, float]) -> pd.Series:
    """The accepted row that counts nearest to the wanted columns; distances are in logarithms, so that units do not matter.

    Raises:
        ValueError: there is no accepted row.
    """
    accepted = counted_steps(rows[rows["R"].notna()])
    if accepted.empty:
        raise ValueError("no accepted step so far")
    distance = np.zeros(len(accepted))
    for name, value in wanted.items():
        distance += np.log(np.maximum(numbers(accepted, name), 1e-300) / value) ** 2
    return accepted.iloc[int(np.argmin(distance))]


def locate(rows: pd.DataFrame, wanted: Mapping[str, float], models: pd.DataFrame | None = None) -> Place | None:
    """Linear interpolation, in logarithms, between stored models around a place named by two columns.

    `models` are further ones that bound F (`pooling`). None where the rows do not surround it: walks at one C alone are a curve.
    """
    surface = stored_models(rows, models)
    names = list(wanted)
    points = np.log(np.stack([numbers(surface, name) for name in names], axis=1))
    values = np.log(np.stack([numbers(surface, name) for name in LOCATABLE], axis=1))
    good = np.isfinite(points).all(axis=1) & np.isfinite(values).all(axis=1)
    if good.sum() < 3:
        return None
    try:
        found = LinearNDInterpolator(points[good], values[good], rescale=True)(np.log([[wanted[name] for name in names]]))[0]
    except QhullError:
        return None  # all on one line
    return None if np.isnan(found).any() else Place(**dict(zip(LOCATABLE, np.exp(found).tolist(), strict=True)))
