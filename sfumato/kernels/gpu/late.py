"""A whole number that a GPU computes and the host reads later, when it may be there already."""

import torch
from torch import Tensor

__all__ = ["Late"]


class Late:
    """The number of a () tensor, when it is called.

    The copy to the host starts at once, into pinned memory (any other would make the host wait), and an event marks
    its end. A number on the CPU is there already.
    """

    def __init__(self, number: Tensor) -> None:
        self.number, self.arrived = number, None
        if number.device.type == "cuda":
            self.number = torch.empty((), dtype=number.dtype, device="cpu", pin_memory=True)
            self.number.copy_(number, non_blocking=True)
            self.arrived = torch.cuda.Event()
            self.arrived.record(torch.cuda.current_stream(number.device))

    def __call__(self) -> int:
        """The number; waits for what the GPU was asked to do before this was made, not for what since."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return int(self.number)
