"""What an accepted step leaves for the next one besides its weights, and the named arrays as which that is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self

import numpy as np

from rayfe.records.points import Weights
from rayfe.records.weights import pack, unpack

TANGENTS: Mapping[str, str] = MappingProxyType({"gamma": "tangent", "lam": "tangent_lam"})
"""Names under which tangents are stored, by multiplier; those of prices of losses are `tangent_` and their name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remembered:
    """What a walk remembers of its start's readings."""

    C_noise: np.ndarray
    """Noise of C from the draws that judge, by block of examples, (blocks,); of the split on which C is held."""
    D_noise: np.ndarray
    """The same of D."""
    sets: np.ndarray
    """Numbers of sets of draws through head and decoder with which the start was read for settles, (n, 2)."""
    targets: np.ndarray
    """What is held, as it was read with so many sets, (n, conditions)."""
    R_noise: np.ndarray = field(default_factory=lambda: np.empty(0))
    """Noise of R; empty: R has a closed form."""
    loss_noise: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    """Noise of each loss, (k, blocks); empty: the losses have no prices."""

    def arrays(self) -> Weights:
        """The fields by name."""
        arrays = {"C_noise": self.C_noise, "D_noise": self.D_noise, "sets": self.sets, "targets": self.targets}
        more = {"R_noise": self.R_noise, "loss_noise": self.loss_noise}
        return arrays | {name: noise for name, noise in more.items() if len(noise)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """What an accepted step leaves for the next one."""

    tangents: Mapping[str, Weights] = field(default_factory=dict)
    """dtheta / dmultiplier of the last stencil, by multiplier; empty where there was none."""
    previous: Weights | None = None
    """The model before the step; None where no way leads from there."""
    preconditioner: Weights | None = None
    """What the optimizer of the last training learnt."""
    start: Remembered | None = None
    """None: nothing is held."""
    conditioned: Weights | None = None
    """The conditioned model from which ordinary ones are folded."""
    slopes: Weights | None = None
    """The response of several losses, by name (`surface.several`)."""

    def stored(self) -> Weights:
        """As named arrays, `group/name`."""
        tangents = {TANGENTS.get(multiplier, f"tangent_{multiplier}"): tangent for multiplier, tangent in self.tangents.items()}
        start = None if self.start is None else self.start.arrays()
        groups = {
            "previous": self.previous,
            "preconditioner": self.preconditioner,
            "conditioned": self.conditioned,
            "slopes": self.slopes,
        }
        return pack(**tangents, **groups, start=start)

    @classmethod
    def of(cls, stored: Weights) -> Self:
        """What `stored` was made from."""
        start = unpack(stored, "start")
        groups = sorted({name.partition("/")[0] for name in stored} - {*TANGENTS.values()})
        names = {**TANGENTS, **{one.removeprefix("tangent_"): one for one in groups if one.startswith("tangent_")}}
        return cls(
            tangents={multiplier: tangent for multiplier, name in names.items() if (tangent := unpack(stored, name))},
            previous=unpack(stored, "previous") or None,
            preconditioner=unpack(stored, "preconditioner") or None,
            start=Remembered(**start) if start else None,
            conditioned=unpack(stored, "conditioned") or None,
            slopes=unpack(stored, "slopes") or None,
        )
