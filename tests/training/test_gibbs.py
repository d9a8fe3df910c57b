"""Errors of single draws of weights and z against normal integrals, and when there is a bound of them."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import nn

from rayfe.backend.inline import InlineBackend
from rayfe.config import ModelConfig, configure
from rayfe.data.datasets import load
from rayfe.data.device_path import DeviceExamples, Still
from rayfe.data.path_sizes import PathSizes
from rayfe.model.mlp import Logits
from rayfe.model.posterior import information, with_posterior
from rayfe.model.protocol import build
from rayfe.model.weights import weights_of
from rayfe.records import Kind, Leg, MeasureRequest, Outcome, Point, Reading, Replica, Split, StepKey
from rayfe.records.columns import Observed, step_record
from rayfe.surface.pac_bayes import guarantee
from rayfe.training.drawing import head_share
from rayfe.training.gibbs import draws_of, is_given, with_gibbs

FEATURES, N = 3, 60
STILL = PathSizes(source=N)
CLIP = 2.0 * math.log(2.0)


class Two(nn.Module):
    """Two classes by one dimension of z: logits differ by a normal number, whose mean and variance are known."""

    latent = 1

    def __init__(self, **of: object) -> None:
        super().__init__()
        self.encoder, self.decoder, self.classifier = nn.Linear(FEATURES, 2), nn.Linear(1, FEATURES), Logits(1, 2)

    def encode(self, x):
        return self.encoder(x).chunk(2, -1)

    def decode(self, z):
        return self.decoder(z)

    def classify(self, z):
        return self.classifier(z)


def two(posterior="all"):
    """z has the variance exp(-2), the mean of it random weights of deviations 0.3 to 0.6; all others hardly move."""
    torch.manual_seed(0)
    model = with_posterior(Two(), ModelConfig(posterior=posterior)).double().eval()
    if posterior != "all":
        return model
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("log_deviation"):
                value.fill_(-20.0)
        model.encoder.weight[1].zero_()
        model.encoder.bias[1] = -2.0
        model.encoder.weight_log_deviation[0] = torch.tensor([0.3, 0.4, 0.5]).log()
        model.encoder.bias_log_deviation[0] = math.log(0.6)
        model.classifier.weight.copy_(torch.tensor([[-1.2], [1.2]]))
        model.classifier.bias.copy_(torch.tensor([-0.1, 0.1]))
    return model


def examples():
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(N, FEATURES, generator=rng, dtype=torch.float64)
    return DeviceExamples(x=x, y=(x[:, 0] > 0).long())


def reading(split):
    point = Point(lam=1.0, gamma=1.0)
    return Reading(replica="centre", split=split, point=point, update=0, R=1.0, D=1.0, C=1.0, R_se=0.0, D_se=0.0, C_se=0.0)


def read(model, split=Split.TRAIN, step=0, chunk=25, seed=0):
    key = StepKey(trajectory="a", seed=seed, step=step, attempt=0)
    return with_gibbs(model, Still(examples()), reading(split), key, chunk=chunk).gibbs


def exact():
    """Error and clipped loss of each example: logits differ by d ~ N(mean, variance) in favour of the right class."""
    model, data = two(), examples()
    sign = (2.0 * data.y - 1.0).numpy()
    with torch.no_grad():
        z = model.encode(data.x)[0][:, 0]
        spread = data.x.square() @ torch.tensor([0.09, 0.16, 0.25], dtype=torch.float64) + 0.36 + math.exp(-2.0)
    mean, deviation = sign * (2.4 * z.numpy() + 0.2), 2.4 * spread.sqrt().numpy()
    grid = np.linspace(-9.0, 9.0, 20_001)
    loss = np.minimum(np.logaddexp(0.0, -(mean[:, None] + deviation[:, None] * grid)), CLIP)
    return norm.cdf(-mean / deviation), np.trapezoid(loss * norm.pdf(grid), grid, axis=1)


def test_error_and_clipped_loss_are_normal_integrals():
    error, loss = exact()
    found, draws = read(two()), N * draws_of(N)
    assert draws == 120_000
    assert found.error == pytest.approx(error.mean(), abs=4.0 * math.sqrt(np.mean(error * (1.0 - error)) / draws))
    assert found.C == pytest.approx(loss.mean(), abs=4.0 * CLIP / 2.0 / math.sqrt(draws))
    assert found.error_se == pytest.approx(error.std(ddof=1) / math.sqrt(N), rel=0.02)
    assert found.C_se == pytest.approx(loss.std(ddof=1) / math.sqrt(N), rel=0.02)


def test_no_number_depends_on_chunks_and_noise_is_of_the_seed():
    assert dataclasses.astuple(read(two(), chunk=32)) == pytest.approx(dataclasses.astuple(read(two(), chunk=60)), rel=1e-12)
    assert read(two(), seed=1) != read(two(), seed=2)


def test_bounds_are_those_of_S_of_encoder_and_classifier():
    """The decoder predicts nothing: its weights cost nothing here."""
    model, found = two(), read(two(), step=2)
    S = sum(information(model, part).item() for part in ("encoder", "classifier"))
    assert found.S == pytest.approx(S)
    assert S < information(model).item() - 10.0
    for risk, bound, unit in ((found.error, found.error_bound, 1.0), (found.C, found.C_bound, CLIP)):
        expected = guarantee(risk / unit, draws=120_000, S=S, N=N, share=1.0 / 12.0).bound
        assert bound == pytest.approx(unit * expected, rel=1e-9)
    assert found.error_bound > exact()[0].mean()


def test_bounds_are_of_the_training_split_alone():
    found = read(two(), split=Split.VALIDATION)
    assert (found.S, found.error_bound, found.C_bound) == (None, None, None)
    assert found.error != read(two()).error
    assert read(two(), split=Split.CONTROL) is None


def test_there_is_no_bound_where_a_prediction_depends_on_other_numbers():
    assert is_given(two(), STILL)
    assert not is_given(two("classifier"), STILL)
    assert not is_given(two("decoder"), STILL)
    assert not is_given(two(), PathSizes(source=N, target=N))
    beside = two()
    beside.scale = nn.Parameter(torch.ones(()))
    assert not is_given(beside, STILL)
    known = two()
    known.register_buffer("mean", torch.zeros(FEATURES))
    assert not is_given(known, STILL)


@pytest.mark.parametrize("options", [{"marginal": "mixture"}, {"likelihood": "gaussian-learnt"}, {}])
def test_what_predicts_nothing_may_be_learnt(options):
    def new(**others):
        config = ModelConfig(hidden=8, latent=2, posterior="all", **options | others)
        return build(config, input_shape=(6,), classes=3)

    assert is_given(new(), STILL)
    assert not is_given(new(task="regression"), STILL)


def test_judging_reads_single_draws_and_counts_them():
    """A draw of an example is half a forward pass, which encodes, and a pass through the classifier."""
    config = configure(
        threads=1,
        data={"name": "digits"},
        model={"hidden": 16, "latent": 4, "posterior": "all"},
        measure={"head_draws": 16},
        sigma=1e-3,
    )
    data = load(config.data)
    backend = InlineBackend(config, data)
    new = build(config.model, input_shape=(64,), classes=10)
    replica = Replica(name="centre", point=Point(lam=1.0, gamma=1.0), weights=weights_of(new))
    key = StepKey(trajectory="a", seed=0, step=1, attempt=0)
    request = MeasureRequest(key=key, replicas=(replica,), splits=(Split.VALIDATION,), purpose="test")
    before, after = backend.measure(request), backend.measure(dataclasses.replace(request, certify=True))
    (found,) = after.readings
    assert before.readings[0].gibbs is None
    assert 0.5 < found.gibbs.error < 1.0
    n = len(data.validation.y)
    head = head_share(new, torch.zeros(1, 64))
    assert after.examples - before.examples == pytest.approx(n * math.ceil(120_000 / n) * (0.5 + head) / 3.0)
    (train,) = backend.measure(dataclasses.replace(request, splits=(Split.TRAIN,), certify=True)).readings
    record = step_record(
        key,
        Observed(tested=(train, found)),
        kind=Kind.STEP,
        leg=Leg.THERE,
        process="iso-classification",
        point=replica.point,
        outcome=Outcome.OK,
        accepted=True,
        reason=None,
        next_step_length=None,
        examples=1.0,
    )
    assert record.gibbs_S == pytest.approx(sum(information(new, part).item() for part in ("encoder", "classifier")), rel=1e-5)
    assert (record.gibbs_error_bound, record.gibbs_C_bound) == (train.gibbs.error_bound, train.gibbs.C_bound)
    assert (record.gibbs_error, record.val_gibbs_error) == (train.gibbs.error, found.gibbs.error)
    assert (record.val_gibbs_error_se, record.val_gibbs_C_se) == (found.gibbs.error_se, found.gibbs.C_se)
