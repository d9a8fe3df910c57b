"""A run as one HTML page that needs no network: template, style, script, plotly.js and all numbers and images in one file."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from rayfe.config import configure, flat
from rayfe.data.local_files import licence_of
from rayfe.data.paths import PathData
from rayfe.exceptions import visible
from rayfe.report.at_hand import AtHand
from rayfe.report.charts import baseline_charts, walk_charts
from rayfe.report.charts_transfer import transfer_charts
from rayfe.report.failures import failures, reasons
from rayfe.report.images import Album, Gallery
from rayfe.report.keys import dark_colors, keys_of
from rayfe.report.lead import gives, stands, take_of, title_of
from rayfe.report.plots import Chart, Series, series_of, star
from rayfe.report.predicted import Predictor, prediction_map
from rayfe.report.table import columns_of, lines_of
from rayfe.report.verdict import WORDS
from rayfe.report.verdicts import verdicts
from rayfe.report.view import RunView
from rayfe.results.frames import bits_line
from rayfe.results.predictions import Predictions
from rayfe.results.printed import place_of
from rayfe.results.recommended import CAVEAT, RULE, none_because

if TYPE_CHECKING:
    from torch import nn

ICONS = {"holds": "✓", "look": "!", "fails": "✗", "not measured": "–"}
CHARTS = {"walk": walk_charts, "transfer": transfer_charts, "baseline": baseline_charts}


REPORT = "report.html"
"""Its name in the run directory."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """What the page shows: `main` is HTML, `content` what its script draws."""

    title: str
    main: str
    content: Mapping[str, Any]


def report_of(
    view: RunView, data: PathData | None = None, *, root: str | None = None, model: type[nn.Module] | None = None
) -> str:
    """The page of a run; `data` are the run's, looked for on this machine (in `root`) if they are not at hand.

    `model` is the class of its models, where the one that run.json names is not loaded.
    """
    here = AtHand(data, root=root, model=model)
    return html_of(page_of(view, Album(here).gallery(view), Predictor(here).predictions(view)))


def page_of(view: RunView, gallery: Gallery, predictions: Predictions | None = None) -> Page:
    """The page of a run with the images of its models, and the map of what they predict."""
    series = series_of(view.rows)
    charts = CHARTS[view.kind](view, series) if len(view.rows) else []
    if charts:
        charts[0] = _keyed(charts[0], view, series)
        charts += [] if predictions is None else [prediction_map(predictions)]
    frames = {name: [{"caption": frame.caption, "src": frame.src} for frame in found] for name, found in gallery.frames.items()}
    return Page(
        title=f"rayfe: {title_of(view)}",
        main=_main(view, gallery, series, charts),
        content=content_of(charts) | {"frames": frames, "image_rows": ", ".join(gallery.rows)},
    )


def content_of(charts: Sequence[Chart]) -> dict[str, Any]:
    """What the script needs to draw charts."""
    shown = [{"name": one.name, "is_3d": one.is_3d, "data": one.data, "layout": one.layout} for one in charts]
    return {"charts": shown, "dark": dark_colors(embedded(shown)), "frames": {}, "image_rows": ""}


def _keyed(chart: Chart, view: RunView, series: Sequence[Series]) -> Chart:
    """The curve with its keys, and a star at the recommended model."""
    row = view.recommended
    stars = [] if row is None else [star(row, one) for one in series if one.trajectory == row["trajectory"]]
    return replace(chart, data=[*chart.data, *stars], keys=keys_of(series, starred=bool(stars)))


def html_of(page: Page, *, live: str | None = None) -> str:
    """The whole file. `live`: the version of the run that it shows, for a page that asks its server for newer ones."""
    from plotly.offline import get_plotlyjs

    return template("page.html").render(
        title=page.title,
        css=Markup(_text("page.css")),
        plotly=Markup(get_plotlyjs()),
        main=Markup(page.main),
        content=Markup(embedded(page.content)),
        script=Markup(_text("page.js")),
        live=live is not None,
        version=live,
    )


def embedded(value: object) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _main(view: RunView, gallery: Gallery, series: list[Series], charts: list[Chart]) -> str:
    every = {name: _shown(value) for name, value in flat(view.config).items() if name not in ("out", "data.root")}
    usual = {name: _shown(value) for name, value in flat(configure(process="iso-classification")).items()}
    return template("main.html").render(
        view=view,
        title=title_of(view),
        gives=gives(view),
        bits=bits_line(view.rows, view.manifest),
        stands=stands(view),
        take=take_of(view, view.name),
        rule=RULE,
        caveat=CAVEAT,
        none_because=none_because(view.rows) if len(view.rows) else "",
        verdicts=verdicts(view),
        icons=ICONS,
        words=WORDS,
        columns=columns_of(view),
        lines=lines_of(view, series),
        place=place_of(view.summary),
        charts=charts,
        gallery=gallery,
        image_rows=", ".join(gallery.rows),
        reasons=reasons(view.rows),
        failures=failures(view.rows),
        versions=view.manifest.get("versions", {}),
        data=_data(view),
        changed={name: value for name, value in every.items() if value != usual.get(name)},
        every=every,
    )


def _data(view: RunView) -> str:
    names = [view.config.data.name, *([view.config.path.target] if view.config.path.target else [])]
    licences = "; ".join(dict.fromkeys(licence_of(name) for name in names))
    shape = " x ".join(map(str, view.manifest.get("input_shape", ())))
    checksum = str(view.manifest.get("data_sha256", ""))[:16]
    size = f"examples of shape {shape}, {view.manifest.get('classes')} classes, SHA-256 {checksum}..."
    return f"{' to '.join(names)}: {size}. Licence: {licences}."


def _shown(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def template(name: str) -> jinja2.Template:
    """One of the page's templates, with the macros of parts.html."""
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader("rayfe.report", ""),
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    found = environment.get_template(name)
    found.globals.update(vars(environment.get_template("parts.html").module))
    return found


def _text(name: str) -> str:
    return importlib.resources.files("rayfe.report").joinpath(name).read_text(encoding="utf-8")
