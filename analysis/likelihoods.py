"""What likelihoods of x give at equal examples: R, D, C, and bits a dimension by the table of 256 levels that each has.

    python analysis/likelihoods.py               draws the figure and prints the tables from stored rows
    python analysis/likelihoods.py --make        trains, and stores the rows anew (digits and a tenth of MNIST)
    python analysis/likelihoods.py --elbo        trains on binarised MNIST (6 minutes a seed), and stores the bound of each seed, with
                                                 log p(x) by importance sampling

`--binarise FILE` writes the images of MNIST drawn once, each pixel white with the probability that is its grey, for
`--data.name npz:FILE` and `--model.likelihood bernoulli`.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import tyro
from torch import Tensor, nn

import rayfe
from rayfe.config import DataConfig, ModelConfig
from rayfe.data.datasets import load
from rayfe.data.device_path import DeviceExamples
from rayfe.data.examples import Dataset
from rayfe.figures.drawing import new_panels, png
from rayfe.model.likelihood import BUILT_IN, likelihood_of
from rayfe.model.mlp import make_classifier
from rayfe.model.objective import rate, sample
from rayfe.records import Point
from rayfe.training.certificate import bound, log_weights

FOLDER = Path(__file__).parent / "results" / "likelihoods"
ROWS, ELBO = FOLDER / "rows.csv", FOLDER / "elbo.csv"
SEEDS = {"digits": (0, 1, 2), "mnist": (0,)}
ELBO_SEEDS = (0, 1, 2)
WAYS: dict[str, dict[str, Any]] = {
    "digits": {"gamma": 20.0, "equilibration": {"first_epochs": 80.0}},
    "mnist": {
        "gamma": 20.0,
        "model": {"hidden": 256, "latent": 16},
        "equilibration": {"first_epochs": 20.0, "first_batch": 128, "batch": 128},
    },
}
"""Settings beside those of the preset digits-smoke, lam = 1."""
TRAINED = 6000
"""Training images of MNIST."""
CHUNK, DRAWS, CODED = 250, 8, 500
"""Images that are passed at once, draws of z for each, and validation images, the first ones, whose bits are counted."""
IMPORTANCE = 500
"""Draws for each validation image, of log p(x)."""
BINARY: dict[str, Any] = {
    "lam": 1.0,
    "gamma": 0.0,
    "model": {"likelihood": "bernoulli", "hidden": 200, "latent": 50},
    "measure": {"head_draws": 8},
    "equilibration": {
        "first_epochs": 100.0,
        "first_learning_rate": 3e-3,
        "optimizer": "soap",
        "batch": 128,
        "epochs": 0.01,
        "learning_rate": 1e-5,
    },
}
"""Of the model on binarised MNIST. Its last equilibration, as a walk's, is next to nothing."""
PUBLISHED = 88.71
"""-log p(x) of the same model on statically binarised MNIST, nats: Burda et al. 2016, arXiv:1509.00519, appendix D, k = 1, 5000 draws."""


class TwoLayers(nn.Module):
    """features-hidden-hidden-latent and back with tanh: 784-200-200-50 is the VAE of Burda et al. with one stochastic layer."""

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, config: ModelConfig) -> None:
        super().__init__()
        self.latent, self.shape, hidden = config.latent, tuple(input_shape), config.hidden
        ends = [math.prod(input_shape), 2 * config.latent], [config.latent, math.prod(input_shape)]
        self.encoder, self.decoder = (
            nn.Sequential(nn.Linear(first, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh(), nn.Linear(hidden, last))
            for first, last in ends
        )
        self.classifier = make_classifier(classes, config)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x.flatten(1)).chunk(2, -1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).sigmoid().unflatten(-1, self.shape)

    def classify(self, z: Tensor) -> Tensor:
        return self.classifier(z)


def binarised(dataset: Dataset) -> dict[str, Any]:
    """The arrays of an .npz file: every pixel drawn once, white with the probability that is its grey."""
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, examples in (("train", dataset.train), ("test", dataset.validation)):
        white = 255.0 if examples.x.dtype == np.uint8 else 1.0
        arrays |= {f"x_{split}": 255 * (white * rng.random(examples.x.shape) < examples.x).astype(np.uint8)}
        arrays |= {f"y_{split}": examples.y}
    return arrays


@torch.no_grad()
def coded(model: Any, x: np.ndarray) -> tuple[float, float]:
    """Nats of z, and -log of the probability that the likelihood's table of 256 levels has of all pixels, means over examples."""
    nats, total, rng = 0.0, 0.0, torch.Generator().manual_seed(0)
    for part in _parts(x):
        mean, log_variance = model.encode(part)
        nats += float(rate(mean, log_variance).sum())
        for _ in range(DRAWS):
            z = sample(mean, log_variance, torch.randn(mean.shape, generator=rng))
            table = likelihood_of(model).levels(model.decode(z))
            assert table is not None
            of_pixels = table.gather(-1, (255 * part).round().long().flatten(1)[..., None])
            total -= float(of_pixels.sum()) / DRAWS
    return nats / len(x), total / len(x)


def _parts(x: np.ndarray) -> Iterator[Tensor]:
    x = x.reshape(len(x), -1) / (255.0 if x.dtype == np.uint8 else 1.0)
    yield from torch.from_numpy(x.astype(np.float32)).split(CHUNK)


def made(folder: Path) -> pd.DataFrame:
    """A row for each likelihood, data set and seed; binary images for a likelihood that has only these. Runs are kept in `folder`."""
    rows = []
    for name, seeds in SEEDS.items():
        binary = f"npz:{_binary_file(folder, load(DataConfig(name=name)))}"
        for likelihood, cls in BUILT_IN.items():
            for seed in seeds:
                rows.append(_row(folder, name, name if cls.values is None else binary, likelihood, seed))
                print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def _binary_file(folder: Path, dataset: Dataset) -> Path:
    file = folder / f"{dataset.name}-binary.npz"
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, **binarised(dataset))
    return file


def _row(folder: Path, name: str, images: str, likelihood: str, seed: int) -> dict[str, Any]:
    """One training at lam = 1; `images` is the data's name."""
    way = WAYS[name]
    run = rayfe.walk(
        "digits-smoke",
        lam=1.0,
        steps=0,
        process="fixed-gamma",
        seed=seed,
        backend="inline",
        data={"name": images, "train_size": TRAINED if name == "mnist" else None},
        **way | {"model": way.get("model", {}) | {"likelihood": likelihood}},
        out=folder / f"{name}-{likelihood}-{seed}",
    )
    row, x = run.rows.iloc[0], load(DataConfig(name=images)).validation.x
    bits = math.log(2.0) * x[0].size
    of_z, of_pixels = coded(run.model(0), x[:CODED])
    columns = ("R", "D", "D_se", "C", "val_R", "val_D", "val_C", "val_accuracy", "examples")
    return (
        {"data": name, "likelihood": likelihood, "seed": seed}
        | {c: row[c] for c in columns}
        | {
            "rate_bits": of_z / bits,
            "table_bits": of_pixels / bits,
        }
    )


def bounds(folder: Path) -> pd.DataFrame:
    """A row for each seed; runs are kept in `folder`."""
    dataset, rows = load(DataConfig(name="mnist")), []
    images = f"npz:{_binary_file(folder, dataset)}"
    model = BINARY["model"] | {"name": f"{Path(__file__).stem}:{TwoLayers.__name__}"}
    for seed in ELBO_SEEDS:
        out, way = folder / f"elbo-{seed}", BINARY | {"model": model, "data": {"name": images}}
        run = rayfe.walk("digits-smoke", process="fixed-gamma", steps=0, seed=seed, backend="inline", out=out, **way)
        rows.append({"seed": seed, **_bound(run.model(0), torch.from_numpy(binarised(dataset)["x_test"]))})
        rows[-1] |= {name: float(run.rows[name].iloc[0]) for name in ("examples", "R", "D")}
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


@torch.no_grad()
def _bound(model: Any, x: Tensor) -> dict[str, float]:
    """Minus the bound at lam = 1 on binary images x (N, ...), and -log p(x) by importance draws, nats."""
    point, D, logs = Point(lam=1.0, gamma=0.0), [], []
    for begin in range(0, len(x), CHUNK):
        part = x[begin : begin + CHUNK].float() / 255.0
        number = torch.arange(begin, begin + len(part))
        examples = DeviceExamples(x=part, y=torch.zeros(len(part), dtype=torch.long), number=number)
        mean, log_variance = model.encode(part)
        draws = [sample(mean, log_variance, torch.randn_like(mean)) for _ in range(DRAWS)]
        D.append(rate(mean, log_variance) + torch.stack([likelihood_of(model)(part, model.decode(z)) for z in draws]).mean(0))
        logs.append(bound(log_weights(model, examples, point, draws=IMPORTANCE, key=1)))
    found = {"minus_elbo": torch.cat(D).double(), "minus_log_p": torch.cat(logs)}
    errors = {f"{name}_se": float(nats.std() / len(nats) ** 0.5) for name, nats in found.items()}
    return {name: float(nats.mean()) for name, nats in found.items()} | errors


def figure(rows: pd.DataFrame) -> bytes:
    """Bits a dimension on validation examples: a bar for each likelihood, that of R below, that of the table above."""
    names = list(dict.fromkeys(rows["data"]))
    drawing, panels = new_panels("Likelihood", [f"bits a dimension, {name}" for name in names], sharex=False)
    for name, axes in zip(names, panels, strict=True):
        own = rows[rows["data"] == name]
        mean = own.groupby("likelihood", sort=False)[["rate_bits", "table_bits"]].mean()
        each = own.assign(bits=own["rate_bits"] + own["table_bits"])
        places = {likelihood: place for place, likelihood in enumerate(mean.index)}
        axes.bar(range(len(mean)), mean["rate_bits"], color="#4477aa", label="R", width=0.6)
        axes.bar(range(len(mean)), mean["table_bits"], bottom=mean["rate_bits"], color="#ccbb44", label="D", width=0.6)
        axes.plot(each["likelihood"].map(places), each["bits"], "k.", markersize=4, label="each seed")
        labels = [f"{one}\n(binary images)" if BUILT_IN[one].values else one.replace("-", "-\n") for one in mean.index]
        axes.set_xticks(range(len(mean)), labels, fontsize=8.5)
        axes.tick_params(labelbottom=True)
        axes.legend(frameon=False)
    return png(drawing)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
    """What to do; without anything the figure and the tables from stored rows."""

    make: bool = False
    """Train, and store the rows anew."""
    folder: Path = Path("runs/likelihoods")
    """Where runs are made."""
    elbo: bool = False
    """Train on binarised MNIST, and store the bounds anew."""
    binarise: Path | None = None
    """Where to write MNIST's images as binary ones."""


def main(arguments: Arguments) -> int:
    """Returns the exit code."""
    if arguments.binarise is not None:
        np.savez_compressed(arguments.binarise, **binarised(load(DataConfig(name="mnist"))))
        return 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    if arguments.make:
        made(arguments.folder).to_csv(ROWS, index=False, float_format="%.6g")
    if arguments.elbo:
        bounds(arguments.folder).to_csv(ELBO, index=False, float_format="%.6g")
    rows = pd.read_csv(ROWS)
    (FOLDER / "bits.png").write_bytes(figure(rows))
    columns = ["R", "D", "C", "val_R", "val_D", "val_C", "val_accuracy", "rate_bits", "table_bits"]
    rows["bits"] = rows["rate_bits"] + rows["table_bits"]
    found = rows.groupby(["data", "likelihood"], sort=False)[[*columns, "bits"]].agg(["mean", "std"])
    print(found.xs("mean", axis=1, level=1).to_string(float_format="{:.4g}".format))
    print(found.xs("std", axis=1, level=1).to_string(float_format="{:.2g}".format))
    print(pd.read_csv(ELBO).to_string(index=False, float_format="{:.2f}".format))
    print(f"published: {PUBLISHED}")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Arguments)))
