"""Trainings in slots are those that `train` does alone, whatever company they have."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest
import torch

from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, EquilibrationConfig, ModelConfig, configure
from rayfe.data.datasets import load
from rayfe.data.device_path import DeviceExamples, DevicePath, Mixture, Still
from rayfe.data.paths import PathData
from rayfe.data.randomness import Counted, derived_seed, generator
from rayfe.exceptions import UsageError
from rayfe.model.mlp import MLP
from rayfe.model.objective import noise_of
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build, some_examples
from rayfe.records import Equilibrated, EquilibrateRequest, Point, Replica, StepKey, Weights
from rayfe.run.model_checks import check_model
from rayfe.training.fleet import Fleet, why_not_in_slots
from rayfe.training.fleet_slots import Job, Slots
from rayfe.training.replicas import Stacked
from rayfe.training.train import CountedNoise, Probe, Trained, Training, train

BATCH, LATENT, CPU = 16, 3, torch.device("cpu")
SHAPES = {"mlp": (20,), "resnet": (1, 8, 8)}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A training by what makes it another one."""

    seed: int
    updates: int = 50
    rate: float = 3e-3
    annealed: bool = False
    replicas: int = 2
    carried: Weights | None = None
    stop: int | None = None
    """Update at which the rate becomes infinite."""


def examples(name: str, dtype: torch.dtype) -> DeviceExamples:
    rng = generator("cpu", "examples", name)
    return DeviceExamples(x=torch.rand(70, *SHAPES[name], generator=rng, dtype=dtype), y=torch.randint(3, (70,), generator=rng))


def path_of(name: str, dtype: torch.dtype, *, mixture: bool = False) -> DevicePath:
    whole = examples(name, dtype)
    return Mixture(whole.take(slice(0, 50)), whole.take(slice(50, 70))) if mixture else Still(whole)


def training_of(asked: Asked, name: str, dtype: torch.dtype, config: EquilibrationConfig) -> Training:
    model = (
        ModelConfig(name=name, hidden=8, width=2, latent=LATENT) if name == "resnet" else ModelConfig(hidden=8, latent=LATENT)
    )
    models = [build(model, input_shape=SHAPES[name], classes=3, seed=asked.seed).to(dtype) for _ in range(asked.replicas)]
    data = examples(name, dtype)
    noise = noise_of(data.number, key=1, widths=Widths(latent=LATENT), decoder_draws=2, head_draws=4, dtype=dtype)
    names = tuple(map(str, range(asked.replicas)))
    return Training(
        replicas=Stacked(models),
        points=[Point(lam=0.5 + 0.1 * asked.seed, gamma=4.0 + i) for i in range(asked.replicas)],
        updates=asked.updates,
        learning_rate=lambda u: np.inf if asked.stop is not None and u * asked.updates > asked.stop else asked.rate * (1.1 - u),
        config=config,
        preconditioner=asked.carried,
        probe=Probe(examples=data, noise=noise, updates=frozenset({0, 7}), names=names),
        annealed=asked.annealed,
    )


class Kind:
    """What the trainings of a fleet have in common."""

    def __init__(
        self, name: str, dtype: torch.dtype, optimizer: Literal["adam", "soap"], *, mixture: bool = False, slots: int = 4
    ) -> None:
        self.name, self.dtype = name, dtype
        self.config = EquilibrationConfig(optimizer=optimizer, schedule="average", batch=BATCH)
        self.path, self.slots = path_of(name, dtype, mixture=mixture), slots

    def job(self, asked: Asked) -> Job:
        order, noise = (derived_seed(asked.seed, what) for what in ("order", "noise"))
        training = training_of(asked, self.name, self.dtype, self.config)
        return Job(training=training, t=0.1 * asked.seed, batch=BATCH, widths=Widths(latent=LATENT), order=order, noise=noise)

    def alone(self, asked: Asked) -> tuple[Trained, tuple[Weights, ...]]:
        job = self.job(asked)
        batches = self.path.batches(job.t, BATCH, updates=asked.updates, rng=Counted(torch.tensor(job.order)))
        trained = train(job.training, batches, CountedNoise(job.noise, Widths(latent=LATENT), CPU))
        return trained, job.training.replicas.weights()

    def together(self, *waves: Sequence[Asked]) -> list[tuple[Trained, tuple[Weights, ...]]]:
        """Each wave begins a block after the one before."""
        fleet, jobs = Fleet(self.slots, self.path), [[self.job(asked) for asked in wave] for wave in waves]
        futures: list[Future[Trained]] = []
        for wave in jobs:
            for job in wave:
                futures.append(Future())
                fleet._waiting.append((job, futures[-1]))
            fleet._block()
        while fleet._busy or fleet._waiting:
            fleet._block()
        return [
            (future.result(), job.training.replicas.weights())
            for future, job in zip(futures, [job for wave in jobs for job in wave], strict=True)
        ]


def check_equal(found: tuple[Trained, tuple[Weights, ...]], wanted: tuple[Trained, tuple[Weights, ...]], within: float) -> None:
    """Of what the next training begins with: not SOAP's bases, which few gradients leave open, nor moments in them."""
    (one, weights), (other, truth) = found, wanted
    assert (one.finite, one.updates, len(one.readings)) == (other.finite, other.updates, len(other.readings))
    assert [reading.F for reading in one.readings] == pytest.approx([reading.F for reading in other.readings], rel=within)
    for a, b in zip(weights, truth, strict=True):
        for name, value in b.items():
            np.testing.assert_allclose(a[name], value, rtol=0, atol=within * (1.0 + np.abs(value).max()), err_msg=name)
    if other.preconditioner is not None:
        assert one.preconditioner is not None
        assert one.preconditioner.keys() == other.preconditioner.keys()
        for name, value in other.preconditioner.items():
            rotated = any(key.startswith("covariance") for key in other.preconditioner)
            if name.startswith(("ahead", "covariance") if rotated else ("ahead", "second_moment")):
                np.testing.assert_allclose(one.preconditioner[name], value, rtol=0, atol=within, err_msg=name)


@pytest.mark.parametrize(
    "name, optimizer, dtype, within",
    [
        ("mlp", "soap", torch.float64, 1e-8),
        ("mlp", "adam", torch.float64, 1e-8),
        ("mlp", "adam", torch.float32, 1e-5),
        ("resnet", "soap", torch.float64, 1e-8),
    ],
)
def test_each_training_is_the_one_that_is_done_alone(name: str, optimizer: Any, dtype: torch.dtype, within: float) -> None:
    """Three of four slots, which begin at different times, end within blocks, and differ in all that trainings differ in."""
    kind, most = Kind(name, dtype, optimizer, mixture=name == "mlp"), 50 if name == "mlp" else 20
    carried = kind.alone(Asked(seed=3, updates=12))[0].preconditioner
    asked = [
        Asked(seed=0, updates=most),
        Asked(seed=1, updates=most // 2 - 2, annealed=True, rate=1e-3),
        Asked(seed=2, updates=most - 9, carried=carried),
    ]
    found = kind.together(asked[:1], asked[1:2], asked[2:])
    for one, request in zip(found, asked, strict=True):
        check_equal(one, kind.alone(request), within)


def same_bytes(one: tuple[Trained, tuple[Weights, ...]], other: tuple[Trained, tuple[Weights, ...]]) -> bool:
    kept = [found[0].preconditioner or {} for found in (one, other)]
    pairs = [*zip(one[1], other[1], strict=True), (kept[0], kept[1])]
    return one[0].readings == other[0].readings and all(
        a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a) for a, b in pairs
    )


@pytest.mark.parametrize("name, optimizer", [("mlp", "soap"), ("resnet", "adam")])
def test_neither_company_nor_the_slot_changes_a_byte(name: str, optimizer: Any) -> None:
    kind = Kind(name, torch.float32, optimizer)
    asked = Asked(seed=1, updates=13, annealed=True)
    (lonely,) = kind.together([asked])
    others = [Asked(seed=0, updates=14), Asked(seed=2, updates=11, rate=0.1), Asked(seed=4, updates=8, stop=0)]
    assert same_bytes(kind.together(others, [asked])[-1], lonely)
    assert same_bytes(kind.together(others[:1], [others[2], asked])[-1], lonely)


def test_a_training_that_diverges_ends_as_it_would_alone_and_leaves_its_slot() -> None:
    kind = Kind("mlp", torch.float32, "soap", slots=2)
    wild, calm = Asked(seed=0, updates=55, stop=20), Asked(seed=1, updates=12)
    found = kind.together([wild, calm], [Asked(seed=2, updates=9)])
    assert not found[0][0].finite
    check_equal((found[0][0], ()), (kind.alone(wild)[0], ()), 1e-5)
    assert found[0][0].updates == 50
    assert same_bytes(found[1], kind.together([calm])[0])
    assert same_bytes(found[2], kind.together([Asked(seed=2, updates=9)])[0])


def in_threads(fleet: Fleet, jobs: Sequence[Job]) -> list[Future[Trained]]:
    """What `train` gives or raises for each, from a thread of its own."""
    futures: list[Future[Trained]] = [Future() for _ in jobs]

    def work(job: Job, future: Future[Trained]) -> None:
        try:
            future.set_result(fleet.train(job))
        except BaseException as error:
            future.set_exception(error)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(jobs, futures, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return futures


def test_threads_get_the_same_bytes_in_any_order_and_with_fewer_slots_than_threads() -> None:
    kind = Kind("mlp", torch.float32, "adam", slots=2)
    asked = [Asked(seed=seed, updates=9 + 2 * seed) for seed in range(4)]
    truth = [kind.together([one])[0] for one in asked]
    for order in (asked, asked[::-1]):
        jobs = [kind.job(one) for one in order]
        for one, job, future in zip(order, jobs, in_threads(Fleet(2, kind.path), jobs), strict=True):
            assert same_bytes((future.result(), job.training.replicas.weights()), truth[asked.index(one)])


class Stop(BaseException):
    """As a signal would raise it."""


@pytest.mark.parametrize("error", [ValueError, Stop])
def test_an_error_reaches_whom_it_concerns_and_nobody_waits_for_ever(
    monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    """One that a training of its own raises is its own; within the update of all, it ends those at work and lets others begin."""
    kind = Kind("mlp", torch.float32, "adam", slots=2)
    asked = [Asked(seed=seed, updates=12) for seed in range(4)]
    jobs, fleet = [kind.job(one) for one in asked], Fleet(2, kind.path)

    def watch(update: int, readings: Any) -> None:
        raise error("its own")

    if error is ValueError:
        jobs[1] = dataclasses.replace(jobs[1], training=dataclasses.replace(jobs[1].training, watch=watch))
    else:
        run, left = Slots.run, iter([True])

        def broken(self: Slots, *arguments: Any) -> Any:
            if next(left, False):
                raise error("of all")
            return run(self, *arguments)

        monkeypatch.setattr(Slots, "run", broken)
    ends = [type(future.exception()) for future in in_threads(fleet, jobs)]
    if error is ValueError:
        assert ends == [type(None), ValueError, type(None), type(None)]
    else:
        assert ends.count(Stop) == 1 and set(ends) <= {Stop, RuntimeError, type(None)}
    again = in_threads(fleet, [kind.job(asked[0])])[0].result()
    assert again.readings == kind.together([asked[0]])[0][0].readings


def test_a_backend_with_slots_answers_threads_as_it_answers_one_at_a_time() -> None:
    config = configure(
        threads=1,
        data=DataConfig(name="digits"),
        model=ModelConfig(hidden=8, latent=LATENT),
        equilibration=EquilibrationConfig(optimizer="soap", schedule="average", epochs=2, batch=256),
        trajectories_per_evaluator=3,
    )
    backend = InlineBackend(config, load(config.data))
    requests = [
        EquilibrateRequest(
            key=StepKey(trajectory=name, seed=seed, step=1, attempt=0),
            replicas=tuple(Replica(name=f"{i}", point=Point(lam=0.5, gamma=4.0 + i), weights=None) for i in range(count)),
        )
        for name, seed, count in (("a", 0, 2), ("b", 0, 2), ("c", 1, 1))
    ]
    alone = [backend.answer(request) for request in requests]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(backend.answer, requests))
    for one, other in zip(alone, together, strict=True):
        assert isinstance(one, Equilibrated) and isinstance(other, Equilibrated)
        assert one.readings == other.readings and one.examples == other.examples
        assert all(np.array_equal(a[name], b[name]) for a, b in zip(one.weights, other.weights, strict=True) for name in a)
    F = [answer.readings[-1].F for answer in alone if isinstance(answer, Equilibrated)]
    assert len(set(F)) == 3


@pytest.mark.parametrize("dropout, refused", [(0.0, False), (0.2, True)])
def test_models_that_draw_numbers_of_their_own_are_refused_before_any_work(dropout: float, refused: bool) -> None:
    config = configure(
        data=DataConfig(name="digits"),
        model=ModelConfig(hidden=8, latent=LATENT, dropout=dropout),
        trajectories_per_evaluator=2,
    )
    fix = r"trajectories_per_evaluator=2: mlp cannot .* \(dropout draws random numbers, .*dropout.*\); give .*trajectories_per_evaluator=1"
    with pytest.raises(UsageError, match=fix) if refused else contextlib.nullcontext():
        check_model(config, PathData(kind="still", source=load(config.data)))


class Noisy(MLP):
    """Draws random numbers in its encoder."""

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return super().encode(x + 0.1 * torch.rand_like(x) * self.training)


def test_random_numbers_of_a_models_own_are_seen_by_trying() -> None:
    config = configure(data=DataConfig(name="digits"), model=ModelConfig(hidden=8, latent=LATENT))
    x, y = some_examples(config.model, load(config.data))

    def make() -> Noisy:
        return Noisy(input_shape=tuple(x.shape[1:]), classes=10, config=config.model)

    assert "random operation" in str(why_not_in_slots(make, x, y))
