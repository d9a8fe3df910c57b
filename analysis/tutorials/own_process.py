"""A process of your own: what a lower classification loss costs at a constant rate.

    python analysis/tutorials/own_process.py
    python analysis/tutorials/own_process.py --small              # seconds

A process is a row of the table of processes: what is held, by which multipliers it is brought back, and how the multipliers go
on meanwhile. The response of the equilibrium surface says how: `response.D_lam`, `D_gamma` = `C_lam` and `C_gamma` are the
entries of Hess F, and by the first law (7) dR = -lam dD - gamma dC. rayfe does the rest: it extrapolates, trains, brings the
measured value of what is held back to the start's, and rejects a step that is off.

A process of your own is made without arguments, so what it needs is in its class.
"""

from __future__ import annotations

import argparse
import math

import rayfe
from rayfe.config import EquilibrationConfig, MeasureConfig
from rayfe.records import Held, Point, Response, Velocity
from rayfe.surface.process import Process, SingularResponse


class IsoRate(Process):
    """R is constant while lam falls to `lam_end`, and gamma grows instead; progress is the way in log lam."""

    lam_end = 0.4
    moved_by = ("gamma", "lam")  # both settle the rate, so neighbours in lam are needed: stencil paper
    end = "lam_end"

    @property
    def held(self) -> tuple[Held, ...]:
        return (Held(R=1.0),)

    def velocity(self, point: Point, response: Response) -> Velocity:
        """lam_dot = -lam; gamma_dot such that R_lam lam_dot + R_gamma gamma_dot = 0."""
        assert response.D_lam is not None
        R_lam = -point.lam * response.D_lam - point.gamma * response.C_lam
        R_gamma = -point.lam * response.D_gamma - point.gamma * response.C_gamma
        if R_gamma <= 0.0:
            raise SingularResponse("singular", f"R does not grow with gamma here: R_gamma = {R_gamma:.3g}")
        return Velocity(lam=-point.lam, gamma=R_lam / R_gamma * point.lam)

    def left(self, point: Point) -> float:
        return math.log(point.lam / self.lam_end)

    def moved(self, point: Point, velocity: Velocity, length: float) -> Point:
        lam = self.lam_end if length == self.left(point) else point.lam * math.exp(-length)
        return Point(lam=lam, gamma=point.gamma + velocity.gamma * length, t=point.t)


def main() -> None:
    """Walk on scikit-learn's digits; `run.accepted` has the price in D of every nat of C."""
    parser = argparse.ArgumentParser(description="A process of your own.")
    parser.add_argument("--small", action="store_true", help="little training")
    parser.add_argument("--out", help="the run's folder")
    options = parser.parse_args()
    first, each = (10, 3) if options.small else (80, 25)  # epochs of the start, and of a step
    run = rayfe.walk(
        "digits-smoke",
        process=IsoRate,
        stencil="paper",
        steps=1 if options.small else 6,
        step_length=0.15,
        tolerance=0.2 if options.small else 0.02,
        equilibration=EquilibrationConfig(
            first_schedule="linear", first_learning_rate=1e-2, learning_rate=5e-3, batch=128, first_epochs=first, epochs=each
        ),
        measure=MeasureConfig(head_draws=64),
        out=options.out,
    )
    print(run.accepted[["lam", "gamma", "R", "D", "C", "held_drift"]].round(3))


if __name__ == "__main__":
    main()
