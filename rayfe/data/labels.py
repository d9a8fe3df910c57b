"""Labels of p(x, t) as a whole."""

from __future__ import annotations

import torch
import torch.nn.functional as nnf
from torch import Tensor

from rayfe.data.device_path import DevicePath, Stratum

ROWS = 4000
"""Examples whose labels are looked at together."""


def label_entropy(path: DevicePath, t: float, *, classes: int) -> float:
    """Entropy of the mean label under p(x, t), nats: C of the best classifier that knows nothing of x. Labels may be soft."""
    mean = sum(_labels(stratum, t, classes) for stratum in path.present(t))
    assert isinstance(mean, Tensor)
    return float(torch.special.entr(mean / mean.sum()).sum())


def _labels(stratum: Stratum, t: float, classes: int) -> Tensor:
    """Sum of the labels of a stratum with their probabilities, (classes,)."""
    total = torch.zeros(classes, dtype=torch.float64, device=stratum.number.device)
    for start in range(0, len(stratum), ROWS):
        rows = slice(start, min(start + ROWS, len(stratum)))
        y = stratum.examples(rows, t).y
        labels = y if y.is_floating_point() else nnf.one_hot(y, classes)
        total += stratum.weights(rows, t).double() @ labels.double()
    return total
