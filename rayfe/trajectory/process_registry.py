"""The process that a configuration names: one of rayfe's own, or a class of the user's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from rayfe.config import LOSSES, PROCESSES, RunConfig, require
from rayfe.config.user_code import named
from rayfe.exceptions import UsageError
from rayfe.records import Held, Point, Response, Velocity
from rayfe.surface.data_processes import ConstantRate, Geodesic
from rayfe.surface.process import FixedGamma, IsoClassification, IsoFunctional, Process, SingularResponse, WeightInformation
from rayfe.trajectory.prediction import BOUNDARY_LAYER

OWN: Mapping[str, type[Process]] = MappingProxyType(
    {
        "iso-classification": IsoClassification,
        "iso-functional": IsoFunctional,
        "weight-information": WeightInformation,
        "fixed-gamma": FixedGamma,
        LOSSES: FixedGamma,  # gamma stays, and the prices of the losses move (losses_walk)
        "constant-rate": ConstantRate,
        "geodesic": Geodesic,
    }
)


def process_class(name: str) -> type[Process]:
    """The class of a process by name, or by package.module:Class.

    Raises:
        UsageError: there is no such class, or it is not a Process.
    """
    if name in OWN:
        return OWN[name]
    known = f"give {', '.join(PROCESSES)}, or package.module:Class of a rayfe.surface.process.Process"
    require(":" in name, "process", name, f"unknown process; {known}")
    found = named(name, "process", known=known)
    if not (isinstance(found, type) and issubclass(found, Process)):
        raise UsageError("process", name, f"is not a subclass of rayfe.surface.process.Process but {found!r}")
    return found


def process_of(config: RunConfig, *, k: float | None) -> Process:
    """The process that `config` names; `k` of the geodesic may come from the end points.

    Raises:
        UsageError: a process of the user's own cannot be made, or a geodesic has no k.
    """
    match config.process:
        case "iso-classification":
            return IsoClassification(config.asked.lam_end)
        case "iso-functional":
            R, D, C, *S = config.asked.functional
            return IsoFunctional(functional=Held(R=R, D=D, C=C, S=sum(S)))
        case "weight-information":
            return WeightInformation(config.asked.sigma_end)
        case "fixed-gamma" | "iso-losses":
            return FixedGamma(config.asked.lam_end)
        case "constant-rate":
            return ConstantRate(config.asked.lam_dot)
        case "geodesic":
            if k is None:
                raise UsageError("k", "(none)", "the end points did not fix it; give ``k``")
            return Geodesic(k, layer=BOUNDARY_LAYER if config.asked.step_length_first is not None else 0.0)
    try:
        return process_class(config.process)()
    except TypeError as error:
        raise UsageError("process", config.process, f"must be made without arguments ({error})") from error


MULTIPLIERS = ("gamma", "lam")
TRIAL = Response(C_lam=0.02, C_gamma=-0.02, D_gamma=0.02, D_lam=-4.0, C_lam_se=1e-6, C_gamma_se=1e-6)
"""A response as a surface may have it, to ask a process of the user's own for a velocity."""


def check_own_process(config: RunConfig) -> None:
    """Ask a process of the user's own everything once that a walk will ask it.

    Raises:
        UsageError: it cannot be made, or one of its methods fails or returns something else than is expected.
    """
    process, start = process_of(config, k=None), next(iter(config.trajectories().values()))
    point, name = start.point, config.process
    moved_by = tuple(process.moved_by) if isinstance(getattr(process, "moved_by", None), tuple | list) else ()
    fix = 'must have moved_by = ("gamma",) or ("gamma", "lam"): the multipliers that settle what is held'
    require("gamma" in moved_by and set(moved_by) <= set(MULTIPLIERS), "process", name, fix)
    needs_lam = "lam" in moved_by and config.asked.stencil != "paper" and config.asked.derivatives != "implicit"
    require(
        not needs_lam,
        "stencil",
        config.asked.stencil,
        f"{name} settles lam, which needs lam neighbours; give ``stencil=paper``",
    )
    held = _asked(name, "held", "a tuple of rayfe.records.Held", lambda: process.held)
    conditions = isinstance(held, tuple) and bool(held) and all(isinstance(condition, Held) for condition in held)
    require(conditions, "process", name, f"held is {held!r}, expected a tuple of rayfe.records.Held")
    fix = f"held has {len(held)} conditions for {len(moved_by)} multipliers in moved_by; give at most as many"
    require(len(held) <= len(moved_by), "process", name, fix)
    left = _asked(name, "left(point)", "a number", lambda: process.left(point))
    require(_is_number(left) and left > 0, "process", name, f"left(point) is {left!r} at the start, expected a positive number")
    ended = _asked(name, "ended(points)", "None", lambda: process.ended([point]))
    require(ended is None, "process", name, f"ended(points) is {ended!r} at the start, expected None")
    _check_motion(process, point, name)


def _check_motion(process: Process, point: Point, name: str) -> None:
    wanted = "rayfe.records.Velocity(lam=..., gamma=...) of finite numbers"
    velocity = _asked(name, "velocity(point, response)", wanted, lambda: process.velocity(point, TRIAL))
    if velocity is None:  # singular there, which real responses will show
        return
    sound = isinstance(velocity, Velocity) and all(_is_finite(value) for value in (velocity.lam, velocity.gamma))
    require(sound, "process", name, f"velocity(point, response) returns {velocity!r}, expected {wanted}")
    moved = _asked(name, "moved(point, velocity, length)", "a Point", lambda: process.moved(point, velocity, 0.01))
    sound = isinstance(moved, Point) and all(_is_finite(value) for value in (moved.lam, moved.gamma, moved.t))
    fix = f"moved(point, velocity, length) returns {moved!r}, expected rayfe.records.Point(lam=..., gamma=..., t=...)"
    require(sound, "process", name, fix)


def _asked(name: str, what: str, expected: str, ask: Callable[[], Any]) -> Any:
    """What a process answers; None where it says that its response is singular."""
    try:
        return ask()
    except SingularResponse:
        return None
    except Exception as error:  # code of the user's own may raise anything
        fix = f"{what} fails ({type(error).__name__}: {error}), expected {expected}"
        raise UsageError("process", name, fix) from error


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not math.isnan(value)


def _is_finite(value: object) -> bool:
    return _is_number(value) and math.isfinite(value)  # type: ignore[arg-type]
