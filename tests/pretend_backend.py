"""The gpu backend's five functions on a pretended GPU, with the CPU's kernels inside: for what is around kernels.

A hundred times faster than Triton's interpreter, and where there is no Triton. As a GPU's, `bin` heeds settings.room.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.kernels import cpu
from sfumato.kernels.stages import AdamStep, Moments, RenderSettings, Splats, TileLists

from pretend import OnGPU, unwrapped, wrapped

__all__ = ["adam", "adam_from_splats", "bin", "blend", "calls", "photometric", "project"]

T = TypeVar("T", Gaussians, Splats, TileLists)
calls: list[tuple[str, Any]] = []  # of project and adam_from_splats, and what is told of them


def project(gaussians: Gaussians, camera: Camera, settings: RenderSettings) -> Splats:
    """Of Gaussians without gradients: training asks for no others."""
    calls.append(("project", gaussians.shN.dtype))
    return _there(cpu.project(_here(gaussians).to(torch.float32), camera, settings))


def bin(splats: Splats, width: int, height: int, settings: RenderSettings) -> TileLists:
    exact = replace(settings, room=None)
    if settings.room is None:
        return _there(cpu.bin(_here(splats), width, height, exact))
    tiles = cpu.bin(_here(splats), width, height, replace(exact, most_pairs=2**31 - 1))
    count, room = tiles.splats.numel(), min(settings.room, settings.most_pairs)
    calls.append(("bin", (count, room)))
    if count <= room:
        return replace(_there(tiles), counted=lambda: count)
    nothing = replace(_here(splats), radii=torch.zeros_like(_here(splats).radii))  # the CPU's lists are whole or none
    short = _there(cpu.bin(nothing, width, height, exact))
    return replace(short, splats=torch.zeros(room, dtype=torch.int32, device="cuda:0"), counted=lambda: count)


def blend(
    splats: Splats, tiles: TileLists, background: Tensor, settings: RenderSettings
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Image, alpha and depth."""
    names = ("means2d", "conics", "depths", "colors", "opacities", "probe")

    def run(background: Tensor, *given: Tensor) -> Any:
        lists = _here(tiles)
        if lists.counted is not None:  # what is behind the lists, the CPU's do not have
            lists = replace(lists, splats=lists.splats[: int(lists.offsets[-1])])
        return cpu.blend(replace(_here(splats), **dict(zip(names, given, strict=True))), lists, background, settings)

    image, alpha, depth = _through(run, background, *(getattr(splats, name) for name in names))
    return image, alpha, depth


def photometric(image: Tensor, target: Tensor, ssim_weight: float) -> Tensor:
    (loss,) = _through(lambda image: (cpu.photometric(image, unwrapped(target), ssim_weight),), image)
    return loss


def adam(gaussians: Gaussians, moments: Moments, step: AdamStep) -> None:
    cpu.adam(_here(gaussians), Moments(*map(_here, moments)), step)


def adam_from_splats(
    gaussians: Gaussians,
    splats: Splats,
    camera: Camera,
    settings: RenderSettings,
    moments: Moments,
    step: AdamStep,
) -> None:
    calls.append(("adam", step))
    cpu.adam_from_splats(_here(gaussians), _here(splats), camera, settings, Moments(*map(_here, moments)), step)


def _here(thing: T) -> T:
    """The same with its tensors' memory, and with that of their gradients."""

    def here(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        assert isinstance(value, OnGPU), "a tensor that should be on the GPU is not"
        memory = value.memory.detach()
        if value.is_leaf and value.grad is not None:
            memory.requires_grad_().grad = unwrapped(value.grad)
        return memory

    return type(thing)(**{field.name: here(getattr(thing, field.name)) for field in fields(thing)})


def _there(thing: T) -> T:
    return type(thing)(**{field.name: wrapped(getattr(thing, field.name)) for field in fields(thing)})


def _through(run: Callable[..., Any], *inputs: Tensor) -> tuple[Any, ...]:
    return _Through.apply(run, *inputs)  # type: ignore[no-any-return, no-untyped-call]


class _Through(torch.autograd.Function):
    """A function of tensors in memory as one of tensors on the GPU."""

    @staticmethod
    def forward(ctx: Any, run: Callable[..., Any], *inputs: Tensor) -> Any:
        asked = ctx.needs_input_grad[1:]
        ctx.inputs = [x.memory.detach().requires_grad_(ask) for x, ask in zip(inputs, asked, strict=True)]
        with torch.enable_grad():
            ctx.outputs = run(*ctx.inputs)
        return tuple(None if output is None else OnGPU(output.detach()) for output in ctx.outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        pairs = [
            (output, unwrapped(gradient))
            for output, gradient in zip(ctx.outputs, gradients, strict=True)
            if output is not None and output.requires_grad and gradient is not None
        ]
        asked = [x for x in ctx.inputs if x.requires_grad]
        found = iter(torch.autograd.grad([o for o, _ in pairs], asked, [g for _, g in pairs], allow_unused=True))
        wanted = [next(found) if x.requires_grad else None for x in ctx.inputs]
        return None, *(None if gradient is None else OnGPU(gradient) for gradient in wanted)
