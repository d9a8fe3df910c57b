"""Classification loss of Gaussian z by quadrature: values against brute force, gradients against differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from rayfe.surface.linear_gaussian import classes_of
from rayfe.surface.softmax_integrals import Contrasts, Loss, Nodes, gaussian_loss, sample_loss

RNG = np.random.default_rng(3)
Y = np.arange(240) % 3
X = RNG.standard_normal((240, 4)) + np.array([[1.0, 0, 0, 0], [-0.5, 0.9, 0, 0], [-0.5, -0.9, 0, 0]])[Y]
CLASSES = classes_of(X, Y)
AT = Contrasts(U=RNG.standard_normal((2, 4)), L=np.array([[1.2, 0.0], [0.4, 0.8]]), c=np.array([0.3, -0.2]))
NODES = Nodes.grid(16, 2)


def by_gaussians(at: Contrasts) -> Loss:
    return gaussian_loss(CLASSES, at, NODES)


def by_sample(at: Contrasts) -> Loss:
    return sample_loss(X, CLASSES, at, NODES, chunk=100)


def flat(at: Contrasts) -> np.ndarray:
    return np.concatenate([at.U.ravel(), at.L.ravel(), at.c])


def unflat(numbers: np.ndarray) -> Contrasts:
    return Contrasts(U=numbers[:8].reshape(2, 4), L=numbers[8:12].reshape(2, 2), c=numbers[12:])


@pytest.mark.parametrize("loss", [by_gaussians, by_sample])
def test_gradients_are_those_of_differences(loss: Callable[[Contrasts], Loss]) -> None:
    here, gradient, step = flat(AT), flat(loss(AT).gradient), 1e-6
    for i in range(len(here)):
        moved = step * np.eye(len(here))[i]
        difference = (loss(unflat(here + moved)).value - loss(unflat(here - moved)).value) / (2 * step)
        assert gradient[i] == pytest.approx(difference, abs=1e-8)


def test_a_sample_s_loss_is_that_of_random_draws() -> None:
    noise = np.random.default_rng(0).standard_normal((4_000, 1, 2)) @ AT.L.T
    logits = np.concatenate([X @ AT.U.T + AT.c + noise, np.zeros((4_000, 240, 1))], -1)
    drawn = (np.log(np.exp(logits).sum(-1)) - logits[:, np.arange(240), Y]).mean(1)
    error = drawn.std() / np.sqrt(len(drawn))
    assert by_sample(AT).value == pytest.approx(drawn.mean(), abs=4 * error)


def test_gaussian_classes_have_the_loss_of_their_random_examples() -> None:
    rng, losses = np.random.default_rng(1), []
    for label in range(3):
        x = rng.multivariate_normal(CLASSES.mean[label], CLASSES.covariance[label], 50_000)
        t = x @ AT.U.T + AT.c + rng.standard_normal((len(x), 2)) @ AT.L.T
        logits = np.concatenate([t, np.zeros((len(t), 1))], 1)
        losses.append(np.log(np.exp(logits).sum(1)) - logits[:, label])
    assert by_gaussians(AT).value == pytest.approx(np.mean(losses), abs=4 * np.std(losses) / np.sqrt(150_000))


@pytest.mark.parametrize("count", [10, 14, 20])
def test_quadrature_converges_with_its_nodes(count: int) -> None:
    fine, error = Nodes.grid(60, 2), {10: 1e-4, 14: 1e-5, 20: 1e-6}[count]
    assert sample_loss(X, CLASSES, AT, Nodes.grid(count, 2)).value == pytest.approx(
        sample_loss(X, CLASSES, AT, fine).value, abs=error
    )


def test_two_classes_have_one_contrast() -> None:
    y = Y[Y < 2]
    x = X[Y < 2]
    at = Contrasts(U=AT.U[:1], L=np.zeros((1, 1)), c=AT.c[:1])
    t = x @ at.U[0] + at.c[0]
    plain = np.log1p(np.exp(np.where(y == 0, -t, t))).mean()
    assert sample_loss(x, classes_of(x, y), at, Nodes.grid(4, 1)).value == pytest.approx(plain, abs=1e-12)
