"""What README.md and docs/ show can be run: commands are read by their own parsers, Python is executed in small, links lead somewhere."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import inspect
import re
import runpy
import shlex
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tyro

import rayfe
from rayfe.cli.command import main as rayfe_main
from rayfe.cli.commands import COMMANDS
from rayfe.cli.commands.parser import Parser, Refused
from rayfe.cli.options import parse
from rayfe.config import DataConfig, MeasureConfig, configure
from rayfe.config.fields import hints_of
from rayfe.config.kinds import KINDS
from rayfe.config.presets import PRESETS
from rayfe.config.resolve import split_preset
from rayfe.exceptions import UsageError, dashed
from rayfe.run import api, job

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SITE = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "cluster" / "README.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    return [text for found, text in BLOCK.findall(page.read_text()) if found == language]


def commands(page: Path) -> Iterator[str]:
    """The command lines of a page: of its blocks, and of the code in its sentences."""
    for text in (*blocks(page, ""), *blocks(page, "bash")):
        yield from (line for line in text.replace("\\\n", " ").splitlines() if line.strip())
    prose = BLOCK.sub("", page.read_text())
    for span in re.findall(r"`([^`]+)`", prose):
        words = " ".join(span.split())
        if words in {"python -m rayfe", *(f"python -m rayfe {name}" for name in COMMANDS)}:
            continue  # a name, not a line to type
        if re.match(r"(python |python3 |make |ray job submit )", words) and "[" not in words and "..." not in words:
            yield words


# --- commands -----------------------------------------------------------------------------------------------------------


class Parsed(Exception):
    """A command's parser was content; nothing was run."""


@pytest.fixture
def only_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever reads words raises Parsed where it would hand over to the command."""
    call = tyro.cli

    def only(read_words: Callable[..., Any]) -> Callable[..., None]:
        def parse_args(self: argparse.ArgumentParser, *arguments: Any) -> None:
            read_words(self, *arguments)
            raise Parsed

        return parse_args

    def cli(command: Any, *arguments: Any, **options: Any) -> Any:
        if inspect.isclass(command):
            call(command, *arguments, **options)
            raise Parsed

        @functools.wraps(command)
        def instead(*_: Any, **__: Any) -> None:
            raise Parsed

        return call(instead, *arguments, **options)

    for parser in (argparse.ArgumentParser, Parser):
        monkeypatch.setattr(parser, "parse_args", only(parser.parse_args))
    monkeypatch.setattr(tyro, "cli", cli)


def check(line: str) -> None:
    """Raises unless the command exists and takes these words."""
    for part in shlex.join(shlex.split(line, comments=True)).split(" '&&' "):
        check_words(shlex.split(part))


def check_words(words: list[str]) -> None:
    match words:
        case ["make", target]:
            assert re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
        case ["ray", "job", "submit", *options, "python", script]:
            check_words(["python", script])
        case ["ray", "job", "submit", *rest]:
            check_words(rest[rest.index("--") + 1 :])
        case ["python3", "-m", "venv", ".venv"]:
            pass
        case [".venv/bin/pip", "install", *rest]:
            assert all((ROOT / word).exists() for word in rest if word.endswith(".txt"))
        case ["python" | ".venv/bin/python", "-m", "rayfe", "check", name, *options]:
            read_options(name, options)
        case ["python", "-m", "rayfe", "--version"]:
            assert rayfe_main(["--version"]) == 0
        case ["python" | ".venv/bin/python", "-m", "rayfe", *arguments]:
            content(lambda: rayfe_main(arguments))
        case ["python" | ".venv/bin/python", script, *arguments]:
            name = Path(script).stem
            assert (ROOT / script).is_file(), script
            if script.startswith("jobs/") and name in PRESETS:
                read_options(name, arguments)
            else:
                content(lambda: run_script(script, arguments))
        case _:
            raise AssertionError(f"no check for this command: {shlex.join(words)}")


def read_options(name: str, arguments: list[str]) -> None:
    preset, options = split_preset(name, arguments)
    if options not in (["--help"], ["--help-all"]):
        parse(name, preset, options)


def content(run: Callable[[], Any]) -> None:
    """Whether a command gets beyond its parser."""
    with pytest.raises(Parsed):
        run()


def run_script(script: str, arguments: list[str]) -> None:
    before = sys.argv, sys.path
    sys.argv, sys.path = [script, *arguments], [str((ROOT / script).parent), *sys.path]  # as Python itself does
    try:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    finally:
        sys.argv, sys.path = before


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.usefixtures("only_parsing")
def test_commands_are_understood(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = []
    for line in commands(page):
        try:
            check(line)
        except (AssertionError, UsageError, Refused, SystemExit, ValueError, pytest.fail.Exception) as error:
            wrong.append(f"{line}: {type(error).__name__} {error} {capsys.readouterr().err}")
    assert not wrong


@pytest.mark.parametrize(
    "line",
    [
        "make dinner",
        "python jobs/isoc.py mnist-slow",
        "python jobs/isoc.py --gama 4",
        "python jobs/isoc.py --gamma four",
        "python jobs/transfer.py --path.kind teleport",
        "python jobs/nothing.py",
        "python jobs/benchmark.py --form medium",
        "python -m rayfe certify runs/x --epoch 3",
        "python analysis/fig2.py",
        "python analysis/tutorials/own_model.py --tiny",
        "python -m rayfe export RUN --step 12",
        "python -m rayfe stats RUN",
        "python -m rayfe check isoc --lam 0",
        "ray job submit --working-dir . -- python jobs/isoc.py fig9",
        "rayfe walk",
    ],
)
@pytest.mark.usefixtures("only_parsing")
def test_a_wrong_command_would_be_noticed(line: str) -> None:
    with pytest.raises((AssertionError, UsageError, SystemExit, ValueError, pytest.fail.Exception)):
        check(line)


def test_options_named_in_sentences_exist() -> None:
    sources = [*(ROOT / "rayfe").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")]
    written = {option for path in sources for option in re.findall(r'"(--[a-z][\w.-]*)"', path.read_text())}
    options = {"--" + dashed(name) for kind in KINDS for name in hints_of(kind)}
    known = written | options | {"--help", "--help-all", "--transport", "--form", "--budget"}
    known |= {re.sub(r"^--([\w.-]*\.)?", r"--\1no-", option) for option in known}
    for page in PAGES:
        for span in re.findall(r"`(--[^`]+)`", BLOCK.sub("", page.read_text())):
            options = re.findall(r"(?<!\S)--[a-z][\w.-]*", span)
            assert set(options) <= known, (page.name, span)


# --- Python -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pages' Python is executed; it has the run, the arrays and the model that they speak of."""
    place = tmp_path_factory.mktemp("docs")
    labels = np.arange(300) % 2
    np.save(place / "images.npy", (255 * labels[:, None, None, None] * np.ones((1, 8, 8))).astype(np.uint8))
    np.save(place / "labels.npy", labels)
    (place / "my_net.py").write_text(blocks(ROOT / "docs" / "guide.md", "python")[0])
    with pytest.MonkeyPatch.context() as patch:
        small_runs(patch)
        rayfe.walk("mnist-quick", steps=3, out=place / "runs" / "mnist-quick", quiet=True)
    return place


def small_runs(patch: pytest.MonkeyPatch) -> None:
    """Every walk and transfer is carried out with little training on few examples."""
    real = job.carry_out

    def carry_out(asked: job.Job, console: Any) -> dict[str, str]:
        config = asked.config
        training = dataclasses.replace(
            config.equilibration,
            first_epochs=2.0,
            first_schedule="linear",
            first_learning_rate=1e-2,
            epochs=0.5,
            batch=32,
            first_batch=None,
        )
        small = configure(
            config,
            steps=min(config.steps, 3),
            settle=False,
            threads=1,
            data=DataConfig(name=config.data.name.replace("mnist", "mnist:0,1"), train_size=200),
            equilibration=training,
            measure=MeasureConfig(head_draws=8),
        )
        return real(dataclasses.replace(asked, config=small), console)

    patch.setattr(api, "carry_out", carry_out)
    patch.setattr(job, "draw_all", lambda *_, **__: {})  # seconds, and tested elsewhere


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_runs(page: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = types.ModuleType("__main__")
    notebook.__dict__["x"] = torch.rand(4, 784)
    monkeypatch.setitem(sys.modules, "__main__", notebook)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    small_runs(monkeypatch)
    for text in blocks(page, "python"):
        exec(compile(text, page.name, "exec"), notebook.__dict__)


def test_each_page_shows_what_it_should() -> None:
    """So that a block whose fence is mistyped does not escape."""
    shown = {page.name: len(blocks(page, "python")) for page in PAGES}
    assert shown["README.md"] >= 1
    assert shown["guide.md"] >= 3
    assert {language for page in PAGES for language, _ in BLOCK.findall(page.read_text())} <= {"", "bash", "python", "text"}
    for page in PAGES:
        assert page.read_text().count("```") == 2 * len(BLOCK.findall(page.read_text())), page.name
    text = (ROOT / "docs" / "commands.md").read_text()
    assert all(f"python -m rayfe {name}" in text for name in COMMANDS)


def test_readme_is_short_and_begins_with_what_one_gets() -> None:
    text = (ROOT / "README.md").read_text()
    lines = text.splitlines()
    assert len(lines) <= 120 and len(text.split()) <= 900 and max(map(len, lines)) <= 120
    first = "\n".join(lines[:30])
    assert all(part in first for part in ("![", "make demo", "make test", "rayfe.walk(", "model=Net, data=data", "run.model()"))


# --- the site -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", SITE, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", BLOCK.sub("", page.read_text()))
    assert not [to for to in targets if not to.startswith("https://") and not (page.parent / to).is_file()]


def test_the_site_is_built_without_a_warning_and_asks_no_other_host(tmp_path: Path) -> None:
    pytest.importorskip("sphinx", reason="the site needs the packages of the extra dev")
    make = next(line for line in (ROOT / "Makefile").read_text().splitlines() if "-m sphinx" in line)
    words = [word.replace("build/", f"{tmp_path}/") for word in make.split()[1:]]
    built = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(SITE)
    loaded = r"""<(?:script|img|iframe|source)[^>]*\bsrc=["'](?:https?:)?//|<link[^>]*\bhref=["'](?:https?:)?//|@import|url\(["']?https?:"""
    texts = {page: page.read_text() for page in [*pages, *(tmp_path / "site").rglob("*.css")]}
    assert not [page.name for page, text in texts.items() if re.search(loaded, text)]
    api = re.sub(r"<[^>]+>", "", (tmp_path / "site" / "docs" / "api.html").read_text())
    assert all(f"rayfe.{name}" in api for name in set(rayfe.__all__) - {"UsageError", "__version__"})
