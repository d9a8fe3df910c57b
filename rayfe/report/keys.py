"""The keys of a chart: which line is which, with buttons that show and hide a trajectory; colours for light and dark pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from markupsafe import Markup

from rayfe.figures.legs import leg_style
from rayfe.records import Leg
from rayfe.report.plots import LEAP, Series
from rayfe.results.frames import level_of

SHAPES: Mapping[str, str] = MappingProxyType(
    {
        "": "",
        "circle": '<circle cx="17" cy="7" r="4.5"/>',
        "square": '<rect x="13" y="3" width="8" height="8"/>',
        "triangle-up": '<path d="M17 2 22 11 12 11Z"/>',
        "diamond": '<path d="M17 1.5 22 7 17 12.5 12 7Z"/>',
        "triangle-down": '<path d="M17 12 22 3 12 3Z"/>',
        "cross": '<path d="M15 2h4v3h3v4h-3v3h-4v-3h-3v-4h3Z"/>',
        "x": '<path d="M13 1 17 5 21 1 23 3 19 7 23 11 21 13 17 9 13 13 11 11 15 7 11 3Z"/>',
        "star": '<path d="M17 0 18.7 5 24 5 19.7 8.2 21.3 13.4 17 10.2 12.7 13.4 14.3 8.2 10 5 15.3 5Z"/>',
    }
)
STROKES: Mapping[str, str] = MappingProxyType({"dashdot": "5 2 1 2", "dot": "2 2", "dash": "6 3"})
INK, INK_ON_DARK = "#000000", "#e8eaed"
DARK = (0x1E, 0x22, 0x27)
"""A card of the page in the dark."""
CONTRAST = 4.5
"""Of a line with a dark card, at least (WCAG's ratio for text)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Key:
    """One key: how a line looks, and what it is."""

    swatch: Markup
    text: str
    toggles: str | None = None
    """The trajectory (or run) that its button shows and hides."""


def keys_of(series: Sequence[Series], *, starred: bool) -> tuple[Key, ...]:
    """Keys of trajectories with their level of C, and of what else is drawn of walks; `starred`: a star marks the recommended model."""
    found = [Key(swatch=swatch_of(one), text=_named(one), toggles=one.trajectory) for one in series]
    legs = {leg for one in series for leg in one.steps["leg"]}
    for leg in (Leg.BACK, Leg.THERE_AGAIN) if series else ():
        if leg in legs:
            style = leg_style(series[0].style, leg)
            symbol = "triangle-down" if leg == Leg.BACK else "triangle-up"
            found.append(Key(swatch=swatch(style["color"], symbol), text=leg.replace("_", " ")))
    if any((one.steps["kind"] == "leap").any() for one in series):
        found.append(Key(swatch=swatch(LEAP["color"], "", "dot"), text="leap"))
    if len(legs) > 1:
        found.append(Key(swatch=swatch(INK, ""), text="lowest F at each lam"))
    if starred:
        found.append(Key(swatch=swatch(INK, "star", "none"), text="recommended"))
    return tuple(found)


def swatch_of(one: Series) -> Markup:
    """The line of a trajectory."""
    return swatch(one.color, one.symbol, one.dash)


def swatch(color: str, symbol: str, dash: str = "solid") -> Markup:
    """A line as in the charts, as a small SVG; `dash` none: its symbol alone."""
    stroke = f' stroke-dasharray="{STROKES[dash]}"' if dash in STROKES else ""
    line = "" if dash == "none" else f'<path d="M0 7H34" stroke="currentColor" stroke-width="2"{stroke}/>'
    return Markup(
        f'<svg width="34" height="14" aria-hidden="true" fill="currentColor" stroke="none" '
        f'style="color: light-dark({color}, {on_dark(color)})">{line}{SHAPES[symbol]}</svg>'
    )


def dark_colors(charts: str) -> dict[str, str]:
    """What is drawn on a dark page instead of the colours that stand in `charts` (JSON)."""
    found = {color: on_dark(color) for color in sorted(set(re.findall(r"#[0-9A-Fa-f]{6}", charts)))}
    for rgb in sorted(set(re.findall(r"rgba\((\d+,\d+,\d+),", charts))):
        bright = on_dark("#" + "".join(f"{int(part):02x}" for part in rgb.split(",")))
        found[f"rgba({rgb},"] = f"rgba({','.join(str(int(bright[i : i + 2], 16)) for i in (1, 3, 5))},"
    return {light: dark for light, dark in found.items() if light.lower() != dark.lower()}


def on_dark(color: str) -> str:
    """The colour `#rrggbb`, as bright as it must be to be seen on a dark page; black becomes the page's ink."""
    if color == INK:
        return INK_ON_DARK
    parts = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)], float)
    for share in np.linspace(0.0, 1.0, 21):
        mixed = (1.0 - share) * parts + share * 255.0
        if (_luminance(mixed) + 0.05) / (_luminance(np.array(DARK, float)) + 0.05) >= CONTRAST:
            break
    return "#" + "".join(f"{round(part):02x}" for part in mixed)


def _luminance(rgb: np.ndarray) -> float:
    """WCAG's relative luminance of 8-bit sRGB (3,)."""
    part = rgb / 255.0
    linear = np.where(part <= 0.03928, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def _named(one: Series) -> str:
    return ", ".join(filter(None, (one.label, level_of(one.steps))))
