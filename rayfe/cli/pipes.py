"""Output into a pipe whose reader leaves early, such as `--help | head`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

from rayfe.exceptions import StorageError
from rayfe.storage.errors import storage_error


@contextlib.contextmanager
def closed_pipe_is_fine() -> Iterator[None]:
    """Ends the block, without a traceback, where nobody reads its output any more; what is left of the output is dropped.

    Raises:
        StorageError: the output cannot be written.
    """
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # here, not when the interpreter ends
    except BrokenPipeError:
        drop_output()
    except OSError as error:
        if isinstance(error, StorageError | FileNotFoundError):
            raise
        drop_output()
        raise storage_error("standard output", error) from error


def drop_output() -> None:
    """Nothing more can be said there."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
