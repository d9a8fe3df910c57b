"""The table of certificates of a trajectory: kept by model and method, read as far as its models are still rows."""

from __future__ import annotations

from collections.abc import Sequence

from rayfe.records import CertificateRecord, StepRecord
from rayfe.storage.files import Files
from rayfe.storage.layout import certificates_path, previous_path, read_table
from rayfe.storage.parquet import encode


def read_certificates(files: Files, trajectory: str, rows: Sequence[StepRecord]) -> list[CertificateRecord]:
    """Certificates of models that these rows have, by step and method. Raises CorruptFile if they cannot be read."""
    models = {(row.step, row.state_sha256) for row in rows if row.accepted}
    found = read_table(files, certificates_path(trajectory), CertificateRecord)
    return [one for one in found if (one.step, one.state_sha256) in models]


def write_certificate(files: Files, record: CertificateRecord, others: Sequence[CertificateRecord]) -> None:
    """Replace the table by `others` and `record`, which takes the place of one of the same model and method."""
    same = (record.state_sha256, record.method)
    kept = [one for one in others if (one.state_sha256, one.method) != same]
    path = certificates_path(record.trajectory)
    files.keep(path, previous_path(path))
    files.write(path, encode(sorted([*kept, record], key=lambda one: (one.step, one.method)), CertificateRecord))
