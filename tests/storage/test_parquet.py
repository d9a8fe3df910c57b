"""Tables of records: every column is described, values come back exactly, equal rows are equal bytes."""

from __future__ import annotations

import dataclasses
import typing
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayfe.records import ReadingRecord, StepRecord
from rayfe.storage import parquet
from stored_steps import NAME, step_record


@pytest.mark.parametrize("record_class", [StepRecord, ReadingRecord])
def test_every_column_has_a_type_and_a_description_in_the_file(record_class: type) -> None:
    schema = pq.read_schema(pa.BufferReader(parquet.encode([], record_class)))
    hints = typing.get_type_hints(record_class)
    assert schema.names == [item.name for item in dataclasses.fields(record_class)]
    for item in dataclasses.fields(record_class):
        assert schema.field(item.name).metadata[b"description"].decode() == item.metadata["description"]
        assert schema.field(item.name).nullable == (type(None) in typing.get_args(hints[item.name]))


ANY_FLOAT = st.floats(allow_nan=False, allow_subnormal=True)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(ANY_FLOAT, st.none() | ANY_FLOAT, st.none() | st.integers(0, 2**62), st.none() | st.text()), max_size=5)
)
def test_rows_come_back_exactly(values: list[tuple[float, float | None, int | None, str | None]]) -> None:
    rows = [
        step_record(
            step, lam=lam, R=R, response_age=age, reason=None if text is None else text.encode("utf-8", "ignore").decode()
        )
        for step, (lam, R, age, text) in enumerate(values)
    ]
    again = parquet.decode(parquet.encode(rows, StepRecord), StepRecord)
    assert again == rows
    assert [np.signbit(row.lam) for row in again] == [np.signbit(row.lam) for row in rows]


def test_lists_come_back_exactly_and_pandas_and_arrow_read_them_as_lists_of_numbers(tmp_path: Path) -> None:
    rows = [step_record(0, R_dims=(0.1, 0.25, 1e-300)), step_record(1, R_dims=()), step_record(2)]
    data = parquet.encode(rows, StepRecord)
    assert parquet.decode(data, StepRecord) == rows
    (tmp_path / "a.parquet").write_bytes(data)
    assert pq.read_schema(tmp_path / "a.parquet").field("R_dims").type == pa.list_(pa.float64())
    read = pd.read_parquet(tmp_path)["R_dims"]
    assert [None if value is None else list(value) for value in read] == [[0.1, 0.25, 1e-300], [], None]


def test_numpy_scalars_are_stored_like_python_numbers() -> None:
    row = step_record(0, lam=np.float64(0.1), R=np.float64(2.5), seed=np.int64(3), accepted=np.bool_(True))
    assert parquet.decode(parquet.encode([row], StepRecord), StepRecord) == [step_record(0, lam=0.1, R=2.5, seed=3)]


def test_equal_rows_give_equal_bytes() -> None:
    rows = [step_record(0, R=0.1), step_record(1, accepted=False, reason="NONFINITE")]
    assert parquet.encode(rows, StepRecord) == parquet.encode([dataclasses.replace(row) for row in rows], StepRecord)


def test_none_in_a_column_that_is_always_measured_is_refused() -> None:
    with pytest.raises(pa.ArrowInvalid):
        parquet.encode([step_record(0, lam=None)], StepRecord)


def test_a_table_of_an_older_version_reads_with_none_for_its_missing_columns() -> None:
    table = parquet.table_of([step_record(0, R=1.0, D=2.0)], StepRecord).drop_columns(["D"])
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    assert parquet.decode(sink.getvalue().to_pybytes(), StepRecord) == [step_record(0, R=1.0)]


def test_a_damaged_value_or_column_name_is_noticed() -> None:
    data = parquet.encode([step_record(0, R=0.1, val_accuracy=0.5)], StepRecord)
    for text in (NAME.encode(), np.float64(0.1).tobytes(), b"val_accuracy"):
        places = [place for place in range(len(data)) if data.startswith(text, place)]
        assert places
        for place in places:
            damaged = bytearray(data)
            damaged[place] ^= 4
            try:
                assert parquet.decode(bytes(damaged), StepRecord) == [
                    step_record(0, R=0.1, val_accuracy=0.5)
                ]  # a copy in the footer
            except ValueError as error:
                assert "not a table of StepRecord" in str(error)
