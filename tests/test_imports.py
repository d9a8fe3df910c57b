"""The house's rules: few rooms, imports that point downwards, heavy libraries where they belong."""

import ast
import sys
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "rayfe"
FILES = sorted(PACKAGE.rglob("*.py"))
WITHOUT_TORCH = {"exceptions", "signals", "records", "config", "surface", "storage", "trajectory"}
"""Rooms that a trial of Ray or a command's help imports: torch takes seconds."""


def room(path: Path) -> str:
    """The room that a file belongs to: its folder below the package, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, at_start: bool = False) -> set[str]:
    """Names of modules that a file imports, those inside functions and under TYPE_CHECKING too, unless only `at_start`."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in tree.body if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def libraries(path: Path, *, at_start: bool = False) -> set[str]:
    return {name.partition(".")[0] for name in imports(path, at_start=at_start)}


def arrows() -> dict[str, set[str]]:
    """The rooms that each room imports; `rayfe/__init__.py` and `rayfe/__main__.py` are the doors, no rooms."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in FILES:
        if room(path) not in ("__init__", "__main__"):
            used = {name.split(".")[1] for name in imports(path) if name.startswith("rayfe.")}
            found[room(path)] |= used - {room(path)}
    return found


def floors(rooms: dict[str, set[str]]) -> dict[str, int]:
    """One above the highest room imported; a circle ends in an AssertionError that names it."""
    found: dict[str, int] = {}

    def climb(name: str, below: tuple[str, ...]) -> int:
        assert name not in below, f"a circle: {' -> '.join([*below, name])}"
        if name not in found:
            found[name] = 1 + max((climb(used, (*below, name)) for used in sorted(rooms[name])), default=0)
        return found[name]

    for name in sorted(rooms):
        climb(name, ())
    return found


def test_the_house_has_at_most_20_rooms_on_10_floors_and_no_circle() -> None:
    rooms = arrows()
    assert set().union(*rooms.values()) <= set(rooms), "something imports rayfe itself, or a room that is not there"
    assert len(rooms) <= 20
    assert max(floors(rooms).values()) <= 10


def test_mathematics_is_numbers_in_numbers_out() -> None:
    heavy = {"torch", "ray", "pyarrow", "pandas", "fsspec"}
    for path in FILES:
        if room(path) in {"exceptions", "records", "config", "surface"}:
            assert not libraries(path) & heavy, path


def test_ray_is_in_one_room() -> None:
    for path in FILES:
        assert room(path) == "on_ray" or "ray" not in libraries(path), path


def test_a_trial_starts_without_torch() -> None:
    for path in FILES:
        if room(path) in WITHOUT_TORCH or path.name in {"sweep.py", "trial.py"}:
            assert "torch" not in libraries(path, at_start=True), path


def test_a_command_handles_signals_before_what_takes_time_to_import() -> None:
    """Before that Ctrl-C is a traceback, and SIGTERM is ignored by process 1 of a container."""
    doors = [PACKAGE / "__init__.py", PACKAGE / "__main__.py", PACKAGE / "signals.py", *PACKAGE.parent.glob("jobs/*.py")]
    assert len(doors) == 9
    for path in doors:
        found = imports(path, at_start=True) - {"rayfe.signals.ended", "rayfe.signals.handle_signals"}
        assert {name.partition(".")[0] for name in found} <= sys.stdlib_module_names, path


def test_files_can_be_read_in_one_go() -> None:
    """No file over 300 lines, no function over 50."""
    for path in FILES:
        text = path.read_text()
        assert len(text.splitlines()) <= 300, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert (node.end_lineno or 0) - node.lineno < 50, f"{path}: {node.name}"


def test_tests_mirror_the_house() -> None:
    """Each test of a room lies in a folder of its name."""
    tests = Path(__file__).parent
    folders = {path.name for path in tests.iterdir() if path.is_dir() and any(path.rglob("test_*.py"))}
    assert folders <= set(arrows()) | {"analysis", "chaos", "cluster"}
