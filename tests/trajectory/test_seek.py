"""Seeking multipliers at which two of R, D and C have wanted values."""

import pytest

from analytic_walks import A, B, C, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import DataConfig, ModelConfig, StencilConfig, configure
from rayfe.data.paths import load_path
from rayfe.exceptions import UsageError
from rayfe.run.model_checks import check_model
from rayfe.surface.closed_form import Surface


@pytest.mark.parametrize("surface", [A, B, C], ids=["A", "B", "C"])
@pytest.mark.parametrize("names", ["DC", "RC", "RD"])
def test_seek_arrives_at_the_wanted_point_from_afar(tmp_path, surface, names):
    lam, gamma = 1.4, 2.5
    wanted = tuple(f"{name}={getattr(surface, name)(lam, gamma)!r}" for name in names)
    rows, end = walk(tmp_path, AnalyticBackend(surface), seek=wanted, tolerance=1e-4, step_length=0.3)
    assert end == "reached"
    last = rows[-1]
    assert (last.lam, last.gamma) == pytest.approx((lam, gamma), rel=2e-3)
    for text in wanted:
        name, _, value = text.partition("=")
        assert getattr(last, name) == pytest.approx(float(value), rel=1e-4)
    accepted = [abs(row.held_drift) for row in rows if row.accepted]
    assert accepted == sorted(accepted, reverse=True)


class Nats(Surface):
    """A whose D and C are 30 and 10 nats lower, as of densities: R stays."""

    def contains(self, lam: float, gamma: float) -> bool:
        return A.contains(lam, gamma)

    def F(self, lam: float, gamma: float) -> float:
        return A.F(lam, gamma) - 30.0 * lam - 10.0 * gamma

    def D(self, lam: float, gamma: float) -> float:
        return A.D(lam, gamma) - 30.0

    def C(self, lam: float, gamma: float) -> float:
        return A.C(lam, gamma) - 10.0

    def D_lam(self, lam: float, gamma: float) -> float:
        return A.D_lam(lam, gamma)

    def C_lam(self, lam: float, gamma: float) -> float:
        return A.C_lam(lam, gamma)

    def C_gamma(self, lam: float, gamma: float) -> float:
        return A.C_gamma(lam, gamma)

    def gamma_on_iso_c(self, lam: float, C0: float) -> float:
        return A.gamma_on_iso_c(lam, C0 + 10.0)


@pytest.mark.parametrize("names", ["DC", "RC", "RD"])
def test_a_wanted_value_below_nought_is_met_to_parts_of_a_nat(tmp_path, names):
    surface, point = Nats(), (1.4, 2.5)
    wanted = {name: getattr(surface, name)(*point) for name in names}
    assert all(value < -5.0 for name, value in wanted.items() if name != "R")
    seek = tuple(f"{name}={value!r}" for name, value in wanted.items())
    rows, end = walk(tmp_path, AnalyticBackend(surface), seek=seek, tolerance=1e-4, step_length=0.3)
    last = rows[-1]
    assert end == "reached" and (last.lam, last.gamma) == pytest.approx(point, rel=2e-3)
    off = {name: (getattr(last, name) - value) / (value if name == "R" else 1.0) for name, value in wanted.items()}
    assert max(map(abs, off.values())) <= 1e-4
    assert last.held_drift == pytest.approx(max(off.values(), key=abs), rel=1e-9)


@pytest.mark.parametrize(
    ("task", "likelihood", "fits"), [("classification", "gaussian-learnt", "D"), ("classification", "gaussian", "")]
)
def test_a_negative_value_is_sought_where_the_model_can_have_it(task, likelihood, fits):
    for name in ("C", "D"):
        model = ModelConfig(hidden=8, latent=4, task=task, likelihood=likelihood)
        config = configure(seek=(f"{name}=-1", "R=3"), data=DataConfig(name="digits"), model=model)
        if name in fits:
            assert check_model(config, load_path(config))["D"]["unit"] == "nats"
        else:
            with pytest.raises(
                UsageError, match=f"{name}=-1.: must be a positive number: {name} of this model is never negative"
            ):
                check_model(config, load_path(config))


def test_near_the_end_seek_converges_quadratically(tmp_path):
    point = (1.4, 2.5)
    wanted = (f"D={A.D(*point)!r}", f"C={A.C(*point)!r}")
    small = StencilConfig(gamma_delta=1e-4)
    rows, _ = walk(
        tmp_path,
        AnalyticBackend(A),
        seek=wanted,
        tolerance=1e-9,
        step_length=0.5,
        neighbours=small,
        lam=(1.2,),
        gamma=(2.2,),
    )
    misses = [abs(row.held_drift) for row in rows if row.accepted]
    assert misses[-1] <= 1e-9
    assert all(after < 3.0 * before**2 + 1e-9 for before, after in zip(misses, misses[1:], strict=False))


def test_a_point_beyond_the_surface_is_called_unreachable(tmp_path):
    """On surface C, D is that large only where C is, too: whether the search runs away or meets a singular Hessian, it says so."""
    rows, end = walk(tmp_path, AnalyticBackend(C), seek=("D=40.0", "C=0.001"), steps=200)
    assert end in ("unreachable", "singular")
    assert rows[-1].reason == end
    assert not rows[-1].accepted


@pytest.mark.parametrize(
    "seek",
    [
        ("C=0.1",),
        ("C=0.1", "C=0.2"),
        ("C=0.1", "R=0"),
        ("D=-1", "R=-1"),
        ("D=inf", "R=1"),
        ("C=x", "R=1"),
        ("F=1", "R=1"),
        ("C", "R=1"),
    ],
)
def test_what_cannot_be_sought_is_refused(seek):
    with pytest.raises(UsageError, match="seek="):
        configure(seek=seek)
