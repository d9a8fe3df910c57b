"""run.json names what a run was trained on, and says so where it goes on on something else."""

from __future__ import annotations

from typing import Any

from rayfe.config import configure
from rayfe.data.paths import load_path
from rayfe.storage.manifest import digest_of, grown, manifest_of, said_of_devices


def manifest(*devices: str) -> dict[str, Any]:
    config = configure(**{"data.name": "digits"})
    return manifest_of("isoc", "digits-smoke", [], config, load_path(config), devices=devices)


def test_a_run_goes_on_on_another_kind_of_device_and_says_so() -> None:
    here, there = manifest("cpu"), manifest("NVIDIA H200")
    assert digest_of(here) == digest_of(there)  # it may
    assert (
        said_of_devices(there, here)
        == "The run was trained on cpu and goes on on NVIDIA H200: rows differ by noise and rounding."
    )
    both = grown(there, here)
    assert both["devices"] == ["cpu", "NVIDIA H200"] and both["precision"] == "float32"
    older = {name: value for name, value in here.items() if name != "devices"}
    assert grown(here, older)["devices"] == ["cpu"]
    assert not any(said_of_devices(there, stored) for stored in (None, older, both, there))
