"""python -m rayfe codec: real images, coded here and decoded there, by models of a run that was not trained."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import untrained_job
from rayfe.cli.command import main
from rayfe.cli.job_command import main as job
from rayfe.records.codec import CodecRecord
from rayfe.report.verdicts import verdicts
from rayfe.report.view import view_of
from rayfe.results.coded import CLOSE, brief, is_close
from rayfe.storage.store import Store
from untrained_job import DIGITS, NAME


@pytest.fixture
def run(runner: Callable[..., None], cwd: Path) -> str:
    """A run whose rows are plausible and whose models are new."""
    runner(untrained_job.walk)
    assert job("isoc", [*DIGITS, "--out", "r"]) == 0
    return "r"


def test_without_the_package_one_line_says_how_to_install_it(
    run: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "constriction", None)
    assert main(["codec", run]) == 2
    assert capsys.readouterr().err == "codec: needs the package constriction: pip install 'rayfe[codec]'\n"


def test_images_coded_here_are_decoded_by_another_process(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("constriction", reason="needs the package constriction (rayfe[codec])")
    words = ["codec", run, "--step", "1", "--images", "200"]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{NAME}, step 1, 200 validation images: coded and decoded, bit by bit the same"
    record = CodecRecord(**json.loads(Path(run, "codec", f"{NAME}-1.json").read_text()))
    assert (record.images, record.levels, record.cut) == (200, 17, 0)
    assert record.R_bits < record.own_z_bits < record.most_z_bits
    assert record.own_x_bits == pytest.approx(record.RD_bits, rel=0.02)
    assert abs(record.coded_D - record.D) < 4.0 * record.D_se
    again = subprocess.run([sys.executable, "-m", "rayfe", *words], capture_output=True, text=True, timeout=300)
    assert again.stderr == ""
    assert again.stdout.splitlines()[0].endswith("decoded again from the stored streams, bit by bit the same")
    assert again.stdout.splitlines()[1:] == said[1:]
    (bits,) = (one for one in verdicts(view_of(Store(run), readings=False)) if one.name == "Bits")
    assert f"step 1 ({NAME}): R {record.R_bits:.2f} bits, z coded in {record.own_z_bits:.2f}" in bits.text


def test_what_a_stream_has_once_is_not_the_models(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Few images or many: what is fixed is the same, and a code is judged without it."""
    pytest.importorskip("constriction", reason="needs the package constriction (rayfe[codec])")
    path, fixed = Path(run, "codec", f"{NAME}-1.json"), []
    for images in (5, 50):
        assert main(["codec", run, "--step", "1", "--images", str(images)]) == 0
        said = capsys.readouterr().out
        record = CodecRecord(**json.loads(path.read_text()))
        fixed.append((record.z_fixed, record.x_fixed))
        assert f" and {record.z_fixed} bits once (" in said and f" and {record.x_fixed} bits once (" in said
        assert record.images * (record.z_bits - record.own_z_bits) == pytest.approx(record.z_fixed)
        assert record.x_bits > (1.0 + CLOSE) * record.RD_bits if images == 5 else is_close(record)
        assert record.R_base == record.R and "relative to the Gaussian" not in said
    assert fixed[0] == fixed[1] and fixed[0][1] > record.borrowed > 0


def test_a_mixture_is_told_that_its_z_is_coded_by_a_gaussian(
    runner: Callable[..., None], cwd: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("constriction", reason="needs the package constriction (rayfe[codec])")
    runner(untrained_job.walk)
    assert job("isoc", [*DIGITS, "--model.marginal", "mixture", "--out", "m"]) == 0
    assert main(["codec", "m", "--step", "1", "--images", "50"]) == 0
    record = CodecRecord(**json.loads(Path("m", "codec", f"{NAME}-1.json").read_text()))
    assert record.gain_bits == pytest.approx((record.R_base - record.R) / np.log(2.0)) and record.gain_bits != 0.0
    text = f"R is {record.R_bits:.2f} bits, {record.base_bits:.2f} relative to the Gaussian with the moments of m(z)"
    assert text in capsys.readouterr().out and text.replace("is ", "") in brief(record)


def test_a_damaged_file_is_refused_in_one_line(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("constriction", reason="needs the package constriction (rayfe[codec])")
    words = ["codec", run, "--step", "0", "--images", "20"]
    before = main(["verify", run])
    capsys.readouterr()
    for kind in ("z", "x", "json"):
        assert main(words) == 0
        assert "coded and decoded" in capsys.readouterr().out
        assert main(["verify", run]) == before
        path = Path(run, "codec", f"{NAME}-0.{kind}")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{NAME}-0." in line
        assert "remove it" in line
        assert main(["verify", run]) == 1
        assert f"{NAME}-0.{kind}" in capsys.readouterr().out
        path.unlink()
