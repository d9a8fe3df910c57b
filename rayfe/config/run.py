"""The configuration of a run: what is asked for, how models are trained and read, and where it works."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic

from typing_extensions import TypeVar

from rayfe.config.asked import Asked, Transfer, Walk
from rayfe.config.checks import at_least, positive, require
from rayfe.config.sections import (
    DataConfig,
    EquilibrationConfig,
    MeasureConfig,
    ModelConfig,
    PathConfig,
    StencilConfig,
)
from rayfe.config.service import Service
from rayfe.records import Split

THREADING = MappingProxyType({"OMP_WAIT_POLICY": "PASSIVE"})
"""Environment of processes that train, before torch is imported: threads that wait must sleep.

Spinning ones made a convolutional update 12 times as slow where another process wanted the same cores.
"""
MOST_TRAJECTORIES = 100_000
"""Of a run: the product of what lam, gamma and seed are given."""
EXAMPLES = MappingProxyType({"lam": 0.25, "gamma": 4.0, "seed": 0})
"""A value of each field that takes several, to show how it is given."""

Kind = TypeVar("Kind", bound=Asked, covariant=True, default=Any)


@dataclass(frozen=True, kw_only=True)
class RunConfig(Generic[Kind]):
    """One run: the trajectories (product of lam, gamma and seed) and everything that defines their rows.

    `RunConfig[Walk]` is one that asks for a walk. `rayfe.config.configure` makes configurations from fields by name.
    """

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
    asked: Kind = field(default_factory=Walk)  # type: ignore[assignment]
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    equilibration: EquilibrationConfig = field(default_factory=EquilibrationConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    neighbours: StencilConfig = field(default_factory=StencilConfig)
    service: Service = field(default_factory=Service)

    def __post_init__(self) -> None:
        for name in ("lam", "gamma", "seed"):
            values = getattr(self, name)
            require(len(values) > 0, name, values, f"give at least one value, e.g. ``{name}={EXAMPLES[name]}``")
            require(len(set(values)) == len(values), name, values, "give each value once")
        count = len(self.lam) * len(self.gamma) * len(self.seed)
        fix = f"trajectories are too many, with all of ``gamma`` and ``seed``; give at most {MOST_TRAJECTORIES}"
        require(count <= MOST_TRAJECTORIES, "lam", count, fix)
        for seed in self.seed:
            require(0 <= seed < 2**63, "seed", seed, "must be at least 0 and below 2^63")
        at_least("steps", self.steps, 1)
        for lam in self.lam:
            positive("lam", lam)
            for gamma in self.gamma:
                self.asked.check_start(lam, gamma)
        workers, batch = self.service.train_workers, self.equilibration.batch_of(annealed=True)
        name = "batch" if self.equilibration.first_batch is None else "first_batch"
        divides = not workers or batch % workers == 0
        require(divides, "train_workers", workers, f"must divide ``equilibration.{name}={batch}``, which they share")

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
