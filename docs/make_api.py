"""The page docs/api of the site, from docstrings (docs/conf.py)."""

from __future__ import annotations

import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import rayfe
from rayfe import config, records
from rayfe.config.fields import field_docs
from rayfe.data.examples import Dataset, Examples
from rayfe.model.protocol import Representation
from rayfe.surface.process import Conditions, Process

HEAD = "# Python\n"
READING = ("load_run", "load_model", "find_step", "load_certificates", "error_bars", "envelope_excess")
PARTS = (
    config.RunConfig,
    config.Walk,
    config.FreeWalk,
    config.Seek,
    config.Transfer,
    config.Baseline,
    config.RenewalConfig,
    config.PathConfig,
    config.DataConfig,
    config.ModelConfig,
    config.EquilibrationConfig,
    config.MeasureConfig,
    config.StencilConfig,
    config.Service,
)


def page() -> str:
    """The whole page, as Markdown."""
    parts = [HEAD, "## Functions\n"]
    parts += [
        function(f"rayfe.{name}", getattr(rayfe, name)) for name in ("walk", "transfer", "conditioned", "universal", "dataset")
    ]
    parts += [function(f"rayfe.{name}", getattr(rayfe, name)) for name in READING]
    parts += ["## A run\n", *members("rayfe.Run", rayfe.Run)]
    parts += ["## What a class of your own offers\n"]
    parts += [*members("rayfe.model.protocol.Representation", Representation)]
    parts += [*members("rayfe.surface.process.Process", Process, Conditions)]
    parts += [fields(f"rayfe.records.{cls.__name__}", cls) for cls in (records.Held, records.Point, records.Response)]
    parts += [fields("rayfe.records.Velocity", records.Velocity)]
    parts += [fields(f"rayfe.data.examples.{cls.__name__}", cls) for cls in (Dataset, Examples)]
    parts += [
        "## Settings\n\nOf `rayfe.config`: arguments of `walk` and `transfer` by these names, options of the jobs by dotted ones; what is "
        "asked for and Service have no prefix.\n"
    ]
    parts += [fields(f"rayfe.config.{cls.__name__}", cls) for cls in PARTS]
    parts += [
        "## Columns of rows\n\nOf `load_run` and `steps/*.parquet`: a row for each attempted step.\n",
        columns(records.StepRecord),
    ]
    parts += ["## Columns of readings\n\nOf `readings/*.parquet`: a row for each replica, split and recorded update.\n"]
    parts += [columns(records.ReadingRecord)]
    parts += [
        "## Columns of certificates\n\nOf `load_certificates` and `certificates/*.parquet`: a row for each certified model and method.\n"
    ]
    parts += [columns(records.CertificateRecord)]
    return "\n".join(parts)


def function(name: str, thing: Any) -> str:
    """A heading, the signature and the docstring."""
    signature = signature_of(thing)
    if len(name) + len(signature) > 110:
        inner, _, result = signature[1:].rpartition(") -> ")
        signature = "(\n" + "".join(f"    {argument},\n" for argument in arguments(inner)) + f") -> {result}"
    return f"### {name}\n\n```text\n{name}{signature}\n```\n\n{prose(thing)}\n"


def signature_of(thing: Any) -> str:
    """The signature without the quotes of annotations that are not evaluated, and without self."""
    text = re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(inspect.signature(thing)))
    return re.sub(r"^\(self(, )?", "(", text)


def arguments(text: str) -> Iterator[str]:
    """The arguments of a signature, split at the commas outside brackets."""
    depth, begin = 0, 0
    for index, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            yield text[begin:index].strip()
            begin = index + 1
    yield text[begin:].strip()


def members(name: str, *classes: type) -> Iterator[str]:
    """A class, and of it and its bases the fields, and the public methods and properties that have a docstring."""
    yield f"### {name}\n\n{prose(classes[0])}\n"
    lines = [f"- `{field}`: {one_line(text)}" for cls in classes for field, text in field_docs(cls).items()]
    for member, value in (item for cls in classes for item in vars(cls).items()):
        thing = value.fget if isinstance(value, property) else value
        if member.startswith("_") or not callable(thing) or not inspect.getdoc(thing):
            continue
        shown = member if isinstance(value, property) else f"{member}{signature_of(thing)}"
        lines.append(f"- `{shown}`: {one_line(inspect.getdoc(thing) or '')}")
    yield "\n".join(lines) + "\n"


def fields(name: str, cls: Any) -> str:
    """A dataclass as a table of its fields."""
    docs = docs_of(cls)
    if not docs:
        names = ", ".join(f"`{field.name}`" for field in dataclasses.fields(cls))
        return f"### {name}\n\n{prose(cls)}\n\nFields: {names}.\n"
    lines = [f"### {name}\n\n{prose(cls)}\n", "| field | default | meaning |", "|---|---|---|"]
    for field in dataclasses.fields(cls):
        lines.append(f"| `{field.name}` | {default(field)} | {cell(docs.get(field.name, ''))} |")
    return "\n".join(lines) + "\n"


def docs_of(cls: type) -> dict[str, str]:
    """The same of a class and those it takes fields from."""
    return {name: text for one in reversed(cls.__mro__[:-1]) for name, text in field_docs(one).items()}


def default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{field.default!r}`"
    if field.default_factory is not dataclasses.MISSING:
        return f"`{getattr(field.default_factory, '__name__', '...')}()`"
    return ""


def columns(record: type) -> str:
    """The columns of a table, with the descriptions that its Parquet schema has, too."""
    lines = ["| column | meaning |", "|---|---|"]
    described = {field.name: field.metadata["description"] for field in dataclasses.fields(record)}
    return "\n".join(lines + [f"| `{name}` | {cell(text)} |" for name, text in described.items()]) + "\n"


def prose(thing: Any) -> str:
    """A docstring as Markdown: what it raises as a list."""
    text, _, raises = (inspect.getdoc(thing) or "").partition("\nRaises:\n")
    if not raises:
        return text
    entries = textwrap.dedent(raises).strip()
    joined = "\n".join(f"- {line}" if not line.startswith(" ") else f"  {line.strip()}" for line in entries.splitlines())
    return f"{text.rstrip()}\n\nRaises:\n\n{joined}"


def one_line(text: str) -> str:
    return " ".join(text.partition("\nRaises:")[0].split())


def cell(text: str) -> str:
    return one_line(text).replace("|", "\\|")
