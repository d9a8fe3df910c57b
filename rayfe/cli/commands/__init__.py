"""The commands of `python -m rayfe`, a module each: `HELP` is one line, `main(arguments)` returns the exit code."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "status": "how far runs are; works while they go on",
        "report": "write a run's report.html again, here or elsewhere",
        "watch": "serve the report of a run while it goes on, and show its table here",
        "verify": "whether all that is stored of runs is as it was written; changes nothing",
        "certify": "how far stored models are from models trained at the same multipliers in another way",
        "codec": "code images with a stored model, decode them, and compare the bits with R and R + D",
        "export": "take a stored model away: torch.export with a model card",
        "check": "what a job would do, cost and need, before anything runs",
        "locate": "where two wanted values lie on the surface that runs give, and the nearest model",
        "doctor": "what this machine offers, and how to get what is missing",
    }
)
"""What each is for, by name; the module of that name is imported when it is asked for."""
