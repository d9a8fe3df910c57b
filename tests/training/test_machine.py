"""The allocator keeps its pages, and products in float32 come from the faster library only where it does not round them."""

import platform
import subprocess
import sys

import pytest
import torch

from rayfe.backend.inline import InlineBackend
from rayfe.config import EquilibrationConfig, configure
from rayfe.data.datasets import load
from rayfe.exceptions import UsageError
from rayfe.records import MeasureRequest, StepKey
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


def precision() -> str:
    return torch.backends.mkldnn.matmul.fp32_precision


@pytest.mark.parametrize("error, accurate", [(4e-7, True), (2e-3, False)])
def test_onednn_is_used_only_where_a_trial_is_accurate(monkeypatch: pytest.MonkeyPatch, error: float, accurate: bool) -> None:
    tried = []
    monkeypatch.setattr(machine, "_error", lambda: tried.append(precision()) or error)
    monkeypatch.setattr(machine, "onednn_is_accurate", machine.onednn_is_accurate.__wrapped__)
    assert machine.onednn_is_accurate() == accurate
    assert tried == ["bf16"] and precision() == "none"


def test_a_cpu_that_rounds_refuses_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "onednn_is_accurate", lambda: False)
    machine.check_cpu(EquilibrationConfig(compile="never"))
    with pytest.raises(UsageError, match="onednn.*: oneDNN does not compute as accurately as float32 on this CPU"):
        machine.check_cpu(EquilibrationConfig(compile="onednn"))


def test_a_cpu_without_bfloat16_refuses_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "compiler", lambda: "/g++")
    monkeypatch.setattr(machine, "onednn_is_accurate", lambda: True)
    monkeypatch.setattr(machine, "has_bfloat16", lambda: False)
    machine.check_cpu(EquilibrationConfig(compile="always"))
    with pytest.raises(UsageError, match="bf16.*: this CPU has no fast products of bfloat16 numbers"):
        machine.check_cpu(EquilibrationConfig(compile="bf16"))


@pytest.mark.parametrize("onednn", [False, True])
def test_products_are_as_accurate_as_float32_and_the_callers_are_left_alone(onednn: bool) -> None:
    if onednn and not machine.onednn_is_accurate():
        pytest.skip("this CPU rounds to bfloat16")
    with machine.products(onednn=onednn):
        assert precision() == ("bf16" if onednn else "none")
        assert machine._error() < machine.ACCURATE
    assert precision() == "none"


def test_a_request_is_answered_with_the_products_of_its_run(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(InlineBackend, "measure", lambda self, request: seen.append(precision()))
    monkeypatch.setattr(machine, "onednn_is_accurate", lambda: True)
    request = MeasureRequest(key=StepKey(trajectory="t", seed=0, step=0, attempt=0), replicas=(), splits=(), purpose="test")
    for way in ("onednn", "never"):
        fields = {"data.name": "digits", "equilibration.compile": way}
        config = configure(**fields)
        InlineBackend(config, load(config.data)).answer(request)
    assert seen == ["bf16", "none"]
