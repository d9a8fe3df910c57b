"""Run configuration: frozen, keyword-only, checked when built."""

from rayfe.config.checks import require
from rayfe.config.identity import FREE, READINGS, VERSION, digest, flat, from_flat, identity, retired, stored_identity
from rayfe.config.run import THREADING, RunConfig, Start
from rayfe.config.sections import (
    PROCESSES,
    TRANSFERS,
    UNHELD,
    DataConfig,
    EquilibrationConfig,
    ImplicitConfig,
    MeasureConfig,
    ModelConfig,
    PathConfig,
    RenewalConfig,
    StencilConfig,
)
from rayfe.exceptions import UsageError

__all__ = [
    "DataConfig",
    "EquilibrationConfig",
    "FREE",
    "ImplicitConfig",
    "MeasureConfig",
    "ModelConfig",
    "PROCESSES",
    "PathConfig",
    "READINGS",
    "RenewalConfig",
    "RunConfig",
    "Start",
    "StencilConfig",
    "THREADING",
    "TRANSFERS",
    "UNHELD",
    "UsageError",
    "VERSION",
    "digest",
    "flat",
    "from_flat",
    "identity",
    "require",
    "retired",
    "stored_identity",
]
