"""Points of the surface and what is read and derived there: functionals, readings, responses, velocities.

Functionals are per example and averaged, in nats (R, C) or the likelihood's unit (D); multipliers are
`lam` and `gamma`; `t` is the position on the data path (0: source). Equation numbers are those of
Gao & Chaudhari (2020), arXiv:2002.12406.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rayfe.records.gibbs import Gibbs

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
    training split, read during training. `CONTROL` is a part of the training examples that is set apart from training, for C
    to be held on (--hold control); TRAIN is then the rest.
    """

    TRAIN = "train"
    VALIDATION = "validation"
    TARGET = "target"
    PROBE = "probe"
    CONTROL = "control"


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """Multipliers of J = R + lam D + gamma C + sigma S (5), (8), and the position t on the data path (23)."""

    lam: float
    gamma: float
    t: float = 0.0
    sigma: float = 0.0
    """0: no weights are random."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """The points between a smallest and a largest lam, and a smallest and a largest gamma, at t = 0."""

    lam: tuple[float, float]
    gamma: tuple[float, float]

    @property
    def centre(self) -> Point:
        """In log lam and log gamma."""
        return self.at(0.0, 0.0)

    def at(self, a: float, b: float) -> Point:
        """The point with these coordinates in log lam and log gamma, from -1 to 1."""
        lam, gamma = (
            low ** (0.5 * (1.0 - place)) * high ** (0.5 * (1.0 + place))
            for (low, high), place in ((self.lam, a), (self.gamma, b))
        )
        return Point(lam=lam, gamma=gamma)

    def coordinates(self, point: Point) -> tuple[float, float]:
        """The opposite of `at`; 0 where the box has no width."""
        a, b = (
            math.log(value**2 / (low * high)) / math.log(high / low) if high > low else 0.0
            for (low, high), value in ((self.lam, point.lam), (self.gamma, point.gamma))
        )
        return a, b


@dataclass(frozen=True, kw_only=True, slots=True)
class Functionals:
    """Rate (nats), distortion (in the unit of its likelihood) and loss of the task (nats), averaged over examples (1), (4)."""

    R: float
    D: float
    C: float
    S: float | None = None
    """Information in the weights (5), nats of all of them together; None: they are not random."""
    C_scale: float | None = None
    """As of a reading."""
    losses: tuple[float, ...] = ()
    """As of a reading."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """A combination R R + D D + C C + S S of the functionals that a process keeps: C itself (31), D - k R (30), or one loss of several."""

    R: float = 0.0
    D: float = 0.0
    C: float = 0.0
    S: float = 0.0
    loss: int | None = None
    """Its number among the losses of a task; then nothing else is in it."""

    def of(self, at: Functionals | Reading) -> float:
        """Its value."""
        if self.loss is not None:
            return at.losses[self.loss]
        value = self.R * at.R + self.D * at.D + self.C * at.C
        return value + self.S * at.S if self.S and at.S is not None else value

    def scale(self, at: Functionals | Reading) -> float:
        """The size of its terms, to which a miss is compared; for C or a loss alone it itself, or the scale of its own."""
        if self.loss is not None:
            return at.losses[self.loss] if at.C_scale is None else at.C_scale
        C = at.C if at.C_scale is None else at.C_scale
        return abs(self.R * at.R) + abs(self.D * at.D) + abs(self.C * C) + abs(self.S * (at.S or 0.0))


def drift(C: float, C0: float, scale: float | None) -> float:
    """C / C0 - 1; of a loss with a scale of its own (C - C0) / scale."""
    return C / C0 - 1.0 if scale is None else (C - C0) / scale


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
    box: Box | None = None
    """The weights are those of a conditioned model over this box: it is trained all over the box, and read as it is folded at
    `point`. None: they are an ordinary model's."""
    encoder: Weights | None = None
    """Those of a model whose encoder the replica has; training moves its decoder and its classifier alone (`FixedEncoder`, whose
    the weights are). None: all of it is trained."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Certificate:
    """How far a model may be from equilibrium, read on a fixed part of the training split at its own multipliers.

    None: not asked for.
    """

    J_K: float | None = None
    """K-sample bound of F, -log Z <= J_K <= R + lam D + gamma C (10), (14), nats."""
    J_K_se: float | None = None
    J_K_ess: float | None = None
    """Mean effective sample size of its draws as a share of K."""
    grad_norm: float | None = None
    """Norm of the gradient of J over the parameters (`certify.gradient_norm`)."""
    missed: float | None = None
    """Largest variance of what the reconstruction misses in a direction, in the unit of D; None: D is no multiple of it."""
    uptake: float | None = None
    """By how much J would fall if z's dimension with the fewest nats took that up, nats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """R, D, C and the score of one model on one split, in evaluation mode unless `split` is PROBE.

    `D_noise`, `C_noise` and `R_noise` (empty: R in closed form) are half-differences of two independent sets of draws of z, summed
    over a block of examples and divided by the number of all; their root sum of squares is the standard error from the draws.
    Because replicas share draws, the noise of a difference of readings is the difference of the noises.
    """

    replica: str
    split: Split
    point: Point
    update: int
    R: float
    D: float
    C: float
    R_se: float
    D_se: float
    C_se: float
    S: float | None = None
    """Information in the weights (5), nats of all of them together, in closed form; None: they are not random."""
    D_noise: tuple[float, ...] = ()
    C_noise: tuple[float, ...] = ()
    R_noise: tuple[float, ...] = ()
    C_scale: float | None = None
    """Nats by which a change of C counts, of a loss that may be negative; None: C itself."""
    accuracy: float | None = None
    """Of the mean prediction over draws of z; None: the task is no classification."""
    score: float | None = None
    """The mean score of another task, where it has one."""
    F_t: float | None = None
    """dJ/dt at fixed weights, batch-norm statistics moving with t (the envelope theorem's dF/dt); None: not asked for."""
    size: int | None = None
    """Examples that were read, of both ends of a mixture."""
    statistics_size: int | None = None
    """Training examples whose batch-norm statistics the model had; None: no such layer."""
    slope_size: int | None = None
    """Examples over which F_t was read."""
    R_dims: tuple[float, ...] | None = None
    """R by dimension of z, nats; None: not asked for."""
    certificate: Certificate | None = None
    """What was read on a fixed part of the training split besides; None: not asked for."""
    label_entropy: float | None = None
    """Entropy of the mean label under p(x, t), nats: C of a classifier that knows nothing of x. None: not asked for."""
    gibbs: Gibbs | None = None
    """Errors of single draws of random weights and z; None: not asked for, or not given."""
    losses: tuple[float, ...] = ()
    """Each loss of a task whose losses have prices, nats, (k,); C is their plain sum. On the probe there are none, and C is priced."""
    loss_noise: tuple[tuple[float, ...], ...] = ()
    """Of each of them, as C_noise."""
    prices: tuple[float, ...] = ()
    """(k,); empty: the task has none."""

    @property
    def multipliers(self) -> tuple[float, ...]:
        """gamma of each loss, gamma times its price; where there is one loss gamma itself."""
        return tuple(self.point.gamma * price for price in self.prices or (1.0,))

    @property
    def priced_C(self) -> float:
        """What gamma multiplies in F: C, or the sum of the losses, each times its price."""
        return sum(price * loss for price, loss in zip(self.prices, self.losses, strict=True)) if self.prices else self.C

    @property
    def priced_C_se(self) -> float:
        """Standard error of `priced_C` from the draws of z."""
        return float(np.linalg.norm(np.array(self.prices) @ np.array(self.loss_noise))) if self.loss_noise else self.C_se

    @property
    def F(self) -> float:
        """R + lam D + gamma C + sigma S at the reading's own point: an upper bound of the free energy F (5), (8). Losses count by their
        prices."""
        J = self.R + self.point.lam * self.D + self.point.gamma * self.priced_C
        return J if self.S is None else J + self.point.sigma * self.S

    @property
    def F_size(self) -> float:
        """What changes of F are compared with: F itself, unless D or C is negative, where F may pass through 0."""
        J = self.R + self.point.lam * abs(self.D) + self.point.gamma * abs(self.priced_C)
        return J if self.S is None else J + self.point.sigma * self.S
