"""What somebody else wrote into a run's files: read by types, within limits, or refused; never believed."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rayfe
from hostile import TEXTS, VALUES, headers, lying, places, put, with_value
from rayfe.config import configure
from rayfe.config.asked import Walk
from rayfe.config.fields import hints_of
from rayfe.data import coupling, parquet_file
from rayfe.data.paths import load_path
from rayfe.exceptions import CorruptFile, visible
from rayfe.model.protocol import build
from rayfe.model.weights import weights_of
from rayfe.records import CertificateRecord, StepRecord
from rayfe.records.codec import CodecRecord
from rayfe.records.json_text import parsed
from rayfe.records.possible import LOSSLESS, MEASURED, NEEDED, RANGES, fault_of
from rayfe.records.run_json import RunJson
from rayfe.records.universal import UniversalRecord
from rayfe.records.weights import arrays_in
from rayfe.storage.manifest import manifest_of, stored_config
from rayfe.storage.parquet import decode, encode, encode_table, schema_of, table_of
from rayfe.storage.store import Store
from rayfe.storage.table import LIMIT
from rayfe.trajectory.driver import failure
from stored_steps import NAME, commit_of, step_record, walk

FEW = ("null", "true", "half", "text", "list", "strings", "object")
"""Values of each type."""


def manifest() -> dict[str, Any]:
    config = configure(lam=(0.25,), gamma=(4.0,), steps=4, data={"name": "digits"})
    return manifest_of("isoc", "digits-smoke", [], config, load_path(config))


@pytest.fixture
def stored_model(tmp_path: Path) -> Path:
    """A run with one model of the digits."""
    made = manifest()
    _, config = stored_config(_created(tmp_path, made))
    weights = weights_of(build(config.model, input_shape=(64,), classes=10))
    Store(tmp_path).commit(NAME, dataclasses.replace(commit_of(0), state=weights))
    return tmp_path


def _created(place: Path, made: dict[str, Any]) -> Store:
    store = Store(place)
    store.create(made)
    return store


# --- JSON ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [TEXTS[name] for name in ("digits", "deep", "deep lists", "twice", "no object")])
def test_json_that_programs_read_in_different_ways_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^is not (JSON|what it should be)"):
        parsed(text, RunJson)


@pytest.mark.parametrize("word", ["NaN", "-Infinity", "1e999", "9" * 4000, str(2**63), '"\\ud800"', '"\\x"', "01", "\x00"])
def test_a_value_that_cannot_be_kept_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match="is not JSON"):
        parsed(f'{{"preset": {word}}}', RunJson)


@pytest.mark.parametrize("value", ['"scale": {"low": 0}', '"start": {"sha256": "x"}'])
def test_a_part_without_what_it_needs_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="it has no (high|from)|(scale has no high|start has no from)"):
        parsed(f"{{{value}}}", RunJson)


def test_every_field_of_run_json_is_of_its_type_or_the_run_is_refused(tmp_path: Path) -> None:
    """A run is read with a value of every type in every field, or is refused in one short line that names run.json."""
    store, good, refused = Store(tmp_path), manifest(), 0
    (tmp_path / "copies").mkdir()
    good |= {"start": {"from": "x@1", "sha256": "0", "examples": 1.0}, "scale": {"low": 0.0, "high": [1.0]}}
    identity = good.pop("identity")
    for place in places(good):
        for name in FEW:
            put(tmp_path, with_value(good, place, VALUES[name]) | {"identity": identity})
            try:
                _, config = stored_config(store)
            except CorruptFile as error:
                refused += 1
                assert "run.json: is not" in str(error) and str(error).isprintable() and len(str(error)) < 600
            else:
                assert type(config.model.hidden) is int and type(config.steps) is int and isinstance(config.lam[0], float)
    assert refused > 250


# --- tables --------------------------------------------------------------------------------------------------------------


def of_file(table: pa.Table, **options: Any) -> bytes:
    made = io.BytesIO()
    pq.write_table(table, made, **options)
    return made.getvalue()


def with_column(name: str, values: pa.Array) -> pa.Table:
    table = table_of([step_record(0)] * len(values), StepRecord)
    return table.set_column(table.column_names.index(name), name, values)


def repeated(word: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([word]))


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        (lambda: with_column("reason", repeated("x" * 10**6, 10)), "a word of more than"),
        (lambda: with_column("reason", repeated("x" * 9000, 15_000)).select(["reason"]), "its words have 135000000 bytes"),
        (lambda: pa.table({f"x{n}": [1] for n in range(1001)}), "1001 columns"),
        (lambda: with_column("lam", pa.array(["1.0"])), "lam is of string, not of double"),
        (lambda: with_column("step", pa.array([0.0])), "step is of double, not of int64"),
        (lambda: with_column("reason", pa.array([[["x"]]])), "reason is of list"),
        (lambda: with_column("reason", pa.array([b"\xff"])), "reason is of binary"),
    ],
)
def test_a_small_table_that_unpacks_to_a_large_one_is_refused(table: Any, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_file, "MOST_BYTES", 2**26)
    with pytest.raises(ValueError, match=fault):
        decode(of_file(table()), StepRecord)


def test_lists_whose_length_the_footer_does_not_say_are_not_read() -> None:
    values = pa.ListArray.from_arrays(pa.array([0, 100_003], pa.int32()), pa.array(np.full(100_003, 0.5)))
    schema = pa.schema({"R_dims": pa.list_(pa.float64())})
    data = of_file(pa.table({"R_dims": values}), data_page_version="1.0")
    assert len(parquet_file.read(data, schema)["R_dims"][0]) == 100_003
    length = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(0).num_values
    assert length == 100_003
    for version in ("1.0", "2.0"):
        data = of_file(pa.table({"R_dims": values}), data_page_version=version)
        with pytest.raises(ValueError, match="more values than the file says"):
            parquet_file.read(lying(data, 3, before=length), schema)


@pytest.mark.parametrize("rows", [10**9, 2**62, -5])
def test_a_footer_that_lies_about_its_rows_is_refused(rows: int) -> None:
    data = encode([step_record(number) for number in range(77)], StepRecord)
    with pytest.raises(ValueError, match="not a table of StepRecord"):
        decode(lying(data, rows, before=77), StepRecord)


def test_compression_without_an_end_is_not_unpacked() -> None:
    with pytest.raises(ValueError, match="compressed by ZSTD"):
        decode(of_file(table_of([step_record(0)], StepRecord), compression="zstd"), StepRecord)


def test_a_coupling_is_read_by_the_same_limits() -> None:
    atoms = {"source": np.zeros(9, np.int64), "target": np.zeros(9, np.int64), "weight": np.full(9, 1 / 9)}
    data = coupling.encode(coupling.Coupling(**atoms, report={"solver": "exact"}))
    assert coupling.decode(data).report == {"solver": "exact"}
    for wrong in (of_file(pa.table(atoms)), of_file(pa.table(atoms), compression="gzip"), encode_table(pa.table({"x": [1]}))):
        with pytest.raises(ValueError, match="is not a stored coupling"):
            coupling.decode(wrong)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_run_json_that_could_not_be_read_is_not_written(number: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        Store(tmp_path / "run").create({"scale": {"low": number, "high": 1.0}})
    assert not list(tmp_path.rglob("*.json"))


def test_a_coupling_with_forbidden_pairs_can_be_read_again() -> None:
    """Independent pairs then cost infinitely much."""
    one = coupling.Coupling(
        source=np.arange(2), target=np.arange(2), weight=np.full(2, 0.5), report={"cost_of_independent": np.inf}
    )
    assert coupling.decode(coupling.encode(one)).report == {"cost_of_independent": None}


@pytest.mark.parametrize(
    "values",
    [
        *({name: value} for name in ("lam", "gamma", "examples", "seconds") for value in (-1.0, np.nan, np.inf, 1e200)),
        *(
            {name: value}
            for name in ("step", "attempt", "seed")
            for value in (-1, 2**63 - 1)
            if (name, value) != ("seed", 2**63 - 1)
        ),
        {"lam": 0.0},
        {"t": 1.5},
        {"kind": "x"},
        {"leg": "x"},
        {"outcome": "x"},
        {"R": 1e200},
    ],
)
def test_rows_that_no_run_writes_are_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    store = Store(tmp_path)
    walk(store, 1)
    rows = [dataclasses.replace(step_record(0), **values)]
    (tmp_path / "steps" / f"{NAME}.parquet").write_bytes(encode(rows, StepRecord))
    with pytest.raises(CorruptFile, match="a row that no run writes: "):
        store.rows(NAME)


def test_rows_of_runs_are_taken() -> None:
    assert fault_of(step_record(0, R=np.nan, D=np.inf, seed=2**63 - 1)) is None
    key = {"trajectory": NAME, "step": 0, "state_sha256": "", "method": "on", "outcome": "OK", "held_on": "train"}
    numbers = dict.fromkeys(("lam", "gamma", "t", "epochs", "examples", "seconds"), 1.0)
    whole = CertificateRecord(**key, **numbers, seeds=2, **dict.fromkeys(MEASURED, 1.0), dF_se=0.1, dC=0.1, dC_se=0.1)
    assert fault_of(whole) is None
    assert fault_of(dataclasses.replace(whole, dC_se=None)) == "dC is without its error"
    assert fault_of(dataclasses.replace(whole, F=None)) == "F is missing"
    assert fault_of(dataclasses.replace(whole, F=np.nan)) == "F is nan"
    assert set(schema_of(StepRecord).names) > {"kind", "leg", "outcome"}


def test_records_that_no_codec_and_no_new_decoder_has_are_refused() -> None:
    key = {"trajectory": NAME, "step": 0, "state_sha256": ""}
    numbers = dict.fromkeys(("R", "z_bits", "boxes", "D", "coded_D", "D_se", "D_nats", "x_bits", "seconds"), 1.0)
    texts = dict.fromkeys(("z_sha256", "x_sha256", "reconstructions_sha256"), "")
    counts = {"images": 1, "latent": 2, "blocks": 1, "cut": 0, "levels": 17}
    coded = CodecRecord(**key, **numbers, **texts, **counts, accuracy=None, coded_accuracy=None)
    assert fault_of(coded) is None
    assert fault_of(dataclasses.replace(coded, D=-1.0, coded_D=-2.0)) is None
    assert fault_of(dataclasses.replace(coded, **dict.fromkeys(LOSSLESS))) is None
    for wrong in ({"R": -2.0}, {"images": 0}, {"D_nats": None}, {"x_bits": 0.0}, {"R": 0.0, "D_nats": 0.0}, {"z_bits": 1e200}):
        assert fault_of(dataclasses.replace(coded, **wrong)) is not None, wrong
    trained = UniversalRecord(**key, seed=1, epochs=1.0, lam=1.0, gamma=1.0, outcome="OK", examples=1.0, seconds=1.0)
    assert fault_of(trained) == "R is None"
    assert fault_of(dataclasses.replace(trained, **dict.fromkeys(NEEDED, 1.0))) is None
    assert fault_of(dataclasses.replace(trained, outcome="NONFINITE")) is None


def test_what_a_run_may_write_is_what_can_be_read() -> None:
    widest = hints_of(Walk)["model.latent"].__metadata__[0].most
    assert LIMIT * (widest + len(schema_of(StepRecord))) <= parquet_file.MOST_VALUES
    lam = hints_of(Walk)["lam"].__metadata__[0]
    least, most = RANGES["lam"]
    assert least <= lam.least and lam.most <= most


def test_a_reason_of_any_letters_can_be_read_again(tmp_path: Path) -> None:
    store = _created(tmp_path, manifest())
    store.keep_failures({NAME: failure(NAME, OSError("a\udcff\nb" + 5000 * "x"))})
    (reason,) = store.failures().values()
    assert reason.startswith("OSError: a") and len(reason) < 1100


# --- weights -------------------------------------------------------------------------------------------------------------


def test_a_header_of_weights_that_lies_is_refused() -> None:
    for name in headers().keys() - {"escapes", "many", "another"}:
        with pytest.raises(ValueError, match="^is no weight file"):
            arrays_in(headers()[name])


@pytest.mark.parametrize("sizes", [{"hidden": 65_000, "latent": 30_000}, {"latent": 29_000}, {"classifier_hidden": 9}])
def test_a_model_that_is_not_of_its_weights_takes_no_memory(stored_model: Path, sizes: dict[str, int]) -> None:
    config = json.loads((stored_model / "run.json").read_text())
    config["config"] |= {f"model.{name}": size for name, size in sizes.items()}
    put(stored_model, config)
    with pytest.raises(CorruptFile, match="is not of the model that run.json describes"):
        rayfe.load_model(stored_model, NAME, 0)


# --- words ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [*(VALUES[name] for name in ("escapes", "long")), "\ud800", "\u200b", "\U000e0041", "a\u2028b"]
)
def test_visible_words_are_one_line_of_characters_that_are_seen(text: str) -> None:
    assert visible(text).isprintable()
    visible(text).encode()
    assert len(str(CorruptFile("x", text))) < 2100
    assert visible("größe 漢字 λ 🙂") == "größe 漢字 λ 🙂"
    assert json.dumps(visible(text))
