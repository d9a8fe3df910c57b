"""What a GPU would be asked for: nothing on two devices at once, no wait within an update, few launches, few waits around them.

Whoever adds a wait or an operation sees it here, and says in the same change what it is for. Nothing is measured: a GPU is needed
for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from meta_device import META, Seen, as_on_gpu
from rayfe.backend.inline import InlineBackend
from rayfe.config import configure
from rayfe.data.paths import PathData, coupled, load_path
from rayfe.model.weights import weights_of
from rayfe.records import (
    DifferentiateRequest,
    EquilibrateRequest,
    Held,
    MeasureRequest,
    Point,
    Replica,
    Request,
    SettleRequest,
    Split,
    StepKey,
    TakeUpRequest,
    Weights,
)
from rayfe.training import compiled_update, drawing
from rayfe.training.exact_derivatives import Solve
from rayfe.training.fleet_slots import Slots

KEY = StepKey(trajectory="t", seed=0, step=1, attempt=0)
POINT = Point(lam=1.0, gamma=4.0, t=0.5)
SMALL: dict[str, Any] = {"threads": 1, "model.hidden": 16, "model.latent": 4, "equilibration.batch": 700}
DIGITS = SMALL | {"data.name": "digits"}
RESNET = {name: value for name, value in DIGITS.items() if name != "model.hidden"} | {"model.name": "resnet", "model.width": 4}
MIXTURE = SMALL | {
    "data.name": "digits:0-4",
    "path.target": "digits:5-9",
    "process": "constant-rate",
    "equilibration.batch": 350,
}
DISPLACEMENT = MIXTURE | {"path.kind": "displacement"}
BYTES = SMALL | {"data.name": "mnist", "data.train_size": 2100}
SOAP = {"equilibration.optimizer": "soap"}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    with as_on_gpu(monkeypatch) as seen:
        yield seen


def data_of(fields: dict[str, Any]) -> PathData:
    config = configure(**fields)
    return coupled(load_path(config), config, lambda text: None)


class Asked:
    """A backend on the device."""

    def __init__(self, seen: Seen, fields: dict[str, Any]) -> None:
        config = configure(**fields)
        with seen.away():
            data = data_of(fields)
        self.seen, self.backend = seen, InlineBackend(config, data, device=META, solve=Solve(iterations=1))
        self.weights: Weights = weights_of(self.backend._models.new(0))
        self.updates = round(config.equilibration.epochs * len(self.backend._paths[Split.TRAIN]) / config.equilibration.batch)

    def replicas(self, count: int = 1) -> tuple[Replica, ...]:
        return tuple(Replica(name=f"{i}", point=POINT, weights=self.weights) for i in range(count))

    def __call__(self, request: Request) -> Asked:
        self.seen.forget()
        self.backend.answer(request)
        return self

    @property
    def waits(self) -> int:
        return self.seen.waits.total()


def trained(seen: Seen, fields: dict[str, Any], epochs: int, count: int) -> Asked:
    asked = Asked(seen, fields | {"equilibration.epochs": epochs})
    return asked(EquilibrateRequest(key=KEY, replicas=asked.replicas(count)))


def check_updates(seen: Seen, fields: dict[str, Any], count: int, launches: float, waits: int) -> None:
    """A training waits so often however long it is, and an update launches so much at most."""
    short = trained(seen, fields, 1, count)
    before, launched = short.waits, seen.launched
    long = trained(seen, fields, 2, count)
    assert (before, long.waits) == (waits, waits)
    assert (seen.launched - launched) / (long.updates - short.updates) <= launches


@pytest.mark.parametrize(
    "fields, count, launches, waits",
    [
        pytest.param(DIGITS, 1, 134.5, 8, id="mlp"),
        pytest.param(BYTES, 1, 136.5, 8, id="mlp-of-bytes"),
        pytest.param(DIGITS, 3, 178.5, 10, id="mlp-stencil"),
        pytest.param(DIGITS | SOAP, 1, 152.5, 11, id="mlp-soap"),
        pytest.param(DIGITS | SOAP, 3, 208.5, 13, id="mlp-soap-stencil"),
        pytest.param(RESNET, 1, 291.5, 8, id="resnet"),
        pytest.param(RESNET | SOAP, 1, 413.5, 11, id="resnet-soap"),
        pytest.param(MIXTURE, 1, 140.0, 8, id="mixture"),
        pytest.param(DISPLACEMENT, 1, 158.5, 8, id="displacement"),
    ],
)
def test_an_update_waits_for_nothing_and_launches_little(
    seen: Seen, fields: dict[str, Any], count: int, launches: float, waits: int
) -> None:
    check_updates(seen, fields, count, launches, waits)


@pytest.mark.parametrize("optimizer, launches, waits", [("adam", 265.5, 9), ("soap", 277.5, 12)])
def test_a_compiled_update_waits_for_nothing_either(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, optimizer: str, launches: float, waits: int
) -> None:
    """Of the code that is compiled, without a compiler, which would launch less."""
    monkeypatch.setattr(compiled_update, "_compiled", lambda backend: compiled_update._update)
    check_updates(seen, DIGITS | {"equilibration.compile": "update", "equilibration.optimizer": optimizer}, 1, launches, waits)


@pytest.mark.parametrize(
    "fields, waits",
    [
        pytest.param(DIGITS, 6, id="mlp"),
        pytest.param(MIXTURE, 9, id="mixture"),
        pytest.param(DISPLACEMENT, 6, id="displacement"),
    ],
)
@pytest.mark.parametrize("chunk", [200, 2000])
def test_a_reading_waits_as_often_however_many_chunks_it_has(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], waits: int, chunk: int
) -> None:
    monkeypatch.setattr(drawing, "CHUNK", chunk)
    monkeypatch.setattr(drawing, "FEWER", chunk)
    asked = Asked(seen, fields)
    request = MeasureRequest(key=KEY, replicas=asked.replicas(), splits=(Split.TRAIN,), purpose="test", draw_sets=2)
    asked(request)  # costs are looked up once
    assert asked(request).waits == waits


QUESTIONS: dict[str, tuple[Callable[[Asked], Request], int]] = {
    "settle": (lambda asked: settle(asked, Held(C=1.0)), 8),
    "settle-two": (lambda asked: settle(asked, Held(C=1.0), Held(D=1.0)), 8),
    "certificate": (
        lambda asked: MeasureRequest(
            key=KEY, replicas=asked.replicas(), splits=(Split.TRAIN,), purpose="test", certify=True, slope_in_t=True
        ),
        49,
    ),
    "derivatives": (lambda asked: DifferentiateRequest(key=KEY, point=POINT, weights=asked.weights), 47),
    "take-up": (lambda asked: TakeUpRequest(key=KEY, point=POINT, weights=asked.weights), 7),
}


def settle(asked: Asked, *held: Held) -> SettleRequest:
    multipliers, ones = ("gamma", "lam")[: len(held)], (1.0,) * len(held)
    return SettleRequest(
        key=KEY,
        weights=asked.weights,
        tangents=dict.fromkeys(multipliers, asked.weights),
        point=POINT,
        held=held,
        targets=ones,
        scales=ones,
        jacobian=tuple(map(tuple, np.eye(len(held)).tolist())),
        reach=dict.fromkeys(multipliers, 1.0),
    )


@pytest.mark.parametrize("name", QUESTIONS)
def test_whatever_is_asked_stays_on_the_device(seen: Seen, name: str) -> None:
    make, waits = QUESTIONS[name]
    asked = Asked(seen, MIXTURE)
    asked(make(asked))  # costs are looked up once
    assert asked(make(asked)).waits == waits


def test_the_stand_in_refuses_two_devices_and_counts_what_waits() -> None:
    seen, there, here = Seen(), torch.ones(3, device=META), torch.ones(3)
    with seen:
        with pytest.raises(RuntimeError, match=r"aten.add.Tensor has tensors of both devices"):
            there + here
        assert there.mul(2.0).add(torch.tensor(1.0)).t().shape == (3,)
        assert seen.launched == 2 and not seen.waits
        (
            float(there.sum()),
            bool((there > 0).all()),
            there.cpu(),
            here.to(META),
            torch.tensor([1.0], device=META),
            there[there > 0],
        )
    assert seen.waits.total() == 6


FLEET = {"equilibration.batch": 70, "equilibration.schedule": "average"}


@pytest.mark.parametrize(
    "fields, count, launches, waits",
    [
        pytest.param(DIGITS | FLEET, 1, 266, 25, id="mlp"),
        pytest.param(MIXTURE | FLEET | SOAP, 3, 372, 21, id="mixture-soap-stencil"),
    ],
)
def test_many_trajectories_launch_what_two_do_and_wait_between_blocks_alone(
    seen: Seen, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], count: int, launches: float, waits: int
) -> None:
    """All of a training is counted; its updates wait for what a block brings, of how many soever it consists."""
    brought, run = set(), Slots.run

    def counted(self: Slots, lodgers: Any, updates: int) -> Any:
        before = seen.waits.total()
        J = run(self, lodgers, updates)
        brought.add(seen.waits.total() - before)
        return J

    monkeypatch.setattr(Slots, "run", counted)
    found = []
    for slots in (2, 64):
        asked = trained(seen, fields | {"trajectories_per_evaluator": slots}, 1, count)
        assert asked.waits == waits
        found.append(seen.launched / asked.updates)
    assert brought <= {3, 4}  # a table of numbers, those of updates, places of examples; and which epochs are drawn
    assert found[1] == found[0] <= launches
