"""The table of certificates of a trajectory: kept by model and method, read as far as its models are still rows."""

from __future__ import annotations

from collections.abc import Sequence

from rayfe.records import CertificateRecord, StepRecord
from rayfe.storage.files import Files
from rayfe.storage.layout import copy_path
from rayfe.storage.parquet import encode
from rayfe.storage.table import certificates_of


def read_certificates(files: Files, trajectory: str, rows: Sequence[StepRecord]) -> list[CertificateRecord]:
    """Certificates of models that these rows have, by step and method. Raises CorruptFile if they cannot be read."""
    models = {(row.step, row.state_sha256) for row in rows if row.accepted}
    found = certificates_of(files, trajectory).records()
    return [one for one in found if (one.step, one.state_sha256) in models]


def write_certificate(files: Files, record: CertificateRecord, others: Sequence[CertificateRecord]) -> None:
    """Replace the table by `others` and `record`, which takes the place of one of the same model and method."""
    same = (record.state_sha256, record.method)
    kept = [one for one in others if (one.state_sha256, one.method) != same]
    path = certificates_of(files, record.trajectory).path(0)
    data = encode(sorted([*kept, record], key=lambda one: (one.step, one.method)), CertificateRecord)
    files.write(path, data)
    files.write(copy_path(path), data, durable=False)
