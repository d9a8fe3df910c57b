"""What older versions left in a run's folder, brought to where it is now."""

from __future__ import annotations

import re

from rayfe.storage.files import DAMAGED, Files
from rayfe.storage.layout import CARRY, CERTIFICATES, COPIES, READINGS, STATES, STEPS
from rayfe.storage.local import TEMPORARY


def take_over(files: Files, trajectory: str) -> None:
    """Bring a trajectory's copies of tables, and what was set aside, to where they are now. Copies of before lack the last row.

    Some lay in the folders of tables under a dot, where Polars and DuckDB read them as rows. Temporary files are removed.
    """
    table = rf"{re.escape(trajectory)}(\.part\d+)?\.parquet"
    for folder in (STEPS, READINGS, CERTIFICATES):
        for found in files.names(folder):
            if re.fullmatch(rf"\.previous-{table}", found):
                _move_if_new(files, f"{folder}/{found}", f"{COPIES}/{folder}/{found.removeprefix('.previous-')}")
            elif re.fullmatch(rf"\.bad-\d+-(\.previous-)?{table}", found):
                files.move(f"{folder}/{found}", f"{DAMAGED}/{folder}/{found.removeprefix('.bad-')}")
            elif re.fullmatch(rf"\.(\.previous-)?{table}\..*\.tmp", found):
                files.remove(f"{folder}/{found}")
        for found in files.names(f"previous/{folder}"):
            if re.fullmatch(table, found):
                _move_if_new(files, f"previous/{folder}/{found}", f"{COPIES}/{folder}/{found}")
    for folder in (STATES, CARRY):
        for found in files.names(f"{folder}/{trajectory}"):
            if found.startswith(".") and found.endswith(TEMPORARY):
                files.remove(f"{folder}/{trajectory}/{found}")


def _move_if_new(files: Files, path: str, to: str) -> None:
    if files.exists(to):
        files.remove(path)
    else:
        files.move(path, to)
