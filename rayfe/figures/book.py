"""Stored rows -> matplotlib figures of the paper and of the constraint; pure, without pyplot's global state."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from rayfe.exceptions import visible
from rayfe.figures.drawing import Draw, captioned, png
from rayfe.figures.predictions import NAME, prediction_map
from rayfe.figures.transfer import BASELINE_FIGURES, IN_T, PROCESSES
from rayfe.figures.walks import FIGURES, UNHELD_FIGURES
from rayfe.results.frames import BASELINES, holds_nothing, moves_data
from rayfe.results.predictions import Predictions

OF_THE_START = "fig4a_equilibration.png"
"""The figure of the trainings of starts."""


def draw_all(
    rows: pd.DataFrame,
    readings: pd.DataFrame,
    *,
    tolerance: float | None = None,
    figures: Mapping[str, Draw] | None = None,
    subject: str = "",
    predictions: Predictions | None = None,
) -> dict[str, bytes]:
    """PNG bytes by file name: of `figures`, or of every figure that fits the processes in `rows`.

    `tolerance` (a fraction) draws the band of the constraint; `subject` names data and model above each. Baselines next to
    transfers are drawn into the transfers' figures; without transfers they have their own. `predictions` are drawn as a map.
    """
    drawn = {name: png(figure) for name, figure in _each(rows, readings, tolerance, figures, subject)}
    return drawn | {name: png(figure) for name, figure in _mapped(predictions, subject)}


class PictureBook(dict[str, Figure]):
    """Figures by file name, which a notebook shows."""

    def _repr_html_(self) -> str:
        sources = {name: base64.b64encode(png(figure)).decode() for name, figure in self.items()}
        images = (f'<img alt="{name}" width="480" src="data:image/png;base64,{source}">' for name, source in sources.items())
        return "".join(images)


def figures_of(
    rows: pd.DataFrame,
    readings: pd.DataFrame,
    *,
    tolerance: float | None = None,
    subject: str = "",
    predictions: Predictions | None = None,
) -> PictureBook:
    """What `draw_all` draws, as figures."""
    return PictureBook([*_each(rows, readings, tolerance, None, subject), *_mapped(predictions, subject)])


def _mapped(predictions: Predictions | None, subject: str) -> Iterator[tuple[str, Figure]]:
    if predictions is not None:
        with rc_context({"text.parse_math": False}):
            figure = captioned(prediction_map(predictions), visible(subject), predictions.rows)
        yield NAME, figure


def _each(
    rows: pd.DataFrame, readings: pd.DataFrame, tolerance: float | None, figures: Mapping[str, Draw] | None, subject: str
) -> Iterator[tuple[str, Figure]]:
    families = _families(rows) if figures is None else [(rows, figures)]
    for own, kinds in families:
        for name, draw in kinds.items():
            if name == OF_THE_START and len(readings) and not readings["first"].any():
                continue  # all starts were stored models
            with rc_context({"text.parse_math": False}):  # a run's words are no formulas
                figure = captioned(draw(own, readings, tolerance), visible(subject), own)
            yield name, figure


def _families(rows: pd.DataFrame) -> list[tuple[pd.DataFrame, Mapping[str, Draw]]]:
    """Rows of each kind of trajectory with its figures, whose names differ (Fig. 4a apart, which is of the readings)."""
    if rows.empty:
        return [(rows, FIGURES)]
    process = rows["process"].astype(str)
    moved, trained, free = moves_data(rows), process.isin(BASELINES), holds_nothing(rows)
    families = [(rows[(process == name) | trained], kinds) for name, kinds in PROCESSES.items() if (process == name).any()]
    if moved.any():
        families.append((rows[moved], IN_T))
    elif trained.any():
        families.append((rows[trained], BASELINE_FIGURES))
    for chosen, kinds in ((free, UNHELD_FIGURES), (~(moved | trained | free), FIGURES)):
        if chosen.any():
            families.append((rows[chosen], kinds))
    return families
