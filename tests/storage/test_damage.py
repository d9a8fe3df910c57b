"""Any one file of a run damaged in any way: the same call says so, and ends with the same rows. `make damage`: any two files."""

from __future__ import annotations

from pathlib import Path

from damages import DAMAGES, KINDS, closed_form, expected, make, outcome, stored_in


def test_any_file_damaged_in_any_way_costs_no_step(tmp_path: Path) -> None:
    made, found = tmp_path / "made", {}
    make(made / "run")
    whole = stored_in(made / "run")
    with closed_form() as said:
        for kind in KINDS:
            for damage in DAMAGES:
                text = outcome(made, tmp_path / "here", {kind: damage}, whole, said)
                if not expected({kind: damage}, text):
                    found[kind, damage] = text
    assert found == {}
