"""The data of a run: one data set, or the two ends of a data path p(x, t) and what couples them (sec. 4, App. F)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from rayfe.config import DataConfig, RunConfig, require
from rayfe.data.coupling import Coupling
from rayfe.data.datasets import load, reduced
from rayfe.data.examples import Dataset, Examples, listing, set_apart
from rayfe.data.pairing import Outputs, pair_classes, places_among, relabelled
from rayfe.exceptions import UsageError
from rayfe.records import Split

CONTROL_SHARE = 0.1
"""Part of the training images of each class that is set apart where their C is held."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PathData:
    """What evaluators need of the data: `source` alone, or both ends of the path, with labels of common outputs."""

    kind: Literal["still", "mixture", "displacement"]
    source: Dataset
    target: Dataset | None = None
    outputs: Outputs | None = None
    couplings: Mapping[Split, Coupling] | None = None
    """Of kind displacement, by split; None while they are not computed yet."""

    @property
    def classes(self) -> int:
        return self.source.classes

    @property
    def input_shape(self) -> tuple[int, ...]:
        return self.source.input_shape


def load_path(config: RunConfig, own: Mapping[str, Dataset] = MappingProxyType({})) -> PathData:
    """The data sets that a configuration names, labelled by the classifier's outputs; nothing is coupled yet.

    Baselines go along no path. They train on the target, or on both data sets: an example is one of either, whatever `path.kind` is.

    `own` are data sets that only this process has, by the name that the configuration has for them.

    Raises:
        UsageError: there is no such data, or source and target do not go together.
    """
    source = _named(config.data, own)
    if config.asked.hold == "control":
        set_apart(source.train, CONTROL_SHARE)  # refused here rather than by an evaluator
    if config.path.target is None:
        return PathData(kind="still", source=source)
    try:
        target = _named(replace(config.data, name=config.path.target), own)
    except UsageError as error:
        name = "path.target" if error.name == "data.name" else error.name
        raise UsageError(name, error.value, error.fix) from error
    require(
        source.input_shape == target.input_shape,
        "path.target",
        config.path.target,
        f"has examples of shape {target.input_shape}, the source {source.input_shape}; both must be the same",
    )
    ends = [end.scale and end.scale.ends() for end in (source, target)]
    fix = "was rescaled otherwise than the source; give both the same rescale=(low, high)"
    require(ends[0] == ends[1], "path.target", config.path.target, fix)
    fix = "has numbers for labels, or the source has; transfers and baselines go between classes"
    require(source.train.y.ndim == target.train.y.ndim == 1, "path.target", config.path.target, fix)
    outputs = pair_classes(source, target, config.path.pairing)
    return PathData(
        kind=config.path.kind if config.method is None else "mixture",
        source=relabelled(source, outputs.source, outputs.names),
        target=relabelled(target, outputs.target, outputs.names),
        outputs=outputs,
    )


def by_outputs(data: PathData, names: tuple[str, ...], of: str) -> PathData:
    """The same with labels numbered as the outputs of a trained classifier are, whose outputs were called `names`; `of` names its model.

    Raises:
        UsageError: start; there is no output for some class.
    """
    have = data.source.class_names
    places = places_among(have, names)
    known = f"has a classifier with outputs {listing(names)}, the data have classes {listing(have)}"
    if places is None or (data.source.train.y.ndim > 1 and names != have):
        raise UsageError("start", of, f"{known}; give data with these classes, or as many")
    if places == tuple(range(len(names))):
        return data
    called = list(names)
    for name, place in zip(have, places, strict=True):
        called[place] = name
    ends = [end and relabelled(end, places, tuple(called)) for end in (data.source, data.target)]
    outputs = data.outputs and replace(
        data.outputs,
        names=tuple(called),
        source=tuple(places[output] for output in data.outputs.source),
        target=tuple(places[output] for output in data.outputs.target),
    )
    assert ends[0] is not None
    return replace(data, source=ends[0], target=ends[1], outputs=outputs)


def _named(config: DataConfig, own: Mapping[str, Dataset]) -> Dataset:
    return reduced(own[config.name], config) if config.name in own else load(config)


def examples_of(data: Dataset, split: Split, config: RunConfig) -> Examples:
    """The examples of a split: of the training images a part is set apart where control images are held."""
    if split is Split.VALIDATION:
        return data.validation
    if config.asked.hold == "training":
        return data.train
    kept, control = set_apart(data.train, CONTROL_SHARE)
    return control if split is Split.CONTROL else kept


def epoch_of(data: PathData, config: RunConfig) -> int:
    """Training examples in an epoch: as many as the data, of a path as the larger of its ends."""
    ends = [end for end in (data.source, data.target) if end is not None]
    return max(len(examples_of(end, Split.TRAIN, config).y) for end in ends)


def coupled_splits(data: PathData, config: RunConfig) -> tuple[Split, ...]:
    """The splits whose source and target are coupled, each by its own."""
    return config.splits if data.kind == "displacement" else ()


def coupled(
    data: PathData, config: RunConfig, tell: Callable[[str], None], *, known: Mapping[Split, Coupling] | None = None
) -> PathData:
    """The same with its couplings, where its kind needs them.

    `known` are those that were computed before.

    Raises:
        UsageError: the transport cannot be computed (`transport.couple`).
    """
    if data.kind != "displacement":
        return data
    from rayfe.data.transport import couple  # imports POT, which is slow

    assert data.target is not None and data.outputs is not None
    # Paired classes have the same label by now: that of their common output.
    pairs = {output: output for output in data.outputs.source} if config.path.within_pairs else None
    couplings = dict(known or {})
    for split in (split for split in coupled_splits(data, config) if split not in couplings):
        source, target = (examples_of(end, split, config) for end in (data.source, data.target))
        couplings[split] = couple(source, target, config.path, pairs=pairs, seed=0, tell=tell)
    return replace(data, couplings=couplings)
