"""What is asked of a GPU, as far as it shows without one: a GPU that cannot be used is refused, and float32 is that of IEEE."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from rayfe.config import THREADING, configure
from rayfe.exceptions import UsageError
from rayfe.training.gpu import check_gpu, usable_gpus
from rayfe.training.machine import prepared_device

STATE = """
import json, os
from rayfe.training.gpu import compute_exactly
import torch

def state():
    cuda, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    precision = [kind.fp32_precision for kind in (cuda, cudnn.conv, cudnn.rnn)]
    return [*precision, cudnn.deterministic, cudnn.benchmark, torch.are_deterministic_algorithms_enabled()]

torch.backends.cudnn.benchmark = True
before = state()
compute_exactly()
torch.ones(9, device="meta").cumsum(0)
print(json.dumps([before, state(), os.environ["CUBLAS_WORKSPACE_CONFIG"]]))
"""


def test_float32_is_that_of_ieee_and_sums_have_one_order() -> None:
    done = subprocess.run([sys.executable, "-c", STATE], capture_output=True, text=True, check=True)
    before, after, workspace = json.loads(done.stdout)
    assert "tf32" in before and before[3:] == [False, True, False]  # what torch does by itself
    assert after == ["ieee"] * 3 + [True, False, True]
    assert workspace == THREADING["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_gpu_that_torch_cannot_use_is_refused_in_one_line() -> None:
    for ask in (check_gpu, lambda device: prepared_device(configure(threads=1), device)):
        with pytest.raises(
            UsageError, match=r"^GPU='cuda:0': torch .* cannot use it \(.+\); install .*--num-gpus 0"
        ) as refused:
            ask(torch.device("cuda:0"))
        assert "\n" not in str(refused.value)
    assert usable_gpus() == 0
