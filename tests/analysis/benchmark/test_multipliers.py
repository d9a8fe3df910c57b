"""Rules for gamma on a problem with a known optimum and multiplier: min (x - 2)^2 / 2 subject to x = 1 has gamma = 1."""

import pytest
import torch

from analysis.benchmark.multipliers import CooperRule, Geco
from analysis.benchmark.requests import Rule

UPDATES = 3000
RULES = {
    "nupi": Rule(name="nupi", gain=300.0, proportional=1.0, average=0.5),
    "gradient ascent": Rule(name="nupi", gain=300.0),
    "augmented": Rule(name="augmented", gain=300.0, penalty=1.0),
    "geco": Rule(name="geco", gain=300.0, average=0.5),
}


def solve(rule: Rule, *, level: float = 1.0, updates: int = UPDATES, weight: float = 1.0) -> tuple[float, float]:
    x = torch.tensor([0.5], requires_grad=True)
    optimizer = torch.optim.SGD([x], lr=0.1)
    kind = Geco if rule.name == "geco" else CooperRule
    multiplier = kind(optimizer, rule, gamma=0.5, C=1.0, steps=float(UPDATES))
    for _ in range(updates):
        multiplier.update((0.5 * (x - 2.0) ** 2).sum(), x.sum(), level, weight=weight)
    return x.item(), multiplier.gamma


@pytest.mark.parametrize("name", RULES)
def test_rules_find_the_optimum_and_its_multiplier(name):
    x, gamma = solve(RULES[name])
    assert (x, gamma) == (pytest.approx(1.0, abs=1e-3), pytest.approx(1.0, abs=1e-3))


@pytest.mark.parametrize("name", RULES)
def test_the_level_is_that_of_the_batches(name):
    x, gamma = solve(RULES[name], level=1.2)
    assert (x, gamma) == (pytest.approx(1.2, abs=1e-3), pytest.approx(0.8, abs=1e-3))


@pytest.mark.parametrize("name", ["gradient ascent", "augmented"])
def test_gain_is_the_fraction_of_gamma_that_a_lasting_violation_moves(name):
    x = torch.tensor([1.1], requires_grad=True)
    rule = RULES[name]
    multiplier = CooperRule(torch.optim.SGD([x], lr=0.0), rule, gamma=0.5, C=1.0, steps=100.0)
    for _ in range(50):
        multiplier.update((x**2).sum(), x.sum(), 1.0, weight=1.0)
    assert multiplier.gamma == pytest.approx(0.5 * (1.0 + 300.0 * 0.1 * 50 / 100), rel=1e-4)


@pytest.mark.parametrize("name", RULES)
def test_no_weight_no_step_of_the_multiplier(name):
    assert solve(RULES[name], updates=20, weight=0.0)[1] == 0.5


def test_a_rule_without_gain_is_refused():
    with pytest.raises(ValueError, match="gain 0"):
        Rule(name="geco", gain=0.0)
