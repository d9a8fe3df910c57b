"""Mini-batches of several trainings at a time, on one device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rayfe.data.device_path import DeviceExamples, DevicePath
from rayfe.data.randomness import Counted


class SlotBatches:
    """For each slot what `path.batches` gives with the slot's key, t and number of the update.

    The epochs that the next updates need are drawn before these, so that nothing waits in between.
    """

    def __init__(self, path: DevicePath, slots: int, batch: int, *, longest: int, device: torch.device) -> None:
        """`longest`: updates that are asked for at a time, at most."""
        self._path, self._slots, self._batch, self._device = path, slots, batch, device
        self._per_epoch = path.per_epoch(batch)
        self._kept = -(-longest // self._per_epoch) + 1
        self._numbers: list[dict[int, int]] = [{} for _ in range(slots)]
        """Of the epochs that are kept of each slot, by their place."""
        self._epochs: tuple[Tensor, ...] | None = None
        """(slots, kept, length) each."""
        self._keys = torch.zeros(slots, dtype=torch.long, device=device)
        self._t = torch.zeros(slots, dtype=torch.float64, device=device)
        self._slot = torch.arange(slots, device=device)

    def begin(self, slot: int, key: int, t: float) -> None:
        """Another training has the slot from now on."""
        self._keys[slot], self._t[slot] = key, t
        self._numbers[slot].clear()

    def prepare(self, updates: Sequence[int | None], count: int) -> None:
        """Before each slot's next `count` updates from these numbers on; None: the slot is empty, and what it gets has no meaning."""
        firsts = [update or 0 for update in updates]
        due = []
        for slot, update in enumerate(firsts):
            for number in range(update // self._per_epoch, (update + count - 1) // self._per_epoch + 1):
                place = number % self._kept
                if self._numbers[slot].get(place) != number:
                    self._numbers[slot][place] = number
                    due.append((slot, place, number))
        if due:
            self._draw(due)
        kept = self._kept * self._per_epoch
        places = [[(first + k) % kept for first in firsts] for k in range(count)]
        index = torch.tensor(places, device=self._device)
        self._places = tuple(
            epoch.view(self._slots, kept, self._batch)[self._slot, index].flatten(1) for epoch in self._epochs or ()
        )

    def _draw(self, due: Sequence[tuple[int, int, int]]) -> None:
        slots, places, numbers = torch.tensor(due, device=self._device).T
        drawn = self._path.epoch(Counted(self._keys[slots]).epoch(numbers))
        length = self._per_epoch * self._batch
        if self._epochs is None:
            self._epochs = tuple(part.new_zeros(self._slots, self._kept, length) for part in drawn)
        for epoch, part in zip(self._epochs, drawn, strict=True):
            epoch[slots, places] = part[:, :length]

    def __getitem__(self, update: int) -> DeviceExamples:
        """Batches of the prepared update of this number, from 0: those of all slots, (slots * batch, ...)."""
        t = self._t.repeat_interleave(self._batch)
        return self._path.placed(tuple(part[update] for part in self._places), t)
