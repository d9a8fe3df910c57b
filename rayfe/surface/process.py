"""Processes: a response of the surface -> the velocity that keeps what the process holds."""

from __future__ import annotations

from rayfe.records import Point, Response, Velocity

BLIND = 2.0
"""Standard errors that C_gamma must be below zero for gamma to hold C."""


class SingularResponse(ArithmeticError):
    """The response does not determine the velocity; `stop` is the named stop that the walk ends with."""

    def __init__(self, stop: str, what: str) -> None:
        super().__init__(what)
        self.stop = stop


def iso_classification(point: Point, response: Response) -> Velocity:
    """Velocity per unit of log lam that keeps C constant to first order (31): lam_dot = lam, so alpha = -lam / C_gamma.

    Raises:
        SingularResponse: C_gamma is not distinguishable from zero, so gamma cannot hold C (`gamma_blind`).
    """
    if response.C_gamma >= -BLIND * response.C_gamma_se:
        raise SingularResponse(
            "gamma_blind", f"C_gamma = {response.C_gamma:.3g} +- {response.C_gamma_se:.2g} is not below zero"
        )
    return Velocity(lam=point.lam, gamma=-response.C_lam / response.C_gamma * point.lam)
