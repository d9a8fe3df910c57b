"""What the stored models of a run predict, and the chart of it: a map by intensive PCA."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rayfe.config import ModelConfig
from rayfe.data.paths import PathData
from rayfe.records import StepRecord
from rayfe.report.at_hand import AtHand, balanced, chosen_rows, unit
from rayfe.report.plots import Chart, arrows, axes, curve, mark, series_of
from rayfe.report.view import RunView
from rayfe.results.predictions import AXES, Predictions, predictions_of
from rayfe.storage.parquet import table_of

if TYPE_CHECKING:
    from torch import Tensor

MOST_MODELS = 120
"""Of a map: of more trajectories the first ones, of more steps some, evenly."""
MOST_EXAMPLES, MOST_NUMBERS = 256, 256 * 784
"""Of each data set: examples, and numbers in them, so that large images take no more time than MNIST's. At least FEW examples."""
FEW = 16
MOST_WORK = 2e12
"""Operations that a map may take, whatever the machine: 2,000 models of 1.3 M parameters like MNIST's, some 14 residual networks of
CIFAR's size. The first and the last model of one trajectory are always read."""
OF_A_PARAMETER = 200
"""Operations that it takes to load one, about."""
SYMBOLS = {"truth": "star", "ignorance": "x"}


class Predictor:
    """Reads predictions of one run; keeps those that it has read, since stored models do not change."""

    def __init__(self, here: AtHand | None = None) -> None:
        self._here = here or AtHand()
        self._read: dict[tuple[str, int, str], np.ndarray] = {}
        self._each: float | None = None

    def predictions(self, view: RunView) -> Predictions | None:
        """Ways and map of its models; None where they predict no classes, or no models, or no data, are at hand.

        A model predicts c(y | mean of z) for validation examples, as many of each class; of a run with two data sets for as many of
        source as of target.
        """
        if view.config.model.task != ModelConfig().task:
            return None
        chosen = chosen_rows(view, models=MOST_MODELS, each=MOST_MODELS)
        data = self._here.data(view) if any(chosen.values()) else None
        if data is None:
            return None
        x, y, examples = _examples(data, flat=view.config.model.name in ("mlp", "linear"))
        read, shown, why = list[np.ndarray](), list[StepRecord](), None
        most = self._most(view, chosen, x)
        if most < (before := sum(map(len, chosen.values()))):
            chosen = chosen_rows(view, models=most, each=most)
            why = f"Only {sum(map(len, chosen.values()))} models are read, of {before}: for such models more is too much work."
        for name, rows in chosen.items():
            try:
                own = [self._of(view, row, x) for row in rows]
            except (
                Exception
            ) as error:  # weights may be damaged or pruned meanwhile, a model of the user's own may raise anything
                failed = f"{name} is not on it ({type(error).__name__}: {' '.join(str(error).split())})."
                why = " ".join(filter(None, (why, failed)))
            else:
                read, shown = read + own, shown + rows
        if not shown:
            return None
        steps = {name: sum(row.accepted for row in rows) for name, rows in view.records.items()}
        rows = table_of(shown, StepRecord).to_pandas()
        return predictions_of(rows, read, y, steps=steps, examples=examples, why=why)

    def _most(self, view: RunView, chosen: Mapping[str, list[StepRecord]], x: Tensor) -> int:
        """How many models MOST_WORK reaches for, by the operations and the parameters of the first."""
        if self._each is None:
            row = next(row for rows in chosen.values() for row in rows)
            with contextlib.suppress(Exception):  # as below; that it cannot be read is told there
                self._of(view, row, x)
        return MOST_MODELS if self._each is None else max(2, min(MOST_MODELS, int(MOST_WORK / self._each)))

    def _of(self, view: RunView, row: StepRecord, x: Tensor) -> np.ndarray:
        """(N, K) class probabilities."""
        import torch

        key = (row.trajectory, row.step, str(row.state_sha256))
        if key not in self._read:
            model: Any = self._here.model(view, row)
            self._each = self._each or work_of(model, x)
            with torch.no_grad():
                found = torch.softmax(model.classify(model.encode(x)[0]).double(), -1).numpy()
            if found.shape != (len(x), view.manifest["classes"]) or not np.isfinite(found).all():
                raise ValueError(f"step {row.step} predicts no {view.manifest['classes']} numbers for each example")
            self._read[key] = found.astype(np.float32)
        return self._read[key]


def work_of(model: Any, x: Tensor) -> float:
    """Operations that it takes to load a model and to predict x (N, ...): those of matrix products and convolutions, N times those of
    one example, and OF_A_PARAMETER for each parameter."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.classify(model.encode(x[:1])[0])
    size = sum(value.numel() for value in model.parameters())
    return float(len(x)) * counter.get_total_flops() + OF_A_PARAMETER * size


def _examples(data: PathData, *, flat: bool) -> tuple[Tensor, np.ndarray, str]:
    """Examples, their labels (N,), and which they are, in words."""
    import torch  # seconds to import: only where there are models to read

    ends = [end.validation for end in (data.source, data.target) if end is not None]
    fit = MOST_NUMBERS // max(1, int(np.prod(data.input_shape)))
    count = min(MOST_EXAMPLES, max(FEW, fit), *(len(end.y) for end in ends))
    rows = [np.sort(balanced(end.y)[:count]) for end in ends]
    x = np.concatenate([unit(end.x[row]) for end, row in zip(ends, rows, strict=True)])
    y = np.concatenate([end.y[row] for end, row in zip(ends, rows, strict=True)])
    whose = f"{count} validation examples" + (" of source and of target each" if len(ends) > 1 else "")
    return torch.from_numpy(x.reshape(len(x), -1) if flat else x), y, whose


def prediction_map(found: Predictions) -> Chart:
    """The ways of all trajectories on the map, with truth and ignorance."""
    data: list[dict[str, Any]] = []
    series = series_of(found.rows)
    for one in series:
        x, y = (one.of(name) for name in AXES)
        data += curve(one, x, y, "t %{customdata[4]:.4g}" if one.of("t").any() else "R %{customdata[3]:.4g}")
        data.append(arrows(one, x, y))
        data.append(mark(one, x[0], y[0], "start", "circle-open"))
    for name, place in found.marks.items():
        black = {"symbol": SYMBOLS[name], "size": 14, "color": "#000000"}
        data.append({"type": "scatter", "mode": "markers", "x": [place[0]], "y": [place[1]], "name": name, "marker": black})
    layout = axes(*found.titles)
    layout["yaxis"] |= {"scaleanchor": "x"}  # a distance is as long in either direction
    there = " ".join(f"{sentence}." for sentence in found.sentences)
    some = f"{len(found.ways)} of {found.trajectories} trajectories. " if len(found.ways) < found.trajectories else ""
    return Chart(
        name="predictions",
        title="Map of what the models predict",
        caption=f"Intensive PCA of mean Bhattacharyya divergences, {found.examples}. Star: the labels themselves (truth). Cross: "
        f"all classes alike (ignorance). A ring: the start. {some}{there}{found.why or ''}",
        data=data,
        layout=layout,
    )
