"""The configuration of a run: fields are command-line options (`--help` explains each)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from rayfe.config.checks import at_least, fraction, positive, require
from rayfe.config.parts import (
    DataConfig,
    EquilibrationConfig,
    ImplicitConfig,
    MeasureConfig,
    ModelConfig,
    PathConfig,
    RenewalConfig,
    StencilConfig,
)
from rayfe.records import Split

TRANSFERS = ("geodesic", "constant-rate")
"""Processes that move the data."""
PROCESSES = ("iso-classification", "iso-functional", *TRANSFERS)
THREADING = MappingProxyType({"OMP_WAIT_POLICY": "PASSIVE"})
"""Environment of processes that train, before torch is imported: threads that wait must sleep.

Spinning ones made a convolutional update 12 times as slow where another process wanted the same cores.
"""


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
    seek: tuple[str, ...] | None = None
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
    hold: Literal["training", "control"] = "training"
    """Whose C is held: that of the training images, or that of control images which are set apart from training and on which C is
    not over-fitted (--data.control-share of the training images; validation images are never used)."""
    settle: bool = True
    """Move along the stencil's tangent to the measured C = C0 after each equilibration; without it C may drift."""
    predictor: bool = True
    """Start each step from weights extrapolated along the walk."""
    restart: float | None = None
    """Start a step from the trajectory's earlier model whose F at the step's multipliers is lowest, where that is lower than the
    last model's by more than this part (the envelope's certificate); None: always from the last. Needs --keep-states all."""
    order: Literal[1, 2] = 1
    """Order of the prediction of the multipliers without settles: 1, the paper's Euler steps; 2, with the response of the step
    before as well. A settled walk predicts to second order anyway, by what its last settle added."""
    tolerance: float = 0.005
    """Largest |C / C0 - 1| of an accepted step, two standard errors included (only with settle)."""
    tolerance_floor: float = 1e-5
    """The same in nats for a small C0: |C - C0| may be this large whatever C0 is."""
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
            positive("lam", value)
            self._check_lam(value)
        for value in self.gamma:
            positive("gamma", value)
        for value in self.seed:
            require(0 <= value < 2**63, "seed", value, "must be at least 0 and below 2^63")
        self._check_process()
        self._check_seek()
        at_least("steps", self.steps, 1)
        positive("lam_end", self.lam_end)
        positive("method_epochs", self.method_epochs)
        self._check_steps()
        at_least("refresh", self.refresh, 1)
        self._check_hold()
        fraction("tolerance", self.tolerance)
        floor = self.tolerance_floor
        require(math.isfinite(floor) and floor >= 0, "tolerance_floor", floor, "must be at least 0 (nats)")
        if self.time_budget is not None:
            positive("time_budget", self.time_budget, " of seconds")
        at_least("threads", self.threads, 1)
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
                at_least(name, getattr(self, name), 1)
        share = self.gpus_per_evaluator
        require(0 < share <= 1, "gpus_per_evaluator", share, "must be positive and at most 1: an evaluator uses one GPU")
        workers, batch = self.train_workers, self.equilibration.batch
        at_least("train_workers", workers, 0)
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
        pairs = [text.partition("=") for text in self.seek or ()]
        return tuple(sorted(((name, float(value)) for name, _, value in pairs), key=lambda pair: "RDC".index(pair[0])))

    def _check_seek(self) -> None:
        if self.seek is None:
            return
        fix = "give wanted values of two of R, D and C, e.g. --seek C=0.1 R=12"
        shown = " ".join(self.seek) or "(nothing)"
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

    def _check_hold(self) -> None:
        for possible, fix in (
            (self.process in ("iso-classification", "constant-rate"), "needs a process that holds C alone, iso-classification"),
            (self.method is None and not self.seek, "goes without --method and --seek"),
            (self.settle, "needs settles, leave --no-settle away"),
            (self.derivatives == "stencil", "has no exact derivatives, give --derivatives stencil"),
            (self.path.target is None or self.path.kind == "mixture", "needs --path.kind mixture: couplings are of all images"),
        ):
            require(self.hold == "training" or possible, "hold", self.hold, fix)

    @property
    def held_on(self) -> Split:
        """The split whose C steers a walk: settles, the judging of steps and C_gamma are of it."""
        return Split.CONTROL if self.hold == "control" else Split.TRAIN

    @property
    def steering(self) -> tuple[Split, ...]:
        """Splits to read for steering."""
        return tuple(dict.fromkeys((Split.TRAIN, self.held_on)))

    def _check_steps(self) -> None:
        implicit = self.derivatives == "implicit"
        fixed = not self.moves_data and self.method is None
        require(not implicit or fixed, "derivatives", self.derivatives, "does not give derivatives in t, give stencil")
        for name in ("step_length", "step_length_min"):
            positive(name, getattr(self, name), " (a length in log lam, or in t)")
        first = self.step_length_first
        if first is not None:
            positive("step_length_first", first, " (a length in log lam, or in t)")
            require(first <= self.step_length, "step_length_first", first, "must not exceed --step-length")
        shortest = self.step_length if first is None else first
        fix = "must not exceed --step-length" + ("" if first is None else " and --step-length-first")
        require(self.step_length_min <= shortest, "step_length_min", self.step_length_min, fix)
        unsettled = not self.settle and self.refresh == 1
        require(self.order == 1 or unsettled, "order", self.order, "is for walks without settles, give --no-settle --refresh 1")
        if self.restart is not None:
            fraction("restart", self.restart)
            fixed = not self.moves_data and self.method is None and not self.seek
            require(fixed and self.keep_states == "all", "restart", self.restart, "is for walks that keep all models")
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
