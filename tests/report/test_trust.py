"""A run that somebody sent: looking at it runs nothing of theirs, and its words neither steer a terminal nor become markup."""

from __future__ import annotations

import dataclasses
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from plotly.offline import get_plotlyjs

import rayfe
from rayfe.cli.command import main
from rayfe.exceptions import UsageError
from rayfe.model.mlp import MLP
from rayfe.records import Commit, StepRecord
from rayfe.storage.store import Store
from rayfe.surface.process import IsoClassification

ROOT = Path(__file__).parents[2]
NAME = "lam0.25-gamma4-seed0"
TRAP = "from pathlib import Path\nPath(__file__).with_suffix('.ran').touch()\n"
IMPORTS = "from rayfe.model.mlp import MLP\nfrom rayfe.surface.process import IsoClassification\n"


class Net(MLP):
    """The MLP for images, with the same weights."""

    def __init__(self, *, input_shape, classes, config):
        super().__init__(input_shape=(64,), classes=classes, config=config)

    def encode(self, x):
        return super().encode(x.flatten(1))

    def decode(self, z):
        return super().decode(z).unflatten(1, (1, 8, 8))


class Way(IsoClassification):
    """The walk to lam = 2."""

    def __init__(self):
        super().__init__(2.0)


@pytest.fixture
def sent(stored_run: Callable[..., Store], tmp_path: Path) -> Path:
    """A run whose model and process are classes of a module inside it; a module of the standard library's name lies there, too."""
    store = stored_run(gammas=(4.0,))
    run = store.read_config()
    store.create(run | {"config": run["config"] | {"model.name": "theirs:Net", "process": "theirs:Way"}})
    folder = tmp_path / "run"
    (folder / "theirs.py").write_text(TRAP + IMPORTS + inspect.getsource(Net) + inspect.getsource(Way))
    (folder / "json.py").write_text(TRAP + "raise SystemExit('imported from the working directory')\n")
    return folder


def rayfe_here(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m rayfe WORDS` inside a folder."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "rayfe", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["status", "."], 0),
        (["report", ".", "--to", "page.html"], 0),
        (["export", ".", "--step", "1", "--to", "m.pt2"], 2),
        (["certify", "."], 2),
    ],
)
def test_looking_from_inside_a_run_imports_nothing_of_it(sent: Path, words: list[str], code: int) -> None:
    done = rayfe_here(sent, *words)
    assert done.returncode == code, done.stderr
    assert list(sent.glob("*.ran")) == []
    if code:
        assert done.stderr.count("\n") == 1 and "model.name theirs:Net" in done.stderr and "--trust" in done.stderr


def test_trust_imports_what_the_run_names(sent: Path) -> None:
    done = rayfe_here(sent.parent, "export", "run", "--step", "1", "--to", "m.pt2", "--trust")
    assert done.returncode == 2 and "theirs:Net: cannot be imported" in done.stderr  # it lies elsewhere
    (sent / "json.py").unlink()
    done = rayfe_here(sent, "export", ".", "--step", "1", "--to", "m.pt2", "--trust")
    assert done.returncode == 0, done.stderr
    assert (sent / "theirs.ran").exists() and (sent / "m.pt2").exists()


def test_python_takes_the_class_that_is_handed_over_or_loaded(sent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(sent)
    (sent / "json.py").unlink()
    assert f"{NAME}: " in repr(rayfe.Run(sent))
    with pytest.raises(UsageError, match="hand the class over"):
        rayfe.load_model(sent, NAME, 1)
    assert list(sent.glob("*.ran")) == []
    assert isinstance(rayfe.load_model(sent, NAME, 1, model=Net), Net)
    assert "its models cannot be shown" not in Path(rayfe.Run(sent, model_class=Net).report(sent / "p.html")).read_text()
    monkeypatch.setitem(sys.modules, "theirs", __import__("theirs"))
    assert type(rayfe.load_model(sent, NAME, 1)).__module__ == "theirs"


@pytest.fixture
def rude(stored_run: Callable[..., Store]) -> Store:
    """A run whose words would clear a terminal, and are markup."""
    store = stored_run(gammas=(4.0,))
    run = store.read_config()
    config = run["config"] | {"data.name": "`<b>x</b>`$\\frac{"}
    store.create(run | {"preset": "\x1b[2J\x1b]0;owned\x07", "config": config, "class_names": ["<img src=x>", "*a*"]})
    last = store.rows(NAME)[-1]
    row = dataclasses.replace(last, step=9, accepted=False, reason="\x9b2Jdrift\n# more", state=None, state_sha256=None)
    store.commit(NAME, Commit(record=row, readings=(), state=None, carry=None))
    return store


def test_words_of_a_run_do_not_steer_the_terminal(
    rude: Store, capsys: pytest.CaptureFixture[str], tmp_path: Path, exact: Callable[..., StepRecord]
) -> None:
    assert main(["status", rude.url()]) == 0
    shown = capsys.readouterr().out
    assert "\N{SYMBOL FOR ESCAPE}[2J" in shown and "2Jdrift # more" in shown
    assert all(character.isprintable() or character == "\n" for character in shown)
    (tmp_path / "run/run.json").write_text('{"\\u001b": ')
    assert main(["status", f"{rude.url()}/\x1b[2J"]) == 2
    assert "\x1b" not in capsys.readouterr().err


LOOKS: dict[str, Callable[[str, Path], object]] = {
    "status --json": lambda run, to: main(["status", "--json", run]),
    "verify": lambda run, to: main(["verify", run]),
    "locate": lambda run, to: main(["locate", run, "C=0.1", "R=10"]),
    "report": lambda run, to: main(["report", run, "--to", str(to / "page.html")]),
    "report of two": lambda run, to: main(["report", run, f"{run}/../other", "--to", str(to / "several.html")]),
    "repr": lambda run, to: print(repr(rayfe.Run(run))),
    "html": lambda run, to: (to / "repr.html").write_text(rayfe.Run(run)._repr_html_()),
    "figures": lambda run, to: rayfe.Run(run).figures()["constraint.png"].savefig(to / "x.png"),
}


@pytest.mark.parametrize("look", LOOKS)
def test_words_of_a_run_are_words_wherever_they_are_shown(
    rude: Store, stored_run: Callable[..., Store], tmp_path: Path, look: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A formula is none in a figure, markup none on a page, and what steers a terminal is shown as a character."""
    if look == "report of two":
        stored_run("other", gammas=(4.0,))
    LOOKS[look](rude.url(), tmp_path)
    said = capsys.readouterr()
    pages = [path.read_text().replace(get_plotlyjs(), "") for path in tmp_path.glob("*.html")]
    for text in (said.out, said.err, *pages):
        assert not set("\x1b\x9b\x07\u202e") & set(text)
    for page in pages:
        assert "<img src=x>" not in page and "<b>x</b>" not in page


def test_words_of_a_run_are_text_in_the_card_of_its_model(rude: Store, tmp_path: Path) -> None:
    assert main(["export", rude.url(), "--step", "1", "--to", str(tmp_path / "m.pt2")]) == 0
    card = (tmp_path / "m.pt2.md").read_text()
    assert "'`<b>x</b>`$\\frac{'" in card and "`` python jobs/isoc.py" in card
    assert r"\<img src=x\>, \*a\*" in card
    assert "\x1b" not in card
