"""How many examples a data path has, without the examples."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class PathSizes:
    """What readings and trainings of a data path p(x, t) visit."""

    source: int
    target: int | None = None
    """None: one data set, which stays."""
    pairs: int | None = None
    """Of a displacement's coupling; None: of a mixture, which has none."""

    def __len__(self) -> int:
        """Examples in an epoch."""
        return max(self.source, self.target or 0)

    def size(self, t: float) -> int:
        """Examples that a reading at t visits."""
        if self.pairs is not None:
            return self.pairs
        if self.target is None:
            return self.source
        return (self.source if t < 1.0 else 0) + (self.target if t > 0.0 else 0)

    def thinned(self, most: int | None) -> PathSizes:
        """Of a part with at most `most` examples of each end; None: of all."""
        if most is None:
            return self
        if self.pairs is not None:
            return dataclasses.replace(self, pairs=min(self.pairs, most))
        target = None if self.target is None else min(self.target, most)
        return dataclasses.replace(self, source=min(self.source, most), target=target)
