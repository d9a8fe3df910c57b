"""What a step leaves for the next one is what was stored."""

from __future__ import annotations

import numpy as np

from rayfe.records.carried import Carried, Remembered

W = {"w": np.ones(2), "b": np.zeros(1)}


def test_nothing_is_lost_in_its_stored_form() -> None:
    noise = {"C_noise": np.ones(3), "D_noise": np.zeros(3), "R_noise": np.ones(3)}
    start = Remembered(**noise, sets=np.ones((1, 2)), targets=np.full((1, 1), 0.1))
    carried = Carried(tangents={"gamma": W, "lam": W}, previous=W, preconditioner={"second_moment/w": np.ones(2)}, start=start)
    stored = carried.stored()
    assert {"tangent/w", "tangent_lam/w", "previous/b", "preconditioner/second_moment/w", "start/targets"} <= set(stored)
    again = Carried.of(stored)
    assert again.tangents == carried.tangents and again.previous == W
    assert again.preconditioner == carried.preconditioner
    assert again.start is not None and again.start.arrays() == start.arrays()


def test_what_was_not_left_is_not_there() -> None:
    assert Carried.of(Carried().stored()) == Carried()
