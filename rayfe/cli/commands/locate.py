"""python -m rayfe locate RUN [RUN...] C=0.1 D=20: where on the surface that is, and the nearest stored model."""

from __future__ import annotations

import pandas as pd

from rayfe.cli.commands.parser import Distinct, Parser, Refused
from rayfe.config import RunConfig, configure, flat
from rayfe.config.checks import POSITIVE, number_in
from rayfe.config.presets import PRESETS
from rayfe.config.start import StoredStep
from rayfe.exceptions import UsageError, visible
from rayfe.results.atlas import LOCATABLE, locate, nearest
from rayfe.results.pooling import models_of
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
    place = locate(rows, wanted, models)
    if place is None:
        print("the stored models do not surround this place; the nearest one is")
    else:
        print("between the stored models: " + " ".join(f"{name} {getattr(place, name):.4g}" for name in LOCATABLE))
    there = " ".join(f"{name} {row[name]:.4g}" for name in LOCATABLE)
    print(visible(f"nearest: {row['run']} {row['trajectory']} step {row['step']}: {there}"))
    if set(wanted) <= set(SOUGHT):
        sought = " ".join(f"{name}={value:g}" for name, value in wanted.items())
        lam, gamma = (place.lam, place.gamma) if place else (row["lam"], row["gamma"])
        near = StoredStep(run=str(row["run"]), trajectory=str(row["trajectory"]), step=int(row["step"]))
        print(way(near, sought.split(), lam=float(f"{lam:.3g}"), gamma=float(f"{gamma:.3g}")))
    return 0


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
