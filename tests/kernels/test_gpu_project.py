"""Projection on a GPU, or interpreted: half precision, rows beyond 32 bits, cameras elsewhere, what is refused."""

import importlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.core.errors import BackendError
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import basis
from sfumato.kernels.reference.project import project as reference
from sfumato.kernels.stages import RenderSettings, Splats

from scenes import askew, broken_crowd, crowd, trainable

pytest.importorskip("triton", reason="GPU BACKEND NOT TESTED: Triton is not installed (pip install triton)")
tl: Any = importlib.import_module("triton.language")
jit: Any = importlib.import_module("triton").jit
gpu: Any = importlib.import_module("sfumato.kernels.gpu.project")  # the module, not the function of its name
memory: Any = importlib.import_module("sfumato.kernels.gpu.memory")
harmonics: Any = importlib.import_module("sfumato.kernels.gpu.harmonics")
launch: Any = importlib.import_module("sfumato.kernels.gpu.launch")
load_rows, load_long_rows, store_rows = memory.load_rows, memory.load_long_rows, memory.store_rows
basis_of, direction_gradient = harmonics.basis_of, harmonics.direction_gradient

CAMERA = askew(40, 30)
FIELDS = ("means2d", "conics", "depths", "colors", "opacities")


pytestmark = pytest.mark.usefixtures("device")


def gradients_of(splats: Splats, gaussians: Gaussians, weights: list[Tensor]) -> Gaussians:
    sum((getattr(splats, name) * w.to(splats.depths)).sum() for name, w in zip(FIELDS, weights, strict=True)).backward()
    return Gaussians(*(leaf.grad for leaf in gaussians))


def random_weights(N: int) -> list[Tensor]:
    return [torch.randn(shape) for shape in ((N, 2), (N, 3), (N,), (N, 3), (N,))]


def close(got: Tensor, wanted: Tensor, tolerance: float) -> None:
    assert got.isfinite().all()
    assert (got.cpu().double() - wanted.cpu().double()).norm() <= tolerance * wanted.double().norm() + 1e-12


@pytest.mark.parametrize(("stored", "drawn"), [(stored, drawn) for stored in range(5) for drawn in range(stored + 1)])
def test_every_degree_of_every_stored(device: torch.device, stored: int, drawn: int, seed: int) -> None:
    gaussians, settings = crowd(40, stored), RenderSettings(sh_degree=drawn)  # 40: one program whole, one in part
    weights, exact = random_weights(40), trainable(gaussians.to(torch.float64))
    mine = trainable(gaussians.to(device))
    got, wanted = gpu.project(mine, CAMERA, settings), reference(exact, CAMERA.to(torch.float64), settings)
    assert (got.seen.cpu() == wanted.seen).all()
    close(got.colors.detach(), wanted.colors.detach(), 1e-6)
    g, g_wanted = gradients_of(got, mine, weights), gradients_of(wanted, exact, weights)
    for name in gaussians.names():
        close(getattr(g, name), getattr(g_wanted, name), 2e-5)
    used = (drawn + 1) ** 2 - 1
    assert (g.shN[:, used:] == 0).all()
    assert (g.shN[~got.seen] == 0).all()


def test_half_precision_storage_of_harmonics(device: torch.device, seed: int) -> None:
    """The colors are those of the rounded numbers; the gradient is rounded once."""
    gaussians, weights = crowd(40, 3).to(device), random_weights(40)
    half = trainable(replace(gaussians, shN=gaussians.shN.half()))
    whole = trainable(replace(gaussians, shN=gaussians.shN.half().float()))
    got, wanted = gpu.project(half, CAMERA, RenderSettings()), gpu.project(whole, CAMERA, RenderSettings())
    for name in FIELDS:
        torch.testing.assert_close(getattr(got, name), getattr(wanted, name), rtol=0, atol=0)
    g, g_wanted = gradients_of(got, half, weights), gradients_of(wanted, whole, weights)
    assert g.shN.dtype == torch.float16
    assert g.shN.abs().max() > 0
    torch.testing.assert_close(g.shN, g_wanted.shN.half(), rtol=0, atol=0)
    torch.testing.assert_close(g.means, g_wanted.means, rtol=0, atol=0)


def test_infinite_half_precision_is_culled_and_counted(device: torch.device, seed: int) -> None:
    gaussians = crowd(40, 1)
    gaussians.means[3] = torch.tensor([0.0, 0, 3])
    gaussians.shN[3, 0, 0] = 1e6  # beyond half precision
    gaussians = replace(gaussians, shN=gaussians.shN.half()).to(device)
    splats = gpu.project(gaussians, CAMERA, RenderSettings())
    assert int(splats.nonfinite) == 1
    assert not splats.seen[3]


@pytest.mark.parametrize("N", [7, 40])
def test_broken_rows_are_counted_as_the_reference_counts(device: torch.device, N: int, seed: int) -> None:
    gaussians = broken_crowd(N)
    gaussians.means[6] = torch.tensor([1e9, 3e38, 3e38])  # finite, and far beside the picture
    got, wanted = (
        gpu.project(gaussians.to(device), CAMERA, RenderSettings()),
        reference(gaussians, CAMERA, RenderSettings()),
    )
    assert int(got.nonfinite) == int(wanted.nonfinite) == 6
    assert (got.seen.cpu() == wanted.seen).all()
    for name in FIELDS:
        assert (getattr(got, name)[~got.seen] == 0).all()


def test_camera_on_the_cpu_gets_its_gradient_there(device: torch.device, seed: int) -> None:
    camera = replace(CAMERA, viewmat=CAMERA.viewmat.clone().requires_grad_())
    exact = replace(CAMERA.to(torch.float64), viewmat=CAMERA.viewmat.double().requires_grad_())
    gaussians, weights = crowd(70, 2), random_weights(70)
    for splats in (gpu.project(gaussians.to(device), camera, RenderSettings()),
                   reference(gaussians.to(torch.float64), exact, RenderSettings())):  # fmt: skip
        sum((getattr(splats, n) * w.to(splats.depths)).sum() for n, w in zip(FIELDS, weights, strict=True)).backward()
    assert camera.viewmat.grad is not None
    assert exact.viewmat.grad is not None
    assert camera.viewmat.grad.device.type == "cpu"
    assert camera.viewmat.grad.dtype == torch.float32
    close(camera.viewmat.grad, exact.viewmat.grad, 1e-5)


def test_gradients_of_some_fields_only(device: torch.device, seed: int) -> None:
    gaussians = crowd(40, 1).to(device)
    moving = replace(gaussians, means=gaussians.means.clone().requires_grad_())
    splats = gpu.project(moving, CAMERA, RenderSettings())
    assert splats.probe.requires_grad
    splats.depths.sum().backward()  # nothing reaches the other outputs
    assert moving.means.grad is not None
    wanted = splats.seen[:, None] * CAMERA.viewmat[2, :3].to(device)
    torch.testing.assert_close(moving.means.grad, wanted, rtol=1e-5, atol=1e-6)


def test_rows_need_not_be_contiguous(device: torch.device, seed: int) -> None:
    gaussians = crowd(80, 2).to(device)
    twice = gpu.project(gaussians[::2], CAMERA, RenderSettings())
    once = gpu.project(gaussians[::2].map(torch.Tensor.contiguous), CAMERA, RenderSettings())
    for name in FIELDS:
        torch.testing.assert_close(getattr(twice, name), getattr(once, name), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["means", "sh0", "shN"])
def test_tensors_elsewhere_are_refused_in_a_sentence(device: torch.device, name: str, seed: int) -> None:
    gaussians = crowd(5, 1).to(device)
    elsewhere = replace(gaussians, **{name: getattr(gaussians, name).to("meta")})
    with pytest.raises(BackendError, match=r"the gpu backend works on .*tensors .*GPU; got .*meta"):
        gpu.project(elsewhere, CAMERA, RenderSettings())


def test_other_types_are_refused_in_a_sentence(device: torch.device, seed: int) -> None:
    gaussians = crowd(5, 1).to(device)
    for name, dtype in (("shN", torch.bfloat16), ("sh0", torch.float16), ("shN", torch.float64)):
        with pytest.raises(BackendError, match=rf"float32 tensors on a GPU; got {dtype}"):
            gpu.project(replace(gaussians, **{name: getattr(gaussians, name).to(dtype)}), CAMERA, RenderSettings())
    with pytest.raises(BackendError, match=r"no gradient for camera\.K; use backend='reference'"):
        gpu.project(gaussians, replace(CAMERA, K=CAMERA.K.clone().requires_grad_()), RenderSettings())


@jit(do_not_specialize=["first", "width"])
def _copied_rows(table, result, first, width, COUNT: tl.constexpr, LONG: tl.constexpr, BLOCK: tl.constexpr):
    lane = tl.arange(0, BLOCK)
    start = first + tl.zeros([], tl.int64)
    inside = lane < BLOCK - 1
    if LONG:
        numbers = load_long_rows(table, start, lane, width, inside, COUNT)
    else:
        numbers = load_rows(table, start, lane, width, inside, COUNT)
    for k in tl.static_range(COUNT):
        store_rows(result + k, 0, lane, COUNT, (numbers[k],), inside)


@pytest.mark.parametrize("COUNT", [1, 3, 9, 16, 24, 45, 72])
@pytest.mark.parametrize("LONG", [False, True])
def test_rows_are_read_and_written_as_they_lie(device: torch.device, COUNT: int, LONG: bool, seed: int) -> None:
    table = torch.randn(20, COUNT + 2, device=device)
    result = torch.full((8, COUNT), -1.0, device=device)
    launch.launch(_copied_rows, (1,), table, result, 5, COUNT + 2, COUNT=COUNT, LONG=LONG, BLOCK=8, warps=1)
    torch.testing.assert_close(result[:7], table[5:12, :COUNT], rtol=0, atol=0)
    assert (result[7] == -1).all()


@pytest.mark.parametrize("LONG", [False, True])
def test_rows_beyond_32_bits(device: torch.device, LONG: bool) -> None:
    """As of 30 million Gaussians of degree 4: numbers before 2^31 and behind it, in memory that is hardly touched."""
    width, first = 72, 2**31 // 72 - 3
    try:
        table = torch.empty((first + 8) * width, dtype=torch.float16, device=device)
    except RuntimeError as error:
        pytest.skip(f"LARGE ROWS NOT TESTED: {error}")
    rows = table[first * width :].view(8, width)
    rows.copy_(torch.arange(8 * width, device=device).view(8, width))
    result = torch.zeros(8, width, device=device)
    launch.launch(_copied_rows, (1,), table, result, first, width, COUNT=width, LONG=LONG, BLOCK=8, warps=1)
    torch.testing.assert_close(result[:7], rows[:7].float(), rtol=0, atol=0)


@jit
def _harmonics(directions, weights, values, gradients, BASES: tl.constexpr, DEGREE: tl.constexpr, BLOCK: tl.constexpr):
    lane = tl.arange(0, BLOCK)
    inside = lane < BLOCK
    x, y, z = load_rows(directions, 0, lane, 3, inside, 3)
    store_rows(values, 0, lane, BASES, basis_of(x, y, z, DEGREE), inside)
    if DEGREE > 0:
        w = load_rows(weights, 0, lane, BASES, inside, BASES)
        store_rows(gradients, 0, lane, 3, direction_gradient(x, y, z, w, DEGREE), inside)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_harmonics_and_the_way_back_to_directions(device: torch.device, degree: int, seed: int) -> None:
    K = (degree + 1) ** 2
    exact = torch.nn.functional.normalize(torch.randn(16, 3, dtype=torch.float64), dim=1).requires_grad_()
    directions, weights = exact.detach().float().to(device), torch.randn(16, K)
    values, gradients = torch.empty(16, K, device=device), torch.zeros(16, 3, device=device)
    launch.launch(
        _harmonics, (1,), directions, weights.to(device), values, gradients, BASES=K, DEGREE=degree, BLOCK=16, warps=1
    )
    wanted = basis(degree, exact)
    close(values, wanted.detach(), 1e-6)
    if degree > 0:
        (wanted * weights).sum().backward()
        apart = gradients.cpu().double() - exact.grad
        along = (apart * exact.detach()).sum(dim=1, keepdim=True) * exact.detach()  # means nothing
        close(apart - along + exact.grad, exact.grad, 2e-6)
