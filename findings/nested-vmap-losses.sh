#!/usr/bin/env bash
# Three of torch's losses fail in nested torch.func.vmap where one argument is shared by the inner level; others do not.
#
# Version: torch 2.14.1, CPU. Several groups of models, one batch for each group: the outer vmap goes over groups, the inner one over the
# models of a group, and the target has no inner dimension (in_dims=(0, None)). One vmap alone accepts the same.
# Seen: mse_loss, smooth_l1_loss and huber_loss raise "The size of tensor a (...) must match the size of tensor b (...)"; l1_loss,
# binary_cross_entropy and a difference squared by hand give what a loop gives.
# In rayfe: trajectories whose neighbours share a batch are such groups, so rayfe/model/objective.py squares the difference by hand. A
# model of a user's own that calls one of the three with such arguments is refused before any work (rayfe/training/fleet.py).
# Exits with 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch
import torch.nn.functional as F
from torch.func import vmap

outputs, targets = torch.rand(2, 4, 5, 3), torch.rand(2, 5, 3)
losses = {
    "by hand": lambda output, target: (output - target).square().mean(),
    **{name: getattr(F, name) for name in ("l1_loss", "binary_cross_entropy", "mse_loss", "smooth_l1_loss", "huber_loss")},
}


def said(loss) -> str:
    """Whether nested vmap gives what a loop gives, or what it raises."""
    loop = torch.stack([torch.stack([loss(one, target) for one in group]) for group, target in zip(outputs, targets)])
    alone = torch.stack([vmap(loss, in_dims=(0, None))(group, target) for group, target in zip(outputs, targets)])
    assert torch.allclose(alone, loop), "one vmap alone has changed"
    try:
        nested = vmap(vmap(loss, in_dims=(0, None)))(outputs, targets)
    except RuntimeError as error:
        return str(error).partition(" (")[0]
    return "as a loop" if torch.allclose(nested, loop) else "other numbers"


found = {name: said(loss) for name, loss in losses.items()}
print(torch.__version__, found)
fails = "The size of tensor a"
assert found == {
    "by hand": "as a loop",
    "l1_loss": "as a loop",
    "binary_cross_entropy": "as a loop",
    "mse_loss": fails,
    "smooth_l1_loss": fails,
    "huber_loss": fails,
}, "the behaviour has changed"
PYTHON
