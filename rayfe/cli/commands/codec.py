"""python -m rayfe codec RUN: what R and R + D of a stored model are in bits, by codes that are decoded again."""

from __future__ import annotations

import functools
from typing import Annotated

from rayfe.cli.commands.parser import Parser, Refused, trusted, typed
from rayfe.config.checks import at_least
from rayfe.exceptions import CorruptFile, NotDecoded, visible
from rayfe.results.coded import sentences
from rayfe.run.stored_data import stored_data
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store

USUAL, MOST = 1000, 100_000
"""Images unless others are asked for, and at most."""
WHAT = """Code validation images with a stored model: z alone, from which they come back with loss, and the images themselves.
Both are decoded and compared, and the streams are kept (codec/). What is there already is decoded from its streams."""


def main(arguments: list[str]) -> int:
    """Code, decode, compare, store and print."""
    chosen = parser().parse_args(arguments)
    store = Store(chosen.run)
    run, config = stored_config(store)
    trusted(run, trust=chosen.trust)

    from rayfe.coding.measured import decoded_again, examples_at, measured  # imports torch, as those that follow
    from rayfe.coding.model import ModelCodec
    from rayfe.coding.stream import coder
    from rayfe.model.protocol import input_shape
    from rayfe.results.stored_model import find_row, model_of

    try:
        coder()
    except ModuleNotFoundError as error:
        raise Refused(f"codec: {error}") from error
    row = find_row(store, chosen.trajectory, chosen.step, chosen.at)
    model = model_of(store, run, row)
    examples = examples_at(stored_data(store, run, config, chosen.root), row.t, chosen.images)
    codec = ModelCodec(model, input_shape(config.model, tuple(run["input_shape"])), str(row.state_sha256))
    record, what = store.coded.record(row), f"{visible(row.trajectory)}, step {row.step}, {len(examples.y)} validation images"
    try:
        if record is not None and record.images == len(examples.y):
            decoded_again(codec, functools.partial(store.coded.stream, record), record, examples)
            print(f"{what}: coded already; decoded again from the stored streams, bit by bit the same")
        else:
            store.writable()
            record, streams = measured(codec, row, examples)
            store.coded.keep(record, streams)
            print(f"{what}: coded and decoded, bit by bit the same")
    except NotDecoded as error:
        raise CorruptFile(store.coded.url(row), f"{error}; remove them to code again") from error
    print(*sentences(record), f"streams: {store.coded.url(row)}", sep="\n")
    print(f"to write its page with them: python -m rayfe report {chosen.run}")
    return 0


def parser() -> Parser:
    """Its arguments."""
    made = Parser("python -m rayfe codec", WHAT)
    made.run()
    made.add_argument("--trajectory", metavar="NAME", help="which; may be left out where there is one")
    made.steps("an accepted step; without it and --at the recommended one, of all trajectories")
    text = f"validation images, evenly chosen; {USUAL} without it, or as many as there are"
    made.add_argument("--images", type=typed(Annotated[int, at_least(1, MOST)]), default=USUAL, metavar="N", help=text)
    made.trust()
    made.add_argument("--data.root", dest="root", metavar="FOLDER", help="folder of the run's data")
    return made
