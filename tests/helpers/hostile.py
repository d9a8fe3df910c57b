"""Hostile runs made from a good one: each field, each column, each file; and what is said where somebody looks at them."""

from __future__ import annotations

import copy
import functools
import hashlib
import io
import json
import os
import re
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Case = Callable[[Path], object]
"""Makes a good run at a path a hostile one."""

ESCAPES = "\x1b[2J\x1b]0;owned\x07\x9b2J\u202egnp\u2028\x00\r\n# x"
MARKUP = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'`](javascript:alert(1)) |*b*|"
FORMULA = r"$\frac{\undefined$ {0!r} %s"
WORDS: Mapping[str, str] = {
    "escapes": ESCAPES,
    "markup": MARKUP,
    "formula": FORMULA,
    "surrogate": "\ud800",
    "long": "x" * 10**6,
    "path": "../../outside/keep.txt",
    "code": "canary:Net",
    "file": "npz:../../outside/keep.txt",
}
VALUES: Mapping[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "minus": -1,
    "billion": 10**9,
    "huge": 10**18,
    "digits": 10**4000,
    "half": 0.5,
    "tiny": 5e-324,
    "inf": float("inf"),
    "nan": float("nan"),
    "text": "x",
    "empty": "",
    "list": [],
    "nested": [[[1]]],
    "strings": ["x", "x"],
    "many": list(range(10**5)),
    "object": {},
    "objects": {"x": {"x": 1}},
    **WORDS,
}


# --- run.json ------------------------------------------------------------------------------------------------------------


def put_text(run: Path, text: str) -> None:
    """This text as run.json and its copy."""
    (run / "run.json").write_text(text)
    stored = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "text": text}
    (run / "copies" / "run.json").write_text(json.dumps(stored))


def put(run: Path, config: Any) -> None:
    put_text(run, json.dumps(config))


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The place of everything in a JSON value."""
    if place:
        yield place
    items = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*place, key))


def with_value(config: Any, place: tuple[Any, ...], value: Any) -> Any:
    made = copy.deepcopy(config)
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return made


def config_cases(good: Path) -> Iterator[tuple[str, Case]]:
    config = json.loads((good / "run.json").read_text())
    config["start"] = {"from": "other@3", "sha256": "0" * 64, "examples": 1.0}
    for place in places(config):
        for name, value in VALUES.items():
            yield (
                f"run.json {'/'.join(map(str, place))} {name}",
                lambda run, p=place, v=value: put(run, with_value(config, p, v)),
            )
    for place in places({name: value for name, value in config.items() if name != "identity"}):
        if len(place) < 3 and isinstance(place[-1], str):
            yield f"run.json {'/'.join(place)} missing", lambda run, p=place: put(run, without(config, p))
    for name, text in TEXTS.items():
        yield f"run.json {name}", lambda run, t=text: put_text(run, t)


def without(config: Any, place: tuple[Any, ...]) -> Any:
    made = copy.deepcopy(config)
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    del inner[place[-1]]
    return made


TEXTS: Mapping[str, str] = {
    "digits": '{"config": ' + "9" * 10**5 + "}",
    "deep": '{"config":' * 10**5,
    "deep lists": "[" * 10**6,
    "twice": '{"config": {}, "config": {"lam": [1]}}',
    "no object": "[1]",
    "nothing": "{}",
    "many keys": json.dumps({"config": {str(number): 0 for number in range(10**5)}}),
}


# --- tables --------------------------------------------------------------------------------------------------------------


def tables(run: Path, folder: str) -> list[Path]:
    """The files of a folder of tables, and their copies."""
    return [path for root in (run, run / "copies") for path in sorted((root / folder).glob("*.parquet"))]


def put_table(run: Path, folder: str, change: Callable[[pa.Table], pa.Table], **options: Any) -> None:
    for path in tables(run, folder):
        pq.write_table(change(pq.read_table(path)), path, write_page_checksum=True, **options)


def put_column(run: Path, folder: str, name: str, values: pa.Array) -> None:
    def change(table: pa.Table) -> pa.Table:
        return table.set_column(table.column_names.index(name), name, values.take(pa.array([0] * table.num_rows)))

    put_table(run, folder, change)


NUMBERS = {"minus": -1, "billion": 10**9, "huge": 2**62}
FLOATS = {"zero": 0.0, "minus": -1.0, "nan": float("nan"), "inf": float("inf"), "tiny": 5e-324, "large": 1e308}
OTHERS = {
    "null": pa.array([None], pa.float64()),
    "text": pa.array(["x"]),
    "list": pa.array([[1.0]]),
    "object": pa.array([{"x": 1}]),
    "bytes": pa.array([b"\xff"]),
    "time": pa.array([2**62], pa.timestamp("ns")),
    "long list": pa.array([[0.5] * 10**5]),
}


def column_cases(good: Path) -> Iterator[tuple[str, Case]]:
    for folder in ("steps", "readings", "certificates"):
        for field in pq.read_schema(tables(good, folder)[0]):
            columns = dict(OTHERS)
            if field.type == pa.string():
                columns |= {name: pa.array([word]) for name, word in WORDS.items() if name != "surrogate"}
            if field.type == pa.int64():
                columns |= {name: pa.array([value], pa.int64()) for name, value in NUMBERS.items()}
            if field.type == pa.float64():
                columns |= {name: pa.array([value], pa.float64()) for name, value in FLOATS.items()}
            if field.type == pa.bool_():
                columns |= {str(value): pa.array([value]) for value in (True, False)}
            for name, values in columns.items():
                yield (
                    f"{folder} {field.name} {name}",
                    lambda run, f=folder, c=field.name, v=values: put_column(run, f, c, v),
                )


def many_rows(table: pa.Table, rows: int) -> pa.Table:
    return table.take(pa.array([0] * rows, pa.int64()))


def table_cases(folder: str) -> Iterator[tuple[str, Case]]:
    """Tables that are large, or say that they are."""

    def wide(table: pa.Table) -> pa.Table:
        more = {f"x{number}": pa.nulls(table.num_rows) for number in range(5_000)}
        return pa.table({name: table[name] for name in table.column_names} | more)

    def long_words(table: pa.Table) -> pa.Table:
        words = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000, pa.int32()), pa.array(["x" * 10**6]))
        return many_rows(table, 50_000).set_column(table.column_names.index("trajectory"), "trajectory", words)

    def nested(table: pa.Table) -> pa.Table:
        values: pa.Array = pa.array([1])
        for _ in range(50):
            values = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), values)
        return table.append_column("x", pa.array([values[0]] * table.num_rows, values.type))

    yield f"{folder} many rows", lambda run: put_table(run, folder, lambda table: many_rows(table, 20_000))
    yield f"{folder} long words", lambda run: put_table(run, folder, long_words)
    yield f"{folder} wide", lambda run: put_table(run, folder, wide)
    yield f"{folder} nested", lambda run: put_table(run, folder, nested)
    for rows in (10**6, 10**9, 2**62, -5):
        yield f"{folder} says {rows} rows", lambda run, n=rows: [lie(path, n) for path in tables(run, folder)]
    for size in (2**31 - 1, 2**32 - 1, 0):
        yield f"{folder} footer of {size}", lambda run, n=size: [cut_footer(path, n) for path in tables(run, folder)]


def lie(path: Path, rows: int) -> None:
    path.write_bytes(lying(path.read_bytes(), rows))


def lying(data: bytes, rows: int, before: int | None = None) -> bytes:
    """A Parquet file whose footer names other numbers of rows and values than its pages have: integers of thrift's compact protocol."""
    before = pq.ParquetFile(pa.BufferReader(data)).metadata.num_rows if before is None else before
    length = struct.unpack("<I", data[-8:-4])[0]
    footer = data[-8 - length : -8].replace(varint(before), varint(rows))
    return data[: -8 - length] + footer + struct.pack("<I", len(footer)) + b"PAR1"


def varint(number: int) -> bytes:
    number = (number << 1) ^ (number >> 63)
    made = bytearray()
    while True:
        made.append(number & 127 | (128 if number > 127 else 0))
        number >>= 7
        if not number:
            return bytes(made)


def cut_footer(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:-8] + struct.pack("<I", size) + b"PAR1")


# --- weights -------------------------------------------------------------------------------------------------------------


def put_weights(run: Path, data: bytes) -> None:
    """These bytes as all weights, with rows that vouch for them."""
    for folder in ("states", "carry"):
        for path in [*(run / folder).rglob("*.safetensors"), *(run / "copies" / folder).rglob("*.safetensors")]:
            path.write_bytes(data)
    digest = pa.array([hashlib.sha256(data).hexdigest()])
    for name in ("state_sha256", "carry_sha256"):
        put_column(run, "steps", name, digest)


def safetensors(header: bytes, body: bytes = b"", *, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header + body


def tensor(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@functools.cache
def headers() -> dict[str, bytes]:
    def made(**tensors: Any) -> bytes:
        return json.dumps(tensors).encode()

    return {
        "no header": b"",
        "says more": safetensors(b"{}", size=2**40),
        "says all": safetensors(b"{}", size=2**64 - 1),
        "not JSON": safetensors(b"\xff\xfe{"),
        "deep": safetensors(b'{"x":' * 10**5),
        "overlap": safetensors(made(a=tensor([2], 0, 8), b=tensor([2], 0, 8)), bytes(8)),
        "gap": safetensors(made(a=tensor([1], 4, 8)), bytes(8)),
        "backwards": safetensors(made(a=tensor([1], 8, 4)), bytes(8)),
        "overflow": safetensors(made(a=tensor([2**33, 2**33], 0, 0)), b""),
        "huge and empty": safetensors(made(a=tensor([2**62, 0], 0, 0)), b""),
        "minus": safetensors(made(a=tensor([-1], 0, 4)), bytes(4)),
        "type": safetensors(made(a=tensor([1], 0, 4, "F33")), bytes(4)),
        "half": safetensors(made(a=tensor([2], 0, 4, "BF16")), bytes(4)),
        "eight": safetensors(made(a=tensor([4], 0, 4, "F8_E4M3")), bytes(4)),
        "escapes": safetensors(json.dumps({ESCAPES: tensor([1], 0, 4)}).encode(), bytes(4)),
        "many": safetensors(made(**{f"x{n}": tensor([0], 0, 0) for n in range(10**5)}), b""),
        "dimensions": safetensors(made(a=tensor([1] * 10_000, 0, 4)), bytes(4)),
        "another": safetensors(made(a=tensor([1], 0, 4)), bytes(4)),
    }


def weight_cases() -> Iterator[tuple[str, Case]]:
    for name, data in headers().items():
        yield f"weights {name}", lambda run, d=data: put_weights(run, d)
    yield "weights long header", lambda run: put_weights(run, safetensors(b"{" + b" " * (11 * 10**7) + b"}"))


# --- files ---------------------------------------------------------------------------------------------------------------


@functools.cache
def bomb(names: tuple[str, ...] = ("x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy")) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            with archive.open(name, "w", force_zip64=True) as file:
                for _ in range(100):
                    file.write(bytes(10**7))
    return made.getvalue()


INSTEAD: Mapping[str, Callable[[Path], object]] = {
    "link out": lambda path: path.symlink_to(outside(path) / "keep.txt"),
    "link to a folder": lambda path: path.symlink_to(outside(path)),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to a device": lambda path: path.symlink_to("/dev/zero"),
    "second name": lambda path: path.hardlink_to(outside(path) / "keep.txt"),
    "pipe": os.mkfifo,
    "folder": lambda path: (path.mkdir(), (path / "x").write_text("x")),
    "empty": lambda path: path.write_bytes(b""),
    "sparse": lambda path: (path.touch(), os.truncate(path, 2**40)),
    "noise": lambda path: path.write_bytes(bytes(range(256)) * 400),
    "zeros": lambda path: path.write_bytes(bytes(2 * 10**7)),
    "bomb": lambda path: path.write_bytes(bomb()),
}


def outside(path: Path) -> Path:
    return next(parent / "outside" for parent in path.parents if (parent / "outside").is_dir())


def files_of(good: Path) -> list[str]:
    """All files and folders of a run, and those that it might have."""
    found = [str(path.relative_to(good)) for path in sorted(good.rglob("*")) if "copies" not in path.parts]
    found += ["copies/run.json", "copies/fingerprint", "copies", "copies/steps", "copies/states"]
    found += ["failed.json", "start.safetensors", "couplings/train.parquet", "data/x.npz", ".lease/1", ".lock"]
    return sorted(set(found) | {"report.html", "figures/constraint.png", "damaged", ".lease", "couplings", "data"})


def replace(path: Path, make: Callable[[Path], object]) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    make(path)


def file_cases(good: Path) -> Iterator[tuple[str, Case]]:
    for name in files_of(good):
        for kind, make in INSTEAD.items():
            yield f"{name} {kind}", lambda run, n=name, m=make: replace(run / n, m)


def json_cases() -> Iterator[tuple[str, Case]]:
    """Other files of JSON."""
    words = {"failed.json": json.dumps({"lam1-gamma4-seed0": ESCAPES + MARKUP, ESCAPES: MARKUP, "\ud800": "\ud800"})}
    words[".lease/1"] = json.dumps(
        dict.fromkeys(("token", "holder", "machine", "process"), ESCAPES) | {"period": 9e9, "beat": 0}
    )
    for file in ("failed.json", ".lease/1", "copies/run.json"):
        for name, text in {**TEXTS, "words": words.get(file, '{"sha256": 1}')}.items():
            yield f"{file} {name}", lambda run, f=file, t=text: replace(run / f, lambda path: path.write_text(t))
    for name in ("escapes", "markup", "formula", "long"):
        yield (
            f"failed.json {name}",
            lambda run, w=WORDS[name]: replace(
                run / "failed.json", lambda path: path.write_text(json.dumps({"lam1-gamma4-seed0": w}))
            ),
        )


def name_cases() -> Iterator[tuple[str, Case]]:
    """Trajectories of other names, with their rows."""
    for kind, word in WORDS.items():
        name = word.encode("utf-8", "surrogateescape" if kind != "surrogate" else "replace").decode()
        name = re.sub(r"[/\x00]", "_", name)[:180]
        yield f"trajectory {kind}", lambda run, n=name: renamed(run, n)


def renamed(run: Path, name: str) -> None:
    for folder in ("steps", "readings", "certificates"):
        for path in tables(run, folder):
            path.rename(path.with_name(f"{name}.parquet"))
        put_column(run, folder, "trajectory", pa.array([name]))
    for path in (run / "states").iterdir():
        path.rename(path.with_name(name))
    put_table(
        run,
        "steps",
        lambda table: table.set_column(
            table.column_names.index("state"),
            "state",
            pa.array([f"states/{name}/{n}.safetensors" for n in table["step"].to_pylist()]),
        ),
    )


def all_cases(good: Path) -> dict[str, Case]:
    found = [*config_cases(good), *column_cases(good), *weight_cases(), *file_cases(good), *json_cases(), *name_cases()]
    for folder in ("steps", "readings", "certificates"):
        found += table_cases(folder)
    return dict(found)
