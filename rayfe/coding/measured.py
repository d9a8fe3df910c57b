"""What codes of a stored model cost, and what comes back: images coded, decoded and compared."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayfe.coding import draws, images
from rayfe.coding.model import ModelCodec, base_rate, levels_of, one_thread, pixels_of
from rayfe.coding.stream import opened
from rayfe.config import require
from rayfe.data.examples import Examples
from rayfe.data.paths import PathData
from rayfe.data.randomness import generator
from rayfe.exceptions import NotDecoded
from rayfe.model.objective import scored
from rayfe.model.task import task_of
from rayfe.records import StepRecord
from rayfe.records.codec import CodecRecord


def examples_at(data: PathData, t: float, count: int) -> Examples:
    """At most so many validation examples of p(x, t), evenly chosen.

    Raises:
        UsageError: step; its data are between two ends.
    """
    fix = f"is at t = {t:.4g}, between two data sets; name one at t = 0 or 1"
    require(data.target is None or t in (0.0, 1.0), "step", t, fix)
    end = data.source if data.target is None or t == 0.0 else data.target
    n = len(end.validation.y)
    return end.validation.take(np.linspace(0, n - 1, min(n, count)).round().astype(int))


@one_thread()
def measured(codec: ModelCodec, row: StepRecord, examples: Examples) -> tuple[CodecRecord, dict[str, bytes]]:
    """What it costs to code the examples with the model of `row`, and the streams by kind; both were decoded and compared.

    Raises:
        NotDecoded: something else came back.
        UsageError: step; its z cannot be coded (`draws.fault`).
        ModuleNotFoundError: the package constriction is not installed.
    """
    began, n = time.perf_counter(), len(examples.y)
    mean, std = codec.encode(examples.x)
    fault = draws.fault(mean, std)
    require(fault is None, "step", row.step, f"its encoder {fault}; name another one")
    coded = codec.encode_z(examples.x)
    z, x_hat = codec.decode_z(coded.data)
    _same(z, coded.z)
    _same(x_hat.numpy(), codec.reconstructions(coded.z).numpy())
    usual = (
        mean + std * torch.randn(mean.shape, dtype=torch.float64, generator=generator("cpu", "codec", row.state_sha256)).numpy()
    )
    x, y = codec.given(examples.x), torch.from_numpy(examples.y)
    D, coded_D = (codec.likelihood(x, one).double() for one in (codec.reconstructions(usual), x_hat))
    lossless, streams = _without_loss(codec, examples)
    record = CodecRecord(
        trajectory=row.trajectory,
        step=row.step,
        state_sha256=str(row.state_sha256),
        images=n,
        latent=codec.latent,
        R=codec.rate(mean, std, usual),
        R_base=base_rate(mean, std),
        z_bits=8.0 * len(coded.data) / n,
        z_fixed=_fixed(draws.KIND, coded.data),
        blocks=coded.blocks,
        boxes=coded.boxes,
        cut=coded.cut,
        D=float(D.mean()),
        coded_D=float(coded_D.mean()),
        D_se=float((coded_D - D).std(correction=0)) / n**0.5,
        accuracy=_right(codec, usual, y),
        coded_accuracy=_right(codec, z, y),
        z_sha256=hashlib.sha256(coded.data).hexdigest(),
        reconstructions_sha256=_sha256(x_hat),
        **lossless,
        seconds=time.perf_counter() - began,
    )
    return record, {"z": coded.data} | streams


@one_thread()
def decoded_again(codec: ModelCodec, stream: Callable[[str], bytes], there: CodecRecord, examples: Examples) -> None:
    """Decode the streams of which `there` is the record; `stream` gives them by kind.

    Raises:
        NotDecoded: something else comes back than was coded.
    """
    _, x_hat = codec.decode_z(stream("z"))
    if _sha256(x_hat) != there.reconstructions_sha256:
        raise NotDecoded("gives other reconstructions than those that were stored")
    if there.levels is not None:
        levels, count = codec.decode_x(stream("x"))
        _same(pixels_of(levels, count, examples.x.dtype), examples.x.reshape(len(examples.y), -1))


def _without_loss(codec: ModelCodec, examples: Examples) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Fields of a record, and the stream if there is one."""
    found = levels_of(examples.x)
    if found is None:
        return {"levels": None}, {}
    coded = codec.encode_x(*found)
    levels, count = codec.decode_x(coded.data)
    _same(pixels_of(levels, count, examples.x.dtype), examples.x.reshape(len(levels), -1))
    bits = 8.0 * len(coded.data) / len(levels)
    fields = {"levels": count, "D_nats": coded.nats, "x_bits": bits, "borrowed": coded.borrowed}
    fields["x_fixed"] = _fixed(images.KIND, coded.data) + coded.borrowed
    return fields | {"x_sha256": hashlib.sha256(coded.data).hexdigest()}, {"x": coded.data}


def _fixed(kind: bytes, data: bytes) -> int:
    """Bits of a stream that are no words of the coder."""
    return 8 * (len(data) - opened(kind, data)[1].nbytes)


def _right(codec: ModelCodec, z: np.ndarray, y: Tensor) -> float | None:
    """Accuracy by z; None: the task is no classification."""
    task = task_of(codec.model)
    return float(scored(task, codec.logits(z), y).double().mean()) if task.scored == "accuracy" else None


def _same(found: np.ndarray, coded: np.ndarray) -> None:
    if found.tobytes() != coded.tobytes():
        raise NotDecoded("gives something else than was coded")


def _sha256(x_hat: Tensor) -> str:
    return hashlib.sha256(x_hat.contiguous().numpy().tobytes()).hexdigest()
