"""Run configuration: frozen, keyword-only, checked when built."""

from rayfe.config.checks import UsageError, require
from rayfe.config.parts import (
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
from rayfe.config.run import THREADING, RunConfig, Start
from rayfe.config.stored import FREE, READINGS, digest, flat, from_flat, identity, stored_identity

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
    "digest",
    "flat",
    "from_flat",
    "identity",
    "require",
    "stored_identity",
]
