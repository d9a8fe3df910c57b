"""Several runs on one page: what compares stands on one axis, and each run has a line to choose from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rayfe.cli.command import main
from rayfe.figures.frames import labels_of
from rayfe.records import Commit, StepRecord
from rayfe.report.page import html_of
from rayfe.report.several import page_of_several
from rayfe.report.view import views_of
from rayfe.report.watched import Watched
from rayfe.storage.store import Store

Make = Callable[..., Store]


def urls(*stores: Store) -> list[str]:
    return [store.url() for store in stores]


def test_runs_of_the_same_images_share_an_axis_and_others_do_not(stored_run: Make) -> None:
    stores = stored_run("first"), stored_run("moved", transfer=True), stored_run("second", gammas=(2.0,))
    page = page_of_several(views_of(urls(*stores)))
    curves = [chart for chart in page.content["charts"] if chart["name"].startswith("rate-distortion")]
    assert [{trace["meta"] for trace in chart["data"]} for chart in curves] == [{"first", "second"}, {"moved"}]
    assert "2 different sets of images" in page.main
    assert "digits:0-4 to digits:5-9, mlp with 4 dimensions of z" in page.main


def test_readings_of_an_earlier_version_have_an_axis_of_their_own_and_it_is_said(stored_run: Make) -> None:
    old, new = stored_run("old"), stored_run("new")
    old.create(old.read_config() | {"readings": 1})
    page = page_of_several(views_of(urls(old, new)))
    assert len([chart for chart in page.content["charts"] if chart["name"].startswith("rate-distortion")]) == 2
    assert page.main.count("digits (read by an earlier version), mlp") == 1


def test_models_that_differ_are_said_and_named_by_line(stored_run: Make) -> None:
    one, other = stored_run("one"), stored_run("other")
    run = other.read_config()
    other.create(run | {"config": run["config"] | {"model.latent": 5}})
    page = page_of_several(views_of(urls(one, other)))
    assert "also between the 2 models" in page.main
    assert 'data-label="model" class="text">mlp with 5 dimensions of z' in page.main


def test_each_run_has_a_line_with_its_recommended_model_and_how_to_get_it(stored_run: Make) -> None:
    stores = stored_run("first"), stored_run("second", gammas=(2.0,))
    views = views_of(urls(*stores))
    page = page_of_several(views)
    for label, view in views.items():
        row = view.recommended
        assert row is not None
        line = page.main.split(f"> {label}</th>")[1].split("</tbody>")[0]
        assert f'data-label="R">{row["R"]:.2f}<' in line
        assert f"python -m rayfe export {label} " in line and f"--step {row['step']} " in line


def test_a_run_without_rows_has_a_line_too(stored_run: Make, tmp_path: Path) -> None:
    made, empty = stored_run("made"), Store(tmp_path / "empty")
    empty.create(made.read_config())
    main_part = page_of_several(views_of(urls(made, empty))).main
    assert "> empty</th>" in main_part and "How to get it" in main_part
    assert "rayfe: 2 runs" in html_of(page_of_several(views_of(urls(empty, made))))


def test_labels_are_as_short_as_they_can_be() -> None:
    assert labels_of(["runs/a", "s3://x/b/"]) == ["a", "b"]
    assert labels_of(["x/1/run", "x/2/run"]) == ["1/run", "2/run"]
    with pytest.raises(ValueError, match="named twice"):
        labels_of(["a", "a/"])


@pytest.mark.parametrize(
    ("more", "word"), [([], "--to: "), (["--to", "none/page.html"], "--to none/page.html: cannot be written")]
)
def test_where_the_page_goes_must_be_said(
    stored_run: Make, capsys: pytest.CaptureFixture[str], more: list[str], word: str
) -> None:
    assert main(["report", *urls(stored_run("a"), stored_run("b")), *more]) == 2
    assert capsys.readouterr().err.startswith(word)


@pytest.mark.parametrize("command", ["report", "watch"])
def test_a_run_named_twice_is_refused(stored_run: Make, capsys: pytest.CaptureFixture[str], command: str) -> None:
    place = stored_run().url()
    assert main([command, place, f"{place}/"]) == 2
    assert f"RUN {place}: is named twice" in capsys.readouterr().err


def test_watching_reads_only_the_run_that_changed(stored_run: Make, exact: Callable[..., StepRecord]) -> None:
    still, grows = stored_run("still"), stored_run("grows", gammas=(4.0,))
    watched = Watched(urls(still, grows))
    before, version = dict(watched.views), watched.version
    watched.look()
    assert watched.views == before and watched.version == version
    row = exact(5, 0.25 * 1.2**5)
    grows.commit(row.trajectory, Commit(record=row, readings=(), state=grows.state(grows.rows(row.trajectory)[0]), carry=None))
    watched.look()
    assert watched.views["still"] is before["still"] and watched.version != version
    assert len(watched.views["grows"].rows) == len(before["grows"].rows) + 1
    page = watched.page()
    assert not isinstance(page, str)
    assert json.loads(page.content)["version"] == watched.version


def test_the_table_sorts_and_the_page_fits_a_phone(browser: Any, stored_run: Make, tmp_path: Path) -> None:
    stores = [stored_run(name, gammas=(gamma,)) for name, gamma in (("a", 8.0), ("b", 2.0), ("c", 4.0))]
    path = tmp_path / "page.html"
    path.write_text(html_of(page_of_several(views_of(urls(*stores)))), encoding="utf-8")
    browser.size(390, 844)
    browser.open(path.as_uri())
    browser.draw_all()
    assert browser.run("document.documentElement.scrollWidth") <= 390
    names = "[...document.querySelectorAll('tbody th')].map((one) => one.textContent.trim()).join('')"
    head = "[...document.querySelectorAll('thead button')].find((one) => one.textContent === '{}').click()"
    browser.run(head.format("gamma"))
    assert browser.run(names) == "bca"
    browser.run(head.format("gamma"))
    assert browser.run(names) == "acb"
    browser.run(head.format("run"))
    assert browser.run(names) == "abc"
    assert browser.errors == []
