"""Rules that move gamma during a training: Cooper's (nuPI, augmented Lagrangian) and GECO's."""

from __future__ import annotations

import abc

import cooper
import torch
from torch import Tensor

from analysis.benchmark.requests import Rule


class MultiplierRule(abc.ABC):
    """Takes one update of weights and multiplier for min R + lam D subject to C = C0."""

    @abc.abstractmethod
    def update(self, loss: Tensor, C: Tensor, level: float, *, weight: float) -> None:
        """One update of both.

        `loss` is R + lam D and `C` the classification loss of the batch; `level` is what C of a batch is where it is
        C0 in evaluation mode. `weight` in [0, 1] scales the multiplier's step as the learning rate's schedule does.
        """

    @property
    @abc.abstractmethod
    def gamma(self) -> float:
        """The multiplier now."""


class _Problem(cooper.ConstrainedMinimizationProblem):
    """The problem of one batch, whose values come from outside: the training loop is everyone's."""

    def __init__(self, rule: Rule, *, gamma: float, C: float, device: torch.device) -> None:
        super().__init__()
        augmented = rule.name == "augmented"
        self.held = cooper.Constraint(
            constraint_type=cooper.ConstraintType.EQUALITY,
            formulation_type=cooper.formulations.AugmentedLagrangian if augmented else cooper.formulations.Lagrangian,
            multiplier=cooper.multipliers.DenseMultiplier(init=torch.tensor([gamma]), device=device),
            penalty_coefficient=cooper.penalty_coefficients.DensePenaltyCoefficient(
                torch.tensor([rule.penalty * gamma / C], device=device)
            )
            if augmented
            else None,
        )

    def compute_cmp_state(self, loss: Tensor, violation: Tensor) -> cooper.CMPState:
        state = cooper.ConstraintState(violation=violation)
        return cooper.CMPState(loss=loss, observed_constraints={self.held: state})


class CooperRule(MultiplierRule):
    """Simultaneous updates by Cooper: nuPI on the Lagrangian, or gradient ascent on the augmented Lagrangian."""

    def __init__(self, optimizer: torch.optim.Optimizer, rule: Rule, *, gamma: float, C: float, steps: float) -> None:
        device = optimizer.param_groups[0]["params"][0].device
        self._problem = _Problem(rule, gamma=gamma, C=C, device=device)
        self._rate = rule.gain * gamma / (C * steps)
        (self._multiplier,) = parameters = list(self._problem.dual_parameters())
        if rule.name == "nupi":
            Kp = rule.proportional * gamma / (C * self._rate)  # so that the proportional term is rule.proportional
            self._dual: torch.optim.Optimizer = cooper.optim.nuPI(
                parameters, lr=self._rate, Kp=torch.tensor(Kp), ema_nu=rule.average, maximize=True
            )
        else:
            self._dual = torch.optim.SGD(parameters, lr=self._rate, maximize=True)
        self._optimizer = cooper.optim.SimultaneousOptimizer(self._problem, optimizer, self._dual)

    def update(self, loss: Tensor, C: Tensor, level: float, *, weight: float) -> None:
        self._dual.param_groups[0]["lr"] = weight * self._rate
        self._optimizer.roll({"loss": loss, "violation": C - level})

    @property
    def gamma(self) -> float:
        return float(self._multiplier.detach())


class Geco(MultiplierRule):
    """gamma <- gamma exp(rate C_average), C_average a moving average of C - level (Rezende and Viola 2018, algorithm 1)."""

    def __init__(self, optimizer: torch.optim.Optimizer, rule: Rule, *, gamma: float, C: float, steps: float) -> None:
        self._optimizer = optimizer
        self._gamma = torch.tensor(gamma, device=optimizer.param_groups[0]["params"][0].device)
        self._rate, self._decay = rule.gain / (C * steps), rule.average
        self._average: Tensor | None = None

    def update(self, loss: Tensor, C: Tensor, level: float, *, weight: float) -> None:
        violation = C.detach() - level
        average = violation if self._average is None else self._decay * self._average + (1.0 - self._decay) * violation
        self._average = average
        self._optimizer.zero_grad(set_to_none=True)
        (loss + self._gamma * C).backward()
        self._optimizer.step()
        self._gamma = self._gamma * torch.exp(weight * self._rate * average)

    @property
    def gamma(self) -> float:
        return float(self._gamma)


def make_rule(optimizer: torch.optim.Optimizer, rule: Rule, *, gamma: float, C: float, steps: float) -> MultiplierRule:
    """The rule by its name; `steps` is the sum of the weights of all updates to come."""
    kind = Geco if rule.name == "geco" else CooperRule
    return kind(optimizer, rule, gamma=gamma, C=C, steps=steps)
