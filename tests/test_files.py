"""Files below one folder: what a kept copy is."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from rayfe.files import Files


@pytest.fixture(params=["links", "no links", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    if request.param == "memory":
        return Files(f"memory://{uuid.uuid4().hex}")
    if request.param == "no links":

        def refuse(source: str, target: str) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    return Files(tmp_path)


def test_a_kept_copy_is_what_the_file_was_whatever_is_written_later(files: Files) -> None:
    files.keep("steps/a", "steps/.previous-a")  # there is none yet
    assert files.names("steps") == []
    files.write("steps/a", b"one")
    for _ in range(2):  # again after a crash before the write: both are the same file then
        files.keep("steps/a", "steps/.previous-a")
        assert files.names("steps") == [".previous-a", "a"]
    for old, new in ((b"one", b"two"), (b"two", b"three")):
        files.keep("steps/a", "steps/.previous-a")
        files.write("steps/a", new)
        assert (files.read("steps/.previous-a"), files.read("steps/a")) == (old, new)
    assert files.names("steps") == [".previous-a", "a"]
