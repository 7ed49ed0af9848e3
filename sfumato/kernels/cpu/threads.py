"""Kernels compiled once and kept on disk, and a pool of Python threads that runs them over blocks of work.

A kernel holds no interpreter lock and takes blocks from a shared counter until none is left, so threads that are
slowed down by other programs simply take fewer. What a block computes depends on the block alone: the result has
the same bits whatever the number of threads. No OpenMP, TBB or Numba threading layer is involved: those spin when
another process works, die after a fork, or end the process when two Python threads launch at once.
"""

import contextlib
import hashlib
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sfumato.core import cache
from sfumato.core.errors import BackendError
from sfumato.kernels.cpu.memory import address
from sfumato.kernels.cpu.simd import LANES

__all__ = [
    "aligned",
    "cache_folder",
    "chunks",
    "helper",
    "kernel",
    "launch",
    "scratch",
    "set_threads",
    "take",
    "threads",
    "using_threads",
    "workspace",
]

# Contraction to fused multiply-add and reordering of sums, but NaN and Inf keep their meaning: culling needs them.
_FASTMATH = {"contract", "reassoc", "arcp", "nsz"}


def cache_folder() -> Path:
    """Where compiled kernels are kept: one folder per version of their source, of Numba, and vector width."""
    digest = hashlib.sha256(f"{numba.__version__} {sys.version}".encode())
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    return cache.cache_folder() / "kernels" / f"{digest.hexdigest()[:12]}-{LANES}"


_cache = cache_folder()


def kernel(function: Callable[..., None]) -> Any:
    """Compile for launch(): the first argument is the counter that blocks are taken from, with take()."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = str(_cache)  # read by Numba when the function is decorated, and never again
    try:
        return numba.njit(nogil=True, cache=True, fastmath=_FASTMATH, error_model="numpy", boundscheck=False)(function)
    finally:
        numba.config.CACHE_DIR = before


def helper(function: Callable[..., Any]) -> Any:
    """Compile for use inside kernels."""
    options = {"forceinline": True, "_nrt": False, "fastmath": _FASTMATH, "error_model": "numpy", "boundscheck": False}
    return numba.njit(nogil=True, **options)(function)


@intrinsic
def take(typing, counter):
    """The next block's number; every number is given out once, whoever asks."""

    def generate(context, builder, signature, args):
        data = context.make_array(counter)(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counter), generate


LINE = 64  # bytes of a cache line; a vector that lies across two costs twice


def aligned(array: Any) -> Any:
    """A copy of a float32 array that begins on a cache line."""
    room = np.empty(array.size + LINE // 4, np.float32)
    start = -(room.ctypes.data // 4) % (LINE // 4)
    room[start : start + array.size] = array.reshape(-1)
    return room[start : start + array.size].reshape(array.shape)


@numba.njit
def workspace(size):
    """Inside a kernel: `size` float32 that begin on a cache line, not initialised."""
    room = np.empty(size + 16, np.float32)
    start = (-(address(room) >> 2)) & 15
    return room[start : start + size]


# ---- the pool


class _Job:
    """One launch: threads may enter until it is closed, and the launcher waits for those inside."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] | None = work
        self.inside = 0
        self.open = True
        self.error: BaseException | None = None
        self.changed = threading.Condition()

    def enter_and_work(self) -> None:
        with self.changed:
            if not self.open:
                return
            self.inside += 1
            work = self.work
        try:
            if work is not None:
                work()
        except BaseException as error:
            self.error = error
        finally:
            del work  # the arrays are freed by the launcher, never by a daemon thread while Python shuts down
            with self.changed:
                self.inside -= 1
                self.changed.notify()

    def close(self) -> None:
        with self.changed:
            self.open = False
            while self.inside:
                self.changed.wait()
            self.work = None


class _Pool:
    """Daemon threads that wait for jobs; they are started when first needed."""

    def __init__(self) -> None:
        self.jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self.started = 0
        self.lock = threading.Lock()

    def offer(self, job: _Job, helpers: int) -> None:
        with self.lock:
            while self.started < helpers:
                self.started += 1
                name = f"sfumato-{self.started}"
                threading.Thread(target=self._serve, name=name, daemon=True).start()
        for _ in range(helpers):
            self.jobs.put(job)

    def _serve(self) -> None:
        while True:
            self.jobs.get().enter_and_work()


def _available() -> int:
    if forced := os.environ.get("SFUMATO_THREADS"):
        if not forced.isdigit() or forced == "0":
            raise BackendError(f"SFUMATO_THREADS must be a number of threads, at least 1; got {forced!r}")
        return int(forced)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_pool = _Pool()
_threads = _available()


def _forget_pool() -> None:
    global _pool
    _pool = _Pool()  # a forked child has none of its parent's threads


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def threads() -> int:
    """How many threads a launch uses, the caller included."""
    return _threads


def set_threads(count: int) -> None:
    """Use `count` threads from now on; results do not depend on it."""
    global _threads
    if count < 1:
        raise BackendError(f"the number of threads must be at least 1; got {count}")
    _threads = count


def launch(kernel: Any, blocks: int, *args: Any) -> None:
    """Run kernel(counter, blocks, *args) on up to threads() threads; returns when all blocks are done."""
    counter = np.zeros(1, np.int64)
    helpers = min(_threads, blocks) - 1
    if helpers <= 0:
        kernel(counter, blocks, *args)
        return
    job = _Job(lambda: kernel(counter, blocks, *args))
    _pool.offer(job, helpers)
    try:
        kernel(counter, blocks, *args)
    finally:
        job.close()  # also when interrupted: the arrays must outlive the kernels that use them
    if job.error is not None:
        raise job.error


# ---- memory that is used again

_local = threading.local()


def scratch(name: str, size: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """At least `size` float32 of this thread's own memory, contents left over from the last use of `name`.

    Fresh memory of tens of megabytes costs a page fault every 4 kB, more than the kernels that fill it.
    """
    buffers: dict[str, Any] = _local.__dict__.setdefault("buffers", {})
    buffer = buffers.get(name)
    if buffer is None or buffer.size < size:
        buffer = buffers[name] = np.empty(int(1.25 * size) + LANES, np.float32)
    return buffer


@contextlib.contextmanager
def using_threads(count: int) -> Iterator[None]:
    """Use `count` threads inside the block."""
    before = threads()
    set_threads(count)
    try:
        yield
    finally:
        set_threads(before)


def chunks(total: int, most: int) -> tuple[int, int]:
    """(number of chunks, size of each) that split `total` items into at most `most` chunks."""
    size = max(1, -(-total // most))
    return -(-total // size), size
