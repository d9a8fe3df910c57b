"""Requests and their answers: pure functions of their arguments and the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rayfe.records.points import Functionals, Held, Outcome, Point, Reading, Replica, Split, StepKey, Weights
from rayfe.records.response import Response

PROBE = 5000
"""Training images at most on which J is read during an equilibration, and the rates of dimensions of z."""
BOUND_DRAWS = 8
"""K of the bound J_K (10): draws of z per image."""
ENOUGH = 57_600
"""Images of which D needs one draw each."""


def decoder_draws(images: int) -> Literal[1, 2]:
    """1 where one draw of each image leaves less than 0.05 % of D uncertain (D of one image scatters by 12 % on MNIST)."""
    return 1 if images >= ENOUGH else 2


@dataclass(frozen=True, kw_only=True, slots=True)
class Annealing:
    """The stretch from `begin` to `end`, in epochs, of a training of `epochs` by the first equilibrium's schedule."""

    epochs: float
    begin: float
    end: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EquilibrateRequest:
    """Train every replica at its point, all at one t, with the same batches and noise."""

    key: StepKey
    replicas: tuple[Replica, ...]
    preconditioner: Weights | None = None
    """What the training of the last accepted step left, shared by all replicas: what its optimizer learnt, and under `ahead` how
    far its last iterate was ahead of the model."""
    annealing: Annealing | None = None
    """Part of an annealed training; None: one equilibration by the walk's own schedule."""
    round: int = 0
    """How many equilibrations of the same step came before; batches and noise of each are its own."""
    rate: float = 1.0
    """Part of the walk's learning rate: less after trainings that diverged."""

    @property
    def phase(self) -> str:
        """Names the random numbers of this training among those of the same step."""
        if self.annealing is not None:
            begin = "first" if self.annealing.begin == 0.0 else f"from epoch {self.annealing.begin:.15g}"
            return begin if self.round == 0 else f"{begin}, round {self.round}"
        return "walk" if self.round == 0 else f"round {self.round}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Equilibrated:
    outcome: Outcome
    weights: tuple[Weights, ...]
    preconditioner: Weights | None
    """What the first replica's training leaves to the next one."""
    readings: tuple[Reading, ...]
    """Probe readings at the recorded updates, the first at update 0 and the last at the end."""
    examples: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SettleRequest:
    """Move along a chart of the surface until measured `held` are their `targets`.

    The chart is theta(a) = weights + sum of a_m tangent_m, with multiplier m moved by a_m along with it, |a_m| at most
    `reach[m]`. Where there are more multipliers than conditions, they move along the steepest way.
    """

    key: StepKey
    weights: Weights
    tangents: Mapping[str, Weights]
    """By multiplier: "gamma", and "lam" where the process moves both to hold what it holds."""
    point: Point
    held: tuple[Held, ...]
    targets: tuple[float, ...]
    scales: tuple[float, ...]
    """A condition is met when it is off by a small part of its scale: `accuracy`."""
    jacobian: tuple[tuple[float, ...], ...]
    """First guess of d held / d multiplier, a row a condition, columns in the order of `tangents`."""
    reach: Mapping[str, float]
    accuracy: float = 5e-4
    split: Split = Split.TRAIN
    """Whose examples are read; batch-norm statistics are those of the training split."""
    draw_sets: int = 1
    """Nested sets of `measure.head_draws` draws by which C is read: set k is the same however many there are."""
    decoder_sets: int = 1
    """The same for D, each of `measure.decoder_draws` draws."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    shift: Mapping[str, float]
    before: Functionals
    """Measured without a shift. D is not measured, and 0, where no condition has it."""
    after: Functionals
    """Measured at the shift returned, or predicted there by the secant of the last two measurements; off target where a bound
    was met."""
    weights: Weights
    examples: float


@dataclass(frozen=True, kw_only=True, slots=True)
class MeasureRequest:
    """Read R, D, C of models that are not trained further. Batch-norm statistics are recomputed first."""

    key: StepKey
    replicas: tuple[Replica, ...]
    splits: tuple[Split, ...]
    purpose: str
    """Names the draws: those that steer a step ("settle") and those that judge it ("test") differ."""
    slope_in_t: bool = False
    """Read F_t of every replica on the training split, too."""
    part: bool = False
    """Read a fixed part of the examples only (`measure.response_size`); batch-norm statistics are as ever."""
    certify: bool = False
    """Read the certificate of every replica on a fixed part of the training split, too, and the entropy of its labels."""
    draw_sets: int = 1
    """Nested sets of `measure.head_draws` draws by which C is read: set k is the same however many there are."""
    decoder_sets: int = 1
    """The same for D, each of `measure.decoder_draws` draws."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    readings: tuple[Reading, ...]
    weights: tuple[Weights, ...]
    """The models' weights with the recomputed batch-norm statistics, in the request's order."""
    examples: float


@dataclass(frozen=True, kw_only=True, slots=True)
class DifferentiateRequest:
    """Exact derivatives at one model (Lemma 5), by Hessian-vector products on a fixed batch."""

    key: StepKey
    point: Point
    weights: Weights


@dataclass(frozen=True, kw_only=True, slots=True)
class Differentiated:
    response: Response
    tangents: Mapping[str, Weights]
    """dtheta / dmultiplier by multiplier, "lam" and "gamma" (18)."""
    decrement: float
    """Newton decrement: F above the equilibrium nearby, nats."""
    C_lag: float
    """By how much C would change on the way there, nats."""
    residual: float
    """Largest relative residual of the linear solves."""
    examples: float


@dataclass(frozen=True, kw_only=True, slots=True)
class TakeUpRequest:
    """Let dimensions of z that carry few nats take up what the reconstruction at `point` misses."""

    key: StepKey
    point: Point
    weights: Weights


@dataclass(frozen=True, kw_only=True, slots=True)
class TakenUp:
    weights: Weights
    """Those of the request where no dimension was taken up."""
    dims: tuple[int, ...]
    examples: float


Request = EquilibrateRequest | SettleRequest | MeasureRequest | DifferentiateRequest | TakeUpRequest
Answer = Equilibrated | Settled | Measured | Differentiated | TakenUp
