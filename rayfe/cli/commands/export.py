"""python -m rayfe export RUN --step 12 --to model.pt2 (or model.onnx): a stored model to take away, with a card that says what it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayfe.cli.commands.parser import Parser, Refused, trusted, wanted_columns
from rayfe.config import ModelConfig
from rayfe.exceptions import UsageError
from rayfe.storage.errors import naming
from rayfe.storage.local import replace_together
from rayfe.storage.store import Store

if TYPE_CHECKING:
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
    run = store.read_config()
    trusted(run, trust=chosen.trust, fields=("model.name",))

    from rayfe.exceptions import NotExported
    from rayfe.model.export import exported
    from rayfe.model.protocol import input_shape
    from rayfe.model.scaled import in_units
    from rayfe.report.model_card import about, card  # imports torch, as those that follow
    from rayfe.report.view import view_of
    from rayfe.results.stored_model import find_row, model_of

    row = find_row(store, chosen.trajectory, chosen.step, None if chosen.at is None else wanted_columns(chosen.at))
    model = in_units(model_of(store, run, row), run)
    config = ModelConfig(**{name[6:]: value for name, value in run["config"].items() if name.startswith("model.")})
    shape = input_shape(config, tuple(run["input_shape"]))
    try:
        made = exported(model, shape, chosen.part, about(run, row), to.suffix)
    except NotExported as error:
        raise Refused(f"{row.trajectory} step {row.step}: {error}") from error
    used, why = (
        _measured(store, run, row, made, shape, chosen.root) if chosen.part == "all" else (None, "only the whole model is")
    )
    text = card(view_of(store), row, to, part=chosen.part, shape=shape, used=used, why=why)
    replace_together({card_of(to): text.encode(), to: made.data})
    print(f"model: {to} ({len(made.data) / 1e6:.1f} MB), step {row.step} of {row.trajectory}\ncard: {card_of(to)}")
    return 0


def card_of(to: Path) -> Path:
    """Where the card of an exported file is: beside it, one for each file."""
    return to.with_name(f"{to.name}.md")


def _parser() -> Parser:
    parser = Parser(
        "export", "Take a stored model away: a file of torch.export or ONNX for any number of examples, and a card beside it."
    )
    parser.run()
    parser.add_argument("--trajectory", metavar="NAME", help="which; may be left out where there is one")
    parser.add_argument(
        "--step", type=int, help="an accepted step; without it and --at the recommended one, of all trajectories"
    )
    parser.add_argument(
        "--at", nargs="+", metavar="COLUMN=VALUE", help="instead of --step: the nearest step, e.g. --at lam=1.0"
    )
    parser.add_argument("--to", metavar="FILE", required=True, help="a .pt2 or .onnx file that does not exist yet")
    parser.trust()
    parser.add_argument(
        "--data.root", dest="root", metavar="FOLDER", help="folder of the run's data, on which the file is measured"
    )
    parser.add_argument("--part", choices=PARTS, default="all", help="all: x -> mean, log_variance, reconstruction, logits")
    return parser


def _measured(
    store: Store, run: Mapping[str, Any], row: StepRecord, made: Exported, shape: tuple[int, ...], root: str | None
) -> tuple[AsUsed | None, str]:
    """What the file gives on the validation split, or why that is not known."""
    from rayfe.data.fingerprint import fingerprint
    from rayfe.data.local_files import load_here
    from rayfe.model.scaled import of_unit_interval
    from rayfe.results.as_used import as_used
    from rayfe.storage.manifest import stored_config

    _, config = stored_config(store)
    try:
        data = load_here(config, root, kept=store.data_folder(), outputs=run.get("class_names", ()))
    except UsageError as error:
        if root is not None:
            raise
        return None, f"the data are not on this machine ({error.fix}); --data.root names their folder"
    if fingerprint(data) != run.get("data_sha256"):
        return None, "the examples on this machine are not those of the run"
    used = as_used(of_unit_interval(made.run, run), data, config, row.t, shape)
    return used, "" if used else "its examples are blends of two data sets"


def _free(to: Path) -> Path:
    if to.suffix not in FORMATS:
        raise Refused(f"--to {to}: give a name that ends in {' or '.join(FORMATS)}")
    with naming(str(to)):
        for path in (to, card_of(to)):
            if path.exists():
                raise Refused(f"--to {to}: {path} exists; give another name, or remove it")
        if not to.parent.is_dir():
            raise Refused(f"--to {to}: there is no folder {to.parent}; make it first")
    return to
