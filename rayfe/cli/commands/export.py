"""python -m rayfe export RUN --step 12 --to model.pt2 (or model.onnx): a stored model to take away, with a card that says what it is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rayfe.cli.commands.parser import Parser, Refused, trusted, typed
from rayfe.config.checks import POSITIVE
from rayfe.config.user_code import OF_MODELS
from rayfe.exceptions import UsageError, shown, visible
from rayfe.storage.local import replace_together
from rayfe.storage.manifest import stored_config
from rayfe.storage.store import Store

if TYPE_CHECKING:
    from rayfe.config import RunConfig
    from rayfe.model.export import Exported
    from rayfe.records import StepRecord
    from rayfe.results.as_used import AsUsed

PARTS = ("all", "encode", "decode", "classify")
FORMATS = (".pt2", ".onnx")


def main(arguments: list[str]) -> int:
    """Write FILE and, beside it, its card."""
    chosen = _parser().parse_args(arguments)
    to = _free(Path(chosen.to))
    store = Store(chosen.run)
    run, config = stored_config(store)
    trusted(run, trust=chosen.trust, fields=OF_MODELS)

    from rayfe.exceptions import NotExported
    from rayfe.model.export import exported
    from rayfe.model.protocol import input_shape
    from rayfe.model.scaled import in_units
    from rayfe.report.model_card import about, card  # imports torch, as those that follow
    from rayfe.report.view import view_of
    from rayfe.results.between import Between
    from rayfe.results.stored_model import find_model, model_of

    found = find_model(store, config, chosen.trajectory, chosen.step, chosen.at, chosen.lam)
    between = found if isinstance(found, Between) else None
    row = found.record if isinstance(found, Between) else found
    model = model_of(store, run, found)
    what = f"step {row.step} of {row.trajectory}" if between is None else between.where
    shape = input_shape(config.model, tuple(run["input_shape"]))
    try:
        made = exported(in_units(model, run), shape, chosen.part, about(run, row, between), to.suffix)
    except NotExported as error:
        raise Refused(f"{what}: {error}") from error
    used, why = (
        _measured(store, run, config, row, model, made, chosen.root)
        if chosen.part == "all"
        else (None, "only the whole model is")
    )
    text = card(view_of(store), row, to, between=between, part=chosen.part, shape=shape, used=used, why=why)
    replace_together({card_of(to): text.encode(), to: made.data})
    print(f"model: {to} ({len(made.data) / 1e6:.1f} MB), {visible(what)}\ncard: {card_of(to)}")
    return 0


def card_of(to: Path) -> Path:
    """Where the card of an exported file is: beside it, one for each file."""
    return to.with_name(f"{to.name}.md")


def _parser() -> Parser:
    parser = Parser(
        "python -m rayfe export",
        "Take a stored model away: a file of torch.export or ONNX for any number of examples, with a card.",
    )
    parser.run()
    parser.add_argument("--trajectory", metavar="NAME", help="which; may be left out where there is one")
    either = parser.steps("an accepted step; without it and --at the recommended one, of all trajectories")
    text = "instead of --step: the model of a walk at this very lam, between its stored ones"
    either.add_argument("--lam", type=typed(Annotated[float, POSITIVE]), help=text)
    parser.add_argument("--to", metavar="FILE", required=True, help="a .pt2 or .onnx file that does not exist yet")
    parser.trust()
    parser.add_argument(
        "--data.root", dest="root", metavar="FOLDER", help="folder of the run's data, on which the file is measured"
    )
    parser.add_argument("--part", choices=PARTS, default="all", help="all: x -> mean, log_variance, reconstruction, logits")
    return parser


def _measured(
    store: Store,
    run: Mapping[str, Any],
    config: RunConfig,
    row: StepRecord,
    model: Any,
    made: Exported,
    root: str | None,
) -> tuple[AsUsed | None, str]:
    """What the file gives on the validation split, or why that is not known."""
    from rayfe.data.fingerprint import fingerprint
    from rayfe.data.local_files import load_here
    from rayfe.model.protocol import input_shape
    from rayfe.model.scaled import of_unit_interval
    from rayfe.results.as_used import as_used

    try:
        data = load_here(config, root, kept=store.data_folder(), outputs=run.get("class_names", ()))
    except UsageError as error:
        if root is not None:
            raise
        return None, f"the data are not on this machine ({error.fix}); --data.root names their folder"
    if fingerprint(data) != run.get("data_sha256"):
        return None, "the examples on this machine are not those of the run"
    shape = input_shape(config.model, tuple(run["input_shape"]))
    used = as_used(of_unit_interval(made.run, run), model, data, config, row.t, shape)
    return used, "" if used else "its examples are blends of two data sets"


def _free(to: Path) -> Path:
    if to.suffix not in FORMATS:
        raise Refused(f"--to {to}: give a name that ends in {' or '.join(FORMATS)}")
    for path in (to, card_of(to)):
        try:
            os.lstat(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Refused(f"--to {shown(str(to))}: cannot be written ({error.strerror}); give another name") from error
        raise Refused(f"--to {to}: {path} exists; give another name, or remove it")
    if not to.parent.is_dir():
        raise Refused(f"--to {to}: there is no folder {to.parent}; make it first")
    return to
