"""Any two files of a run damaged in any two ways: at most one step comes again, but where a table and its copy are both gone.

`make damage` prints how many cases ended how, and every case that should have ended otherwise.
"""

from __future__ import annotations

import collections
import itertools
from pathlib import Path

import pytest

from damages import DAMAGES, KINDS, closed_form, expected, make, outcome, stored_in

pytestmark = [pytest.mark.chaos, pytest.mark.slow]


@pytest.mark.parametrize("first", DAMAGES)
def test_any_two_files_damaged_in_any_ways_cost_a_step_at_most(tmp_path: Path, first: str) -> None:
    made, wrong, ends = tmp_path / "made", {}, collections.Counter[str]()
    make(made / "run")
    whole = stored_in(made / "run")
    with closed_form() as said:
        for (one, other), second in itertools.product(itertools.combinations(KINDS, 2), DAMAGES):
            damaged = {one: first, other: second}
            text = outcome(made, tmp_path / "here", damaged, whole, said)
            ends[text if text.isdecimal() else text.partition(":")[0]] += 1
            if not expected(damaged, text):
                wrong[tuple(damaged.items())] = text
    print(f"\n{first} and another: rows that came again, cases: {dict(ends)}", flush=True)
    assert wrong == {}
