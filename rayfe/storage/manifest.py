"""run.json: what a run was asked for, and whether a stored run is the same one."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import math
import os
import platform
import shlex
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NoReturn

from rayfe.config import (
    BEFORE,
    READINGS,
    VERSION,
    RunConfig,
    flat,
    from_flat,
    identity,
    require,
    retired,
    stored_identity,
    unread,
    usual_identity,
)
from rayfe.config.resolve import option_of
from rayfe.config.start import portable
from rayfe.config.user_code import code_digest, named, own_names
from rayfe.data.examples import Dataset
from rayfe.data.fingerprint import fingerprint
from rayfe.data.npz import npz_arrays
from rayfe.data.paths import PathData, epoch_of
from rayfe.exceptions import UNSAID, CorruptFile, UsageError, shown
from rayfe.records import decoder_draws
from rayfe.records.run_json import SQUARED
from rayfe.records.weights import digest_of as arrays_digest
from rayfe.storage.layout import CONFIG
from rayfe.storage.store import Store

SETS = ("lam", "gamma", "seed")
"""Fields that may grow when a run is continued; `steps` may, too."""
NEEDED = ("config", "input_shape", "classes", "class_names", "data_sha256", "job", "preset", "command")
"""Fields that run.json of every version has."""
TOLD: Mapping[str, Any] = MappingProxyType({"D": dict(SQUARED)})
"""What a model usually says."""
PLACES = ("out", "data.root", "polish")
"""Options that say where things are, perhaps with a password: run.json leaves them out."""
GONE = "is what the stored run has, which this version does not offer; use another ``out``"


def manifest_of(
    job: str,
    preset: str,
    argv: list[str],
    config: RunConfig,
    data: PathData,
    *,
    start: Mapping[str, Any] | None = None,
    own: Iterable[Dataset] = (),
    devices: Iterable[str] = (),
    told: Mapping[str, Any] = TOLD,
) -> dict[str, Any]:
    """The content of run.json: what was asked for, with nothing of this machine in it. `start` tells of a model that it starts from;
    of data sets of its `own`, which no file of the user's holds, the run keeps copies. `devices` are what it will be trained on: `cpu`,
    or models of GPUs. `told` is what the model says: what the distortion is, and the names of losses.
    """
    fields = {name: value for name, value in flat(config).items() if name not in PLACES}
    same = identity(config) | {"measure.decoder_draws": decoder_draws(epoch_of(data, config))}
    fields["data.name"] = same["data.name"] = _portable(config.data.name)
    if config.path.target is not None:
        fields["path.target"] = same["path.target"] = _portable(config.path.target)
    fields["start"] = start and start["from"]
    manifest = {
        "rayfe": VERSION,
        "readings": READINGS,
        "job": job,
        "preset": preset,
        "command": shlex.join(["python", f"jobs/{job}.py", *_without_places(argv)]),
        "config": fields,
        "identity": same,
        "input_shape": data.input_shape,
        "classes": data.classes,
        "class_names": data.source.class_names,
        "scale": data.source.scale and data.source.scale.ends(),
        "data_sha256": fingerprint(data),
        "kept_sha256": {dataset.name: arrays_digest(npz_arrays(dataset)) for dataset in own},
        "start": start,
        "code_sha256": own_code(config),
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in ("torch", "ray", "numpy")},
        "devices": list(devices),
        **told,
        "precision": "bfloat16 in updates, else float32" if config.equilibration.rounds else "float32",
    }
    return json.loads(json.dumps(manifest))


def digest_of(manifest: Mapping[str, Any]) -> str:
    """Eight letters that tell runs with other rows apart: by configuration, data and code of the user's own.

    Fields that have their defaults do not count, so that a later version with more of them finds the same run.
    """
    same = {name: (value,) for name, value in (usual_identity() | dict(BEFORE)).items()} | {
        "equilibration.compile": (False, "never")
    }
    changed = {name: value for name, value in manifest["identity"].items() if value not in same.get(name, (None,))}
    defining = [manifest["job"], changed, manifest["data_sha256"], manifest["code_sha256"]]
    if manifest["readings"] != 1:
        defining.append(manifest["readings"])
    if manifest.get("start") is not None:
        defining.append(manifest["start"]["sha256"])
    return hashlib.sha256(json.dumps(defining, sort_keys=True).encode()).hexdigest()[:8]


def own_code(config: RunConfig) -> dict[str, str]:
    """Digests of the classes and functions of the user's own, by the field that names them, where their source can be read."""
    digests = {}
    for field, name in own_names(flat(config)).items():
        with contextlib.suppress(UsageError):  # what is not there is refused by whoever needs it
            digests[field] = code_digest(named(name, field, known=""))
    return {field: digest for field, digest in digests.items() if digest is not None}


def _portable(name: str) -> str:
    """A data set's name without the folder of a file of the user's own."""
    return "npz:" + os.path.basename(name.removeprefix("npz:")) if name.startswith("npz:") else name


def _without_places(argv: list[str]) -> list[str]:
    words: list[str] = []
    inside, of = False, ""
    for word in argv:
        if word.startswith("--"):
            of = option_of(word)[2:]
            inside = of in PLACES
        if not inside:
            option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
            words.append(option + equals + (portable(value) if of == "start" and value else _portable(value)))
    return words


def stored_config(store: Store) -> tuple[dict[str, Any], RunConfig]:
    """run.json and the configuration in it, as far as it can be read by this version.

    Raises:
        FileNotFoundError: there is no run.
        CorruptFile: run.json is not that of a run.
    """
    run = store.read_config()
    try:
        lacks = [name for name in NEEDED if name not in run] or [name for name in (*SETS, "steps") if name not in run["config"]]
        require(not lacks, "config", UNSAID, f"lacks {', '.join(lacks)}")
        return run, from_flat(dict(BEFORE) | run["config"])
    except UsageError as error:
        raise CorruptFile(store.url(CONFIG), f"is not the configuration of a run ({error})") from error


def stored_manifest(store: Store, manifest: Mapping[str, Any], config: RunConfig) -> dict[str, Any] | None:
    """run.json of the run that is there; None if there is none, or none that can be read but the fingerprint is that of `manifest`.

    Raises:
        UsageError: its rows would not be those of this configuration.
    """
    if not store.exists() and not store.trajectories():
        return None
    rebuilt = store.fingerprint() == digest_of(manifest)
    try:
        stored = store.read_config()
        before, job, sha256 = stored_identity(stored), stored["job"], stored["data_sha256"]
        _ = {name: stored["config"][name] for name in (*SETS, "steps")}
        if rebuilt and digest_of(stored) != store.fingerprint():
            raise CorruptFile(store.url(CONFIG), "is not what its fingerprint is of")
    except (FileNotFoundError, CorruptFile, KeyError, TypeError, ValueError) as error:
        if rebuilt:
            return None
        raise UsageError("out", store.url(), f"its {CONFIG} cannot be read ({error}); use another ``out``") from error
    require(job == manifest["job"], "out", store.url(), f"holds a run of jobs/{job}.py; use another ``out``")
    fix = "its readings are defined otherwise than this version's; it can be read and drawn, but to go on use another ``out``"
    require(stored.get("readings", 1) == manifest["readings"], "out", store.url(), fix)
    require(stored["identity"].get("equilibration.compile") is not True, "equilibration.compile", True, GONE)
    idle = {one.name for one in unread(config)}  # older versions took any values of them
    for name, value in manifest["identity"].items():
        if name in before and name not in idle and before[name] != value:
            _refuse_change(name, value, before[name])
    told = stored.get("known_sha256") is not None
    _refuse_retired(before | ({"known_runs": "(the stored run's)"} if told else {}), config)
    if stored["config"].get("both_ways", False) and not config.asked.both_ways:
        _refuse_change("both_ways", False, True)  # it may be on its way back
    _refuse_other_start(stored.get("start"), manifest.get("start"))
    other_data = "its examples are not those of the stored run; use another ``out``, or the data of that run"
    require(sha256 == manifest["data_sha256"], "data.name", config.data.name, other_data)
    for field, digest in manifest["code_sha256"].items():
        same_code = stored.get("code_sha256", {}).get(field, digest) == digest
        fix = "its code is not that of the stored run; use another ``out``, or the code of that run"
        require(same_code, field, manifest["config"][field], fix)
    return stored


def stored_choice(store: Store, name: str) -> Any:
    """How the stored run has a field that may be left to the machine; None if there is no run, or none that can be read."""
    try:
        return stored_identity(store.read_config())[name] if store.exists() else None
    except (FileNotFoundError, CorruptFile, KeyError, TypeError, ValueError):
        return None  # `stored_manifest` says so


def said_of_devices(manifest: Mapping[str, Any], stored: Mapping[str, Any] | None) -> str:
    """What people must know where a run goes on on another kind of device; empty where there is nothing."""
    before = [] if stored is None else stored.get("devices", [])
    others = [device for device in manifest["devices"] if device not in before]
    if not before or not others:
        return ""
    return f"The run was trained on {', '.join(before)} and goes on on {', '.join(others)}: rows differ by noise and rounding."


def _refuse_retired(before: Mapping[str, Any], config: RunConfig) -> None:
    """Refuse to go on with a run whose rows follow an option that there is not any more; `before`: its identity."""
    now = identity(config)
    for name, values in retired(config).items():
        if name in before and name not in now:
            known = any(before[name] == value or _is_close(before[name], value) for value in values)
            require(known, name, before[name], GONE)


def _is_close(value: object, other: object) -> bool:
    return isinstance(value, float) and isinstance(other, float) and math.isclose(value, other)


def _refuse_change(name: str, value: object, before: object) -> NoReturn:
    raise UsageError(
        name, value, f"the stored run has {shown(before)}; use another ``out``, or give ``{name}={shown(before)}``"
    )


def _refuse_other_start(before: Mapping[str, Any] | None, now: Mapping[str, Any] | None) -> None:
    """Refuse to go on from other weights than the stored run began with."""
    if (before and before["sha256"]) != (now and now["sha256"]):
        fix = "the stored run began with new weights; use another ``out``, or leave it away"
        if before is not None:
            fix = f"the stored run began with {before['from']} (SHA-256 {before['sha256'][:16]}...); use another ``out``, or give that"
        raise UsageError("start", now and now["from"], fix)


def grown(manifest: dict[str, Any], stored: Mapping[str, Any] | None) -> dict[str, Any]:
    """The manifest with the starts, steps, kept data and devices of both."""
    if stored is None:
        return manifest
    before, now = stored["config"], manifest["config"]
    union = {name: list(dict.fromkeys([*before[name], *now[name]])) for name in SETS}
    kept = stored.get("kept_sha256", {}) | manifest["kept_sha256"]
    devices = list(dict.fromkeys([*stored.get("devices", []), *manifest["devices"]]))
    return manifest | {
        "devices": devices,
        "kept_sha256": kept,
        "config": now | union | {"steps": max(before["steps"], now["steps"])},
    }
