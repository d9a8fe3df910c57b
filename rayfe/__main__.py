"""python -m rayfe COMMAND, and the console command `rayfe`: what can be done with runs, and about them."""

from __future__ import annotations

import sys

from rayfe.signals import ended, handle_signals


def command() -> int:
    """Exit code of what this process was started for."""
    handle_signals()  # before what takes time to import
    from rayfe.cli.command import main

    return ended(main(sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(command())
