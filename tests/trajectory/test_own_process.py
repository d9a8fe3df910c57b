"""A process or a cost of the user's own that is wrong is refused before any work, by method and what is expected."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from rayfe.cli.job_command import main
from rayfe.config import RunConfig, configure
from rayfe.config.user_code import name_of
from rayfe.exceptions import UsageError
from rayfe.records import Held, Point, Response, Velocity
from rayfe.surface.process import Process, SingularResponse
from rayfe.trajectory.process_registry import check_own_process


class Sound(Process):
    """lam goes up at constant gamma; what is wrong with the others they override."""

    moved_by: Any = ("gamma",)

    @property
    def held(self) -> Any:
        return (Held(C=1.0),)

    def velocity(self, point: Point, response: Response) -> Any:
        return Velocity(lam=point.lam, gamma=0.0)

    def moved(self, point: Point, velocity: Velocity, length: float) -> Any:
        return dataclasses.replace(point, lam=point.lam + velocity.lam * length)


class NoMethods(Process):
    pass


class Arguments(Sound):
    def __init__(self, rate: float) -> None:
        self.rate = rate


class MovesNothing(Sound):
    moved_by = ("mu",)


class MovesLam(Sound):
    moved_by = ("gamma", "lam")


class HoldsOne(Sound):
    @property
    def held(self) -> Any:
        return Held(C=1.0)


class HoldsTwo(Sound):
    @property
    def held(self) -> Any:
        return Held(C=1.0), Held(R=1.0)


class Tuple(Sound):
    def velocity(self, point: Point, response: Response) -> Any:
        return point.lam, 0.0


class Infinite(Sound):
    def velocity(self, point: Point, response: Response) -> Any:
        return Velocity(lam=float("inf"), gamma=0.0)


class Typo(Sound):
    def velocity(self, point: Point, response: Response) -> Any:
        return Velocity(lam=response.c_lam, gamma=0.0)  # type: ignore[attr-defined]


class MovesToPair(Sound):
    def moved(self, point: Point, velocity: Velocity, length: float) -> Any:
        return point.lam, point.gamma


class AtTheEnd(Sound):
    def left(self, point: Point) -> float:
        return 0.0


class Singular(Sound):
    def velocity(self, point: Point, response: Response) -> Any:
        raise SingularResponse("gamma_blind", "always")


def config(cls: type) -> RunConfig:
    return configure(process=name_of(cls, "process"))


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (NoMethods, "must be made without arguments .*abstract"),
        (Arguments, "must be made without arguments .*rate"),
        (MovesNothing, "must have moved_by"),
        (MovesLam, "stencil=.iso.*stencil=.paper"),
        (HoldsOne, r"held is Held\(.*expected a tuple of rayfe.records.Held"),
        (HoldsTwo, "2 conditions for 1 multipliers"),
        (Tuple, r"velocity\(point, response\) returns \(0.25, 0.0\), expected rayfe.records.Velocity"),
        (Infinite, r"velocity\(point, response\) returns Velocity\(lam=inf.*finite"),
        (Typo, "velocity.* fails .AttributeError: .*c_lam"),
        (MovesToPair, r"moved\(point, velocity, length\) returns \(0.25, 4.0\), expected rayfe.records.Point"),
        (AtTheEnd, "left.*expected a positive number"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_each_fault_names_its_method_and_what_is_expected(cls: type, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_own_process(config(cls))


@pytest.mark.parametrize("cls", [Sound, Singular])
def test_sound_processes_pass(cls: type) -> None:
    check_own_process(config(cls))


SMALL = ["fig5-quick", "--data.name", "digits:0,1", "--path.target", "digits:2,3", "--path.kind", "displacement"]
SMALL += ["--equilibration.batch", "64", "--backend", "inline"]


def column(x: Any, y: Any) -> Any:
    return x[:, 0]


def undefined(x: Any, y: Any) -> Any:
    return x @ y.T * float("nan")


NOT_A_FUNCTION = 3.0


@pytest.mark.parametrize(
    ("attribute", "said"),
    [
        ("column", "--path.cost (its result): has shape ("),
        ("undefined", "--path.cost (its result): is NaN or -inf for some pair"),
        ("NOT_A_FUNCTION", "is not a function, give package.module:function"),
        ("missing", "cannot be imported"),
    ],
)
def test_a_wrong_cost_is_refused_before_any_work(
    attribute: str, said: str, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("transfer", [*SMALL, "--path.cost", f"{__name__}:{attribute}", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
