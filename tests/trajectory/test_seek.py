"""Seeking multipliers at which two of R, D and C have wanted values."""

import pytest

from analytic_walks import A, B, C, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import StencilConfig, configure
from rayfe.exceptions import UsageError


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


@pytest.mark.parametrize("seek", [("C=0.1",), ("C=0.1", "C=0.2"), ("C=0", "R=1"), ("C=x", "R=1"), ("F=1", "R=1"), ("C", "R=1")])
def test_what_cannot_be_sought_is_refused(seek):
    with pytest.raises(UsageError, match="seek="):
        configure(seek=seek)
