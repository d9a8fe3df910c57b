"""Whatever is typed after any option or argument: it is what was meant, or one line names the option, exit code 2, and nothing is made.

Options and arguments are those of the configuration and of the parsers, so that a new one is tested without a word here.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.benchmark import job as benchmark
from analysis.benchmark import machine, report
from rayfe.cli import job_command
from rayfe.cli.command import main as command_main
from rayfe.cli.commands import COMMANDS
from rayfe.cli.commands.parser import Parser
from rayfe.config import RunConfig, flat, from_flat
from rayfe.config.checks import bare
from rayfe.config.fields import hints_of
from rayfe.config.presets import PRESETS
from rayfe.config.resolve import KINDS_OF
from rayfe.exceptions import dashed, visible

pytestmark = pytest.mark.usefixtures("cwd")

ODD = (
    *(
        "",
        " ",
        "None",
        "nan",
        "inf",
        "-inf",
        "1e300",
        "1e400",
        "-1e400",
        "-1",
        "-0.0",
        "0",
        "1",
        "2",
        "3.5",
        "1.5",
        "1e3",
        "1_000",
    ),
    *(
        "٣",
        "² ",
        " 2",
        "0x10",
        "1,2",
        "[1]",
        "True",
        "9" * 30,
        "9" * 6000,
        "a\0b",
        "\x1b[2J",
        "\udcff",
        "x" * 5000,
        "é",
        "C=1",
        "C=nan",
    ),
    *(
        "R=1=2",
        "=",
        "~nobody-of-this-name/x",
        "s3:/b",
        "mnist",
        "digits:0-4",
        "npz:",
        "all",
        "last",
        "paper",
        "control",
        "inline",
    ),
    *(
        "implicit",
        "fixed-gamma",
        "iso-functional",
        "constant-rate",
        "resnet",
        "displacement",
        "isolated",
        "linear",
        "nothing:here",
    ),
)
WORDS = st.one_of(
    st.sampled_from(ODD),
    st.integers().map(str),
    st.integers(0, 20).map(str),
    st.floats().map(str),
    st.floats(0, 2).map(str),
    st.text(max_size=8),
).filter(lambda word: not word.startswith("--"))
SEVERAL = st.one_of(st.lists(WORDS, min_size=1, max_size=1), st.lists(WORDS, max_size=3))
QUIETLY: Any = {
    "database": None,
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
}
QUICK = settings(max_examples=300, derandomize=True, **QUIETLY)
LONG = settings(max_examples=10_000, **QUIETLY)


class Accepted(BaseException):
    """A command has begun its work with these values."""

    def __init__(self, values: Any) -> None:
        super().__init__()
        self.values = values


def ended(main: Callable[..., int], *arguments: Any) -> tuple[Any, str]:
    """The values that a command accepted, or None and the line by which it refused; nothing else happened."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(*arguments)
    except Accepted as accepted:
        return accepted.values, ""
    finally:
        assert list(Path.cwd().iterdir()) == []
    line = err.getvalue()
    assert (code, out.getvalue(), [one for one in line if unicodedata.category(one) == "Cc"]) == (2, "", ["\n"]), (code, line)
    return None, line


def is_meant(word: str, value: object) -> bool:
    """Whether a value is what a word says; of texts, places become absolute."""
    if value is None:
        return word == "None"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).endswith(word.removeprefix("npz:").removeprefix("./"))
    return math.isfinite(value) and word.isascii() and "_" not in word and float(word) == value


# --- jobs ---------------------------------------------------------------------------------------------------------------


def options_of(job: str) -> st.SearchStrategy[dict[str, list[str]]]:
    """One to three options of a job with words after them."""
    hints = {name: hint for kind in KINDS_OF[job] for name, hint in hints_of(kind).items()}

    def words(name: str) -> st.SearchStrategy[tuple[str, list[str]]]:
        option = f"--{dashed(name)}"
        if bare(hints[name]) is bool:
            group, dot, leaf = dashed(name).rpartition(".")
            return st.sampled_from([(option, []), (f"--{group}{dot}no-{leaf}", []), (option, ["1"])])
        return st.tuples(st.just(option), SEVERAL)

    return st.lists(st.sampled_from(sorted(hints)).flatmap(words), min_size=1, max_size=3).map(dict)


def check_job(job: str, preset: str, options: Mapping[str, Sequence[str]]) -> None:
    argv = [preset, *(word for option, words in options.items() for word in (option, *words))]
    config, line = ended(job_command.main, job, argv)
    if config is None:
        named = line.partition(":")[0]
        assert any(named == option or named.startswith(f"{option} ") for option in options), line
        return
    assert from_flat(json.loads(json.dumps(flat(config)))) == config
    for option, words in options.items():
        if words:
            value = flat(config)[option[2:].replace("-", "_")]
            values = value if isinstance(value, tuple) else (value,)
            assert len(values) == len(words) and all(map(is_meant, words, values)), (option, words, value)


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs stop where they would read their data."""

    def stop(config: RunConfig) -> None:
        raise Accepted(config)

    monkeypatch.setattr(job_command, "started", stop)


PRESETS_OF = [(job, preset) for job, presets in PRESETS.items() for preset in presets]


@pytest.mark.usefixtures("carried")
@pytest.mark.parametrize("job", PRESETS)
@QUICK
@given(data=st.data())
def test_any_option_of_a_job_is_meant_or_refused_by_name(job: str, data: st.DataObject) -> None:
    check_job(job, data.draw(st.sampled_from(list(PRESETS[job]))), data.draw(options_of(job)))


@pytest.mark.slow
@pytest.mark.usefixtures("carried")
@pytest.mark.parametrize(("job", "preset"), PRESETS_OF)
@LONG
@given(data=st.data())
def test_any_option_of_any_preset_is_meant_or_refused_by_name(job: str, preset: str, data: st.DataObject) -> None:
    check_job(job, preset, data.draw(options_of(job)))


# --- commands, and the benchmark ----------------------------------------------------------------------------------------

MAINS: Mapping[str, Callable[[list[str]], int]] = MappingProxyType(
    {name: lambda words, name=name: command_main([name, *words]) for name in COMMANDS if name != "check"}
    | {"benchmark": benchmark.main, "benchmark machine": machine.main, "benchmark table": report.main}
)
"""`check` has the options of jobs, and reads them as jobs do."""
SOUND = {"RUN": ["there"], "RUN|COLUMN=VALUE": ["there", "C=0.1", "D=20"], "--to": ["--to", "m.pt2"]}
"""What is given for arguments that must be there."""


def parser_of(name: str, patch: pytest.MonkeyPatch) -> Parser:
    """The parser of a command, with all its arguments."""
    found: list[Parser] = []

    def parse_args(self: Parser, words: Sequence[str]) -> argparse.Namespace:
        found.append(self)
        raise Accepted(None)

    with patch.context() as within:
        within.setattr(Parser, "parse_args", parse_args)
        with contextlib.suppress(Accepted):
            MAINS[name]([])
    return found[0]


def named(action: argparse.Action) -> str:
    return action.option_strings[0] if action.option_strings else str(action.metavar)


def check_command(name: str, parser: Parser, data: st.DataObject) -> None:
    actions = [action for action in parser._actions if action.dest != "help"]
    chosen = data.draw(st.lists(st.sampled_from(actions), min_size=1, max_size=2, unique=True))
    given = {named(action): data.draw(SEVERAL) if action.nargs != 0 else [] for action in chosen}
    words = [word for action in actions if action.required and action not in chosen for word in SOUND[named(action)]]
    for action in sorted(chosen, key=lambda action: bool(action.option_strings)):
        words += [*action.option_strings[:1], *given[named(action)]]
    values, line = ended(MAINS[name], words)
    if values is None:
        typed = [visible(word) or repr(word) for words in given.values() for word in words]
        assert any(one in line for one in (*given, *typed)), line
        return
    for action in chosen:
        value = values[action.dest]
        found = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        asked = [word.partition("=")[2] for word in given[named(action)]] if isinstance(value, dict) else given[named(action)]
        assert not asked or len(asked) == len(found) and all(map(is_meant, asked, found)), (words, value)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Commands stop where their arguments are read, and the benchmark where it would begin."""
    read = Parser.parse_args

    def parse_args(self: Parser, words: Sequence[str]) -> argparse.Namespace:
        chosen = read(self, words)
        if self.prog.startswith("jobs/") and not {"run", "runs"} & vars(chosen).keys():
            return chosen
        raise Accepted(vars(chosen))

    def stop(options: Any, *_: Any) -> None:
        raise Accepted(vars(options))

    monkeypatch.setattr(Parser, "parse_args", parse_args)
    monkeypatch.setattr(benchmark, "_run", stop)
    monkeypatch.setattr(machine, "measure", stop)
    return monkeypatch


@pytest.mark.parametrize("name", MAINS)
@settings(QUICK, max_examples=60)
@given(data=st.data())
def test_any_argument_of_a_command_is_meant_or_refused_by_name(
    name: str, parsed: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    check_command(name, parser_of(name, parsed), data)


@pytest.mark.slow
@pytest.mark.parametrize("name", MAINS)
@settings(LONG, max_examples=3000)
@given(data=st.data())
def test_any_argument_of_any_command_is_meant_or_refused_by_name(
    name: str, parsed: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    check_command(name, parser_of(name, parsed), data)
