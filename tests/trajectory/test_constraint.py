"""What a walk holds and how well it can: C of control examples, the noise of the draws, the floor of a tiny loss."""

import dataclasses

import pandas as pd
import pytest
import scipy.optimize

from analytic_walks import A, walk
from rayfe.backend.analytic import AnalyticBackend
from rayfe.config import MeasureConfig, configure
from rayfe.exceptions import UsageError, WalkFailed, in_shell_words
from rayfe.results.walk_summary import summarize, verdict
from rayfe.storage.store import Store
from rayfe.surface.closed_form import PowerSurface
from rayfe.trajectory.driver import attempted
from rayfe.trajectory.trajectory import Trajectory


@pytest.mark.parametrize(("noise", "attainable"), [(4e-3, True), (6e-3, False)])
def test_a_tolerance_below_the_noise_fails_at_the_start_and_says_what_would_do(tmp_path, noise, attainable):
    """Of noise of 0.4 % 64 sets leave 0.05 %, eight of which fit into 0.5 %; with the tolerance or the draws that are named it goes on."""
    backend = AnalyticBackend(A, noise=noise)
    if attainable:
        assert len(walk(tmp_path, backend, steps=1)[0]) >= 2
        return
    with pytest.raises(WalkFailed, match=r"tolerance=0.005: even 64 times .*head_draws.* leave C uncertain") as failed:
        walk(tmp_path / "failed", backend, steps=1)
    (start,) = Store(str(tmp_path / "failed")).rows("lam0.25-gamma4-seed0")
    assert (start.accepted, start.draw_sets) == (True, 64)
    words = in_shell_words(failed.value.text).replace(",", "").split()
    wanted, draws = (float(_last(words, option)) for option in ("--tolerance", "--measure.head-draws"))
    assert wanted == pytest.approx(8.0 * start.C_se / start.C, rel=0.1) and wanted > 0.005
    assert len(walk(tmp_path / "again", backend, steps=1, tolerance=wanted)[0]) >= 2
    finer = dataclasses.replace(backend, noise=noise * (MeasureConfig().head_draws / draws) ** 0.5)
    assert len(walk(tmp_path / "finer", finer, steps=1)[0]) >= 2
    walk(tmp_path / "unsettled", backend, steps=1, settle=False)


def _last(words, option):
    """The word after the last one that is an option."""
    return words[len(words) - words[::-1].index(option)]


@pytest.mark.parametrize(
    ("reason", "miss", "told"),
    [
        (
            "drift",
            -0.019,
            r"C is off by -1.9 \+- 0.7 %, which may be the draws of z; give tolerance=0.047 or more, or .*50176\} or more",
        ),
        ("drift", -0.021, r"C is off by -2.1 \+- 0.7 %, .* give tolerance=0.049 or more, and another out"),
        (
            "drift",
            -0.049,
            r"C is off by -4.9 \+- 0.7 %, and may be by 2 %; give more .*epochs.*, or tolerance=0.077 or more, and another out",
        ),
        ("settle_range", -0.019, r"what is wanted lay outside the range of the measured tangent; C is off by -1.9"),
    ],
)
def test_a_walk_that_fails_by_its_draws_says_how_many_would_do(tmp_path, reason, miss, told):
    """Draws are the same at every step, so that what they put C off by does not go away with shorter steps."""
    backend = AnalyticBackend(A, noise=1e-3)
    (start, step), _ = walk(tmp_path, backend, steps=1)
    rejected = dataclasses.replace(
        step, accepted=False, reason=reason, held_drift=miss, held_drift_se=0.007, step_length=1e-9, next_step_length=1e-9
    )
    config, store = configure(tolerance=0.02, measure=MeasureConfig(head_draws=64)), Store(str(tmp_path))
    (place,) = config.trajectories().values()
    stuck = Trajectory(config, place, [start, rejected], state=store.state(start), carry=store.carry(start))
    with pytest.raises(WalkFailed, match=f"rejected down to a step of 1e-09: {told}"):
        attempted(stuck, backend)


def test_a_tiny_loss_is_held_to_the_floor(tmp_path):
    """b = 6e-5: C0 is 1e-4 nats and 0.5 % of it 5e-7, far below the noise of 3 %; a floor of 1e-5 nats is 10 %."""
    backend = AnalyticBackend(PowerSurface(kappa=10.0, a=1 / 3, b=6e-5), noise=0.03)
    with pytest.raises(WalkFailed, match="tolerance=0.005: even"):
        walk(tmp_path / "none", backend, steps=3, tolerance_floor=0.0)
    rows, _ = walk(tmp_path / "floor", backend, steps=3)
    assert all(row.accepted for row in rows)
    assert max(abs(row.C - rows[0].C) for row in rows) <= 1e-5


def gamma_at_control_C(lam, C0, unseen):
    """gamma at which C (1 + unseen R) of surface A is C0."""
    return scipy.optimize.brentq(lambda g: A.C(lam, g) * (1.0 + unseen * A.R(lam, g)) - C0, 1e-3, 1e3)


@pytest.mark.parametrize("stencil", ["iso", "paper"])
def test_held_on_control_images_it_is_their_C_that_stays(tmp_path, stencil):
    """C of images that were not trained on grows with R, so gamma has to rise faster than on the training examples' line."""
    unseen = 0.05
    rows, end = walk(tmp_path / "control", AnalyticBackend(A, unseen=unseen, noise=1e-4), hold="control", stencil=stencil)
    rows = [row for row in rows if row.accepted]
    C0 = A.C(0.25, 4.0) * (1.0 + unseen * A.R(0.25, 4.0))
    assert end == "lam_end"
    assert rows[0].C_target == rows[0].control_C == pytest.approx(C0, rel=1e-3)
    for row in rows:
        assert row.held_on == "control"
        assert row.control_C == pytest.approx(C0, rel=5e-3)
        assert row.drift == row.control_C / row.C_target - 1.0
        assert row.gamma == pytest.approx(gamma_at_control_C(row.lam, C0, unseen), rel=2e-2)
        assert row.F == row.R + row.lam * row.D + row.gamma * row.C
    assert rows[-1].C < 0.8 * rows[0].C
    line = summarize(pd.DataFrame([dataclasses.asdict(row) for row in rows]), 0.005).iloc[0]
    assert line["drift_ok"] and "C of the control split held, off by" in verdict(line)


def test_where_nothing_is_over_fitted_control_images_say_the_same(tmp_path):
    train, _ = walk(tmp_path / "train", AnalyticBackend(A))
    control, _ = walk(tmp_path / "control", AnalyticBackend(A), hold="control")
    assert [(row.lam, row.gamma, row.C) for row in control] == [(row.lam, row.gamma, row.C) for row in train]
    assert {row.held_on for row in train} == {"train"}
    assert {row.control_C for row in train} == {None}


@pytest.mark.parametrize(
    "options",
    [{"process": "geodesic", "stencil": "paper"}, {"settle": False}, {"derivatives": "implicit"}, {"seek": ("C=0.1", "R=1")}],
)
def test_what_control_images_cannot_hold_is_refused(options):
    with pytest.raises(UsageError, match="hold='control'"):
        configure(hold="control", **options)
