"""A GPU that is not there: tensors that say `cuda:0` and live in memory, and a record of whatever makes the host wait.

What torch does between kernels is tested with it: that nothing on the CPU meets something on the GPU, and that an
ordinary step waits for nothing. Kernels that are launched run in Triton's interpreter. Write "cuda:0", not "cuda".
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from sfumato.kernels import backends

__all__ = ["DEVICE", "OnGPU", "PretendGPU", "WaitError", "pretended", "unwrapped", "wrapped"]

DEVICE = torch.device("cuda", 0)
BYTES = 8 * 2**30  # of its memory, all of it always free
ROOT = str(Path(__file__).parents[1])
aten = torch.ops.aten

# the host must know how many, or what, before it can go on
WAITING = {
    *(aten._local_scalar_dense, aten.is_nonzero, aten.item, aten.equal, aten.allclose),
    *(aten.nonzero, aten.nonzero_numpy, aten.argwhere, aten.masked_select, aten.masked_scatter, aten.bincount),
    *(aten._unique, aten._unique2, aten.unique_dim, aten.unique_consecutive, aten.unique_dim_consecutive),
}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_, aten._unsafe_index}
MOVING = {aten._to_copy, aten.copy_, aten.copy}
LIKE = {aten.zeros_like, aten.ones_like, aten.empty_like, aten.full_like, aten.rand_like, aten.randn_like}


class WaitError(AssertionError):
    """The host would have waited for the GPU where it must not."""


class OnGPU(Tensor):
    """A tensor of the pretended GPU. To torch's own code in C++ it is a meta tensor, to ours it is on cuda:0."""

    memory: Tensor  # the numbers, on the CPU
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, memory: Tensor) -> "OnGPU":
        shape, strides = memory.shape, memory.stride()
        tensor = Tensor._make_wrapper_subclass(
            cls, shape, strides, memory.storage_offset(), dtype=memory.dtype, device="meta"
        )
        tensor.memory = memory.detach()
        return tensor

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})

    device = property(lambda self: DEVICE)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    is_meta = property(lambda self: False)

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"OnGPU({self.memory})"

    def to(self, *args: Any, **kwargs: Any) -> Tensor:
        """Itself where nothing changes, as torch has it; C++ takes it for a meta tensor and would copy."""
        args = tuple(torch.device(a) if isinstance(a, str) else a for a in args)
        if kwargs.get("copy") or [a for a in args if not isinstance(a, torch.device | torch.dtype | Tensor)]:
            return super().to(*args, **kwargs)
        device, dtype = kwargs.get("device", DEVICE), kwargs.get("dtype", self.dtype)
        for given in args:
            device = given.device if isinstance(given, Tensor) else given if isinstance(given, torch.device) else device
            dtype = given.dtype if isinstance(given, Tensor) else given if isinstance(given, torch.dtype) else dtype
        same = torch.device(device).type == "cuda" and dtype == self.dtype
        return self if same else super().to(device, dtype, non_blocking=kwargs.get("non_blocking", False))

    def new_tensor(self, data: Any, **kwargs: Any) -> Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": DEVICE, **kwargs})

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")

    def pin_memory(self, device: object = None) -> Tensor:
        raise RuntimeError("cannot pin 'torch.cuda.FloatTensor' only dense CPU tensors can be pinned")

    def record_stream(self, stream: object) -> None:
        """Memory here is never used again too early."""


class _Mode(TorchDispatchMode):
    """Sees what has no tensor of the GPU among its arguments: what makes new ones there."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # torch would import its compiler, which takes seconds

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


_REAL = torch.Generator


class _Generator(_REAL):
    """Random numbers on the GPU; as there, its state does not fit a generator on the CPU."""

    device = property(lambda self: DEVICE)  # type: ignore[assignment]
    all: ClassVar[dict[int, "_Generator"]] = {}  # by their C++ objects: dispatched, they are other Python objects

    def __init__(self) -> None:
        self.all[self._cdata] = self

    def get_state(self) -> Tensor:
        return torch.cat([super().get_state(), torch.zeros(1, dtype=torch.uint8)])

    def set_state(self, state: Tensor) -> "_Generator":
        if len(state) != len(self.get_state()):
            raise RuntimeError("RNG state is wrong size")
        super().set_state(state[:-1])
        return self


class _Event:
    """Of a stream that has always done everything already."""

    def __init__(self, *_: object, **__: object) -> None: ...
    def record(self, stream: object = None) -> None: ...
    def wait(self, stream: object = None) -> None: ...
    def synchronize(self) -> None: ...
    def query(self) -> bool:
        return True


class _Stream(_Event):
    def wait_event(self, event: object) -> None: ...
    def wait_stream(self, stream: object) -> None: ...
    def record_event(self, event: _Event | None = None) -> _Event:
        return event or _Event()


class PretendGPU:
    """What tests ask of the machine with the GPU."""

    def __init__(self) -> None:
        self.device = DEVICE
        self.waits: list[str] = []  # where the host waited
        self.launches: list[str] = []  # kernels, by name
        self.pinned: set[int] = set()  # addresses of memory that the GPU may copy from by itself
        self._strict = False

    @contextmanager
    def no_waiting(self) -> Iterator[None]:
        """WaitError where the host would wait inside the block."""
        before, self._strict = self._strict, True
        try:
            yield
        finally:
            self._strict = before

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Inside a block of no_waiting: here it may, after all."""
        before, self._strict = self._strict, False
        try:
            yield
        finally:
            self._strict = before

    def wait(self, why: str) -> None:
        """The host waits here."""
        ours = [f for f in traceback.extract_stack() if f.filename.startswith(ROOT) and f.filename != __file__]
        place = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(ours[-4:]))
        self.waits.append(f"{why} in {place}")
        if self._strict:
            raise WaitError(self.waits[-1])


_gpu: PretendGPU | None = None


def unwrapped(tree: Any) -> Any:
    """The same with the memory of each tensor of the GPU in its place."""
    return tree_map(lambda leaf: leaf.memory if isinstance(leaf, OnGPU) else leaf, tree)


def wrapped(tree: Any) -> Any:
    """The same with each tensor on the GPU."""
    return tree_map(lambda leaf: OnGPU(leaf) if isinstance(leaf, Tensor) else leaf, tree)


def _run(function: Any, args: Any, kwargs: Any) -> Any:
    """What torch would do with these arguments, of which some are, or the result is to be, on the GPU."""
    leaves = tree_leaves((args, kwargs))
    ours = [leaf for leaf in leaves if isinstance(leaf, OnGPU)]
    others = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, OnGPU)]
    packet = function.overloadpacket
    asked = kwargs.get("device")
    there = bool(ours) if asked is None else torch.device(asked).type in ("cuda", "meta")
    if ours and packet not in MOVING | INDEXING and any(other.dim() for other in others):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! ({packet})"
        )
    _check_generator(leaves, there)
    _check_wait(packet, function, args, kwargs, ours, others, there)
    kwargs = dict(kwargs)
    if asked is not None:
        kwargs["device"] = torch.device("cpu")
    pin = kwargs.pop("pin_memory", None)
    result = function(*unwrapped(args), **unwrapped(kwargs))
    if packet is aten.copy_:
        return args[0]
    if pin and _gpu:
        _gpu.pinned.add(result.data_ptr())
    if packet is aten._to_copy and ours and not there:
        return result.clone() if result is ours[0].memory else result
    same = {id(tensor.memory): tensor for tensor in ours}
    return tree_map(lambda leaf: _given(leaf, same) if there and isinstance(leaf, Tensor) else leaf, result)


def _given(memory: Tensor, same: dict[int, OnGPU]) -> Tensor:
    """The tensor that a result is: one of the arguments, where the operation worked in place."""
    found = same.get(id(memory))
    if found is not None and found.shape != memory.shape:
        raise NotImplementedError("the pretended GPU cannot change the shape of a tensor in place")
    return OnGPU(memory) if found is None else found


def _check_generator(leaves: list[Any], there: bool) -> None:
    for leaf in leaves:
        if isinstance(leaf, _REAL) and (leaf._cdata in _Generator.all) != there:
            wanted, got = ("cuda", "cpu") if there else ("cpu", "cuda")
            raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{got}'")


def _check_wait(
    packet: Any, function: Any, args: Any, kwargs: Any, ours: list[OnGPU], others: list[Tensor], there: bool
) -> None:
    """Tell the GPU when the host waits for it, or for a copy to it."""
    if _gpu is None:
        return
    if ours and (packet in WAITING or (packet is aten.repeat_interleave and "output_size" not in kwargs)):
        _gpu.wait(str(packet))
    if ours and packet in INDEXING:
        rows = [index for index in args[1] if isinstance(index, Tensor)]
        if any(index.dtype in (torch.bool, torch.uint8) for index in rows):
            _gpu.wait(f"{packet} with a mask")
        if any(not isinstance(index, OnGPU) for index in rows):
            _gpu.wait(f"{packet} with an index on the CPU")
    if packet is aten.where and ours and others:
        _gpu.wait("a number on the CPU that aten.where copies to the GPU")
    if packet in MOVING:
        to_gpu = isinstance(args[0], OnGPU) if packet is aten.copy_ else there
        source = args[1] if packet is aten.copy_ else args[0]
        blocking = not (kwargs.get("non_blocking") or (packet is aten.copy_ and len(args) > 2 and args[2]))
        if isinstance(source, OnGPU) == to_gpu:
            return
        host = source if to_gpu else args[0] if packet is aten.copy_ else None
        if blocking or host is None or not host.is_pinned():
            _gpu.wait(f"a copy {'to' if to_gpu else 'from'} the GPU")


@contextmanager
def pretended() -> Iterator[PretendGPU]:
    """A machine with a GPU, in this thread. Skips the test, loudly, on a machine that has one."""
    global _gpu
    if torch.cuda.is_available():
        pytest.skip("PRETENDED GPU NOT USED: there is a real one, and torch takes only one for 'cuda'")
    _gpu = gpu = PretendGPU()
    with pytest.MonkeyPatch.context() as patch:
        _patch_torch(patch, gpu)
        _patch_launches(patch, gpu)
        try:
            with _Mode():
                yield gpu
        finally:
            _gpu = None
            _Generator.all.clear()


def _patch_torch(patch: pytest.MonkeyPatch, gpu: PretendGPU) -> None:
    """torch.cuda, as far as it is asked anything."""
    answers: dict[str, Callable[..., Any]] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_name": lambda device=None: "Pretended GPU",
        "get_device_capability": lambda device=None: (9, 0),
        "mem_get_info": lambda device=None: (BYTES, BYTES),
        "memory_allocated": lambda device=None: 0,
        "max_memory_allocated": lambda device=None: 0,
        "reset_peak_memory_stats": lambda device=None: None,
        "empty_cache": lambda: None,
        "synchronize": lambda device=None: gpu.wait("torch.cuda.synchronize"),
        "device": lambda device=None: nullcontext(),
        "stream": lambda stream=None: nullcontext(),
        "current_stream": lambda device=None: _Stream(),
        "default_stream": lambda device=None: _Stream(),
        "Stream": _Stream,
        "Event": _Event,
        "_lazy_init": lambda: None,
    }
    for name, answer in answers.items():
        patch.setattr(torch.cuda, name, answer)

    class Generator(_REAL):
        def __new__(cls, device: Any = "cpu") -> torch.Generator:
            return _Generator() if torch.device(device).type == "cuda" else _REAL(device)

    def pin_memory(tensor: Tensor, device: object = None) -> Tensor:
        pinned = tensor if tensor.is_pinned() else tensor.clone()
        gpu.pinned.add(pinned.data_ptr())
        return pinned

    def made(make: Callable[..., Tensor]) -> Callable[..., Tensor]:  # in C++ it would pass by the mode
        return lambda *args, device=None, **kwargs: make(*args, **kwargs).to("cpu" if device is None else device)

    patch.setattr(torch, "Generator", Generator)
    patch.setattr(torch, "tensor", made(torch.tensor))
    patch.setattr(torch, "as_tensor", made(torch.as_tensor))
    patch.setattr(Tensor, "pin_memory", pin_memory)
    patch.setattr(Tensor, "is_pinned", lambda tensor, device=None: tensor.data_ptr() in gpu.pinned)


def _patch_launches(patch: pytest.MonkeyPatch, gpu: PretendGPU) -> None:
    """Kernels get the memory of their tensors, and run in the interpreter."""
    from sfumato.kernels.gpu import launch, ready

    def run(kernel: Any, grid: tuple[int, ...], arguments: Any, options: dict[str, Any]) -> None:
        gpu.launches.append(getattr(kernel, "__name__", str(kernel)))
        interpret(kernel, grid, unwrapped(tuple(arguments)), options)

    interpret = launch._run
    patch.setenv("TRITON_INTERPRET", "1")
    patch.setattr(backends, "interpreted", lambda: False)  # or the GPU would be left idle
    patch.setattr(ready, "interpreted", lambda: True)  # no driver is there to be asked
    patch.setattr(launch, "_run", run)
    patch.setattr(launch, "_reachable", lambda device: device.type == "cuda")
