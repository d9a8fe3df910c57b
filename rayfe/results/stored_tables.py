"""The tables of a stored run as frames: what `rayfe.load_run` and `rayfe.load_certificates` read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from rayfe.config.arguments import checked
from rayfe.storage import store


@checked
def load_run(location: str | Path) -> pd.DataFrame:
    """All attempted steps of a run, a row each, by trajectory, step and attempt.

    `location` is the run's folder or its URI; the columns are the fields of `rayfe.records.StepRecord`. Of process iso-losses each
    loss has C_NAME, gamma_NAME, drift_NAME (C over that of step 0, minus 1) and drift_se_NAME besides.

    Raises:
        FileNotFoundError: there is no run at `location`.
        CorruptFile: a trajectory's rows cannot be read.
    """
    return store.load_rows(location)


@checked
def load_certificates(location: str | Path) -> pd.DataFrame:
    """All certificates of a run, a row for each certified model and method; the columns are the fields of
    `rayfe.records.CertificateRecord`.

    Raises:
        FileNotFoundError: there is no run at `location`.
        CorruptFile: certificates or rows cannot be read.
    """
    return store.load_certificates(location)
