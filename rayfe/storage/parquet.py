"""Stored rows as Parquet: one explicit schema per record, read from its fields, with a description per column.

The schema never depends on the values, so a column that is all null in one file has the type it has in the
others and a folder of files reads as one table. Equal rows give equal bytes (one version of pyarrow).
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from rayfe.data import parquet_file

Record = TypeVar("Record")

RETIRED = frozenset({"gap", "restarted_run"})
"""Columns that older versions wrote, and nobody reads any more."""
ARROW_TYPES: Mapping[object, pa.DataType] = MappingProxyType(
    {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
        tuple[float, ...]: pa.list_(pa.float64()),
    }
)


def schema_of(record_class: type) -> pa.Schema:
    """Arrow schema of a record: a column per field, nullable where the field may be None."""
    return _schema(record_class)


@functools.cache
def _schema(record_class: Any) -> pa.Schema:
    """Kept, since reading the types of 85 fields five times a step took two fifths of the CPU time of a commit."""
    hints = typing.get_type_hints(record_class)
    return pa.schema([_column(item.name, hints[item.name], item.metadata) for item in dataclasses.fields(record_class)])


def _column(name: str, hint: object, metadata: typing.Mapping[str, str]) -> pa.Field:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    (kind,) = (option for option in options if option is not types.NoneType)
    # exactly one metadata key: the order of several is not ours to choose, and the bytes would follow it
    return pa.field(
        name, ARROW_TYPES[kind], nullable=types.NoneType in options, metadata={"description": metadata["description"]}
    )


def table_of(records: Iterable[Record], record_class: type[Record]) -> pa.Table:
    """Arrow table of `records`, with the schema of `record_class` also when there are none."""
    schema = schema_of(record_class)
    return pa.Table.from_pylist([{name: getattr(record, name) for name in schema.names} for record in records], schema=schema)


def encode(records: Iterable[Record], record_class: type[Record]) -> bytes:
    """Parquet file of `records`, as bytes, with a checksum per page."""
    return encode_table(table_of(records, record_class))


def encode_table(table: pa.Table) -> bytes:
    """Parquet file of a table of `table_of`, or of several that were put together: the bytes follow from the rows alone."""
    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks(), sink, write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def decode(data: bytes, record_class: type[Record]) -> list[Record]:
    """Records of a Parquet file. Nullable columns that an older version did not write are None; more columns are ignored.

    Raises:
        ValueError: these bytes are not a whole table of such records.
    """
    known = _columns(record_class)  # type: ignore[arg-type]
    try:
        table = parquet_file.read(data, schema_of(record_class))
        found = dict(zip(table.schema.names, table.columns, strict=True))
        missing = known.keys() - found.keys()
        others = pq.read_schema(pa.BufferReader(data)).names if missing else ()
        unknown = table.num_columns > len(found) or set(others) - known.keys() - RETIRED
        columns = []
        for name, field in known.items():
            # the footer has no checksum: a column both missing and unknown is most likely one with a damaged name
            if name in missing and (unknown or not field.nullable):
                raise ValueError(f"no column {name}")
            columns.append(_values(found[name], field) if name in found else [None] * table.num_rows)
    except (pa.ArrowException, ValueError) as error:
        raise ValueError(f"not a table of {record_class.__name__} ({error})") from error
    return [record_class(**dict(zip(known, row, strict=True))) for row in zip(*columns, strict=True)]


@functools.cache
def _columns(record_class: Any) -> dict[str, pa.Field]:
    return {field.name: field for field in schema_of(record_class)}


def _values(column: pa.ChunkedArray, field: pa.Field) -> list[Any]:
    """A column as records have it: lists do not change. Raises ValueError: it is another one."""
    if column.null_count and not field.nullable:
        raise ValueError(f"column {field.name} has nulls")
    return [tuple(value) if isinstance(value, list) else value for value in column.to_pylist()]
