"""What a process that trains asks of its machine, of a CPU: memory that stays, and the faster of two libraries for products."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from rayfe.config import EquilibrationConfig, RunConfig, require
from rayfe.training.compiler import compiler
from rayfe.training.gpu import check_gpu, compute_exactly

SIZE = 256
"""Rows and columns of the matrices of the trial."""
ACCURATE = 1e-5
"""Largest error of a product in float32, as a part of its largest entry; 4e-7 is usual, a product of bfloat16 has 2e-3."""
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt (malloc.h)."""
LARGEST_BLOCK = 1 << 30
KEPT = (1 << 31) - 1
AHEAD = 64 << 20


def prepared_device(config: RunConfig, device: torch.device | None = None) -> torch.device:
    """`device`, or the GPU of this machine if it has one. From now on threads and memory of this process are as `config` wants them,
    and its GPUs compute exactly.

    Raises:
        UsageError: equilibration.compile; this machine cannot compute updates so. GPU; torch cannot use it.
    """
    torch.set_num_threads(config.service.threads)
    keep_pages()
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        check_cpu(config.equilibration)
    elif device.type == "cuda":
        check_gpu(device)
        compute_exactly()
    return device


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """How the CPU of a machine can compute updates."""

    host: str
    """The machine; empty: this one."""
    compiles: bool
    """Whether there is a C++ compiler."""
    onednn: bool
    """Whether oneDNN is as accurate as float32."""
    bfloat16: bool = False
    """Whether it has fast products of bfloat16 numbers."""


def offer(host: str = "") -> Offer:
    """What this machine offers, which is called `host`."""
    return Offer(host=host, compiles=compiler() is not None, onednn=onednn_is_accurate(), bfloat16=has_bfloat16())


def check_cpu(equilibration: EquilibrationConfig, machine: Offer | None = None) -> None:
    """Refuse a CPU, this one without `machine`, that cannot compute updates in the way that is asked for.

    Raises:
        UsageError: equilibration.compile; there is no compiler, oneDNN rounds, or it has no bfloat16.
    """
    machine = machine or offer()
    name, way, there = "equilibration.compile", equilibration.compile, f" on {machine.host}" if machine.host else ""
    fix = f"on a CPU this needs a C++ compiler, install g++{there}"
    fix += "; without one new runs can have ``equilibration.compile=onednn``"
    require(not equilibration.compiled or machine.compiles, name, way, fix)
    cpu = f"the CPU of {machine.host}" if machine.host else "this CPU"
    fix = f"oneDNN does not compute as accurately as float32 on {cpu}; new runs can have ``equilibration.compile=auto``"
    require(not equilibration.by_onednn or machine.onednn, name, way, fix)
    fix = f"{cpu} has no fast products of bfloat16 numbers; new runs can have ``equilibration.compile=always``"
    require(not equilibration.rounds or machine.bfloat16, name, way, fix)


def has_bfloat16() -> bool:
    """Whether oneDNN multiplies matrices of bfloat16 numbers on this CPU."""
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def keep_pages() -> None:
    """Let glibc's allocator keep the memory that is freed: an update gave back and took anew up to 3,000 pages."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((M_MMAP_THRESHOLD, LARGEST_BLOCK), (M_TRIM_THRESHOLD, KEPT), (M_TOP_PAD, AHEAD)):
            mallopt(parameter, value)


@contextlib.contextmanager
def products(*, onednn: bool) -> Iterator[None]:
    """Within the block products of float32 matrices on the CPU are computed by oneDNN, or as torch does by itself.

    torch sends them to oneDNN when told that bfloat16 would do. A CPU with units for bfloat16 matrices then rounds to it. The
    others compute in float32, on AMD twice as fast as MKL.
    """
    switch: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, switch.fp32_precision = switch.fp32_precision, "bf16" if onednn else "none"
    try:
        yield
    finally:
        switch.fp32_precision = before


@functools.cache
def onednn_is_accurate() -> bool:
    """Whether a product of float32 matrices by oneDNN is as accurate as in float32: one is compared with that in float64."""
    if not torch.backends.mkldnn.is_available():
        return False
    with products(onednn=True):
        return _error() < ACCURATE


def _error() -> float:
    """Of a product of two matrices of float32, as a part of its largest entry."""
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn(SIZE, SIZE, generator=rng) for _ in range(2))
    exact = a.double() @ b.double()
    return float((exact - (a @ b).double()).abs().max() / exact.abs().max())
