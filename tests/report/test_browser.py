"""The page in a real browser: no errors, no request, charts drawn, slider and buttons by keyboard, phone, dark mode, live."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from rayfe.config import DataConfig, configure
from rayfe.data.datasets import load as load_data
from rayfe.records import Commit, StepRecord
from rayfe.report.images import MOST_FRAMES, MOST_PER_TRAJECTORY, Frame, Gallery, data_uri, grid
from rayfe.report.live_server import Server
from rayfe.report.page import html_of, page_of, report_of
from rayfe.report.view import RunView, view_of
from rayfe.report.watched import Watched, answer
from rayfe.storage.store import Store
from rayfe.trajectory.standing import Standing, State

LIMIT_MB = 15
LIMIT_CPU_SECONDS = 5.0


@contextlib.contextmanager
def served(store: Store) -> Iterator[Server]:
    """A server of the run's page, which looks at the run as `watch` does."""
    ended = threading.Event()

    def look(run: Watched) -> None:
        while not ended.is_set():
            answer(run, server, pause=0.1)

    with Server("127.0.0.1", 0) as server:
        looking = threading.Thread(target=look, args=(Watched([store.url()]),))
        looking.start()
        try:
            yield server
        finally:
            ended.set()
            looking.join()


@pytest.fixture
def page(stored_run: Callable[..., Store], tmp_path: Path) -> str:
    path = tmp_path / "report.html"
    path.write_text(report_of(view_of(stored_run(gammas=(4.0, 8.0, 16.0)))), encoding="utf-8")
    return path.as_uri()


def test_page_draws_every_chart_without_errors_or_requests(browser: Any, page: str) -> None:
    browser.size(1200, 900)
    browser.open(page)
    names = browser.draw_all()
    assert {"chart-surface", "chart-rate-distortion", "chart-multipliers", "chart-constraint", "chart-accuracy"} <= set(names)
    for name in names:
        assert browser.run(f"document.getElementById('{name}').querySelectorAll('.main-svg, canvas').length") > 0, name
        drawn = browser.run(f"document.getElementById('{name}')._fullData.length")
        assert drawn >= 2, name
    assert browser.run("document.querySelectorAll('#chart-rate-distortion .scatterlayer .trace').length") == 3 + 1  # and a star
    assert browser.run("document.querySelectorAll('#chart-surface canvas').length") >= 1
    assert "webgl is not supported" not in browser.run("document.body.innerText.toLowerCase()")
    assert browser.errors == []
    assert [url for url in browser.requests if not url.startswith(("file:", "data:", "blob:"))] == []


def test_slider_moves_with_keys_and_changes_the_images(browser: Any, page: str) -> None:
    browser.open(page)
    see = "[document.getElementById('gallery-caption').textContent, document.getElementById('gallery-image').src]"
    caption, image = browser.run(see)
    assert caption.startswith("step 0") and image.startswith("data:image/png;base64,")
    assert browser.run("document.getElementById('gallery-image').naturalWidth") > 80
    browser.run("document.getElementById('gallery-step').focus()")
    browser.key("ArrowRight", 39)
    after, moved = browser.run(see)
    assert after.startswith("step 1") and moved != image
    browser.run("document.getElementById('gallery-back').focus()")
    browser.key(" ", 32, " ")
    assert browser.run(see) == [caption, image]
    assert browser.errors == []


def test_a_trajectory_is_hidden_by_its_button_in_all_charts(browser: Any, page: str) -> None:
    browser.open(page)
    browser.draw_all()
    browser.run("document.querySelector('.toggle').focus()")
    browser.key(" ", 32, " ")
    assert browser.run("document.querySelector('.toggle').getAttribute('aria-pressed')") == "false"
    name = browser.run("document.querySelector('.toggle').dataset.trajectory")
    visible = "[...document.querySelectorAll('.plot')].flatMap((one) => one._fullData).filter((one) => one.visible === true)"
    browser.wait(f"!{visible}.some((one) => one.meta === '{name}')")
    assert browser.run(f"{visible}.length") > 0


def test_solid_chart_turns_by_its_buttons(browser: Any, page: str) -> None:
    browser.open(page)
    browser.draw_all()
    eye = "JSON.stringify(document.getElementById('chart-surface')._fullLayout.scene.camera.eye)"
    before = browser.run(eye)
    browser.run("document.querySelector('[data-turn=\"1 0\"]').click()")
    browser.wait(f"{eye} !== {before!r}")
    browser.run("document.querySelector('[data-turn=\"0 0\"]').click()")
    browser.wait(f"{eye} === {before!r}")


def test_page_fits_a_phone_and_follows_the_dark_scheme(browser: Any, page: str) -> None:
    browser.size(390, 844)
    browser.scheme("light")
    browser.open(page)
    browser.draw_all()
    assert browser.run("document.documentElement.scrollWidth") <= 390
    clipped = "[...document.querySelectorAll('.wide')].filter((one) => one.scrollWidth > one.clientWidth + 1).length"
    assert browser.run(clipped) == 0
    browser.size(1400, 900)
    browser.wait(f"{clipped} === 0")
    browser.size(390, 844)
    color = "getComputedStyle(document.body).backgroundColor"
    ink = "document.getElementById('chart-rate-distortion')._fullLayout.font.color"
    light = browser.run(color), browser.run(ink)
    browser.scheme("dark")
    browser.wait(f"{ink} !== {light[1]!r}")
    assert browser.run(color) != light[0]
    assert browser.errors == []


def test_served_page_shows_rows_as_they_arrive(
    browser: Any, stored_run: Callable[..., Store], exact: Callable[..., StepRecord]
) -> None:
    store = stored_run(gammas=(4.0,))
    with served(store) as server:
        browser.open(server.url)
        browser.wait("document.getElementById('live').textContent.startsWith('Live')")
        browser.draw_all()
        browser.run("document.getElementById('gallery-step').value = 2")
        points = "document.getElementById('chart-rate-distortion')._fullData?.[0].x.length"
        before = browser.run(points)
        row = exact(5, 0.25 * 1.2**5)
        store.commit(
            row.trajectory, Commit(record=row, readings=(), state=store.state(store.rows(row.trajectory)[0]), carry=None)
        )
        browser.run("document.getElementById('chart-rate-distortion').scrollIntoView({behavior: 'instant'})")
        browser.wait(f"document.querySelector('tbody td').textContent.startsWith('5') && {points} === {before + 1}")
        assert browser.run("document.getElementById('gallery-step').value") == "2"
        assert browser.errors == []
        assert all(url.startswith((server.url, "data:", "blob:")) for url in browser.requests)


def test_served_page_stays_where_its_run_is_removed_and_says_so(
    browser: Any, stored_run: Callable[..., Store], tmp_path: Path
) -> None:
    with served(stored_run(gammas=(4.0,))) as server:
        browser.open(server.url)
        browser.wait("document.getElementById('live').textContent.startsWith('Live')")
        (tmp_path / "run").rename(tmp_path / "away")
        browser.wait("document.getElementById('live').textContent.includes('no run at')")
        assert browser.run("document.querySelectorAll('tbody tr').length") > 0
        (tmp_path / "away").rename(tmp_path / "run")
        browser.wait("document.getElementById('live').textContent.startsWith('Live')")


def test_page_of_50_trajectories_of_60_steps_is_small_and_opens_fast(
    browser: Any, exact: Callable[..., StepRecord], tmp_path: Path
) -> None:
    path = tmp_path / "large.html"
    path.write_text(large_page(exact, tmp_path), encoding="utf-8")
    assert path.stat().st_size < LIMIT_MB * 1e6
    browser.size(1200, 900)
    loaded = load(browser, path)
    print(f"{path.stat().st_size / 1e6:.1f} MB, load event after {loaded:.2f} CPU s")
    assert loaded < LIMIT_CPU_SECONDS
    browser.draw_all()
    assert browser.errors == []


def load(browser: Any, path: Path) -> float:
    """CPU seconds of the browser from navigation to the load event, when the page can be read and used."""
    before = browser.cpu_seconds()
    browser.open(path.as_uri())
    browser.wait("performance.getEntriesByType('navigation')[0].loadEventEnd")
    return browser.cpu_seconds() - before


def large_page(exact: Callable[..., StepRecord], tmp_path: Path) -> str:
    """50 trajectories x 60 steps, with as many images as a page may have."""
    gammas = tuple(4.0 + 0.25 * i for i in range(50))
    rows = [exact(step, 0.25 * 1.045**step, gamma0=gamma) for gamma in gammas for step in range(61)]
    digits = load_data(DataConfig(name="mnist")).validation.x[: 30 * 256].reshape(-1, 3, 10, 1, 28, 28) / 255.0
    names = list(dict.fromkeys(row.trajectory for row in rows))
    per = min(MOST_PER_TRAJECTORY, MOST_FRAMES // len(names))
    pictures = iter([data_uri(grid(list(images))) for images in digits])
    frames = {name: tuple(Frame(step=i, caption=f"step {i}", src=next(pictures)) for i in range(per)) for name in names}
    view = RunView(
        store=Store(tmp_path / "none"),
        manifest={"rayfe": "0", "command": "python jobs/isoc.py", "job": "isoc", "preset": "large"},
        config=configure(gamma=gammas),
        rows=pd.DataFrame([dataclasses.asdict(row) for row in rows]),
        readings=pd.DataFrame(),
        standing=dict.fromkeys(names, Standing(state=State.FINISHED, where="60 steps", end="steps")),
    )
    return html_of(page_of(view, Gallery(rows=("sample",), frames=frames)))
