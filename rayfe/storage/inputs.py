"""What a run begins with and keeps: start.safetensors, data/NAME.npz, couplings/SPLIT.parquet. Each is checked when it is read."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from rayfe.data.coupling import ATOMS, Coupling, decode, encode
from rayfe.data.stored_arrays import read_arrays
from rayfe.exceptions import CorruptFile, UsageError
from rayfe.records import Weights
from rayfe.records.weights import digest_of
from rayfe.storage.files import Files
from rayfe.storage.json_files import read_config
from rayfe.storage.layout import CONFIG, START, coupling_path, data_path

SHA256 = "sha256"
"""What the report of a stored coupling calls the digest of its atoms and examples; older versions stored none."""


def read_start(files: Files) -> Weights:
    """The weights that the run starts from, checked against the SHA-256 in run.json.

    Raises:
        FileNotFoundError: they are gone.
        CorruptFile: they are not those that run.json describes.
    """
    sha256 = read_config(files)["start"]["sha256"]
    try:
        weights = load(files.read(START))
    except SafetensorError as error:
        raise CorruptFile(files.url(START), f"is no weight file ({error})") from error
    if digest_of(weights) != sha256:
        raise CorruptFile(files.url(START), f"its weights are not those with the SHA-256 {sha256} of {CONFIG}")
    return weights


def start_way(files: Files) -> str:
    """What to do where start.safetensors is lost."""
    name = read_config(files)["start"]["from"]
    return f"trajectories that have their first step go on without; for others start the run again where {name} is at hand"


def check_data(files: Files, name: str, sha256: str | None) -> None:
    """Read data/NAME.npz.

    Raises:
        FileNotFoundError: it is gone.
        CorruptFile: it cannot be read, or its arrays are not those of the digest; older versions stored none.
    """
    path = data_path(name)
    try:
        arrays = read_arrays(io.BytesIO(files.read(path)), "data.name", name)
    except UsageError as error:
        raise CorruptFile(files.url(path), error.fix) from error
    if sha256 not in (None, digest_of(arrays)):
        raise CorruptFile(files.url(path), "its arrays are not those that the run was given")


def write_coupling(files: Files, split: str, coupling: Coupling) -> None:
    """Write couplings/SPLIT.parquet: how source and target of a run are coupled."""
    report = coupling.report | {SHA256: _digest(files, split, decode(encode(coupling)))}
    files.write(coupling_path(split), encode(dataclasses.replace(coupling, report=report)))


def read_coupling(files: Files, split: str) -> Coupling:
    """The coupling of a split.

    Raises:
        FileNotFoundError: there is none.
        CorruptFile: it cannot be read, or is of other examples.
    """
    path = coupling_path(split)
    data = files.read(path)
    try:
        found = decode(data)
        sound = SHA256 not in found.report or found.report[SHA256] == _digest(files, split, found)
    except ValueError as error:
        raise CorruptFile(files.url(path), str(error)) from error
    if not sound:
        raise CorruptFile(files.url(path), "is not the coupling of these examples")
    return found


def _digest(files: Files, split: str, coupling: Coupling) -> str:
    """SHA-256 of atoms and of what tells the examples."""
    examples = f"{split} of {read_config(files).get('data_sha256')}"
    return digest_of({name: getattr(coupling, name) for name in ATOMS} | {"of": np.frombuffer(examples.encode(), np.uint8)})
