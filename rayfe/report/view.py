"""What a report is made of: a run's rows, readings and manifest, read once."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pandas as pd

from rayfe.config import RunConfig
from rayfe.exceptions import visible
from rayfe.figures.frames import labels_of
from rayfe.records import CertificateRecord, ReadingRecord, StepRecord
from rayfe.records.run_json import attributes_of
from rayfe.results.pooling import pooled
from rayfe.results.recommended import recommended
from rayfe.results.transfer_summary import summarize_transfers
from rayfe.results.walk_summary import summarize
from rayfe.storage.again import Again, again
from rayfe.storage.manifest import stored_config
from rayfe.storage.parquet import table_of
from rayfe.storage.store import Store
from rayfe.trajectory.standing import Standing, standing

WORDS = tuple(item.name for item in dataclasses.fields(StepRecord) if "str" in str(item.type))
"""Columns of steps that hold words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """A trajectory as it was read."""

    version: str
    """What changes when it does (`Store.versions`)."""
    rows: Sequence[StepRecord]
    readings: Sequence[ReadingRecord]
    certificates: Sequence[CertificateRecord]
    last: datetime | None
    """When its last row was stored."""


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as stored at one moment."""

    store: Store
    manifest: Mapping[str, Any]
    config: RunConfig
    rows: pd.DataFrame
    """Attempted steps (columns of StepRecord), by trajectory, step and attempt."""
    readings: pd.DataFrame
    standing: Mapping[str, Standing]
    """By trajectory: running, stopped, failed or finished, and where."""
    records: Mapping[str, Sequence[StepRecord]] = field(default_factory=dict)
    """The same rows by trajectory."""
    certificates: pd.DataFrame = field(default_factory=lambda: table_of([], CertificateRecord).to_pandas())
    """How far models are from new ones at the same multipliers (columns of CertificateRecord)."""
    models: pd.DataFrame | None = None
    """Models that bound F, as `pooling` finds them; None: those of the rows alone."""
    parts: Mapping[str, Part] = field(default_factory=dict)
    """What it was made of, by the names that trajectories have in the store."""

    @property
    def kind(self) -> str:
        """walk, transfer or baseline."""
        if self.config.method is not None:
            return "baseline"
        return "transfer" if self.config.moves_data else "walk"

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """A line of each trajectory with rows: `summarize` of walks, `summarize_transfers` of the others."""
        if self.kind == "walk":
            return summarize(self.rows, self.config.asked.tolerance, self.config.asked.tolerance_floor, self.models)
        return summarize_transfers(self.rows, self.config.asked.tolerance, self.config.asked.tolerance_floor)

    @functools.cached_property
    def recommended(self) -> pd.Series | None:
        """The row whose model to take, as `results.recommended` chooses it."""
        return recommended(self.rows)

    @functools.cached_property
    def again(self) -> Again:
        """How the run goes on, with RUN for its place: a page may be sent."""
        return again(self.store, self.manifest, self.config)

    @property
    def title(self) -> str:
        return f"{self.manifest.get('job', 'run')} {self.manifest.get('preset', '')}".strip()

    @property
    def name(self) -> str:
        """The last part of its place: in commands it stands for the run."""
        return self.store.url().rstrip("/").rpartition("/")[2]


def view_of(store: Store, others: Sequence[str] = (), *, readings: bool = True, before: RunView | None = None) -> RunView:
    """The run at `store`; models of the runs `others` bound its F, too. Without `readings` it has none.

    `before` is the run as it was: its trajectories are read where they have changed.

    Raises:
        FileNotFoundError: there is none.
        CorruptFile: it cannot be read.
        UsageError: one of the others has other data or another model.
    """
    manifest, config = stored_config(store)
    manifest = _visible_words(manifest)
    now, versions, parts = store.at_one_moment(), store.versions(), dict[str, Part]()
    for name in now.trajectories():
        known = before.parts.get(name) if before else None
        same = known and known.version == versions.get(name)
        parts[name] = known if known and same else _part(now, name, versions.get(name, ""), readings=readings)
    records = {visible(name): part.rows for name, part in parts.items()}
    last = {visible(name): part.last for name, part in parts.items()}
    failed = {visible(name): visible(reason) for name, reason in store.failures().items()}
    in_work = store.is_in_work()
    rows = table_of(itertools.chain.from_iterable(records.values()), StepRecord).to_pandas()
    rows.attrs |= attributes_of(manifest)
    certified = table_of(
        itertools.chain.from_iterable(part.certificates for part in parts.values()), CertificateRecord
    ).to_pandas()
    return RunView(
        store=store,
        manifest=manifest,
        config=config,
        records=records,
        rows=rows,
        readings=table_of(itertools.chain.from_iterable(part.readings for part in parts.values()), ReadingRecord).to_pandas(),
        standing={
            name: standing(records.get(name, ()), config, failed=failed.get(name), in_work=in_work, last=last.get(name))
            for name in [*records, *config.trajectories()]
        },
        certificates=certified,
        models=pooled(store, rows, certified, others),
        parts=parts,
    )


def _part(store: Store, name: str, version: str, *, readings: bool) -> Part:
    rows = store.rows(name)
    return Part(
        version=version,
        rows=[_visible(row) for row in rows],
        readings=store.readings(name, rows=rows) if readings else [],
        certificates=store.certificates(name, rows=rows),
        last=store.last_written(name),
    )


def views_of(locations: Sequence[str], others: Sequence[str] = ()) -> dict[str, RunView]:
    """The runs at `locations`, without readings, by labels that tell them apart.

    Raises: as `view_of` does, and ValueError where one is named twice.
    """
    labels = labels_of(locations)
    return {label: view_of(Store(place), others, readings=False) for label, place in zip(labels, locations, strict=True)}


def _visible(row: StepRecord) -> StepRecord:
    """The row with words that may be shown (`visible`)."""
    for name in WORDS:
        value = getattr(row, name)
        if isinstance(value, str) and not value.isprintable():
            row = dataclasses.replace(row, **{name: visible(value)})  # type: ignore[arg-type]
    return row


def _visible_words(value: Any) -> Any:
    """What JSON holds, with words that may be shown."""
    if isinstance(value, dict):
        return {visible(name): _visible_words(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_visible_words(item) for item in value]
    return visible(value) if isinstance(value, str) else value
