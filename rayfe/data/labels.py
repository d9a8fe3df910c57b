"""Labels of p(x, t) as a whole."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from rayfe.data.device_path import DevicePath, Stratum

ROWS = 4000
"""Examples whose labels are looked at together."""


def mean_label(path: DevicePath, t: float, of: Callable[[Tensor], Tensor]) -> Tensor:
    """Mean of `of`(y), (N, m), over p(x, t), (m,) float64; labels of blends may be soft."""
    means = [_summed(stratum, t, of) for stratum in path.present(t)]
    return sum(means, torch.zeros_like(means[0]))


def _summed(stratum: Stratum, t: float, of: Callable[[Tensor], Tensor]) -> Tensor:
    """The part of a stratum."""
    total = torch.zeros((), dtype=torch.float64, device=stratum.number.device)
    for start in range(0, len(stratum), ROWS):
        rows = slice(start, min(start + ROWS, len(stratum)))
        total = total + stratum.weights(rows, t).double() @ of(stratum.examples(rows, t).y).double()
    return total
