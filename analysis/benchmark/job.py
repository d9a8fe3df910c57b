"""The benchmark as a job: the common start, the search, every method at every budget, the table and the figure."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from analysis.benchmark import running
from analysis.benchmark.settings import METHODS, Settings, defaults
from rayfe.config import THREADING, DataConfig, EquilibrationConfig, MeasureConfig, RenewalConfig, RunConfig, configure, require
from rayfe.config.places import location_of
from rayfe.config.presets import mnist_walk
from rayfe.data.paths import PathData
from rayfe.exceptions import CorruptFile, UsageError, in_shell_words
from rayfe.records import StepRecord
from rayfe.storage.files import Files
from rayfe.storage.manifest import manifest_of

SHORT = ("rayfe-plain", "paper", "grid", "warm-grid", "heuristic", "nupi", "nupi-soap", "augmented", "geco")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What to compare, and how much of it."""

    form: Literal["short", "long"] = "short"
    """short: 6,000 images of MNIST to lam = 0.7, minutes; long: all of MNIST, 20 points to lam = 3.5, hours."""
    out: Path | None = None
    """Folder of all runs; runs/benchmark-FORM without it."""
    method: tuple[str, ...] = ()
    """Methods to run; all of the form without it."""
    budget: tuple[float, ...] = (1.0,)
    """Factors of the epochs, of each method; several make a frontier."""
    limit: float = 10.0
    """A method stops when it has used so many times the examples of rayfe at the first budget."""
    gamma: float | None = None
    """gamma of the common start; that of the form without it."""
    seed: int = 0
    """Seed of the common start and of everything after it."""
    points: int | None = None
    """Points after the start; those of the form without it."""
    lam_end: float | None = None
    """Where the curve ends; that of the form without it."""
    train_size: int | None = None
    """Training images; those of the form without it."""
    first_epochs: float | None = None
    """Epochs of the start, and of models from scratch; those of the form without it."""
    threads: int = 2
    """Threads of torch."""
    search: tuple[str, ...] = ()
    """Methods whose settings are searched first, on five points from the same start; kept in OUT/settings.json."""
    polish: tuple[Path, ...] = ()
    """CSV files with columns R, D, C: models that also count for the lowest known F."""

    def check(self) -> None:
        """Raise UsageError for what cannot be run."""
        for name in ("method", "search"):
            for value in getattr(self, name):
                require(value in METHODS, name, value, f"known are {', '.join(METHODS)}")
        for budget in self.budget:
            require(budget > 0, "budget", budget, "must be a positive number")
        require(self.limit >= 1, "limit", self.limit, "must be at least 1")
        cooper = importlib.util.find_spec("cooper") is not None
        require(cooper, "method", " ".join(self.methods), "needs Cooper: pip install cooper-optim")
        if self.points is not None:
            require(self.points >= 2, "points", self.points, "must be at least 2")
        Files(self.folder).check_writable()

    @property
    def folder(self) -> Path:
        return Path(location_of(str(self.out or f"runs/benchmark-{self.form}")))

    @property
    def methods(self) -> tuple[str, ...]:
        return self.method or (SHORT if self.form == "short" else tuple(METHODS))


def base_config(options: Options) -> RunConfig:
    """The walk of rayfe from which every method's configuration is derived."""
    base = {"short": short_form, "long": long_form}[options.form]()
    points = options.points or {"short": 4, "long": 20}[options.form]
    lam_end = options.lam_end or base.asked.lam_end
    data = dataclasses.replace(base.data, train_size=options.train_size or base.data.train_size)
    first = options.first_epochs or base.equilibration.first_epochs
    equilibration = dataclasses.replace(base.equilibration, first_epochs=first)
    return configure(
        base,
        gamma=base.gamma if options.gamma is None else (options.gamma,),
        seed=(options.seed,),
        lam_end=lam_end,
        step_length=running.step_length(base.lam[0], lam_end, points),
        data=data,
        equilibration=equilibration,
        threads=options.threads,
    )


ADAM = EquilibrationConfig(batch=512, learning_rate=4e-3)
"""What the alternatives train with on all of MNIST, by the paper's schedule."""
SHORT_ADAM = EquilibrationConfig(batch=256, learning_rate=6e-3)
"""The same on a tenth of the images."""


def long_form() -> RunConfig:
    """One start of the preset mnist-walk, on all images, with fewer epochs a point and in steps: budgets multiply epochs, but not
    those of renewals."""
    base = configure(mnist_walk(), gamma=(4.0,), lam_end=3.5, renewal=RenewalConfig(every=0.6))
    equilibration = dataclasses.replace(base.equilibration, first_epochs=40.0, epochs=2.0)
    measure = dataclasses.replace(base.measure, head_draws=64)
    return configure(base, equilibration=equilibration, measure=measure, steps=200)


def short_form() -> RunConfig:
    """The same on a tenth of the images, not as far."""
    return configure(
        lam_end=0.7,
        data=DataConfig(train_size=6_000),
        measure=MeasureConfig(head_draws=128),
        renewal=RenewalConfig(every=0.6),
        equilibration=EquilibrationConfig(
            first_epochs=40,
            first_schedule="linear",
            first_learning_rate=1e-2,
            epochs=8,
            schedule="average",
            learning_rate=8e-3,
            optimizer="soap",
            batch=256,
        ),
    )


def main(argv: Sequence[str]) -> int:
    """Exit code: 0 done, 1 a method failed, 2 bad input, 130 Ctrl-C; the same command goes on where it stopped."""
    for name, value in THREADING.items():
        os.environ.setdefault(name, value)
    try:
        options = tyro.cli(Options, args=list(argv), prog="jobs/benchmark.py", description=__doc__)
        options.check()
        return _run(options, argv)
    except UsageError as error:
        print(in_shell_words(error), file=sys.stderr)
        return 2
    except (OSError, CorruptFile) as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130


def _run(options: Options, argv: Sequence[str]) -> int:
    from analysis.benchmark.backend import BenchmarkBackend  # imports torch: not for --help
    from analysis.benchmark.report import report
    from rayfe.data.datasets import load

    base, folder = base_config(options), options.folder
    data = load(base.data)

    def manifest(config: RunConfig) -> dict[str, Any]:
        return manifest_of("benchmark", options.form, list(argv), config, PathData(kind="still", source=data))

    bench = running.Bench(make=lambda config: BenchmarkBackend(config, data), manifest=manifest)
    begin = running.common_start(base, str(folder / "start"), bench, _tell_row("start"))
    settings = _settings(options, base, begin, folder, bench)
    failed: list[str] = []
    limit: float | None = None
    for budget in options.budget:
        for method in sorted(options.methods, key=lambda name: name != "rayfe"):  # rayfe's examples set the limit
            name = f"{method}-x{budget:g}"
            allowed = None if method == "rayfe" else limit
            arguments = (base, settings[method], begin, str(folder / name), bench)
            try:
                used = running.run_method(*arguments, budget=budget, limit=allowed, on_row=_tell_row(name))
            except running.WalkFailed as error:
                failed.append(name)
                print(f"{name}: {error}", flush=True)
                continue
            if method == "rayfe" and limit is None:
                limit = options.limit * used
    print(report(folder, polish=options.polish), flush=True)
    return 1 if failed else 0


def _settings(
    options: Options, base: RunConfig, begin: running.CommonStart, folder: Path, bench: running.Bench
) -> dict[str, Settings]:
    """Defaults, over which those of earlier searches and of this one go."""
    from analysis.benchmark.search import restored, search

    path = folder / "settings.json"
    known = {name: restored(value) for name, value in json.loads(path.read_text()).items()} if path.exists() else {}
    settings = defaults(base, SHORT_ADAM if options.form == "short" else ADAM) | known
    for method in options.search:
        if method not in known:
            known[method] = search(base, settings[method], begin, folder / "search", bench, _tell)
            path.write_text(json.dumps({name: running.plain(value) for name, value in known.items()}, indent=1) + "\n")
    return settings | known


def _tell(text: str) -> None:
    print(text, flush=True)


def _tell_row(name: str) -> running.OnRow:
    def tell(row: StepRecord) -> None:
        if row.C is None or row.D is None or row.R is None:
            return _tell(f"{name}: step {row.step} {row.reason}")
        drift = 100 * (row.C / row.C_target - 1) if row.C_target else 0.0
        _tell(
            f"{name}: step {row.step}{'' if row.accepted else f' ({row.reason})'} lam {row.lam:.3g} gamma {row.gamma:.3g} "
            f"R {row.R:.2f} D {row.D:.2f} C {row.C:.4f} ({drift:+.2f} %) {row.examples / 1e6:.2f} M {row.seconds:.0f} s"
        )

    return tell
