"""The models that bound the free energy of a run: those of all its trajectories, of its certificates, and of runs that are named."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from rayfe.config import READINGS
from rayfe.results.known_models import require_alike
from rayfe.storage.store import Store, load_certificates, load_rows

MODEL = ("t", "R", "D", "C")
"""What of a model bounds F: at its t, F(lam, gamma) <= R + lam D + gamma C."""


def models_of(store: Store, others: Sequence[str] = ()) -> pd.DataFrame:
    """`MODEL` of the accepted steps and certificates of a run and of `others`, locations of runs of the same data and model.

    Raises:
        FileNotFoundError: there is no run.
        CorruptFile: its rows or certificates cannot be read.
        UsageError: one of the others cannot be read, or has other data or another model.
    """
    return pooled(store, load_rows(store.url()), load_certificates(store.url()), others)


def pooled(store: Store, rows: pd.DataFrame, certificates: pd.DataFrame, others: Sequence[str] = ()) -> pd.DataFrame:
    """`models_of` a run whose rows and certificates are at hand."""
    if others:
        require_alike(store.read_config(), others, "with")
    frames = [*_models(store, rows, certificates)]
    for location in others:
        frames += _models(Store(location), load_rows(location), load_certificates(location))
    return pd.concat(frames, ignore_index=True)


def _models(store: Store, rows: pd.DataFrame, certificates: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    if not _of_this_version(store):  # its rows are read otherwise than certificates that were made since
        certificates = certificates[:0]
    lowest = certificates[["t", "lowest_R", "lowest_D", "lowest_C"]].set_axis(list(MODEL), axis=1)
    accepted = rows[rows["accepted"].astype(bool)]
    return accepted[list(MODEL)].astype(float), lowest.astype(float)


def _of_this_version(store: Store) -> bool:
    return not store.exists() or store.read_config().get("readings", 1) == READINGS
