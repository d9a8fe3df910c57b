"""The closed-form surfaces obey the laws they are meant to test others with."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfe.surface.closed_form import HyperbolicSurface, LogSurface, PowerSurface, Surface

constants = st.floats(0.1, 10.0)
multipliers = st.floats(0.05, 20.0)


@st.composite
def power_surfaces(draw: st.DrawFn) -> PowerSurface:
    total, share = draw(st.floats(0.1, 0.95)), draw(st.floats(0.1, 0.9))
    return PowerSurface(kappa=draw(constants), a=total * share, b=total * (1 - share))


hyperbolic_surfaces = st.builds(HyperbolicSurface, c=st.floats(0.05, 3.0))
log_surfaces = st.builds(LogSurface, a=constants, b=constants, p=constants, q=constants, r=constants)
surfaces = st.one_of(power_surfaces(), hyperbolic_surfaces, log_surfaces)

Function = Callable[[float, float], float]


def d_lam(f: Function, lam: float, gamma: float, h: float = 1e-4) -> float:
    return (f(lam * (1 + h), gamma) - f(lam * (1 - h), gamma)) / (2 * h * lam)


def d_gamma(f: Function, lam: float, gamma: float, h: float = 1e-4) -> float:
    return (f(lam, gamma * (1 + h)) - f(lam, gamma * (1 - h))) / (2 * h * gamma)


@given(surfaces, multipliers, multipliers)
def test_D_and_C_are_the_gradient_of_F(surface: Surface, lam: float, gamma: float) -> None:
    rounding = 1e-10 * abs(surface.F(lam, gamma))
    assert d_lam(surface.F, lam, gamma) == pytest.approx(surface.D(lam, gamma), rel=1e-6, abs=rounding / lam)
    assert d_gamma(surface.F, lam, gamma) == pytest.approx(surface.C(lam, gamma), rel=1e-6, abs=rounding / gamma)


@given(surfaces, multipliers, multipliers)
def test_hessian_is_the_derivative_of_D_and_C(surface: Surface, lam: float, gamma: float) -> None:
    D, C = surface.D(lam, gamma), surface.C(lam, gamma)
    differences = [
        [d_lam(surface.D, lam, gamma), d_gamma(surface.D, lam, gamma)],
        [d_lam(surface.C, lam, gamma), d_gamma(surface.C, lam, gamma)],
    ]
    exact = surface.hessian(lam, gamma)
    rounding = 1e-10 * np.array([[D / lam, D / gamma], [C / lam, C / gamma]])
    assert np.all(np.abs(exact - differences) <= 1e-6 * np.abs(exact) + rounding)
    assert exact[0, 1] == surface.D_gamma(lam, gamma) == surface.C_lam(lam, gamma)


@given(surfaces, multipliers, multipliers)
def test_F_is_concave(surface: Surface, lam: float, gamma: float) -> None:
    eigenvalues = np.linalg.eigvalsh(surface.hessian(lam, gamma))
    assert eigenvalues[-1] <= 1e-14 * abs(eigenvalues[0])


@given(surfaces, multipliers, multipliers, multipliers, multipliers)
def test_every_equilibrium_bounds_F_everywhere(
    surface: Surface, lam: float, gamma: float, other_lam: float, other_gamma: float
) -> None:
    R, D, C = (f(other_lam, other_gamma) for f in (surface.R, surface.D, surface.C))
    assert R + lam * D + gamma * C >= surface.F(lam, gamma) - 1e-12 * (abs(R) + lam * D + gamma * C)


@given(surfaces, multipliers, multipliers)
def test_first_law(surface: Surface, lam: float, gamma: float) -> None:
    # Each term is differenced by itself: D and C of surface B differ by 1e4 in size, R is their small remainder.
    rounding = 1e-10 * (abs(surface.F(lam, gamma)) + lam * surface.D(lam, gamma) + gamma * surface.C(lam, gamma))
    for derivative, scale in ((d_lam, lam), (d_gamma, gamma)):
        dR, dD, dC = (derivative(f, lam, gamma) for f in (surface.R, surface.D, surface.C))
        size = abs(dR) + lam * abs(dD) + gamma * abs(dC)
        assert dR == pytest.approx(-lam * dD - gamma * dC, abs=1e-6 * size + rounding / scale)


@given(hyperbolic_surfaces, multipliers, multipliers)
def test_hyperbolic_R_is_minus_log_of_DC_less_c2(surface: HyperbolicSurface, lam: float, gamma: float) -> None:
    D, C = surface.D(lam, gamma), surface.C(lam, gamma)
    assert surface.R(lam, gamma) == pytest.approx(-math.log(D * C - surface.c**2), rel=1e-9, abs=1e-9)


@given(surfaces, multipliers, multipliers, multipliers)
def test_iso_c_line_is_exact(surface: Surface, lam: float, gamma: float, other_lam: float) -> None:
    C0 = surface.C(lam, gamma)
    assert surface.gamma_on_iso_c(lam, C0) == pytest.approx(gamma, rel=1e-8, abs=1e-8)
    other_gamma = surface.gamma_on_iso_c(other_lam, C0)
    assert surface.contains(other_lam, other_gamma)  # LogSurface: also where the line has gone below gamma = 0
    assert surface.C(other_lam, other_gamma) == pytest.approx(C0, rel=1e-9)


@given(log_surfaces, multipliers, multipliers)
def test_log_surface_meets_gamma_zero_where_it_says(surface: LogSurface, lam: float, gamma: float) -> None:
    C0 = surface.C(lam, gamma)
    end = surface.gamma_zero_at(C0)
    assert end > lam
    assert surface.C(end, 0.0) == pytest.approx(C0, rel=1e-9)
    assert surface.gamma_on_iso_c(end, C0) == pytest.approx(0.0, abs=1e-12 * (1 + surface.p * end) / surface.q)
    assert surface.gamma_on_iso_c(1.01 * end, C0) < 0


@given(surfaces, multipliers, multipliers)
def test_gamma_rises_along_iso_c_just_where_C_lam_is_positive(surface: Surface, lam: float, gamma: float) -> None:
    C0 = surface.C(lam, gamma)
    rise = surface.gamma_on_iso_c(1.1 * lam, C0) - surface.gamma_on_iso_c(lam, C0)
    assert (surface.C_lam(lam, gamma) > 0) == (not isinstance(surface, LogSurface))
    if abs(rise) > 1e-9 * gamma:  # below that the line is level to rounding
        assert (rise > 0) == (surface.C_lam(lam, gamma) > 0)


def euler_walk(surface: Surface, lams: np.ndarray, gamma: float, *, in_log: bool) -> float:
    """gamma after Euler steps of iso-classification (31) through `lams`."""
    for lam, following in itertools.pairwise(lams.tolist()):
        slope = -surface.C_lam(lam, gamma) / surface.C_gamma(lam, gamma)
        gamma += slope * (lam * math.log(following / lam) if in_log else following - lam)
    return gamma


@pytest.mark.parametrize("spaced, ratio", [(np.linspace, 1.153), (np.geomspace, 1.090)])
def test_ten_euler_steps_miss_gamma_by_what_the_reference_sheet_says(
    spaced: Callable[[float, float, int], np.ndarray], ratio: float
) -> None:
    """15 % with steps equal in lam, 9 % with steps equal in log lam; the rate is gamma's per unit of lam in both."""
    surface = PowerSurface(kappa=20.0, a=1 / 3, b=1 / 3)
    gamma = euler_walk(surface, spaced(0.25, 3.5, 11), 4.0, in_log=False)
    assert gamma / surface.gamma_on_iso_c(3.5, surface.C(0.25, 4.0)) == pytest.approx(ratio, abs=1e-3)


@given(power_surfaces(), st.integers(1, 20))
def test_euler_steps_in_log_lam_multiply_gamma_by_a_constant(surface: PowerSurface, steps: int) -> None:
    gamma = euler_walk(surface, np.geomspace(0.25, 3.5, steps + 1), 4.0, in_log=True)
    factor = 1 + surface.a / (1 - surface.b) * math.log(3.5 / 0.25) / steps
    assert gamma == pytest.approx(4.0 * factor**steps, rel=1e-10)


@pytest.mark.parametrize(
    "surface",
    [PowerSurface(kappa=1.0, a=0.3, b=0.3), HyperbolicSurface(c=1.0), LogSurface(a=1.0, b=1.0, p=1.0, q=1.0, r=1.0)],
    ids=lambda surface: type(surface).__name__,
)
def test_domain(surface: Surface) -> None:
    assert surface.contains(0.25, 4.0)
    for bad in (math.nan, math.inf, -math.inf):
        assert not surface.contains(bad, 1.0)
        assert not surface.contains(1.0, bad)
    for lam in (0.0, -1.0):
        assert not surface.contains(lam, 1.0)
    for gamma in (0.0, -0.1):
        assert surface.contains(1.0, gamma) == isinstance(surface, LogSurface)
    assert not surface.contains(1.0, -2.0)  # u = 0
    assert pickle.loads(pickle.dumps(surface)) == surface


@pytest.mark.parametrize(
    "build",
    [
        lambda: PowerSurface(kappa=1.0, a=0.5, b=0.5),
        lambda: PowerSurface(kappa=0.0, a=0.3, b=0.3),
        lambda: HyperbolicSurface(c=0.0),
        lambda: LogSurface(a=1.0, b=1.0, p=-1.0, q=1.0, r=1.0),
    ],
)
def test_constants_without_a_concave_surface_are_refused(build: Callable[[], Surface]) -> None:
    with pytest.raises(ValueError, match="needs"):
        build()
