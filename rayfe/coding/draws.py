"""Draws of N(mean, std^2) as bits, relative to N(0, I): relative entropy coding of many, each by itself.

Dimensions are dealt into blocks, since the search takes a time that grows exponentially with those that carry a signal. A block
costs what the level of its node costs: some three bits more than KL / ln 2. Whoever decodes needs the bits and the key alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
import torch

from rayfe.coding.search import CLOSE, Found, search
from rayfe.coding.stream import check, coder, opened, sealed
from rayfe.coding.tree import Halving, Nodes, halving, points
from rayfe.data.randomness import derived_seed, integers_of
from rayfe.exceptions import NotDecoded

KIND = b"rfz1"
IN_BLOCK = 8
"""Dimensions of a block that carry a signal."""
SIGNAL = 0.15
"""Bits from which a dimension does."""
LEVELS, OF_ONE = 255, 40
"""Levels of a tree at most, and for each of its dimensions: places of boxes are whole numbers of 63 bits."""
WIDER, FINER = 64.0, 16.0
"""Steps in which the variance of a base beyond 1, and the bits of a dimension, are told."""
WIDEST = (1.0 + 255.0 / WIDER) ** 0.5
"""Standard deviation of a draw at most."""
LEAST = 0.5
"""Standard deviation of levels that is told at least."""
TOGETHER = 25
"""Draws that are searched at a time: memory."""
MOST = 2**24
"""Numbers of a stream at most."""
HEAD = struct.Struct("<IHII")


@dataclass(frozen=True, kw_only=True, eq=False)
class Coded:
    """Draws and their bits."""

    z: np.ndarray
    """The draws, (n, dimensions), as they are decoded."""
    data: bytes
    blocks: int
    boxes: float
    """That the search looked at, on average over the draws."""
    cut: int
    """Draws whose search was cut short, so that they may not be exact."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Block:
    """Some dimensions, coded together."""

    dimensions: np.ndarray
    halving: Halving
    keys: np.ndarray
    """Of the roots, (n,)."""


def fault(mean: np.ndarray, std: np.ndarray) -> str | None:
    """Why draws of N(mean, std^2), both (n, dimensions), are not coded; None: they are. The search for them would not end soon."""
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        return "gives a z that is not finite"
    if std.max() > WIDEST:
        return f"spreads a z over {std.max():.3g} standard deviations of m(z), {WIDEST:.2g} at most are coded"
    bits = float(_bits(mean, std).max())
    most = 255.0 / FINER
    return f"gives a dimension of z {bits:.4g} bits, at most {most:.2g} are coded" if bits > most else None


def _bits(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """KL / ln 2 of each dimension, on average over the draws, (dimensions,)."""
    return (0.5 * (mean**2 + std**2 - 1.0) - np.log(std)).mean(0) / np.log(2.0)


def encoded(mean: np.ndarray, std: np.ndarray, key: int) -> Coded:
    """A draw of each N(mean, std^2), both (n, dimensions) float64 and without `fault`, as bits: a function of these and of the key.

    Raises:
        ModuleNotFoundError: the package constriction is not installed.
    """
    coder()
    n, dimensions = mean.shape
    wider = np.clip(np.ceil(WIDER * ((std**2).max(0) - 1.0) + CLOSE), 0, 255).astype(np.uint8)
    mean, std = mean / _scale(wider), std / _scale(wider)
    told = np.clip(np.round(FINER * _bits(mean, std)), 0, 255).astype(np.uint8)
    z, boxes, cut, nodes = np.empty((n, dimensions)), 0, np.zeros(n, bool), []
    blocks = _blocks(told, n, key)
    for block in blocks:
        found = _searched(block, mean[:, block.dimensions], std[:, block.dimensions])
        nodes.append(found.nodes)
        z[:, block.dimensions] = points(block.halving, found.nodes, block.keys)
        boxes, cut = boxes + int(found.boxes.sum()), cut | ~found.whole
    z *= _scale(wider)
    words, levels = _written(blocks, nodes)
    head = HEAD.pack(n, dimensions, check(np.array([key])), check(z)) + wider.tobytes() + told.tobytes() + levels.tobytes()
    return Coded(z=z, data=sealed(KIND, head, words), blocks=len(blocks), boxes=boxes / n, cut=int(cut.sum()))


def decoded(data: bytes, key: int) -> np.ndarray:
    """The draws of a stream, (n, dimensions).

    Raises:
        NotDecoded: it is damaged, or of another key, or this machine computes other numbers than the one that wrote it.
        ModuleNotFoundError: the package constriction is not installed.
    """
    head, words = opened(KIND, data)
    n, dimensions, of_key, of_z = HEAD.unpack_from(head.ljust(HEAD.size, b"\0"))
    if len(head) < HEAD.size + 2 * dimensions or not 0 < n * dimensions <= MOST:
        raise NotDecoded("is not as it was written: its head is too short")
    if of_key != check(np.array([key])):
        raise NotDecoded("is of another model, or of another seed")
    wider, told = np.frombuffer(head, np.uint8, 2 * dimensions, HEAD.size).reshape(2, -1)
    blocks = _blocks(told, n, key)
    rest = head[HEAD.size + 2 * dimensions :]
    if len(rest) != 4 * len(blocks):
        raise NotDecoded("is not as it was written: its head is of another length")
    levels = np.frombuffer(rest, "<f2").reshape(-1, 2)
    z = np.empty((n, dimensions))
    for block, nodes in zip(blocks, _read(words, blocks, levels), strict=True):
        z[:, block.dimensions] = points(block.halving, nodes, block.keys)
    z *= _scale(wider)
    if check(z) != of_z:
        raise NotDecoded("gives other numbers on this machine than where it was written")
    return z


def _searched(block: _Block, mean: np.ndarray, std: np.ndarray) -> Found:
    """Nodes of a block, some draws at a time."""
    parts = [
        search(mean[rows], std[rows], block.halving, block.keys[rows])
        for rows in np.split(np.arange(len(mean)), range(TOGETHER, len(mean), TOGETHER))
    ]
    return Found(
        nodes=Nodes(
            level=np.concatenate([one.nodes.level for one in parts]), place=np.concatenate([one.nodes.place for one in parts])
        ),
        boxes=np.concatenate([one.boxes for one in parts]),
        whole=np.concatenate([one.whole for one in parts]),
    )


def _scale(wider: np.ndarray) -> np.ndarray:
    """Standard deviations of the base: no less than those of the draws, so that its density bounds theirs."""
    return np.sqrt(1.0 + wider / WIDER)


def _blocks(told: np.ndarray, n: int, key: int) -> list[_Block]:
    """Blocks of about equal rates, for the bits of each dimension as they are told."""
    bits = told / FINER
    count = max(1, -(-int((bits >= SIGNAL).sum()) // IN_BLOCK))
    order, blocks = np.argsort(-bits, kind="stable"), []
    turn = np.concatenate([np.arange(count), np.arange(count)[::-1]])
    dealt = np.resize(turn, len(bits))
    for number in range(count):
        dimensions = np.sort(order[dealt == number])
        root = derived_seed("codec", key, number)
        keys = integers_of(torch.arange(n), 1, key=root)[:, 0].numpy()
        blocks.append(
            _Block(dimensions=dimensions, halving=halving(bits[dimensions], min(LEVELS, OF_ONE * len(dimensions))), keys=keys)
        )
    return blocks


def _written(blocks: list[_Block], nodes: list[Nodes]) -> tuple[np.ndarray, np.ndarray]:
    """Words, and mean and standard deviation of the levels of each block, (blocks, 2) float16."""
    stream, told = coder(), []
    out = stream.queue.RangeEncoder()
    for block, found in zip(blocks, nodes, strict=True):
        told.append(np.array([found.level.mean(), max(LEAST, found.level.std())], "<f2"))
        out.encode(found.level.astype(np.int32), _levels(told[-1]))
        for level in range(int(found.level.max())):
            inside = found.level > level
            out.encode(found.halves(block.halving, level)[inside].astype(np.int32), stream.model.Uniform(2))
    return out.get_compressed(), np.stack(told)


def _read(words: np.ndarray, blocks: list[_Block], told: np.ndarray) -> list[Nodes]:
    stream, found = coder(), []
    source = stream.queue.RangeDecoder(words)
    for block, numbers in zip(blocks, told, strict=True):
        level = source.decode(_levels(numbers), len(block.keys)).astype(np.int64)
        if level.max() > len(block.halving.order):
            raise NotDecoded("is not as it was written: it goes below the tree")
        place = np.zeros((len(level), block.halving.dimensions), np.int64)
        for above in range(int(level.max())):
            inside, dimension = np.flatnonzero(level > above), block.halving.order[above]
            half = source.decode(stream.model.Uniform(2), len(inside))
            place[inside, dimension] = 2 * place[inside, dimension] + half
        found.append(Nodes(level=level, place=place))
    return found


def _levels(told: np.ndarray) -> object:
    """The model of levels with this mean and standard deviation."""
    mean, std = (float(value) for value in told)
    if not (np.isfinite(mean) and np.isfinite(std) and std > 0.0):
        raise NotDecoded("is not as it was written: its levels have no spread")
    return coder().model.QuantizedGaussian(0, LEVELS, mean, std)
