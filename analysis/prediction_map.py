"""One map of what the models of several runs predict: a table of places and a figure.

    python analysis/prediction_map.py RUN [RUN...] --out figures

The runs are walks and transfers between classes of one data set, such as digits and digits:0-4 to digits:5-9: all of them predict the same
classes. Every stored model of an accepted step predicts the same validation examples of all these classes by the mean of z. The map is
intensive PCA of mean Bhattacharyya divergences, as on the page of a run.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tyro

from rayfe.config import DataConfig, require
from rayfe.data.datasets import load
from rayfe.exceptions import UsageError
from rayfe.results.predictions import AXES, Predictions, predictions_of

EXAMPLES = 256
COLUMNS = ("run", "trajectory", "step", "t", "lam", "gamma", "R", "D", "C", *AXES)


def main(runs: tyro.conf.Positional[tuple[str, ...]], out: Path) -> int:
    """Read the models of the runs, store their places and draw the map.

    Args:
        runs: run directories.
        out: folder for prediction_map.csv and prediction_map.png, made if missing.
    """
    from rayfe.figures.drawing import png
    from rayfe.figures.predictions import prediction_map

    try:
        found = map_of(runs)
    except (OSError, UsageError) as error:
        print(f"prediction_map: {error}", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    table_of(found).to_csv(out / "prediction_map.csv", index=False, float_format="%.6g")
    (out / "prediction_map.png").write_bytes(png(prediction_map(found)))
    shares = ", ".join(f"{share:.0%}" for share in found.shares)
    print(f"{len(found.rows)} models, {found.examples}; the axes have {shares} of all distance")
    return 0


def map_of(runs: Sequence[str]) -> Predictions:
    """The map of all stored models of the runs.

    Raises:
        FileNotFoundError: there is no such run.
        UsageError: runs; they are of several data sets, or a run has no model of all their classes.
    """
    import torch

    from rayfe.records import StepRecord
    from rayfe.report.at_hand import balanced, unit
    from rayfe.report.view import views_of
    from rayfe.results.stored_model import model_of
    from rayfe.storage.parquet import table_of as stored

    views = views_of(runs)
    sets = {view.config.data.name.partition(":")[0] for view in views.values()}
    require(len(sets) == 1, "runs", runs, f"are of {', '.join(sorted(sets))}; give runs of one data set")
    data = load(DataConfig(name=sets.pop()))
    chosen = np.sort(balanced(data.validation.y)[:EXAMPLES])
    x, y = torch.from_numpy(unit(data.validation.x[chosen])), data.validation.y[chosen]
    frames, models, steps = list[pd.DataFrame](), list[np.ndarray](), dict[str, int]()
    for label, view in views.items():
        names = list(view.manifest["class_names"])
        fix = f"{label} predicts {', '.join(names)}; give runs whose models predict all of {', '.join(data.class_names)}"
        require(sorted(names) == sorted(data.class_names), "runs", runs, fix)
        order = [names.index(name) for name in data.class_names]
        for name, rows in view.records.items():
            kept = [row for row in rows if row.accepted and view.store.has_state(row)]
            flat = x.reshape(len(x), -1) if view.config.model.name in ("mlp", "linear") else x
            for row in kept:
                model: Any = model_of(view.store, view.manifest, row)
                with torch.no_grad():
                    models.append(torch.softmax(model.classify(model.encode(flat)[0]).double(), -1).numpy()[:, order])
            own = f"{label}/{name}"
            frames.append(stored(kept, StepRecord).to_pandas().assign(run=label, trajectory=own))
            steps[own] = sum(row.accepted for row in rows)
    all_rows = pd.concat(frames, ignore_index=True)
    return predictions_of(all_rows, models, y, steps=steps, examples=f"{len(y)} validation examples", why=None)


def table_of(found: Predictions) -> pd.DataFrame:
    """A line of each model, and one each of truth and ignorance."""
    marks = [{"trajectory": name} | dict(zip(AXES, place, strict=True)) for name, place in found.marks.items()]
    return pd.concat([found.rows[list(COLUMNS)], pd.DataFrame(marks)], ignore_index=True)[list(COLUMNS)]


if __name__ == "__main__":
    sys.exit(tyro.cli(main, description=__doc__))
