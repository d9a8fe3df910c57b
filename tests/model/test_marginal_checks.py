"""Marginals that are refused, in one line that names the field."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from rayfe.config import ModelConfig, configure
from rayfe.data.examples import Dataset, Examples
from rayfe.data.paths import PathData
from rayfe.exceptions import UsageError
from rayfe.model.marginal import Gaussian, Marginal
from rayfe.model.mlp import MLP
from rayfe.model.protocol import build_checked
from rayfe.run.model_checks import check_model


class Energy(Marginal):
    """Without the constant that makes it a density."""

    def __init__(self, *, latent: int, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(latent))

    def log_density(self, z):
        return -0.5 * (z * self.scale.exp()).square().sum(-1)


class Folded(Energy):
    """A flow without inverse: up to three z go to the same place."""

    def log_density(self, z):
        inner = z * self.scale.exp()
        jacobian = (3.0 * inner.square() - 3.0).abs().log() + self.scale
        return (jacobian - 0.5 * ((inner**3 - 3.0 * inner).square() + np.log(2.0 * np.pi))).sum(-1)


class PerDimension(Energy):
    def log_density(self, z):
        return super().log_density(z)[..., None]


class Detached(Gaussian):
    def log_density(self, z):
        return super().log_density(z).detach()


class Closed(Gaussian):
    def log_density(self, z):
        return super().log_density(z - 0.5)


class Undrawn(Gaussian):
    def draw(self, epsilon, generator):
        return 1 / 0


class OneMoment(Gaussian):
    closed = False

    def moments(self):
        return (self.mean,)

    def log_density(self, z):
        return torch.distributions.Normal(self.mean, 1.0).log_prob(z).sum(-1)


class Elsewhere(Gaussian):
    """Its pseudo-inputs are no examples."""

    def inputs(self):
        return self.mean[None, :3]


class Frozen(Gaussian):
    def moments(self):
        return self.mean.detach(), self.log_variance


class Unbuilt(Gaussian):
    def __init__(self) -> None:
        super().__init__(latent=4, input_shape=())


class WithItsOwn(MLP):
    def __init__(self, **arguments) -> None:
        super().__init__(**arguments)
        self.marginal = Gaussian(latent=self.latent, input_shape=())


class WithAnother(MLP):
    def __init__(self, **arguments) -> None:
        super().__init__(**arguments)
        self.marginal = nn.Linear(2, 2)


def data() -> Dataset:
    rng = np.random.default_rng(0)
    examples = Examples(x=rng.random((20, 6), np.float32), y=np.arange(20) % 2)
    return Dataset(name="test", train=examples, validation=examples, class_names=("a", "b"))


def checked(marginal: str, name: str = "mlp"):
    return build_checked(ModelConfig(name=name, hidden=8, latent=4, marginal=marginal), data())


@pytest.mark.parametrize(
    ("marginal", "says"),
    [
        ("gausian", "give standard, gaussian, mixture, vamp, flow"),
        ("collections:OrderedDict", "expected a subclass of rayfe.model.marginal.Marginal"),
        (f"{__name__}:Unbuilt", r"cannot be built as Class\(latent=..., input_shape=...\)"),
        (f"{__name__}:PerDimension", r"log_density must return a tensor \(2, 2048\)"),
        (f"{__name__}:Detached", "log_density has no gradient in z"),
        (f"{__name__}:Energy", "its integral is 39.5, not 1"),
        (f"{__name__}:Folded", "its integral is .*, not 1; normalise it, by an invertible map"),
        (f"{__name__}:Closed", "not that of the Gaussian of its moments; leave `closed` False"),
        (f"{__name__}:Undrawn", r"fails \(ZeroDivisionError"),
        (f"{__name__}:OneMoment", r"fails \(IndexError"),
        (f"{__name__}:Elsewhere", r"fails \(RuntimeError"),
        (f"{__name__}:Frozen", "depend on marginal.mean, but no gradient arrives there"),
    ],
)
def test_what_is_no_marginal_is_refused(marginal, says):
    config = configure(model={"hidden": 8, "latent": 4, "marginal": marginal}, equilibration={"batch": 5})
    with pytest.raises(UsageError, match=says) as refused:
        check_model(config, PathData(kind="still", source=data()))
    assert refused.value.name == "model.marginal"


def test_a_marginal_of_the_users_own_is_built_and_trained():
    model = checked(f"{__name__}:OwnGaussian")
    assert [name for name, _ in model.named_parameters() if name.startswith("marginal")] == ["marginal.shift"]


class OwnGaussian(Marginal):
    def __init__(self, *, latent: int, input_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(latent))

    def log_density(self, z):
        return torch.distributions.Normal(self.shift, 1.0).log_prob(z).sum(-1)


def test_a_model_may_bring_its_own_but_not_beside_one_that_is_named():
    assert isinstance(checked("standard", f"{__name__}:WithItsOwn").marginal, Gaussian)
    with pytest.raises(UsageError, match="WithItsOwn has a marginal of its own"):
        checked("mixture", f"{__name__}:WithItsOwn")
    with pytest.raises(UsageError, match="model=.*attribute `marginal`"):
        checked("standard", f"{__name__}:WithAnother")


def test_a_flow_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"flow.*: needs the package zuko: pip install 'rayfe\[flow\]'"):
        checked("flow")
