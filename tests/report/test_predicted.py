"""Lengths and maps of what stored models predict: which examples, which models, and what is said where something is missing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import rayfe
from rayfe.cli.command import main
from rayfe.config import ModelConfig
from rayfe.data.paths import load_path
from rayfe.figures.predictions import NAME
from rayfe.model.protocol import build
from rayfe.report import predicted
from rayfe.report.at_hand import AtHand
from rayfe.report.page import report_of
from rayfe.report.predicted import OF_A_PARAMETER, Predictor, prediction_map, work_of
from rayfe.report.view import view_of
from rayfe.results.predictions import predictions_of
from rayfe.storage.store import Store
from rayfe.surface.predictions import fisher_rao

ONE, OTHER = "lam0.25-gamma4-seed0", "lam0.25-gamma8-seed0"


def test_the_length_of_a_transfer_is_over_source_and_target_and_the_map_has_the_divergences(
    stored_run: Callable[..., Store],
) -> None:
    store = stored_run(transfer=True, gammas=(4.0,))
    found = Predictor().predictions(view_of(store))
    assert found is not None and found.why is None
    assert found.examples == "177 validation examples of source and of target each"
    data = load_path(view_of(store).config)
    assert data.target is not None
    x = np.concatenate([end.validation.x.reshape(len(end.validation.y), -1)[:177] for end in (data.source, data.target)])
    models = []
    for step in range(5):
        model = rayfe.load_model(store.url(), ONE, step)
        with torch.no_grad():
            models.append(torch.softmax(model.classify(model.encode(torch.from_numpy(x).float())[0]), -1).double().numpy())
    way = found.ways[ONE]
    each = [float(fisher_rao(p, q)) for p, q in zip(models[:-1], models[1:], strict=True)]
    assert way.length == pytest.approx(sum(each), rel=1e-3)  # where classes have more examples, it takes others
    assert way.ends == pytest.approx(float(fisher_rao(models[0], models[-1])), rel=1e-3)
    assert (way.models, way.of) == (5, 5)
    assert found.sentences[0].startswith(
        f"{ONE}: Fisher-Rao length in predictions {way.length:.3g} rad, {way.ends:.3g} from end"
    )
    assert 0.0 < sum(found.shares) <= 1.0
    assert list(found.rows["step"]) == [0, 1, 2, 3, 4] and found.rows["map_1"].notna().all()


def test_truth_and_ignorance_are_as_far_apart_on_the_map_as_the_number_of_classes_says(
    stored_run: Callable[..., Store],
) -> None:
    """Models that have learnt nothing lie near ignorance, so that two axes show nearly all."""
    found = Predictor().predictions(view_of(stored_run(gammas=(4.0,))))
    assert found is not None and found.examples == "256 validation examples"
    truth, ignorance = (np.array(found.marks[name]) for name in ("truth", "ignorance"))
    apart = (np.sign(found.eigenvalues) * (truth - ignorance) ** 2).sum()
    assert apart == pytest.approx(0.5 * np.log(10.0), rel=0.1)
    places = found.rows[["map_1", "map_2"]].to_numpy()
    assert (np.linalg.norm(places - ignorance, axis=1) < 0.5 * np.linalg.norm(places - truth, axis=1)).all()


def test_a_walk_has_a_map_and_no_sentence(stored_run: Callable[..., Store]) -> None:
    found = Predictor().predictions(view_of(stored_run()))
    assert found is not None
    assert set(found.ways) == {ONE, OTHER} and found.sentences == []


def test_of_many_models_some_are_read_evenly_and_the_sentence_says_so(
    stored_run: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    view = view_of(stored_run(transfer=True, gammas=(4.0,)))
    monkeypatch.setattr(predicted, "MOST_MODELS", 3)
    found = Predictor().predictions(view)
    assert found is not None and list(found.rows["step"]) == [0, 2, 4]
    assert "(3 of 5 models, " in found.sentences[0]


def test_of_many_trajectories_some_are_shown_evenly_and_the_chart_says_so(
    stored_run: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    view = view_of(stored_run(gammas=(3.0, 4.0, 5.0, 6.0, 8.0), steps=3))
    monkeypatch.setattr(predicted, "MOST_MODELS", 7)
    found = Predictor().predictions(view)
    assert found is not None and list(found.ways) == [f"lam0.25-gamma{gamma}-seed0" for gamma in (3, 5, 8)]
    assert {way.models for way in found.ways.values()} == {2}
    assert "A ring: the start. 3 of 5 trajectories." in prediction_map(found).caption


def test_work_is_that_of_the_layers_of_all_examples_and_of_the_parameters() -> None:
    model = build(ModelConfig(hidden=8, latent=4, classifier_hidden=0), input_shape=(64,), classes=10, seed=0).eval()
    layers = [
        layer for part in (model.encoder, model.classifier) for layer in part.modules() if isinstance(layer, torch.nn.Linear)
    ]
    products = sum(2 * layer.weight.numel() for layer in layers)
    size = sum(value.numel() for value in model.parameters())
    assert products > 2 * 64 * 8
    for n in (1, 30):
        assert work_of(model, torch.rand(n, 64)) == n * products + OF_A_PARAMETER * size


@pytest.mark.parametrize(("models", "read"), [(10, 10), (5, 4), (1, 2)])
def test_of_models_that_are_much_work_few_are_read_and_the_chart_says_so(
    models: int, read: int, stored_run: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trajectories of five models: a budget of five is two of each, one of less than two the ends of one trajectory."""
    view = view_of(stored_run())
    here = AtHand()
    data = here.data(view)
    assert data is not None
    x = torch.zeros(256, 64)
    monkeypatch.setattr(predicted, "MOST_WORK", (models + 0.5) * work_of(here.model(view, view.records[ONE][0]), x))
    found = Predictor(here).predictions(view)
    assert found is not None and len(found.rows) == read
    caption = prediction_map(found).caption
    assert ("too much work" in caption) == (read < 10)
    if read < 10:
        assert f"Only {read} models are read, of 10:" in caption


def test_a_model_is_read_once(stored_run: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    view, read = view_of(stored_run(gammas=(4.0,))), list[int]()
    load = AtHand.model

    def counted(here: AtHand, view, row):
        read.append(row.step)
        return load(here, view, row)

    monkeypatch.setattr(AtHand, "model", counted)
    predictor = Predictor()
    first, second = predictor.predictions(view), predictor.predictions(view)
    assert read == [0, 1, 2, 3, 4]
    assert first is not None and second is not None and first.ways == second.ways


def test_without_weights_or_the_data_of_the_run_there_is_no_map(stored_run: Callable[..., Store], tmp_path: Path) -> None:
    store = stored_run()
    own = store.read_config()
    store.create(own | {"data_sha256": "0" * 64})
    assert Predictor().predictions(view_of(store)) is None
    assert 'id="chart-predictions"' not in report_of(view_of(store))
    store.create(own)
    for path in (tmp_path / "run/states").rglob("*.safetensors"):
        path.unlink()
    assert Predictor().predictions(view_of(store)) is None


def test_damaged_weights_leave_the_other_trajectories_and_the_chart_says_so(
    stored_run: Callable[..., Store], tmp_path: Path
) -> None:
    store = stored_run()
    (tmp_path / f"run/states/{ONE}/2.safetensors").write_bytes(b"nothing")
    found = Predictor().predictions(view_of(store))
    assert found is not None and set(found.ways) == {OTHER}
    assert f"{ONE} is not on it (CorruptFile" in prediction_map(found).caption


def test_page_figures_and_command_have_them(stored_run: Callable[..., Store], capsys: pytest.CaptureFixture[str]) -> None:
    place = stored_run(transfer=True, gammas=(4.0,)).url()
    assert main(["report", place]) == 0
    said = capsys.readouterr().out
    assert f"{ONE}: Fisher-Rao length in predictions " in said
    page = Path(place, "report.html").read_text(encoding="utf-8")
    assert 'id="chart-predictions"' in page and "Fisher-Rao length in predictions" in page
    figure = rayfe.Run(place).figures()[NAME]
    (axes,) = figure.axes
    written = {text.get_text() for text in axes.texts}
    assert {"4", ""} < written <= {"0", "1", "2", "3", "4", ""}  # the last one, and the others where there is room
    assert [text.get_text() for text in axes.get_legend().get_texts()][-2:] == ["truth", "ignorance"]
    assert axes.get_xlabel().startswith("Axis 1 of the map (")


def test_an_axis_that_counts_negatively_says_so() -> None:
    angles = np.linspace(0.0, 1.5, 7)[:, None]
    arc = np.stack([np.cos(angles) ** 2, np.sin(angles) ** 2], axis=-1)
    rows = pd.DataFrame({"trajectory": "a", "step": range(7), "process": "x", "F_t": None, "t": 0.0})
    found = predictions_of(rows, list(arc), np.array([0]), steps={"a": 7}, examples="one", why=None)
    assert found.eigenvalues[0] > 0.0 > found.eigenvalues[1]
    assert "counts negatively" in found.titles[1] and "negatively" not in found.titles[0]
    assert found.ways["a"].length == pytest.approx(3.0)
