"""What a report is made of: a run's rows, readings and manifest, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rayfe.config import RunConfig
from rayfe.manifest import stored_config
from rayfe.progress import standing
from rayfe.store import Store, load_readings, load_rows


@dataclass(frozen=True, kw_only=True, slots=True)
class RunView:
    """A run as stored at one moment."""

    store: Store
    manifest: Mapping[str, Any]
    config: RunConfig
    rows: pd.DataFrame
    readings: pd.DataFrame
    standing: Mapping[str, str]
    """By trajectory: waiting, at step k of N, or how it ended."""

    @property
    def kind(self) -> str:
        """walk, transfer or baseline."""
        if self.config.method is not None:
            return "baseline"
        return "transfer" if self.config.moves_data else "walk"

    @property
    def title(self) -> str:
        return f"{self.manifest.get('job', 'run')} {self.manifest.get('preset', '')}".strip()


def view_of(store: Store) -> RunView:
    """The run at `store`.

    Raises:
        FileNotFoundError: there is none.
        CorruptFile: it cannot be read.
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
    )
