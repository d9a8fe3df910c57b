"""The card of an exported model: what it is, its numbers and certificates, its data and their licence, how to use it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rayfe.config import VERSION
from rayfe.data.local_files import licence_of
from rayfe.exceptions import visible
from rayfe.model.export import ABOUT, OUTPUTS, Part
from rayfe.records import StepRecord
from rayfe.records.run_json import distortion_of
from rayfe.report.verdict import WORDS
from rayfe.report.verdicts import verdicts
from rayfe.report.view import RunView
from rayfe.results.as_used import AsUsed
from rayfe.results.between import Between
from rayfe.results.certified import NONE, Gap, findings, missed_by
from rayfe.results.frames import percent_of_F, size_of_F
from rayfe.results.recommended import CAVEAT, RULE, choice, recommended
from rayfe.results.walk_summary import envelope_excess

FUNCTIONALS = (
    ("R", "rate, nats", "R", "val_R"),
    ("D", "distortion, {unit} summed over an example", "D", "val_D"),
    ("C", "{task} loss, nats", "C", "val_C"),
    ("accuracy", "of the mean prediction", "accuracy", "val_accuracy"),
    ("score", "the task's, of the mean prediction", "score", "val_score"),
)
CLASSIFICATION = "classification"
"""The task of runs that name none."""
SCORES = ("accuracy", "score")
"""Of which a task has one at most."""
UNREAD = "\n## Certificates\n\nNone. The weights of this model are interpolated between stored ones, and nothing of the run was read of it."
"""Of a model between others."""


def about(run: Mapping[str, Any], row: StepRecord, between: Between | None = None) -> dict[str, Any]:
    """What the file itself says of its origin; `row` is that of the model, or of one `between` others."""
    keys = ("trajectory", "step", "lam", "gamma", "t", "R", "D", "C", "F", "state_sha256")
    known = {"rayfe": VERSION, "command": run["command"], "class_names": list(run["class_names"])}
    steps = {} if between is None else {"step": [one.step for one in between.rows], "shares": list(between.shares)}
    return known | {name: getattr(row, name) for name in keys} | steps


def words(text: object) -> str:
    """Words of a run as Markdown that shows them, and does nothing else."""
    return re.sub(r"([\\`*_\[\]<>|~&])", r"\\\1", visible(str(text)))


def code(text: object) -> str:
    """The same as a span of code: between more backticks than are in it."""
    shown = visible(str(text))
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    return f"{fence}{shown}{fence}" if len(fence) == 1 else f"{fence} {shown} {fence}"


def card(
    view: RunView,
    row: StepRecord,
    to: Path,
    *,
    between: Between | None = None,
    part: Part,
    shape: tuple[int, ...],
    used: AsUsed | None,
    why: str,
) -> str:
    """Markdown. `row` is that of the model, or of one `between` others; `used` is what the file gives by the mean of z. Where that is None,
    `why` says why it was not measured."""
    run = view.manifest
    sections = (
        _head(view, row, between),
        _use(to, part, shape, run),
        _chosen(view, row),
        _numbers(row, used, why, unit=distortion_of(run)["unit"], task=words(run["config"].get("model.task", CLASSIFICATION))),
        _certificates(view, row) if between is None else UNREAD,
        _data(run),
        _origin(view, row if between is None else between),
    )
    return "\n".join(sections)


def _head(view: RunView, row: StepRecord, between: Between | None) -> str:
    run, origin = view.manifest, "from a walk along the rate-distortion-classification equilibrium surface"
    if view.config.box is not None:
        origin = "folded from one conditioned model"
    elif view.kind == "baseline":
        origin = "from plain training on the target"
    predictor = "classifier" if run["config"].get("model.task", CLASSIFICATION) == CLASSIFICATION else "predictor of the task"
    at = f"lam = {row.lam:.6g}, gamma = {row.gamma:.6g}" + (f", t = {row.t:.6g}" if row.t > 0.0 else "")
    title = f"step {row.step}, trajectory {words(row.trajectory)}" if between is None else words(between.where)
    return (
        f"# Model of {title}\n\n"
        f"An encoder, decoder and {predictor} near the minimum of R + lam D + gamma C at {at}, {origin} "
        f"({words(row.process)}; {code(run['config']['model.name'])}, "
        f"{run['config']['model.latent']} dimensions of z)."
    )


def _use(to: Path, part: Part, shape: tuple[int, ...], run: Mapping[str, Any]) -> str:
    given, size = ("z", (run["config"]["model.latent"],)) if part in ("decode", "classify") else ("x", shape)
    sizes = ", ".join(map(str, size))
    span = "in [0, 1]" if run.get("scale") is None else "in the units that the data came in"
    what = f"`x`: float {span}, (N, {sizes})" if given == "x" else f"`z`: float, (N, {size[0]})"
    outputs = ", ".join(f"`{name}`" for name in OUTPUTS[part])
    lines = (_onnx_code if to.suffix == ".onnx" else _torch_code)(to.name, given, sizes)
    named = run["config"].get("model.task", CLASSIFICATION) == CLASSIFICATION
    classes = f" Classes in the order of the logits, also in the file as `about`: {', '.join(map(words, run['class_names']))}."
    classes = classes if named else f" `logits` are what the model predicts for the task {words(run['config']['model.task'])}."
    return (
        f"\n## How to use it\n\n```python\n{lines}```\n\n{what}; any N of at least 1. Outputs by name: {outputs}; "
        f"reconstruction and logits are those of the mean of z.{classes}"
    )


def _torch_code(name: str, given: str, sizes: str) -> str:
    return (
        "import json\n\nimport torch\n\n"
        f'files = {{"{ABOUT}": ""}}\nmodel = torch.export.load("{name}", extra_files=files).module()\n'
        f'about = json.loads(files["{ABOUT}"])\noutputs = model(torch.rand(5, {sizes}))  # {given}\n'
    )


def _onnx_code(name: str, given: str, sizes: str) -> str:
    return (
        "import json\n\nimport numpy as np\nimport onnxruntime\n\n"
        f'model = onnxruntime.InferenceSession("{name}")\n'
        f'about = json.loads(model.get_modelmeta().custom_metadata_map["{ABOUT}"])\n'
        f'values = model.run(None, {{"{given}": np.random.rand(5, {sizes}).astype(np.float32)}})\n'
        "outputs = dict(zip([one.name for one in model.get_outputs()], values))\n"
    )


def _chosen(view: RunView, row: StepRecord) -> str:
    """Whether this is the model that the run recommends."""
    found = recommended(view.rows)
    if found is None:
        return "\n## Choice\n\nThe run recommends none of its models."
    own = found["state_sha256"] == row.state_sha256
    what = "This is the model that the run recommends." if own else f"The run recommends another model: {words(choice(found))}."
    return f"\n## Choice\n\n{what} {RULE} {CAVEAT}"


def _numbers(row: StepRecord, used: AsUsed | None, why: str, *, unit: str, task: str) -> str:
    lines = [
        "\n## Functionals\n",
        "Training and validation are the run's readings, means over draws of z. The last column is what this file gives: it uses the "
        "mean of z.\n",
        "| | training | standard error, of the draws of z alone | validation | validation, this file |",
        "|---|---|---|---|---|",
    ]
    for name, meaning, train, validation in FUNCTIONALS:
        if name in SCORES and getattr(row, train) is None:
            continue
        error, own = _value(getattr(row, f"{name}_se", None)), _value(getattr(used, "score" if name in SCORES else name, None))
        meant = f"{name} ({meaning.format(unit=unit, task=task)})"
        lines.append(f"| {meant} | {_value(getattr(row, train))} | {error} | {_value(getattr(row, validation))} | {own} |")
    lines.append(f"| F = R + lam D + gamma C (nats) | {_value(row.F)} | | | |")
    return "\n".join([*lines, *([f"\nThis file was not measured: {words(why)}."] if used is None else [])])


def _certificates(view: RunView, row: StepRecord) -> str:
    off = None if row.drift is None else 100.0 * row.drift
    error = "" if row.drift_se is None else f" ± {100 * row.drift_se:.2f}"
    name, unit = ("C / C0 - 1", "%") if row.C_scale is None else ("C - C0", "% of a nat")
    lines = ["\n## Certificates\n"]
    lines.append(
        f"- This step: {name} is {'not measured' if off is None else f'{off:+.2f}{error} {unit}'}; {_above(view, row)}."
    )
    lines.append(f"- This model's equilibrium: {words(_equilibrium(view, row))}.")
    for found in verdicts(view):
        state = "" if found.state == "not measured" else f"{WORDS[found.state]}. "
        lines.append(f"- {found.name} (whole run): {state}{words(found.text)}")
    return "\n".join(lines)


def _above(view: RunView, row: StepRecord) -> str:
    """How far F of this model is at least above equilibrium, by all models that are there."""
    (own,) = view.rows.index[view.rows["state_sha256"] == row.state_sha256][:1]
    nats = float(envelope_excess(view.rows, view.models)[own])
    percent, told = 100.0 * nats / size_of_F(view.rows)[own], percent_of_F(view.rows)
    return str(Gap(percent=percent, trajectory=row.trajectory, step=row.step, nats=nats, in_percent=told))


def _equilibrium(view: RunView, row: StepRecord) -> str:
    """What certificates of this very model say."""
    own = view.certificates[view.certificates["state_sha256"] == row.state_sha256]
    rows = view.rows[view.rows["state_sha256"] == row.state_sha256]
    found = findings(own, rows, step_epochs=view.config.equilibration.epochs)
    if found:
        return f"{WORDS[found[0].state]}: {found[0].text}"
    return "; ".join([f"not measured: {NONE}", *map(str, missed_by(rows))])


def _data(run: Mapping[str, Any]) -> str:
    names = [name for name in (run["config"]["data.name"], run["config"].get("path.target")) if name]
    lines = ["\n## Data\n", *(f"- {words(name)}; licence: {licence_of(name)}" for name in names)]
    return "\n".join([*lines, f"- SHA-256 of the examples: {code(run['data_sha256'])}"])


def _origin(view: RunView, found: StepRecord | Between) -> str:
    run, again, row = view.manifest, view.again, found.record if isinstance(found, Between) else found
    stored = dict(zip(found.rows, found.shares, strict=True)) if isinstance(found, Between) else {found: None}
    weights = (
        f"{code(one.state)}, SHA-256 {code(one.state_sha256)}{'' if share is None else f', {share:+.4f} of them'}"
        for one, share in stored.items()
    )
    needs = f"; it needs {words('; '.join(again.needs))}" if again.needs else ""
    versions = ", ".join(words(f"{name} {version}") for name, version in run.get("versions", {}).items())
    return (
        f"\n## Origin\n\n- The run goes on by {code(again.command)}, where RUN is its folder or URI{needs}\n"
        f"- Made by rayfe {words(run['rayfe'])} ({versions}); exported by rayfe {VERSION}\n"
        f"- Weights: {'; '.join(weights)}\n- Training examples so far: {row.examples:.4g}\n"
    )


def _value(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.5g}"
