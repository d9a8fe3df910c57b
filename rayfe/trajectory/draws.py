"""How many draws of z a model is read with: as many as what is held needs, and no more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rayfe.records import Held, Reading, StepRecord
from rayfe.surface.equivalence import Miss

PART = 8.0
"""What is held may be off by so many standard errors of its draws: Z of them for the test, and as many for what the settle's own
draws and those that judge put it off by."""
HEADROOM = 2.0
"""How much smaller still the start's error is: its readings leave room for four times the draws of a step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sets:
    """Nested sets of draws: through the classifier's head (`measure.head_draws` each), and through the decoder."""

    head: int = 1
    decoder: int = 1

    def doubled(self, most: Sets) -> Sets:
        """Twice as many of each, at most `most`."""
        return Sets(head=min(2 * self.head, most.head), decoder=min(2 * self.decoder, most.decoder))

    def up_to(self, most: Sets) -> tuple[Sets, ...]:
        """These, and all that come of doubling them, up to `most`."""
        sets = [self]
        while sets[-1] != (more := sets[-1].doubled(most)):
            sets.append(more)
        return tuple(sets)


BOUND = Sets(head=64, decoder=16)
"""At most so many sets. The error falls to an eighth with 64 and to a quarter with 16; a draw through the decoder costs a good part of
a pass over the data, one through the head hardly anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A condition, and by how much it may be off, in its own units."""

    held: Held
    allowed: float


def parts(limit: Limit, reading: Reading) -> tuple[float, float]:
    """Standard errors of a condition from the draws through head and decoder, in parts of what it may be off by; R has the head's."""
    if limit.held.loss is not None:
        return float(np.linalg.norm(reading.loss_noise[limit.held.loss])) / limit.allowed, 0.0
    head = abs(limit.held.C) * reading.C_se + abs(limit.held.R) * reading.R_se
    return head / limit.allowed, abs(limit.held.D) * reading.D_se / limit.allowed


def needed(limits: Sequence[Limit], reading: Reading, sets: Sets, *, part: float = PART) -> Sets:
    """The sets at which all conditions have an error of a `part`-th of what they may be off by, from a reading with `sets`; at
    most BOUND."""
    head = decoder = 0.0
    for limit in limits:
        C, D = parts(limit, reading)
        both = math.sqrt(2.0) if C > 0.0 and D > 0.0 else 1.0  # then each has half of the variance
        head, decoder = max(head, both * C), max(decoder, both * D)
    return Sets(
        head=sets_for(part * head * math.sqrt(sets.head), BOUND.head),
        decoder=sets_for(part * decoder * math.sqrt(sets.decoder), BOUND.decoder),
    )


def shortfall(limits: Sequence[Limit], reading: Reading, sets: Sets) -> float:
    """Factor by which what may be off is too small for the draws, even with BOUND sets; at most 1: it is not."""
    head, decoder = math.sqrt(sets.head / BOUND.head), math.sqrt(sets.decoder / BOUND.decoder)
    errors = (parts(limit, reading) for limit in limits)
    return PART * max((math.hypot(C * head, D * decoder) for C, D in errors), default=0.0)


def is_fine(misses: Sequence[Miss]) -> bool:
    """Whether the errors of all misses are small enough to judge by; also where they are NaN, which more draws do not mend."""
    return not any(PART * miss.error > miss.tolerance for miss in misses)


def sets_of(row: StepRecord) -> Sets:
    """What a row was read with."""
    return Sets(head=row.draw_sets or 1, decoder=row.decoder_sets or 1)


def sets_for(excess: float, most: int) -> int:
    """The number of sets, a power of two, by which an error that is `excess` times too large becomes small enough."""
    if not excess > 1.0:
        return 1
    return min(most, 2 ** math.ceil(2.0 * math.log2(excess))) if excess < most else most
