"""rayfe's own walk taken apart: variants that each add one thing to the one before, as further methods of the benchmark."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType

from rayfe.config import ImplicitConfig, RunConfig, UsageError


def _bare(base: RunConfig) -> RunConfig:
    """One draw of z, no antithetic pair, a cold Adam with the paper's decay, T fixed, no renewal."""
    equilibration = dataclasses.replace(
        base.equilibration,
        head_draws=1,
        decoder_draws=1,
        optimizer="adam",
        second_moment_decay=0.999,
        carry_preconditioner=False,
    )
    renewal = dataclasses.replace(base.renewal, every=None)
    return dataclasses.replace(base, equilibration=equilibration, renewal=renewal)


def paper_scheme(base: RunConfig) -> RunConfig:
    """(a) Four neighbours at every step, central differences, Euler, fixed T."""
    bare = _bare(base)
    equilibration = dataclasses.replace(bare.equilibration, epochs=0.4 * bare.equilibration.epochs)
    return dataclasses.replace(bare, equilibration=equilibration, stencil="paper", refresh=1, predictor=False, settle=False)


def one_replica(base: RunConfig) -> RunConfig:
    """(b) One replica a step, gamma neighbours at every fifth, predictor and settle."""
    return _bare(base)


def head_draws(base: RunConfig) -> RunConfig:
    """(c) And eight draws of z through the classifier."""
    bare = one_replica(base)
    return dataclasses.replace(bare, equilibration=dataclasses.replace(bare.equilibration, head_draws=8))


def antithetic(base: RunConfig) -> RunConfig:
    """(c') And an antithetic pair through the decoder."""
    before = head_draws(base)
    return dataclasses.replace(before, equilibration=dataclasses.replace(before.equilibration, decoder_draws=2))


def carried(base: RunConfig) -> RunConfig:
    """(d) As (c), and Adam's second moments carried along the walk, with a shorter memory."""
    before = head_draws(base)
    equilibration = dataclasses.replace(before.equilibration, carry_preconditioner=True, second_moment_decay=0.99)
    return dataclasses.replace(before, equilibration=equilibration)


def soap(base: RunConfig) -> RunConfig:
    """(f) And SOAP; (e), averages of late iterates at a constant rate, is `carried` with the schedule of its settings."""
    before = carried(base)
    return dataclasses.replace(before, equilibration=dataclasses.replace(before.equilibration, optimizer="soap"))


def adaptive(base: RunConfig) -> RunConfig:
    """(g) And as many rounds of training as a tolerance of equilibrium needs: only its stored rows are left."""
    raise UsageError(
        "method", "variant-g", "needs a tolerance of equilibrium, which is no option any more; its stored rows are drawn"
    )


def implicit(base: RunConfig) -> RunConfig:
    """(h) As (f), and tangents and response from Hessian-vector products instead of neighbours."""
    solve = ImplicitConfig(examples=6000, iterations=20)
    return dataclasses.replace(soap(base), derivatives="implicit", implicit=solve)


VARIANTS: Mapping[str, Callable[[RunConfig], RunConfig]] = MappingProxyType(
    {
        "variant-a": paper_scheme,
        "variant-b": one_replica,
        "variant-c": head_draws,
        "variant-c2": antithetic,
        "variant-d": carried,
        "variant-e": carried,
        "variant-f": soap,
        "variant-g": adaptive,
        "variant-h": implicit,
    }
)
"""Configurations by method, derived from the walk's with the method's settings; all of it and renewal is method rayfe."""
VARIANT_LABELS: Mapping[str, str] = MappingProxyType(
    {
        "variant-a": "(a) paper's stencil, fixed T",
        "variant-b": "(b) one replica, predictor, settle",
        "variant-c": "(c) and 8 draws of z through the head",
        "variant-c2": "(c') and antithetic pairs",
        "variant-d": "(d) = (c) and carried second moments",
        "variant-e": "(e) and averages of late iterates",
        "variant-f": "(f) and SOAP",
        "variant-g": "(g) and adaptive budget",
        "variant-h": "(h) = (f) by implicit tangents",
    }
)
