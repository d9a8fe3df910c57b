"""Readings are of a population: neither the order of its examples nor the chunks in which they are read changes a number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rayfe.backend.inline import InlineBackend
from rayfe.config import DataConfig, MeasureConfig, ModelConfig, configure
from rayfe.data.coupling import Coupling
from rayfe.data.datasets import load
from rayfe.data.device_path import DeviceExamples, DevicePath, Mixture, Still
from rayfe.data.displacement import Displacement
from rayfe.data.examples import Examples, rank_in_class, stratified
from rayfe.data.randomness import derived_seed, normal_of, uniform_of
from rayfe.model.protocol import build
from rayfe.model.weights import weights_of
from rayfe.records import Annealing, EquilibrateRequest, MeasureRequest, Point, Replica, Split, StepKey
from rayfe.training import batch_norm, drawing
from rayfe.training.batch_norm import recompute_statistics
from rayfe.training.certificate import read_gap
from rayfe.training.drawing import Drawing, Effort, head_share
from rayfe.training.measure import read_draws
from rayfe.training.slope import slope_in_t
from readings import read

CLASSES, N = 4, 240
KEY = partial(derived_seed, 5)
PASSES = {"one chunk": 1 << 30, "a pass for each layer": 0}


class FourNorms(nn.Module):
    """Four batch-norm layers in a row in the encoder, one in the classifier, two in the decoder."""

    def __init__(self, *, input_shape: tuple[int, ...], classes: int, config: ModelConfig) -> None:
        super().__init__()
        self.latent, sizes = config.latent, (*input_shape, 24, 20, 16, 12)
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        layers = [layer for a, b in pairs for layer in (nn.Linear(a, b, bias=False), nn.BatchNorm1d(b), nn.ReLU())]
        self.encoder = nn.Sequential(*layers, nn.Linear(12, 2 * config.latent))
        self.decoder = nn.Sequential(
            *(nn.Linear(config.latent, 12, bias=False), nn.BatchNorm1d(12), nn.ReLU()),
            *(nn.Linear(12, 16, bias=False), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, *input_shape), nn.Sigmoid()),
        )
        self.classifier = nn.Sequential(nn.Linear(config.latent, 8, bias=False), nn.BatchNorm1d(8), nn.Linear(8, classes))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, -1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z)

    def classify(self, z: Tensor) -> Tensor:
        return self.classifier(z)


MODELS = {"mlp": (48,), "four norms": (48,), "resnet": (3, 8, 8)}


def model_of(name: str, dtype: torch.dtype) -> Any:
    """A model with random weights, large enough that classes look different to it."""
    config = ModelConfig(name="resnet" if name == "resnet" else "mlp", hidden=16, width=2, latent=4, classifier_hidden=0)
    cls = FourNorms if name == "four norms" else None
    return build(config, input_shape=MODELS[name], classes=CLASSES, seed=1, cls=cls).to(dtype).eval()


def examples(shape: tuple[int, ...], *, n: int = N, seed: int = 0, dtype: torch.dtype) -> DeviceExamples:
    """Classes one after the other, as many people's files have them, each brighter than the one before."""
    rng = torch.Generator().manual_seed(seed)
    y = torch.arange(n) * CLASSES // n
    x = 0.4 * torch.rand(n, *shape, generator=rng, dtype=torch.float64) + 0.2 * y.view(-1, *[1] * len(shape))
    return DeviceExamples(x=x.to(dtype), y=y)


def reordered(data: DeviceExamples, seed: int) -> DeviceExamples:
    """The same examples with their numbers in another order."""
    return data.take(torch.randperm(len(data), generator=torch.Generator().manual_seed(seed)))


def path_of(kind: str, shape: tuple[int, ...], dtype: torch.dtype, *, order: int | None = None) -> DevicePath:
    source, target = examples(shape, dtype=dtype), examples(shape, n=N - 60, seed=1, dtype=dtype)
    target = DeviceExamples(x=1.0 - target.x, y=target.y)
    pairs = (np.arange(720) // 3, np.arange(720) // 4)  # by rows of the examples as they were made
    if order is not None:
        source, target = reordered(source, order), reordered(target, order + 1)
        pairs = (np.argsort(source.number.numpy())[pairs[0]], np.argsort(target.number.numpy())[pairs[1]])
        shuffled = np.random.default_rng(order).permutation(720)
        pairs = (pairs[0][shuffled], pairs[1][shuffled])
    if kind == "still":
        return Still(source)
    if kind == "mixture":
        return Mixture(source, target)
    coupling = Coupling(source=pairs[0], target=pairs[1], weight=np.full(720, 1 / 720), report={})
    return Displacement(source, target, coupling, CLASSES)


@dataclass(frozen=True)
class Numbers:
    """All that is read of one model on one path."""

    values: dict[str, float]
    size: float
    """Sum of the absolute parts of J."""


def numbers(model: Any, path: DevicePath, *, chunk: int, most: int = 1 << 30, t: float = 0.3) -> Numbers:
    config, point = Drawing(head_draws=16, decoder_draws=1, chunk=chunk), Point(lam=2.0, gamma=5.0, t=t)
    recompute_statistics(model, path, t, chunk=chunk, key=KEY, most=most)
    reading = read(model, path, point=point, t=t, drawing=config, key=KEY, effort=Effort(draw_sets=2))
    gap = read_gap(model, path.thinned(100), point, draws=4, chunk=chunk, key=KEY)
    slope = slope_in_t(model, path, point, drawing=config, key=KEY)
    values = {"R": reading.R, "D": reading.D, "C": reading.C, "C_se": reading.C_se, "D_se": reading.D_se}
    values |= {"accuracy": reading.accuracy, "gap": gap.mean, "F_t": slope}
    return Numbers(values=values, size=reading.R + 2.0 * reading.D + 5.0 * reading.C)


@pytest.mark.parametrize("kind", ["still", "mixture", "displacement"])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["float64", "float32"])
def test_order_and_chunks_change_nothing(name: str, kind: str, dtype: torch.dtype, tolerance: float) -> None:
    model, shape = model_of(name, dtype), MODELS[name]
    first = numbers(model, path_of(kind, shape, dtype), chunk=1000)
    others = {
        "small chunks": numbers(model, path_of(kind, shape, dtype), chunk=37),
        "layer by layer": numbers(model, path_of(kind, shape, dtype), chunk=50, most=0),
        "another order": numbers(model, path_of(kind, shape, dtype, order=3), chunk=64),
        "another order, layer by layer": numbers(model, path_of(kind, shape, dtype, order=8), chunk=110, most=0),
    }
    for how, other in others.items():
        for value, wanted in first.values.items():
            # F_t divides the rounding of J by its step
            allowed = tolerance * first.size * (2000.0 if value == "F_t" else 1.0)
            assert other.values[value] == pytest.approx(wanted, abs=allowed), (how, value)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("most", PASSES.values(), ids=PASSES)
def test_statistics_are_those_that_one_pass_in_training_mode_has(name: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With momentum 1 a pass over all examples in training mode leaves the population's statistics, but for n / (n - 1)."""
    monkeypatch.setattr(batch_norm, "DRAWS", 1)
    model, path = model_of(name, torch.float64), path_of("still", MODELS[name], torch.float64)
    passes = recompute_statistics(model, path, 0.0, chunk=31, key=KEY, most=most)
    found = weights_of(model)
    data = path.strata[0].examples(slice(None), 0.0)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    for layer in norms:
        layer.momentum = 1.0
    model.train()
    with torch.no_grad():
        mean, log_variance = model.encode(data.x)
        z = mean + (0.5 * log_variance).exp() * normal_of(data.number, model.latent, key=KEY("source"), dtype=torch.float64)
        model.classify(z), model.decode(z)
    for key, value in weights_of(model).items():
        if key.endswith("running_mean"):
            np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-12, err_msg=key)
        if key.endswith("running_var"):
            assert np.all(np.abs(found[key] / value - 1.0) < 1.0 / (N - 1) + 1e-9), key
    assert 0.5 * N < passes < N if most else passes > N
    assert all("forward" not in vars(layer) for layer in norms)


def test_fewer_passes_than_layers_would_be_wrong() -> None:
    """Statistics of consecutive chunks, each normalised by its own and averaged, are not the population's."""
    model, path = model_of("four norms", torch.float64), path_of("still", (48,), torch.float64)
    recompute_statistics(model, path, 0.0, chunk=60, key=KEY, most=0)
    right = weights_of(model)
    last, means, variances = model.encoder[10], [], []
    for rows in range(0, N, 60):
        part = Still(path.strata[0].examples(slice(rows, rows + 60), 0.0))
        recompute_statistics(model, part, 0.0, chunk=60, key=KEY)
        means.append(last.running_mean)
        variances.append(last.running_var)
    averaged = torch.stack(variances).mean(0).numpy()
    assert np.median(np.abs(averaged / right["encoder.10.running_var"] - 1.0)) > 0.1


def test_without_decoding_the_decoder_is_left_alone_and_costs_nothing() -> None:
    model, path = model_of("four norms", torch.float64), path_of("still", (48,), torch.float64)
    before = weights_of(model)
    assert recompute_statistics(model, path, 0.0, chunk=60, key=KEY, decode=False) == 0.5 * N
    after = weights_of(model)
    assert {name for name in after if not np.array_equal(after[name], before[name])} == {
        f"{layer}.{name}"
        for layer in ("encoder.1", "encoder.4", "encoder.7", "encoder.10", "classifier.1")
        for name in ("running_mean", "running_var")
    }


def test_several_draws_of_z_halve_the_noise_of_a_decoders_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = model_of("mlp", torch.float64), path_of("still", (48,), torch.float64)

    def scatter() -> float:
        means = []
        for seed in range(60):
            recompute_statistics(model, path, 0.0, chunk=60, key=partial(derived_seed, seed))
            means.append(weights_of(model)["decoder.1.running_mean"])
        return float(np.linalg.norm(np.std(means, axis=0)))

    four = scatter()
    monkeypatch.setattr(batch_norm, "DRAWS", 1)
    assert four == pytest.approx(0.5 * scatter(), rel=0.25)


def test_a_layer_that_is_never_called_ends_nothing() -> None:
    model, path = model_of("mlp", torch.float64), path_of("still", (48,), torch.float64)
    model.unused = nn.BatchNorm1d(3).double()
    for most in PASSES.values():
        recompute_statistics(model, path, 0.0, chunk=50, key=KEY, most=most)
        assert float(model.unused.running_var.sum()) == 3.0


@pytest.mark.parametrize("kind", ["mixture", "displacement"])
@pytest.mark.parametrize("t", [0.0, 0.002, 0.3, 1.0])
def test_F_t_is_the_derivative_of_J_with_statistics_that_follow_t(kind: str, t: float) -> None:
    """Against differences a hundred times finer, in float64; within 1 % of the larger of F_t and its parts."""
    model, point = model_of("four norms", torch.float64), Point(lam=2.0, gamma=5.0, t=t)
    path, config = path_of(kind, (48,), torch.float64), Drawing(head_draws=128, decoder_draws=2, chunk=90)

    def parts(at: float) -> np.ndarray:
        recompute_statistics(model, path, at, chunk=1000, key=lambda name: KEY(f"statistics {name}"))
        total = np.zeros(3)
        for stratum in path.present(at):
            wide = Drawing(head_draws=32, decoder_draws=2, chunk=4000)
            mean = read_draws(model, stratum, at, drawing=wide, key=KEY(stratum.name), effort=Effort()).mean
            weights = stratum.weights(slice(None), at)
            total += [float(value @ weights) for value in (mean.R, 2.0 * mean.D, 5.0 * mean.C)]
        return total

    fine, here = 4e-5, np.clip([t - 4e-5, t + 4e-5], 0.0, 1.0)
    exact = (parts(here[1]) - parts(here[0])) / (here[1] - here[0])
    if t in (0.0, 1.0):  # one-sided: to second order by Richardson
        twice = parts(abs(t - 2 * fine)) if t else parts(2 * fine)
        exact = 2.0 * exact - (twice - parts(t)) / (2 * fine) * (-1.0 if t else 1.0)
    before = weights_of(model)
    found = slope_in_t(model, path, point, drawing=config, key=KEY)
    assert found == pytest.approx(exact.sum(), abs=0.01 * np.abs([*exact, exact.sum()]).max())
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


@pytest.mark.parametrize("kind", ["still", "mixture", "displacement"])
def test_batches_go_by_numbers_too(kind: str) -> None:
    one, other = (path_of(kind, (48,), torch.float64, order=order) for order in (None, 4))
    for path in (one, other):
        assert len(path.thinned(50).strata[0]) == 50
    pairs = zip(*(p.batches(0.4, 16, updates=40, rng=torch.Generator().manual_seed(2)) for p in (one, other)), strict=True)
    for a, b in pairs:
        torch.testing.assert_close(a.x, b.x)
        torch.testing.assert_close(a.y, b.y)


def test_readings_by_fewer_sets_of_draws_are_part_of_those_by_more() -> None:
    model, path = model_of("mlp", torch.float64), path_of("still", (48,), torch.float64)
    recompute_statistics(model, path, 0.0, chunk=1000, key=KEY)
    config, stratum = Drawing(head_draws=16, decoder_draws=2, chunk=4000), path.strata[0]

    def C(sets: int) -> Tensor:
        return read_draws(model, stratum, 0.0, drawing=config, key=9, effort=Effort(draw_sets=sets, decoder_sets=sets)).mean.C

    one, two, three = C(1), C(2), C(3)
    second, third = 2 * two - one, 3 * three - 2 * two
    for extra in (second, third):
        assert bool((extra > 0.0).all())
        assert float((extra - one).abs().max()) > 1e-3
    sets = [
        read(
            model,
            path,
            point=Point(lam=2.0, gamma=5.0),
            t=0.0,
            drawing=config,
            key=KEY,
            effort=Effort(draw_sets=count, decoder_sets=count),
        )
        for count in (1, 16)
    ]
    for name in ("C_se", "D_se"):
        assert getattr(sets[1], name) == pytest.approx(getattr(sets[0], name) / 4.0, rel=0.4)


def test_draws_through_the_classifier_are_counted() -> None:
    model, config = model_of("mlp", torch.float32), Drawing(head_draws=16, decoder_draws=2, chunk=4000)
    share = head_share(model, torch.zeros(1, 48))
    assert share == pytest.approx(4 * 4 / (48 * 16 + 16 * 8 + 4 * 16 + 16 * 48 + 4 * 4))
    more, one = (Effort(draw_sets=sets).cost(300, config, share) for sets in (3, 1))
    assert more - one == pytest.approx(300 / 3 * share * 32)


def test_random_numbers_are_a_function_of_key_and_number() -> None:
    number = torch.tensor([7, 3, 10**9, 3])
    uniform = uniform_of(number, 5, key=11, dtype=torch.float64)
    torch.testing.assert_close(uniform[1], uniform[3])
    torch.testing.assert_close(uniform[:1], uniform_of(number[:1], 5, key=11, dtype=torch.float64))
    torch.testing.assert_close(uniform, uniform_of(number, 5, key=11, dtype=torch.float32).double(), atol=1e-7, rtol=0)
    assert len({*uniform.flatten().tolist()}) == 15
    many = normal_of(torch.arange(40_000), 8, key=3, dtype=torch.float32).double()
    bound = 4 / many.numel() ** 0.5
    assert abs(float(many.mean())) < bound
    assert abs(float(many.square().mean()) - 1.0) < 2**0.5 * bound
    assert abs(float((many[1:] * many[:-1]).mean())) < bound
    assert abs(float((many[:, 1:] * many[:, :-1]).mean())) < bound
    other = normal_of(torch.arange(40_000), 8, key=4, dtype=torch.float32).double()
    assert abs(float((many * other).mean())) < bound


def test_a_part_has_each_class_in_proportion_whatever_the_order() -> None:
    rng = np.random.default_rng(0)
    y, number = np.repeat([0, 1, 2], [600, 300, 100]), np.arange(1000)
    chosen = stratified(y, number, 200, "part")
    assert np.bincount(y[chosen]).tolist() == [120, 60, 20]
    order = rng.permutation(1000)
    again = stratified(y[order], number[order], 200, "part")
    assert set(number[order][again]) == set(number[chosen])
    assert 400 < number[chosen][y[chosen] == 0].max() < 600  # not the first ones
    assert rank_in_class(np.array([1, 0, 1, 1])).tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize("chunk", [500, 4000])
def test_a_file_stored_class_by_class_reads_as_one_that_is_shuffled(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers follow the file, so the draws are others: R is the same, the rest within three errors of the draws."""
    monkeypatch.setattr(drawing, "CHUNK", chunk)
    digits = load(DataConfig(name="digits"))
    config = configure(
        threads=1,
        data=DataConfig(name="digits"),
        model=ModelConfig(hidden=24, latent=4),
        measure=MeasureConfig(head_draws=64),
    )
    order = np.argsort(digits.train.y, kind="stable")
    by_class = replace(digits, train=Examples(x=digits.train.x[order], y=digits.train.y[order]))
    point = Point(lam=0.25, gamma=4.0)
    first = InlineBackend(config, digits)
    begin = Replica(name="centre", point=point, weights=None)
    key = StepKey(trajectory="t", seed=0, step=0, attempt=0)
    annealing = Annealing(epochs=20, begin=0, end=20)
    trained = first.equilibrate(EquilibrateRequest(key=key, replicas=(begin,), annealing=annealing)).weights[0]
    request = MeasureRequest(key=key, replicas=(replace(begin, weights=trained),), splits=(Split.TRAIN,), purpose="test")
    one, other = (backend.measure(request).readings[0] for backend in (first, InlineBackend(config, by_class)))
    assert other.R == pytest.approx(one.R, rel=1e-5)
    assert abs(other.D - one.D) < 3 * np.hypot(one.D_se, other.D_se)
    assert abs(other.C - one.C) < 3 * np.hypot(one.C_se, other.C_se)
    assert other.C != one.C
