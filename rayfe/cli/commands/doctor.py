"""python -m rayfe doctor: what this machine offers, and for each thing that is missing how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

from rayfe.cli.commands.parser import Parser
from rayfe.config import DataConfig
from rayfe.exceptions import StorageFull, UsageError, in_shell_words
from rayfe.storage.errors import as_bad_input
from rayfe.storage.files import Files
from rayfe.training.compiler import compiler

LEAST_SHM = 1 << 30
"""Bytes of /dev/shm below which Ray's object store falls back to disk."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing looked at. `missing` things make the command fail, `without` them rayfe works."""

    what: str
    state: Literal["ok", "without", "missing"]
    found: str
    fix: str = ""


def main(arguments: list[str]) -> int:
    """0 if everything that rayfe needs is there, else 1."""
    parser = Parser("python -m rayfe doctor", "What this machine offers, and for each thing that is missing how to get it.")
    parser.add_argument("--out", default="runs", metavar="DIR", help="folder or URI where runs shall be written (runs)")
    parser.add_argument("--data.root", dest="root", metavar="FOLDER", help="folder of fashion-mnist or cifar10")
    chosen = parser.parse_args(arguments)
    checks: list[Callable[[], Iterator[Check]]] = [
        packages,
        devices,
        cpp_compiler,
        ray,
        lambda: data_sets(chosen.root),
        lambda: out(chosen.out),
        browser,
    ]
    missing = 0
    for check in checks:
        for finding in check():
            missing += finding.state == "missing"
            print(f"{finding.state:8} {finding.what}: {finding.found}", flush=True)
            if finding.fix:
                print(f"{'':8} fix: {finding.fix}")
    print(f"{missing} missing" if missing else "everything that rayfe needs is here")
    return 1 if missing else 0


def packages() -> Iterator[Check]:
    """Python and every required package, against what the package asks for and what it was tested with."""
    yield Check(what="Python", state="ok", found=platform.python_version())
    tested = _tested()
    differ = []
    for text in importlib.metadata.requires("rayfe") or []:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        pip = f"{sys.executable} -m pip install '{requirement}'"
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(what=requirement.name, state="missing", found="not installed", fix=pip)
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            found = f"{version}, needed {requirement.specifier}"
            yield Check(what=requirement.name, state="missing", found=found, fix=pip)
        elif (known := tested.get(requirement.name.lower())) not in (None, version):
            differ.append(f"{requirement.name} {version} (tested with {known})")
    if differ:
        fix = "only if something breaks: pip install -c constraints.txt -e ."
        yield Check(what="packages", state="without", found=f"other versions than tested: {', '.join(differ)}", fix=fix)
    else:
        against = "as tested (constraints.txt)" if tested else "within what rayfe asks for"
        yield Check(what="packages", state="ok", found=against)


def _tested() -> dict[str, str]:
    """Versions of constraints.txt by lower-case name; none outside a checkout."""
    path = Path(__file__).resolve().parents[2] / "constraints.txt"
    if not path.is_file():
        return {}
    pinned = (line.split("==") for line in path.read_text().splitlines() if "==" in line)
    return {name.strip().lower(): version.strip() for name, version in pinned}


def devices() -> Iterator[Check]:
    """Cores, memory and GPUs."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Check(what="processor", state="ok", found=f"{cores} cores, {memory:.1f} GiB of memory")
    try:
        import torch
    except ImportError as error:  # packages() has named it, if it is not installed at all
        yield Check(what="torch", state="missing", found=f"cannot be imported ({error})", fix="install torch again")
        return
    count = torch.cuda.device_count()
    for i in range(count):
        device = torch.cuda.get_device_properties(i)
        yield Check(what=f"GPU {i}", state="ok", found=f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
    if not count:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        fix = "none needed for the quick presets; for fig2 ... fig6 a GPU with its driver, and a torch built for it"
        yield Check(what="GPU", state="without", found=f"none seen by torch {torch.__version__} ({built})", fix=fix)


def cpp_compiler() -> Iterator[Check]:
    """What compiled training needs on a CPU."""
    found = compiler()
    fix = "" if found else "only for faster training on a CPU: apt install g++"
    yield Check(what="C++ compiler", state="ok" if found else "without", found=found or "none found", fix=fix)


def ray() -> Iterator[Check]:
    """Whether Ray can be imported, where it would run, and its shared memory. Nothing is started."""
    try:
        version = importlib.metadata.version("ray")
        importlib.import_module("ray")
    except ImportError as error:
        fix = f"{sys.executable} -m pip install 'ray[default,train,tune]>=2.60,<2.61', or use --backend inline"
        yield Check(what="Ray", state="missing", found=f"cannot be imported ({error})", fix=fix)
        return
    from rayfe.on_ray.address import check_address, cluster_address

    address = cluster_address()
    try:
        place = f"jobs join the cluster at RAY_ADDRESS {address}" if address else "jobs start a local one each"
        if address:
            check_address(address)
        yield Check(what="Ray", state="ok", found=f"{version}, {place}")
    except UsageError as error:
        yield Check(what="Ray", state="missing", found=f"{version}, {in_shell_words(error)}", fix=f"unset {error.name}")
    if os.path.isdir("/dev/shm"):
        free = shutil.disk_usage("/dev/shm").free
        small = free < LEAST_SHM
        fix = "docker run --shm-size=2g, or a larger /dev/shm: Ray works without, slower" if small else ""
        yield Check(
            what="shared memory", state="without" if small else "ok", found=f"{free / 2**30:.1f} GiB free in /dev/shm", fix=fix
        )


def data_sets(root: str | None) -> Iterator[Check]:
    """Data sets that can be loaded without a download."""
    from rayfe.data.datasets import load
    from rayfe.data.local_files import known_folders

    for name in ("mnist", "digits"):
        try:
            found = load(DataConfig(name=name))
            yield Check(what=name, state="ok", found=_sizes(found))
        except UsageError as error:
            yield Check(what=name, state="missing", found=str(error), fix="install rayfe again")
    for name, package in (("fashion-mnist", ", or the Debian package dataset-fashion-mnist"), ("cifar10", "")):
        folders = [root] if root is not None else known_folders(name)
        fix = f"--data.root FOLDER with its files{package}; without it the first job that needs it downloads it"
        finding = Check(what=name, state="without", found="not here", fix=fix)
        for folder in folders:
            try:
                finding = Check(what=name, state="ok", found=f"{_sizes(load(DataConfig(name=name, root=folder)))} in {folder}")
                break
            except UsageError:
                continue  # its finding is that it is not here
        yield finding


def _sizes(dataset: object) -> str:
    train, validation = (len(getattr(dataset, split).y) for split in ("train", "validation"))
    return f"{train:,} training and {validation:,} validation examples"


def out(location: str) -> Iterator[Check]:
    """Whether runs can be written where they shall be."""
    try:
        with as_bad_input("out", location):
            files = Files(location)
            files.check_writable()
    except (UsageError, StorageFull) as error:
        found = in_shell_words(error) if isinstance(error, UsageError) else str(error)
        yield Check(what="--out", state="missing", found=found, fix="give --out DIR that can be written")
        return
    if not files.local:
        yield Check(what="--out", state="ok", found=f"{files.url()} can be written")
        return
    there = next(path for path in (Path(files.url()), *Path(files.url()).parents) if path.exists())
    free = shutil.disk_usage(there).free / 2**30
    yield Check(what="--out", state="ok", found=f"{files.url()} can be written, {free:.0f} GiB free")


def browser() -> Iterator[Check]:
    """A browser for the test of the report; the report itself opens in any."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    fix = "only for the report's own test: apt-get install chromium"
    yield Check(what="chromium", state="ok" if found else "without", found=found or "not here", fix="" if found else fix)
