"""How many draws of z a reading takes, how many examples it passes at once, and what that costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rayfe.config import MeasureConfig
from rayfe.model.posterior import widths_of
from rayfe.records import decoder_draws
from rayfe.training.batch_norm import WHOLE_BYTES, operations

FORWARD = 1.0 / 3.0
"""Training examples that a forward pass over one example counts as."""
CHUNK, FEWER, CHUNK_NUMBERS = 4000, 1000, 1 << 24
"""Examples that are passed at once: usually, through convolutions, and numbers in all of them at most."""
SECOND = 8
"""With one draw through the decoder one in so many examples has a second one, for the error of D."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """How each example is read: draws of z, and how many examples are passed at once."""

    head_draws: int
    """Through the classifier in antithetic pairs, half of them per independent set."""
    decoder_draws: Literal[1, 2]
    """Through the decoder. 1: only every eighth example has the second one, which the error of D needs."""
    chunk: int
    """Memory against speed; no number depends on it but by rounding."""
    random_encoder: bool = False
    """Whether each independent set has an encoding of its own, with weights of its own."""
    whole: int = WHOLE_BYTES
    """Bytes that all examples of batch-norm statistics may take at once."""


def drawing_of(config: MeasureConfig, model: Any, example: Tensor, *, images: int, models: int = 1) -> Drawing:
    """How readings of `images` training images are drawn by so many models like `model` at once; `example` is one input, (1, ...)."""
    convolves = any(isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d) for layer in model.modules())
    chunk = max(1, min(FEWER if convolves else CHUNK, CHUNK_NUMBERS // example.numel()) // models)
    draws = decoder_draws(images)
    random = widths_of(model).encoder > 0
    whole = WHOLE_BYTES // models
    return Drawing(head_draws=config.head_draws, decoder_draws=draws, chunk=chunk, random_encoder=random, whole=whole)


@dataclass(frozen=True, kw_only=True, slots=True)
class Effort:
    """How many draws a reading takes: nested sets of `Drawing.head_draws` for C and of `Drawing.decoder_draws` for D."""

    draw_sets: int = 1
    decoder_sets: int = 1
    decode: bool = True
    """Without it D is zero and costs nothing."""

    def encodings(self, drawing: Drawing) -> int:
        """Of each example."""
        return 2 * max(self.draw_sets, self.decoder_sets) if drawing.random_encoder else 1

    def cost(self, n: int, drawing: Drawing, head: float) -> float:
        """Training examples that reading n examples counts as: half a forward pass encodes, and half decodes for each draw;
        a draw through the classifier is the part `head` of a forward pass."""
        decoded = 2.0 if drawing.decoder_draws == 2 else 1.0 + 1.0 / SECOND
        passes = 0.5 * self.encodings(drawing) + (0.5 * decoded * self.decoder_sets if self.decode else 0.0)
        return n * FORWARD * (passes + head * drawing.head_draws * self.draw_sets)


@torch.no_grad()
def head_share(model: Any, x: Tensor) -> float:
    """Cost of one draw through the classifier as a part of a forward pass, by floating-point operations of matrix products and
    convolutions on examples x (N, ...)."""
    z, _ = model.encode(x)
    through = operations(lambda: model.classify(z))
    rest = operations(lambda: model.decode(z)) + operations(lambda: model.encode(x))
    return through / (rest + through) if rest else 0.0
