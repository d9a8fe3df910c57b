"""A stored model as one file that needs no rayfe: torch.export or ONNX, with a dynamic number of examples."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import os
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
"""What a part returns, by name; of `all`, reconstruction and logits are of the mean of z."""
NEEDED = ("onnx", "onnxscript", "onnxruntime")
"""Packages without which no .onnx file is made."""
ABOUT = "rayfe.json"
"""Under this name a file holds what it says of itself, as JSON."""
CLOSE = 1e-4
"""Largest difference between the exported program and the model that passes, relative to 1 + the size of the output."""
TRIED = (1, 7)
"""Numbers of examples on which both are compared."""
FIXED = "the number of examples is fixed{}; write x.shape[0] for len(x) and int(...), -1 in reshape, and no branch or loop over examples"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """A file's bytes, and what it computes: x (N, ...), or z (N, latent), -> tensors by the names of `OUTPUTS`."""

    data: bytes
    run: Callable[[Tensor], Mapping[str, Tensor]]


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


def exported(model: Any, shape: tuple[int, ...], part: Part, about: Mapping[str, Any], form: str = ".pt2") -> Exported:
    """`part` of the model for any number of examples, as a file of `form`; `shape` is one example's, as the model sees it.

    `about` is stored in it (`torch.export.load(file, extra_files={"rayfe.json": ""})`, or a property of the ONNX file).

    Raises:
        NotExported: torch refuses the model, a package is missing, or the file's outputs are not the model's.
    """
    if form == ".onnx" and (missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]):
        raise NotExported(
            f"an .onnx file needs {', '.join(missing)}: pip install 'rayfe[export]', or give a name that ends in .pt2"
        )
    module = Exportable(model, part).eval()
    if part in ("decode", "classify"):
        shape = (model.latent,)
    batch = torch.export.Dim("batch", min=1)
    text = json.dumps(dict(about), sort_keys=True)
    fixed = _Fixed()
    try:
        with fixed:
            program = torch.export.export(module, (torch.rand(3, *shape),), dynamic_shapes={"given": {0: batch}})
        made = _onnx(program, part, text) if form == ".onnx" else _pt2(program, text)
    except Exception as error:  # its kinds are many, and a model of the user's own adds to them
        by_size = "Constraints violated (batch)" in str(error)
        reason = FIXED.format(fixed.place) if by_size else f"{type(error).__name__}: {str(error)[:300]}"
        raise NotExported(f"torch cannot export this model ({reason})") from error
    _compare(module, made, shape)
    return made


class _Fixed(logging.Filter):
    """Notes the line of the model at which a size was first taken for a number; its error does not name it, torch's log is told there."""

    def __init__(self) -> None:
        super().__init__()
        self.place = ""
        self._log = logging.getLogger("torch.fx.experimental.symbolic_shapes")

    def __enter__(self) -> None:
        self._level, self._shown = self._log.level, self._log.getEffectiveLevel()
        self._log.addFilter(self)
        self._log.setLevel(min(logging.INFO, self._shown))

    def __exit__(self, *error: object) -> None:
        self._log.removeFilter(self)
        self._log.setLevel(self._level)

    def filter(self, record: logging.LogRecord) -> bool:
        """Shows what would be shown without it."""
        theirs = (os.path.dirname(torch.__file__), os.path.dirname(logging.__file__), __file__)
        own = [frame for frame in traceback.extract_stack() if not frame.filename.startswith(theirs)]
        if record.getMessage().startswith("eval ") and not self.place and own:
            line = f"{os.path.basename(own[-1].filename)}, line {own[-1].lineno}, in {own[-1].name}"
            self.place = f" by {line}: {own[-1].line}"
        return record.levelno >= self._shown


def _pt2(program: Any, about: str) -> Exported:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={ABOUT: about})
    return Exported(data=buffer.getvalue(), run=torch.export.load(io.BytesIO(buffer.getvalue())).module())


def _onnx(program: Any, part: Part, about: str) -> Exported:
    import onnxruntime

    given = "z" if part in ("decode", "classify") else "x"
    written = torch.onnx.export(program, dynamo=True, input_names=[given], output_names=list(OUTPUTS[part]), verbose=False)
    assert written is not None
    written.model.metadata_props[ABOUT] = about
    data = written.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])

    def run(value: Tensor) -> Mapping[str, Tensor]:
        return dict(zip(OUTPUTS[part], map(torch.from_numpy, session.run(None, {given: value.numpy()})), strict=True))

    return Exported(data=data, run=run)


@torch.no_grad()
def _compare(module: Exportable, made: Exported, shape: tuple[int, ...]) -> None:
    rng = torch.Generator().manual_seed(0)
    for n in TRIED:
        given = torch.rand(n, *shape, generator=rng)
        expected, found = module(given), made.run(given)
        for name, value in expected.items():
            off = float((found[name] - value).abs().max())
            if not off <= CLOSE * (1.0 + float(value.abs().max())):
                raise NotExported(f"the exported program's {name} is off by {off:.2g} for {n} examples")
