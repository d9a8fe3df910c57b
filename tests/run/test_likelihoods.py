"""A walk whose D is -log of a density or of a probability, from the command line to the page."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import rayfe
from rayfe.cli.commands.status import main as status
from rayfe.exceptions import UsageError
from rayfe.model.likelihood import DiscretisedLogistic, likelihood_of
from rayfe.records.run_json import UNIT
from rayfe.results.frames import bits_line, distortion_title
from rayfe.storage.store import Store

QUICK = {"data": {"name": "digits", "train_size": 200}, "measure": {"head_draws": 8}, "quiet": True}
TRAINING = {"first_epochs": 6.0, "epochs": 1.0, "batch": 50}


@pytest.fixture(scope="module")
def density(tmp_path_factory: pytest.TempPathFactory) -> rayfe.Run:
    """Two models by one learnt variance, trained long enough for D to be negative."""
    out = tmp_path_factory.mktemp("density") / "run"
    equilibration = TRAINING | {"first_epochs": 40.0}
    model = {"likelihood": "gaussian-learnt", "hidden": 32, "latent": 6}
    return rayfe.walk("digits-smoke", model=model, equilibration=equilibration, steps=1, out=out, **QUICK)


def test_a_walk_goes_on_where_d_is_negative(density: rayfe.Run) -> None:
    rows = density.accepted
    assert len(rows) == 2
    assert (rows["D"] < 0).all()
    np.testing.assert_allclose(rows["F"], rows["R"] + rows["lam"] * rows["D"] + rows["gamma"] * rows["C"], rtol=1e-12)
    assert (rows["D_se"] > 0).all()
    assert rows["missed"].notna().all()


def test_a_stored_model_has_its_variance_and_a_page_the_unit(density: rayfe.Run, tmp_path: Path) -> None:
    first, second = (likelihood_of(density.model(step)) for step in (0, 1))
    assert 0.0 < float(first.log_variance.exp().detach()) < 0.1
    assert not torch.equal(first.log_variance, second.log_variance)
    assert density.rows.attrs[UNIT] == "nats"
    page = Path(density.report(tmp_path / "page.html")).read_text()
    assert "Distortion D (nats)" in page
    assert "squared error)" not in page
    assert "bits a dimension" not in page  # of a density nothing is said
    figures = density.figures()
    assert figures["fig2a_rate_distortion.png"].axes[0].get_ylabel() == "Distortion D (nats)"
    assert np.isfinite([line.get_ydata() for line in figures["fig4a_equilibration.png"].axes[0].get_lines()][0]).all()


def test_of_a_probability_the_bits_of_a_code_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = rayfe.walk("digits-nats", equilibration=TRAINING, steps=0, out=tmp_path / "run", **QUICK)
    row = run.rows.iloc[0]
    status([str(tmp_path / "run")])
    said = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("lossless"))
    bits = (row["val_R"] + row["val_D"]) / math.log(2.0) / 64
    assert f"at most {bits:.4g} bits a dimension: (R + D) / ln 2 / 64 on validation examples (step 0 of" in said
    assert row["missed"] is None or np.isnan(row["missed"])  # D is no squared error
    assert isinstance(likelihood_of(run.model(0)), DiscretisedLogistic)
    with pytest.raises(UsageError, match="the stored run has discretised-logistic"):
        rayfe.walk(
            "digits-nats", model={"likelihood": "laplace"}, equilibration=TRAINING, steps=0, out=tmp_path / "run", **QUICK
        )


def test_rows_of_runs_that_say_nothing_are_of_squared_errors(density: rayfe.Run) -> None:
    bare = density.rows.copy()
    bare.attrs.clear()
    assert distortion_title(bare) == "Distortion D (squared error)"
    assert bits_line(bare, {"input_shape": [64]}) == ""


def test_run_json_says_what_d_is(density: rayfe.Run) -> None:
    assert Store(density.location).read_config()["D"] == {"unit": "nats", "probability": False}


def test_options_say_it_in_their_own_words() -> None:
    with pytest.raises(UsageError) as refused:
        rayfe.walk("digits-smoke", model={"likelihood": "bernoulli"}, quiet=True)
    assert "needs pixels that are 0 or 1, but 4" in str(refused.value)
    assert refused.value.name == "model.likelihood"
