"""What stored models of a run are shown with: its data, where they are on this machine, and the models' class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from rayfe.data.fingerprint import fingerprint
from rayfe.data.local_files import load_here
from rayfe.data.paths import PathData
from rayfe.exceptions import CorruptFile, UsageError
from rayfe.records import Split, StepRecord
from rayfe.report.view import RunView

if TYPE_CHECKING:
    from torch import nn

    from rayfe.data.coupling import Coupling

Item = TypeVar("Item")


class AtHand:
    """Data and models of one run.

    `data`: those of the run where they are at hand; otherwise they are looked for on this machine, in `root` first. `model`: the
    class of its models, where the one that run.json names is not loaded.
    """

    def __init__(self, data: PathData | None = None, *, root: str | None = None, model: type[nn.Module] | None = None) -> None:
        self._data, self._root, self._model = data, root, model
        self.missing: str | None = None
        """Why there are no data, once they have been looked for."""

    def data(self, view: RunView) -> PathData | None:
        """The run's data; None where they are not here, and `missing` says why."""
        if self._data is None and self.missing is None:
            self._data = self._found(view)
        return self._data

    def model(self, view: RunView, row: StepRecord) -> nn.Module:
        """The model of a row; raises as `model_of` does."""
        from rayfe.results.stored_model import model_of  # imports torch, which takes seconds

        return model_of(view.store, view.manifest, row, cls=self._model)

    def _found(self, view: RunView) -> PathData | None:
        kept, names = view.store.data_folder(), view.manifest.get("class_names", ())
        try:
            data = load_here(view.config, self._root, kept=kept, outputs=names)
        except UsageError as error:
            self.missing = f"the data are not on this machine ({error})"
            return None
        if fingerprint(data) != view.manifest.get("data_sha256"):
            self.missing = "the data on this machine are not those of the run"
            return None
        if data.kind == "displacement" and coupling_of(view, data) is None:
            self.missing = "the run has no whole coupling of source and target"
            return None
        return data


def coupling_of(view: RunView, data: PathData | None) -> Coupling | None:
    """How validation examples of source and target are coupled; None where that is not whole."""
    if data is not None and data.couplings is not None:
        return data.couplings[Split.VALIDATION]
    try:
        return view.store.inputs.read_coupling(str(Split.VALIDATION))
    except (FileNotFoundError, CorruptFile):
        return None


def chosen_rows(view: RunView, *, models: int, each: int) -> dict[str, list[StepRecord]]:
    """Accepted rows with stored weights by trajectory: `models` in all at most, of one trajectory `each`. Rows are evenly chosen, first and
    last always among them, and so are trajectories where they are too many."""
    most = max(2, min(each, models // max(1, len(view.records))))
    chosen = {}
    for name in evenly(tuple(view.records), models // most):
        rows = [row for row in view.records[name] if row.accepted and view.store.has_state(row)]
        chosen[name] = evenly(rows, most)
    return chosen


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """`most` of the items, or all: from the first to the last, as far from one another as from the next."""
    return [items[place] for place in np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)]


def balanced(y: np.ndarray) -> np.ndarray:
    """Row numbers (N,): the first of every class in turn, then the second, and so on."""
    from rayfe.data.examples import groups, rank_in_class

    return np.lexsort((groups(y), rank_in_class(y)))


def unit(x: np.ndarray) -> np.ndarray:
    """Examples as models see them, float32."""
    return x.astype(np.float32) / 255.0 if x.dtype == np.uint8 else x.astype(np.float32)
