"""What is compared: families of methods, each with either optimizer and on every route that it can go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from rayfe.exceptions import UsageError

Optimizer = Literal["adam", "soap"]
Route = Literal["there", "both", "leap"]
ROUTES: Mapping[Route, str] = MappingProxyType({"there": "one way", "both": "both ways", "leap": "leap"})
"""Routes, as tables call them: up to the end of the curve; some steps further, back, and there again; the same, but most of the way
there in one leap."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """Methods that train alike at one lam."""

    label: str
    colour: str
    optimizer: Optimizer = "adam"
    """The one that it is known with."""
    routes: tuple[Route, ...] = tuple(ROUTES)
    from_scratch: bool = False
    """Whether it begins with new weights, not with the common start."""


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "rayfe": Family(label="rayfe", colour="#D55E00", optimizer="soap"),
        "paper": Family(label="paper's recipe", colour="#000000", routes=("there",)),
        "nupi": Family(label="Cooper, nuPI", colour="#0072B2"),
        "augmented": Family(label="Cooper, augmented Lagrangian", colour="#882255"),
        "geco": Family(label="GECO", colour="#CC79A7"),
        "warm-grid": Family(label="warm grid, gamma fixed", colour="#56B4E9"),
        "heuristic": Family(label="gamma + 0.1 until C <= C0", colour="#E69F00", routes=("there",)),
        "conditioned": Family(
            label="one conditioned model", colour="#117733", optimizer="soap", routes=("there",), from_scratch=True
        ),
        "grid": Family(
            label="grid, from scratch, gamma root-found",
            colour="#009E73",
            optimizer="soap",
            routes=("there",),
            from_scratch=True,
        ),
        "envelope": Family(
            label="envelope, from scratch", colour="#44AA99", optimizer="soap", routes=("there",), from_scratch=True
        ),
    }
)
"""Families by name; colours that the colour-blind can tell apart."""
INDEPENDENT = ("grid", "envelope")
"""Families whose models owe nothing to a walk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """A family with an optimizer, on a route."""

    name: str
    family: str
    optimizer: Optimizer
    route: Route
    renews: bool = False
    """Whether a walk renews its model on the way."""

    @property
    def walks(self) -> bool:
        """Whether it is a configuration of rayfe's walk."""
        return self.family in ("rayfe", "paper")

    @property
    def from_scratch(self) -> bool:
        """Whether it needs no common start."""
        return FAMILIES[self.family].from_scratch


RAYFE: Mapping[Route, str] = MappingProxyType({"there": "rayfe-plain", "both": "rayfe", "leap": "rayfe-leap"})
"""Names of rayfe by its route; there in steps and without renewal it is plain."""


def _methods() -> Iterator[Method]:
    for family, about in FAMILIES.items():
        for route in about.routes:
            for optimizer in ("soap", "adam") if about.optimizer == "soap" else ("adam", "soap"):
                other = f"-{optimizer}" if optimizer != about.optimizer else ""
                stem = RAYFE[route] + other if family == "rayfe" else family + other + ("" if route == "there" else f"-{route}")
                renews = family == "rayfe" and route != "there"
                yield Method(name=stem, family=family, optimizer=optimizer, route=route, renews=renews)  # type: ignore[arg-type]


METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _methods()})
"""Methods that can be run, by name: FAMILY[-soap|-adam][-both|-leap], the optimizer only where it is not the family's own."""
STORED: Mapping[str, str] = MappingProxyType(
    {
        "rayfe-there": "rayfe, one way with renewals",
        "variant-a": "(a) paper's stencil, fixed T",
        "variant-b": "(b) one replica, predictor, settle",
        "variant-c": "(c) and 8 draws of z through the head",
        "variant-c2": "(c') and antithetic pairs",
        "variant-d": "(d) = (c) and carried second moments",
        "variant-e": "(e) and averages of late iterates",
        "variant-f": "(f) and SOAP",
        "variant-g": "(g) and adaptive budget",
        "variant-h": "(h) = (f) by implicit tangents",
    }
)
"""Labels of methods of stored rows only: rayfe's walk taken apart."""
NAMES = (*METHODS, *STORED)
"""All, in the order of tables."""


def method_of(name: str) -> Method:
    """A method that can be run.

    Raises:
        UsageError: there is none of this name.
    """
    if name not in METHODS:
        raise UsageError("method", name, f"known are {', '.join(METHODS)}")
    return METHODS[name]


def label_of(name: str) -> str:
    """What tables call a method; its optimizer and its route have columns of their own."""
    return STORED[name] if name in STORED else FAMILIES[METHODS[name].family].label


def begins_anew(name: str) -> bool:
    """Whether the runs of this method need no common start."""
    return name in METHODS and METHODS[name].from_scratch
