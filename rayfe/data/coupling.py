"""A coupling of source and target: which source example goes to which target example, and with what probability."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rayfe.data import parquet_file
from rayfe.records.json_text import parsed

SCHEMA = pa.schema({"source": pa.int64(), "target": pa.int64(), "weight": pa.float64()})
ATOMS = tuple(SCHEMA.names)
REPORT = b"report"


@dataclass(frozen=True, kw_only=True, slots=True)
class Coupling:
    """Atoms (i, j) of a joint distribution whose marginals are uniform over the rows of source and target (37)."""

    source: np.ndarray
    """(atoms,) int64: rows i of the source."""
    target: np.ndarray
    """(atoms,) int64: rows j of the target."""
    weight: np.ndarray
    """(atoms,) float64: probabilities, with sum 1."""
    report: dict[str, Any]
    """How it was computed: solver, sizes, cost, error of the marginals, seconds, memory."""


def encode(coupling: Coupling) -> bytes:
    """A Parquet file of the atoms with a checksum per page, the report in its metadata."""
    table = pa.table({name: getattr(coupling, name) for name in ATOMS})
    table = table.replace_schema_metadata({REPORT: json.dumps(coupling.report)})
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue()


def decode(data: bytes) -> Coupling:
    """The opposite of `encode`.

    Raises:
        ValueError: the file is not one that `encode` made, or not whole.
    """
    try:
        table = parquet_file.read(data, SCHEMA)
        report = parsed((table.schema.metadata or {})[REPORT], dict[str, Any])
        return Coupling(**{name: table[name].to_numpy() for name in ATOMS}, report=report)
    except (KeyError, ValueError) as error:
        raise ValueError(f"is not a stored coupling ({error})") from error
