"""The data of a stored run, from files on this machine."""

from __future__ import annotations

from typing import Any

from rayfe.config import RunConfig
from rayfe.data.fingerprint import fingerprint
from rayfe.data.local_files import load_here
from rayfe.data.paths import PathData
from rayfe.exceptions import UsageError
from rayfe.storage.manifest import own_code
from rayfe.storage.store import Store


def stored_data(store: Store, run: dict[str, Any], config: RunConfig, root: str | None) -> PathData:
    """The data of the run, from files on this machine.

    Raises:
        UsageError: they are not here, or are others; or the code of the user's own is not that of the run.
    """
    data = load_here(config, root, kept=store.data_folder(), outputs=run.get("class_names", ()))
    if fingerprint(data) != run.get("data_sha256"):
        raise UsageError(
            "data.root", root, "the examples on this machine are not those of the run; give the folder of its data"
        )
    for field, digest in own_code(config).items():
        if run.get("code_sha256", {}).get(field, digest) != digest:
            raise UsageError(field, run["config"].get(field), "its code is not that of the stored run; restore it")
    return data
