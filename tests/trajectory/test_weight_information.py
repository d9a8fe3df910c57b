"""Walks in sigma at constant C and lam, and functionals with S, on a closed-form surface F(lam, gamma, sigma)."""

import math

import pytest

from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import configure
from rayfe.exceptions import UsageError
from rayfe.records import Held, Point, Response
from rayfe.surface.closed_form import PowerSurface
from rayfe.surface.process import IsoFunctional, WeightInformation, held_jacobian
from tests.helpers.analytic_walks import walk

SURFACE = PowerSurface(kappa=10.0, a=1 / 3, b=1 / 3, c=0.1)
RANDOM = {"model": {"posterior": "classifier"}, "sigma": 1e-4}


@pytest.mark.parametrize("sigma", [1e-3, 0.2, 4.0])
def test_derivatives_in_sigma_obey_maxwell_and_the_first_law(sigma):
    lam, gamma, step = 0.7, 3.0, 1e-4 * sigma
    up, here, down = (SURFACE.at_sigma(sigma + shift) for shift in (step, 0.0, -step))
    assert here.S(lam, gamma) == pytest.approx((up.F(lam, gamma) - down.F(lam, gamma)) / (2 * step), rel=1e-6)
    C_sigma = (up.C(lam, gamma) - down.C(lam, gamma)) / (2 * step)
    S_gamma = (here.S(lam, gamma + 1e-4) - here.S(lam, gamma - 1e-4)) / 2e-4
    assert C_sigma == pytest.approx(S_gamma, rel=1e-6)
    F = here.R(lam, gamma) + lam * here.D(lam, gamma) + gamma * here.C(lam, gamma) + sigma * here.S(lam, gamma)
    assert pytest.approx(here.F(lam, gamma)) == F
    dR, dD, dC, dS = ((getattr(up, n)(lam, gamma) - getattr(down, n)(lam, gamma)) / (2 * step) for n in "RDCS")
    assert dR == pytest.approx(-lam * dD - gamma * dC - sigma * dS, rel=1e-5)


def test_a_walk_in_sigma_follows_the_exact_curve_of_constant_C(tmp_path):
    rows, end = walk(
        tmp_path, AnalyticBackend(SURFACE), process="weight-information", sigma_end=1e-2, step_length=0.3, **RANDOM
    )
    accepted = [row for row in rows if row.accepted]
    assert end == "sigma_end"
    assert [row.lam for row in accepted] == [0.25] * len(accepted)
    sigmas = [row.sigma for row in accepted]
    assert (sigmas[0], sigmas[-1]) == (1e-4, 1e-2)
    assert all(math.log(after / before) <= 0.3 + 1e-9 for before, after in zip(sigmas, sigmas[1:], strict=False))
    for row in accepted:
        surface = SURFACE.at_sigma(row.sigma)
        assert row.C == pytest.approx(accepted[0].C, rel=1e-3)
        assert row.gamma == pytest.approx(surface.gamma_on_iso_c(0.25, accepted[0].C), rel=2e-3)
        assert row.S == pytest.approx(surface.S(row.lam, row.gamma))
        assert pytest.approx(row.R + row.lam * row.D + row.gamma * row.C + row.sigma * row.S) == row.F
        assert row.excess == pytest.approx(0.0, abs=1e-6)
    fresh = [row for row in accepted if row.response_age == 0]
    assert len(fresh) > 1
    for row in fresh[:1]:
        exact = SURFACE.b * SURFACE.at_sigma(row.sigma).S(row.lam, row.gamma) / row.gamma
        assert row.S_gamma == pytest.approx(exact, rel=0.01)


def test_a_walk_in_sigma_that_was_interrupted_goes_on_with_the_same_rows(tmp_path):
    backend, options = (
        AnalyticBackend(SURFACE),
        {"process": "weight-information", "sigma_end": 1e-2, "step_length": 0.5} | RANDOM,
    )
    whole, _ = walk(tmp_path / "whole", backend, **options)
    for steps in (2, 5, 100):
        parts, _ = walk(tmp_path / "parts", backend, steps=steps, **options)
    strip = [(row.sigma, row.gamma, row.C, row.S, row.F, row.S_gamma) for row in whole]
    assert strip == [(row.sigma, row.gamma, row.C, row.S, row.F, row.S_gamma) for row in parts]


def test_a_functional_with_S_is_held(tmp_path):
    """Remark 8 with S in place of R: C + S / beta."""
    backend = AnalyticBackend(SURFACE)
    options = {"process": "iso-functional", "functional": (0.0, 0.0, 1.0, 1e-4), "stencil": "paper", "steps": 8} | RANDOM
    rows, _ = walk(tmp_path, backend, **options)
    accepted = [row for row in rows if row.accepted]
    held = [row.C + 1e-4 * row.S for row in accepted]
    assert len(accepted) == 9
    assert held == pytest.approx([held[0]] * 9, rel=2e-3)
    assert abs(accepted[-1].C / accepted[0].C - 1.0) > 0.02


def test_slopes_of_functionals_are_those_of_the_surface():
    """R's by the first law, -lam dD - gamma dC - sigma dS."""
    lam, gamma, sigma = 0.5, 3.0, 0.02
    here = SURFACE.at_sigma(sigma)

    def slope(name, **moved):
        at = {"lam": lam, "gamma": gamma}
        up, down = ({**at, **{key: at[key] + sign * step for key, step in moved.items()}} for sign in (1, -1))
        (step,) = moved.values()
        return (getattr(here, name)(**up) - getattr(here, name)(**down)) / (2 * step)

    response = Response(
        C_lam=here.C_lam(lam, gamma),
        C_gamma=here.C_gamma(lam, gamma),
        D_gamma=here.C_lam(lam, gamma),
        D_lam=here.D_lam(lam, gamma),
        S_gamma=slope("S", gamma=1e-5),
        S_lam=slope("S", lam=1e-5),
        C_lam_se=0.0,
        C_gamma_se=0.0,
    )
    held = Held(R=0.3, D=-0.2, C=1.1, S=0.01)
    ((in_gamma, in_lam),) = held_jacobian(IsoFunctional(functional=held), Point(lam=lam, gamma=gamma, sigma=sigma), response)
    for found, moved in ((in_gamma, {"gamma": 1e-5}), (in_lam, {"lam": 1e-5})):
        exact = sum(getattr(held, name) * slope(name, **moved) for name in "RDCS")
        assert found == pytest.approx(exact, rel=1e-6)


def test_sigma_arrives_exactly_from_above_and_below():
    velocity = WeightInformation(1.0).velocity(
        Point(lam=1.0, gamma=2.0, sigma=4.0),
        Response(C_lam=0.1, C_gamma=-0.5, D_gamma=0.1, C_lam_se=0.0, C_gamma_se=0.0, S_gamma=2.0),
    )
    assert velocity.gamma == pytest.approx(-16.0)  # -(S_gamma / C_gamma) sigma_dot with sigma_dot = -4
    for start in (0.3, 4.0):
        point = Point(lam=1.0, gamma=2.0, sigma=start)
        process = WeightInformation(1.0)
        assert process.moved(point, velocity, process.left(point)).sigma == 1.0
        half = process.moved(point, velocity, 0.5 * process.left(point))
        assert process.left(half) == pytest.approx(0.5 * process.left(point))


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"model": {"posterior": "all"}}, "sigma", "must be positive where weights are random"),
        ({"sigma": 1e-3}, "sigma", "leave it away, or say whose weights are random"),
        ({"process": "weight-information"}, "process", "needs random weights"),
        ({"process": "weight-information", "sigma_end": 1e-4, **RANDOM}, "sigma", "already, give another of the two"),
        ({"sigma_end": 1e-3}, "sigma_end", "has no effect"),
        ({"functional": (0.0, 0.0, 1.0, 1.0), "process": "iso-functional", "stencil": "paper"}, "functional", "has S"),
        ({"functional": (0.0, 1.0), "process": "iso-functional", "stencil": "paper"}, "functional", "three numbers"),
        ({"derivatives": "implicit", **RANDOM}, "derivatives", "stencil"),
        ({"process": "conditioned", **RANDOM}, "posterior", "not for conditioned models"),
        ({"sigma": -1.0, "model": {"posterior": "all"}}, "sigma", "at least 0"),
        ({"model": {"posterior": "encoder"}, "sigma": 1.0}, "posterior", "classifier"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(options, field, words):
    with pytest.raises(UsageError) as error:
        configure(**options)
    assert field in str(error.value)
    assert words in str(error.value)
