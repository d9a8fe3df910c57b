#!/usr/bin/env bash
# torch.optim.LBFGS cannot take a step for a convolution whose weights are channels-last; Adam and SGD can.
#
# Version: torch 2.14.1, CPU. A convolution is moved to memory_format=torch.channels_last, as torch's guide to that format does, and its
# gradients then have that layout, too. LBFGS joins gradients by view(-1), which such a tensor does not allow.
# Seen: "RuntimeError: view size is not compatible with input tensor's size and stride ..." from step(); none with contiguous weights.
# In rayfe: models on images are channels-last, since that is faster on a CPU; the fits of rayfe/training/take_up.py hand LBFGS
# contiguous gradients. Exits with 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
"$folder/venv/bin/python" - <<'PYTHON'
import torch

x = torch.rand(8, 3, 8, 8)


def said(layout: torch.memory_format, make) -> str:
    """What an optimizer says of one step of a convolution with weights in this layout."""
    layer = torch.nn.Conv2d(3, 4, 3).to(memory_format=layout)
    optimizer = make(layer.parameters())

    def closure():
        optimizer.zero_grad()
        loss = layer(x.to(memory_format=layout)).square().mean()
        loss.backward()
        return loss

    try:
        optimizer.step(closure)
    except RuntimeError as error:
        return str(error).partition(" (")[0]
    return "ok"


lbfgs = lambda parameters: torch.optim.LBFGS(parameters, max_iter=3)  # noqa: E731
adam = lambda parameters: torch.optim.Adam(parameters)  # noqa: E731
found = {
    "LBFGS, contiguous": said(torch.contiguous_format, lbfgs),
    "LBFGS, channels last": said(torch.channels_last, lbfgs),
    "Adam, channels last": said(torch.channels_last, adam),
}
print(torch.__version__, found)
assert found == {
    "LBFGS, contiguous": "ok",
    "LBFGS, channels last": "view size is not compatible with input tensor's size and stride",
    "Adam, channels last": "ok",
}, "the behaviour has changed"
PYTHON
