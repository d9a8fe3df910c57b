"""The vocabulary: every record that crosses a module border, and every column that is stored.

Functionals are per example and averaged, in nats (R, C) or squared pixel units (D); multipliers are
`lam` and `gamma`; `t` is the position on the data path (0: source). Equation numbers are those of
Gao & Chaudhari (2020), arXiv:2002.12406.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Weights = Mapping[str, np.ndarray]
"""Parameters and floating-point buffers of one model, by state-dict name."""


class Outcome(enum.StrEnum):
    """How an attempted step ended numerically; a lost machine is not an outcome (the request is repeated)."""

    OK = "OK"
    NOT_EQUILIBRATED = "NOT_EQUILIBRATED"
    NONFINITE = "NONFINITE"
    SINGULAR = "SINGULAR"


class Split(enum.StrEnum):
    """Which examples a reading is over: p(x, t) of the training or validation split, or what follows.

    `TARGET` is the target's validation split alone (t = 1) whatever t the model is at; `PROBE` a fixed part of the
    training split, read during training.
    """

    TRAIN = "train"
    VALIDATION = "validation"
    TARGET = "target"
    PROBE = "probe"


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """Multipliers of J = R + lam D + gamma C (8), and the position t on the data path (23)."""

    lam: float
    gamma: float
    t: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Functionals:
    """Rate (nats), distortion (squared pixel units) and classification loss (nats), averaged over examples (1), (4)."""

    R: float
    D: float
    C: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A combination R R + D D + C C of the functionals that a process keeps: C itself (31), or D - k R (30)."""

    R: float = 0.0
    D: float = 0.0
    C: float = 0.0

    def of(self, at: Functionals | Reading) -> float:
        """Its value."""
        return self.R * at.R + self.D * at.D + self.C * at.C

    def scale(self, at: Functionals | Reading) -> float:
        """The size of its terms, to which a miss is compared; for C alone C itself."""
        return abs(self.R * at.R) + abs(self.D * at.D) + abs(self.C * at.C)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepKey:
    """Names one attempted step; every random number of the step is a function of it (`data.batches`)."""

    trajectory: str
    seed: int
    step: int
    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Replica:
    """One model of a stencil: its name ("centre", "gamma+", ...), its point, and the weights it starts from."""

    name: str
    point: Point
    weights: Weights | None
    """None: newly initialised (only for a trajectory's first equilibrium)."""
    renewed: float = 0.0
    """Share of newly initialised weights in the start, blended into `weights`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """R, D, C and accuracy of one model on one split, in evaluation mode unless `split` is PROBE.

    `D_noise` and `C_noise` are half-differences of two independent sets of draws of z, summed over a block of
    examples and divided by the number of all; their root sum of squares is the standard error from the draws.
    Because replicas share draws, the noise of a difference of readings is the difference of the noises.
    """

    replica: str
    split: Split
    point: Point
    update: int
    R: float
    D: float
    C: float
    accuracy: float
    R_se: float
    D_se: float
    C_se: float
    D_noise: tuple[float, ...] = ()
    C_noise: tuple[float, ...] = ()
    F_t: float | None = None
    """dJ/dt at fixed weights, batch-norm statistics moving with t (the envelope theorem's dF/dt); None: not asked for."""

    @property
    def F(self) -> float:
        """R + lam D + gamma C at the reading's own point: an upper bound of the free energy F (8)."""
        return self.R + self.point.lam * self.D + self.point.gamma * self.C


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """First-order response of the equilibrium surface at one point (Lemma 5, eqs. 21 and 29).

    `C_lam` (= `D_gamma` by symmetry), `D_lam` and `C_gamma` are the entries of Hess F as a T-update
    equilibration shows them: the right gain for a T-update step, smaller than the true ones.
    """

    C_lam: float
    C_gamma: float
    D_gamma: float
    D_lam: float | None = None
    """None: the stencil has no lam neighbour."""
    C_lam_se: float
    C_gamma_se: float
    F_t: float | None = None
    """dF/dt, D_t = dF_t/dlam and C_t = dF_t/dgamma on a data path (25), (27); None: not measured."""
    D_t: float | None = None
    C_t: float | None = None

    @property
    def maxwell_gap(self) -> float | None:
        """D_gamma - C_lam where both were measured: checks code and noise, not equilibrium."""
        return None if self.D_lam is None else self.D_gamma - self.C_lam

    @property
    def hess_max_eig(self) -> float | None:
        """Largest eigenvalue of Hess F, at most 0 on a concave F (Lemma 3)."""
        if self.D_lam is None:
            return None
        mixed = 0.5 * (self.D_gamma + self.C_lam)
        return float(np.linalg.eigvalsh([[self.D_lam, mixed], [mixed, self.C_gamma]])[-1])


@dataclass(frozen=True, kw_only=True, slots=True)
class Velocity:
    """(lam_dot, gamma_dot) of a process per unit of its progress: log lam along a walk, t along a data path."""

    lam: float
    gamma: float


# --- requests and answers: pure functions of their arguments and the configuration -------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Annealing:
    """The stretch from `begin` to `end`, in epochs, of a training of `epochs` by the first equilibrium's schedule."""

    epochs: float
    begin: float
    end: float


@dataclass(frozen=True, kw_only=True, slots=True)
class EquilibrateRequest:
    """Train every replica at its point with the same batches and noise."""

    key: StepKey
    replicas: tuple[Replica, ...]
    preconditioner: Weights | None = None
    """Second moments of Adam carried from the last accepted step, shared by all replicas."""
    annealing: Annealing | None = None
    """Part of an annealed training; None: one equilibration by the walk's own schedule."""
    round: int = 0
    """How many equilibrations of the same step came before; batches and noise of each are its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Equilibrated:
    outcome: Outcome
    weights: tuple[Weights, ...]
    preconditioner: Weights | None
    """The first replica's second moments at the end."""
    readings: tuple[Reading, ...]
    """Probe readings at the recorded updates, the first at update 0 and the last at the end."""
    examples: float


@dataclass(frozen=True, kw_only=True, slots=True)
class SettleRequest:
    """Move along a chart of the surface until measured `held` are their `targets`.

    The chart is theta(a) = weights + sum of a_m tangent_m, with multiplier m moved by a_m along with it, for as many
    multipliers as there are conditions; |a_m| at most `reach[m]`.
    """

    key: StepKey
    weights: Weights
    tangents: Mapping[str, Weights]
    """By multiplier: "gamma", and "lam" where two conditions are held."""
    point: Point
    held: tuple[Held, ...]
    targets: tuple[float, ...]
    scales: tuple[float, ...]
    """A condition is met when it is off by a small part of its scale: `accuracy`."""
    jacobian: tuple[tuple[float, ...], ...]
    """First guess of d held / d multiplier, a row a condition, columns in the order of `tangents`."""
    reach: Mapping[str, float]
    accuracy: float = 5e-4


@dataclass(frozen=True, kw_only=True, slots=True)
class Settled:
    shift: Mapping[str, float]
    before: Functionals
    """Measured without a shift. D is not measured, and 0, where no condition has it."""
    after: Functionals
    """Measured at the shift returned; off target where a bound was met."""
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


Request = EquilibrateRequest | SettleRequest | MeasureRequest | DifferentiateRequest
Answer = Equilibrated | Settled | Measured | Differentiated


# --- stored rows --------------------------------------------------------------------------------------------------


def column(description: str, **options: Any) -> Any:
    """A stored column: `description` goes into the Parquet schema."""
    return field(metadata={"description": description}, **options)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRecord:
    """One attempted quasi-static step: a row of steps/<trajectory>.parquet. None where not measured."""

    trajectory: str = column("name of the trajectory, from its start and seed")
    step: int = column("number of the step; 0 is the start's own equilibrium")
    attempt: int = column("numerical attempts at this step so far, from 0")
    accepted: bool = column("whether the walk went on from here")
    outcome: str = column("OK, NOT_EQUILIBRATED, NONFINITE or SINGULAR")
    reason: str | None = column("why a step was rejected, or the name of the stop; null if accepted", default=None)
    process: str = column("the process that chose the step")
    lam: float = column("multiplier of D at the settled point")
    gamma: float = column("multiplier of C at the settled point")
    t: float = column("position on the data path, 0 = source, 1 = target", default=0.0)
    R: float | None = column("rate on the training split, nats (1)", default=None)
    D: float | None = column("distortion on the training split, squared pixel units summed over pixels (1)", default=None)
    C: float | None = column("classification loss on the training split, nats (4)", default=None)
    F: float | None = column("R + lam D + gamma C of this row (8)", default=None)
    accuracy: float | None = column("training accuracy of the mean prediction over draws of z", default=None)
    val_R: float | None = column("rate on the validation split, nats", default=None)
    val_D: float | None = column("distortion on the validation split", default=None)
    val_C: float | None = column("classification loss on the validation split, nats", default=None)
    val_accuracy: float | None = column("validation accuracy of the mean prediction over draws of z", default=None)
    R_se: float | None = column("standard error of R (0: closed form over all training images)", default=None)
    D_se: float | None = column("standard error of D from the draws of z", default=None)
    C_se: float | None = column("standard error of C from the draws of z", default=None)
    val_C_se: float | None = column("standard error of val_C over validation images", default=None)
    target_C: float | None = column("classification loss on the target's validation split alone, nats", default=None)
    target_accuracy: float | None = column("accuracy on the target's validation split alone", default=None)
    C_target: float | None = column("the loss to be held, nats; at step 0 the measured C; null if C is not held", default=None)
    drift_se: float | None = column("standard error of C / C_target - 1; paired, the draws are those of step 0", default=None)
    C_settle_target: float | None = column("C of step 0 on the draws of the settle, nats", default=None)
    held_drift: float | None = column(
        "what the process holds first, relative to its size at the start, minus its value there (C: C / C0 - 1)", default=None
    )
    held_drift_se: float | None = column("standard error of held_drift from the draws of z; paired", default=None)
    line_miss: float | None = column("D - D0 - k (R - R0) on the geodesic's line (30), squared pixel units", default=None)
    line_miss_se: float | None = column("standard error of line_miss from the draws of z", default=None)
    k: float | None = column("slope dD/dR of the geodesic (30)", default=None)
    end_gamma: float | None = column("gamma at which a model of the target alone has C0 at the start's lam", default=None)
    end_R: float | None = column("its rate, nats", default=None)
    end_D: float | None = column("its distortion, squared pixel units", default=None)
    C_before_settle: float | None = column("C after training, before the settle", default=None)
    settle_shift: float | None = column("change of gamma by the settle", default=None)
    settle_shift_lam: float | None = column("change of lam by the settle, where the process moves both", default=None)
    D_lam: float | None = column("dD/dlam at the stencil's centre", default=None)
    D_gamma: float | None = column("dD/dgamma at the stencil's centre", default=None)
    C_lam: float | None = column("dC/dlam at the stencil's centre; stencil iso: filled from D_gamma", default=None)
    C_gamma: float | None = column("dC/dgamma at the stencil's centre", default=None)
    F_t: float | None = column("dF/dt at fixed multipliers", default=None)
    D_t: float | None = column("dD/dt at fixed multipliers", default=None)
    C_t: float | None = column("dC/dt at fixed multipliers", default=None)
    C_gamma_se: float | None = column("standard error of C_gamma from the draws of z", default=None)
    C_lam_se: float | None = column("standard error of C_lam from the draws of z", default=None)
    response_age: int | None = column("accepted steps since the response was measured", default=None)
    hess_max_eig: float | None = column("largest eigenvalue of Hess F; positive violates concavity", default=None)
    maxwell_gap: float | None = column("D_gamma - C_lam; a check of noise and code", default=None)
    first_law_residual: float | None = column(
        "dR + lam dD + gamma dC over the step, mid-point multipliers, nats (7)", default=None
    )
    excess: float | None = column("F above the lower envelope of this trajectory's models so far, nats", default=None)
    chart_defect: float | None = column("F after the settle above the quadratic model of the stencil, nats", default=None)
    grad_norm: float | None = column("norm of the gradient of J over parameters", default=None)
    F_start: float | None = column("J on the probe before training, training-mode batch-norm", default=None)
    F_end: float | None = column("J on the probe after training, training-mode batch-norm", default=None)
    J_K: float | None = column("K-sample bound of the free energy (10), nats", default=None)
    lam_dot: float | None = column("velocity in lam that led here, per unit of log lam (walk) or of t (transfer)", default=None)
    gamma_dot: float | None = column(
        "velocity in gamma that led here, per unit of log lam (walk) or of t (transfer)", default=None
    )
    step_length: float | None = column("length of the step that led here, in log lam (walk) or in t (transfer)", default=None)
    next_step_length: float | None = column("length that the stepper proposes after this row", default=None)
    decrement: float | None = column("Newton decrement, F above the equilibrium nearby, nats; before the settle", default=None)
    C_lag: float | None = column("change of C on the way to the equilibrium nearby, nats; before the settle", default=None)
    solve_residual: float | None = column("largest relative residual of the solves for exact derivatives", default=None)
    gap: float | None = column("fall of F in the last round of training at fixed multipliers, nats", default=None)
    examples: float = column("cumulative training examples; forward-only passes as 1/3")
    seconds: float = column("cumulative seconds of work on this trajectory")
    seed: int = column("seed of the trajectory")
    state: str | None = column("weights of this row, path relative to the run", default=None)
    state_sha256: str | None = column("SHA-256 of the weight file", default=None)
    carry_sha256: str | None = column("SHA-256 of what the next step needs besides the weights", default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingRecord:
    """One replica on one split at one recorded update: a row of readings/<trajectory>.parquet."""

    trajectory: str = column("name of the trajectory")
    step: int = column("number of the step")
    attempt: int = column("numerical attempts at this step so far, from 0")
    replica: str = column("centre, gamma+, gamma-, lam+, lam-, settled, or endpoint (a model of the target alone)")
    split: str = column("train, validation, target or probe")
    update: int = column("updates since the start of this equilibration")
    first: bool = column("whether the update belongs to the first equilibrium")
    lam: float = column("multiplier of D")
    gamma: float = column("multiplier of C")
    t: float = column("position on the data path")
    R: float = column("rate, nats")
    D: float = column("distortion, squared pixel units")
    C: float = column("classification loss, nats")
    F: float = column("R + lam D + gamma C")
    accuracy: float = column("accuracy of the mean prediction over draws of z")
    R_se: float = column("standard error of R")
    D_se: float = column("standard error of D")
    C_se: float = column("standard error of C")


@dataclass(frozen=True, kw_only=True, slots=True)
class Commit:
    """What one attempted step leaves behind: one row, its readings, and, if accepted, its weights.

    `carry` is what the next step needs besides the weights (tangent, previous weights, second moments),
    as named arrays; `record` has no hashes yet, the store fills them in.
    """

    record: StepRecord
    readings: tuple[ReadingRecord, ...]
    state: Weights | None
    carry: Weights | None
