"""Every launch of tiny training steps in Triton's interpreter, as JSON: TRITON_INTERPRET=1 gpu_launches.py FILE."""

import argparse
import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from cloud import cloud
from torch import Tensor

from sfumato.kernels import backends
from sfumato.kernels.backends import interpreted
from sfumato.kernels.gpu import launch
from sfumato.kernels.stages import AdamStep, Moments, Rates, RenderSettings

RATES = Rates(1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3)
WIDTH, HEIGHT, COUNT = 24, 20, 12  # four tiles, three of them cut; a few Gaussians in each
TYPES = {
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float32: "fp32",
    torch.float64: "fp64",
    torch.int8: "i8",
    torch.uint8: "u8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.bool: "i1",
}


@dataclass(frozen=True)
class Variant:
    """One way to train that asks for other kernels, or for kernels compiled otherwise."""

    name: str
    settings: RenderSettings
    degree: int = 3
    step: AdamStep = AdamStep(RATES, count=2)  # noqa: RUF009, it is frozen
    fused: bool = True  # False: autograd all the way, then adam
    half: bool = False  # shN is drawn from a copy in half precision
    penalty: bool = False  # opacities and scales have gradients of their own, as in Markov-chain training
    floats: bool = False  # photos as floats
    camera: bool = False  # the camera's place has a gradient, too


PLAIN = RenderSettings(depth=False)
VARIANTS = (
    Variant("degree 3", PLAIN),
    Variant("degree 0", PLAIN, degree=0),
    Variant("degree 1 of 3, sparse", replace(PLAIN, sh_degree=1), step=AdamStep(RATES, 2, sh_degree=1, sparse=True)),
    Variant("degree 2 of 3", replace(PLAIN, sh_degree=2)),
    Variant("depth, absolute probe, float photo", RenderSettings(probe="absolute"), floats=True),
    Variant("depth, antialiased, room", RenderSettings(antialiased=True, room=4000)),
    Variant("absolute probe", replace(PLAIN, probe="absolute")),
    Variant("deterministic, degree 0", replace(PLAIN, deterministic=True), degree=0),
    Variant("deterministic, depth, absolute probe", RenderSettings(deterministic=True, probe="absolute"), degree=0),
    Variant("half", PLAIN, half=True),
    Variant("penalty, higher harmonics rest", PLAIN, step=AdamStep(RATES, 2, sh_degree=0), penalty=True),
    Variant("autograd, adam", RenderSettings(), fused=False),
    Variant("autograd, adam, half, sparse", PLAIN, fused=False, half=True, step=AdamStep(RATES, 2, sparse=True)),
    Variant("autograd, antialiased, degree 0", RenderSettings(antialiased=True), degree=0, fused=False),
    Variant("autograd, camera, degree 1", PLAIN, degree=1, fused=False, camera=True),
)
FEW = tuple(
    v for v in VARIANTS if v.name in ("degree 3", "deterministic, degree 0", "depth, absolute probe, float photo")
)


def train(variant: Variant, stages: Any) -> None:
    """One training step as the trainer does it, or as code that leaves everything to autograd does."""
    settings = variant.settings
    gaussians, camera = cloud(COUNT, WIDTH, HEIGHT)
    camera = replace(camera, viewmat=camera.viewmat.requires_grad_(variant.camera))
    gaussians = replace(gaussians, shN=gaussians.shN[:, : (variant.degree + 1) ** 2 - 1].contiguous())
    moments = Moments.zeros(gaussians)
    photo = torch.randint(0, 256, (3, HEIGHT, WIDTH), dtype=torch.uint8).permute(1, 2, 0)
    gaussians = gaussians.map(Tensor.requires_grad_)
    drawn = replace(gaussians, shN=gaussians.shN.half()) if variant.half else gaussians
    if variant.fused:
        with torch.no_grad():
            splats = stages.project(drawn, camera, settings).leaves()
    else:
        splats = stages.project(drawn, camera, settings)
    tiles = stages.bin(splats, WIDTH, HEIGHT, settings)
    image, alpha, depth = stages.blend(splats, tiles, torch.ones(3), settings)
    loss = stages.photometric(image, photo.float() / 255 if variant.floats else photo, 0.2)
    if depth is not None:
        loss = loss + 0.1 * depth.mean() + 0.1 * alpha.mean()
    if variant.penalty:
        loss = loss + torch.sigmoid(gaussians.logit_opacities).mean() + torch.exp(gaussians.log_scales).mean()
    loss.backward()
    if variant.fused:
        stages.adam_from_splats(gaussians, splats, camera, settings, moments, variant.step)
    else:
        stages.adam(gaussians, moments, variant.step)


def draw(stages: Any) -> None:
    """One picture without gradients."""
    gaussians, camera = cloud(COUNT, WIDTH, HEIGHT)
    for settings in (PLAIN, RenderSettings()):
        with torch.no_grad():
            splats = stages.project(gaussians, camera, settings)
            tiles = stages.bin(splats, WIDTH, HEIGHT, settings)
            stages.blend(splats, tiles, torch.ones(3), settings)


def record(calls: Sequence[tuple[str, Callable[[], None]]]) -> list[dict[str, Any]]:
    """The distinct launches of some calls: kernel, types, constants; each with the name of the first call it is of."""
    found: dict[str, dict[str, Any]] = {}
    for name, call in calls:

        def note(kernel: Any, arguments: Sequence[Any], constants: dict[str, Any], name: str = name) -> None:
            described = describe(kernel, arguments, constants)
            found.setdefault(json.dumps(described, sort_keys=True), {**described, "of": name})

        launch.recorders.append(note)
        try:
            call()
        finally:
            launch.recorders.remove(note)
    return list(found.values())


def describe(kernel: Any, arguments: Sequence[Any], constants: dict[str, Any]) -> dict[str, Any]:
    """One launch without its numbers, only what Triton compiles another kernel for."""
    parameters = inspect.signature(kernel.fn).parameters
    given = {**dict(zip(kernel.arg_names, arguments, strict=False)), **constants}
    values = {
        name: {"constant": _constant(value)} if "constexpr" in str(parameters[name].annotation) else _type_of(value)
        for name, value in given.items()
        if name in parameters
    }
    options = {name: value for name, value in given.items() if name not in parameters}
    return {"module": kernel.fn.__module__, "name": kernel.fn.__name__, "arguments": values, "options": options}


def _constant(value: Any) -> Any:
    return getattr(value, "value", value)  # of a tl.constexpr


def _type_of(value: Any) -> dict[str, Any]:
    if isinstance(value, Tensor):
        return {"pointer": TYPES[value.dtype], "aligned": value.data_ptr() % 16 == 0}
    if value is None or isinstance(value, bool):
        return {"constant": value} if value is None else {"scalar": "u1"}
    if isinstance(value, int):
        kind = "i32" if -(2**31) <= value < 2**31 else "i64"
        return {"integer": kind, "aligned": value % 16 == 0, "one": value == 1}
    if isinstance(value, float):
        return {"scalar": "fp32"}
    if isinstance(value, tuple):
        made_by = type(value) if hasattr(value, "_fields") else None
        name = made_by and f"{made_by.__module__}:{made_by.__qualname__}"
        return {"tuple": [_type_of(each) for each in value], "class": name}
    raise TypeError(f"a kernel got a {type(value).__name__}, which this script cannot describe")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--few", action="store_true", help="only the three ways to train that matter most")
    options = parser.parse_args()
    if not interpreted():
        parser.error("set TRITON_INTERPRET=1: launches are recorded without a GPU")
    torch.manual_seed(0)
    stages = backends.load("gpu")

    def call(variant: Variant) -> Callable[[], None]:
        return lambda: train(variant, stages)

    calls = [("picture", lambda: draw(stages)), *((v.name, call(v)) for v in (FEW if options.few else VARIANTS))]
    options.file.write_text(json.dumps(record(calls), indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
