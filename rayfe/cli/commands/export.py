"""python -m rayfe export RUN --step 12 --to model.pt2 (or model.onnx): a stored model to take away, with a card that says what it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayfe.cli.commands.parser import Parser, Refused, trusted, wanted_columns
from rayfe.config import ModelConfig
from rayfe.exceptions import UsageError
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
    trajectory = chosen.trajectory or _only(store)
    if (chosen.step is None) == (chosen.at is None):
        raise Refused("--step: give --step 12, or --at C=0.1, and not both")

    from rayfe.exceptions import NotExported
    from rayfe.model.export import exported
    from rayfe.model.protocol import input_shape
    from rayfe.model.scaled import in_units
    from rayfe.report.model_card import about, card  # imports torch, as those that follow
    from rayfe.report.view import view_of
    from rayfe.results.stored_model import find_row, model_of

    try:
        row = find_row(store, trajectory, chosen.step, None if chosen.at is None else wanted_columns(chosen.at))
    except ValueError as error:
        raise Refused(str(error)) from error
    model = in_units(model_of(store, run, row), run)
    config = ModelConfig(**{name[6:]: value for name, value in run["config"].items() if name.startswith("model.")})
    shape = input_shape(config, tuple(run["input_shape"]))
    try:
        made = exported(model, shape, chosen.part, about(run, row), to.suffix)
    except NotExported as error:
        raise Refused(f"{trajectory} step {row.step}: {error}") from error
    used, why = (
        _measured(store, run, row, made, shape, chosen.root) if chosen.part == "all" else (None, "only the whole model is")
    )
    to.write_bytes(made.data)
    text = card(view_of(store), row, to, part=chosen.part, shape=shape, used=used, why=why)
    to.with_suffix(".md").write_text(text, encoding="utf-8")
    print(f"model: {to} ({len(made.data) / 1e6:.1f} MB), step {row.step} of {trajectory}\ncard: {to.with_suffix('.md')}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        "export", "Take a stored model away: a file of torch.export or ONNX for any number of examples, and a card beside it."
    )
    parser.run()
    parser.add_argument("--trajectory", metavar="NAME", help="which; may be left out where there is one")
    parser.add_argument("--step", type=int, help="an accepted step")
    parser.add_argument("--at", nargs="+", metavar="COLUMN=VALUE", help="instead of --step: the nearest step, e.g. --at C=0.1")
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
        data = load_here(config, root, kept=store.data_folder())
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
    for path in (to, to.with_suffix(".md")):
        if path.exists():
            raise Refused(f"--to {to}: {path} exists; give another name, or remove it")
    if not to.parent.is_dir():
        raise Refused(f"--to {to}: there is no folder {to.parent}; make it first")
    return to


def _only(store: Store) -> str:
    names = store.trajectories()
    if len(names) != 1:
        raise Refused(f"--trajectory: give one of {', '.join(names) or '(none stored so far)'}")
    return names[0]
