"""Output into a pipe whose reader leaves early, such as `--help | head`."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def closed_pipe_is_fine() -> Iterator[None]:
    """Ends the block, without a traceback, where nobody reads its output any more; what is left of the output is dropped."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # here, not when the interpreter ends
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
