"""analysis/prediction_map.py: of one run the map of its own page, and one line for what cannot be on a map."""

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd

from rayfe.cli.job_command import main as job
from rayfe.report.predicted import Predictor
from rayfe.report.view import view_of
from rayfe.results.predictions import AXES
from rayfe.storage.store import Store

spec = importlib.util.spec_from_file_location("prediction_map", Path(__file__).parents[2] / "analysis" / "prediction_map.py")
assert spec is not None and spec.loader is not None
script = importlib.util.module_from_spec(spec)
spec.loader.exec_module(script)
QUICK = (
    "digits-smoke --backend inline --threads 1 --certificate-share 0 --equilibration.first-epochs 4 --equilibration.epochs 1"
)


def test_of_one_run_it_is_the_map_of_its_page(tmp_path, capsys):
    run, other, out = (str(tmp_path / name) for name in ("run", "other", "out"))
    assert job("isoc", [*QUICK.split(), "--steps", "1", "--tolerance", "0.3", "--out", run]) == 0
    assert job("isoc", [*QUICK.split(), "--steps", "0", "--data.name", "digits:0-4", "--out", other]) == 0
    capsys.readouterr()
    assert script.main((run,), Path(out)) == 0
    own = Predictor().predictions(view_of(Store(run)))
    assert own is not None
    table = pd.read_csv(Path(out) / "prediction_map.csv")
    expected = np.concatenate([own.rows[list(AXES)].to_numpy(), list(own.marks.values())])
    assert len(table) == len(own.rows) + 2 and table["trajectory"].tolist()[-2:] == ["truth", "ignorance"]
    np.testing.assert_allclose(table[list(AXES)].to_numpy(), expected, rtol=1e-4, atol=1e-5)
    assert (Path(out) / "prediction_map.png").read_bytes().startswith(b"\x89PNG")
    assert script.main((run, other), tmp_path / "no") == 2
    assert "other predicts 0, 1, 2, 3, 4; give runs whose models predict all of" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()
