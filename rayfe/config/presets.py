"""Named experiments: one function per preset, returning the whole configuration of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

from rayfe.config import (
    DataConfig,
    EquilibrationConfig,
    MeasureConfig,
    ModelConfig,
    RenewalConfig,
    RunConfig,
    StencilConfig,
    configure,
)
from rayfe.config.transfer_presets import BASELINES, NARROW_RESNET, PAPER, RESNET, SMALL, TRANSFERS


def mnist_quick() -> RunConfig:
    """The line of Fig. 2's first start on all of MNIST, within minutes on a laptop, from its other end: from lam = 1.19 down to 0.25.

    On the way down steps lag with too many nats in z, on the way up with too few, which costs more (docs/results.md).
    """
    return configure(
        lam=(1.19,),
        gamma=(3.2,),
        lam_end=0.25,
        step_length=0.1951,  # eight steps
        neighbours=StencilConfig(gamma_delta=0.2),
        measure=dataclasses.replace(READ, head_draws=128),
        equilibration=dataclasses.replace(NEAR, first_epochs=26, first_batch=256, epochs=1.5, learning_rate=1.8e-2),
    )


def mnist_walk() -> RunConfig:
    """Two starts of Fig. 2 by a leap to lam = 7.7, six steps beyond 3.5, back and there again, near equilibrium.

    The leap lands with too little rate, which the first steps back make good: they are beyond Fig. 2. 2e-4 nats of C are 0.02 % of F
    at gamma = 15, where the start's C is so small that the draws of z are 0.2 % of it.
    """
    return configure(
        gamma=(4.0, 15.0),
        lam_end=7.7,
        both_ways=True,
        tolerance_floor=2e-4,
        measure=dataclasses.replace(READ, head_draws=256),
        renewal=RenewalConfig(every=0.9, leap=4),
        equilibration=dataclasses.replace(NEAR, first_epochs=60, first_batch=256, epochs=4, batch=1024, learning_rate=6e-3),
    )


def digits_smoke() -> RunConfig:
    """Scikit-learn's digits: a walk of six steps within a minute. So little data is over-fitted, and says so."""
    return configure(
        lam=(1.0,),
        steps=6,
        tolerance=0.02,
        threads=1,
        data=DataConfig(name="digits"),
        model=ModelConfig(hidden=64, latent=8),
        measure=MeasureConfig(head_draws=256),
        equilibration=EquilibrationConfig(
            first_epochs=80, first_schedule="linear", first_learning_rate=1e-2, epochs=25, learning_rate=5e-3, batch=128
        ),
    )


def digits_marginal() -> RunConfig:
    """digits-smoke in short, with a learnt mixture of Gaussians as the marginal of z, to which the rate is relative."""
    return configure(digits_smoke(), steps=3, model=ModelConfig(hidden=64, latent=8, marginal="mixture"))


def digits_nats() -> RunConfig:
    """Digits with a likelihood of 256 levels: D is nats of a probability, and the walk ends at lam = 1, where R + lam D is that of a
    lossless code. Within a minute."""
    return configure(
        digits_smoke(),
        lam=(0.5,),
        gamma=(20.0,),
        lam_end=1.0,
        model=ModelConfig(hidden=64, latent=8, likelihood="discretised-logistic"),
    )


def digits_turned() -> RunConfig:
    """Digits turned and moved at random: a walk at constant loss of regression, within a minute."""
    return configure(
        digits_smoke(),
        data=DataConfig(name="digits-turned"),
        model=ModelConfig(hidden=64, latent=8, task="regression"),
        lam=(4.0,),
        lam_end=30.0,
        equilibration={"first_epochs": 30, "epochs": 8},
    )


def digits_weights() -> RunConfig:
    """Digits with random weights of the classifier: sigma rises a hundredfold at constant C, and the weights know less and less. Within
    a minute."""
    return configure(
        digits_smoke(),
        process="weight-information",
        model=ModelConfig(hidden=64, latent=8, posterior="classifier"),
        sigma=1e-4,
        sigma_end=1e-2,
        step_length=0.576,  # eight steps
        steps=100,
    )


def gaussian_exact() -> RunConfig:
    """Gaussian classes and a linear model, whose surface is known: from 1.3 nats to all 16 dimensions of z (docs/exact.md)."""
    return configure(
        lam=(0.6,),
        gamma=(3.0,),
        lam_end=25.0,
        threads=1,
        data=DataConfig(name="gaussian"),
        model=ModelConfig(name="linear", latent=16, classifier_hidden=0),
        measure=MeasureConfig(head_draws=256),
        equilibration=EquilibrationConfig(
            first_epochs=100,
            first_schedule="linear",
            first_learning_rate=1e-2,
            epochs=40,
            schedule="average",
            learning_rate=3e-3,
            optimizer="soap",
            batch=1000,
        ),
    )


def fig2() -> RunConfig:
    """Fig. 2: five starts on MNIST, with the paper's model and epochs (sec. 5.1)."""
    return configure(
        gamma=(4.0, 6.0, 8.0, 10.0, 15.0),
        equilibration=EquilibrationConfig(
            first_epochs=120,
            first_schedule="step",
            first_learning_rate=1e-3,
            learning_rate=1.5e-3,
            batch=256,
            second_moment_decay=0.999,
        ),
    )


def fig3() -> RunConfig:
    """Fig. 3: four starts on CIFAR-10 with a ResNet-18 encoder (App. A)."""
    return configure(
        lam=(0.5,),
        gamma=(5.0, 10.0, 15.0, 20.0),
        lam_end=1.25,
        data=DataConfig(name="cifar10"),
        model=RESNET,
        equilibration=PAPER,
    )


def fig3_quick() -> RunConfig:
    """Fig. 3 in small: one start, a narrow network, a tenth of CIFAR-10."""
    return configure(
        lam=(0.5,),
        gamma=(10.0,),
        lam_end=1.25,
        steps=6,
        tolerance=0.02,
        data=DataConfig(name="cifar10", train_size=5000),
        model=NARROW_RESNET,
        equilibration=SMALL,
    )


def mnist_box() -> RunConfig:
    """All of MNIST, over the box of lam 0.25 to 5 and gamma 1 to 16."""
    return configure(
        process="conditioned",
        lam=(0.25, 0.68, 1.84, 5.0),
        gamma=(1.0, 4.0, 16.0),
        measure=dataclasses.replace(READ, head_draws=64),
        equilibration=dataclasses.replace(NEAR, first_epochs=40, first_batch=256, epochs=1.5),
    )


def digits_box() -> RunConfig:
    """Scikit-learn's digits, over the box of lam 0.5 to 4 and gamma 2 to 8."""
    return configure(
        digits_smoke(),
        process="conditioned",
        lam=(0.5, 1.0, 2.0, 4.0),
        gamma=(2.0, 4.0, 8.0),
        steps=100,
        equilibration={"first_epochs": 200, "optimizer": "soap"},
    )


NEAR = EquilibrationConfig(
    first_schedule="linear",
    first_learning_rate=1.5e-2,
    schedule="average",
    learning_rate=1.2e-2,
    optimizer="soap",
    batch=512,
)
"""What is nearest to equilibrium for its examples on all of MNIST (docs/notebook.md)."""
READ = MeasureConfig(statistics_size=20_000, response_size=10_000)
"""Of 60,000 images batch-norm's statistics need a third (F is 0.02 % higher so) and a response a sixth."""
CONDITIONED = MappingProxyType({"mnist-quick": mnist_box, "digits-smoke": digits_box})
"""Settings of conditioned models: the box, and epochs for all of it."""
PRESETS: Mapping[str, Mapping[str, Callable[[], RunConfig]]] = MappingProxyType(
    {
        "isoc": MappingProxyType(
            {
                "mnist-quick": mnist_quick,
                "mnist-walk": mnist_walk,
                "digits-smoke": digits_smoke,
                "digits-marginal": digits_marginal,
                "digits-nats": digits_nats,
                "digits-turned": digits_turned,
                "digits-weights": digits_weights,
                "gaussian-exact": gaussian_exact,
                "fig2": fig2,
                "fig3": fig3,
                "fig3-quick": fig3_quick,
            }
        ),
        "transfer": TRANSFERS,
        "conditioned": CONDITIONED,
        "baseline": BASELINES,
    }
)
"""Presets by job; the first one is the job's default."""

OTHER_JOB: Mapping[str, str] = MappingProxyType(
    {name: job for job, presets in reversed(list(PRESETS.items())) for name in presets}
)
"""The job to which a preset belongs, to send a user there; a transfer's rather than a baseline's."""
