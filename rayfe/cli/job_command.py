"""A job from its command line to its exit code (contracts C2 and C3)."""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Sequence

from rayfe.cli.help import asks_for_help, help_text
from rayfe.cli.options import parse
from rayfe.cli.pipes import closed_pipe_is_fine
from rayfe.config import RunConfig
from rayfe.config.resolve import absolute, split_preset
from rayfe.exceptions import CorruptFile, LeaseLost, RunBroken, UsageError, in_shell_words, visible
from rayfe.run.job import Job, carry_out, console_of
from rayfe.run.starts import started
from rayfe.trajectory.driver import tries_again

log = logging.getLogger(__name__)

DONE, FAILED, BAD_INPUT = 0, 1, 2


def main(job: str, argv: Sequence[str]) -> int:
    """Run `job` with the arguments `[PRESET] [--options]`; returns the exit code.

    0 done (named stops included), 1 a trajectory failed, 2 bad input; signals end it by themselves (`rayfe.signals`).
    """
    argv = list(argv)
    config = None
    try:
        with closed_pipe_is_fine():
            preset, arguments = split_preset(job, argv)
            if asks_for_help(arguments):
                print(help_text(job, preset, everything="--help-all" in arguments))
                return DONE
            config = absolute(parse(job, preset, arguments), preset)
        return DONE if config is None else _drive(job, preset, argv, config)  # None: `--help | head`
    except UsageError as error:
        print(in_shell_words(error), file=sys.stderr)
        return BAD_INPUT
    # storage is full, away, or another driver's by now; Ray died; rows stay
    except (OSError, CorruptFile, RunBroken, LeaseLost) as error:
        return _failed(error)


def _failed(error: Exception) -> int:
    """Say it in one line; the traceback goes to the log."""
    log.info("the run failed", exc_info=error)
    print(f"failed: {visible(str(error) or type(error).__name__)}", file=sys.stderr)
    return FAILED


def _command(job: str, argv: Sequence[str]) -> str:
    script = sys.argv[0] if os.path.basename(sys.argv[0]) == f"{job}.py" else f"jobs/{job}.py"
    return shlex.join(["python", script, *argv])


def _drive(name: str, preset: str, argv: list[str], config: RunConfig) -> int:
    again = f"the same command: {_command(name, argv)}"
    config, start = started(config)
    job = Job(name=name, preset=preset, arguments=tuple(argv), config=config, again=again, start=start)
    failed = carry_out(job, console_of())
    for trajectory, reason in failed.items():
        advice = "; the same command tries again" if tries_again(reason) else ""
        print(f"failed: {trajectory}: {in_shell_words(reason)}{advice}", file=sys.stderr)
    return FAILED if failed else DONE
