"""`jobs/benchmark.py machine`: what is counted, what is refused, and a sweep on Ray that it times."""

import dataclasses
import json

import pytest

from analysis.benchmark.loop import CLASSES, FEATURES, training_bytes, update_flops
from analysis.benchmark.machine import main
from rayfe.config import ModelConfig, configure
from rayfe.config.presets import digits_smoke
from rayfe.data.memory import peak_bytes
from rayfe.exceptions import UsageError
from rayfe.training.train import HEAD_DRAWS


def test_operations_of_an_update_are_those_of_its_matrix_products():
    """Twice rows x inner x columns each; backward twice as many, but no gradient in the images and none through the mean of z."""
    model, n = ModelConfig(), 32
    hidden, latent, draws = model.hidden, model.latent, HEAD_DRAWS
    head = latent * model.classifier_hidden + model.classifier_hidden * CLASSES
    first = 2 * n * FEATURES * hidden
    others = 2 * n * (hidden * 2 * latent + latent * hidden + hidden * FEATURES) + 2 * draws * n * head
    assert update_flops(n) == 2 * first + 3 * others


def test_measurements_go_to_a_file_and_hang_together(tmp_path, capsys):
    words = "--updates 2 --repeats 1 --threads 1 --batch 64 --replicas 1 2 --steps 0 --transport 100"
    assert main([*words.split(), "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "machine.json").read_text())
    one, two = found["loop"]
    assert (one["replicas"], two["replicas"], one["of_separate"]) == (1, 2, 1.0)
    assert two["flops"] == 2 * one["flops"] == 2 * update_flops(64)
    for line in found["loop"]:
        assert line["share_of_peak"] == pytest.approx(line["flops"] / line["seconds"] / found["gemm_peak"])
    exact, sinkhorn = found["transport"]
    assert 0 < exact["cost"] <= sinkhorn["cost"] * (1 + 1e-9)
    told = capsys.readouterr().out
    assert "GEMM peak" in told and "coupling of 100 x 100 (sinkhorn)" in told


def test_memory_is_that_of_the_process_itself():
    """Not of the process that started it: of 400 MB here, a training elsewhere has nothing."""
    large = bytearray(400 * 2**20)
    large[::4096] = b"x" * len(large[::4096])
    assert peak_bytes() > len(large)
    batch = 2048
    activations = 4 * batch * FEATURES  # x_hat alone
    assert activations < training_bytes(1, batch, optimizer="adam") < len(large)


@pytest.mark.parametrize(
    ("words", "line"), [("--updates 0", "--updates 0: must be"), ("--evaluators 0", "--evaluators 0: must")]
)
def test_bad_input_is_one_line(words, line, capsys):
    assert main(words.split()) == 2
    assert capsys.readouterr().err.startswith(line)


def test_more_evaluators_than_a_machine_holds_are_one_line(monkeypatch, capsys):
    def refuse(*arguments):
        raise UsageError("evaluators", 50, "the machine can hold 1; ask for fewer")

    monkeypatch.setattr("analysis.benchmark.parts.time_walk", lambda config: {"train": 1.0})
    monkeypatch.setattr("analysis.benchmark.scaling.run_on_ray", refuse)
    words = "--updates 1 --repeats 1 --batch 8 --replicas 1 --steps 1 --trajectories 1 --evaluators 50"
    assert main(words.split()) == 2
    assert capsys.readouterr().err == "--evaluators 50: the machine can hold 1; ask for fewer\n"


def test_a_sweep_on_ray_is_timed_from_its_first_row(ray_session, capsys):
    from analysis.benchmark.scaling import measure_scaling

    base = digits_smoke()
    quick = dataclasses.replace(base.equilibration, first_epochs=3, epochs=2)
    config = configure(base, steps=1, tolerance=0.5, equilibration=quick)
    (sweep,) = measure_scaling(config, [2], [1], print)
    assert (sweep.trajectories, sweep.evaluators, sweep.rows) == (2, 1, 3)
    assert sweep.rows_per_second == 3 / sweep.seconds > 0
    assert "2 trajectories, 1 evaluators" in capsys.readouterr().out
