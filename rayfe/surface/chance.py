"""Whether a start has learnt anything: what is held must be worth holding."""

from __future__ import annotations

from rayfe.records import Reading

AT_CHANCE = 0.95
"""Part of the labels' entropy above which C says that labels are guessed."""
LEAST_RATE = 0.05
"""Nats below which nothing of x is in z."""
FEW_UPDATES = 300
"""Updates below which a first equilibrium has hardly begun: the presets have 700 to 30,000."""


def at_chance(read: Reading) -> bool:
    """Whether a model encodes nothing, or says of labels hardly more than how frequent they are. Where the entropy of the mean label was
    not read, R alone tells. C is that of the split on which it is held."""
    if read.R < LEAST_RATE or read.label_entropy is None:
        return read.R < LEAST_RATE
    if read.C_scale is not None:
        return read.C > read.label_entropy - (1.0 - AT_CHANCE) * read.C_scale
    return read.C > AT_CHANCE * read.label_entropy


def what_to_raise(*, gamma: float, updates: int | None) -> str:
    """What may bring a start away from chance, by its numbers.

    A nat of rate lowers C by a nat at most, so that it pays only if gamma is above 1. With enough updates at such a gamma it is the rate
    of learning, or the labels.
    """
    if updates is not None and updates < FEW_UPDATES:
        return f"its first equilibrium had only {updates} updates: raise ``equilibration.first_epochs``"
    if gamma <= 1.0:
        return f"at gamma {gamma:g} a nat of rate costs more than it can save: raise ``gamma``"
    trained = "" if updates is None else f" after {updates} updates"
    return f"nothing was learnt{trained}: raise ``gamma`` or ``equilibration.first_learning_rate``, or look at the labels"
