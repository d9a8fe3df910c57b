"""Whether a marginal is a density of z that a model can be trained against."""

from __future__ import annotations

import math
from typing import Any

import torch

from rayfe.exceptions import UsageError
from rayfe.model.marginal import encoded, log_gaussian, marginal_of
from rayfe.model.objective import rate_of
from rayfe.model.parts import on_trial
from rayfe.model.protocol_checks import close

FEW = 2
"""Draws of a new marginal."""
DRAWS = 4096
"""Draws of N(0, I) by which the mass of a new marginal is taken."""
SURE, MASS = 5.0, 1.1
"""Standard errors, and a mass, that show one above 1."""


def check_marginal(model: Any, name: str, x: torch.Tensor) -> None:
    """Look at the marginal of a new model, before any training; x (N, *input_shape) says type and device.

    Raises:
        UsageError: model.marginal; its log-densities have another shape, are not finite or have no gradient, or are those of no
            density: their integral is above 1. Or another method of it fails, or gives what it should not.
    """

    def refuse(fix: str) -> None:
        raise UsageError("model.marginal", name, fix)

    z = torch.randn(2, DRAWS // 2, model.latent, generator=torch.Generator().manual_seed(0)).to(x).requires_grad_()
    with on_trial("marginal", name):
        marginal = marginal_of(model.eval())
        logs = marginal.log_density(z)
    shape = tuple(z.shape)
    if not isinstance(logs, torch.Tensor) or logs.shape != z.shape[:2] or logs.dtype != z.dtype:
        refuse(f"log_density must return a tensor {shape[:2]} of {z.dtype} for z of shape {shape}")
    if not torch.isfinite(logs).all():
        refuse("log_density returns values that are not finite for z ~ N(0, I); m(z) must be positive everywhere")
    if not logs.requires_grad or torch.autograd.grad(logs.sum(), z, allow_unused=True)[0] is None:
        refuse("log_density has no gradient in z; compute it by torch without detach()")
    with torch.no_grad():
        weights = (logs - log_gaussian(z, None)).double().exp()
        mass, off = float(weights.mean()), float(weights.std()) / math.sqrt(DRAWS)
    if not mass - SURE * off <= MASS:
        fix = "normalise it, by an invertible map where it is a flow"
        refuse(f"log_density is not that of a density: its integral is {mass:.3g}, not 1; {fix}")
    with torch.no_grad(), on_trial("marginal", name):
        mean, log_variance, seen = encoded(model, x)
        R = rate_of(seen, mean, log_variance, mean[None])
        drawn = marginal.draw(z[0, :FEW], torch.Generator(z.device))
        gain = marginal.gain(z)
    if R.shape != (len(x),) or drawn is not None and drawn.shape != z[0, :FEW].shape:
        refuse("moments, inputs or draw give tensors of other shapes than `rayfe.model.marginal.Marginal` says")
    if marginal.closed and not close(gain, torch.zeros_like(gain)):
        refuse("log_density is not that of the Gaussian of its moments; leave `closed` False")
