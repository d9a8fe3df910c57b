"""Models that torch.export takes in other ways than they were meant are refused by what to change in them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rayfe.exceptions import NotExported
from rayfe.model.export import exported
from rayfe.model.scaled import Scaled, of_unit_interval


class Net(nn.Module):
    latent = 3

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder, self.classifier = nn.Linear(4, 6), nn.Linear(3, 4), nn.Linear(3, 2)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean, log_variance

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).reshape(z.shape[0], 4)

    def classify(self, z: Tensor) -> Tensor:
        return self.classifier(z)


class UsesLen(Net):
    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).reshape(len(z), 4)


class Loops(Net):
    def classify(self, z: Tensor) -> Tensor:
        return torch.stack([self.classifier(one) for one in z])


class Branches(Net):
    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z) if z.sum() > 0 else -self.decoder(z)


@pytest.mark.parametrize("part", ["all", "encode", "decode", "classify"])
def test_a_part_takes_any_number_of_examples(part) -> None:
    made = exported(Net(), (4,), part, {"step": 1})
    size = 3 if part in ("decode", "classify") else 4
    for n in (1, 2, 33):
        assert all(len(value) == n for value in made.run(torch.rand(n, size)).values())


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (
            UsesLen,
            r"fixed by test_export.py, line \d+, in decode: return .*reshape\(len\(z\), 4\); write x.shape\[0\] for len\(x\)",
        ),
        (Loops, r"fixed by test_export.py, line \d+, in classify: return .* for one in z"),
        (Branches, r"cannot export this model \(\w+"),
    ],
)
def test_a_model_that_cannot_be_exported_is_told_why(cls: type[Net], said: str) -> None:
    with pytest.raises(NotExported, match=said):
        exported(cls(), (4,), "all", {})


@pytest.mark.parametrize(("low", "high"), [(-2.0, 3.0), ([0.0, -1.0, 5.0, 1.0], [1.0, 1.5, 9.0, 1.0])])
def test_a_program_in_the_units_of_the_data_is_measured_in_the_unit_interval(low, high) -> None:
    net = Net().eval()
    made = exported(Scaled(net, low, high), (4,), "all", {})
    x = torch.rand(5, 4)
    x[:, torch.as_tensor(low).expand(4) == torch.as_tensor(high).expand(4)] = 0.0  # a feature that is always the same
    found = of_unit_interval(made.run, {"scale": {"low": low, "high": high}})(x)
    expected = exported(net, (4,), "all", {}).run(x)
    for name in ("mean", "logits"):
        torch.testing.assert_close(found[name], expected[name], atol=1e-5, rtol=1e-4)
    varies = torch.as_tensor(high).expand(4) > torch.as_tensor(low).expand(4)
    torch.testing.assert_close(found["reconstruction"][:, varies], expected["reconstruction"][:, varies], atol=1e-5, rtol=1e-4)
