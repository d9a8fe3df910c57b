"""The allocator keeps its pages, and products in float32 come from the faster library only where it does not round them."""

import platform
import subprocess
import sys

import pytest
import torch

from rayfe.training import machine

FAULTS = """
import resource, torch
from rayfe.training.machine import keep_pages
torch.set_num_threads(1)
if {keep}:
    keep_pages()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(12_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_that_was_freed_comes_back_without_page_faults() -> None:
    given_back, kept = (
        int(subprocess.run([sys.executable, "-c", FAULTS.format(keep=keep)], capture_output=True, check=True).stdout)
        for keep in (False, True)
    )
    assert kept < 10 < given_back


@pytest.fixture
def switch():
    found = torch.backends.mkldnn.matmul
    before = found.fp32_precision
    yield found
    found.fp32_precision = before


@pytest.mark.parametrize("error, taken", [(4e-7, "onednn"), (2e-3, "default")])
def test_products_go_to_onednn_only_where_a_trial_is_accurate(switch, monkeypatch, error: float, taken: str) -> None:
    switch.fp32_precision = "none"
    monkeypatch.setattr(machine, "_error", lambda: error)
    assert machine.matrix_products.__wrapped__() == taken
    assert switch.fp32_precision == ("bf16" if taken == "onednn" else "none")


def test_products_are_as_accurate_as_float32_whichever_way_is_taken() -> None:
    assert machine.matrix_products() in ("onednn", "default")
    assert machine._error() < machine.ACCURATE
