"""Images along a walk: examples, reconstructions and samples of stored models, as PNG data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from rayfe.records import StepRecord
from rayfe.report.at_hand import AtHand, balanced, chosen_rows, coupling_of, unit
from rayfe.report.view import RunView

if TYPE_CHECKING:
    from rayfe.data.coupling import Coupling

COLUMNS = 10
"""Images in a row."""
MOST_FRAMES = 240
"""Frames in a page: with about 6 kB each they stay a small part of it."""
MOST_PER_TRAJECTORY = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """What one stored model shows: a grid of images, a row each for examples, reconstructions and samples."""

    step: int
    caption: str
    src: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """Frames by trajectory; `why` says what is missing, if something is."""

    rows: tuple[str, ...] = ()
    frames: Mapping[str, tuple[Frame, ...]] = field(default_factory=dict)
    why: str | None = None


class Album:
    """Makes galleries of one run; keeps frames that it has made, since stored models do not change."""

    def __init__(self, here: AtHand | None = None) -> None:
        self._here = here or AtHand()
        self._made: dict[tuple[str, int, str], Frame] = {}

    def gallery(self, view: RunView) -> Gallery:
        """Frames of evenly chosen steps of every trajectory, as far as `MOST_FRAMES` reach."""
        shape = tuple(view.manifest.get("input_shape", ()))
        if len(shape) != 3 or shape[0] not in (1, 3):
            return Gallery(why=f"The examples are of shape {shape}: no images.")
        chosen = chosen_rows(view, models=MOST_FRAMES, each=MOST_PER_TRAJECTORY)
        if not any(chosen.values()):
            return Gallery(why="No weights are stored here, so no model can show its images.")
        data = self._here.data(view)
        frames, why = {}, None if data else f"Only samples: {self._here.missing}."
        for name, rows in chosen.items():
            try:
                frames[name] = tuple(self._frame(view, row, shape) for row in rows)
            except (
                Exception
            ) as error:  # weights may be damaged or pruned meanwhile, a model of the user's own may raise anything
                why = f"{name}: its models cannot be shown ({type(error).__name__}: {' '.join(str(error).split())})"
        labels = ("x", "reconstruction", "sample") if data else ("sample",)
        return Gallery(rows=labels, frames={name: found for name, found in frames.items() if found}, why=why)

    def _frame(self, view: RunView, row: StepRecord, shape: tuple[int, ...]) -> Frame:
        key = (row.trajectory, row.step, str(row.state_sha256))
        if key not in self._made:
            images = self._images(view, row, self._examples(view, row.t), shape)
            self._made[key] = Frame(step=row.step, caption=_caption(row), src=data_uri(grid(images)))
        return self._made[key]

    def _images(self, view: RunView, row: StepRecord, examples: np.ndarray | None, shape: tuple[int, ...]) -> list[np.ndarray]:
        """Rows of a frame: examples and their reconstructions by the mean of z, where there are examples; samples of m(z)."""
        import torch  # seconds to import: only where there are models to show

        from rayfe.model.marginal import marginal_of

        model: Any = self._here.model(view, row)
        flat = view.config.model.name == "mlp"
        images = []
        with torch.no_grad():
            if examples is not None:
                x = torch.from_numpy(np.ascontiguousarray(examples, np.float32))
                mean, _ = model.encode(x.reshape(len(x), -1) if flat else x)
                images += [examples, model.decode(mean).reshape(-1, *shape).numpy()]
            rng = torch.Generator().manual_seed(0)  # the same all along
            z = marginal_of(model).draw(torch.randn(COLUMNS, model.latent, generator=rng), rng)
            if z is not None:
                images.append(model.decode(z).reshape(-1, *shape).numpy())
        return images

    def _examples(self, view: RunView, t: float) -> np.ndarray | None:
        """(COLUMNS, C, H, W) in [0, 1] of p(x, t) on validation data; None where there are no data."""
        data = self._here.data(view)
        if data is None:
            return None
        rows = one_of_each(data.source.validation.y)
        source = unit(data.source.validation.x[rows])
        if data.target is None:
            return source
        if data.kind == "displacement":
            coupling = coupling_of(view, data)
            assert coupling is not None  # without one there are no data
            return (1.0 - t) * source + t * unit(data.target.validation.x[partners(coupling, rows)])
        target = unit(data.target.validation.x[one_of_each(data.target.validation.y)])
        share = (np.arange(COLUMNS) + 0.5) / COLUMNS  # a column in p(x, t) is the target's with probability t
        return np.where((share < t)[:, None, None, None], target, source)


def partners(coupling: Coupling, rows: np.ndarray) -> np.ndarray:
    """The heaviest target row of each source row."""
    found = []
    for row in rows:
        mine = coupling.source == row
        found.append(coupling.target[mine][int(np.argmax(coupling.weight[mine]))])
    return np.array(found)


def one_of_each(y: np.ndarray) -> np.ndarray:
    """COLUMNS row numbers: the first of every class in turn, then the second, and so on."""
    return balanced(y)[np.arange(COLUMNS) % len(y)]


def grid(images: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of images (n, C, H, W) in [0, 1] as one picture (rows H', n W', C), uint8, with a pixel between images."""
    rows = [np.pad(np.clip(row, 0.0, 1.0), ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=0.5) for row in images]
    picture = np.concatenate([np.concatenate(list(row), axis=2) for row in rows], axis=1)
    return np.round(255.0 * picture[:, :-1, :-1]).astype(np.uint8).transpose(1, 2, 0)


def data_uri(picture: np.ndarray) -> str:
    """A PNG of a picture (H, W, C), C one or three, as a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _caption(row: StepRecord) -> str:
    at = f"t {row.t:.4g}, " if row.t > 0.0 else ""
    measured = ", ".join(
        f"{name} {value:.4g}" for name, value in (("R", row.R), ("D", row.D), ("C", row.C)) if value is not None
    )
    return f"step {row.step}: {at}lam {row.lam:.4g}, gamma {row.gamma:.4g}; {measured}"
