"""A stored model as one file that needs only torch: torch.export with a dynamic number of examples."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rayfe.exceptions import NotExported

Part = Literal["all", "encode", "decode", "classify"]
PARTS: tuple[Part, ...] = ("all", "encode", "decode", "classify")
OUTPUTS: Mapping[Part, tuple[str, ...]] = {
    "all": ("mean", "log_variance", "reconstruction", "logits"),
    "encode": ("mean", "log_variance"),
    "decode": ("reconstruction",),
    "classify": ("logits",),
}
"""What a part returns, as a dict; of `all`, reconstruction and logits are of the mean of z."""
CLOSE = 1e-4
"""Largest difference between the exported program and the model that passes, relative to 1 + the size of the output."""
TRIED = (1, 7)
"""Numbers of examples on which both are compared."""


class Exportable(nn.Module):
    """One part of a stored model as a plain forward pass."""

    def __init__(self, model: Any, part: Part) -> None:
        super().__init__()
        self.model, self.part = model, part

    def forward(self, given: Tensor) -> dict[str, Tensor]:
        """`given`: x (N, ...) in [0, 1], or z (N, latent) for decode and classify."""
        if self.part == "decode":
            return {"reconstruction": self.model.decode(given)}
        if self.part == "classify":
            return {"logits": self.model.classify(given)}
        mean, log_variance = self.model.encode(given)
        encoded = {"mean": mean, "log_variance": log_variance}
        if self.part == "encode":
            return encoded
        return encoded | {"reconstruction": self.model.decode(mean), "logits": self.model.classify(mean)}


def exported(model: Any, shape: tuple[int, ...], part: Part, about: Mapping[str, Any]) -> bytes:
    """A .pt2 file of `part` of the model, for any number of examples; `shape` is one example's, as the model sees it.

    `about` is stored in it as rayfe.json (`torch.export.load(file, extra_files={"rayfe.json": ""})`).

    Raises:
        NotExported: torch.export refuses the model, or the file's outputs are not the model's.
    """
    module = Exportable(model, part).eval()
    if part in ("decode", "classify"):
        shape = (model.latent,)
    batch = torch.export.Dim("batch", min=1)
    buffer = io.BytesIO()
    try:
        program = torch.export.export(module, (torch.rand(3, *shape),), dynamic_shapes={"given": {0: batch}})
        torch.export.save(program, buffer, extra_files={"rayfe.json": json.dumps(dict(about), sort_keys=True)})
    except Exception as error:  # its kinds are many, and a model of the user's own adds to them
        raise NotExported(f"torch.export cannot take this model ({type(error).__name__}: {str(error)[:300]})") from error
    _compare(module, buffer.getvalue(), shape)
    return buffer.getvalue()


@torch.no_grad()
def _compare(module: Exportable, data: bytes, shape: tuple[int, ...]) -> None:
    program = torch.export.load(io.BytesIO(data)).module()
    rng = torch.Generator().manual_seed(0)
    for n in TRIED:
        given = torch.rand(n, *shape, generator=rng)
        expected, found = module(given), program(given)
        for name, value in expected.items():
            off = float((found[name] - value).abs().max())
            if not off <= CLOSE * (1.0 + float(value.abs().max())):
                raise NotExported(f"the exported program's {name} is off by {off:.2g} for {n} examples")
