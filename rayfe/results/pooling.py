"""The models that bound the free energy of a run: those of all its trajectories, of its certificates, and of runs that are named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from rayfe.config import READINGS, require, stored_identity
from rayfe.config.user_code import OF_MODELS
from rayfe.exceptions import CorruptFile, StorageError, UsageError
from rayfe.records import ANEW
from rayfe.storage.store import Store, load_certificates, load_rows

MODEL = ("t", "R", "D", "C", "S")
"""What of a model bounds F: at its t, F(lam, gamma) <= R + lam D + gamma C."""
ELSEWHERE = "elsewhere"
"""Whether a model is of another run, or was trained from new weights for a certificate: whether it says anything if it is no lower."""
PAST = {"data.control_share": 0.1, "path.components": 64}
"""What this version has in place of options that older ones had."""


def models_of(store: Store, others: Sequence[str] = ()) -> pd.DataFrame:
    """What bounds F (`MODEL`, `ELSEWHERE`): accepted steps and certificates of a run and of `others`, runs of the same data and model.

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
        there = _models(Store(location), load_rows(location), load_certificates(location))
        frames += [frame.assign(**{ELSEWHERE: True}) for frame in there]
    return pd.concat(frames, ignore_index=True)


def _models(store: Store, rows: pd.DataFrame, certificates: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    if not _of_this_version(store):  # its rows are read otherwise than certificates that were made since
        certificates = certificates[:0]
    lowest = certificates[["t", "lowest_R", "lowest_D", "lowest_C", "lowest_S"]].set_axis(list(MODEL), axis=1)
    accepted = rows[rows["accepted"].astype(bool)]
    anew = certificates["method"].to_numpy() == ANEW
    return accepted[list(MODEL)].astype(float).assign(**{ELSEWHERE: False}), lowest.astype(float).assign(**{ELSEWHERE: anew})


def _of_this_version(store: Store) -> bool:
    return not store.exists() or store.read_config().get("readings", 1) == READINGS


def require_alike(manifest: Mapping[str, Any], locations: Iterable[str], field: str) -> None:
    """Check that runs are of the same data, model and split as the run of `manifest`: only then their models bound its F.

    Raises:
        UsageError: one of them is not, or cannot be read; it names `field`.
    """
    for location in locations:
        try:
            run = Store(location).read_config()
            alike = run["data_sha256"] == manifest["data_sha256"] and _defining(run) == _defining(manifest)
        except (FileNotFoundError, CorruptFile, StorageError, KeyError, TypeError, ValueError) as error:
            raise UsageError(field, location, f"cannot be read ({error}); give folders of runs") from error
        require(alike and _same_code(run, manifest), field, location, "has other data or another model; give runs of the same")
        same, fix = run.get("readings", 1) == manifest.get("readings", 1), "give runs of one version"
        require(same, field, location, f"has readings that are defined otherwise than this run's; {fix}")


def _same_code(run: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether what models are made of, of the user's own, has the same code in both, as far as both know it."""
    ours, theirs = (one.get("code_sha256", {}) for one in (run, other))
    return all(ours[name] == theirs[name] for name in OF_MODELS if name in ours and name in theirs)


def _defining(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What makes F the same function: model, data path and training examples."""
    fields = PAST | stored_identity(manifest)
    unread = {"path.last_epochs"}
    if fields["path.regularization"] is None:
        unread.add("path.components")
    held_out = {"data.control_share": fields["data.control_share"]} if fields.get("hold") == "control" else {}
    of = ("model.",) if fields["path.target"] is None else ("model.", "path.")
    return held_out | {name: value for name, value in fields.items() if name.startswith(of) and name not in unread}
