"""What a process that trains asks of a GPU: that torch can use it, float32 as IEEE has it, and the same bytes each time."""

from __future__ import annotations

from typing import Any

import torch

from rayfe.exceptions import UsageError


def check_gpu(device: torch.device) -> None:
    """Compute a little on a GPU.

    Raises:
        UsageError: GPU; torch cannot use it.
    """
    try:
        one = torch.ones(2, 2, device=device)
        float((one @ one).sum())
    except (RuntimeError, AssertionError) as error:  # of a torch without CUDA the latter
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        why = str(error).strip().partition("\n")[0].partition(". ")[0]
        fix = f"torch {torch.__version__} ({built}) cannot use it ({why}); install a driver and a torch that fit, or hide it"
        raise UsageError(
            "GPU", str(device), f"{fix}: CUDA_VISIBLE_DEVICES= here, ray start --num-gpus 0 on a cluster"
        ) from error


def compute_exactly() -> None:
    """From now on GPUs of this process compute in float32 as IEEE has it, and in one order.

    torch rounds the factors of convolutions to 10 bits (TF32) if nobody asks it not to. Operations that have no deterministic form
    on a GPU warn: models of a user's own may have some. Products of matrices need `CUBLAS_WORKSPACE_CONFIG`, too, which
    `import rayfe` sets.
    """
    cudnn: Any = torch.backends.cudnn
    for kind in (torch.backends.cuda.matmul, cudnn.conv, cudnn.rnn):
        kind.fp32_precision = "ieee"
    cudnn.benchmark, cudnn.deterministic = False, True
    torch.use_deterministic_algorithms(True, warn_only=True)
    deterministic: Any = torch.utils.deterministic
    deterministic.fill_uninitialized_memory = False  # a help for finding errors, which takes time


def usable_gpus() -> int:
    """GPUs of this machine that torch can use; a driver may show others."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
