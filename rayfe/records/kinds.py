"""What a row is: the kind of attempt that it tells of, and the leg of its walk."""

from __future__ import annotations

import enum


class Kind(enum.StrEnum):
    """What an attempt does."""

    START = "start"
    """Step 0: the start's own equilibrium."""
    STEP = "step"
    """Goes a little way along the process, towards what is sought, trains a baseline on, or folds a conditioned model at its next point."""
    RENEWAL = "renewal"
    """Trains a model partly anew where the walk stands, to leave a branch that is no longer the lowest."""
    LEAP = "leap"
    """Renews the model at several lam, one after the other, and lands at lam_end."""
    LAST_TRAINING = "last_training"
    """Anneals the model of a transfer once more where it arrived."""
    STOP = "stop"
    """Attempts nothing: why there is no further step."""


class Leg(enum.StrEnum):
    """The leg that a walk is on. Walks that do not turn round have only the first."""

    THERE = "there"
    BACK = "back"
    THERE_AGAIN = "there_again"


REJECTED = ("drift", "settle_range", "not_equilibrated", "nonfinite", "renewal", "not_nearer")
"""Reasons of attempts that were not accepted."""
STOPS = ("gamma_zero", "gamma_blind", "pole", "singular", "stationary", "unreachable", "at_chance")
"""Reasons of stops. A process of the user's own may have further ones."""
STATIONARY = frozenset({Kind.RENEWAL, Kind.LEAP, Kind.LAST_TRAINING})
"""Kinds of attempts that make no way along the process."""
