"""A small search over each method's settings: five points, one seed, every candidate from the same start."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.benchmark.reference import points
from analysis.benchmark.requests import Rule
from analysis.benchmark.running import Here, plain, run_method
from analysis.benchmark.settings import Settings
from rayfe.config import configure
from rayfe.exceptions import WalkFailed
from rayfe.results.frames import numbers
from rayfe.storage.store import load_rows

POINTS = 5
RATES = (0.25, 0.5, 1.0, 2.0)
"""Factors of the learning rate."""
BATCHES = (0.5, 1.0, 2.0)
"""Factors of the mini-batch."""
GAINS = (1.0, 3.0, 10.0)
"""Multiplier steps; `Rule` says in which units."""


Stage = Callable[[Settings], list[Settings]]


def stages(settings: Settings) -> list[Stage]:
    """What is varied, one after the other, each time from the best so far: learning rate, mini-batch, multiplier step, its shape."""

    def rates(best: Settings) -> list[Settings]:
        return [dataclasses.replace(best, learning_rate=factor * best.learning_rate) for factor in RATES]

    def batches(best: Settings) -> list[Settings]:
        return [dataclasses.replace(best, batch=round(factor * best.batch)) for factor in BATCHES]

    def rules(field: str, values: tuple[float, ...]) -> Stage:
        def build(best: Settings) -> list[Settings]:
            assert best.rule is not None
            changed = [dataclasses.replace(best.rule, **{field: value}) for value in values]  # type: ignore[arg-type]
            return [dataclasses.replace(best, rule=rule) for rule in changed]

        return build

    found: list[Stage] = [rates, batches]
    if settings.rule is not None:
        found.append(rules("gain", GAINS))
        shape = {"nupi": ("proportional", (0.3, 1.0, 3.0, 10.0)), "augmented": ("penalty", (0.3, 1.0, 3.0))}.get(
            settings.rule.name
        )
        found += [rules(*shape)] if shape else []
    return found


def score(rows: pd.DataFrame, C0: float) -> float:
    """Mean of R + lam D + gamma |C - C0| over the points, nats; lower is better, infinite if it did not arrive."""
    found = points(rows)
    if len(found) < POINTS:
        return float("inf")
    lam, gamma, R, D, C = (numbers(found, name) for name in ("lam", "gamma", "R", "D", "C"))
    return float(np.mean(R + lam * D + gamma * np.abs(C - C0)))


def search(here: Here, settings: Settings, folder: Path, tell: Callable[[str], None]) -> Settings:
    """The best candidate for a curve of five points, each run in `folder` with its score beside it, so that a search goes on where it
    stopped."""
    lam_end = here.base.lam[0] * float(np.exp(POINTS * here.base.asked.step_length))
    short = dataclasses.replace(here, base=configure(here.base, lam_end=lam_end), folder=folder)
    best, tried = settings, list[tuple[float, Settings]]()
    for stage in stages(settings):
        for candidate in stage(best):
            if all(candidate != other for _, other in tried):
                tried.append((_try(short, candidate, tell), candidate))
        _, best = min(tried, key=lambda pair: pair[0])
    return best


def _try(here: Here, settings: Settings, tell: Callable[[str], None]) -> float:
    """The score of one candidate, infinite if it diverges."""
    described = json.dumps(plain(settings), sort_keys=True)
    name = f"{settings.method}-{derived(described)}"
    assert here.begin.row.C is not None
    try:
        run_method(here, settings, name)
        found = score(load_rows(here.folder / name), here.begin.row.C)
    except WalkFailed as failed:
        tell(f"search {settings.method}: {failed}")
        found = float("inf")
    tell(f"search {settings.method}: {found:.3f} nats with {described}")
    told = {"nats": found if math.isfinite(found) else None, "settings": plain(settings)}
    (here.folder / name / "score.json").write_text(json.dumps(told, indent=1) + "\n")
    return found


def derived(text: str) -> str:
    """A short name for a folder."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def restored(value: dict[str, object]) -> Settings:
    """Settings from what `plain` made of them."""
    rule = value.get("rule")
    return Settings(**{**value, "rule": Rule(**rule) if isinstance(rule, dict) else None})  # type: ignore[arg-type]
