"""rayfe drives encoder/decoder/classifier models along the rate-distortion-classification equilibrium surface.

After Gao & Chaudhari, "A Free-Energy Principle for Representation Learning" (2020). `walk` and `transfer` do in Python what
the commands in jobs/ do; `Run`, `load_run` and `load_model` read what both leave.
"""

from __future__ import annotations

import sys

if sys.argv[:1] == ["-m"] and sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] == [__name__]:
    # `python -m rayfe` puts the working directory first, where somebody else's run may lie: nothing is imported from there
    del sys.path[: 0 if sys.flags.safe_path else 1]

import importlib
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayfe.data.from_arrays import dataset
    from rayfe.exceptions import UsageError
    from rayfe.results.error_bars import error_bars
    from rayfe.results.stored_model import find_step, load_model
    from rayfe.results.stored_tables import load_certificates, load_run
    from rayfe.results.walk_summary import envelope_excess
    from rayfe.run.api import conditioned, transfer, walk
    from rayfe.run.stored_run import Run
    from rayfe.run.universal import universal

__all__ = [
    "Run",
    "UsageError",
    "__version__",
    "conditioned",
    "dataset",
    "envelope_excess",
    "error_bars",
    "find_step",
    "load_certificates",
    "load_model",
    "load_run",
    "transfer",
    "universal",
    "walk",
]

# here, before anything of rayfe imports torch, which reads it then: threads that wait must sleep; spinning ones made a convolutional
# update 12 times as slow where another process wanted the same cores
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# before CUDA starts: without it cuBLAS may add in another order at another time
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

_HOMES: Mapping[str, str] = MappingProxyType(
    {
        "Run": "rayfe.run.stored_run",
        "UsageError": "rayfe.exceptions",
        "conditioned": "rayfe.run.api",
        "dataset": "rayfe.data.from_arrays",
        "envelope_excess": "rayfe.results.walk_summary",
        "error_bars": "rayfe.results.error_bars",
        "find_step": "rayfe.results.stored_model",
        "load_certificates": "rayfe.results.stored_tables",
        "load_model": "rayfe.results.stored_model",
        "load_run": "rayfe.results.stored_tables",
        "transfer": "rayfe.run.api",
        "universal": "rayfe.run.universal:universal",
        "walk": "rayfe.run.api",
        "__version__": "rayfe.config:VERSION",
    }
)


def __getattr__(name: str) -> Any:
    """Imports what is asked for: torch and pandas take seconds, and a command handles signals before (`rayfe.signals`)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(importlib.import_module(module), attribute or name)
