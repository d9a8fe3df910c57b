"""Presets of transfers, and of the baselines that train on the target instead."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import MappingProxyType

from rayfe.config import (
    DataConfig,
    EquilibrationConfig,
    MeasureConfig,
    ModelConfig,
    PathConfig,
    RunConfig,
    StencilConfig,
    configure,
)

PAPER = EquilibrationConfig(first_epochs=120, first_schedule="step", second_moment_decay=0.999)
"""The paper's first equilibrium and walk (sec. 5.1)."""
RESNET = ModelConfig(name="resnet", width=64, latent=64, classifier_hidden=0)
NARROW_RESNET = ModelConfig(name="resnet", width=8, latent=16, classifier_hidden=0)
SMALL = EquilibrationConfig(
    first_epochs=20, first_schedule="linear", first_learning_rate=5e-3, epochs=3, learning_rate=3e-3, batch=128
)
"""Epochs and rates for a few thousand images."""
TRANSFER_MLP = ModelConfig(hidden=400, latent=64, classifier_hidden=0, dropout=0.1)


def fig5() -> RunConfig:
    """Fig. 5: MNIST 0-4 to 5-9 along a geodesic, with the paper's model and epochs (App. A)."""
    return configure(
        lam=(2.0,),
        gamma=(8.0,),
        process="geodesic",
        stencil="paper",
        step_length=0.04,
        step_length_first=1e-3,
        tolerance=0.01,
        data=DataConfig(name="mnist:0-4"),
        path=PathConfig(target="mnist:5-9"),
        model=TRANSFER_MLP,
        equilibration=dataclasses.replace(PAPER, first_epochs=300.0),
    )


def fig5_quick() -> RunConfig:
    """Fig. 5 on a laptop: fewer epochs at larger learning rates, longer steps, and a last training for their lag.

    After 12 epochs the ends still move by 0.5 nats of a line of 0.7, which leaves k open; after 40 by 0.07 of 1.1.
    """
    return configure(
        fig5(),
        path=PathConfig(target="mnist:5-9", last_epochs=20),
        step_length=0.15,
        tolerance=0.02,
        refresh=5,
        neighbours=StencilConfig(gamma_delta=0.3),
        measure=MeasureConfig(head_draws=32, response_size=6000),
        equilibration=EquilibrationConfig(
            first_epochs=40, first_schedule="linear", first_learning_rate=1e-2, epochs=4, learning_rate=6e-3, batch=512
        ),
    )


def fig6() -> RunConfig:
    """Fig. 6: CIFAR-10 vehicles to four animals at constant lam_dot, with the paper's model and epochs (App. G)."""
    return configure(
        lam=(4.0,),
        gamma=(100.0,),
        process="constant-rate",
        lam_dot=-1.5,
        step_length=0.05,
        step_length_first=0.01,
        tolerance=0.02,
        data=DataConfig(name="cifar10:airplane,automobile,ship,truck"),
        path=PathConfig(target="cifar10:bird,cat,deer,dog", kind="displacement", pairing="order", within_pairs=True),
        model=RESNET,
        equilibration=dataclasses.replace(PAPER, first_epochs=300.0),
    )


def fig6_quick() -> RunConfig:
    """Fig. 6 in small: a narrow network, 1,000 images a class, and a gamma at which so few are not learnt by heart."""
    return configure(
        fig6(),
        gamma=(30.0,),
        step_length=0.15,
        tolerance=0.03,
        data=DataConfig(name="cifar10:airplane,automobile,ship,truck", train_size=4000),
        model=NARROW_RESNET,
        neighbours=StencilConfig(gamma_delta=0.3),
        equilibration=dataclasses.replace(SMALL, first_epochs=40, epochs=4, batch=64),
    )


def baseline(preset: Callable[[], RunConfig], epochs: float) -> Callable[[], RunConfig]:
    """A transfer preset as the baseline's: the same data, model and start, trained on the target instead."""

    def build() -> RunConfig:
        return configure(preset(), method="finetune", method_epochs=epochs)

    build.__doc__ = preset.__doc__
    return build


TRANSFERS = MappingProxyType({"fig5-quick": fig5_quick, "fig5": fig5, "fig6": fig6, "fig6-quick": fig6_quick})
EPOCHS = MappingProxyType({"fig5-quick": 20.0, "fig5": 300.0, "fig6": 300.0, "fig6-quick": 60.0})
"""Of a transfer's baseline."""
BASELINES = MappingProxyType({name: baseline(TRANSFERS[name], epochs) for name, epochs in EPOCHS.items()})
