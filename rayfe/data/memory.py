"""How much memory this process has used."""

from __future__ import annotations

import contextlib
import resource
import sys


def peak_bytes() -> int:
    """Largest resident memory of this process so far, bytes."""
    with contextlib.suppress(FileNotFoundError), open("/proc/self/status") as status:
        # Linux: ru_maxrss would begin with what the parent process had when it started this one.
        return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else 1024 * largest
