"""python -m rayfe export: the file computes what the stored model does, and its card says what it gives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rayfe
from rayfe.cli.command import main
from rayfe.config import DataConfig
from rayfe.data.datasets import load
from rayfe.results.recommended import CAVEAT, RULE

NAME = "lam1-gamma4-seed0"


def test_exported_model_computes_what_the_stored_one_does(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "model.pt2"
    assert main(["export", run, "--at", "lam=99", "--to", str(to)]) == 0
    assert f"step 1 of {NAME}" in capsys.readouterr().out
    model: Any = rayfe.load_model(run, NAME, 1)
    about = {"rayfe.json": ""}
    program = torch.export.load(to, extra_files=about).module()
    for n in (1, 4):
        x = torch.rand(n, 64)
        found = program(x)
        mean, log_variance = model.encode(x)
        expected = {
            "mean": mean,
            "log_variance": log_variance,
            "reconstruction": model.decode(mean),
            "logits": model.classify(mean),
        }
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.allclose(found[name], value, atol=1e-5), name
    said = json.loads(about["rayfe.json"])
    assert (said["step"], said["class_names"]) == (1, [str(digit) for digit in range(10)])
    card = to.with_name(f"{to.name}.md").read_text()
    for text in ("## Functionals", "## Certificates", "licence: CC BY 4.0", "python jobs/isoc.py digits-smoke", "0, 1, 2, 3"):
        assert text in card
    assert run not in card
    code = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert code is not None
    subprocess.run([sys.executable, "-c", code[1]], cwd=tmp_path, check=True, timeout=120)


def test_a_model_between_two_steps_is_exported_as_what_it_is(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rayfe.load_run(run)
    lam, to = float(rows["lam"].mean()), tmp_path / "between.pt2"
    assert main(["export", run, "--lam", str(lam), "--to", str(to)]) == 0
    assert f"lam {lam:.6g}, between steps 0, 1 of {NAME}" in capsys.readouterr().out
    about = {"rayfe.json": ""}
    found = torch.export.load(to, extra_files=about).module()(x := torch.rand(3, 64))
    model, ends = rayfe.Run(run).model(lam=lam), [rayfe.load_model(run, step=step) for step in (0, 1)]
    assert torch.allclose(found["mean"], model.encode(x)[0], atol=1e-5)
    for name, value in model.named_parameters():
        one, two = (end.get_parameter(name) for end in ends)
        assert torch.lerp(one, two, json.loads(about["rayfe.json"])["shares"][1]).allclose(value, atol=1e-6)
    said = json.loads(about["rayfe.json"])
    assert (said["step"], said["lam"], said["F"], said["state_sha256"]) == ([0, 1], lam, None, None)
    card = to.with_name(f"{to.name}.md").read_text()
    assert "nothing of the run was read of it" in card
    assert all(digest in card for digest in rows["state_sha256"])


def test_the_card_says_what_the_file_gives_by_the_mean_of_z(run: str, tmp_path: Path) -> None:
    to = tmp_path / "model.pt2"
    assert main(["export", run, "--step", "1", "--to", str(to)]) == 0
    validation = load(DataConfig(name="digits")).validation
    x = torch.from_numpy(validation.x).reshape(-1, 64).float() / (255.0 if validation.x.dtype == "uint8" else 1.0)
    model: Any = rayfe.load_model(run, NAME, 1)
    with torch.no_grad():
        mean, _ = model.encode(x)
        C = torch.nn.functional.cross_entropy(model.classify(mean), torch.from_numpy(validation.y))
        D = (x - model.decode(mean)).square().sum(-1).mean()
    for name, value in (("C", C), ("D", D)):
        (line,) = (line for line in to.with_name(f"{to.name}.md").read_text().splitlines() if line.startswith(f"| {name} ("))
        assert float(line.split("|")[5]) == pytest.approx(float(value), rel=1e-4)
    assert main(["export", run, "--step", "1", "--part", "encode", "--to", str(tmp_path / "encoder.pt2")]) == 0
    assert "was not measured: only the whole model is" in (tmp_path / "encoder.pt2.md").read_text()


def test_an_onnx_file_needs_its_packages_and_computes_the_same(
    run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "model.onnx"
    with monkeypatch.context() as patch:
        patch.setattr("rayfe.model.export.NEEDED", ("no_such_package",))
        assert main(["export", run, "--step", "1", "--to", str(to)]) == 2
        assert "an .onnx file needs no_such_package: pip install 'rayfe[export]'" in capsys.readouterr().err
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    assert main(["export", run, "--step", "1", "--to", str(to)]) == 0
    session = runtime.InferenceSession(to)
    x = np.random.default_rng(0).random((3, 64), dtype=np.float32)
    mean, names = session.run(None, {"x": x})[0], [one.name for one in session.get_outputs()]
    assert names == ["mean", "log_variance", "reconstruction", "logits"]
    model: Any = rayfe.load_model(run, NAME, 1)
    assert np.allclose(mean, model.encode(torch.from_numpy(x))[0].detach().numpy(), atol=1e-5)
    assert len(json.loads(session.get_modelmeta().custom_metadata_map["rayfe.json"])["class_names"]) == 10
    code = re.search(r"```python\n(.*?)```", to.with_name(f"{to.name}.md").read_text(), re.DOTALL)
    assert code is not None
    subprocess.run([sys.executable, "-c", code[1]], cwd=tmp_path, check=True, timeout=120)


def test_without_a_step_the_recommended_model_is_exported_and_the_card_says_by_which_rule(
    run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = rayfe.Run(run).step()
    other = 1 - best.step
    for words, step, said in (
        ([], best.step, "This is the model that the run recommends."),
        (["--step", str(other)], other, "The run recommends"),
    ):
        to = tmp_path / f"{step}.pt2"
        assert main(["export", run, *words, "--part", "encode", "--to", str(to)]) == 0
        assert f"step {step} of {NAME}" in capsys.readouterr().out
        card = to.with_name(f"{to.name}.md").read_text()
        assert said in card and RULE in card and CAVEAT in card
    assert f"another model: step {best.step} of {NAME}" in card


def test_a_far_step_is_warned_of_in_one_line(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", run, "--at", "lam=99", "--part", "classify", "--to", str(tmp_path / "model.pt2")]) == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: the step nearest to lam 99 is 1, with lam 1.1") and error.count("\n") == 1


def test_export_never_replaces_a_file(run: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.pt2", "b.pt2.md"):
        (tmp_path / name).write_text("mine")
        assert main(["export", run, "--step", "1", "--to", str(tmp_path / f"{name[0]}.pt2")]) == 2
        assert "exists; give another name" in capsys.readouterr().err
        assert (tmp_path / name).read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt2", "b.pt2.md"]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--step", "7"], "has no such accepted step, only 0, 1"),
        (["--at", "C"], "write COLUMN=NUMBER"),
        (["--at", "loss=1"], "loss cannot be asked for"),
        (["--step", "1", "--at", "C=0.1"], "--at: not allowed with argument --step"),
        (["--step", "1", "--lam", "1"], "--lam: not allowed with argument --step"),
        (["--lam", "99"], "--lam 99: "),
        (["--step", "1", "--trajectory", "lam9"], "--trajectory lam9: "),
    ],
)
def test_export_of_what_is_not_there_is_one_line(
    run: str, words: list[str], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", run, *words, "--to", str(tmp_path / "m.pt2")]) == 2
    captured = capsys.readouterr().err
    assert text in captured and captured.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
