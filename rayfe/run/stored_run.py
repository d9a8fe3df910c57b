"""A run as Python sees it: its rows, models, figures and page."""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayfe.config.arguments import checked
from rayfe.exceptions import in_python_words, visible
from rayfe.figures.book import PictureBook, figures_of
from rayfe.figures.frames import band_of, subject_of
from rayfe.records import StepRecord
from rayfe.report.at_hand import AtHand
from rayfe.report.overview import overview
from rayfe.report.page import REPORT, report_of
from rayfe.report.predicted import Predictor
from rayfe.report.view import view_of
from rayfe.results.pooling import models_of
from rayfe.storage.local import replace_together
from rayfe.storage.parquet import table_of
from rayfe.storage.store import Store, existing, load_certificates, load_rows

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

COLUMNS = ("step", "lam", "gamma", "t", "R", "D", "C", "val_C", "val_accuracy")
"""Of the rows that a notebook shows."""
NOTHING = "nothing to show"


@dataclass(frozen=True)
class Run:
    """A stored run: what `rayfe.walk` and `rayfe.transfer` return, and `rayfe.Run("runs/mnist-quick")` opens.

    Nothing is held but the place: every question is answered from what is stored at that moment, also while the run goes
    on elsewhere.
    """

    location: str | Path
    """The run's folder, or its URI."""
    failed: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """Trajectories that failed in the call that returned this, with one line why; the same call tries them again."""
    model_class: type[Any] | None = field(default=None, kw_only=True)
    """The class of its models, where the one that run.json names is not loaded: names in a run are not imported."""

    @property
    def rows(self) -> pd.DataFrame:
        """All attempted steps (`rayfe.load_run`)."""
        return load_rows(self.location)

    @property
    def accepted(self) -> pd.DataFrame:
        """The accepted steps: points of the walk, each with a stored model."""
        rows = self.rows
        return rows[rows["accepted"]].reset_index(drop=True)

    def certificates(self) -> pd.DataFrame:
        """How far models are from others that were trained at the same multipliers (`rayfe.load_certificates`)."""
        return load_certificates(self.location)

    def summary(self) -> pd.DataFrame:
        """A row a trajectory: whether it is running, stopped, failed or finished, and why; its accepted steps; when its last row was
        stored; lam, gamma, t, R, D, C and validation C of the last accepted one; the largest drift of what is held, as a part of it, with
        its standard error; the recommended step (`step`).

        Raises:
            FileNotFoundError: there is no run.
            CorruptFile: it cannot be read.
        """
        return overview(view_of(Store(self.location), readings=False), in_python_words)

    @checked
    def models(self, *others: str | Path) -> pd.DataFrame:
        """t, R, D, C and S of every model that bounds the run's free energy, for `rayfe.envelope_excess`: accepted steps and certificates
        of the run, and of `others`, folders or URIs of runs.

        Raises:
            UsageError: one of the others has other data or another model.
        """
        return models_of(Store(self.location), tuple(map(str, others)))

    @property
    def trajectories(self) -> list[str]:
        """Names of the trajectories, e.g. `lam0.25-gamma4-seed0`. Raises FileNotFoundError: there is no run."""
        return existing(self.location).trajectories()

    @checked
    def step(
        self, step: int | None = None, *, at: Mapping[str, float] | None = None, trajectory: str | None = None
    ) -> StepRecord:
        """The row of an accepted step: number `step`, or the one nearest to `at` such as {"lam": 1.0}; without either the recommended one.

        Recommended is, of the accepted steps that count, the one with the lowest loss of the task on validation examples. Of a walk
        those count that are lowest in F at their lam, of a transfer those at t = 1, of a seek the one that came nearest. On new examples
        its loss is likely to be a little higher than on those that it was chosen by.

        `trajectory` may be left out where there is one; the recommended step is then of all of them, whose losses are of the same examples.
        FarFromWanted, a warning, says where the nearest step is farther from `at` than steps are apart there.

        Raises:
            FileNotFoundError: there is no run.
            UsageError: a ValueError; there is no such step, or none to recommend, several trajectories to choose from, or the process
                keeps a column of `at` constant, so that it tells no steps apart.
        """
        from rayfe.results.stored_model import find_step  # imports torch

        return find_step(self.location, trajectory, step, at=at)

    @checked
    def model(
        self,
        step: int | None = None,
        *,
        at: Mapping[str, float] | None = None,
        lam: float | None = None,
        trajectory: str | None = None,
    ) -> nn.Module:
        """The model of the step that `step` finds with the same arguments, or of a walk at this very `lam`, between its stored ones, in
        evaluation mode on the CPU (`rayfe.load_model`)."""
        from rayfe.results.stored_model import load_model

        return load_model(self.location, trajectory, step, at=at, lam=lam, model=self.model_class)

    def figures(self) -> PictureBook:
        """The figures that fit the run, as matplotlib figures by file name; a notebook shows them."""
        view = view_of(Store(self.location))
        config = view.config
        found = Predictor(AtHand(model=self.model_class)).predictions(view)
        band = band_of(config, view.rows)
        return figures_of(view.rows, view.readings, tolerance=band, subject=subject_of(config), predictions=found)

    @checked
    def report(self, to: str | Path | None = None) -> str:
        """Write the run's page, a file for a browser, and return where it is: `to`, or report.html in the run."""
        store = Store(self.location)
        text = report_of(view_of(store), model=self.model_class)
        if to is None:
            return store.url(store.write_text(REPORT, text))
        replace_together({Path(to): text.encode()})
        return str(to)

    def __repr__(self) -> str:
        return "\n".join([f"Run({str(self.location)!r})", *(f"  {name}: {now}" for name, now in self._standing().items())])

    def _repr_html_(self) -> str:
        standing = self._standing()
        lines = "".join(f"<li>{html.escape(name)}: {html.escape(now)}</li>" for name, now in standing.items())
        rows = self.accepted if NOTHING not in standing else table_of([], StepRecord).to_pandas()
        shown = rows[["trajectory", *(name for name in COLUMNS if rows[name].notna().any())]]
        table = shown.to_html(index=False, max_rows=20, float_format="{:.4g}".format, border=0)
        return f"<p>rayfe run <code>{html.escape(visible(str(self.location)))}</code></p><ul>{lines}</ul>{table}"

    def _standing(self) -> dict[str, str]:
        try:
            view = view_of(Store(self.location), readings=False)
        except (OSError, RuntimeError) as error:
            return {NOTHING: visible(str(error))}
        return {name: in_python_words(now.dated) for name, now in view.standing.items()}


Run.__init__ = checked(Run.__init__)  # type: ignore[method-assign]
