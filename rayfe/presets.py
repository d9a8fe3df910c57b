"""Named experiments: one function per preset, returning the whole configuration of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from rayfe.config import DataConfig, EquilibrationConfig, MeasureConfig, ModelConfig, RunConfig


def mnist_quick() -> RunConfig:
    """The first start of Fig. 2 on all of MNIST, within minutes on a laptop: fewer epochs at larger learning rates."""
    return RunConfig(
        steps=12,
        measure=MeasureConfig(head_draws=64),
        equilibration=EquilibrationConfig(
            first_epochs=12, first_schedule="linear", first_learning_rate=1.5e-2, epochs=2, learning_rate=8e-3, batch=512
        ),
    )


def mnist_walk() -> RunConfig:
    """Two starts of Fig. 2 up to lam = 3.5, near equilibrium: more epochs, at the start and at every step."""
    return RunConfig(
        gamma=(4.0, 15.0),
        equilibration=EquilibrationConfig(
            first_epochs=60, first_schedule="linear", first_learning_rate=1.5e-2, epochs=5, learning_rate=8e-3, batch=512
        ),
    )


def digits_smoke() -> RunConfig:
    """Scikit-learn's digits: a walk of six steps within a minute. So little data is over-fitted, and says so."""
    return RunConfig(
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


def fig2() -> RunConfig:
    """Fig. 2: five starts on MNIST, with the paper's model and epochs (sec. 5.1)."""
    return RunConfig(
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


PRESETS: Mapping[str, Mapping[str, Callable[[], RunConfig]]] = MappingProxyType(
    {
        "isoc": MappingProxyType(
            {"mnist-quick": mnist_quick, "mnist-walk": mnist_walk, "digits-smoke": digits_smoke, "fig2": fig2}
        )
    }
)
"""Presets by job; the first one is the job's default."""

OTHER_JOB: Mapping[str, str] = MappingProxyType(
    {name: job for job, presets in PRESETS.items() for name in presets}
    | dict.fromkeys(("fig5-quick", "fig5", "fig6-quick", "fig6"), "transfer")
)
"""The job to which a preset belongs, to send a user there."""
