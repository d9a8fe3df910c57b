"""Time, memory and cost of couplings of MNIST images, by size; each in a process of its own, so that memory is its own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from rayfe.config import DataConfig, PathConfig
from rayfe.data.datasets import load
from rayfe.data.examples import Examples
from rayfe.data.transport import couple

Solver = Literal["exact", "sinkhorn"]


def measure_couplings(sizes: Sequence[int], solvers: Sequence[Solver], tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """One line per size and solver: what the coupling's report says."""
    found = []
    for size in sizes:
        for solver in solvers:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                report = pool.apply(coupling_report, (size, solver))
            found.append(report)
            tell(
                f"coupling of {size} x {size} ({solver}): cost {report['cost']:.4g}, {report['seconds']:.1f} s, "
                f"{report['peak_bytes'] / 2**30:.2f} GiB"
            )
    return found


def coupling_report(size: int, solver: Solver) -> dict[str, Any]:
    """Couple the first images of MNIST with the next ones, `size` of each; at most half of all."""
    data = load(DataConfig()).train
    size = min(size, len(data.y) // 2)
    source, target = (Examples(x=data.x[rows], y=data.y[rows]) for rows in (np.arange(size), np.arange(size, 2 * size)))
    config = PathConfig(kind="displacement", solver=solver)
    return couple(source, target, config, seed=0).report
