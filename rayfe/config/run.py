"""The configuration of a run: what is asked for, how models are trained and read, and where it works."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, Generic

from typing_extensions import TypeVar

from rayfe.config.asked import Asked, Conditioned, Transfer, Walk
from rayfe.config.checks import NOT_NEGATIVE, POSITIVE, Checked, at_least, require
from rayfe.config.sections import (
    DataConfig,
    EquilibrationConfig,
    MeasureConfig,
    ModelConfig,
    PathConfig,
    StencilConfig,
)
from rayfe.config.service import Service
from rayfe.config.start import StoredStep, is_state_dict, stored_step
from rayfe.records import Box, Point, Split

THREADING = MappingProxyType({name: os.environ[name] for name in ("OMP_WAIT_POLICY", "CUBLAS_WORKSPACE_CONFIG")})
"""Environment of processes elsewhere that train, before torch is imported: what `import rayfe` has chosen for this one."""
MOST_TRAJECTORIES = 100_000
"""Of a run: the product of what lam, gamma and seed are given."""
EXAMPLES = MappingProxyType({"lam": 0.25, "gamma": 4.0, "seed": 0})
"""A value of each field that takes several, to show how it is given."""

Kind = TypeVar("Kind", bound=Asked, covariant=True, default=Any)


@dataclass(frozen=True, kw_only=True)
class RunConfig(Checked, Generic[Kind]):
    """One run: the trajectories (product of lam, gamma and seed) and everything that defines their rows.

    `RunConfig[Walk]` is one that asks for a walk. `rayfe.config.configure` makes configurations from fields by name.
    """

    lam: Annotated[tuple[float, ...], POSITIVE] = (0.25,)
    """Starts: multipliers of the distortion D."""
    gamma: tuple[float, ...] = (4.0,)
    """Starts: multipliers of the loss C of the task."""
    seed: Annotated[tuple[int, ...], at_least(0, 2**63 - 1)] = (0,)
    """Seeds of initial weights, batches and noise."""
    sigma: Annotated[float, NOT_NEGATIVE] = 0.0
    """Multiplier of S: what random weights (``model.posterior``) know of the data, nats of all of them together. R, D and C are means
    over N training examples, so useful values are near 1 / N, such as 1e-5 for MNIST. Positive with random weights, 0 without."""
    steps: Annotated[int, at_least(0)] = 100
    """At most this many accepted steps after the start; 0 stores it alone. A run goes on where more of them are asked for."""
    start: str | None = None
    """Start from a stored model instead of new weights: RUN@STEP, or RUN@TRAJECTORY:STEP of a run with several trajectories. Its lam and
    gamma are the start's, and it is not trained again; everything else may differ from its run. In Python also a state dict, which
    takes the place of newly initialised weights (`equilibration.first_epochs=0` reads it as it is)."""
    out: str | None = None
    """Folder of the run, or a URI such as s3://bucket/run (runs/PRESET). Without it a submitted Ray job has ~/rayfe-runs/PRESET."""
    asked: Kind = field(default_factory=Walk)  # type: ignore[assignment]
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    equilibration: EquilibrationConfig = field(default_factory=EquilibrationConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    neighbours: StencilConfig = field(default_factory=StencilConfig)
    service: Service = field(default_factory=Service)

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        for name in ("lam", "gamma", "seed"):
            values = getattr(self, name)
            given = len(values) > 0 or (name != "seed" and self.forked is not None)  # else they are those of the stored step
            require(given, name, values, f"give at least one value, e.g. ``{name}={EXAMPLES[name]}``")
            require(len(set(values)) == len(values), name, values, "give each value once")
        count = len(self.lam) * len(self.gamma) * len(self.seed)
        fix = f"trajectories are too many, with all of ``gamma`` and ``seed``; give at most {MOST_TRAJECTORIES}"
        require(count <= MOST_TRAJECTORIES, "lam", count, fix)
        self._check_start_model()
        self._check_posterior()
        for lam in self.lam:
            for gamma in self.gamma:
                self.asked.check_start(lam, gamma)
        workers, batch = self.service.train_workers, self.equilibration.batch_of(annealed=True)
        name = "batch" if self.equilibration.first_batch is None else "first_batch"
        divides = not workers or batch % workers == 0
        require(divides, "train_workers", workers, f"must divide ``equilibration.{name}={batch}``, which they share")
        if isinstance(self.asked, Conditioned):
            pairs = len(self.lam) * len(self.gamma)
            fix = f"there are {pairs} models, one for each lam and gamma; give {pairs - 1}, or 0 for the first alone"
            require(self.steps == 0 or self.steps >= pairs - 1, "steps", self.steps, fix)
            fix = "is not for conditioned models, which one evaluator trains; leave it away"
            require(not workers, "train_workers", workers, fix)
            fix = "is not for conditioned models; give ``trajectories_per_evaluator=1``, or leave it away"
            require(self.service.slots == 1, "trajectories_per_evaluator", self.service.slots, fix)
            way = self.equilibration.compile
            fix = "is not for conditioned models; give ``equilibration.compile=onednn`` or ``never``"
            require(not self.equilibration.compiled, "equilibration.compile", way, fix)

    def _check_start_model(self) -> None:
        new = self.method == "scratch" or isinstance(self.asked, Conditioned)
        who = "method scratch, which trains" if self.method else "conditioned models, which begin with"
        fix = f"is not for {who} new weights; leave it away"
        require(self.start is None or not new, "start", self.start, fix)
        epochs = self.equilibration.first_epochs
        line = self.process == "geodesic" and self.asked.k is None
        fix = "finds the line by a model of the target that is trained so long; give more, or the slope ``k``"
        require(epochs > 0 or not line, "equilibration.first_epochs", epochs, f"process geodesic {fix}")
        given = self.start is not None and not new
        fix = "new weights need a training; give more, or a model to begin with (``start``)"
        require(epochs > 0 or given, "equilibration.first_epochs", epochs, fix)

    def _check_posterior(self) -> None:
        random = self.model.posterior != "none"
        fix = "must be positive where weights are random (``model.posterior``), such as 1e-5"
        require(self.sigma > 0 or not random, "sigma", self.sigma, fix)
        fix = "has no effect with ``model.posterior=none``; leave it away, or say whose weights are random"
        require(self.sigma == 0 or random, "sigma", self.sigma, fix)
        self.asked.check_sigma(self.sigma)
        name = self.model.posterior
        fix = "is not for conditioned models, whose weights depend on the point; leave it away"
        require(not (random and isinstance(self.asked, Conditioned)), "model.posterior", name, fix)
        fix = "sees no curvature in random weights' own draws; give ``derivatives=stencil``"
        require(not (random and self.asked.derivatives == "implicit"), "derivatives", self.asked.derivatives, fix)

    @property
    def forked(self) -> StoredStep | None:
        """The stored step of another run that this one starts from, as `start` names it; None: it starts from other weights.

        Raises:
            UsageError: `start` names none.
        """
        return None if self.start is None or is_state_dict(self.start) else stored_step(self.start)

    @property
    def start_epochs(self) -> float:
        """Epochs of the start's own training: 0 of a stored step, which is read as it is."""
        return 0.0 if self.forked is not None else self.equilibration.first_epochs

    @property
    def process(self) -> str:
        """What is kept, by name; `baseline` of a baseline."""
        return self.asked.process

    @property
    def method(self) -> str | None:
        """Of a baseline."""
        return self.asked.method

    @property
    def path(self) -> PathConfig:
        """The data path; without a target where the data stay."""
        return self.asked.path

    @property
    def box(self) -> Box | None:
        """Of a conditioned model: the box over which it is trained, that of all its lam and gamma."""
        return self.asked.box(self.lam, self.gamma)

    @property
    def moves_data(self) -> bool:
        """Whether the data change along the way: a transfer process."""
        return isinstance(self.asked, Transfer)

    @property
    def held_on(self) -> Split:
        """The split whose C steers a walk: settles, the judging of steps and C_gamma are of it."""
        return Split.CONTROL if self.asked.hold == "control" else Split.TRAIN

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
        replicas = self.service.replicas_per_evaluator
        return replicas if isinstance(replicas, int) else None

    def trajectories(self) -> dict[str, Start]:
        """Starts by trajectory name, e.g. `lam0.25-gamma4-seed0`."""
        digits = 15 if self.forked is None else 6  # one lam and one gamma, which nobody typed
        return {
            start.name: start
            for start in (
                Start(lam=lam, gamma=gamma, seed=seed, digits=digits, sigma=self.sigma)
                for lam, gamma in self.asked.starts(self.lam, self.gamma)
                for seed in self.seed
            )
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Where one trajectory begins."""

    lam: float
    gamma: float
    seed: int
    digits: int = 15
    """Of lam and gamma in its name."""
    sigma: float = 0.0

    @property
    def point(self) -> Point:
        """Its multipliers, at t = 0."""
        return Point(lam=self.lam, gamma=self.gamma, sigma=self.sigma)

    @property
    def name(self) -> str:
        return f"lam{self.lam:.{self.digits}g}-gamma{self.gamma:.{self.digits}g}-seed{self.seed}"
