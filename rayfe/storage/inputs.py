"""What a run begins with and keeps: start.safetensors, data/NAME.npz, couplings/SPLIT.parquet. Each is checked when it is read."""

from __future__ import annotations

import dataclasses
import io
import logging

import numpy as np

from rayfe.data.coupling import ATOMS, Coupling, decode, encode
from rayfe.data.examples import Dataset
from rayfe.data.npz import npz_bytes
from rayfe.data.stored_arrays import read_arrays
from rayfe.exceptions import CorruptFile, UsageError
from rayfe.records import Weights
from rayfe.records.weights import digest_of
from rayfe.storage.files import Files
from rayfe.storage.json_files import read_config
from rayfe.storage.layout import CONFIG, MISSING, START, STEPS, arrays_of, coupling_path, data_path, fault_in
from rayfe.storage.row_commit import bytes_of

log = logging.getLogger(__name__)

SHA256 = "sha256"
"""What the report of a stored coupling calls the digest of its atoms and examples; older versions stored none."""


class Inputs:
    """What one run begins with. What is kept is written where it is missing, or not what it should be; a damaged file is set aside.

    All that read raise FileNotFoundError where the file is gone, and CorruptFile where it is not as it was written.
    """

    def __init__(self, files: Files) -> None:
        self._files = files

    def read_start(self) -> Weights:
        """The weights that the run starts from, by their SHA-256 in run.json."""
        sha256 = (read_config(self._files).get("start") or {}).get("sha256")
        weights = arrays_of(self._files, START)
        if digest_of(weights) != sha256:
            raise CorruptFile(self._files.url(START), f"its weights are not those with the SHA-256 {sha256} of {CONFIG}")
        return weights

    def start(self) -> Weights:
        """The same for who cannot go on without them. Raises CorruptFile, which says what to do."""
        if fault := fault_in(self.read_start):
            raise CorruptFile(self._files.url(START), f"{fault}; {self.start_loss()}")
        return self.read_start()

    def start_loss(self) -> str:
        """What follows where start.safetensors is lost, and what to do."""
        name = read_config(self._files)["start"]["from"]
        return f"trajectories that have their first step go on without; for others start the run again where {name} is at hand"

    def keep_start(self, weights: Weights | None) -> None:
        """Keep a copy of the stored model or state dict that the run starts from; None: it is nowhere else, so that loss is logged."""
        fault = fault_in(self.read_start)
        if fault and weights is None:
            log.warning("%s: %s; %s", self._files.url(START), fault, self.start_loss())
        elif self._lacks(START, fault):
            self._files.write(START, bytes_of(weights or {}))

    def check_data(self, name: str, sha256: str | None) -> None:
        """Read data/NAME.npz; without the digest of its arrays, which older versions did not store, it need only be readable."""
        path = data_path(name)
        try:
            arrays = read_arrays(io.BytesIO(self._files.read(path)), "data.name", name)
        except UsageError as error:
            raise CorruptFile(self._files.url(path), error.fix) from error
        if sha256 not in (None, digest_of(arrays)):
            raise CorruptFile(self._files.url(path), "its arrays are not those that the run was given")

    def keep_data(self, dataset: Dataset, sha256: str) -> None:
        """Keep a copy of examples that are in no file of the user's; `sha256` is the digest of `npz_arrays`."""
        path = data_path(dataset.name)
        if self._lacks(path, fault_in(self.check_data, dataset.name, sha256)):
            self._files.write(path, npz_bytes(dataset))

    def read_coupling(self, split: str, sizes: tuple[int, int] | None = None) -> Coupling:
        """How source and target are coupled; `sizes` are those of both, where they are known."""
        path = coupling_path(split)
        data = self._files.read(path)
        try:
            found = decode(data)
            same = SHA256 not in found.report or found.report[SHA256] == self._digest(split, found)
        except ValueError as error:
            raise CorruptFile(self._files.url(path), str(error)) from error
        if not same or sizes not in (None, found.sizes):
            raise CorruptFile(self._files.url(path), "is not the coupling of these examples")
        return found

    def lacks_coupling(self, split: str, sizes: tuple[int, int]) -> bool:
        """Whether a coupling of so many examples of both is to be computed."""
        return self._lacks(coupling_path(split), fault_in(self.read_coupling, split, sizes))

    def write_coupling(self, split: str, coupling: Coupling) -> None:
        """Keep how source and target are coupled."""
        report = coupling.report | {SHA256: self._digest(split, decode(encode(coupling)))}
        self._files.write(coupling_path(split), encode(dataclasses.replace(coupling, report=report)))

    def _digest(self, split: str, coupling: Coupling) -> str:
        """SHA-256 of atoms and of what tells the examples."""
        examples = f"{split} of {read_config(self._files).get('data_sha256')}"
        atoms = {name: getattr(coupling, name) for name in ATOMS}
        return digest_of(atoms | {"of": np.frombuffer(examples.encode(), np.uint8)})

    def _lacks(self, path: str, fault: str | None) -> bool:
        """Whether there is a fault; a damaged file is set aside, and one that is missing beside rows is named."""
        if fault not in (None, MISSING):
            log.warning("%s: %s; set aside as %s; made again", self._files.url(path), fault, self._files.set_aside(path))
        elif fault and self._files.names(STEPS):
            log.warning("%s: %s; made again", self._files.url(path), fault)
        return fault is not None
