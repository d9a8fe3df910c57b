"""What a run can be asked for: each kind has the fields that it reads, and no others."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from rayfe.config.checks import (
    FRACTION,
    NOT_NEGATIVE,
    NUMBER,
    POSITIVE,
    SHARE,
    SOME_EPOCHS,
    Checked,
    Needs,
    With,
    at_least,
    number_in,
    require,
)
from rayfe.config.sections import PROCESSES, PathConfig, RenewalConfig
from rayfe.records import Box

IN_LAM = ("process", "iso-classification")
"""Walks in lam at constant C."""


class Asked(Checked):
    """What every kind answers: where a kind has no field of this name, nothing is to choose, and the value is this one or its own."""

    called: ClassVar[str]
    """What it is, in messages."""
    process: str = ""
    method: str | None = None
    seek: tuple[str, ...] | None = None
    path: PathConfig = PathConfig()
    k: float | None = None
    lam_end: float = math.inf
    both_ways: bool = False
    renewal: RenewalConfig = RenewalConfig()
    stencil: Literal["iso", "paper"] = "iso"
    derivatives: Literal["stencil", "implicit"] = "stencil"
    hold: Literal["training", "control"] = "training"
    settle: bool = False
    predictor: bool = False
    step_length_first: float | None = None
    tolerance: float = 0.005
    tolerance_floor: float = 1e-5
    certificate_share: float = 0.0

    @property
    def wanted(self) -> tuple[tuple[str, float], ...]:
        """The functionals that `seek` names with their wanted values, in the order R, D, C."""
        return ()

    def starts(self, lam: tuple[float, ...], gamma: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
        """The lam and gamma of each trajectory of a seed."""
        return tuple((one, other) for one in lam for other in gamma)

    def box(self, lam: tuple[float, ...], gamma: tuple[float, ...]) -> Box | None:
        """The box over which a conditioned model is trained; None of other kinds."""
        return None

    def check_sigma(self, sigma: float) -> None:
        """Refuse a sigma from which it cannot start."""

    def check_start(self, lam: float, gamma: float) -> None:
        """Refuse multipliers from which it cannot start."""
        unheld = "; give ``process=fixed-gamma`` to go without labels" if gamma == 0 else ""
        require(gamma > 0, "gamma", gamma, f"must be a positive number{unheld}")


@dataclass(frozen=True, kw_only=True)
class Moving(Asked):
    """What goes over the surface in steps."""

    step_length: Annotated[float, POSITIVE] = 0.13
    """Largest step, in log lam (iso-classification) or in t (transfers)."""
    certificate_share: Annotated[float, SHARE] = 0.1
    """Part of the examples of a trajectory that may be spent at its end, besides them, on training its last model on: that says how
    far it is from equilibrium (certificates/). 0: it is not trained on."""

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        first = self.step_length_first
        require(first is None or first <= self.step_length, "step_length_first", first, "must not exceed ``step_length``")


@dataclass(frozen=True, kw_only=True)
class Stepping(Moving):
    """What holds something while it goes: by a stencil's response, and by settles."""

    step_length_first: Annotated[float | None, POSITIVE] = None
    """First step; the largest without it. Where the target has new classes F_t is steep at t = 0: start with 0.001."""
    stencil: Annotated[Literal["iso", "paper"], With("derivatives", "stencil")] = "iso"
    """iso: gamma neighbours only (C_lam from D_gamma); paper: lam and gamma neighbours."""
    refresh: Annotated[int, at_least(1)] = 5
    """Accepted steps between stencils; in between the tangent is carried. 1: a stencil at every step."""
    settle: bool = True
    """Move along the stencil's tangent to the measured C = C0 after each equilibration; without it C may drift."""
    predictor: bool = True
    """Start each step from weights extrapolated along the walk."""
    tolerance: Annotated[float, FRACTION] = 0.005
    """Largest |C / C0 - 1| of an accepted step, four standard errors of the draws of z included. The draws are repeated until eight of
    them fit, 64 times at most; a tolerance that is too small for that ends the walk at its start. Without settle it is only drawn."""
    tolerance_floor: Annotated[float, NOT_NEGATIVE] = 1e-5
    """The same in nats for a small C0: |C - C0| may be this large whatever C0 is."""
    hold: Annotated[
        Literal["training", "control"], Needs(*IN_LAM, "constant-rate"), Needs("settle"), Needs("derivatives", "stencil")
    ] = "training"
    """Whose C is held: that of the training images, or that of control images which are set apart from training and on which C is
    not over-fitted (a tenth of the training images; validation images are never used)."""

    def __post_init__(self) -> None:
        Moving.__post_init__(self)
        fits = self.process not in ("geodesic", "iso-functional") or self.stencil == "paper" or self.derivatives == "implicit"
        fix = f"has no lam neighbours, which ``process={self.process}`` needs; give ``stencil=paper``"
        require(fits, "stencil", self.stencil, fix)


@dataclass(frozen=True, kw_only=True)
class Walk(Stepping):
    """A walk on data that stay, which holds C, a functional, or what a process of the user's own holds."""

    called: ClassVar[str] = "walks"
    process: str = "iso-classification"
    """What is kept constant: iso-classification keeps C while lam goes to lam_end (31). iso-losses keeps each loss of the task,
    iso-functional a R + b D + c C + s S (Remark 8), weight-information C while sigma goes to sigma_end, fixed-gamma nothing, and its
    gamma may be 0; package.module:Class is your own (rayfe/surface/process.py)."""
    functional: Annotated[tuple[float, ...], With("process", "iso-functional")] = (0.0, 0.0, 1.0)
    """a, b, c and, with random weights, s of iso-functional: 0 0 1 is C itself, 1 0 0 the rate, 1 0 2 is C + R/2 (Remark 8), 0 0 1 1e-4
    is C + S/10000."""
    sigma_end: Annotated[float, POSITIVE, With("process", "weight-information")] = 1e-2
    """Weight-information ends when sigma arrives here, from below or from above; lam stays."""
    lam_end: Annotated[float, POSITIVE, With(*IN_LAM)] = 3.5
    """Iso-classification ends when lam arrives here, from below or from above."""
    both_ways: Annotated[bool, Needs(*IN_LAM)] = False
    """Whether iso-classification turns round at lam_end and goes back over the same lam, to where the way there has lower F twice
    in succession, or to the start's, and from there up again as long as that is lower still: of all models at one lam the lowest
    one counts. Near lam_end there is only the way there: go three steps further than you need, six after a
    leap. A run that arrived may be sent back."""
    renewal: RenewalConfig = field(default_factory=RenewalConfig)
    derivatives: Literal["stencil", "implicit"] = "stencil"
    """stencil: differences between neighbours that are trained, too; implicit: Lemma 5, with exact Hessian-vector products
    at the centre, which also say how far from equilibrium it is (columns decrement and C_lag)."""

    def __post_init__(self) -> None:
        Stepping.__post_init__(self)
        known = f"unknown process; give {', '.join(PROCESSES)}, or package.module:Class of your own"
        require(self.process in PROCESSES or ":" in self.process, "process", self.process, known)
        require(len(self.functional) in (3, 4), "functional", self.functional, "give three numbers, a b c, or four, a b c s")
        require(any(self.functional), "functional", self.functional, "is zero everywhere, give a b c of which one is not 0")

    def check_sigma(self, sigma: float) -> None:
        fix = "needs random weights; give ``model.posterior`` classifier, decoder or all, and ``sigma``"
        walks = self.process == "weight-information"
        require(sigma > 0 or not walks, "process", self.process, fix)
        require(not (walks and sigma == self.sigma_end), "sigma", sigma, "is ``sigma_end`` already, give another of the two")
        require(sigma > 0 or not any(self.functional[3:]), "functional", self.functional, f"has S, and {fix}")

    def check_start(self, lam: float, gamma: float) -> None:
        Asked.check_start(self, lam, gamma)
        there = self.process == "iso-classification" and lam == self.lam_end
        require(not there, "lam", lam, "is ``lam_end`` already, give another of the two")


@dataclass(frozen=True, kw_only=True)
class FreeWalk(Moving):
    """A walk at constant gamma, which holds nothing: no stencil, no settle, and its gamma may be 0."""

    called: ClassVar[str] = "walks at constant gamma"
    process: Literal["fixed-gamma"] = "fixed-gamma"
    """Gamma stays while lam goes to lam_end."""
    lam_end: Annotated[float, POSITIVE] = 3.5
    """The walk ends when lam arrives here, from below or from above."""
    step_length_first: Annotated[float | None, POSITIVE] = None
    """First step; the largest without it."""
    predictor: bool = True
    """Start each step from weights extrapolated along the walk."""

    def check_start(self, lam: float, gamma: float) -> None:
        require(gamma >= 0, "gamma", gamma, "must be 0 or a positive number")
        require(lam != self.lam_end, "lam", lam, "is ``lam_end`` already, give another of the two")


@dataclass(frozen=True, kw_only=True)
class Seek(Moving):
    """The way to the point that has wanted values of two of R, D and C; a stencil in both multipliers at every step."""

    called: ClassVar[str] = "the way to a wanted point (seek)"
    process = "iso-classification"
    stencil = "paper"
    refresh = 1
    settle = True
    seek: tuple[str, ...]
    """Wanted values of two of R, D and C, such as C=0.1 R=12: instead of walking, go to the point that has them."""
    derivatives: Literal["stencil", "implicit"] = "stencil"
    """stencil: differences between neighbours that are trained, too; implicit: Lemma 5, with exact Hessian-vector products."""
    tolerance: Annotated[float, FRACTION] = 0.005
    """Largest miss of either wanted value, four standard errors of the draws of z included: relative to it, and in nats where it is not
    positive (D of a density, C of a regression)."""

    def __post_init__(self) -> None:
        Moving.__post_init__(self)
        fix = "give wanted values of two of R, D and C, e.g. ``seek=C=0.1 R=12``"
        object.__setattr__(self, "seek", tuple(" ".join(self.seek).split()))
        for text in self.seek:
            name, _, value = text.partition("=")
            number = number_in(value, float)
            require(name in ("R", "D", "C"), "seek", text, fix)
            kind = POSITIVE if name == "R" else NUMBER
            sound = number is not None and kind.fault(number) is None
            require(sound, "seek", text, f"{name} {kind.text}; {fix}")
        require(len(self.seek) == len(dict(self.wanted)) == 2, "seek", self.seek, fix)

    @property
    def wanted(self) -> tuple[tuple[str, float], ...]:
        pairs: Iterable[tuple[str, str, str]] = (text.partition("=") for text in self.seek)
        return tuple(sorted(((name, float(value)) for name, _, value in pairs), key=lambda pair: "RDC".index(pair[0])))


@dataclass(frozen=True, kw_only=True)
class Transfer(Stepping):
    """A walk along a data path, from t = 0 to t = 1."""

    called: ClassVar[str] = "transfers"
    process: Literal["geodesic", "constant-rate"] = "geodesic"
    """What is kept while the data change: C, with D - D0 = k (R - R0) (geodesic, (30)), or with the given lam_dot
    (constant-rate, (38))."""
    k: Annotated[float | None, With("process", "geodesic")] = None
    """Slope dD/dR of the geodesic; without it, from a model of the target alone at the same C."""
    lam_dot: Annotated[float, With("process", "constant-rate")] = 0.0
    """Rate of lam per unit of t of process constant-rate."""
    path: PathConfig = field(default_factory=PathConfig)

    def __post_init__(self) -> None:
        Stepping.__post_init__(self)
        require(self.step_length <= 1, "step_length", self.step_length, "must be at most 1 in t")

    def check_start(self, lam: float, gamma: float) -> None:
        Asked.check_start(self, lam, gamma)
        if self.process == "constant-rate":
            end = lam + self.lam_dot
            require(end > 0, "lam_dot", self.lam_dot, f"makes ``lam={end:g}`` at t = 1, which must be positive")
        elif self.k is not None:
            pole = 1.0 + self.k * lam
            fix = f"1 + k lam is {pole:.3g} at ``lam={lam:g}``, where the geodesic has its pole; give another of the two"
            require(abs(pole) >= 0.05, "k", self.k, fix)


@dataclass(frozen=True, kw_only=True)
class Baseline(Asked):
    """Plain training on the target at fixed multipliers, to compare a transfer with."""

    called: ClassVar[str] = "baselines"
    process = "baseline"
    method: Literal["finetune", "scratch", "joint"] = "finetune"
    """Train on the target from the source's model or from scratch, or on both data sets together."""
    method_epochs: Annotated[float, SOME_EPOCHS] = 20.0
    """Epochs that a baseline trains, in 15 rows, by the schedule of the first equilibrium (`equilibration.epochs` says what an epoch
    is)."""
    tolerance: Annotated[float, FRACTION] = 0.005
    """How far C may be from the transfer's for its figures and tables to call it held; nothing is judged by it."""
    path: PathConfig = field(default_factory=PathConfig)


@dataclass(frozen=True, kw_only=True)
class Conditioned(Asked):
    """One conditioned model over the box that all lam and gamma span, and an ordinary model of it for each pair of them."""

    called: ClassVar[str] = "conditioned models"
    process: Literal["conditioned"] = "conditioned"
    """One training for all lam and gamma of the box; nothing is held."""

    def starts(self, lam: tuple[float, ...], gamma: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
        return ((min(lam), min(gamma)),) if lam and gamma else ()

    def box(self, lam: tuple[float, ...], gamma: tuple[float, ...]) -> Box | None:
        return Box(lam=(min(lam), max(lam)), gamma=(min(gamma), max(gamma)))
