"""Blending on a GPU, interpreted where there is none: fixed order, early end, room in lists, many channels, bits."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.core.errors import BackendError
from sfumato.kernels.reference.blend import blend as reference
from sfumato.kernels.reference.project import project
from sfumato.kernels.stages import RenderSettings, Splats, TileLists

from scenes import askew, crowd

triton = pytest.importorskip("triton", reason="GPU BACKEND NOT TESTED: Triton is not installed (pip install triton)")
import triton.language as tl  # noqa: E402

gpu: Any = importlib.import_module("sfumato.kernels.gpu.blend")  # the module, not the function of its name
lists: Any = importlib.import_module("sfumato.kernels.gpu.bin")
launching: Any = importlib.import_module("sfumato.kernels.gpu.launch")
from sfumato.kernels.gpu.math import lane_sums, lowest_bit  # noqa: E402

FIELDS = ("means2d", "conics", "depths", "colors", "opacities")
Picture = tuple[Tensor, Tensor, Tensor | None]


pytestmark = pytest.mark.usefixtures("device")


@pytest.fixture
def walked() -> Iterator[list[Tensor]]:
    """How many pairs each half of each tile walked, one tensor per picture drawn since."""
    found: list[Tensor] = []

    def record(kernel: Any, arguments: Any, constants: Any) -> None:
        if kernel is gpu._forward:
            found.append(arguments[kernel.arg_names.index("walked")])

    launching.recorders.append(record)
    yield found
    launching.recorders.remove(record)


def scene(N: int, width: int, height: int, size: float = 0.2, channels: int = 3) -> Splats:
    splats = project(crowd(N, 0, size=size), askew(width, height), RenderSettings())
    return replace(splats, colors=torch.rand(N, channels))


def flat(opacities: list[float], radius: float, x: list[float], y: list[float]) -> Splats:
    """Round splats with one standard deviation in pixels, each farther than the one before."""
    N = len(opacities)
    return Splats(
        means2d=torch.tensor([x, y]).T.contiguous(),
        conics=torch.tensor([1 / radius**2, 0, 1 / radius**2]).repeat(N, 1),
        depths=1 + torch.arange(N) / N,
        radii=torch.full((N, 2), 4 * radius),
        colors=torch.rand(N, 3),
        opacities=torch.tensor(opacities),
        probe=torch.zeros(N, 2),
        nonfinite=torch.tensor(0),
    )


def moved(splats: Splats, device: torch.device, dtype: torch.dtype = torch.float32) -> Splats:
    """Leaves on a device, all but whole numbers in dtype."""
    numbers = {name: getattr(splats, name).detach().to(device, dtype) for name in (*FIELDS, "probe", "radii")}
    return replace(splats, **numbers).leaves()


def binned(splats: Splats, width: int, height: int, settings: RenderSettings, device: torch.device) -> TileLists:
    return lists.bin(moved(splats, device), width, height, settings)


def loss_of(picture: Picture, channels: slice = slice(None), all_channels: int = 3) -> Tensor:
    """A sum of everything with weights of all sizes and signs."""
    image, alpha, depth = picture
    H, W = alpha.shape
    weights = torch.linspace(-1, 1, H * W * all_channels).reshape(H, W, all_channels).cos().to(image)
    loss = (image * weights[..., channels]).sum()
    if channels.start in (None, 0):  # alpha and depth are counted once
        loss = loss + (alpha * weights[..., 0].flip(0)).sum()
        loss = loss if depth is None else loss + 0.3 * (depth * weights[..., 1].flip(1)).sum()
    return loss


def drawn(
    splats: Splats, tiles: TileLists, settings: RenderSettings, device: torch.device
) -> tuple[list[Tensor], list[Tensor]]:
    """What the GPU draws on gray, and the gradients of a loss on it."""
    leaves, channels = moved(splats, device), splats.colors.shape[1]
    background = torch.full((channels,), 0.5, device=device, requires_grad=True)
    picture = gpu.blend(leaves, tiles, background, settings)
    loss_of(picture, all_channels=channels).backward()
    names = [name for name in (*FIELDS, "probe") if name != "depths" or settings.depth]
    gradients = [getattr(leaves, name).grad for name in names] + [background.grad]
    return [part.detach().cpu() for part in picture if part is not None], [part.cpu() for part in gradients]


def exactly(splats: Splats, tiles: TileLists, settings: RenderSettings) -> tuple[list[Tensor], list[Tensor]]:
    """The same from the reference in float64, which blends three channels at a time."""
    tiles = replace(tiles, offsets=tiles.offsets.cpu(), splats=tiles.splats.cpu())
    leaves, channels = moved(splats, torch.device("cpu"), torch.float64), splats.colors.shape[1]
    background = torch.full((channels,), 0.5, dtype=torch.float64, requires_grad=True)
    images, loss = [], torch.tensor(0.0, dtype=torch.float64)
    for first in range(0, channels, 3):
        part, filled = slice(first, min(first + 3, channels)), max(0, first + 3 - channels)
        colors = torch.nn.functional.pad(leaves.colors[:, part], (0, filled))
        ground = torch.nn.functional.pad(background[part], (0, filled))
        image, alpha, depth = reference(replace(leaves, colors=colors), tiles, ground, settings)
        images.append(image[..., : 3 - filled])
        loss = loss + loss_of((images[-1], alpha, depth), part, channels)
    loss.backward()
    names = [name for name in (*FIELDS, "probe") if name != "depths" or settings.depth]
    gradients = [getattr(leaves, name).grad for name in names] + [background.grad]
    picture = [torch.cat(images, dim=2), alpha, *([] if depth is None else [depth])]
    return [part.detach() for part in picture], gradients


def agree(got: tuple[list[Tensor], list[Tensor]], wanted: tuple[list[Tensor], list[Tensor]]) -> None:
    """All within rounding of float32; scenes here have no alpha near alpha_min that matters."""
    for mine, exact in zip(got[0], wanted[0], strict=True):
        assert (mine.double() - exact).norm() <= 1e-4 * exact.norm() + 1e-6
    for mine, exact in zip(got[1], wanted[1], strict=True):
        assert (mine.double() - exact).norm() <= 1e-3 * exact.norm() + 1e-6


@pytest.mark.parametrize(
    ("channels", "probe"), [(3, "signed"), (3, "absolute"), (6, "absolute")], ids=["three", "absolute", "in two halves"]
)
def test_deterministic_mode(channels: int, probe: Any, device: torch.device, seed: int) -> None:
    """The same sums in a fixed order: within rounding of the atomic ones, and the same bits each time."""
    splats = scene(7, 18, 17, channels=channels)
    settings = RenderSettings(probe=probe)
    fixed = replace(settings, deterministic=True)
    tiles = binned(splats, 18, 17, fixed, device)
    loose, once, again = (drawn(splats, tiles, mode, device) for mode in (settings, fixed, fixed))
    for a, b in zip(once[0] + once[1], again[0] + again[1], strict=True):
        assert torch.equal(a, b)
    for a, b in zip(loose[1], once[1], strict=True):
        assert (a - b).norm() <= 1e-5 * a.norm()
    if channels == 3:  # |gradient| is no sum over channels
        agree(once, exactly(splats, tiles, settings))


def test_deterministic_mode_needs_its_lists(device: torch.device, seed: int) -> None:
    splats = scene(3, 16, 16)
    tiles = binned(splats, 16, 16, RenderSettings(), device)
    with pytest.raises(BackendError, match="lists that were made with it"):
        drawn(splats, tiles, RenderSettings(deterministic=True), device)


def test_a_wall_ends_the_walk(walked: list[Tensor], device: torch.device, seed: int) -> None:
    """Behind three opaque splats nothing is walked but the rest of their 32, and nothing gets a gradient."""
    behind = 60
    splats = flat([0.99] * 3 + [0.6] * behind, 1.0, [8.0] * 3 + [4.0] * behind, [8.0] * 3 + [3.0] * behind)
    splats.conics[:3] = torch.tensor([1e-4, 0, 1e-4])  # as wide as many tiles
    tiles = binned(splats, 16, 12, RenderSettings(), device)
    assert tiles.count == behind + 3
    got = drawn(splats, tiles, RenderSettings(), device)
    assert walked[0].tolist() == [32, 32]
    agree(got, exactly(splats, tiles, RenderSettings()))
    for gradient in got[1][:-1]:
        assert (gradient[3:] == 0).all()
        assert (gradient[:3] != 0).any()


def test_pixels_end_one_by_one(walked: list[Tensor], device: torch.device, seed: int) -> None:
    """Some are finished early, others never: those go on, to the end of lists of more than 32."""
    N = 40
    splats = flat([0.7] * N, 1.5, [3.0 + 0.1 * i for i in range(N)], [4.0 + 0.1 * i for i in range(N)])
    settings = RenderSettings(transmittance_min=0.02)
    tiles = binned(splats, 16, 16, settings, device)
    got = drawn(splats, tiles, settings, device)
    assert walked[0].tolist() == [N, N]
    finished = got[0][1] > 1 - settings.transmittance_min
    assert 5 < int(finished.sum()) < 100
    agree(got, exactly(splats, tiles, settings))


def test_halves_outside_the_picture_walk_nothing(walked: list[Tensor], device: torch.device, seed: int) -> None:
    splats = scene(5, 16, 5)
    tiles = binned(splats, 16, 5, RenderSettings(), device)
    drawn(splats, tiles, RenderSettings(), device)
    assert walked[0].tolist() == [tiles.count, 0]


def test_unfilled_room_is_not_read(device: torch.device, seed: int) -> None:
    """Lists with room behind the last pair draw the same bits, whatever stands there."""
    splats = scene(6, 18, 17)
    for settings in (RenderSettings(), RenderSettings(deterministic=True)):
        tiles = binned(splats, 18, 17, settings, device)
        room = torch.full((50,), 2**31 - 1, dtype=torch.int32, device=device)
        roomy = replace(tiles, splats=torch.cat([tiles.splats, room]))
        if tiles.pairs is not None:
            roomy = replace(roomy, pairs=torch.cat([tiles.pairs, room]))
        for a, b in zip(drawn(splats, tiles, settings, device), drawn(splats, roomy, settings, device), strict=True):
            assert all(torch.allclose(x, y, rtol=1e-5, atol=1e-6) for x, y in zip(a, b, strict=True))


def test_room_asked_for(device: torch.device, seed: int) -> None:
    """Lists that bin made with room, all pairs in it, show the same picture as counted ones."""
    splats = scene(6, 18, 17)
    counted = binned(splats, 18, 17, RenderSettings(), device)
    roomy = binned(splats, 18, 17, RenderSettings(room=counted.count + 37), device)
    assert roomy.splats.numel() == counted.count + 37
    assert roomy.missing == 0
    for a, b in zip(*(drawn(splats, tiles, RenderSettings(), device)[0] for tiles in (counted, roomy)), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("channels", "depth"), [(2, True), (4, False), (7, True), (8, False)], ids=str)
def test_channels(channels: int, depth: bool, device: torch.device, seed: int) -> None:
    splats, settings = scene(8, 18, 10, channels=channels), RenderSettings(depth=depth)
    tiles = binned(splats, 18, 10, settings, device)
    agree(drawn(splats, tiles, settings, device), exactly(splats, tiles, settings))


@pytest.mark.parametrize(("channels", "depth"), [(1, True), (8, True), (9, False)], ids=str)
def test_channels_that_do_not_fit_are_refused(channels: int, depth: bool, device: torch.device, seed: int) -> None:
    splats, settings = scene(2, 16, 16, channels=channels), RenderSettings(depth=depth)
    tiles = binned(splats, 16, 16, settings, device)
    with pytest.raises(BackendError, match="3 to 8 channels; got"):
        drawn(splats, tiles, settings, device)


@pytest.mark.parametrize("part", [0, 1, 2], ids=["image", "alpha", "depth"])
def test_a_loss_on_one_output(part: int, device: torch.device, seed: int) -> None:
    splats, settings = scene(6, 16, 12), RenderSettings()
    tiles = binned(splats, 16, 12, settings, device)
    got, wanted = moved(splats, device), moved(splats, torch.device("cpu"), torch.float64)
    here = replace(tiles, offsets=tiles.offsets.cpu(), splats=tiles.splats.cpu())
    gpu.blend(got, tiles, torch.zeros(3, device=device), settings)[part].square().sum().backward()
    reference(wanted, here, torch.zeros(3).double(), settings)[part].square().sum().backward()
    for name in FIELDS:
        mine, exact = (
            torch.zeros(1) if field.grad is None else field.grad.cpu().double()
            for field in (getattr(got, name), getattr(wanted, name))
        )
        assert (mine - exact).norm() <= 1e-3 * exact.norm() + 1e-6, name


@triton.jit
def _places(bits, places, PTX: tl.constexpr):
    at = tl.program_id(0)
    tl.store(places + at, lowest_bit(tl.load(bits + at), PTX))


def test_lowest_bit(device: torch.device) -> None:
    numbers = [1 << i for i in range(31)] + [-(2**31), -1, 12, 2**31 - 1, -(2**30), 0x5500]
    bits = torch.tensor(numbers, dtype=torch.int32, device=device)
    places = torch.empty_like(bits)
    launching.launch(_places, (len(numbers),), bits, places, warps=1)
    assert places.tolist() == [*range(32), 0, 2, 0, 30, 8]


@triton.jit
def _sums(blocks, sums, COUNT: tl.constexpr):
    lane = tl.arange(0, 32)
    values = ()
    for i in tl.static_range(COUNT):
        values += (tl.load(blocks + i * 32 + lane),)
    tl.store(sums + lane, lane_sums(values, COUNT), mask=lane < COUNT)


@pytest.mark.parametrize("count", range(9, 17))
def test_lane_sums(count: int, device: torch.device, seed: int) -> None:
    blocks = torch.rand(count, 32, device=device)
    sums = torch.empty(count, device=device)
    launching.launch(_sums, (1,), blocks, sums, warps=1, COUNT=count)
    torch.testing.assert_close(sums, blocks.sum(dim=1))
