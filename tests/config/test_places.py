"""Where `out` says that a run is."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayfe.config.places import place_of, said_of, usual_place
from rayfe.exceptions import UsageError

COPY = "session/runtime_resources/working_dir_files/_ray_pkg_1"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def copy(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory as Ray makes it for a job."""
    folder = here / COPY
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("out", "place"),
    [
        ("walk", "{here}/walk"),
        ("./~walk", "{here}/~walk"),
        ("walk:a", "{here}/walk:a"),
        ("~/walk", "{here}/home/walk"),
        ("/abs/a b", "/abs/a b"),
        ("file:///abs/walk", "/abs/walk"),
        ("local:/abs/walk", "/abs/walk"),
        ("s3://bucket", "s3://bucket"),
        ("gs://bucket/a/b", "gs://bucket/a/b"),
        ("memory://run", "memory://run"),
        ("hdfs:///user/run", "hdfs:///user/run"),
    ],
)
def test_a_place_is_an_absolute_path_or_a_uri(here: Path, out: str, place: str) -> None:
    assert place_of(out) == place.format(here=here)


@pytest.mark.parametrize(
    ("out", "fix"),
    [
        ("", "give a folder or a URI"),
        ("walk ", "leave it away"),
        (" walk", "leave it away"),
        ("wa\0lk", "control characters"),
        ("walk::a", "joins filesystems"),
        ("simplecache::s3://bucket/a", "joins filesystems"),
        ("s3:/bucket/a", "write s3://bucket/a"),
        ("s3:bucket/a", "write s3://bucket/a"),
        ("gs:/bucket", "write gs://bucket"),
        ("S3://bucket/a", "s3://bucket/a"),
        ("S3:/bucket/a", "write s3://bucket/a"),
        ("s3://", "write s3://bucket/run"),
        ("s3:///run", "names no bucket"),
        ("file:x", "such as x"),
        ("file://host/x", "such as host/x"),
        ("file://", "give the path itself"),
        ("~nobody-of-this-name/x", "there is no such user"),
    ],
)
def test_what_would_be_another_place_than_it_looks_is_refused_with_what_to_write(here: Path, out: str, fix: str) -> None:
    with pytest.raises(UsageError) as refused:
        place_of(out)
    assert fix in refused.value.fix


def test_a_path_that_lost_a_slash_is_refused_from_python(here: Path) -> None:
    with pytest.raises(UsageError, match="pathlib.Path keeps one slash"):
        place_of(str(Path("s3://bucket/run")))


def test_without_out_a_run_is_in_runs_of_the_working_directory(here: Path) -> None:
    assert usual_place("fig2") == str(here / "runs/fig2")
    assert said_of(usual_place("fig2")) == ""


def test_a_job_that_works_in_a_copy_keeps_its_run_elsewhere_and_says_so(here: Path, copy: Path) -> None:
    assert usual_place("fig2") == str(here / "home/rayfe-runs/fig2")
    assert "s3://bucket/run" in said_of(usual_place("fig2"))
    assert said_of("/shared/run") == ""


@pytest.mark.parametrize("out", ["runs/fig2", "../other/run", "{copy}/run", "file://{copy}/run"])
def test_a_place_in_the_copy_is_refused(copy: Path, out: str) -> None:
    with pytest.raises(UsageError, match="temporary copy"):
        place_of(out.format(copy=copy))


@pytest.mark.parametrize("out", ["../../../../outside/run", "/shared/run", "s3://bucket/run"])
def test_a_place_outside_the_copy_is_taken(copy: Path, out: str) -> None:
    place_of(out)
