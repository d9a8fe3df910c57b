"""couplings/SPLIT.parquet: how source and target of a run are coupled."""

from __future__ import annotations

from rayfe.data.coupling import Coupling, decode
from rayfe.exceptions import CorruptFile
from rayfe.storage.files import Files
from rayfe.storage.layout import coupling_path


def read_coupling(files: Files, split: str) -> Coupling | None:
    """The coupling of a split as it is stored; None if it is not.

    Raises:
        CorruptFile: it cannot be read.
    """
    try:
        return decode(files.read(coupling_path(split)))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise CorruptFile(files.url(coupling_path(split)), str(error)) from error
