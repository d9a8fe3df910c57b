"""Imports point downwards, and heavy libraries stay where they belong."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rayfe"
LAYERS = [
    ["frames", "tables", "records", "config"],
    ["dimensions", "errors", "files", "learnt", "memory", "own", "pipes", "rows", "signals", "surface", "weights"],
    ["certified", "lease", "summary"],
    ["layout", "figures", "summary_transfer"],
    ["certificates", "recovery"],
    ["store"],
    ["model", "data"],
    ["equilibrate"],
    ["trajectory"],
    ["backend", "known"],
    ["driver"],
    ["presets", "progress", "logs"],
    ["options"],
    ["manifest", "pooling"],
    ["trial"],
    ["sweep"],
    ["atlas", "export", "plan", "redraw", "runner", "stored_model"],
    ["benchmark", "report"],
    ["job", "stored_run"],
    ["api", "cli"],
    ["commands"],
    ["__main__"],
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    """The layer a file belongs to: its folder below the package, or its own name."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    own = part(path)
    if own == "__init__":
        return
    used = {name.split(".")[1] for name in imports(path) if name.startswith("rayfe.")} - {"__version__"}
    assert own in RANK, f"{own} has no place in the layers"
    upwards = {name for name in used if RANK[name] > RANK[own]}
    assert not upwards


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in FILES
        if part(path)
        in {
            "surface",
            "trajectory",
            "rows",
            "records",
            "config",
        }
    ],
)
def test_mathematics_knows_neither_torch_nor_ray(path):
    assert not {name.split(".")[0] for name in imports(path)} & {"torch", "ray", "pyarrow", "pandas", "fsspec"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_ray_is_used_by_the_service_only(path):
    allowed = path.name.startswith("ray_") or path.name in {"sweep.py", "trial.py"}
    assert allowed or not any(name.split(".")[0] == "ray" for name in imports(path))


@pytest.mark.parametrize("path", [path for path in FILES if part(path) in {"driver", "store", "sweep", "trajectory", "trial"}])
def test_trials_start_without_torch(path):
    assert not any(name.split(".")[0] == "torch" for name in imports(path, top_level_only=True))
