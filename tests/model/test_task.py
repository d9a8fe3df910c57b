"""Tasks: losses against torch's distributions, what knows nothing of x, what labels fit, and a task of the user's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Independent, Normal

from rayfe.config import ModelConfig, configure
from rayfe.data.examples import Dataset, Examples
from rayfe.data.paths import PathData
from rayfe.exceptions import UsageError
from rayfe.model.objective import Noise, Objective, draw_noise
from rayfe.model.posterior import Widths
from rayfe.model.protocol import build, build_checked
from rayfe.model.task import BUILT_IN, Classification, MultiLabel, Regression, Task, task_of
from rayfe.run.model_checks import check_model
from rayfe.training.replicas import Looped, Stacked

RNG = np.random.default_rng(0)
X = RNG.random((40, 6), np.float32)
NUMBERS = RNG.standard_normal((40, 2)).astype(np.float32)
BITS = (NUMBERS > 0).astype(np.float32)
CLASSES = np.arange(40) % 2


class Absolute(Task):
    """Laplace of scale 1."""

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return ((prediction - y).abs() + math.log(2.0)).sum(-1)


class Summed(Absolute):
    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return super().loss(prediction, y).sum()


class Detached(Absolute):
    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return super().loss(prediction.detach(), y)


class Failing(Absolute):
    def score(self, prediction: Tensor, y: Tensor) -> Tensor:
        raise KeyError("no such score")


class Below(Absolute):
    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return super().loss(prediction, y) - 99.0


class Elsewhere(Absolute):
    scored = "elsewhere"  # type: ignore[assignment]


class Unlabelled(Absolute):
    @classmethod
    def fault(cls, y: np.ndarray) -> str | None:
        return str(1 / 0)


class Unlearnt(Absolute):
    """No gradient arrives at its weight."""

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.weight = nn.Parameter(torch.ones(()))

    def loss(self, prediction: Tensor, y: Tensor) -> Tensor:
        return self.weight.detach().square() * super().loss(prediction, y)


class WithOwnTask(nn.Module):
    """A model that brings its task."""

    latent = 2

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, config: ModelConfig) -> None:
        super().__init__()
        (features,) = input_shape
        self.encoder, self.decoder = nn.Linear(features, 4), nn.Linear(2, features)
        self.head, self.task = nn.Linear(2, classes), Regression(classes)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def classify(self, z: Tensor) -> Tensor:
        return self.head(z)


def own(task: type) -> str:
    return f"{__name__}:{task.__name__}"


def data(y: np.ndarray) -> Dataset:
    examples = Examples(x=X, y=y)
    return Dataset(name="some", train=examples, validation=examples, class_names=("a", "b"))


def small(task: str, **options: Any) -> Any:
    return build(ModelConfig(hidden=8, latent=2, task=task, **options), input_shape=(6,), classes=2)


def noise(dtype: torch.dtype = torch.float32) -> Noise:
    return draw_noise(
        torch.Generator().manual_seed(0), n=40, widths=Widths(latent=2), decoder_draws=1, head_draws=4, dtype=dtype
    )


def test_losses_are_negative_log_densities() -> None:
    prediction, numbers = torch.randn(3, 40, 2, dtype=torch.float64), torch.from_numpy(NUMBERS).double()
    regression = Regression(2).double()
    regression.log_variance.data = torch.tensor([-2.0, 1.0], dtype=torch.float64)
    spread = (0.5 * regression.log_variance).exp()
    exact = -Independent(Normal(prediction, spread), 1).log_prob(numbers)
    torch.testing.assert_close(regression.loss(prediction, numbers), exact)
    bits = (numbers > 0).double()
    exact = -Independent(Bernoulli(logits=prediction), 1).log_prob(bits)
    torch.testing.assert_close(MultiLabel(2).loss(prediction, bits), exact)


def test_the_trained_variance_is_the_mean_squared_error() -> None:
    """Where the loss is lowest in it, C is half the logarithm of 2 pi e times the squared error, for each target."""
    task, prediction, y = Regression(2), torch.randn(5, 40, 2), torch.from_numpy(NUMBERS)
    task.log_variance.data = (y - prediction).square().mean((0, 1)).log()
    task.loss(prediction, y).mean().backward()
    assert task.log_variance.grad is not None and task.log_variance.grad.abs().max() < 1e-6
    expected = 0.5 * (2.0 * math.pi * math.e * (y - prediction).square().mean((0, 1))).log().sum()
    assert float(task.loss(prediction, y).mean().detach()) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(("name", "y"), [("regression", NUMBERS), ("multi-label", BITS), ("classification", CLASSES)])
def test_what_knows_nothing_of_x_is_the_best_constant_prediction(name: str, y: np.ndarray) -> None:
    task, labels = BUILT_IN[name](2).double(), torch.from_numpy(y)
    labels = labels.double() if labels.is_floating_point() else labels
    constant = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([constant, *task.parameters()], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = task.loss(constant.expand(1, 40, 2), labels).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    uninformed = task.uninformed(lambda of: of(labels).double().mean(0))
    assert uninformed == pytest.approx(float(closure().detach()), abs=1e-6)


def test_scores_are_of_the_mean_prediction() -> None:
    prediction = torch.tensor([[[3.0, -1.0]], [[-1.0, -1.0]]])
    y = torch.tensor([[1.0, 1.0]])
    assert task_score(Regression(2), prediction, y) == pytest.approx(0.5 * (0.0 + 4.0))
    assert task_score(MultiLabel(2), prediction, y) == 0.5  # the mean probability of the first is 0.61
    assert task_score(Classification(2), prediction, torch.tensor([0])) == 1.0
    assert Absolute(2).score(prediction.mean(0), y) is None


def task_score(task: Task, prediction: Tensor, y: Tensor) -> float:
    score = task.score(task.mean(prediction), y)
    assert score is not None
    return float(score)


FAULTS = {
    "numbers for classes": (
        "classification",
        NUMBERS,
        "needs one label .* the data have 2 numbers for each; give .*regression",
    ),
    "bits for classes": ("classification", BITS, "the data have 2 numbers for each; give .*multi-label"),
    "classes for numbers": ("regression", CLASSES, "needs numbers, the data have classes"),
    "classes for bits": ("multi-label", CLASSES, "needs labels of 0 and 1 .* one class for each"),
    "numbers for bits": ("multi-label", NUMBERS, "needs labels of 0 and 1, the data have other numbers"),
    "large numbers": ("regression", NUMBERS * 100, r"number 0 has .*; give \(y - y.mean\(0\)\) / y.std\(0\)"),
    "a constant": ("regression", NUMBERS * np.float32([1, 0]), "number 1 has 0"),
    "a bit that is always 1": ("multi-label", np.maximum(BITS, np.float32([0, 1])), "number 1 is 1 everywhere"),
    "no task": ("ranking", CLASSES, "give classification, regression, multi-label, or package.module:Class"),
    "no class of a task": (own(WithOwnTask), CLASSES, "expected a subclass of rayfe.model.task.Task"),
    "a loss that is summed": (own(Summed), NUMBERS, r"a loss and a score of shapes \[\(\)\], expected"),
    "a loss without a gradient": (own(Detached), NUMBERS, "has no gradient in the prediction"),
    "a loss below 0": (own(Below), NUMBERS, "gives a negative loss; say so: signed = True"),
    "a column that is none": (own(Elsewhere), NUMBERS, "has scored = 'elsewhere'; give accuracy or score"),
    "labels that it fails for": (own(Unlabelled), NUMBERS, r"fails for the labels \(ZeroDivisionError"),
    "a score that fails": (own(Failing), NUMBERS, "fails for predictions .*KeyError: 'no such score'"),
}


@pytest.mark.parametrize(("task", "y", "words"), FAULTS.values(), ids=FAULTS)
def test_a_task_that_labels_do_not_fit_is_refused(task: str, y: np.ndarray, words: str) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        build_checked(ModelConfig(hidden=8, latent=2, task=task), data(y))
    assert refused.value.name == "model.task"
    assert "\n" not in str(refused.value)


def test_a_weight_of_a_task_that_no_gradient_reaches_is_refused() -> None:
    config = configure(model={"hidden": 8, "latent": 2, "task": own(Unlearnt)}, equilibration={"batch": 5})
    with pytest.raises(UsageError, match="outputs depend on task.weight, but no gradient arrives there") as refused:
        check_model(config, PathData(kind="still", source=data(NUMBERS)))
    assert refused.value.name == "model.task"  # the model is rayfe's own


@pytest.mark.parametrize(("task", "y"), [("regression", NUMBERS), ("multi-label", BITS), (own(Absolute), NUMBERS)])
@pytest.mark.parametrize("hidden", [0, 4])
def test_models_predict_every_number_apart(task: str, y: np.ndarray, hidden: int) -> None:
    """A number common to all outputs is left out of logits of classes, and of these alone."""
    model = build_checked(ModelConfig(hidden=8, latent=2, classifier_hidden=hidden, task=task), data(y))
    last = model.classifier if hidden == 0 else model.classifier[-1]
    before = model.classify(torch.ones(3, 2))
    last.bias.data.add_(5.0)
    torch.testing.assert_close(model.classify(torch.ones(3, 2)), before + 5.0)


def test_a_task_of_the_model_is_its_own() -> None:
    model = build(ModelConfig(name=own(WithOwnTask)), input_shape=(6,), classes=2)
    assert isinstance(task_of(model), Regression)
    assert "task.log_variance" in dict(model.named_parameters())
    assert isinstance(task_of(small("classification")), Classification)
    assert "task" not in dict(small("classification").named_modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stacked_models_have_the_losses_and_gradients_of_single_ones(dtype: torch.dtype) -> None:
    models = [small("regression").to(dtype) for _ in range(2)]
    models[1].task.log_variance.data.add_(1.0)
    x, y, draws = torch.from_numpy(X).to(dtype), torch.from_numpy(NUMBERS).to(dtype), noise(dtype)
    alone, together = (kind(models).functionals(x, y, draws) for kind in (Looped, Stacked))
    torch.testing.assert_close(together.C, alone.C)
    torch.testing.assert_close(together.score, alone.score)
    stacked = Stacked(models)
    stacked.functionals(x, y, draws).C.mean(-1).sum().backward()  # type: ignore[no-untyped-call]
    gradient = stacked.parameters()["model.task.log_variance"].grad
    Objective(models[1])(x, y, draws).C.mean().backward()
    assert gradient is not None
    torch.testing.assert_close(gradient[1], models[1].task.log_variance.grad)


@pytest.mark.parametrize(
    ("task", "y"),
    [
        (Classification(3), torch.tensor([0, 2, 1, 2])),
        (Classification(3), torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0], [0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])),
        (Regression(3), torch.randn(4, 3)),
        (MultiLabel(3), torch.tensor([[0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]])),
    ],
    ids=["classes", "soft labels", "numbers", "labels"],
)
def test_losses_sum_to_the_loss_and_prices_weigh_them(task: Task, y: Tensor) -> None:
    assert task.names(("a", "b", "c")) == ("a", "b", "c")
    prediction = torch.randn(5, 4, 3)
    losses = task.losses(prediction, y)
    torch.testing.assert_close(losses.sum(-1), task.loss(prediction, y))
    assert torch.equal(task.priced(prediction, y), task.loss(prediction, y))
    task.prices = torch.tensor([2.0, 0.0, 3.0])
    torch.testing.assert_close(task.priced(prediction, y), 2.0 * losses[..., 0] + 3.0 * losses[..., 2])


def test_the_loss_of_a_class_is_that_of_its_examples() -> None:
    prediction, y = torch.randn(5, 4, 3), torch.tensor([0, 2, 1, 2])
    losses = Classification(3).losses(prediction, y)
    assert ((losses > 0.0) == torch.nn.functional.one_hot(y, 3).bool()).all()


def test_one_number_or_label_is_one_loss() -> None:
    assert Regression(1).names(("size",)) == MultiLabel(1).names(("even",)) == Absolute(2).names(("a", "b")) == ()
