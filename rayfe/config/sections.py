"""What a run's configuration is made of: data, path, model, training, measuring. Frozen, keyword-only, checked when built."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from rayfe.config.checks import EPOCHS, FRACTION, OWN, POSITIVE, SOME_EPOCHS, Checked, Needs, Range, With, at_least, require

TRANSFERS = ("geodesic", "constant-rate")
"""Processes that move the data."""
UNHELD = ("fixed-gamma", "conditioned")
"""Processes that hold nothing."""
LOSSES = "iso-losses"
"""The process that holds each of several losses."""
PROCESSES = ("iso-classification", LOSSES, "iso-functional", "weight-information", "fixed-gamma", *TRANSFERS)
MOST_LATENT = 30_000
"""500 rows of as many numbers, as one file of a table has, can be read again (`data.parquet_file`)."""
WIDEST = 65_536
"""Most units of a layer."""
MANY_DRAWS = 65_536
"""Most draws of z for each example."""
BELOW_1 = Range(least=0.0, most=math.nextafter(1.0, 0.0), text="must be at least 0 and below 1")
ON_THE_WAY = With("method", None)
"""What baselines do not read: they train on both data sets themselves, and never blend or couple them."""
COUPLED = With("path.kind", "displacement")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Checked):
    """Which examples."""

    part = "data."

    name: str = "mnist"
    """mnist, fashion-mnist, cifar10, digits, gaussian or npz:PATH; classes after a colon: mnist:0-4, cifar10:airplane,ship. The surface
    of gaussian is known. digits-turned has numbers, for regression, digits-labels three labels, for multi-label."""
    root: str | None = None
    """Folder of the files of fashion-mnist or cifar10; else downloaded."""
    train_size: Annotated[int | None, at_least(2)] = None
    """Use only this many training images, drawn at random, equally many of each class (for trials); all without it."""


@dataclass(frozen=True, kw_only=True)
class PathConfig(Checked):
    """The data path p(x, t) of a transfer, from the data set of `data` at t = 0 to `target` at t = 1."""

    part = "path."

    target: str | None = None
    """Target data set, named as data.name is; jobs/isoc.py has none."""
    kind: Annotated[Literal["mixture", "displacement"], ON_THE_WAY] = "mixture"
    """mixture: source with weight 1 - t, target with weight t (23); displacement: along an optimal transport (37)."""
    pairing: str = "none"
    """Outputs of the classifier: none (one per class name of both data sets), order, cost (least transport cost between
    classes), or a map of class names such as airplane:bird,ship:cat."""
    cost: Annotated[str, ON_THE_WAY, COUPLED] = "squared-l2"
    """squared-l2 between pixels, or package.module:function of two arrays (n, features), (m, features) -> (n, m)."""
    regularization: Annotated[float | None, POSITIVE, ON_THE_WAY, COUPLED] = None
    """Entropic regularisation of a displacement's coupling (36), as a fraction of the mean cost, e.g. 0.05: pairs are drawn from the
    entropic plan, as in the paper. None: the coupling of least cost."""
    within_pairs: Annotated[bool, ON_THE_WAY, COUPLED] = False
    """Couple only examples of paired classes: their labels stay hard along a displacement. Soft labels between two outputs
    have an entropy of up to log 2, below which C cannot be held."""
    last_epochs: Annotated[float, EPOCHS, ON_THE_WAY] = 0.0
    """Epochs of a last training at t = 1, annealed as that of the first equilibrium, after which what is held is settled once
    more: what steps lag behind the surface is made good where it matters most. 0: none."""

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        require(
            not (self.within_pairs and self.pairing == "none"),
            "path.within_pairs",
            self.within_pairs,
            "needs paired classes, give ``path.pairing`` order, cost or a map",
        )


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Checked):
    """Encoder, decoder and classifier."""

    part = "model."

    name: str = "mlp"
    """mlp, resnet, linear (for --data.name gaussian), or package.module:Class of a model that meets the protocol in
    rayfe/model/protocol.py."""
    hidden: Annotated[int, at_least(1, WIDEST), With("model.name", "mlp", OWN)] = 256
    """Units of the hidden layer of encoder and decoder (mlp)."""
    width: Annotated[int, at_least(1, WIDEST), With("model.name", "resnet", OWN)] = 64
    """Channels of the first stage of resnet; 64 is ResNet-18."""
    likelihood: str = "gaussian"
    """d(x|z), whose -log is D. gaussian: the squared error (variance 1/2, without its constant). In nats: gaussian-learnt and laplace,
    whose scale is learnt; bernoulli for pixels that are 0 or 1; discretised-logistic for 256 levels. Or package.module:Class."""
    latent: Annotated[int, at_least(1, MOST_LATENT)] = 16
    """Dimensions of the representation z."""
    classifier_hidden: Annotated[int, at_least(0, WIDEST)] = 12
    """Hidden units of the classifier; 0: a single linear layer (the paper says both)."""
    dropout: Annotated[float, BELOW_1, With("model.name", "mlp", OWN)] = 0.0
    """Share of hidden units that training drops in encoder and decoder (mlp)."""
    marginal: str = "standard"
    """What R is relative to: standard, N(0, I), or learnt: gaussian, mixture, vamp (VampPrior), flow (needs rayfe[flow]), or
    package.module:Class of a subclass of rayfe.model.marginal.Marginal."""
    task: str = "classification"
    """What z is to tell: classification, regression (of numbers, with trained variances), multi-label (labels of 0 and 1), or
    package.module:Class of your own (rayfe/model/task.py). C is its loss, nats."""
    posterior: Literal["none", "classifier", "decoder", "all"] = "none"
    """Whose weights are random, independent Gaussians: those of the classifier, of the decoder, or of all three parts. S is what they
    know of the data, in nats, and ``sigma`` its multiplier."""


@dataclass(frozen=True, kw_only=True)
class EquilibrationConfig(Checked):
    """How weights are brought to equilibrium at fixed (lam, gamma)."""

    part = "equilibration."

    first_epochs: Annotated[float, EPOCHS] = 120.0
    """Epochs of the first equilibrium. With 0 a state dict that `start` gives is read as it is."""
    first_schedule: Literal["step", "linear"] = "step"
    """Decay of the first equilibrium's learning rate: /10 after every 5/12 of the epochs (sec. 5.1), or linear to 0."""
    first_learning_rate: Annotated[float, POSITIVE] = 1e-3
    """Initial learning rate of the first equilibrium."""
    epochs: Annotated[float, SOME_EPOCHS] = 2.0
    """Epochs of one equilibration of the walk, T updates. An epoch has as many examples as the data, of a mixture as the
    larger of source and target."""
    schedule: Literal["paper", "average"] = "paper"
    """Learning rate of the walk's equilibrations: paper: u^2 (1-u)^5, u = update / T (sec. 5.1). average: constant; the
    result is the mean of the weights over the last three quarters of the updates."""
    learning_rate: Annotated[float, POSITIVE] = 1.5e-3
    """Maximum of the walk's schedule."""
    optimizer: Literal["adam", "soap"] = "adam"
    """adam, or soap: Adam in the eigenbasis of each matrix's gradients, on its smaller side. The basis is carried along."""
    batch: Annotated[int, at_least(2)] = 256
    """Examples in a mini-batch."""
    first_batch: Annotated[int | None, at_least(2)] = None
    """The same in trainings that are annealed to 0, of first equilibria, renewals and baselines: far from equilibrium many
    noisy updates are worth more than few exact ones. None: as `batch`."""
    second_moment_decay: Annotated[float, FRACTION] = 0.99
    """beta_2 of the optimizer; the paper's Adam has 0.999."""
    compile: Literal["auto", "always", "never", "onednn", "update", "bf16"] = "auto"
    """How an update is computed. never: operation by operation. onednn: the same with matrix products by oneDNN, on a CPU where it
    is as accurate as float32. update: the whole update compiled by torch.compile, half a minute once on a machine. always: both.
    auto: as the run began, which is what pays there. Rows differ by rounding. bf16: always, and the large products of an update
    are of bfloat16 numbers."""

    @property
    def compiled(self) -> bool:
        """Whether updates are compiled; not where `compile` is still left to the machine."""
        return self.compile in ("always", "update", "bf16")

    @property
    def by_onednn(self) -> bool:
        """Whether products of matrices are oneDNN's; not where `compile` is still left to the machine."""
        return self.compile in ("always", "onednn", "bf16")

    @property
    def rounds(self) -> bool:
        """Whether large products of compiled updates are of bfloat16 numbers."""
        return self.compile == "bf16"

    @property
    def largest_batch(self) -> int:
        """Examples in the larger of the two kinds of mini-batches."""
        return max(self.batch, self.first_batch or self.batch)

    def batch_of(self, *, annealed: bool) -> int:
        """Examples in a mini-batch of a training that is annealed to 0, or of a step of the walk."""
        return self.first_batch if annealed and self.first_batch is not None else self.batch


@dataclass(frozen=True, kw_only=True)
class RenewalConfig(Checked):
    """Attempts to leave a branch of the surface that is no longer the lowest, at fixed lam.

    A representation that the start compressed into few dimensions of z does not take up new ones when lam grows, though
    its free energy would be lower with them: unused dimensions have almost no gradient.
    """

    part = "renewal."

    every: Annotated[float | None, POSITIVE, Needs("process", "iso-classification")] = None
    """Distance in log lam between attempts; none without it."""
    leap: Annotated[int, at_least(0), Needs("both_ways"), Needs("renewal.every")] = 0
    """So many renewals one after the other, at lam in equal ratios, take a walk that will come back to lam_end where its first
    renewal would be due, with nothing in between. 0: it walks there."""


@dataclass(frozen=True, kw_only=True)
class MeasureConfig(Checked):
    """How functionals are measured."""

    part = "measure."

    head_draws: Annotated[int, at_least(8, MANY_DRAWS)] = 128
    """Draws of z per example through the classifier in antithetic pairs, half of them per independent set."""
    statistics_size: Annotated[int | None, at_least(2), With("model.name", "mlp", "resnet", OWN)] = None
    """Training images of each data set whose statistics batch-norm layers have when read, drawn at random by class; all without it."""
    response_size: Annotated[int | None, at_least(2)] = None
    """Training images of each data set, drawn at random by class, on which neighbours are read for the response and F_t, and by which a
    settle searches between its readings of all; all without it."""

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        fix = "must be a multiple of 4, at least 8"
        require(self.head_draws % 4 == 0, "measure.head_draws", self.head_draws, fix)


@dataclass(frozen=True, kw_only=True)
class StencilConfig(Checked):
    """Where the neighbours of a point lie (finite differences of sec. 3.1), and how far their chart is trusted."""

    part = "neighbours."

    gamma_delta: Annotated[float, FRACTION] = 0.1
    """Distance of the gamma neighbours, as a fraction of gamma."""

    @property
    def lam_delta(self) -> float:
        """Distance of the lam neighbours of stencil paper, as a fraction of lam."""
        return min(self.gamma_delta, 0.15)

    @property
    def reach(self) -> float:
        """How far a settle may move along the neighbours' tangents, in their distances; beyond it the model is trained again."""
        return min(2.0, 0.3 / self.gamma_delta)
