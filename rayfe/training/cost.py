"""What answering a request costs, in training examples: the only place that says so.

A training example is one forward and one backward pass of one example with one draw of z through the decoder. A forward pass
alone is a third of it. Half of a pass encodes, the other half decodes; passes through the classifier count by their operations.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rayfe.config import RunConfig
from rayfe.data.device_path import DeviceExamples, Still
from rayfe.data.path_sizes import PathSizes
from rayfe.model.likelihood import likelihood_of
from rayfe.records import BOUND_DRAWS, PROBE, Annealing, MeasureRequest, SettleRequest, Split
from rayfe.training.batch_norm import recompute_statistics
from rayfe.training.certificate import PARTS, bound_cost, bound_size, gradient_size
from rayfe.training.differences import difference
from rayfe.training.exact_derivatives import GRADIENTS, PRODUCT_COST, SOLVE, Solve
from rayfe.training.measure import FORWARD, SLOPE_STEP, Effort, drawing_of, head_share, slope_drawing
from rayfe.training.take_up import FIT_PASSES

FIRST_READINGS = 50
"""Probe readings during a training that is annealed as a whole, such as a first equilibrium (Fig. 4a)."""
FITTED = 5000
"""Examples to which dimensions of z are fitted that take up something."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """The extent of one equilibration."""

    batch: int
    updates: int
    probes: frozenset[int]
    """Numbers of the updates before which the probe is read; it is read at the end, too."""


class Costs:
    """The costs of one configuration's requests on the paths of its splits (`paths`).

    `model` is any model of the configuration, in evaluation mode, and `example` one example of its input, (1, ...): costs depend
    on the architecture, not on weights.
    """

    def __init__(
        self, config: RunConfig, paths: Mapping[Split, PathSizes], model: Any, example: Tensor, *, solve: Solve = SOLVE
    ) -> None:
        self._config, self._paths, self._model, self.solve = config, paths, model, solve
        self._train, measure = paths[Split.TRAIN], config.measure
        self._head = head_share(model, example)
        self._one = Still(DeviceExamples(x=example, y=torch.zeros(1, dtype=torch.long, device=example.device)))
        self._passes: dict[tuple[int, bool], float] = {}
        self._lock = threading.Lock()  # threads that ask share the model
        self._statistics = self._train.thinned(measure.statistics_size)
        self._probe = min(PROBE, len(self._train))
        self.drawing = drawing_of(measure, model, example, images=len(self._train), models=config.service.slots)
        """How the backend reads."""

    def training(self, annealing: Annealing | None) -> Training:
        """The equilibration by the walk's own schedule, or a part of an annealed one."""
        config = self._config.equilibration
        batch = config.batch_of(annealed=annealing is not None)
        epochs = annealing.end - annealing.begin if annealing else config.epochs
        updates = max(1, round(epochs * len(self._train) / batch))
        whole = annealing is not None and (annealing.begin, annealing.end) == (0.0, annealing.epochs)
        readings = min(FIRST_READINGS if whole else 1, updates)
        return Training(batch=batch, updates=updates, probes=frozenset(i * updates // readings for i in range(readings)))

    def equilibrated(self, training: Training, *, replicas: int, updates: int, readings: int) -> float:
        """So many updates of `replicas` models, and so many readings of a model on the probe."""
        return updates * training.batch * replicas + readings * self._probe * FORWARD

    def measured(self, request: MeasureRequest) -> float:
        """The statistics of every replica, and its readings."""
        effort = Effort(draw_sets=request.draw_sets, decoder_sets=request.decoder_sets)
        cost = 0.0
        for replica in request.replicas:
            cost += self._recomputed(self._statistics, replica.point.t)
            for split in request.splits:
                cost += self._read(request, split, replica.point.t, effort)
        return cost

    def _read(self, request: MeasureRequest, split: Split, t: float, effort: Effort) -> float:
        measure = self._config.measure
        path = self._paths[Split.VALIDATION if split is Split.TARGET else split]
        path = path.thinned(measure.response_size if request.part else None)
        cost = effort.cost(path.size(1.0 if split is Split.TARGET else t), self.drawing, self._head)
        if request.slope_in_t and split is Split.TRAIN:
            cost += self._slope(path.thinned(measure.response_size), t)
        if request.certify and split is Split.TRAIN:
            cost += self._certified(path, t)
            cost += 0.5 * FORWARD * path.size(t) + self._missed(path, t)
        return cost

    def _slope(self, path: PathSizes, t: float) -> float:
        drawing = slope_drawing(self.drawing)
        return sum(
            self._recomputed(path, at) + Effort().cost(path.size(at), drawing, self._head)
            for at, _ in difference(t, SLOPE_STEP)
        )

    def _certified(self, path: PathSizes, t: float) -> float:
        """The bound J_K and the gradient of J."""
        trained = self._config.equilibration.epochs * len(path)
        bound = bound_cost(BOUND_DRAWS) * path.thinned(bound_size(trained)).size(t)
        return bound + PARTS * gradient_size(trained, len(path))

    def _missed(self, path: PathSizes, t: float) -> float:
        """One encoding and two reconstructions of a part of the examples, where D is a multiple of the squared error."""
        if likelihood_of(self._model).squared_weight() is None:
            return 0.0
        return 0.5 * 3.0 * FORWARD * path.thinned(PROBE).size(t)

    def evaluated(self, request: SettleRequest, *, quick: bool = False) -> float:
        """One evaluation of a settle; a `quick` one reads a part of the examples."""
        t = request.point.t
        effort = Effort(
            draw_sets=request.draw_sets, decoder_sets=request.decoder_sets, decode=any(held.D for held in request.held)
        )
        most = self._config.measure.response_size if quick else None
        statistics = self._train.thinned(most) if quick else self._statistics
        read = effort.cost(self._paths[request.split].thinned(most).size(t), self.drawing, self._head)
        return self._recomputed(statistics, t, decode=effort.decode) + read

    def differentiated(self, products: int) -> float:
        """So many Hessian-vector products, and the gradients that they are applied to."""
        return 2 * (self.derivative_examples() // 2) * (PRODUCT_COST * products + GRADIENTS)

    def derivative_examples(self) -> int:
        """Examples in each of the batches of exact derivatives."""
        return min(self.solve.examples, len(self._train))

    def taken_up(self, t: float, *, fitted: bool) -> float:
        """A look at what dimensions of z could take up; `fitted`: some were fitted to it."""
        part = self._train.thinned(PROBE)
        cost = self._recomputed(self._statistics, t) + 0.5 * FORWARD * part.size(t) + self._missed(part, t)
        return cost + (FIT_PASSES * min(FITTED, len(part)) if fitted else 0.0)

    def _recomputed(self, path: PathSizes, t: float, *, decode: bool = True) -> float:
        """Statistics of batch-norm layers: of one example they take as many passes as of each of n, in chunks if n of them need chunks."""
        n = path.size(t)
        with self._lock:
            if (n, decode) not in self._passes:
                self._passes[n, decode] = recompute_statistics(
                    self._model, self._one, 0.0, chunk=1, key=lambda name: 0, decode=decode, most=self.drawing.whole // n
                )
            return FORWARD * n * self._passes[n, decode]
