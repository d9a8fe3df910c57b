"""What the machine could do and what the training loop makes of it; the parts of a step; replicas; optimal transport.

    python jobs/benchmark.py machine --out figures

Prints one line per measurement and writes all of them as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from analysis.benchmark.forms import FORMS, FormName
from rayfe.cli.commands.parser import Parser, Refused
from rayfe.config import RunConfig, configure
from rayfe.config.checks import Checked, at_least
from rayfe.config.places import place_of
from rayfe.exceptions import UsageError, in_shell_words, visible
from rayfe.storage.files import Files


@dataclass(frozen=True, kw_only=True)
class Options(Checked):
    """What to measure."""

    out: str | None = None
    """Folder for machine.json, the measurements, made if missing."""
    threads: Annotated[int, at_least(1, 1024)] = 2
    """Threads of torch."""
    batch: Annotated[tuple[int, ...], at_least(1)] = (256, 512)
    """Batch sizes of the training loop."""
    replicas: Annotated[tuple[int, ...], at_least(1)] = (1, 2, 3, 5)
    """Numbers of models trained together, against as many one after the other."""
    optimizer: Literal["adam", "soap"] = "adam"
    """Optimizer of the training loop."""
    compile: bool = False
    """Whether single models are also trained by compiled code."""
    repeats: Annotated[int, at_least(1)] = 5
    """Measurements of each kind; their median is given."""
    updates: Annotated[int, at_least(1)] = 60
    """Updates of the training loop in one measurement."""
    steps: Annotated[int, at_least(0)] = 2
    """Steps of a walk whose parts are timed; 0: none."""
    form: FormName = "short"
    """Whose walk that is, a form of the benchmark."""
    ray: bool = False
    """Whether the same walk also runs on an embedded Ray, for its share."""
    trajectories: Annotated[tuple[int, ...], at_least(1)] = ()
    """Numbers of such walks that run at once on an embedded Ray, for steps a second, e.g. 1 2 4."""
    evaluators: Annotated[tuple[int, ...], at_least(1)] = (1,)
    """Numbers of evaluators that share them, one thread each."""
    transport: Annotated[tuple[int, ...], at_least(1)] = ()
    """Examples a side whose coupling is computed, e.g. 1000 3000 10000 30000 (the last takes minutes)."""
    solver: tuple[Literal["exact", "sinkhorn"], ...] = ("exact", "sinkhorn")
    """How they are coupled; sinkhorn goes over all costs in every iteration, exact a few times."""


def main(argv: Sequence[str]) -> int:
    """Exit code: 0, or 2 for bad input."""
    try:
        options = Parser("jobs/benchmark.py machine", __doc__).fields(Options, argv)
        out = None if options.out is None else Path(place_of(options.out))
        if out is not None:
            Files(out).check_writable()
        found = measure(options, lambda text: print(text, flush=True))
    except (UsageError, Refused) as error:
        print(in_shell_words(error) if isinstance(error, UsageError) else visible(str(error)), file=sys.stderr)
        return 2
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "machine.json").write_text(json.dumps(found, indent=1) + "\n")
    return 0


def measure(options: Options, tell: Callable[[str], None]) -> dict[str, Any]:
    """All measurements asked for, by name."""
    import torch

    from analysis.benchmark import loop

    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {"machine": {"cores": os.cpu_count(), "threads": options.threads, "torch": torch.__version__}}
    found["machine"]["python"] = platform.python_version()
    peak = loop.gemm_peak(options.repeats)
    found["gemm_peak"] = peak
    tell(f"GEMM peak: {peak / 1e9:.1f} GFLOP/s")
    found["loop"] = []
    separate: dict[int, float] = {}
    for batch in options.batch:
        for count in options.replicas:
            for compiled in (False, True) if options.compile and count == 1 else (False,):
                timed = loop.time_training(
                    count,
                    batch,
                    updates=options.updates,
                    repeats=options.repeats,
                    optimizer=options.optimizer,
                    compiled=compiled,
                )
                separate.setdefault(batch, timed.seconds / timed.replicas)
                line = dataclasses.asdict(timed) | {
                    "share_of_peak": timed.flops_per_second / peak,
                    "of_separate": timed.seconds / (count * separate[batch]),
                    "bytes": loop.training_bytes(count, batch, optimizer=options.optimizer),
                }
                found["loop"].append(line)
                tell(
                    f"batch {batch}, {count} replica(s){', compiled' if compiled else ''}: {timed.examples_per_second:.0f} examples/s, "
                    f"{timed.flops_per_second / 1e9:.1f} GFLOP/s, {line['share_of_peak']:.0%} of the peak; "
                    f"{line['of_separate']:.2f} of {count} separate trainings; {line['bytes'] / 2**20:.0f} MiB"
                )
    if options.steps:
        found["step"] = _step(options, tell)
    if options.trajectories:
        from analysis.benchmark.scaling import measure_scaling

        sweeps = measure_scaling(_walk(options), options.trajectories, options.evaluators, tell)
        found["sweep"] = [dataclasses.asdict(sweep) for sweep in sweeps]
    if options.transport:
        from analysis.benchmark.transport import measure_couplings

        found["transport"] = measure_couplings(options.transport, options.solver, tell)
    return found


def _step(options: Options, tell: Callable[[str], None]) -> dict[str, float]:
    """Seconds of a walk's parts after its start; with Ray also what Ray adds."""
    from analysis.benchmark.parts import time_walk

    config = _walk(options)
    parts = time_walk(config)
    total = sum(parts.values())
    tell("a step by part: " + ", ".join(f"{name} {seconds / total:.1%}" for name, seconds in parts.items()))
    if options.ray:
        from analysis.benchmark.scaling import walk_on_ray

        began = time.monotonic()
        _, seconds = walk_on_ray(config)
        parts["ray"] = seconds - total
        tell(f"on Ray: {seconds:.2f} s against {total:.2f} s in this process ({time.monotonic() - began:.0f} s in all)")
    return parts


def _walk(options: Options) -> RunConfig:
    """The form's walk with a short start and no renewal."""
    base = FORMS[options.form].walk
    return configure(
        base,
        steps=options.steps,
        threads=options.threads,
        tolerance=0.1,
        certificate_share=0.0,
        equilibration=dataclasses.replace(base.equilibration, first_epochs=3.0),
        renewal=dataclasses.replace(base.asked.renewal, every=None),
    )
