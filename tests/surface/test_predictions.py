"""Distances of predictions and their map, against arcs, balls and limits that are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfe.surface.predictions import bhattacharyya, fisher_rao, intensive_pca, length

ANGLE = st.floats(0.0, math.pi / 2)


def two_classes(angles):
    """Predictions (..., 1, 2) of one example with angle theta: cos^2 theta, sin^2 theta."""
    angles = np.asarray(angles)[..., None]
    return np.stack([np.cos(angles) ** 2, np.sin(angles) ** 2], axis=-1)


def some(*shape, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(shape[-1]), shape[:-1])


@given(first=ANGLE, second=ANGLE)
def test_two_classes_are_an_arc(first, second):
    assert fisher_rao(two_classes(first), two_classes(second)) == pytest.approx(2.0 * abs(first - second), abs=1e-7)


def test_the_length_of_a_way_along_an_arc_is_its_angle_and_does_not_depend_on_the_number_of_examples():
    angles = np.linspace(0.1, 1.4, 9)
    one = two_classes(angles)
    assert length(one) == pytest.approx(2.6, rel=1e-12)
    assert length(np.repeat(one, 5, axis=1)) == pytest.approx(2.6, rel=1e-12)
    there_and_back = np.concatenate([one, one[::-1]])
    assert length(there_and_back) == pytest.approx(5.2, rel=1e-12)
    assert length(one[:1]) == 0.0


def test_examples_are_averaged_by_their_squares():
    p, q = two_classes([0.2, 0.5]).transpose(1, 0, 2), two_classes([0.3, 0.9]).transpose(1, 0, 2)
    assert fisher_rao(p, q)[0] == pytest.approx(math.sqrt((0.2**2 + 0.8**2) / 2.0))


def test_near_models_are_as_far_apart_as_the_metric_says():
    p, change = some(40, 7), np.random.default_rng(1).normal(size=(40, 7))
    change -= change.mean(axis=1, keepdims=True)
    near = 1e-7 * change * p.min(axis=1, keepdims=True)
    exact = math.sqrt(np.mean((near**2 / p).sum(axis=1)))
    assert fisher_rao(p, p + near) == pytest.approx(exact, rel=1e-6)


def test_no_way_is_shorter_than_the_geodesic():
    way = some(6, 30, 5)
    assert fisher_rao(way[0], way[-1]) < length(way)


def test_ignorance_and_truth_are_where_they_must_be():
    K = 10
    truth, ignorance = np.eye(K)[None, :4], np.full((1, 4, K), 1.0 / K)
    assert fisher_rao(truth, ignorance)[0] == pytest.approx(2.0 * math.acos(math.sqrt(1.0 / K)))
    assert bhattacharyya(np.concatenate([truth, ignorance]))[0, 1] == pytest.approx(0.5 * math.log(K))


def test_from_the_truth_a_model_is_half_its_loss():
    model, labels = some(20, 5), np.arange(20) % 5
    loss = -np.log(model[np.arange(20), labels]).mean()
    found = bhattacharyya(np.stack([model, np.eye(5)[labels]]))
    assert found[0, 1] == pytest.approx(0.5 * loss)
    assert (np.diag(found) == 0.0).all() and (found == found.T).all()


def test_opposite_certainties_are_far_and_finite():
    found = bhattacharyya(np.eye(3)[:, None])
    assert np.isfinite(found).all() and found[0, 1] > 700.0


def test_divergences_are_the_same_in_parts(monkeypatch):
    models = some(5, 33, 4)
    whole = bhattacharyya(models)
    monkeypatch.setattr("rayfe.surface.predictions.CHUNK", 100)
    np.testing.assert_allclose(bhattacharyya(models), whole, rtol=1e-12)


def test_the_map_with_all_its_axes_and_signs_has_the_divergences():
    B = bhattacharyya(some(8, 25, 4))
    found = intensive_pca(B, axes=8)
    apart = (found.points[:, None] - found.points[None]) ** 2
    np.testing.assert_allclose(apart @ np.sign(found.eigenvalues), B, atol=1e-12)
    assert found.shares.sum() == pytest.approx(1.0)
    assert (np.diff(np.abs(found.eigenvalues)) <= 0.0).all()


def test_points_of_a_plane_come_back_up_to_a_turn():
    plane = np.random.default_rng(3).normal(size=(12, 2))
    squared = ((plane[:, None] - plane[None]) ** 2).sum(-1)
    found = intensive_pca(squared)
    again = ((found.points[:, None] - found.points[None]) ** 2).sum(-1)
    np.testing.assert_allclose(again, squared, atol=1e-10)
    assert found.shares.sum() == pytest.approx(1.0)
    assert (found.eigenvalues[:2] > 0.0).all()


def test_a_long_arc_needs_an_axis_that_counts_negatively():
    """-log cos grows faster than the square of the angle: more than a straight line has."""
    found = intensive_pca(bhattacharyya(two_classes(np.linspace(0.0, 1.5, 7))), axes=7)
    assert found.eigenvalues[0] > 0.0 > found.eigenvalues.min()
    along = found.points[:, 0]
    assert (np.diff(along) > 0.0).all() or (np.diff(along) < 0.0).all()
    assert found.shares[0] > 0.7


def test_one_model_is_a_point():
    found = intensive_pca(bhattacharyya(some(1, 3, 4)), axes=2)
    assert found.points.shape == (1, 1) and found.points[0, 0] == 0.0
