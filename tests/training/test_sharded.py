"""A model trained by several processes is that of one, and a training that was cut short ends with the same bytes."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch

from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, EquilibrationConfig, ModelConfig, RunConfig, configure
from rayfe.data.datasets import load
from rayfe.model.posterior import Widths
from rayfe.records import Annealing, Equilibrated, EquilibrateRequest, Point, Replica, StepKey

REQUEST = EquilibrateRequest(
    key=StepKey(trajectory="t", seed=3, step=0, attempt=0),
    replicas=(Replica(name="centre", point=Point(lam=0.25, gamma=4.0), weights=None),),
    annealing=Annealing(epochs=2.0, begin=0.0, end=2.0),
)


MLP = ModelConfig(hidden=24, latent=4, dropout=0.2)
RESNET = ModelConfig(name="resnet", width=2, latent=4, classifier_hidden=0)


MODELS: Any = pytest.mark.parametrize("model", [MLP, RESNET], ids=["mlp", "resnet"])
OPTIMIZERS: Any = pytest.mark.parametrize("optimizer", ["adam", "soap"])


def config(model: ModelConfig = MLP, optimizer: Literal["adam", "soap"] = "adam") -> RunConfig:
    return configure(
        threads=1,
        data=DataConfig(name="digits"),
        model=model,
        equilibration=EquilibrationConfig(
            first_epochs=2,
            batch=64,
            first_schedule="linear",
            first_learning_rate=1e-2,
            optimizer=optimizer,
        ),
    )


def alone(run: RunConfig, **options: Any) -> Equilibrated:
    return InlineBackend(run, load(run.data), dtype=torch.float64, **options).equilibrate(REQUEST)


def work(rank: int, world: int, folder: str, run: RunConfig, answers: Any) -> None:
    import torch.distributed as dist

    from rayfe.training.sharded import Sharded

    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world)
    try:
        answers.put((rank, alone(run, make_replicas=Sharded)))
    except Exception as error:
        answers.put((rank, error))
        raise
    dist.barrier()
    dist.destroy_process_group()


def together(world: int, folder: Path, run: RunConfig) -> list[Equilibrated]:
    context = multiprocessing.get_context("spawn")
    answers: Any = context.Queue()
    processes = [context.Process(target=work, args=(rank, world, str(folder), run, answers)) for rank in range(world)]
    for process in processes:
        process.start()
    found = {}
    for _ in processes:
        rank, answer = answers.get(timeout=600)
        if isinstance(answer, Exception):
            raise answer
        found[rank] = answer
    for process in processes:
        process.join(60)
    return [found[rank] for rank in range(world)]


def largest_difference(one: Equilibrated, other: Equilibrated) -> float:
    weights, others = one.weights[0], other.weights[0]
    assert weights.keys() == others.keys()
    return max(float(np.abs(weights[name] - others[name]).max()) for name in weights)


@MODELS
@OPTIMIZERS
def test_two_processes_train_the_model_of_one_up_to_rounding(
    tmp_path: Path, model: ModelConfig, optimizer: Literal["adam", "soap"]
) -> None:
    run = config(model, optimizer)
    single, (first, second) = alone(run), together(2, tmp_path, run)
    assert largest_difference(first, second) == 0.0
    assert first.readings == second.readings
    assert largest_difference(single, first) < 1e-9
    for reading, other in zip(single.readings, first.readings, strict=True):
        assert reading.update == other.update
        assert [reading.R, reading.D, reading.C] == pytest.approx([other.R, other.D, other.C], rel=1e-9)
    assert single.examples == first.examples


class Cut(Exception):
    pass


class Memory:
    """Keeps the state in memory, through the bytes of a file; ends the training after `cuts` of them."""

    def __init__(self, file: Path, cuts: int) -> None:
        self.file, self.cuts, self.saved = file, cuts, 0

    def load(self) -> dict[str, Any] | None:
        return torch.load(self.file, weights_only=True) if self.file.exists() else None

    def due(self, update: int, updates: int) -> bool:
        return update % 10 == 0

    def save(self, state: dict[str, Any]) -> None:
        torch.save(state, self.file)
        self.saved += 1
        if self.saved == self.cuts:
            raise Cut


@MODELS
@OPTIMIZERS
def test_a_training_that_was_cut_short_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, model: ModelConfig, optimizer: Literal["adam", "soap"]
) -> None:
    run = config(model, optimizer)
    whole = alone(run)
    with pytest.raises(Cut):
        alone(run, keeper=Memory(tmp_path / "state", cuts=2))
    rest = Memory(tmp_path / "state", cuts=0)
    resumed = alone(run, keeper=rest)
    assert rest.saved == 2  # of 45 updates; begun anew it would keep four times
    assert largest_difference(whole, resumed) == 0.0
    assert whole.readings == resumed.readings


def test_keeping_the_state_changes_nothing(tmp_path: Path) -> None:
    run = config()
    assert largest_difference(alone(run), alone(run, keeper=Memory(tmp_path / "state", cuts=0))) == 0.0


LAYERS = 2
"""Batch-norm layers of MLP, which exchange mean and variance on both ways."""


def test_an_update_exchanges_values_once_and_gradients_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch.distributed as dist

    from rayfe.model.objective import draw_noise
    from rayfe.training import sharded

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        run, exchanged = config(), []
        model = InlineBackend(run, load(run.data))._models.new(0)
        replicas = sharded.Sharded([model], torch.device("cpu"))
        for name in ("all_reduce", "all_gather"):
            real = getattr(dist, name)
            monkeypatch.setattr(
                dist, name, lambda *values, name=name, real=real, **by: exchanged.append(name) or real(*values, **by)
            )
        noise = draw_noise(torch.Generator(), n=8, widths=Widths(latent=4), decoder_draws=1, head_draws=2, dtype=torch.float32)
        found = replicas.functionals(torch.rand(8, 64), torch.arange(8), noise)
        sum(value.sum() for value in found[:3]).backward()
        replicas.complete_gradients()
        assert exchanged[-1] == "all_reduce" and exchanged.count("all_gather") == 1
        assert exchanged.count("all_reduce") == 1 + 2 * 2 * LAYERS
    finally:
        dist.destroy_process_group()
