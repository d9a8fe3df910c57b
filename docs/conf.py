"""The documentation as a site: make docs. Its pages are the Markdown files of the repository, so links work in both."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

project = "rayfe"
copyright = "Apache-2.0"
extensions = ["myst_parser"]
myst_heading_anchors = 3
root_doc = "README"
include_patterns = ["README.md", "CONTRIBUTING.md", "cluster/README.md", "docs/*.md"]
exclude_patterns = [".*", "*/.*", "analysis", "build", "findings", "jobs", "rayfe", "runs", "tests"]
highlight_language = "bash"
smartquotes = False
html_theme = "furo"
html_title = "rayfe"
html_copy_source = False
html_show_sourcelink = False

CONTENTS = {
    "Use": [
        "docs/guide",
        "docs/parts",
        "docs/data",
        "docs/choose",
        "docs/which",
        "docs/page",
        "docs/transfers",
        "docs/commands",
        "cluster/README",
    ],
    "Know": ["docs/step", "docs/numbers", "docs/trust", "docs/api"],
    "Measured": ["docs/results", "docs/exact", "docs/benchmark", "docs/performance", "docs/notebook"],
    "Change": ["CONTRIBUTING"],
}
"""The pages by chapter, in the order in which they are read."""


def written(app: Sphinx, docname: str, source: list[str]) -> None:
    """Adds to the first page the contents, and to docs/api what the docstrings say."""
    if docname == root_doc:
        chapters = (f"```{{toctree}}\n:hidden:\n:caption: {name}\n\n" + "\n".join(pages) for name, pages in CONTENTS.items())
        source[0] += "".join(f"\n{chapter}\n```\n" for chapter in chapters)
    if docname == "docs/api":
        from docs.make_api import page

        source[0] = page()


def opened_first(app: Sphinx, error: Exception | None) -> None:
    """The first page also by the name that a browser looks for in a folder."""
    if error is None:
        shutil.copyfile(Path(app.outdir) / "README.html", Path(app.outdir) / "index.html")


def setup(app: Sphinx) -> None:
    app.connect("source-read", written)
    app.connect("build-finished", opened_first)
