"""What a report is made of: a run's rows, readings and manifest, read once."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from rayfe.config import RunConfig
from rayfe.records import CertificateRecord
from rayfe.results.pooling import models_of
from rayfe.results.transfer_summary import summarize_transfers
from rayfe.results.walk_summary import summarize
from rayfe.storage.manifest import stored_config
from rayfe.storage.parquet import table_of
from rayfe.storage.store import Store, load_certificates, load_readings, load_rows
from rayfe.trajectory.standing import standing


@dataclass(frozen=True, kw_only=True)
class RunView:
    """A run as stored at one moment."""

    store: Store
    manifest: Mapping[str, Any]
    config: RunConfig
    rows: pd.DataFrame
    readings: pd.DataFrame
    standing: Mapping[str, str]
    """By trajectory: waiting, at step k of N, or how it ended."""
    certificates: pd.DataFrame = field(default_factory=lambda: table_of([], CertificateRecord).to_pandas())
    """How far models are from new ones at the same multipliers (columns of CertificateRecord)."""
    models: pd.DataFrame | None = None
    """Models that bound F, as `pooling` finds them; None: those of the rows alone."""

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
            return summarize(self.rows, self.config.tolerance, self.config.tolerance_floor, self.models)
        return summarize_transfers(self.rows, self.config.tolerance, self.config.tolerance_floor)

    @property
    def title(self) -> str:
        return f"{self.manifest.get('job', 'run')} {self.manifest.get('preset', '')}".strip()


def view_of(store: Store, others: Sequence[str] = ()) -> RunView:
    """The run at `store`; models of the runs `others` bound its F, too.

    Raises:
        FileNotFoundError: there is none.
        CorruptFile: it cannot be read.
        UsageError: one of the others has other data or another model.
    """
    manifest, config = stored_config(store)
    names = dict.fromkeys([*store.trajectories(), *config.trajectories()])
    return RunView(
        store=store,
        manifest=manifest,
        config=config,
        rows=load_rows(store.url()),
        readings=load_readings(store.url()),
        standing={name: standing(store.rows(name), config) for name in names},
        certificates=load_certificates(store.url()),
        models=models_of(store, others),
    )
