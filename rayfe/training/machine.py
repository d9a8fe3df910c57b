"""What a process that trains on a CPU asks of its machine: memory that stays, and the faster of two libraries for products."""

from __future__ import annotations

import ctypes
import functools
import platform
from typing import Any, Literal

import torch

from rayfe.config import RunConfig, require
from rayfe.training.compiler import compiler

Products = Literal["onednn", "default"]

SIZE = 256
"""Rows and columns of the matrices of the trial."""
ACCURATE = 1e-5
"""Largest error of a product in float32, as a part of its largest entry; 4e-7 is usual, a product of bfloat16 has 2e-3."""
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""Parameters of glibc's mallopt (malloc.h)."""
LARGEST_BLOCK = 1 << 30
KEPT = (1 << 31) - 1
AHEAD = 64 << 20


def prepared_device(config: RunConfig) -> torch.device:
    """The device that a configuration trains on; threads, memory and products of this process are as it wants them from now on.

    Raises:
        UsageError: equilibration.compile; updates are to be compiled for a CPU, and there is no compiler.
    """
    torch.set_num_threads(config.service.threads)
    keep_pages()
    matrix_products()
    cuda = config.service.device == "cuda" or (config.service.device == "auto" and torch.cuda.is_available())
    compiles = config.equilibration.compile == "always" and not cuda
    require(not compiles or compiler() is not None, "equilibration.compile", "always", "this machine has no C++ compiler")
    return torch.device("cuda" if cuda else "cpu")


def keep_pages() -> None:
    """Let glibc's allocator keep the memory that is freed: an update gave back and took anew up to 3,000 pages."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in ((M_MMAP_THRESHOLD, LARGEST_BLOCK), (M_TRIM_THRESHOLD, KEPT), (M_TOP_PAD, AHEAD)):
            mallopt(parameter, value)


@functools.cache
def matrix_products() -> Products:
    """Have products of float32 matrices on the CPU computed by oneDNN where it is there and as accurate; which way was taken.

    torch sends them there when told that bfloat16 would do. A CPU with units for bfloat16 matrices then rounds to it,
    so a product is compared with that in float64. The others compute in float32, on AMD twice as fast as MKL.
    """
    if not torch.backends.mkldnn.is_available():
        return "default"
    switch: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before, switch.fp32_precision = switch.fp32_precision, "bf16"
    if _error() < ACCURATE:
        return "onednn"
    switch.fp32_precision = before
    return "default"


def _error() -> float:
    """Of a product of two matrices of float32, as a part of its largest entry."""
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn(SIZE, SIZE, generator=rng) for _ in range(2))
    exact = a.double() @ b.double()
    return float((exact - (a @ b).double()).abs().max() / exact.abs().max())
