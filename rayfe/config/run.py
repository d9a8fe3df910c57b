"""The configuration of a run: fields are command-line options (`--help` explains each)."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from rayfe.config.sections import (
    TRANSFERS,
    DataConfig,
    EquilibrationConfig,
    ImplicitConfig,
    MeasureConfig,
    ModelConfig,
    PathConfig,
    RenewalConfig,
    StencilConfig,
)
from rayfe.config.validation import check
from rayfe.records import Split

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
    steps: int = 100
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
    (Remark 8), fixed-gamma nothing while lam goes to lam_end, and its gamma may be 0; transfers keep C while the data
    change, geodesic with D - D0 = k (R - R0) (30), constant-rate with the given lam_dot (38); package.module:Class is a
    process of your own (rayfe/surface/process.py)."""
    functional: tuple[float, float, float] = (0.0, 0.0, 1.0)
    """a, b, c of iso-functional: 0 0 1 is C itself, 1 0 0 the rate, 1 0 2 is C + R/2 (Remark 8)."""
    seek: tuple[str, ...] | None = None
    """Wanted values of two of R, D and C, such as C=0.1 R=12: instead of walking, go to the point that has them."""
    method: Literal["finetune", "scratch", "joint"] | None = None
    """Baseline in place of a process (jobs/baseline.py): train on the target from the source's model or from scratch, or
    on both data sets together."""
    method_epochs: float = 20.0
    """Epochs that a baseline trains, in 15 rows, by the schedule of the first equilibrium (`equilibration.epochs`: what an epoch
    is)."""
    lam_end: float = 3.5
    """Iso-classification ends when lam arrives here, from below or from above."""
    both_ways: bool = False
    """Whether iso-classification turns round at lam_end and goes back over the same lam, to where the way there has lower F twice
    in succession, or to the start's, and from there up again as long as that is lower still: of all models at one lam the lowest
    one counts. Near lam_end there is only the way there: go three steps further than you need, six after a
    leap. A run that arrived may be sent back."""
    k: float | None = None
    """Slope dD/dR of the geodesic; without it, from a model of the target alone at the same C."""
    lam_dot: float = 0.0
    """Rate of lam per unit of t of process constant-rate."""
    step_length: float = 0.13
    """Largest step, in log lam (iso-classification) or in t (transfers)."""
    step_length_first: float | None = None
    """First step; the largest without it. Where the target has new classes F_t is steep at t = 0: start with 0.001."""
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
    tolerance: float = 0.005
    """Largest |C / C0 - 1| of an accepted step, four standard errors of the draws of z included. The draws are repeated until eight of
    them fit, 64 times at most; a tolerance that is too small for that ends the walk at its start. Only with settle.
    A step of process geodesic may be off its line by a twentieth of the line's length; with --k, whose line has no known length, by
    tolerance of D0."""
    tolerance_floor: float = 1e-5
    """The same in nats for a small C0: |C - C0| may be this large whatever C0 is."""
    certificate_share: float = 0.1
    """Part of the examples of a trajectory that may be spent at its end, besides them, on training its last model on: that says how
    far it is from equilibrium (certificates/). 0: it is not trained on. Baselines have no certificates."""
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
        check(self)

    @property
    def wanted(self) -> tuple[tuple[str, float], ...]:
        """The functionals of `seek` with their wanted values, in the order R, D, C."""
        pairs = [text.partition("=") for text in self.seek or ()]
        return tuple(sorted(((name, float(value)) for name, _, value in pairs), key=lambda pair: "RDC".index(pair[0])))

    @property
    def held_on(self) -> Split:
        """The split whose C steers a walk: settles, the judging of steps and C_gamma are of it."""
        return Split.CONTROL if self.hold == "control" else Split.TRAIN

    @property
    def steering(self) -> tuple[Split, ...]:
        """Splits to read for steering."""
        return tuple(dict.fromkeys((Split.TRAIN, self.held_on)))

    @property
    def splits(self) -> tuple[Split, ...]:
        """All splits that a run reads."""
        return (*self.steering, Split.VALIDATION)

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
