"""What a figure calls its lines."""

from __future__ import annotations

import dataclasses

import pandas as pd
import pytest

from rayfe.figures.walks import rate_distortion
from stored_steps import step_record


@pytest.mark.parametrize("process, title", [("iso-classification", "start (λ, γ)"), ("conditioned", "box from (λ, γ)")])
def test_models_of_a_box_have_no_start(process: str, title: str) -> None:
    rows = [step_record(step, process=process, R=1.0 + step, D=9.0 - step, C=0.1) for step in range(3)]
    legend = rate_distortion(pd.DataFrame([dataclasses.asdict(row) for row in rows])).axes[0].get_legend()
    assert legend is not None and legend.get_title().get_text() == title
