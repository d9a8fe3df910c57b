"""The product of a common input with stacked weights is the one of each, and so are its gradients."""

import torch
from torch import nn

from rayfe.model.linear import CommonInputLinear

N, FEATURES, UNITS, REPLICAS = 7, 5, 3, 4


def draws(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def loss(weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    layer = CommonInputLinear(FEATURES, UNITS).to("meta")
    return torch.func.functional_call(layer, {"weight": weight}, (x,)).pow(3)


def test_alone_it_is_a_linear_layer():
    x, weight = draws(N, FEATURES).requires_grad_(), draws(UNITS, FEATURES)[:].requires_grad_()
    plain = nn.functional.linear(x, weight).pow(3)
    assert torch.equal(loss(weight, x), plain)
    ours, theirs = (torch.autograd.grad(value.sum(), (x, weight)) for value in (loss(weight, x), plain))
    assert all(torch.allclose(a, b, rtol=1e-12) for a, b in zip(ours, theirs, strict=True))


def test_stacked_weights_give_what_each_gives_alone():
    x, weights = draws(N, FEATURES), draws(REPLICAS, UNITS, FEATURES).requires_grad_()
    stacked = torch.vmap(loss, (0, None))(weights, x)
    each = torch.stack([loss(weight, x) for weight in weights])
    assert stacked.shape == (REPLICAS, N, UNITS) and torch.allclose(stacked, each, rtol=1e-12)
    ours, theirs = (torch.autograd.grad(value.sum(), weights)[0] for value in (stacked, each))
    assert torch.allclose(ours, theirs, rtol=1e-12)


def test_inputs_that_differ_between_replicas_are_not_mixed():
    x, weights = draws(REPLICAS, N, FEATURES), draws(REPLICAS, UNITS, FEATURES).requires_grad_()
    stacked = torch.vmap(loss)(weights, x)
    each = torch.stack([loss(*pair) for pair in zip(weights, x, strict=True)])
    assert torch.allclose(stacked, each, rtol=1e-12)
    one = torch.vmap(loss, (None, 0))(weights[0], x)
    assert torch.allclose(one, torch.stack([loss(weights[0], part) for part in x]), rtol=1e-12)


def test_gradients_reach_the_input_of_stacked_weights():
    x, weights = draws(N, FEATURES).requires_grad_(), draws(REPLICAS, UNITS, FEATURES)
    stacked = torch.vmap(loss, (0, None))(weights, x)
    each = sum(loss(weight, x).sum() for weight in weights)
    ours, theirs = torch.autograd.grad(stacked.sum(), x)[0], torch.autograd.grad(each, x)[0]
    assert torch.allclose(ours, theirs, rtol=1e-12)
