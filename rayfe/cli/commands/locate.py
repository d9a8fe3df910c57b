"""python -m rayfe locate RUN [RUN...] C=0.1 D=20: where on the surface that is, and the nearest stored model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd

from rayfe.cli.commands.parser import Distinct, Parser, Refused
from rayfe.config import RunConfig, configure, flat
from rayfe.config.checks import POSITIVE, number_in
from rayfe.config.presets import PRESETS
from rayfe.config.start import StoredStep
from rayfe.exceptions import CorruptFile, UsageError, visible
from rayfe.records import Point
from rayfe.results.atlas import LOCATABLE, Place, locate, nearest
from rayfe.results.pooling import models_of
from rayfe.run.in_the_box import read_in_the_box
from rayfe.run.stored_data import stored_data
from rayfe.storage.again import like
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store, load_rows

SOUGHT = ("R", "D", "C")


def main(arguments: list[str]) -> int:
    """Print the place between the stored models, and the nearest of them."""
    parser = Parser(
        "python -m rayfe locate", "Where two wanted values lie on the surface that the models of one run or several give."
    )
    parser.add_argument(
        "words", nargs="+", action=Distinct, metavar="RUN|COLUMN=VALUE", help=f"runs, and two of {', '.join(LOCATABLE)}"
    )
    words = parser.parse_args(arguments).words
    values = [word for word in words if word.partition("=")[0] in LOCATABLE and "=" in word]
    wanted = dict(map(_value, values))
    runs = [word for word in words if word not in values]
    if len(values) != 2 or len(wanted) != 2:
        raise Refused(f"{' '.join(words)}: give two wanted values, e.g. C=0.1 D=20 (of {', '.join(LOCATABLE)})")
    if not runs:
        raise Refused(f"{' '.join(words)}: give a run's folder or URI before the wanted values")
    try:
        models = models_of(Store(runs[0]), runs[1:])
    except UsageError as error:
        raise Refused(f"{error.value}: {error.fix}") from error
    frames = [load_rows(run).assign(run=run) for run in runs]
    rows = pd.concat(frames, ignore_index=True)
    if rows["t"].nunique() > 1:
        raise Refused(f"{' '.join(runs)}: its data move, so its models lie on many surfaces; give runs of jobs/isoc.py")
    try:
        row = nearest(rows, wanted)
    except ValueError as error:
        raise Refused(f"{' '.join(runs)}: {error}") from error
    near = StoredStep(run=str(row["run"]), trajectory=str(row["trajectory"]), step=int(row["step"]))
    place, said = locate(rows, wanted, models), "the stored models do not surround this place; the nearest one is"
    if place is not None:
        said = f"between the stored models: {_in_words(dataclasses.asdict(place))}"
    begin = Point(lam=place.lam, gamma=place.gamma) if place else Point(lam=float(row["lam"]), gamma=float(row["gamma"]))
    by_readings, what, stores = _by_readings(rows, wanted, begin)
    place = by_readings or place
    said = "; ".join(what if by_readings else [*what, said])
    print(visible(said))
    print(visible(f"nearest: {row['run']} {row['trajectory']} step {row['step']}: {_in_words(row)}"))
    if stores is not None:
        print(stores)
    if set(wanted) <= set(SOUGHT):
        sought = " ".join(f"{name}={value:g}" for name, value in wanted.items())
        lam, gamma = (place.lam, place.gamma) if place else (row["lam"], row["gamma"])
        print(way(near, sought.split(), lam=_rounded(lam), gamma=_rounded(gamma)))
    return 0


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


def _by_readings(rows: pd.DataFrame, wanted: Mapping[str, float], begin: Point) -> tuple[Place | None, list[str], str | None]:
    """Where the first conditioned model that has the wanted values has them, what is to be said of those that were read, and the
    command that stores its model there."""
    said = []
    for box in _boxes(rows, wanted):
        try:
            found = _read(box, wanted, begin)
        except (UsageError, FileNotFoundError, CorruptFile) as error:
            said.append(f"the conditioned model of {box.run} cannot be read here ({error})")
            continue
        if found is not None:
            where = f"by readings of the conditioned model of {box.run}: {_in_words(dataclasses.asdict(found))}"
            return found, [where], storing(box, lam=_rounded(found.lam), gamma=_rounded(found.gamma))
        said.append(f"no model in the box of {box.run} {box.trajectory} has both")
    return None, said, None


def _boxes(rows: pd.DataFrame, wanted: Mapping[str, float]) -> list[StoredStep]:
    """The nearest row of each conditioned model; that of which the nearest of all is comes first."""
    boxed = [run for run in rows["run"].unique() if stored_config(Store(run))[1].box is not None]
    left, found = rows[rows["run"].isin(boxed) & rows["accepted"].astype(bool)], []
    while len(left):
        row = nearest(left, wanted)
        found.append(StoredStep(run=str(row["run"]), trajectory=str(row["trajectory"]), step=int(row["step"])))
        left = left[(left["run"] != row["run"]) | (left["trajectory"] != row["trajectory"])]
    return found


def _in_words(values: Any) -> str:
    return " ".join(f"{name} {values[name]:.4g}" for name in LOCATABLE)


def _read(near: StoredStep, wanted: Mapping[str, float], begin: Point) -> Place | None:
    """Where the conditioned model of the run of `near` has the wanted values; None: nowhere in its box.

    Raises:
        UsageError, FileNotFoundError, CorruptFile: it cannot be read here.
    """
    from rayfe.results.stored_model import model_of  # imports torch

    store = Store(near.run)
    run, config = stored_config(store)
    last = [row for row in store.rows(str(near.trajectory)) if row.accepted][-1]
    data = stored_data(store, run, config, None)
    model_of(store, run, last)  # no memory is taken for sizes that its weights do not have
    found = read_in_the_box(store, config, data, last, wanted, begin)
    return None if found is None else Place(R=found.R, D=found.D, C=found.C, lam=found.point.lam, gamma=found.point.gamma)


def storing(near: StoredStep, *, lam: float, gamma: float) -> str | None:
    """The command by which the conditioned run of `near` stores its models at these multipliers, too; None: it has."""
    store = Store(near.run)
    run, config = stored_config(store)
    inside = ((min(max(new, min(old)), max(old)), old) for new, old in ((lam, config.lam), (gamma, config.gamma)))  # rounding
    more = {name: tuple(dict.fromkeys((*old, new))) for name, (new, old) in zip(("lam", "gamma"), inside, strict=True)}
    if more == {"lam": config.lam, "gamma": config.gamma}:
        return None
    steps = max(config.steps or 0, len(more["lam"]) * len(more["gamma"]) - 1)
    grown = configure(config, out=near.run, steps=steps, **more)
    found = like(store, run, grown, near.run)
    return f"to store it without training: {visible(found.command)}"


def way(near: StoredStep, sought: list[str], *, lam: float, gamma: float) -> str:
    """The command of a run that seeks the wanted values, with the data, the model and the training of the run of `near`.

    It begins with a training at these multipliers; beside a conditioned model with the model `near`.
    """
    store = Store(near.run)
    manifest, config = stored_config(store)
    out = "runs/seek-" + "-".join(word.replace("=", "") for word in sought)
    begin = {"lam": lam, "gamma": gamma} if config.box is None else {"start": near.name}
    usual = flat(configure(PRESETS["isoc"].get(str(manifest.get("preset")), RunConfig)(), seek=sought))
    lacking = {name: value for name, value in usual.items() if name not in flat(config)}  # a kind without a tolerance
    changes = lacking | {"seek": sought, "seed": config.seed[0], "steps": RunConfig().steps, "out": out} | begin
    seeking = configure(config, **changes)
    found = like(store, {**manifest, "job": "isoc"}, seeking, near.run)
    needs = f"\n  with {'; '.join(found.needs)}" if found.needs else ""
    return f"to go there: {visible(found.command)}{needs}"


def _value(word: str) -> tuple[str, float]:
    name, _, text = word.partition("=")
    value = number_in(text, float)
    if value is None or POSITIVE.fault(value) is not None:
        raise Refused(f"{word}: write COLUMN=NUMBER with a positive number, e.g. C=0.1")
    return name, value
