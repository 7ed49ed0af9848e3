"""How much memory a piece of code holds at once: the bytes of tensors that it makes, as long as they live."""

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Held"]


class Held(TorchDispatchMode):
    """Counts what is made inside a `with` block; `peak` is the most bytes of it that were there at once."""

    def __init__(self, *known: Tensor) -> None:
        """known: there before, and not counted."""
        super().__init__()
        self.peak = 0
        self._sizes = {tensor.untyped_storage().data_ptr(): 0 for tensor in known}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, which takes seconds

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage()).data_ptr() not in self._sizes:
                self._sizes[storage.data_ptr()] = storage.nbytes()
                weakref.finalize(storage, self._sizes.pop, storage.data_ptr())
        self.peak = max(self.peak, sum(self._sizes.values()))
        return result
