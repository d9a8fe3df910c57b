"""The process that a configuration names: one of rayfe's own, or a class of the user's."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType

from rayfe.config import PROCESSES, RunConfig, UsageError
from rayfe.records import Held
from rayfe.rows import number
from rayfe.surface.process import IsoClassification, IsoFunctional, Process
from rayfe.surface.transfer import ConstantRate, Geodesic
from rayfe.trajectory.prediction import BOUNDARY_LAYER

OWN: Mapping[str, type[Process]] = MappingProxyType(
    {
        "iso-classification": IsoClassification,
        "iso-functional": IsoFunctional,
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
    module, _, attribute = name.partition(":")
    known = f"give {', '.join(PROCESSES)}, or package.module:Class of a rayfe.surface.process.Process"
    if not attribute:
        raise UsageError("process", name, f"unknown process; {known}")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError("process", name, f"cannot be imported ({error}); {known}") from error
    if not (isinstance(found, type) and issubclass(found, Process)):
        raise UsageError("process", name, f"is not a subclass of rayfe.surface.process.Process but {found!r}")
    return found


def process_of(config: RunConfig, *, k: float | None) -> Process:
    """The process that `config` names; `k` of the geodesic may come from the end points.

    Raises:
        UsageError: a process of the user's own cannot be made.
    """
    match config.process:
        case "iso-classification":
            return IsoClassification(config.lam_end)
        case "iso-functional":
            R, D, C = config.functional
            return IsoFunctional(functional=Held(R=R, D=D, C=C), forward=config.direction == "forward")
        case "constant-rate":
            return ConstantRate(config.lam_dot)
        case "geodesic":
            return Geodesic(number(k), layer=BOUNDARY_LAYER if config.step_length_first is not None else 0.0)
    try:
        return process_class(config.process)()
    except TypeError as error:
        raise UsageError("process", config.process, f"must be made without arguments ({error})") from error
