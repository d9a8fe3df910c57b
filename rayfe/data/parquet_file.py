"""Parquet that anybody may have written: one reader, which unpacks no more than fits, whatever the file says of itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

MOST_VALUES, MOST_BYTES, MOST_COLUMNS, MOST_LETTERS = 20_000_000, 2**30, 1000, 10_000
"""Values, bytes when unpacked, columns, and bytes of a word, of a file that is read at most: 200,000 rows of steps."""
CODECS = ("SNAPPY", "UNCOMPRESSED")
"""They make bytes at most some twenty times as many; others do not end there."""
DATA_PAGE, DATA_PAGE_V2, SIZE, COUNT = 5, 8, 3, 1
"""Fields of the header of a page: what it says of its values, in two versions of the format; its bytes; and there, their number."""


def read(data: bytes, wanted: pa.Schema, *, most: int = MOST_VALUES) -> pa.Table:
    """The columns of a Parquet file that `wanted` names, as far as it has them, with the file's metadata; others are not read.

    Raises:
        ValueError: it is no whole Parquet file, has too much, or has a column of another type.
    """
    try:
        metadata = pq.read_metadata(pa.BufferReader(data))
        known, there = {field.name: field for field in wanted}, metadata.schema.names
        # words by number: a file of a few bytes may repeat a long one without end
        words = [name for name in there if name in known and known[name].type == pa.string()]
        file = pq.ParquetFile(pa.BufferReader(data), metadata=metadata, page_checksum_verification=True, read_dictionary=words)
        schema = file.schema_arrow
        names = [name for name in schema.names if name in known]
        _check_size(data, metadata, most)
        for name in names:
            _check_type(schema.field(name), known[name])
        table = file.read(columns=names, use_threads=False)
        _check_words(table, words)
        return table.cast(pa.schema([known[name] for name in names], schema.metadata))
    except (pa.ArrowException, OSError, KeyError, MemoryError, OverflowError) as error:  # OSError: thrift's word for damage
        raise ValueError(f"cannot be read as Parquet ({error})") from error


def _check_type(found: pa.Field, wanted: pa.Field) -> None:
    kind = found.type.value_type if pa.types.is_dictionary(found.type) else found.type
    if kind != wanted.type:
        raise ValueError(f"the column {wanted.name} is of {kind}, not of {wanted.type}")


def _check_size(data: bytes, metadata: pq.FileMetaData, most: int) -> None:
    """Raises ValueError where a small file holds more than is read: equal values take next to no room in it."""
    if metadata.num_columns > MOST_COLUMNS:
        raise ValueError(f"has {metadata.num_columns} columns, more than the {MOST_COLUMNS} that are read")
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [group.column(number) for group in groups for number in range(group.num_columns)]
    values = sum(column.num_values for column in columns)
    if max(metadata.num_rows, values) > most or sum(group.total_byte_size for group in groups) > MOST_BYTES:
        raise ValueError(f"{metadata.num_rows} rows, {values} values: more than the {most} values that are read of a file")
    for column in columns:
        if column.compression not in CODECS:
            raise ValueError(f"is compressed by {column.compression}, which is not read")
        if "." in column.path_in_schema and column.num_values and sum(_values_of_pages(data, column)) > column.num_values:
            raise ValueError(f"the column {column.path_in_schema} has more values than the file says")


def _check_words(table: pa.Table, words: list[str]) -> None:
    """Raises ValueError where words are too long, one or all of them together."""
    size = 0
    for chunk in (chunk for name in words for chunk in table[name].chunks):
        lengths = pc.binary_length(chunk.dictionary)
        if (pc.max(lengths).as_py() or 0) > MOST_LETTERS:
            raise ValueError(f"has a word of more than the {MOST_LETTERS} bytes that are read")
        size += pc.sum(lengths.take(chunk.indices)).as_py() or 0
    if size > MOST_BYTES:
        raise ValueError(f"its words have {size} bytes, more than the {MOST_BYTES} that are read")


# --- the headers of pages ----------------------------------------------------------------------------------------------


def _values_of_pages(data: bytes, column: pq.ColumnChunkMetaData) -> Iterator[int]:
    """How many values the pages of a column have: of lists they are read to the end, whatever the footer says."""
    at = min(column.data_page_offset, column.dictionary_page_offset or column.data_page_offset)
    end = at + column.total_compressed_size
    try:
        while at < end:
            header, at = _struct(data, at)
            yield sum(header.get(kind, {}).get(COUNT, 0) for kind in (DATA_PAGE, DATA_PAGE_V2))
            at += max(0, header[SIZE])
    except (IndexError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"a page of the column {column.path_in_schema} has no header") from error


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """The fields of a struct of thrift's compact protocol by number, and where it ends."""
    fields: dict[int, Any] = {}
    number = 0
    while byte := data[at]:
        at, kind = at + 1, byte & 15
        if byte >> 4:
            number += byte >> 4
        else:
            number, at = _integer(data, at)
        match kind:
            case 1 | 2:
                fields[number] = kind == 1
            case 3:
                at += 1
            case 4 | 5 | 6:
                fields[number], at = _integer(data, at)
            case 8:
                length, at = _varint(data, at)
                at += length
            case 12:
                fields[number], at = _struct(data, at)
            case _:
                raise KeyError(kind)
    return fields, at + 1


def _integer(data: bytes, at: int) -> tuple[int, int]:
    found, at = _varint(data, at)
    return (found >> 1) ^ -(found & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    found = 0
    for shift in range(0, 70, 7):
        found |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return found, at
    raise KeyError(at)
