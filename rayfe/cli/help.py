"""What `--help` and `--help-all` print: options with their defaults, as plain text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rayfe.config import flat, unread
from rayfe.config.checks import needs_of
from rayfe.config.fields import docs_of, hints_of
from rayfe.config.presets import PRESETS
from rayfe.config.resolve import KINDS_OF
from rayfe.exceptions import dashed, in_shell_words, shown

FIRST = (
    *("lam", "gamma", "seed", "steps", "out", "process", "method", "lam_end", "path.target", "data.name", "data.root"),
    *("model.name", "equilibration.first_epochs", "equilibration.epochs", "tolerance", "backend"),
)
"""What a first user needs."""
WIDTH = 110
WHAT = {
    "isoc": "A walk along the equilibrium surface: models that solve the task equally well, from coarse to fine.",
    "transfer": "Moves a model from one data set to another while its classification loss C stays.",
    "baseline": "Plain training on a transfer's target, with the same data, model and start, to compare with it.",
    "conditioned": "One model for all lam and gamma between those given, and ordinary models of it at each pair of them.",
}
"""What a job makes."""


def asks_for_help(words: Sequence[str]) -> bool:
    return any(word in ("-h", "--help", "--help-all") for word in words)


def help_text(job: str, preset: str, *, everything: bool) -> str:
    """The help of a job, with the defaults of a preset: on one screen, or of every field that one of its runs may have."""
    default = PRESETS[job][preset]()
    docs = {name: text for kind in KINDS_OF[job] for name, text in docs_of(kind).items()}
    docs |= docs_of(type(default.asked))
    hints = {name: hint for kind in KINDS_OF[job] for name, hint in hints_of(kind).items()}
    never = {one.name for one in unread(default) if not str(one.need)}
    names = (
        [name for name in docs if name in hints and name not in never]
        if everything
        else [name for name in FIRST if name in docs]
    )
    lines = [
        f"usage: python jobs/{job}.py [PRESET] [--option VALUE ...]",
        "",
        WHAT[job],
        "",
        "PRESET, before the options:",
        *_presets(job),
        "",
        f"Options, with what {preset} has for them:",
    ]
    usual = flat(default)
    for name in names:
        lines += _option(name, usual, docs[name] + _needed(name, hints) if everything else _sentence(docs[name]))
    more = "--help shows the first ones." if everything else "--help-all explains every option."
    return "\n".join([*lines, "", f"The same command again goes on where a run stopped. {more}"])


def _presets(job: str) -> list[str]:
    """Each with what it is; the first one is taken without a word."""
    known = PRESETS[job]
    names = {name: f"{name} (default)" if name == next(iter(known)) else name for name in known}
    said = {
        name: textwrap.shorten(_sentence(preset.__doc__ or ""), WIDTH - 26, placeholder=" ...")
        for name, preset in known.items()
    }
    return [f"  {names[name]:24}{said[name]}".rstrip() for name in known]


def _option(name: str, usual: dict[str, object], text: str) -> list[str]:
    """An option with its default, and what it means."""
    group, dot, leaf = dashed(name).rpartition(".")
    value = usual.get(name)
    if isinstance(value, bool):
        option, default = f"--{group}{dot}[no-]{leaf}", "yes" if value else "no"
    else:
        option, default = f"--{group}{dot}{leaf}", shown(value) if name in usual and value is not None else ""
    head = f"  {option} ({default})" if default else f"  {option}"
    body = textwrap.wrap(" ".join(text.split()), WIDTH - 38) or [""]
    if len(head) > 36:
        return [head, *(" " * 38 + line for line in body)]
    return [f"{head:38}{body[0]}", *(" " * 38 + line for line in body[1:])]


def _needed(name: str, hints: Mapping[str, Any]) -> str:
    """Without which options this one has no effect."""
    needs = [in_shell_words(str(need)) for need in needs_of(hints[name]) if need.name in hints]
    return f" Only with {', and with '.join(needs)}." if needs else ""


def _sentence(text: str) -> str:
    """The first sentence, or the first part of a list."""
    return re.split(r"(?<!Fig)(?<!App)(?<!sec)\. ", " ".join(text.split()))[0].rstrip(".") + "."
