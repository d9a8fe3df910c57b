"""What stored models predict -> how long ways are in predictions, and a map of them with truth and ignorance (Mao et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rayfe.results.frames import moves_data
from rayfe.surface.predictions import bhattacharyya, fisher_rao, intensive_pca, length

AXES = ("map_1", "map_2")
"""Columns of a model's place on the map."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """A trajectory in the space of predictions, radians (`surface.predictions.fisher_rao`)."""

    length: float
    """Sum over its models, each to the next."""
    ends: float
    """From its first model to its last."""
    models: int
    of: int
    """Accepted steps; where they are more than `models`, the length leaves some out, and may be too short."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """Stored models of a run by what they predict for the same examples."""

    rows: pd.DataFrame
    """Rows of the models, with their place in `AXES`."""
    marks: Mapping[str, tuple[float, float]]
    """Places of truth and ignorance."""
    eigenvalues: tuple[float, ...]
    """Those of the map's axes; where one is below 0, distance along the axis counts negatively."""
    shares: tuple[float, ...]
    """|eigenvalue| of these axes as a part of the sum over all."""
    ways: Mapping[str, Way]
    """By trajectory."""
    trajectories: int
    """Those with models; where they are more than `ways`, the map leaves some out."""
    examples: str
    """Which were predicted, in words."""
    why: str | None = None
    """What is missing, if something is."""

    @property
    def titles(self) -> tuple[str, ...]:
        """What the axes are, in words."""
        parts = zip(self.eigenvalues, self.shares, strict=True)
        return tuple(
            f"Axis {place} of the map ({share:.0%}{', counts negatively' if value < 0.0 else ''})"
            for place, (value, share) in enumerate(parts, start=1)
        )

    @property
    def sentences(self) -> list[str]:
        """A line on each transfer."""
        moved = set(self.rows.loc[moves_data(self.rows), "trajectory"])
        return [
            f"{name}: Fisher-Rao length in predictions {way.length:.3g} rad, {way.ends:.3g} from end to end "
            f"({way.models} of {way.of} models, {self.examples})"
            for name, way in self.ways.items()
            if name in moved and way.models > 1
        ]


def predictions_of(
    rows: pd.DataFrame,
    probabilities: Sequence[np.ndarray],
    y: np.ndarray,
    *,
    steps: Mapping[str, int],
    examples: str,
    why: str | None,
) -> Predictions:
    """Ways and map of models whose rows are `rows`, trajectory by trajectory in order of steps, and whose predictions for examples with
    labels y (N,) are `probabilities`, (N, K) each. `steps`: accepted steps of each trajectory."""
    models = np.stack(list(probabilities)).astype(float)
    models /= models.sum(axis=-1, keepdims=True)
    classes = models.shape[-1]
    known = np.stack([np.eye(classes)[y], np.full((len(y), classes), 1.0 / classes)])
    found = intensive_pca(bhattacharyya(np.concatenate([models, known])), axes=len(AXES))
    ways = {}
    for name, places in rows.reset_index(drop=True).groupby("trajectory", sort=False).groups.items():
        way = models[places.to_numpy()]
        ends = float(fisher_rao(way[0], way[-1]))
        ways[str(name)] = Way(length=length(way), ends=ends, models=len(way), of=steps[str(name)])
    truth, ignorance = found.points[-2:].tolist()
    return Predictions(
        rows=rows.assign(**{name: found.points[:-2, axis] for axis, name in enumerate(AXES)}),
        marks={"truth": tuple(truth), "ignorance": tuple(ignorance)},
        eigenvalues=tuple(found.eigenvalues[: len(AXES)].tolist()),
        shares=tuple(found.shares.tolist()),
        ways=ways,
        trajectories=sum(count > 0 for count in steps.values()),
        examples=examples,
        why=why,
    )
