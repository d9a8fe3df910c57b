"""What a data set may know of its own equilibrium surface."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType
from typing import Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from rayfe.config import ModelConfig, RunConfig
from rayfe.data.examples import Dataset
from rayfe.data.paths import examples_of
from rayfe.records import Split
from rayfe.records.columns import ExactSurface
from rayfe.surface.linear_gaussian import LinearGaussian
from rayfe.surface.water_filling import WaterFilling

MIXTURE = MappingProxyType({"standard": False, "gaussian": False, "mixture": True})
"""Marginals under which the surface of linear models is known, by name: whether it is that of a mixture of the classes."""
FEWEST = 10
"""Training examples for each feature that a truth needs."""


class Truth(Protocol):
    """The exact surface of a run's training examples and its family of models.

    A pure function of the configuration: a row that comes again has the same bytes.
    """

    def at(self, lam: float, gamma: float, C: float | None) -> ExactSurface | None:
        """F, R and D at the multipliers, and C where gamma is not 0; where a loss `C` is held, also the surface at this lam and C.
        None: it is not known there."""


class LinearTruth:
    """Of linear models: `surface.linear_gaussian`, and without labels reverse water-filling. With a mixture as marginal
    nothing is known at gamma of at most 1."""

    def __init__(self, x: np.ndarray, y: np.ndarray, *, latent: int, mixture: bool = False) -> None:
        self._mixture = mixture
        with threadpool_limits(1, user_api="blas"):
            self._surface = LinearGaussian(x, y, latent=latent, mixture=mixture)
        self._unlabelled = WaterFilling(spectrum=self._surface.spectrum, latent=latent)

    def at(self, lam: float, gamma: float, C: float | None) -> ExactSurface | None:
        """See `Truth`."""
        if self._mixture and not self._surface.contains(gamma):
            return None
        if gamma == 0.0:
            water = self._unlabelled
            return ExactSurface(exact_F=water.F(lam), exact_R=water.R(lam), exact_D=water.D(lam))
        with threadpool_limits(1, user_api="blas"):  # last digits depend on the threads that a process happens to have
            here = self._surface.at(lam, gamma)
            found = ExactSurface(exact_F=here.F, exact_R=here.R, exact_D=here.D, exact_C=here.C)
            if C is None:
                return found
            try:
                at_C, held = self._surface.at_loss(lam, C, near=gamma)
            except ValueError:  # the walk holds a loss that the exact surface does not have at this lam: the columns stay null
                return found
        return dataclasses.replace(found, exact_held_gamma=at_C, exact_held_R=held.R, exact_held_D=held.D)


def linear_truth(config: RunConfig, dataset: Dataset) -> Truth | None:
    """The truth of linear models on a data set that stays; None for other models, also of random weights, for transfers and baselines,
    and for so few examples that their covariance is hardly regular."""
    model, still = config.model, config.path.target is None and config.method is None
    known = model.name == "linear" and model.marginal in MIXTURE and model.task == ModelConfig().task
    if not still or not known or model.classifier_hidden or model.latent < dataset.classes - 1:
        return None
    if model.likelihood != "gaussian" or model.posterior != "none":
        return None
    examples = examples_of(dataset, Split.TRAIN, config)
    if len(examples.y) < FEWEST * examples.x[0].size:
        return None
    return LinearTruth(examples.x, examples.y, latent=model.latent, mixture=MIXTURE[model.marginal])
