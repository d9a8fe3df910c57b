"""The chart of a model whose losses have a multiplier each: neighbours that are trained beside it, their response and tangents.

Up to FULL losses have two neighbours each, and a tangent each. Of more losses two pairs of neighbours, with all multipliers moved at
once, tell the diagonal of the response alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np

from rayfe.config import RunConfig
from rayfe.records import Answer, Point, Reading, Replica, Request, Weights
from rayfe.records.weights import PRICES, along, priced, slope
from rayfe.records.work import Work
from rayfe.surface.several import Neighbours, SeveralResponse, response_of, response_of_few
from rayfe.trajectory.chart import Tangents
from rayfe.trajectory.equilibration import Trainee
from rayfe.trajectory.measuring import measure_request

FULL = 4
"""Losses that have neighbours of their own: eight replicas beside the centre."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LossesChart(Trainee):
    """A model whose weights have prices, and what is known of the surface around it."""

    response: SeveralResponse
    response_age: int
    """Accepted steps since the response and the tangents were measured."""

    def moved(self, shift: np.ndarray, gamma: float) -> LossesChart:
        """The chart at multipliers that are `shift` (k,) away; its prices move with them. `gamma` is the point's."""
        weights, prices = self.weights, self.weights[PRICES] + shift / gamma
        for tangent, amount in zip(self.tangents.values(), shift.tolist(), strict=bool(self.tangents)):
            weights = along(weights, tangent, amount)
        return dataclasses.replace(self, weights=priced(weights, prices))


def multipliers_of(weights: Weights, gamma: float) -> np.ndarray:
    """gamma of each loss, (k,)."""
    return gamma * weights[PRICES].astype(float)


def name_of(loss: int) -> str:
    """Of the multiplier of a loss, by its number."""
    return f"gamma{loss}"


def directions(k: int) -> np.ndarray:
    """In which neighbours lie, in parts of their distance, (pairs, k): each multiplier by itself, or all of them together, and every
    other one the other way.

    Of the ten classes of digits the diagonal was 0.5 to 3 % off by the two, a full response's other entries are 2 % of it.
    """
    return np.eye(k) if k <= FULL else np.array([np.ones(k), np.resize([1.0, -1.0], k)])


def stencil(config: RunConfig, point: Point, weights: Weights, tangents: Tangents) -> tuple[Replica, ...]:
    """The centre and two neighbours in each direction, from where the tangents say that they are."""
    gamma = multipliers_of(weights, point.gamma)
    chart = _bare(weights, tangents)
    replicas = [Replica(name="centre", point=point, weights=weights)]
    for number, direction in enumerate(directions(len(gamma))):
        for sign, side in (("+", 1.0), ("-", -1.0)):
            shift = side * config.neighbours.gamma_delta * direction * gamma
            replicas.append(
                Replica(name=f"{name_of(number)}{sign}", point=point, weights=chart.moved(shift, point.gamma).weights)
            )
    return tuple(replicas)


def _bare(weights: Weights, tangents: Tangents) -> LossesChart:
    none = SeveralResponse(C_lam=np.empty(0), C_gamma=np.empty((0, 0)), C_gamma_se=np.empty((0, 0)), asymmetry=0.0)
    return LossesChart(weights=weights, tangents=tangents, preconditioner=None, response=none, response_age=0)


def charted(
    config: RunConfig, work: Work, replicas: Sequence[Replica], models: Sequence[Weights], preconditioner: Weights | None
) -> Generator[Request, Answer | None, LossesChart]:
    """The chart of a trained stencil, whose neighbours are read."""
    gamma = multipliers_of(models[0], replicas[0].point.gamma)
    part = config.measure.response_size is not None
    request = measure_request(work, replicas[1:], models[1:], "settle", part=part)
    read = work.measured((yield request)).readings
    delta = config.neighbours.gamma_delta
    if len(gamma) > FULL:
        found = _neighbours(read, np.full(len(read) // 2, 2.0 * delta))
        response, tangents = response_of_few(found, directions(len(gamma)), gamma), {}
    else:
        width = 2.0 * delta * gamma
        response = response_of(_neighbours(read, width))
        pairs = zip(models[1::2], models[2::2], width.tolist(), strict=True)
        tangents = {name_of(number): slope(up, down, w) for number, (up, down, w) in enumerate(pairs)}
    return LossesChart(weights=models[0], tangents=tangents, preconditioner=preconditioner, response=response, response_age=0)


def _neighbours(read: Sequence[Reading], width: np.ndarray) -> Neighbours:
    C, D = np.array([one.losses for one in read]), np.array([one.D for one in read])
    noise = np.array([one.loss_noise for one in read])
    return Neighbours(
        width=width,
        C_up=C[::2],
        C_down=C[1::2],
        D_up=D[::2],
        D_down=D[1::2],
        C_noise=np.linalg.norm(noise[::2] - noise[1::2], axis=-1),
    )


def stored_response(response: SeveralResponse) -> Weights:
    """As named arrays."""
    return {name: np.asarray(value, float) for name, value in dataclasses.asdict(response).items()}


def response_in(arrays: Weights) -> SeveralResponse:
    """What `stored_response` stored."""
    return SeveralResponse(
        C_lam=arrays["C_lam"],
        C_gamma=arrays["C_gamma"],
        C_gamma_se=arrays["C_gamma_se"],
        asymmetry=float(arrays["asymmetry"]),
    )
