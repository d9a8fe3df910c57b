"""The figure of universal encoders: penalties of each encoder at each point, and what one encoder for all would lose."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rayfe.figures.drawing import DPI, note
from rayfe.figures.styles import MARKERS, PALETTE
from rayfe.results.universal import Matrix

LIGHT = 0.55
"""Part of the darkest colour up to which numbers in a cell are black."""


def universal_figure(matrix: Matrix) -> Figure:
    """A heat map of the penalties in F, per cent, with their standard errors, and each encoder's mean and largest one."""
    figure = Figure(figsize=(11.5, 5.0), dpi=DPI, layout="constrained")
    cells, curves = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
    _heat_map(figure, cells, matrix)
    _curves(curves, matrix)
    if matrix.repeats > 1:
        of = "walks" if matrix.trajectories > 1 else "new decoders of one walk's encoders"
        note(figure, f"± and bars: one standard error over {matrix.repeats} {of}")
    return figure


def _heat_map(figure: Figure, axes: Axes, matrix: Matrix) -> None:
    percent, error = 100.0 * matrix.penalty["F"], 100.0 * matrix.error["F"]
    image = axes.imshow(percent, cmap="Blues", vmin=0.0, origin="lower")
    named = [f"{lam:.3g}" for lam in matrix.lam]
    axes.set_xticks(range(len(named)), named, fontsize=9)
    axes.set_yticks(range(len(named)), named, fontsize=9)
    axes.set_xlabel("λ of the point", fontsize=12)
    axes.set_ylabel("λ of the encoder", fontsize=12)
    size = 7.5 if len(named) > 6 else 9
    for i, j in np.ndindex(*percent.shape):
        text = "0" if i == j else f"{percent[i, j]:.1f}" + ("" if np.isnan(error[i, j]) else f"\n±{error[i, j]:.2f}")
        dark = percent[i, j] > LIGHT * max(percent.max(), 1e-9)
        axes.text(j, i, text, ha="center", va="center", fontsize=size, color="white" if dark else "black")
    figure.colorbar(image, ax=axes, label="penalty in F, %", shrink=0.85)


def _curves(axes: Axes, matrix: Matrix) -> None:
    F, error = matrix.penalty["F"], matrix.error["F"]
    rows, worst = np.arange(len(F)), matrix.worst
    lines = (("largest", F[rows, worst], error[rows, worst]), ("mean over the points", matrix.mean, matrix.mean_error))
    for (label, value, bar), colour, marker in zip(lines, PALETTE[1::-1], MARKERS, strict=False):
        axes.errorbar(
            matrix.lam,
            100.0 * value,
            yerr=100.0 * np.nan_to_num(bar),
            color=colour,
            marker=marker,
            markersize=4.5,
            capsize=2.0,
            label=label,
        )
    axes.set_xscale("log")
    axes.set_xticks(matrix.lam, [f"{lam:.3g}" for lam in matrix.lam], fontsize=9)
    axes.set_xticks([], minor=True)
    axes.set_ylim(bottom=min(0.0, *axes.get_ylim()))
    axes.set_xlabel("λ of the one encoder for all points", fontsize=12)
    axes.set_ylabel("penalty in F, %", fontsize=12)
    axes.grid(True, color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=10, framealpha=0.85)
