"""A device without values that stands in for a GPU: what works on it alone, how often the host waits for it, what is launched there.

Tensors on torch's meta device have shapes only. Whatever the host would read from a GPU is 1 here, and all places are not zero.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

META = torch.device("meta")
aten = torch.ops.aten
COPIES = (aten._to_copy.default, aten.copy_.default)
MADE = (torch.tensor, torch.as_tensor, Tensor.new_tensor)


class Generator(torch.Generator):
    """Random numbers of a device that has none of its own."""

    def __init__(self, device: Any = "cpu") -> None:
        self._place = torch.device(device)

    def __new__(cls, device: Any = "cpu") -> Generator:
        return super().__new__(cls)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self._place


class Seen(TorchDispatchMode):
    """Counts while it is entered; an operation on tensors of both devices is an error, as it is with a GPU.

    A copy between host and device counts as a wait in both directions: from memory that is not pinned it is one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()
        """By the line of rayfe that waits."""
        self.launched = 0
        """Operations that are not views and leave something on the device."""
        self._made = _Made(self)

    def __enter__(self) -> Seen:
        self._made.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._made.__exit__(*error)

    def forget(self) -> None:
        """Count from 0."""
        self.waits.clear()
        self.launched = 0

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """Nothing is counted."""
        self.__exit__(None, None, None)
        yield
        self.__enter__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        metas = [tensor for tensor in tensors if tensor.is_meta]
        if func in COPIES and tensors:
            return self._copied(func, args, kwargs)
        if metas and func in ANY_ORDER:
            raise RuntimeError(f"{func} adds in any order on a GPU")
        others = [tensor for tensor in tensors if not tensor.is_meta and (tensor.dim() or func in FUSED)]
        if metas and others:
            raise RuntimeError(f"{func} has tensors of both devices")
        if func is aten._local_scalar_dense.default and metas:
            self.wait()
            return torch.ones((), dtype=args[0].dtype).item()
        if func is aten.nonzero.default and metas:
            self.wait()
            return torch.empty(args[0].numel(), args[0].dim(), dtype=torch.long, device=META)
        if func in CHOOSE and any(index is not None and index.dtype is torch.bool for index in args[1]):
            self.wait()
            args = (args[0], [self._places(index) for index in args[1]], *args[2:])
        out = func(*args, **kwargs)
        if not func.is_view and any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in tree_leaves(out)):
            self.launched += not func.name().startswith("aten::empty")
        return out

    def _copied(self, func: Any, args: Any, kwargs: Any) -> Any:
        place = kwargs.get("device") if func is COPIES[0] else args[0].device
        source = args[0] if func is COPIES[0] else args[1]
        to = source.device if place is None else torch.device(place)
        if to.type == source.device.type:
            self.launched += to.type == "meta"
            return func(*args, **kwargs)
        self.wait()
        if to.type == "meta":
            return func(*args, **kwargs)
        if func is COPIES[1]:
            return args[0].fill_(1)
        return torch.ones(source.shape, dtype=kwargs.get("dtype") or source.dtype)

    @staticmethod
    def _places(index: Tensor | None) -> Tensor | None:
        if index is None or index.dtype is not torch.bool:
            return index
        return torch.empty(index.numel(), dtype=torch.long, device=index.device)

    def wait(self) -> None:
        """Note that the host waits, and where."""
        own = [frame for frame in traceback.extract_stack() if "/rayfe/" in frame.filename]
        place = f"{own[-1].filename.rpartition('/rayfe/')[2]}: {own[-1].line}" if own else "elsewhere"
        self.waits[place] += 1


FUSED = (aten._fused_adam_.default,)
ANY_ORDER = (aten.index_add_.default, aten.index_add.default)
"""What gives other sums each time on a GPU."""
CHOOSE = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default)


class _Made(TorchFunctionMode):
    """Tensors that are made of numbers of the host, which no dispatcher sees."""

    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in MADE and made.is_meta and not isinstance(args[0], Tensor):
            self._seen.wait()
        return made


@contextlib.contextmanager
def as_on_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """Generators and fused optimizers work on the meta device, too, and what is done there is counted."""
    from torch.utils import _foreach_utils

    kinds = [*_foreach_utils._get_fused_kernels_supported_devices(), "meta"]
    monkeypatch.setattr(sys.modules["torch.optim.optimizer"], "_get_fused_kernels_supported_devices", lambda: list(kinds))
    monkeypatch.setattr(torch, "Generator", Generator)
    with Seen() as seen:
        yield seen
