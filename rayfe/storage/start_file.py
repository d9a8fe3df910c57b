"""start.safetensors: a run's own copy of the weights that it starts from."""

from __future__ import annotations

from rayfe.exceptions import CorruptFile
from rayfe.records import Weights
from rayfe.records.weights import digest_of
from rayfe.storage.config_file import read_config
from rayfe.storage.files import Files
from rayfe.storage.layout import CONFIG, START, arrays_of


def read_start(files: Files) -> Weights:
    """The weights, checked against the SHA-256 in run.json.

    Raises:
        FileNotFoundError: they are gone.
        CorruptFile: they are not those that run.json describes.
    """
    sha256 = (read_config(files).get("start") or {}).get("sha256")
    weights = arrays_of(files, START)
    if digest_of(weights) != sha256:
        raise CorruptFile(files.url(START), f"its weights are not those with the SHA-256 {sha256} of {CONFIG}")
    return weights
