"""Calls of several threads that are done in one pass, by models that are stacked in a fixed number of slots."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state
from torch.utils._pytree import tree_map


class _Called(nn.Module):
    """A model on which a function of it is called, so that torch.func can swap its weights meanwhile."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, body: Callable[[Any, Any], Any], own: Any) -> Any:
        return body(self.model, own)


def in_one_pass(models: Sequence[Any], body: Callable[[Any, Any], Any], own: Sequence[Any]) -> list[Any]:
    """body(model, own) of each model of one architecture: a pure function of both that returns tensors, in any containers.

    `own` are integers and tensors in any containers, the same for each model. Several models are stacked (torch.func.vmap).
    """
    if len(models) == 1:
        return [body(models[0], own[0])]
    skeleton = _Called(copy.deepcopy(models[0]).to("meta"))
    parameters, buffers = stack_module_state([_Called(model) for model in models])
    device = next(iter(parameters.values())).device

    def stacked(*leaves: Any) -> Tensor:
        return torch.stack(leaves) if isinstance(leaves[0], Tensor) else torch.tensor(leaves, device=device)

    def one(parameters: dict[str, Tensor], buffers: dict[str, Tensor], own: Any) -> Any:
        return functional_call(skeleton, (parameters, buffers), (body, own))

    out = torch.func.vmap(one, randomness="error")(parameters, buffers, tree_map(stacked, *own))
    return [tree_map(lambda leaf, i=i: leaf[i], out) for i in range(len(models))]


@dataclass(kw_only=True, eq=False, slots=True)
class _Call:
    kind: Hashable
    item: Any
    work: Callable[[list[Any]], list[Any]]
    taken: bool = False
    done: bool = False
    result: Any = None
    error: Exception | None = None


class Together:
    """Gathers calls of one kind from the threads that are at work, one thread a trajectory.

    When every thread that is at work waits for a call, one of them does all those that are of the kind of the first. A pass has
    `slots` items always, the first again where there are fewer, so that no result depends on the company.
    """

    def __init__(self, slots: int) -> None:
        self._slots, self._changed = slots, threading.Condition()
        self._busy = 0
        """Threads that are at work and do not wait for a call."""
        self._calls: list[_Call] = []
        self.alone: contextlib.AbstractContextManager[Any] = threading.RLock()
        """Held during work that is not for several threads at once; no call may be made meanwhile."""

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Within the block the calling thread may make calls, and others wait for them."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._changed:
            self._busy += change
            self._changed.notify_all()

    def do(self, kind: Hashable, item: Any, work: Callable[[list[Any]], list[Any]]) -> Any:
        """The item's part of `work` of the items of one kind, whose `work` is the same; raises what it raised for this item."""
        if self._slots == 1:
            with self.alone:
                return work([item])[0]
        call = _Call(kind=kind, item=item, work=work)
        with self._changed:
            self._calls.append(call)
            self._busy -= 1
            self._changed.notify_all()
            try:
                while not call.done:
                    if call.taken or self._busy:
                        self._changed.wait()
                    else:
                        self._lead()
            finally:
                if call.taken:  # a signal ended the wait; who leads takes it off
                    call.done = True
                elif not call.done:
                    self._calls.remove(call)
                    self._busy += 1
        if call.error is not None:
            raise call.error
        return call.result

    def _lead(self) -> None:
        """Do the calls of the kind of the first; the lock is held before and after, not meanwhile."""
        calls = [call for call in self._calls if call.kind == self._calls[0].kind][: self._slots]
        for call in calls:
            call.taken = True
        self._busy += len(calls)
        self._changed.release()
        try:
            self._work(calls)
        finally:
            self._changed.acquire()
            for call in calls:
                call.taken = False
                if call.done:
                    self._calls.remove(call)
                else:
                    self._busy -= 1
            self._changed.notify_all()

    def _work(self, calls: list[_Call]) -> None:
        try:
            found = self._padded(calls)
        except Exception as error:
            if len(calls) == 1:
                calls[0].error = error
            else:  # whose fault it is shows when each is alone
                for call in calls:
                    self._work([call])
                return
        else:
            for call, result in zip(calls, found, strict=False):
                call.result = result
        for call in calls:
            call.done = True

    def _padded(self, calls: list[_Call]) -> list[Any]:
        items = [call.item for call in calls]
        return calls[0].work(items + [items[0]] * (self._slots - len(items)))
