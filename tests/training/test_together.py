"""Readings of several trajectories in one pass: as if each were alone, whoever else is there, for the launches of one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from meta_device import META, as_on_gpu
from rayfe.backend.inline import InlineBackend
from rayfe.config import configure
from rayfe.data.paths import PathData, coupled, load_path
from rayfe.data.randomness import derived_seed
from rayfe.model.weights import weights_of
from rayfe.records import Held, MeasureRequest, Point, Replica, Request, SettleRequest, Split, StepKey
from rayfe.training.batch_norm import recompute_together
from rayfe.training.drawing import Effort
from rayfe.training.reading import WantedReading, read_together
from rayfe.training.together import Together

FIELDS: dict[str, Any] = {"threads": 1, "model.latent": 4, "data.name": "digits", "measure.head_draws": 8}
MIXTURE = {"data.name": "digits:0-4", "path.target": "digits:5-9", "process": "constant-rate"}
KINDS: dict[str, dict[str, Any]] = {
    "mlp": {"model.hidden": 16},
    "resnet": {"model.name": "resnet", "model.width": 2},
    "mixture": {"model.hidden": 16, **MIXTURE},
    "displacement": {"model.hidden": 16, **MIXTURE, "path.kind": "displacement"},
}
DTYPES = {torch.float32: 1e-5, torch.float64: 1e-10}


def loaded(kind: str) -> tuple[Any, PathData]:
    config = configure(**FIELDS | KINDS[kind])
    return config, coupled(load_path(config), config, lambda text: None)


def point_of(kind: str, seed: int) -> Point:
    """Trajectories are at different t, also those that can be read in one pass there (a mixture)."""
    return Point(lam=1.0, gamma=4.0 + seed, t=0.5 if kind == "displacement" else 0.2 + 0.1 * seed if kind == "mixture" else 0.0)


def requests(backend: InlineBackend, kind: str, seed: int) -> tuple[Request, ...]:
    key, point = StepKey(trajectory=f"t{seed}", seed=seed, step=1, attempt=0), point_of(kind, seed)
    weights = weights_of(backend._models.new(seed))
    replica = Replica(name="centre", point=point, weights=weights)
    splits = (Split.TRAIN, Split.VALIDATION)
    settle = SettleRequest(
        key=key,
        weights=weights,
        tangents={"gamma": weights},
        point=point,
        held=(Held(C=1.0),),
        targets=(2.0,),
        scales=(1.0,),
        jacobian=((1.0,),),
        reach={"gamma": 0.05},
    )
    return MeasureRequest(key=key, replicas=(replica,), splits=splits, purpose="test"), settle


def answers(backend: InlineBackend, kind: str, seeds: Sequence[int]) -> dict[int, list[np.ndarray]]:
    """All numbers that trajectories of these seeds get, each asking in a thread of its own."""

    def one(asked: tuple[Request, ...]) -> list[np.ndarray]:
        first, second = (backend.answer(request) for request in asked)
        numbers = [(r.R, r.D, r.C, r.accuracy, r.R_se, *r.D_noise, *r.C_noise) for r in first.readings]
        settled = [tuple(second.shift.values()), (second.after.R, second.after.D, second.after.C)]
        return [np.array(values) for values in (*numbers, *settled, *first.weights[0].values())]

    with ThreadPoolExecutor(len(seeds)) as threads:
        return dict(zip(seeds, threads.map(one, [requests(backend, kind, seed) for seed in seeds]), strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_readings_and_settles_in_one_pass_are_those_of_one_alone(kind: str, dtype: torch.dtype) -> None:
    config, data = loaded(kind)
    alone = answers(InlineBackend(config, data, dtype=dtype), kind, [2])[2]
    stacked = InlineBackend(configure(config, trajectories_per_evaluator=3), data, dtype=dtype)
    company = answers(stacked, kind, [0, 2, 1])
    for one, other, empty in zip(alone, company[2], answers(stacked, kind, [2])[2], strict=True):
        np.testing.assert_allclose(other, one, rtol=DTYPES[dtype], atol=DTYPES[dtype])
        assert other.tobytes() == empty.tobytes()
    for mine, others in zip(answers(stacked, kind, [2, 5])[2], company[2], strict=True):
        assert mine.tobytes() == others.tobytes()


def test_sixteen_readings_launch_as_little_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with as_on_gpu(monkeypatch) as seen:
        with seen.away():
            config, data = loaded("mixture")
        backend = InlineBackend(config, data, device=META)
        launched = []
        for count in (1, 2, 16):
            models = [backend._models.new(seed) for seed in range(count)]
            path, t, keys = backend._paths[Split.TRAIN], 0.5, [partial(derived_seed, seed) for seed in range(count)]
            point = Point(lam=1.0, gamma=4.0, t=t)
            asked = [
                (model, WantedReading(t=t, key=key, replica="centre", split=Split.TRAIN, point=point))
                for model, key in zip(models, keys, strict=True)
            ]
            statistics = [(model, t, key) for model, key in zip(models, keys, strict=True)]
            seen.forget()
            recompute_together(statistics, path, chunk=500)
            before = seen.launched
            read_together(asked, path, drawing=backend.drawing, effort=Effort())
            launched.append((before, seen.launched - before))
    for one, two, sixteen in zip(*launched, strict=True):
        assert sixteen <= 1.2 * two
        assert sixteen <= 1.5 * one


def gathered(together: Together, calls: Sequence[tuple[str, Any]], work: Callable[[list[Any]], list[Any]]) -> list[Any]:
    """What becomes of each call: its result, or its exception."""
    begin = threading.Barrier(len(calls))

    def one(call: tuple[str, Any]) -> Any:
        with together.at_work():
            begin.wait()
            try:
                return together.do(*call, work)
            except ValueError as error:
                return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(one, calls))


def test_calls_of_a_kind_are_done_at_once_and_the_slots_are_full() -> None:
    passes: list[list[int]] = []

    def work(items: list[int]) -> list[int]:
        passes.append(items)
        return [10 * item for item in items]

    calls = [("a", 1), ("b", 2), ("a", 3), ("a", 4)]
    assert gathered(Together(3), calls, work) == [10, 20, 30, 40]
    assert sorted(sorted(set(items)) for items in passes) == [[1, 3, 4], [2]]
    assert all(len(items) == 3 for items in passes)


def test_an_exception_reaches_whom_it_concerns() -> None:
    def work(items: list[int]) -> list[int]:
        if 2 in items:
            raise ValueError("two")
        return items

    found = gathered(Together(4), [("a", 1), ("a", 2), ("a", 3)], work)
    assert (found[0], found[2]) == (1, 3) and isinstance(found[1], ValueError)


def test_a_pass_that_is_interrupted_is_done_by_another() -> None:
    passes: list[list[int]] = []

    def work(items: list[int]) -> list[int]:
        passes.append(items)
        if len(passes) == 1:
            raise KeyboardInterrupt
        return items

    together, begin, found = Together(2), threading.Barrier(2), []

    def one(item: int) -> None:
        with together.at_work():
            begin.wait()
            try:
                found.append(together.do("a", item, work))
            except KeyboardInterrupt:
                found.append(None)

    threads = [threading.Thread(target=one, args=(item,)) for item in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(len(set(items)) for items in passes) == [1, 2] and found.count(None) == 1
