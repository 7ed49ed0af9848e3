"""Gaussians in training to packed snapshots: copied between two steps, packed in a thread beside training."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter, thread_time

import torch
from torch import Tensor

from sfumato.core.gaussians import Gaussians
from sfumato.core.limits import usable_cores
from sfumato.core.sh import bases_of_degree
from sfumato.view.pace import Pace
from sfumato.view.packed import MAX_DEGREE, most_important, pack, to_bytes

__all__ = ["Snapshot", "Snapshots", "Worker"]

ROOM = 1.25  # times the memory that a copy needs: Gaussians multiply


@dataclass(frozen=True)
class Snapshot:
    """A whole cloud in the bytes of `packed.to_bytes`."""

    serial: int  # 1, 2, ...
    step: int
    data: bytes


class Worker:
    """A thread that does one thing after another; nothing that goes wrong there stops training."""

    def __init__(self, failed: Callable[[str, Exception], None]) -> None:
        """failed: is told what could not be done, in that thread."""
        self._failed = failed
        self.cores = usable_cores()
        torch.get_num_threads()  # settles this thread's: where torch has done nothing yet, the worker's would be it
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="viewer", initializer=_use_one_thread)

    def do(self, what: str, job: Callable[[], None], ended: Callable[[float], None] | None = None) -> None:
        """Do the job when those before are done. ended: is told its cost, in seconds of all the processor's cores."""

        def run() -> None:
            began = thread_time()
            try:
                job()
            except Exception as error:  # too little memory, above all
                self._failed(what, error)
            finally:
                if ended:
                    ended((thread_time() - began) / self.cores)

        self._pool.submit(run)

    def close(self) -> None:
        """Wait for what is being done, and leave the rest."""
        self._pool.shutdown(cancel_futures=True)


class Snapshots:
    """The newest snapshot, and at most one copy that becomes the next."""

    def __init__(self, worker: Worker, pace: Pace, announce: Callable[[], None]) -> None:
        """announce: is called in the background when there is a new one."""
        self._worker, self._pace, self._announce = worker, pace, announce
        self._copy: dict[str, Tensor] = {}
        self._serial = 0
        self.newest: Snapshot | None = None
        self.busy = False  # a copy is being packed

    @property
    def due(self) -> bool:
        """True when another may be taken."""
        return not self.busy and self._pace.due

    def take(self, gaussians: Gaussians, step: int, degree: int = MAX_DEGREE, most: int | None = None) -> None:
        """Copy Gaussians as they are now, and pack the copy in the background. Only when not busy.

        degree: of the spherical harmonics that are worth showing. most: Gaussians that every page can hold.
        """
        clock = perf_counter if gaussians.means.is_cuda else thread_time  # a GPU is waited for, which is no work
        began = clock()
        copied = self._copied(gaussians, min(degree, MAX_DEGREE, gaussians.degree))
        self._pace.spend(clock() - began)  # not shared by the cores: training stands still meanwhile
        self._start(copied, step, most)

    def take_last(self, gaussians: Gaussians, step: int, most: int | None = None) -> None:
        """Pack Gaussians that nobody changes any more; the memory for copies is given back."""
        self._worker.do("the last snapshot", self._copy.clear)
        self._start(gaussians.detach().to("cpu"), step, most)

    def _start(self, gaussians: Gaussians, step: int, most: int | None) -> None:
        def packing() -> None:
            shown = gaussians if most is None else most_important(gaussians, most)
            packed = pack(shown)
            self._serial += 1
            data = to_bytes(packed, step=step, of=len(gaussians))
            self.newest = Snapshot(self._serial, step, data)

        def ended(cost: float) -> None:
            self._pace.spend(cost)
            self.busy = False
            self._announce()

        self.busy = True
        self._worker.do("a snapshot for the browser", packing, ended)

    def _copied(self, gaussians: Gaussians, degree: int) -> Gaussians:
        """A copy in memory that is used again and again: fresh memory costs more than copying."""
        kept = bases_of_degree(degree) - 1
        columns = {name: getattr(gaussians, name) for name in gaussians.names()}
        columns["shN"] = gaussians.shN[:, :kept]
        return Gaussians(*(self._into(name, column) for name, column in columns.items()))

    def _into(self, name: str, column: Tensor) -> Tensor:
        room = self._copy.get(name)
        if room is None or room.numel() < column.numel():
            room = self._copy[name] = torch.empty(int(ROOM * column.numel()), dtype=column.dtype)
        copy = room[: column.numel()].view(column.shape)
        copy.copy_(column)
        return copy


def _use_one_thread() -> None:
    torch.set_num_threads(1)  # more would only take cores from training
