"""A run with random weights says what it guarantees on new data: rows, status and page have the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

import rayfe
from rayfe.cli.commands.status import main as status
from rayfe.surface.pac_bayes import guarantee

QUICK = {"seed": 0, "backend": "inline", "certificate_share": 0.0, "lam": 1.0, "gamma": 20.0, "sigma": 0.01, "steps": 0}
TRAINING = {"first_epochs": 30, "epochs": 1}


def test_rows_status_and_page_have_the_bound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"hidden": 16, "latent": 4, "posterior": "all"}
    run = rayfe.walk("digits-smoke", model=model, equilibration=TRAINING, out=tmp_path / "run", **QUICK)
    (row,) = (row for _, row in run.rows.iterrows() if row["step"] == 0 and row["accepted"])
    N, draws = int(row["read_size"]), -(-120_000 // int(row["read_size"])) * int(row["read_size"])
    expected = guarantee(row["gibbs_error"], draws=draws, S=row["gibbs_S"], N=N, share=0.5).bound
    assert row["gibbs_error_bound"] == pytest.approx(expected)
    assert row["val_gibbs_error"] < row["gibbs_error_bound"]
    assert 0.0 < row["gibbs_S"] < row["S"], "the decoder's weights count in S alone"
    status([str(tmp_path / "run")])
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("at most"))
    assert f"at most {100 * expected:.1f} % of answers by one draw of weights and z are wrong on new data" in said
    assert f"A{said[1:]}." in " ".join(Path(run.report(tmp_path / "page.html")).read_text().split())


def test_without_random_weights_nothing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nor where they are those of the classifier alone: the encoder has seen the examples, too."""
    model = {"hidden": 16, "latent": 4, "posterior": "classifier"}
    run = rayfe.walk("digits-smoke", model=model, equilibration=TRAINING, out=tmp_path / "run", **QUICK)
    assert run.rows[[name for name in run.rows if "gibbs" in str(name)]].isna().all(axis=None)
    status([str(tmp_path / "run")])
    assert "new data" not in capsys.readouterr().out
