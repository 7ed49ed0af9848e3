"""Tensors to a GPU ahead of their use: through pinned memory, on a stream of their own, while it computes."""

from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

__all__ = ["Parcel", "Transfer", "free_memory"]


class Transfer:
    """Sends tensors to one GPU; neither the host nor what the GPU computes meanwhile waits for them.

    Only what is on its way lies in pinned memory, which the system can neither move nor swap. Close it at the end.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="transfer")

    def begin(self, *tensors: Tensor) -> "Parcel":
        """Start to bring tensors from memory to the GPU."""
        return Parcel(self, self._pool.submit(_pinned, tensors))

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(cancel_futures=True)


class Parcel:
    """Tensors on their way."""

    def __init__(self, transfer: Transfer, pinned: "Future[tuple[Tensor, ...]]") -> None:
        self._transfer, self._pinned = transfer, pinned
        self._copies: tuple[Tensor, ...] | None = None
        self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]

    def go_on(self) -> None:
        """Start the second half of the way where the first is done; call it from time to time."""
        if self._pinned.done():
            self._copy()

    def landed(self) -> tuple[Tensor, ...]:
        """The tensors on the GPU, for whatever it is asked to do from now on."""
        copies, computing = self._copy(), torch.cuda.current_stream(self._transfer.device)
        computing.wait_event(self._arrived)
        for copy in copies:
            copy.record_stream(computing)  # or its memory could be given to the next parcel while it is read
        return copies

    def _copy(self) -> tuple[Tensor, ...]:
        if self._copies is None:
            with torch.cuda.stream(self._transfer.stream):
                pinned = self._pinned.result()
                self._copies = tuple(tensor.to(self._transfer.device, non_blocking=True) for tensor in pinned)
                self._arrived.record(self._transfer.stream)
        return self._copies


def free_memory(device: torch.device) -> int:
    """Bytes of a GPU's memory that nobody uses."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free)


def _pinned(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(tensor.pin_memory() for tensor in tensors)
