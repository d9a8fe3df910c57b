"""One update of a training, operation by operation or compiled as a whole, and all that it changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rayfe.config import EquilibrationConfig
from rayfe.data.device_path import DeviceExamples
from rayfe.model.objective import Noise, draw_noise
from rayfe.model.posterior import widths_of
from rayfe.records import Point, Weights
from rayfe.records.weights import pack
from rayfe.training.compiled_update import CompiledUpdate
from rayfe.training.optimizer import Average, go_ahead, left_by, make_optimizer, moved_by
from rayfe.training.replicas import Looped, Multipliers, Replicas
from rayfe.training.soap import Soap


class Descent:
    """The descent of all replicas on J = R + lam D + gamma C + sigma S, each at its own point: weights, optimizer and average.

    The first update is always done operation by operation: it shows which parameters J depends on.
    """

    def __init__(
        self,
        replicas: Replicas,
        points: Sequence[Point],
        config: EquilibrationConfig,
        preconditioner: Weights | None,
        *,
        updates: int,
        annealed: bool,
        lodged: bool = False,
    ) -> None:
        """As `Training` has the arguments. `lodged`: another does the updates (`Fleet`), which moves what `moved_by` says alone."""
        self._replicas = replicas
        like = next(iter(replicas.parameters().values()))
        values = [[getattr(point, name) for point in points] for name in Multipliers._fields]
        self._at = Multipliers(*torch.tensor(values, dtype=like.dtype, device=like.device))
        averages = config.schedule == "average" and not annealed
        if averages:
            go_ahead(replicas, preconditioner)
        self.optimizer = make_optimizer(replicas, preconditioner, config, renews=annealed)
        compiled = isinstance(replicas, Looped) and replicas.compiled
        self._behind = lodged or compiled
        """Whether the parameters have to be brought up to date with the iterate."""
        iterate = moved_by(self.optimizer, replicas) if self._behind else replicas.parameters()
        self.average = Average(iterate, updates) if averages else None
        self._code: CompiledUpdate | None = None
        if isinstance(replicas, Looped) and replicas.compiled:
            self._code = CompiledUpdate(replicas, self.optimizer, self._at, average=self.average, rounds=config.rounds)

    def update(self, number: int, batch: DeviceExamples, noise: Noise, *, seed: int) -> Tensor:
        """The replicas' losses before the update, summed; `seed` is that of stochastic layers."""
        if self._code and number > 0:
            return self._code(number, batch, noise, seed)
        total = self._update(batch, noise, seed)
        if self.average:
            self.average.see(number)
        return total

    def _update(self, batch: DeviceExamples, noise: Noise, seed: int) -> Tensor:
        # The replicas share no parameters, so the gradient of the sum is each one's own gradient.
        total = self._replicas.loss(batch.x, batch.y, noise, self._at, seed=seed).sum()
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        self._replicas.complete_gradients()
        self.optimizer.step()
        return total.detach()

    def write_back(self) -> None:
        """Bring the parameters of the replicas up to date, before they are read: compiled code and a fleet move SOAP's copies alone."""
        if self._behind and isinstance(self.optimizer, Soap):
            self.optimizer.write_back()

    @torch.no_grad()
    def finish(self) -> Weights:
        """Give the replicas the average of their weights, if there is one; returns what the next training begins with."""
        self.write_back()
        ahead: Weights = {}
        if self.average:
            parameters = self._replicas.parameters()
            last = {key: parameter.detach().clone() for key, parameter in parameters.items()}
            self.average.finish()
            self.write_back()
            ahead = pack(ahead=self._replicas.first({key: value - parameters[key].detach() for key, value in last.items()}))
        return {**left_by(self.optimizer, self._replicas), **ahead}

    def state(self) -> dict[str, Any]:
        """Everything that the rest of a training depends on, as tensors and plain values."""
        self.write_back()
        tensors = {name: value.detach() for name, value in self._replicas.tensors().items()}
        return {"tensors": tensors, "optimizer": self.optimizer.state_dict()}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned."""
        for name, value in self._replicas.tensors().items():
            value.copy_(state["tensors"][name])
        self.optimizer.load_state_dict(state["optimizer"])


def why_not_compiled(model: Any, x: Tensor, y: Tensor) -> str | None:
    """Why the update of a model cannot be compiled as a whole, in one line; None if it can.

    It is tried on x (N, *input_shape) and y (N,), without a compiler of machine code; the model's weights change.
    """
    noise = draw_noise(torch.Generator(), n=len(x), widths=widths_of(model), decoder_draws=1, head_draws=2, dtype=x.dtype)
    batch, replicas, one = DeviceExamples(x=x, y=y), Looped([model]), torch.ones(1, dtype=x.dtype)
    descent = Descent(replicas, [Point(lam=1.0, gamma=1.0, sigma=1.0)], EquilibrationConfig(), None, updates=2, annealed=True)
    descent.update(0, batch, noise, seed=0)
    try:
        CompiledUpdate(replicas, descent.optimizer, Multipliers(one, one, one), backend="eager")(1, batch, noise, 0)
    except Exception as error:  # a model of the user's own may raise anything
        return f"{type(error).__name__}: {str(error).strip()}".partition("\n")[0]
    return None
