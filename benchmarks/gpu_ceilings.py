"""What a GPU can do at best, measured: bytes copied, multiply-adds and exponentials per second; and a clock for it."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sfumato.kernels.gpu.launch import launch

__all__ = ["Ceilings", "Clock", "ceilings"]

BLOCK = 256
UNROLLED: tl.constexpr = tl.constexpr(16)  # times that each of eight numbers of a thread is worked on in a round


@dataclass(frozen=True)
class Ceilings:
    """Rates that no kernel can beat."""

    bytes: float  # per second, read and written
    fmas: float  # multiply-adds per second
    exp2s: float  # per second
    lanes: int  # threads of a warp


class Clock:
    """Milliseconds that calls take on a device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.on_gpu = device.type == "cuda"
        self.warmup, self.series = (3, 5) if self.on_gpu else (0, 1)  # interpreted kernels have nothing to warm up
        self._numbers = torch.empty(BLOCK * (4096 if self.on_gpu else 1), device=device)
        self._rounds = 1
        if self.on_gpu:
            took = self.turns({"fill": self._fill}, 3)["fill"]
            self._rounds = max(1, round(10 / took))

    def turns(self, calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
        """The median milliseconds of each call: in every round all are called once, in their order.

        The GPU is kept busy for 10 ms first, so that what is asked of it waits in a line and is not waited for.
        """
        times: dict[str, list[float]] = {name: [] for name in calls}
        for repeat in range(self.warmup + repeats):
            for name, spent in self._round(calls).items():
                if repeat >= self.warmup:
                    times[name].append(spent)
        return {name: statistics.median(spent) for name, spent in times.items()}

    def throughput(self, calls: Mapping[str, Callable[[], Any]], count: int) -> dict[str, float]:
        """The milliseconds of each call when it is called again and again: all that a user waits for is in them.

        The median of a few series of `count` calls, those of all calls in turns.
        """
        times: dict[str, list[float]] = {name: [] for name in calls}
        for turn in range(self.warmup + self.series):
            for name, call in calls.items():
                self.wait()
                start = time.perf_counter()
                for _ in range(count):
                    call()
                self.wait()
                if turn >= self.warmup:
                    times[name].append(1e3 * (time.perf_counter() - start) / count)
        return {name: statistics.median(spent) for name, spent in times.items()}

    def wait(self) -> None:
        """Until the device has done all that it was asked to do."""
        if self.on_gpu:
            torch.cuda.synchronize(self.device)

    def _round(self, calls: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
        if not self.on_gpu:
            return {name: _seconds(call) * 1e3 for name, call in calls.items()}
        events = [torch.cuda.Event(enable_timing=True) for _ in range(len(calls) + 1)]
        self._fill()
        events[0].record()
        for event, call in zip(events[1:], calls.values(), strict=True):
            call()
            event.record()
        self.wait()
        return {name: events[i].elapsed_time(events[i + 1]) for i, name in enumerate(calls)}

    def _fill(self) -> None:
        _work(_multiply, self._numbers, 16 * self._rounds)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ceilings(clock: Clock) -> Ceilings:
    """Measure the ceilings of the clock's device."""
    numbers = 2**28 if clock.on_gpu else 2**10
    rounds = 512 if clock.on_gpu else 1
    source, target = (torch.ones(numbers, device=clock.device) for _ in range(2))
    work = torch.empty(BLOCK * (2**14 if clock.on_gpu else 1), device=clock.device)
    calls: dict[str, Callable[[], Any]] = {
        "copy": lambda: target.copy_(source),
        "fma": lambda: _work(_multiply, work, rounds),
        "exp2": lambda: _work(_exponentiate, work, rounds),
    }
    ms = clock.turns(calls, 5)
    lanes = torch.cuda.get_device_properties(clock.device).warp_size if clock.on_gpu else 32
    operations = work.numel() * rounds * 8 * UNROLLED.value
    return Ceilings(8 * numbers / ms["copy"] * 1e3, operations / ms["fma"] * 1e3, operations / ms["exp2"] * 1e3, lanes)


def _work(kernel: Any, numbers: Tensor, rounds: int) -> None:
    launch(kernel, (numbers.numel() // BLOCK,), numbers, rounds, warps=8, BLOCK=BLOCK)


@triton.jit
def _starts(BLOCK: tl.constexpr):
    """Eight numbers per thread, which do not depend on each other."""
    x = tl.arange(0, BLOCK).to(tl.float32) * 1e-3
    return x, x + 1, x + 2, x + 3, x + 4, x + 5, x + 6, x + 7


@triton.jit(do_not_specialize=["rounds"])
def _multiply(out, rounds, BLOCK: tl.constexpr):
    a, b, c, d, e, f, g, h = _starts(BLOCK)
    for _ in range(rounds):
        for _ in tl.static_range(UNROLLED):
            a, b, c, d = tl.fma(a, a, b), tl.fma(b, b, c), tl.fma(c, c, d), tl.fma(d, d, a)
            e, f, g, h = tl.fma(e, e, f), tl.fma(f, f, g), tl.fma(g, g, h), tl.fma(h, h, e)
    tl.store(out + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), a + b + c + d + e + f + g + h)


@triton.jit
def exp2(x, PTX: tl.constexpr):
    """2^x in the one instruction that NVIDIA's cards have for it."""
    if PTX:
        return tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, is_pure=True, pack=1)
    else:
        return tl.exp2(x)


@triton.jit(do_not_specialize=["rounds"])
def _exponentiate(out, rounds, BLOCK: tl.constexpr, PTX: tl.constexpr):
    a, b, c, d, e, f, g, h = _starts(BLOCK)
    for _ in range(rounds):
        for _ in tl.static_range(UNROLLED):
            a, b, c, d = exp2(-a, PTX), exp2(-b, PTX), exp2(-c, PTX), exp2(-d, PTX)
            e, f, g, h = exp2(-e, PTX), exp2(-f, PTX), exp2(-g, PTX), exp2(-h, PTX)
    tl.store(out + tl.program_id(0) * BLOCK + tl.arange(0, BLOCK), a + b + c + d + e + f + g + h)
