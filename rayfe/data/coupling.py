"""A coupling of source and target: which source example goes to which target example, and with what probability."""

from __future__ import annotations

import io
import json
import math
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
MARGINAL_ERROR = 1e-6
"""L1 distance of a stored marginal from the uniform one, at most: solvers leave rounding."""


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

    @property
    def sizes(self) -> tuple[int, int]:
        """Rows of source and target: the last of each has an atom, since marginals are uniform."""
        return int(self.source.max(initial=-1)) + 1, int(self.target.max(initial=-1)) + 1


def encode(coupling: Coupling) -> bytes:
    """A Parquet file of the atoms with a checksum per page, the report in its metadata: what is infinite there is null in JSON."""
    table = pa.table({name: getattr(coupling, name) for name in ATOMS})
    report = {name: None if value in (math.inf, -math.inf) else value for name, value in coupling.report.items()}
    table = table.replace_schema_metadata({REPORT: json.dumps(report, allow_nan=False)})
    sink = io.BytesIO()
    pq.write_table(table, sink, write_page_checksum=True)
    return sink.getvalue()


def decode(data: bytes) -> Coupling:
    """The opposite of `encode`.

    Raises:
        ValueError: the file is not one that `encode` made, or not whole; or its marginals are not uniform.
    """
    try:
        table = parquet_file.read(data, SCHEMA)
        report = parsed((table.schema.metadata or {})[REPORT], dict[str, Any])
        found = Coupling(**{name: table[name].to_numpy() for name in ATOMS}, report=report)
        _check(found)
        return found
    except (KeyError, ValueError) as error:
        raise ValueError(f"is not a stored coupling ({error})") from error


def _check(coupling: Coupling) -> None:
    """Raises ValueError where it is no joint distribution with uniform marginals over as many rows as its report says."""
    if (coupling.weight < 0).any():
        raise ValueError("a weight is negative")
    for end, size in zip(("source", "target"), coupling.sizes, strict=True):
        rows = getattr(coupling, end)
        if rows.min(initial=0) < 0 or not 0 < size <= len(rows) or coupling.report.get(f"{end}_size", size) != size:
            raise ValueError(f"its rows of the {end} are not those of all examples")
        error = np.abs(np.bincount(rows, coupling.weight, size) - 1.0 / size).sum()
        if not error <= MARGINAL_ERROR:
            raise ValueError(f"its marginal over the {end} is not uniform, but off by {error:.2g}")
