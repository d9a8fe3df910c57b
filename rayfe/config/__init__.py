"""Run configuration: frozen, keyword-only, checked when built."""

from rayfe.config.asked import Asked, Baseline, Conditioned, FreeWalk, Seek, Transfer, Walk
from rayfe.config.checks import require
from rayfe.config.configure import configure, from_flat
from rayfe.config.fields import flat, unread
from rayfe.config.identity import BEFORE, FREE, READINGS, VERSION, digest, identity, retired, stored_identity, usual_identity
from rayfe.config.kinds import LossesWalk
from rayfe.config.run import THREADING, RunConfig, Start
from rayfe.config.sections import (
    LOSSES,
    PROCESSES,
    TRANSFERS,
    UNHELD,
    DataConfig,
    EquilibrationConfig,
    MeasureConfig,
    ModelConfig,
    PathConfig,
    RenewalConfig,
    StencilConfig,
)
from rayfe.config.service import Service
from rayfe.exceptions import UsageError

__all__ = [
    "Asked",
    "Baseline",
    "Conditioned",
    "DataConfig",
    "EquilibrationConfig",
    "BEFORE",
    "FREE",
    "FreeWalk",
    "LOSSES",
    "LossesWalk",
    "MeasureConfig",
    "ModelConfig",
    "PROCESSES",
    "PathConfig",
    "READINGS",
    "RenewalConfig",
    "RunConfig",
    "Seek",
    "Service",
    "Start",
    "StencilConfig",
    "THREADING",
    "TRANSFERS",
    "Transfer",
    "UNHELD",
    "UsageError",
    "VERSION",
    "Walk",
    "configure",
    "digest",
    "flat",
    "from_flat",
    "identity",
    "require",
    "retired",
    "stored_identity",
    "unread",
    "usual_identity",
]
