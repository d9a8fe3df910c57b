"""The benchmark as a job: the common start, the search, every method at every budget, the table and the figure."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from analysis.benchmark import running
from analysis.benchmark.forms import FORMS, FormName
from analysis.benchmark.registry import METHODS
from analysis.benchmark.settings import Settings, defaults
from rayfe.cli.commands.parser import Parser, Refused
from rayfe.config import RunConfig, require
from rayfe.config.checks import POSITIVE, Checked, at_least
from rayfe.config.places import place_of
from rayfe.data.paths import PathData
from rayfe.exceptions import UNSAID, CorruptFile, UsageError, in_shell_words, one_line, visible
from rayfe.records import StepRecord
from rayfe.storage.files import Files
from rayfe.storage.manifest import manifest_of
from rayfe.storage.store import load_rows


@dataclass(frozen=True, kw_only=True)
class Options(Checked):
    """What to compare, and how much of it."""

    form: FormName = "short"
    """short: 6,000 images of MNIST to lam = 0.7, minutes. long: all of MNIST, 20 points to lam = 3.5, hours. gamma15: the same from
    gamma = 15, not 4. fashion: the same on Fashion-MNIST. resnet: 5,000 images of CIFAR-10 by a narrow ResNet, 4 points from lam = 0.5
    to 1.25."""
    data: str | None = None
    """Other data than the form's own, of images that its model takes, e.g. npz:FILE."""
    out: str | None = None
    """Folder of all runs; runs/benchmark-FORM without it."""
    method: tuple[str, ...] = ()
    """Methods to run; all of the form without it."""
    budget: Annotated[tuple[float, ...], POSITIVE] = (1.0,)
    """Factors of the epochs, of each method; several make a frontier."""
    examples: Annotated[tuple[float, ...], POSITIVE] = ()
    """Examples in all, the start included, at which each method is run as well: its budgets follow from its run at the first budget."""
    seed: Annotated[tuple[int, ...], at_least(0, 2**63 - 1)] = ()
    """Seeds of common starts and of everything after them; those of the form without it. Several have a folder OUT/seedN each."""
    threads: Annotated[int, at_least(1, 1024)] = 2
    """Threads of torch."""
    search: tuple[str, ...] = ()
    """Methods whose settings are searched first, on five points from the first start; kept in OUT/settings.json, and every candidate with
    its score in OUT/search."""
    polish: tuple[str, ...] = ()
    """CSV files with columns R, D, C: models that also count for the lowest known F."""

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        for name in ("method", "search"):
            for value in getattr(self, name):
                require(value in METHODS, name, value, f"known are {', '.join(METHODS)}")
        require("://" not in place_of(self.out or "runs"), "out", self.out, "is a URI; the benchmark writes to a folder")
        for file in self.polish:
            require(os.path.isfile(file), "polish", file, "there is no such file")
        cooper = importlib.util.find_spec("cooper") is not None
        require(cooper, "method", " ".join(self.methods), "needs Cooper: pip install cooper-optim")

    @property
    def folder(self) -> Path:
        return Path(place_of(self.out or f"runs/benchmark-{self.form}"))

    @property
    def methods(self) -> tuple[str, ...]:
        return self.method or FORMS[self.form].methods

    @property
    def starts(self) -> dict[int, Path]:
        """The folder of each seed's runs."""
        seeds = self.seed or FORMS[self.form].seeds
        return {seed: self.folder if len(seeds) == 1 else self.folder / f"seed{seed}" for seed in seeds}

    def base(self, seed: int) -> RunConfig:
        """The walk of one start, from which every method's configuration is derived."""
        return FORMS[self.form].base(seed=seed, threads=self.threads, data=self.data)


def main(argv: Sequence[str]) -> int:
    """Exit code: 0 done, 1 a method failed, 2 bad input; the same command goes on where it stopped."""
    try:
        return _run(Parser("jobs/benchmark.py", __doc__).fields(Options, argv), argv)
    except UsageError as error:
        print(in_shell_words(_of_data(error)), file=sys.stderr)
        return 2
    except Refused as error:
        print(visible(str(error)), file=sys.stderr)
        return 2
    except (OSError, CorruptFile) as error:
        print(f"failed: {one_line(str(error))}", file=sys.stderr)
        return 1


def _of_data(error: UsageError) -> UsageError:
    """An error of the data, or of a model that cannot have them, in the words of the one option that there is for either."""
    if error.name == "data.train_size":
        return UsageError("data", UNSAID, f"has too few training images; the form needs {error.value}")
    if error.name == "model.name":
        return UsageError("data", UNSAID, f"{error.value} {error.fix}")
    fix = error.fix.replace("data.name=", "data=")
    if "data.root=FOLDER" in fix:  # the job has no such option
        fix = f"{fix.partition('data.root=FOLDER')[0]}data=npz:FILE"
    return UsageError(error.name.replace("data.name", "data"), error.value, fix)


def _run(options: Options, argv: Sequence[str]) -> int:
    from analysis.benchmark.report import report

    Files(options.folder).check_writable()
    settings: dict[str, Settings] | None = None
    failed: list[str] = []
    budgets: dict[tuple[str, float], float | None] = {}
    for seed, folder in options.starts.items():
        here = running.here(options.base(seed), folder, _bench(options, seed, argv), _tell_row(f"{folder.name}/start"))
        settings = settings or _settings(options, here)
        failed += _all_methods(options, settings, here, budgets)
    print(report(tuple(options.starts.values()), polish=options.polish, out=options.folder), flush=True)
    return 1 if failed else 0


def _bench(options: Options, seed: int, argv: Sequence[str]) -> running.Bench:
    from analysis.benchmark.backend import BenchmarkBackend  # imports torch: not for --help
    from rayfe.data.datasets import load
    from rayfe.model.protocol import build_checked

    base = options.base(seed)
    data = load(base.data)
    build_checked(base.model, data)

    def manifest(config: RunConfig) -> dict[str, Any]:
        return manifest_of("benchmark", options.form, list(argv), config, PathData(kind="still", source=data))

    return running.Bench(make=lambda config: BenchmarkBackend(config, data), manifest=manifest)


def _all_methods(
    options: Options, settings: Mapping[str, Settings], here: running.Here, budgets: dict[tuple[str, float], float | None]
) -> list[str]:
    """Run every method at every budget from one start, then with so many examples; returns the runs that failed. `budgets`, by method and
    examples, are those of the first start for all of them."""
    failed: list[str] = []

    def run(method: str, budget: float) -> None:
        name = f"{method}-x{budget:g}"
        try:
            running.run_method(here, settings[method], name, budget=budget, on_row=_tell_row(f"{here.folder.name}/{name}"))
        except running.WalkFailed as error:
            failed.append(name)
            _tell(f"{name}: {error}")

    for budget in options.budget:
        for method in options.methods:
            run(method, budget)
    first = options.budget[0]
    for method in (method for method in options.methods if f"{method}-x{first:g}" not in failed):
        rows = load_rows(here.folder / f"{method}-x{first:g}")
        for examples in options.examples:
            found = budgets.setdefault(
                (method, examples), running.budget_for(examples, rows, here.base, settings[method], first)
            )
            if found is None:
                _tell(f"{method}: cannot be had for {examples:g} examples")
            else:
                run(method, found)
    return failed


def _settings(options: Options, here: running.Here) -> dict[str, Settings]:
    """Of every method, as they are frozen in OUT/settings.json before the first run: defaults, over which those of searches go."""
    from analysis.benchmark.search import restored, search

    path = options.folder / "settings.json"
    frozen = {name: restored(value) for name, value in json.loads(path.read_text()).items()} if path.exists() else {}
    begun = defaults(here.base, FORMS[options.form].adam)
    settings = begun | frozen
    for method in options.search:  # always from the defaults: one that is done ends at once with the same settings
        settings[method] = search(here, begun[method], options.folder / "search", _tell)
    path.write_text(json.dumps({name: running.plain(value) for name, value in settings.items()}, indent=1) + "\n")
    return settings


def _tell(text: str) -> None:
    print(text, flush=True)


def _tell_row(name: str) -> running.OnRow:
    def tell(row: StepRecord) -> None:
        if row.C is None or row.D is None or row.R is None:
            return _tell(f"{name}: step {row.step} {row.reason}")
        drift = 100 * (row.C / row.C_target - 1) if row.C_target else 0.0
        _tell(
            f"{name}: step {row.step}{f' ({row.reason})' if row.reason else ''} lam {row.lam:.3g} gamma {row.gamma:.3g} "
            f"R {row.R:.2f} D {row.D:.2f} C {row.C:.4f} ({drift:+.2f} %) {row.examples / 1e6:.2f} M {row.seconds:.0f} s"
        )

    return tell
