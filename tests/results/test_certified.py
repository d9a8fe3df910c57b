"""What is said of certificates: never a tick without one, or where the new models end higher; the envelope is a lower bound."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import rayfe
from rayfe.cli.command import main
from rayfe.config import DataConfig, ModelConfig, PathConfig, configure
from rayfe.data.paths import load_path
from rayfe.exceptions import UsageError
from rayfe.records import CertificateRecord
from rayfe.records.run_json import SIGNED
from rayfe.report.verdict import Verdict
from rayfe.report.verdicts import equilibrium
from rayfe.report.view import RunView, view_of
from rayfe.results.certified import equilibrium_lines, findings, largest_gap
from rayfe.results.pooling import models_of
from rayfe.storage.manifest import manifest_of
from rayfe.storage.store import Store
from stored_steps import NAME, commit_of

EQUAL = dict.fromkeys(("dF", "dR", "dD", "dC", "dgamma"), 0.0)
NEW = {"R": 10.0, "D": 20.0, "C": 0.1, "F": 20.4, "C_gamma": -0.02, "lowest_R": 10.0, "lowest_D": 20.0, "lowest_C": 0.1}
ERRORS = {f"{name}_se": 0.0 for name in ("dF", "dR", "dD", "dC", "dgamma", "C_gamma")}


def line(**changes: Any) -> CertificateRecord:
    key = {"trajectory": NAME, "step": 1, "state_sha256": "0" * 64, "method": "on", "outcome": "OK", "lam": 0.5, "gamma": 4.0}
    plan = {"t": 0.0, "held_on": "train", "seeds": 2, "epochs": 5.0, "examples": 1.0, "seconds": 1.0}
    return CertificateRecord(**(key | plan | NEW | EQUAL | ERRORS | changes))


def frame(*lines: CertificateRecord) -> pd.DataFrame:
    return pd.DataFrame([dataclasses.asdict(one) for one in lines])


def found(*lines: CertificateRecord, step_epochs: float = 2.0, uptake: float = 0.0) -> tuple[str, str]:
    (one,) = findings(frame(*lines), rows_of(20.4, 20.4, uptake=uptake), step_epochs=step_epochs)
    return one.state, one.text


def test_new_models_with_the_same_numbers_certify() -> None:
    state, text = found(line())
    assert state == "holds"
    assert "C +0.00 ± 0.00 %" in text and "95 % intervals over seeds; 2 seeds trained on for 5 epochs each" in text


def test_a_loss_that_may_be_negative_counts_in_nats() -> None:
    """The new models' C is 0.001 nats, to which a distance says nothing."""
    assert found(line(C=0.001, C_scale=1.0, dC=-0.04))[0] == "holds"
    assert found(line(C=0.001, C_scale=1.0, dC=-0.06))[0] == "look"


@pytest.mark.parametrize(
    ("name", "near", "far"), [("C", 0.004, 0.006), ("D", 0.3, 0.5), ("R", 0.15, 0.25), ("gamma", 0.15, 0.25)]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_each_first_order_number_must_be_near(name: str, near: float, far: float, sign: int) -> None:
    assert found(line(**{f"d{name}": sign * near}))[0] == "holds"
    state, text = found(line(**{f"d{name}": sign * far}))
    assert state == "look"
    assert f"further than {name} " in text


def test_an_error_that_does_not_exclude_a_distance_certifies_nothing() -> None:
    state, text = found(line(dC_se=0.004, seeds=50))
    assert state == "look"
    assert "the intervals do not exclude more than C 5 %" in text


@pytest.mark.parametrize(("seeds", "quantile"), [(2, 12.706), (3, 4.303), (5, 2.776), (8, 2.365)])
def test_few_seeds_count_by_the_quantile_of_student(seeds: int, quantile: float) -> None:
    """C may be 0.005 nats off; its error is a little less, and a little more, than fits so often."""
    near, far = (line(dC_se=part * 0.005 / quantile, seeds=seeds) for part in (0.99, 1.01))
    assert (found(near)[0], found(far)[0]) == ("holds", "look")
    assert "C +0.00 ± 4.95 %" in found(near)[1]


def test_F_alone_certifies_nothing_and_condemns_nothing() -> None:
    """0.7 % of F with 14 % of C (Fashion-MNIST)."""
    assert found(line(dF=0.007 * 20.4, dC=0.014))[0] == "look"
    assert found(line(dF=0.007 * 20.4))[0] == "holds"


def test_new_models_that_end_higher_prove_nothing_however_alike_they_are() -> None:
    state, text = found(line(dF=-0.001, dF_se=0.1))
    assert state == "not measured"
    assert "the new models end above it in F, which proves nothing" in text


def test_of_two_methods_the_one_whose_models_end_lower_is_believed() -> None:
    near, far = line(method="on", dF=0.01), line(method="anew", dF=0.02, dC=0.03)
    assert found(near, far)[0] == "look"
    assert found(near, dataclasses.replace(far, dF=-0.02))[0] == "holds"
    assert found(dataclasses.replace(near, outcome="NONFINITE", dF=None), far)[0] == "look"


def test_training_on_for_less_than_a_step_may_show_a_distance_but_proves_none() -> None:
    assert found(line(), step_epochs=6.0)[0] == "not measured"
    assert found(line(dC=0.01), step_epochs=6.0)[0] == "look"
    assert found(line(method="anew"), step_epochs=6.0)[0] == "holds"


def test_gamma_that_could_not_be_compared_is_told() -> None:
    assert found(line(dgamma=None, dgamma_se=None))[0] == "look"


def test_without_labels_neither_C_nor_gamma_is_compared() -> None:
    far = {"dC": 0.05, "dC_se": 0.1, "dgamma": None, "dgamma_se": None, "gamma": 0.0}
    state, text = found(line(**far))
    assert state == "holds"
    assert "off by D " in text and " C " not in text and "gamma" not in text
    assert found(line(**far | {"dD": 0.5}))[0] == "look"


def test_a_dimension_that_is_worth_more_elsewhere_makes_no_certified_model_near_equilibrium() -> None:
    """3e-4 of F are 0.00612 nats; models trained anew may miss the same direction."""
    assert found(line(), uptake=0.0061)[0] == "holds"
    for one in (line(), line(dF=-0.1), line(method="anew")):
        state, text = found(one, uptake=0.28)
        assert state == "look"
        assert "J would fall by 0.28 nats (1.4 % of F)" in text
    assert found(line(outcome="NONFINITE", **dict.fromkeys([*EQUAL, *NEW, *ERRORS])), uptake=0.28)[0] == "not measured"


def test_the_loss_of_control_images_counts_where_that_is_held() -> None:
    held = {"held_on": "control", "control_C": 0.2, "control_dC": 0.02, "control_dC_se": 0.0}
    assert found(line(**held))[0] == "look"
    assert found(line(**held | {"control_dC": 0.001, "dC": 0.05}))[0] == "holds"


@pytest.mark.parametrize(("outcome", "text"), [("NONFINITE", "a training diverged"), ("TOO_SHORT", "pay for no training")])
def test_what_has_no_numbers_says_why(outcome: str, text: str) -> None:
    empty = dict.fromkeys([*EQUAL, *NEW, *ERRORS])
    assert found(line(outcome=outcome, **empty))[0] == "not measured"
    assert text in found(line(outcome=outcome, **empty))[1]


# --- the verdict of a run -------------------------------------------------------------------------------------------------


def rows_of(*F: float, trajectory: str = NAME, uptake: float = 0.0) -> pd.DataFrame:
    """Steps at one place whose models have these F, and nothing else that differs."""
    plain = {
        "process": "iso-classification",
        "lam": 0.5,
        "gamma": 4.0,
        "t": 0.0,
        "kind": "step",
        "leg": "there",
        "D": 20.0,
        "C": 0.1,
        "accepted": True,
    }
    rows = [plain | {"trajectory": trajectory, "step": step, "R": value - 10.4, "F": value} for step, value in enumerate(F)]
    return pd.DataFrame(rows).assign(step_length=0.1, process="iso-functional", uptake=uptake)


def verdict(rows: pd.DataFrame, *certificates: CertificateRecord, models: pd.DataFrame | None = None) -> Verdict:
    view = RunView(
        store=Store("nowhere"),
        manifest={},
        config=configure(),
        rows=rows,
        readings=pd.DataFrame(),
        standing={},
        **({"certificates": frame(*certificates)} if certificates else {}),
        models=models,
    )
    return equilibrium(view)


def test_without_certificates_the_verdict_is_not_measured_with_the_gap() -> None:
    for F, gap in (
        (20.4, "No other model that is here is lower in F, which proves nothing"),
        (25.0, "F is at least 4.6 nats (18 % of F) above"),
    ):
        told = verdict(rows_of(20.4, F))
        assert told.state == "not measured"
        assert gap in told.text
        assert "at most" not in told.text


def test_a_certified_end_of_every_trajectory_holds_and_one_that_lacks_it_does_not() -> None:
    other = "lam1-gamma8-seed0"
    both = pd.concat([rows_of(20.4, 20.4), rows_of(20.4, 20.4, trajectory=other)], ignore_index=True)
    assert verdict(rows_of(20.4, 20.4), line()).state == "holds"
    assert verdict(both, line()).state == "not measured"
    assert verdict(both, line(), line(trajectory=other)).state == "holds"
    assert verdict(both, line(), line(trajectory=other, dC=0.05)).state == "look"
    assert verdict(both, line(), line(trajectory=other, dF=-0.05)).state == "not measured"


def test_a_certified_end_does_not_excuse_a_step_that_another_model_is_known_to_beat() -> None:
    assert verdict(rows_of(25.0, 20.4), line()).state == "look"


def test_a_dimension_that_is_worth_more_elsewhere_is_told_of_models_without_certificate_too() -> None:
    told = verdict(rows_of(20.4, 20.4, uptake=0.28))
    assert told.state == "not measured"
    assert "J would fall by 0.28 nats (1.4 % of F)" in told.text and f"({NAME}, step 0)" in told.text
    rows = rows_of(20.4, 20.4)
    rows.loc[0, "uptake"] = 0.28
    told = verdict(rows, line())
    assert told.state == "look" and f"({NAME}, step 0)" in told.text
    for certificates in (frame(line())[:0], frame(line())):
        summed = equilibrium_lines(rows, certificates, step_epochs=2.0, location="RUN")[1]
        assert "J would fall by 0.28 nats (1.4 % of F)" in summed and f"({NAME}, step 0)" in summed


def test_what_is_left_is_said_once_of_a_certified_model() -> None:
    rows = rows_of(20.4, 20.4)
    rows.loc[1, "uptake"] = 0.28
    told = verdict(rows, line())
    (summed,) = equilibrium_lines(rows, frame(line()), step_epochs=2.0, location="RUN")
    assert told.state == "look" and told.text.count("J would fall") == 1
    assert "not near, or not surely so" in summed and summed.count("J would fall") == 1


def test_models_from_elsewhere_count_at_their_own_t_only() -> None:
    models = pd.DataFrame({"t": [0.0, 0.0, 1.0], "R": [10.0, 9.0, 0.0], "D": 20.0, "C": 0.1})
    gap = largest_gap(rows_of(20.4), models)
    assert gap is not None and gap.nats == pytest.approx(1.0)
    assert largest_gap(rows_of(20.4), models[models["t"] == 1.0]) is None
    assert "F is at least 1 nats (4.9 % of F) above equilibrium" in str(gap)


def test_a_run_says_in_one_line_what_was_measured_and_what_measures_the_rest() -> None:
    other = "lam1-gamma8-seed0"
    rows = rows_of(20.4, 20.4)
    both = pd.concat([rows, rows_of(20.4, 20.4, trajectory=other)], ignore_index=True)
    command = "python -m rayfe certify RUN measures it"
    higher = "the new models end above it in F, which proves nothing"
    said: list[tuple[pd.DataFrame, list[CertificateRecord], str]] = [
        (rows, [], f"not measured; {command}"),
        (rows, [line(dF=-0.1)], f"not measured ({higher}); {command}"),
        (rows, [line()], f"near: {NAME}, step 1, off by C +0.00 ± 0.00 %"),
        (both, [line()], f"1 of 2 measured; near: {NAME}, step 1, off by C"),
        (both, [line(), line(trajectory=other)], f"2 of 2 measured; near: 2, such as {NAME}, step 1, off by C"),
        (both, [line(), line(trajectory=other, dC=0.05)], f"not near, or not surely so: {other}, step 1, off by C +50.00"),
    ]
    for these, certificates, text in said:
        (told,) = equilibrium_lines(these, frame(line(), *certificates)[1:], step_epochs=2.0, location="RUN")
        assert told.startswith("distance from equilibrium: ") and text in told
        assert (command in told) == (len(these) > 2 * sum(one.dF == 0.0 for one in certificates))


def test_F_that_may_be_near_nought_is_told_in_nats() -> None:
    rows, scaled = rows_of(25.0, 20.4, uptake=0.28), frame(line(dF=0.1))
    for signed in (rows.assign(D=-20.0, F=rows["F"] - 20.0), rows.assign(C_scale=1.0)):
        told = verdict(signed, line(dF=0.1)).text
        assert (
            "4.6 nats" in told
            and "F +0.10 ± 0.00 nats" in told
            and "J would fall by 0.28 nats if" in told
            and "of F" not in told
        )
    rows.attrs[SIGNED] = True
    assert "F +0.10 ± 0.00 nats" in equilibrium_lines(rows, scaled, step_epochs=2.0, location="RUN")[0]
    rows.attrs[SIGNED] = False
    assert "F +0.49 ± 0.00 %" in equilibrium_lines(rows, scaled, step_epochs=2.0, location="RUN")[0]


# --- pooling --------------------------------------------------------------------------------------------------------------


def stored(folder: Path, R: float, *, latent: int = 4, t: float = 0.0, target: str | None = None) -> Store:
    """A run of the digits with two accepted rows."""
    config = configure(
        data=DataConfig(name="digits:0-4" if target else "digits"),
        model=ModelConfig(hidden=8, latent=latent),
        **({"process": "constant-rate", "path": PathConfig(target=target)} if target else {}),
    )
    store = Store(folder)
    store.create(manifest_of("transfer" if target else "isoc", "digits-smoke", [], config, load_path(config)))
    for step in (0, 1):
        commit = commit_of(step)
        row = dataclasses.replace(commit.record, lam=1.0, t=t, R=R, D=20.0, C=0.1, F=R + 20.4)
        store.commit(NAME, dataclasses.replace(commit, record=row))
    return store


def test_the_envelope_pools_rows_certificates_and_named_runs(tmp_path: Path) -> None:
    store, other = stored(tmp_path / "one", 12.0), stored(tmp_path / "other", 10.5)
    rows = rayfe.load_run(store.url())
    assert rayfe.envelope_excess(rows, models_of(store)).max() == pytest.approx(0.0)
    sha256 = str(store.rows(NAME)[1].state_sha256)
    store.keep_certificate(line(lam=1.0, state_sha256=sha256, lowest_R=11.0, R=11.4))
    assert rayfe.envelope_excess(rows, models_of(store)).tolist() == pytest.approx([1.0, 1.0])
    run = rayfe.Run(store.url())
    assert rayfe.envelope_excess(rows, run.models(other.url())).tolist() == pytest.approx([1.5, 1.5])
    assert rayfe.envelope_excess(rows).max() == pytest.approx(0.0)  # the rows alone
    assert view_of(store, [other.url()]).models is not None
    assert len(run.models(other.url())) == len(run.models()) + 2


def test_models_at_another_t_do_not_bound(tmp_path: Path) -> None:
    here = stored(tmp_path / "one", 12.0, t=0.5, target="digits:5-9")
    there = stored(tmp_path / "other", 10.0, t=1.0, target="digits:5-9")
    rows = rayfe.load_run(here.url())
    assert rayfe.envelope_excess(rows, models_of(here, [there.url()])).max() == pytest.approx(0.0)


def test_runs_of_other_data_or_models_are_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = stored(tmp_path / "one", 12.0)
    wider, moved = stored(tmp_path / "wider", 10.0, latent=5), stored(tmp_path / "moved", 10.0, target="digits:5-9")
    other_code = stored(tmp_path / "code", 10.0)
    for one, digest in ((store, "a"), (other_code, "b")):
        one.create(one.read_config() | {"code_sha256": {"model.name": digest}})
    for location in (wider.url(), moved.url(), other_code.url(), str(tmp_path / "none")):
        with pytest.raises(UsageError) as refused:
            models_of(store, [location])
        assert refused.value.name == "with" and location in str(refused.value)
        for words in (
            ["report", store.url(), "--to", str(tmp_path / "p.html"), "--with", location],
            ["status", store.url(), "--with", location],
        ):
            assert main(words) == 2
            assert capsys.readouterr().err.startswith(f"--with {location}: ")
    assert not (tmp_path / "p.html").exists()


def test_report_and_status_take_the_models_of_a_named_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, other = stored(tmp_path / "one", 12.0), stored(tmp_path / "other", 10.0)
    assert main(["status", store.url(), "--with", other.url()]) == 0
    assert "F is at least 2 nats (6.2 % of F)" in " ".join(capsys.readouterr().out.split())
    assert main(["report", store.url(), "--with", other.url(), "--to", str(tmp_path / "p.html")]) == 0
    assert "F is at least 2 nats (6.2 % of F)" in (tmp_path / "p.html").read_text()
