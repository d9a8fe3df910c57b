"""Classes of the user's own: their names, and whether their code is still the same."""

from __future__ import annotations

import linecache
import sys
import types
from pathlib import Path

import pytest

from rayfe.config.user_code import code_digest, introduce, name_of, named, own_names
from rayfe.exceptions import UsageError

CELL = """class Net:
    latent = 5

    def encode(self, x):
        # a comment
        return x
"""


class Outer:
    class Inner:
        pass


def in_a_notebook(source: str, number: int, monkeypatch: pytest.MonkeyPatch) -> type:
    """The class that a cell defines: its module has no file, and its source is in linecache, as IPython leaves it."""
    notebook = types.ModuleType("__main__")
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    file = f"<ipython-input-{number}>"
    monkeypatch.setitem(linecache.cache, file, (len(source), None, source.splitlines(True), file))
    exec(compile(source, file, "exec"), notebook.__dict__)
    return notebook.__dict__["Net"]


def test_code_of_a_notebook_is_told_apart_but_for_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    changes = [("", ""), ("# a comment", "# another\n"), ("return x", "return 2 * x"), ("latent = 5", "latent = 6")]
    cells = [CELL.replace(old, new) if old else CELL for old, new in changes]
    first, commented, *edited = (code_digest(in_a_notebook(cell, i, monkeypatch)) for i, cell in enumerate(cells))
    assert first == commented is not None
    assert len({first, *edited}) == 3


def test_names_lead_back_to_their_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(name_of(Outer.Inner, "model.name"), "model.name", known="") is Outer.Inner
    cell = in_a_notebook(CELL, 0, monkeypatch)
    assert name_of(cell, "model.name") == "__main__:Net"
    again = in_a_notebook(CELL, 1, monkeypatch)
    with pytest.raises(UsageError, match="__main__:Net': is another class by now, or none; run the cell or import"):
        name_of(cell, "model.name")
    assert name_of(again, "model.name") == "__main__:Net"


def test_what_has_no_source_has_no_digest() -> None:
    assert code_digest(dict) is None


@pytest.mark.parametrize("name", ["nowhere", ":Net", "json:", "json:nothing"])
def test_names_that_lead_nowhere_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be imported.*give another"):
        named(name, "model.name", known="give another")


def test_only_an_introduction_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "met_first_here.py").write_text("class Net:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    name = "met_first_here:Net"
    with pytest.raises(UsageError, match="is code that is not loaded; import its module first"):
        named(name, "model.name", known="")
    introduce(own_names({"model.name": name, "process": "iso-classification", "path.cost": "squared-l2"}))
    assert named(name, "model.name", known="").__name__ == "Net"
    with pytest.raises(UsageError, match="process='no.such:Way': cannot be imported"):
        introduce({"process": "no.such:Way"})
