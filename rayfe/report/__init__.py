"""report.html: one self-contained page per run, for people who would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence

from rayfe.data.paths import PathData
from rayfe.report.images import Album
from rayfe.report.page import html_of, page_of
from rayfe.report.view import view_of
from rayfe.storage.store import Store

__all__ = ["REPORT", "report_of"]

REPORT = "report.html"
"""Its name in the run directory."""


def report_of(store: Store, data: PathData | None = None, *, root: str | None = None, others: Sequence[str] = ()) -> str:
    """The page of the run at `store`; `data` are the run's, looked for on this machine (in `root`) if they are not at hand.
    Models of the runs `others` bound its free energy, too.

    Raises:
        FileNotFoundError: there is no run.
        CorruptFile: it cannot be read.
        UsageError: one of the others has other data or another model.
    """
    view = view_of(store, others)
    return html_of(page_of(view, Album(data, root=root).gallery(view)))
