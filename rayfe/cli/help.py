"""What `--help` and `--help-all` print: options with their defaults, as plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from rayfe.config import RunConfig, flat
from rayfe.config.fields import docs_of, hints_of
from rayfe.config.presets import PRESETS
from rayfe.config.resolve import KINDS_OF
from rayfe.exceptions import dashed, shown

FIRST = (
    *("lam", "gamma", "seed", "steps", "out", "process", "method", "lam_end", "path.target", "data.name", "data.root"),
    *("model.name", "equilibration.first_epochs", "equilibration.epochs", "tolerance", "backend", "threads", "keep_states"),
)
"""What a first user needs."""
WIDTH = 110


def asks_for_help(words: Sequence[str]) -> bool:
    return any(word in ("-h", "--help", "--help-all") for word in words)


def help_text(job: str, preset: str, *, everything: bool) -> str:
    """The help of a job, with the defaults of a preset: on one screen, or of every field that one of its runs may have."""
    default = PRESETS[job][preset]()
    docs = {name: text for kind in KINDS_OF[job] for name, text in docs_of(kind).items()}
    docs |= docs_of(type(default.asked))
    names = [name for name in docs if name in _fields(job, default)] if everything else [name for name in FIRST if name in docs]
    first, *others = PRESETS[job]
    lines = [
        f"usage: python jobs/{job}.py [PRESET] [--option VALUE ...]",
        "",
        *textwrap.wrap(
            f"PRESET comes first: {first} (default), {', '.join(others)}. Defaults below are those of {preset}. "
            f"The same command again goes on where a run stopped.",
            WIDTH,
        ),
        "",
    ]
    usual = flat(default)
    for name in names:
        lines += _option(name, usual, docs[name] if everything else _sentence(docs[name]))
    return "\n".join([*lines, "", "--help-all explains every option." if not everything else "--help shows the first ones."])


def _fields(job: str, default: RunConfig) -> Iterable[str]:
    return {*flat(default), *(name for kind in KINDS_OF[job] for name in hints_of(kind))}


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


def _sentence(text: str) -> str:
    """The first sentence, or the first part of a list."""
    return " ".join(text.split()).partition(". ")[0].rstrip(".") + "."
