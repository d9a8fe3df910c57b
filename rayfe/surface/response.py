"""Readings of a stencil -> Hess F by central differences, with standard errors from the draws (eqs. 21, 29)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from rayfe.records import Reading, Response


def response_of(readings: Mapping[str, Reading]) -> Response:
    """Response at the centre from training readings by replica name ("gamma+", "gamma-", and "lam+", "lam-" if there).

    C_lam is filled from D_gamma where there is no lam neighbour (Maxwell). Errors are paired: replicas share
    the draws of z, so what they have in common cancels. The error of the training noise is not in them.
    On a data path C_t and D_t are the differences of F_t between neighbours; no neighbour in t is needed.
    """
    up, down = readings["gamma+"], readings["gamma-"]
    width = up.point.gamma - down.point.gamma
    D_gamma = (up.D - down.D) / width
    on_gamma = Response(
        C_lam=D_gamma,
        C_lam_se=_paired_error(up.D_noise, down.D_noise, width),
        C_gamma=(up.C - down.C) / width,
        C_gamma_se=_paired_error(up.C_noise, down.C_noise, width),
        D_gamma=D_gamma,
        size=up.size,
        F_t=readings["centre"].F_t if "centre" in readings else None,
        C_t=_slope_of_F_t(up, down, width),
        S_gamma=_slope_of_S(up, down, width),
    )
    if "lam+" not in readings:
        return on_gamma
    up, down = readings["lam+"], readings["lam-"]
    width = up.point.lam - down.point.lam
    return dataclasses.replace(
        on_gamma,
        C_lam=(up.C - down.C) / width,
        C_lam_se=_paired_error(up.C_noise, down.C_noise, width),
        D_lam=(up.D - down.D) / width,
        D_t=_slope_of_F_t(up, down, width),
        S_lam=_slope_of_S(up, down, width),
    )


def first_law_residual(before: Reading, after: Reading) -> float:
    """dR + lam dD + gamma dC + sigma dS between two readings with mid-point multipliers (7), nats, several losses with a multiplier
    each; 0 on a smooth surface as steps shrink."""
    lam = 0.5 * (before.point.lam + after.point.lam)
    changes = ((one.losses or (one.C,), one.multipliers) for one in (before, after))
    (C, gamma), (C_after, gamma_after) = changes
    paid = sum(
        0.5 * (g + g_after) * (c_after - c) for g, g_after, c, c_after in zip(gamma, gamma_after, C, C_after, strict=True)
    )
    if before.S is not None and after.S is not None:
        paid += 0.5 * (before.point.sigma + after.point.sigma) * (after.S - before.S)
    return (after.R - before.R) + lam * (after.D - before.D) + paid


def chart_defect(centre: Reading, settled: Reading) -> float:
    """F of the settled model above the tangent plane of F at the stencil's centre, F + C dgamma (Lemma 3), nats."""
    return settled.F - (centre.F + centre.C * (settled.point.gamma - centre.point.gamma))


def _slope_of_F_t(up: Reading, down: Reading, width: float) -> float | None:
    return None if up.F_t is None or down.F_t is None else (up.F_t - down.F_t) / width


def _slope_of_S(up: Reading, down: Reading, width: float) -> float | None:
    return None if up.S is None or down.S is None else (up.S - down.S) / width


def _paired_error(up: tuple[float, ...], down: tuple[float, ...], width: float) -> float:
    return float(np.linalg.norm(np.subtract(up, down)) / width)
