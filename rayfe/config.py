"""Run configuration: frozen, keyword-only, checked when built. Fields are command-line options (`--help` explains each)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal


class UsageError(ValueError):
    """Bad input from a user: one line that names the field, the value and the fix."""

    def __init__(self, name: str, value: object, fix: str) -> None:
        super().__init__(name, value, fix)  # all three, so that it survives pickling between processes
        self.name, self.value, self.fix = name, value, fix

    def __str__(self) -> str:
        return f"--{self.name} {self.value}: {self.fix}".replace("\n", " ")


TRANSFERS = ("geodesic", "constant-rate")
"""Processes that move the data."""
PROCESSES = ("iso-classification", "iso-functional", *TRANSFERS)
THREADING = MappingProxyType({"OMP_WAIT_POLICY": "PASSIVE"})
"""Environment of processes that train, before torch is imported: threads that wait must sleep.

Spinning ones made a convolutional update 12 times as slow where another process wanted the same cores.
"""


def require(condition: bool, name: str, value: object, fix: str) -> None:
    """Raise UsageError(name, value, fix) unless `condition` holds."""
    if not condition:
        raise UsageError(name, value, fix)


def _positive(name: str, value: float, unit: str = "") -> None:
    require(math.isfinite(value) and value > 0, name, value, f"must be a positive number{unit}")


def _at_least(name: str, value: int, least: int) -> None:
    require(value >= least, name, value, f"must be at least {least}")


def _fraction(name: str, value: float) -> None:
    require(math.isfinite(value) and 0 < value < 1, name, value, "must lie between 0 and 1")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which examples."""

    name: str = "mnist"
    """mnist, fashion-mnist, cifar10, digits or npz:PATH; classes after a colon: mnist:0-4, cifar10:airplane,ship."""
    root: str | None = None
    """Folder that holds the files of fashion-mnist or cifar10; without it they are downloaded."""
    train_size: int | None = None
    """Use only this many training images, evenly from all classes (for trials); all without it."""

    def __post_init__(self) -> None:
        require(bool(self.name), "data.name", repr(self.name), "name a data set, e.g. mnist")
        if self.train_size is not None:
            _at_least("data.train_size", self.train_size, 2)


@dataclass(frozen=True, kw_only=True)
class PathConfig:
    """The data path p(x, t) of a transfer, from the data set of `data` at t = 0 to `target` at t = 1."""

    target: str | None = None
    """Target data set, named as data.name is; jobs/isoc.py has none."""
    kind: Literal["mixture", "displacement"] = "mixture"
    """mixture: source with weight 1 - t, target with weight t (23); displacement: along an optimal transport (37)."""
    pairing: str = "none"
    """Outputs of the classifier: none (one per class name of both data sets), order, cost (least transport cost between
    classes), or a map of class names such as airplane:bird,ship:cat."""
    solver: Literal["sinkhorn", "exact"] = "sinkhorn"
    """How displacement couples source and target: entropic transport (the paper's), or the exact one for smaller sets."""
    cost: str = "squared-l2"
    """squared-l2 between pixels, or package.module:function of two arrays (n, features), (m, features) -> (n, m)."""
    regularization: float = 0.05
    """Entropic regularisation of solver sinkhorn, as a fraction of the mean cost."""
    components: int = 64
    """Principal components in which solver sinkhorn measures distance where the cost matrix would not fit into memory."""
    within_pairs: bool = False
    """Couple only examples of paired classes: their labels stay hard along a displacement. Soft labels between two outputs
    have an entropy of up to log 2, below which C cannot be held."""

    def __post_init__(self) -> None:
        if self.target is not None:
            require(bool(self.target), "path.target", repr(self.target), "name a data set, e.g. mnist:5-9")
        _positive("path.regularization", self.regularization)
        _at_least("path.components", self.components, 1)
        require(
            not (self.within_pairs and self.pairing == "none"),
            "path.within_pairs",
            self.within_pairs,
            "needs paired classes, give --path.pairing order, cost or a map",
        )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Encoder, decoder and classifier."""

    name: str = "mlp"
    """mlp, resnet, or package.module:Class of a model that meets the protocol in rayfe/model/protocol.py."""
    hidden: int = 256
    """Units of the hidden layer of encoder and decoder (mlp)."""
    width: int = 64
    """Channels of the first stage of resnet; 64 is ResNet-18."""
    latent: int = 16
    """Dimensions of the representation z."""
    classifier_hidden: int = 12
    """Hidden units of the classifier; 0: a single linear layer (the paper says both)."""
    dropout: float = 0.0
    """Share of hidden units that training drops in encoder and decoder (mlp)."""

    def __post_init__(self) -> None:
        _at_least("model.hidden", self.hidden, 1)
        _at_least("model.width", self.width, 1)
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "must be at least 0 and below 1")
        _at_least("model.latent", self.latent, 1)
        _at_least("model.classifier_hidden", self.classifier_hidden, 0)


@dataclass(frozen=True, kw_only=True)
class EquilibrationConfig:
    """How weights are brought to equilibrium at fixed (lam, gamma)."""

    first_epochs: float = 120.0
    """Epochs of the first equilibrium, from newly initialised weights."""
    first_schedule: Literal["step", "cosine", "linear"] = "step"
    """Decay of the first equilibrium's learning rate: /10 after every 5/12 of the epochs (sec. 5.1), cosine, linear to 0."""
    first_learning_rate: float = 1e-3
    """Initial learning rate of the first equilibrium."""
    epochs: float = 2.0
    """Epochs of one equilibration of the walk: T updates of the schedule u^2 (1-u)^5, u = update / T (sec. 5.1)."""
    gap: float | None = None
    """Tolerance of equilibrium, as a fraction of F: a step is trained in rounds of `epochs` until F at its multipliers
    falls by less than this in a round. None: one round, which does not tell."""
    rounds: int = 4
    """At most this many rounds."""
    learning_rate: float = 1.5e-3
    """Maximum of the walk's schedule."""
    batch: int = 256
    """Examples in a mini-batch."""
    head_draws: int = 8
    """Draws of z per example through the classifier."""
    decoder_draws: Literal[1, 2] = 1
    """Draws of z per example through the decoder; 2: an antithetic pair of one encoding."""
    second_moment_decay: float = 0.99
    """Adam's beta_2; the paper's Adam has 0.999."""
    carry_preconditioner: bool = True
    """Start each equilibration from the last one's second moments of Adam instead of from none."""

    def __post_init__(self) -> None:
        _positive("equilibration.first_epochs", self.first_epochs)
        _positive("equilibration.epochs", self.epochs)
        if self.gap is not None:
            _fraction("equilibration.gap", self.gap)
        _at_least("equilibration.rounds", self.rounds, 2)
        _positive("equilibration.learning_rate", self.learning_rate)
        _positive("equilibration.first_learning_rate", self.first_learning_rate)
        _at_least("equilibration.batch", self.batch, 2)
        _fraction("equilibration.second_moment_decay", self.second_moment_decay)
        _at_least("equilibration.head_draws", self.head_draws, 1)


@dataclass(frozen=True, kw_only=True)
class RenewalConfig:
    """Attempts to leave a branch of the surface that is no longer the lowest, at fixed lam.

    A representation that the start compressed into few dimensions of z does not take up new ones when lam grows, though
    its free energy would be lower with them: unused dimensions have almost no gradient.
    """

    every: float | None = None
    """Distance in log lam between attempts; none without it."""
    share: float = 0.6
    """Part of newly initialised weights that is blended into the model's."""
    epochs: float = 12.0
    """Epochs of its training by the schedule and rate of the first equilibrium."""

    def __post_init__(self) -> None:
        if self.every is not None:
            _positive("renewal.every", self.every, " (a distance in log lam)")
        _fraction("renewal.share", self.share)
        _positive("renewal.epochs", self.epochs)


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """How functionals are measured."""

    head_draws: int = 128
    """Draws of z per example through the classifier in antithetic pairs, half of them per independent set."""
    settle_size: int | None = None
    """Training images of each data set by which a settle searches between its readings of all; all without it."""
    slope_size: int | None = None
    """Training images of each data set over which F_t is read; all without it."""
    probe_size: int = 5000
    """Training images on which J is read during an equilibration."""
    chunk: int = 4000
    """Examples per forward pass; also the batch over which batch-norm statistics are pooled."""

    def __post_init__(self) -> None:
        require(
            self.head_draws >= 8 and self.head_draws % 4 == 0,
            "measure.head_draws",
            self.head_draws,
            "must be a multiple of 4, at least 8",
        )
        for name in ("settle_size", "slope_size"):
            if getattr(self, name) is not None:
                _at_least(f"measure.{name}", getattr(self, name), 2)
        _at_least("measure.probe_size", self.probe_size, 2)
        _at_least("measure.chunk", self.chunk, 2)


@dataclass(frozen=True, kw_only=True)
class StencilConfig:
    """Where the neighbours of a point lie (finite differences of sec. 3.1)."""

    gamma_delta: float = 0.1
    """Distance of the gamma neighbours, as a fraction of gamma."""
    lam_delta: float = 0.1
    """Distance of the lam neighbours of stencil paper, as a fraction of lam."""
    t_delta: float | None = None
    """Distance of neighbours in t, trained only as a check of D_t and C_t; none without it."""

    def __post_init__(self) -> None:
        _fraction("neighbours.gamma_delta", self.gamma_delta)
        _fraction("neighbours.lam_delta", self.lam_delta)
        if self.t_delta is not None:
            _fraction("neighbours.t_delta", self.t_delta)


@dataclass(frozen=True, kw_only=True)
class ImplicitConfig:
    """Exact derivatives: linear systems with the Hessian of J over the weights, on a fixed batch."""

    batch: int = 10000
    """Training images in the fixed batch, in two independent halves."""
    damping: float = 0.01
    """Added to the Hessian, nats per squared unit of the weights: directions flatter than this do not respond."""
    iterations: int = 40
    """Largest number of Hessian-vector products for each of three systems."""
    accuracy: float = 1e-3
    """Relative residual at which a solve ends."""

    def __post_init__(self) -> None:
        _at_least("implicit.batch", self.batch, 4)
        _positive("implicit.damping", self.damping)
        _at_least("implicit.iterations", self.iterations, 1)
        _fraction("implicit.accuracy", self.accuracy)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One run: the trajectories (product of lam, gamma and seed) and everything that defines their rows."""

    lam: tuple[float, ...] = (0.25,)
    """Starts: multipliers of the distortion D."""
    gamma: tuple[float, ...] = (4.0,)
    """Starts: multipliers of the classification loss C."""
    seed: tuple[int, ...] = (0,)
    """Seeds of initial weights, batches and noise."""
    steps: int = 60
    """At most this many accepted steps after the start."""
    out: str | None = None
    """Run directory, a local path or any fsspec URI; runs/PRESET without it."""
    backend: Literal["inline", "ray"] = "ray"
    """ray: Ray Tune trials and a pool of evaluator actors; inline: the same requests in this process, without Ray."""
    evaluators: int | None = None
    """Evaluator actors (backend ray) at most; without it as many as are of use, and as the cluster can hold at the time."""
    placement: Literal["shared", "isolated"] = "shared"
    """shared: all trajectories send their work to one pool of evaluators, which is never idle while there is work;
    isolated: each trajectory has evaluators of its own in a placement group (backend ray)."""
    gpus_per_evaluator: float = 1.0
    """Share of a GPU that an evaluator asks for where there are GPUs: 0.5 puts two of them on each."""
    autoscale: bool = False
    """Ask the cluster's autoscaler for machines for the evaluators, and wait for them (backend ray)."""
    train_workers: int = 0
    """Workers that share each mini-batch of first equilibria and baselines (Ray Train); 0: an evaluator trains them."""
    log_format: Literal["text", "json"] = "text"
    """text: a table or a line a step for people; json: one JSON object a line on stderr for each event, instead."""
    tensorboard: str | None = None
    """Folder for TensorBoard's files, one subfolder a trajectory (backend ray)."""
    mlflow: str | None = None
    """Tracking URI of an MLflow server, which gets a run a trajectory (backend ray; needs pip install mlflow)."""
    process: str = "iso-classification"
    """What is kept constant: iso-classification keeps C while lam goes to lam_end (31), iso-functional a R + b D + c C
    (Remark 8); transfers keep C while the data change, geodesic with D - D0 = k (R - R0) (30), constant-rate with the given
    lam_dot (38); package.module:Class is a process of your own (rayfe/surface/process.py)."""
    functional: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """a, b, c of iso-functional: 0 0 1 is C itself, 1 0 0 the rate, 1 0 2 is C + R/2 (Remark 8)."""
    direction: Literal["forward", "backward"] = "forward"
    """Which way iso-functional goes along its level set: forward raises lam where the functional is C."""
    seek: tuple[str, ...] = ()
    """Wanted values of two of R, D and C, such as C=0.1 R=12: instead of walking, go to the point that has them."""
    method: Literal["finetune", "scratch", "joint"] | None = None
    """Baseline in place of a process (jobs/baseline.py): train on the target from the source's model or from scratch, or
    on both data sets together."""
    method_epochs: float = 20.0
    """Epochs that a baseline trains, by the schedule of the first equilibrium."""
    lam_end: float = 3.5
    """Iso-classification ends when lam arrives here, from below or from above."""
    k: float | None = None
    """Slope dD/dR of the geodesic; without it, from a model of the target alone at the same C."""
    lam_dot: float = 0.0
    """Rate of lam per unit of t of process constant-rate."""
    step_length: float = 0.13
    """Largest step, in log lam (iso-classification) or in t (transfers)."""
    step_length_first: float | None = None
    """First step; the largest without it. Where the target has new classes F_t is steep at t = 0: start with 0.001."""
    step_length_min: float = 0.005
    """A walk whose steps would have to be smaller than this has failed."""
    step_growth: float = 1.3
    """Largest growth of the step length from one step to the next."""
    stencil: Literal["iso", "paper"] = "iso"
    """iso: gamma neighbours only (C_lam from D_gamma); paper: lam and gamma neighbours."""
    derivatives: Literal["stencil", "implicit"] = "stencil"
    """stencil: differences between neighbours that are trained, too; implicit: Lemma 5, with exact Hessian-vector products
    at the centre, which also say how far from equilibrium it is (columns decrement and C_lag)."""
    refresh: int = 5
    """Accepted steps between stencils; in between the tangent is carried. 1: a stencil at every step."""
    settle: bool = True
    """Move along the stencil's tangent to the measured C = C0 after each equilibration; without it C may drift."""
    predictor: bool = True
    """Start each step from weights extrapolated along the walk."""
    tolerance: float = 0.005
    """Largest |C / C0 - 1| of an accepted step, two standard errors included (only with settle)."""
    time_budget: float | None = None
    """Seconds after which a trajectory starts no further step."""
    threads: int = 2
    """Threads of one evaluator."""
    replicas_per_evaluator: int | Literal["all", "auto"] = "auto"
    """Neighbours trained together on one evaluator, 1 to all. auto: as the run began, which is 1 where there were two or
    more GPUs (neighbours side by side) and all elsewhere (stacked on one device). Rows differ by rounding."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models are trained; auto: the GPU if there is one."""
    keep_states: str = "all"
    """Weight files to keep: all, last, or a number."""
    data: DataConfig = field(default_factory=DataConfig)
    path: PathConfig = field(default_factory=PathConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    equilibration: EquilibrationConfig = field(default_factory=EquilibrationConfig)
    renewal: RenewalConfig = field(default_factory=RenewalConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    neighbours: StencilConfig = field(default_factory=StencilConfig)
    implicit: ImplicitConfig = field(default_factory=ImplicitConfig)

    def __post_init__(self) -> None:
        for name in ("lam", "gamma", "seed"):
            values = getattr(self, name)
            require(len(values) > 0, name, "(nothing)", f"give at least one value, e.g. --{name} {getattr(RunConfig, name)[0]}")
            require(len(set(values)) == len(values), name, " ".join(map(str, values)), "give each value once")
        for value in self.lam:
            _positive("lam", value)
            self._check_lam(value)
        for value in self.gamma:
            _positive("gamma", value)
        for value in self.seed:
            require(0 <= value < 2**63, "seed", value, "must be at least 0 and below 2^63")
        self._check_process()
        self._check_seek()
        _at_least("steps", self.steps, 1)
        _positive("lam_end", self.lam_end)
        _positive("method_epochs", self.method_epochs)
        self._check_steps()
        _at_least("refresh", self.refresh, 1)
        _fraction("tolerance", self.tolerance)
        if self.time_budget is not None:
            _positive("time_budget", self.time_budget, " of seconds")
        _at_least("threads", self.threads, 1)
        self._check_service()
        require(
            self.keep_states in ("all", "last") or (self.keep_states.isdecimal() and int(self.keep_states) >= 1),
            "keep_states",
            self.keep_states,
            "give all, last or a number of steps",
        )

    def _check_service(self) -> None:
        for name in ("evaluators", "replicas_per_evaluator"):
            if isinstance(getattr(self, name), int):
                _at_least(name, getattr(self, name), 1)
        share = self.gpus_per_evaluator
        require(0 < share <= 1, "gpus_per_evaluator", share, "must be positive and at most 1: an evaluator uses one GPU")
        workers, batch = self.train_workers, self.equilibration.batch
        _at_least("train_workers", workers, 0)
        require(
            not workers or batch % workers == 0,
            "train_workers",
            workers,
            f"must divide --equilibration.batch {batch}, which they share",
        )
        for name in ("train_workers", "tensorboard", "mlflow", "autoscale"):
            value = getattr(self, name)
            require(not value or self.backend == "ray", name, value, "needs --backend ray")
        shared = self.placement == "shared"
        require(shared or not workers, "train_workers", workers, "borrows from the shared pool, needs --placement shared")

    def _check_lam(self, lam: float) -> None:
        if self.moves_data:
            end = lam + (self.lam_dot if self.process == "constant-rate" else 0.0)
            require(end > 0, "lam_dot", self.lam_dot, f"lam would be {end:g} at t = 1, which must be positive")
            pole = 1.0 + (self.k or 0.0) * lam
            require(
                self.process != "geodesic" or abs(pole) >= 0.05,
                "k",
                self.k,
                f"1 + k lam is {pole:.3g} at lam {lam:g}, where the geodesic has its pole; give another k or lam",
            )
        elif self.method is None and not self.seek:
            require(lam != self.lam_end, "lam", lam, "is --lam-end already, give another of the two")

    @property
    def wanted(self) -> tuple[tuple[str, float], ...]:
        """The functionals of `seek` with their wanted values, in the order R, D, C."""
        pairs = [text.partition("=") for text in self.seek]
        return tuple(sorted(((name, float(value)) for name, _, value in pairs), key=lambda pair: "RDC".index(pair[0])))

    def _check_seek(self) -> None:
        if not self.seek:
            return
        fix = "give wanted values of two of R, D and C, e.g. --seek C=0.1 R=12"
        shown = " ".join(self.seek)
        for text in self.seek:
            name, _, value = text.partition("=")
            try:
                number = float(value)
            except ValueError:
                number = math.nan
            require(name in ("R", "D", "C"), "seek", text, fix)
            require(math.isfinite(number) and number > 0, "seek", text, f"{name} must be a positive number; {fix}")
        names = {text.partition("=")[0] for text in self.seek}
        require(len(self.seek) == len(names) == 2, "seek", shown, fix)
        require(
            self.process == "iso-classification" and self.method is None, "seek", shown, "goes without --process and --method"
        )
        require(self.settle, "seek", shown, "needs settles, leave --no-settle away")

    def _check_process(self) -> None:
        known = f"unknown process; give {', '.join(PROCESSES)}, or package.module:Class of your own"
        require(self.process in PROCESSES or ":" in self.process, "process", self.process, known)
        shown = " ".join(f"{value:g}" for value in self.functional)
        require(all(map(math.isfinite, self.functional)), "functional", shown, "give three finite numbers a b c")
        require(any(self.functional), "functional", shown, "is zero everywhere, give a b c of which one is not 0")

    def _check_steps(self) -> None:
        implicit = self.derivatives == "implicit"
        fixed = not self.moves_data and self.method is None
        require(not implicit or fixed, "derivatives", self.derivatives, "does not give derivatives in t, give stencil")
        for name in ("step_length", "step_length_min"):
            _positive(name, getattr(self, name), " (a length in log lam, or in t)")
        first = self.step_length_first
        if first is not None:
            _positive("step_length_first", first, " (a length in log lam, or in t)")
            require(first <= self.step_length, "step_length_first", first, "must not exceed --step-length")
        shortest = self.step_length if first is None else first
        fix = "must not exceed --step-length" + ("" if first is None else " and --step-length-first")
        require(self.step_length_min <= shortest, "step_length_min", self.step_length_min, fix)
        growth = self.step_growth
        require(math.isfinite(growth) and growth >= 1, "step_growth", growth, "must be at least 1")
        require(not self.moves_data or self.step_length <= 1, "step_length", self.step_length, "must be at most 1 in t")
        require(
            self.process not in ("geodesic", "iso-functional") or self.stencil == "paper" or self.derivatives == "implicit",
            "stencil",
            self.stencil,
            f"{self.process} needs lam neighbours, give --stencil paper",
        )

    @property
    def per_part(self) -> int | None:
        """Replicas that are trained together; None: all."""
        return self.replicas_per_evaluator if isinstance(self.replicas_per_evaluator, int) else None

    @property
    def moves_data(self) -> bool:
        """Whether the data change along the way: a transfer process."""
        return self.method is None and self.process in TRANSFERS

    def trajectories(self) -> dict[str, Start]:
        """Starts by trajectory name, e.g. `lam0.25-gamma4-seed0`."""
        starts = [Start(lam=lam, gamma=gamma, seed=seed) for lam in self.lam for gamma in self.gamma for seed in self.seed]
        return {start.name: start for start in starts}


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Where one trajectory begins."""

    lam: float
    gamma: float
    seed: int

    @property
    def name(self) -> str:
        return f"lam{self.lam:.15g}-gamma{self.gamma:.15g}-seed{self.seed}"


FREE = frozenset(
    {
        *("lam", "gamma", "seed", "steps", "out", "backend", "evaluators", "time_budget", "keep_states"),
        *("placement", "gpus_per_evaluator", "autoscale", "train_workers", "log_format", "tensorboard", "mlflow"),
    }
)
"""Fields that may change when a run is continued: they alter rows that are yet to come by rounding at most."""


def flat(config: object, prefix: str = "") -> dict[str, Any]:
    """Fields of a nested config by dotted name."""
    fields: dict[str, Any] = {}
    for item in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, item.name)
        if dataclasses.is_dataclass(value):
            fields |= flat(value, f"{prefix}{item.name}.")
        else:
            fields[prefix + item.name] = value
    return fields


def from_flat(fields: Mapping[str, Any]) -> RunConfig:
    """The configuration whose `flat` fields these are; what is missing has its default, lists become tuples.

    Raises:
        ValueError, TypeError: the fields are not those of a configuration.
    """

    def build(cls: Any, prefix: str) -> Any:
        values = {}
        for item in dataclasses.fields(cls):
            name = prefix + item.name
            if isinstance(item.default_factory, type) and dataclasses.is_dataclass(item.default_factory):
                values[item.name] = build(item.default_factory, f"{name}.")
            elif name in fields:
                value = fields[name]
                values[item.name] = tuple(value) if isinstance(value, list) else value
        return cls(**values)

    return build(RunConfig, "")


def identity(config: RunConfig) -> dict[str, Any]:
    """The fields that define a trajectory's rows, by dotted name."""
    return {name: value for name, value in flat(config).items() if name not in FREE and name != "data.root"}


def digest(config: RunConfig) -> str:
    """SHA-256 of `identity`, to tell two configurations apart."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()
