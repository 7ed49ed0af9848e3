"""Every fast backend against the reference in float64: values and gradients of each stage, on random scenes.

Two things are allowed to differ. Rounding: float32 has 24 bits, and sums over a Gaussian's pixels cancel, so
gradients are compared row by row relative to the row and to a typical row. Decisions: where alpha is within rounding
of alpha_min, or transmittance of its least, one side draws a splat in a pixel and the other does not; this moves a
pixel by at most that threshold, and happens to a handful, so a few outliers are let pass, each within the threshold.
"""

from dataclasses import dataclass, field, replace

import pytest
import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.errors import BackendError
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import planar
from sfumato.kernels.backends import load
from sfumato.kernels.stages import RenderSettings, Splats

from scenes import askew, crowd, draw, few, rasterize, trainable


@dataclass(frozen=True)
class Case:
    """One random scene: how many Gaussians, of what degree, in what picture, drawn how."""

    N: int
    degree: int
    width: int
    height: int
    settings: RenderSettings = field(default_factory=RenderSettings)
    spread: float = 1.0
    size: float = 0.08
    few: int = 24  # Gaussians for an interpreted backend, which gets no more than FEW_PIXELS either


FEW_PIXELS = (33, 20)  # six tiles, odd on both sides

CASES = {
    "one pixel": Case(30, 1, 1, 1, size=0.3),
    "one tile": Case(40, 2, 16, 16),
    "thin picture": Case(60, 0, 3, 50),
    "odd picture": Case(200, 3, 45, 31),
    "degree 4": Case(100, 4, 33, 17),
    "only degree 1 of 3": Case(100, 3, 33, 17, RenderSettings(sh_degree=1)),
    "many": Case(1500, 1, 64, 48, size=0.04),
    "large": Case(60, 1, 40, 40, size=0.5, few=16),
    "deep": Case(400, 0, 24, 24, size=0.4, few=40),
    "around the camera": Case(300, 2, 40, 30, spread=3.0, size=0.2),
    "absolute probe": Case(150, 1, 40, 30, RenderSettings(probe="absolute")),
    "antialiased": Case(200, 1, 40, 30, RenderSettings(antialiased=True), size=0.01),
    "no depth": Case(100, 1, 40, 30, RenderSettings(depth=False)),
    "nothing left out": Case(60, 1, 20, 20, RenderSettings(alpha_min=0.0, transmittance_min=0.0), size=0.2, few=16),
    "clipped alpha": Case(100, 1, 40, 30, RenderSettings(alpha_max=0.4)),
    "early end": Case(300, 1, 40, 30, RenderSettings(transmittance_min=0.03), size=0.35, few=40),
    "near plane": Case(200, 1, 40, 30, RenderSettings(near=2.8)),
    "no margin": Case(100, 1, 40, 30, RenderSettings(fov_margin=0.0), spread=2.0),
    "narrow low-pass": Case(200, 1, 40, 30, RenderSettings(low_pass=0.05)),
}
SPLAT_FIELDS = ("means2d", "conics", "depths", "colors", "opacities")


def double(gaussians: Gaussians, camera: Camera) -> tuple[Gaussians, Camera]:
    return trainable(gaussians.to(torch.float64)), camera.to(torch.float64)


def make(case: Case, backend: str) -> tuple[Gaussians, Camera]:
    gaussians = crowd(few(backend, case.N, min(case.N, case.few)), case.degree, case.spread, case.size)
    width, height = (
        few(backend, size, min(size, most)) for size, most in zip((case.width, case.height), FEW_PIXELS, strict=True)
    )
    return gaussians, askew(width, height)


def values_agree(name: str, got: Tensor, wanted: Tensor, outliers: int, threshold: float) -> None:
    assert got.shape == wanted.shape, name
    apart = (got.double() - wanted).abs() - 2e-5 * wanted.abs().clamp(min=1)
    assert int((apart > 0).sum()) <= outliers, f"{name}: {apart.max():.2e} too far at {int((apart > 0).sum())} places"
    assert (apart <= threshold).all(), f"{name}: {apart.max():.2e} too far"


def rows_agree(name: str, got: Tensor | None, wanted: Tensor | None, tolerance: float) -> None:
    """Rows within `tolerance` of their own length and of a typical row's; all together within a fifth of it."""
    assert got is not None, name
    assert wanted is not None, name
    assert torch.isfinite(got).all(), name
    if wanted.numel() == 0:
        return
    apart = (got.double() - wanted).reshape(len(wanted), -1).norm(dim=1)
    length = wanted.reshape(len(wanted), -1).norm(dim=1)
    typical = (length**2).mean().sqrt()
    relative = apart / (length + 0.02 * typical + 1e-12)
    assert relative.max() <= 10 * tolerance, f"{name}: row {int(relative.argmax())} off by {relative.max():.2e}"
    assert relative.quantile(0.95) <= tolerance, f"{name}: a twentieth off by {relative.quantile(0.95):.2e}"
    assert apart.norm() <= 0.2 * tolerance * length.norm() + 1e-12, f"{name}: {apart.norm() / length.norm():.2e}"


@pytest.mark.parametrize("name", CASES)
def test_project(fast_backend: str, name: str, seed: int) -> None:
    gaussians, camera = make(CASES[name], fast_backend)
    settings = CASES[name].settings
    exact, exact_camera = double(gaussians, camera)
    gaussians = trainable(gaussians)
    got = load(fast_backend).project(gaussians, camera, settings)
    wanted = load("reference").project(exact, exact_camera, settings)
    assert (got.seen != wanted.seen).sum() <= 1  # a box may touch the picture's edge within rounding
    both = got.seen & wanted.seen
    weights = {}
    for part in (*SPLAT_FIELDS, "radii"):
        mine, theirs = getattr(got, part)[both], getattr(wanted, part)[both]
        if part == "radii" and settings.alpha_min == 0:
            continue  # everywhere, against as far as float32 can tell from 0
        rows_agree(part, mine, theirs, 1e-5)
        weights[part] = torch.randn(theirs.shape).to(theirs) / theirs.detach().abs().mean().clamp(min=1e-9)
    assert int(got.nonfinite) == int(wanted.nonfinite) == 0
    sum((getattr(got, p)[both] * weights[p].float()).sum() for p in SPLAT_FIELDS).backward()
    sum((getattr(wanted, p)[both] * weights[p]).sum() for p in SPLAT_FIELDS).backward()
    for part in gaussians.names():
        rows_agree(f"gradient of {part}", getattr(gaussians, part).grad, getattr(exact, part).grad, 1e-4)


def leaves_of(splats: Splats) -> tuple[Splats, Splats]:
    """The same float32 splats twice: for the fast backend, and in float64 for the reference."""
    mine = splats.leaves()
    moved = {name: getattr(splats, name).detach().double() for name in (*SPLAT_FIELDS, "probe", "radii")}
    return mine, replace(splats, **moved).leaves()


@pytest.mark.parametrize("name", CASES)
def test_blend(fast_backend: str, name: str, seed: int) -> None:
    gaussians, camera = make(CASES[name], fast_backend)
    settings = CASES[name].settings
    mine, exact = leaves_of(load(fast_backend).project(gaussians, camera, settings))
    background = torch.rand(3).requires_grad_()
    exact_background = background.detach().double().requires_grad_()
    got = rasterize(fast_backend, mine, camera, settings, background)
    wanted = rasterize("reference", exact, camera.to(torch.float64), settings, exact_background)
    solid = wanted[1].detach() > 0.05  # expected depth is a quotient, noisy where there is almost nothing
    threshold = 4 * max(settings.alpha_min, settings.transmittance_min)
    values_agree("image", got[0], wanted[0], outliers=6, threshold=threshold)
    values_agree("alpha", got[1], wanted[1], outliers=3, threshold=threshold)
    weights = [torch.randn(wanted[0].shape).double(), torch.randn(wanted[1].shape).double()]
    parts = [((got[0], wanted[0]), weights[0]), ((got[1], wanted[1]), weights[1])]
    if settings.depth:
        assert got[2] is not None
        assert wanted[2] is not None
        values_agree("depth", got[2] * solid, wanted[2] * solid, outliers=3, threshold=1.0)
        parts.append(((got[2], wanted[2]), 0.3 * weights[1].flip(0) * solid))
    else:
        assert got[2] is wanted[2] is None
    sum((pair[0] * weight.float()).sum() for pair, weight in parts).backward()
    sum((pair[1] * weight).sum() for pair, weight in parts).backward()
    for part in (*SPLAT_FIELDS, "probe"):
        if part != "depths" or settings.depth:
            rows_agree(f"gradient of {part}", getattr(mine, part).grad, getattr(exact, part).grad, 2e-3)
    rows_agree("gradient of background", background.grad, exact_background.grad, 1e-3)


@pytest.mark.parametrize("name", ["one pixel", "odd picture", "around the camera", "antialiased", "only degree 1 of 3"])
def test_whole_picture(fast_backend: str, name: str, seed: int) -> None:
    """From the Gaussians to the picture and back, no stage's input taken from the other backend."""
    gaussians, camera = make(CASES[name], fast_backend)
    settings = CASES[name].settings
    exact, exact_camera = double(gaussians, camera)
    gaussians = trainable(gaussians)
    got, wanted = draw(fast_backend, gaussians, camera, settings), draw("reference", exact, exact_camera, settings)
    values_agree("image", got[0], wanted[0], outliers=6, threshold=4 * settings.alpha_min)
    weight = torch.randn(wanted[0].shape).double()
    (got[0] * weight.float()).sum().backward()
    (wanted[0] * weight).sum().backward()
    for part in gaussians.names():
        rows_agree(f"gradient of {part}", getattr(gaussians, part).grad, getattr(exact, part).grad, 3e-3)


def test_gradient_of_the_camera(fast_backend: str, seed: int) -> None:
    """A backend has the gradients of viewmat and K, or says that it has not before it draws."""
    gaussians, camera = make(CASES["odd picture"], fast_backend)
    for name in ("viewmat", "K"):
        moving = replace(camera, **{name: getattr(camera, name).clone().requires_grad_()})
        exact = replace(camera.to(torch.float64), **{name: getattr(camera, name).double().requires_grad_()})
        try:
            got = draw(fast_backend, gaussians, moving)
        except BackendError as error:
            if f"camera.{name}" not in str(error):
                raise
            continue
        wanted = draw("reference", gaussians.to(torch.float64), exact)
        weight = torch.randn(wanted[0].shape).double()
        (got[0] * weight.float()).sum().backward()
        (wanted[0] * weight).sum().backward()
        mine, theirs = getattr(moving, name).grad, getattr(exact, name).grad
        assert (mine.double() - theirs).norm() <= 5e-3 * theirs.norm(), name


SIZES = [(1, 1), (1, 40), (3, 2), (11, 11), (16, 15), (17, 16), (23, 70), (48, 64)]


@pytest.mark.parametrize("bytes_", [False, True], ids=["float", "uint8"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_photometric(fast_backend: str, size: tuple[int, int], bytes_: bool, seed: int) -> None:
    height, width = few(fast_backend, size[0], min(size[0], 8)), size[1]
    target = torch.rand(height, width, 3)
    image = (0.7 * target + 0.3 * torch.rand(height, width, 3)).requires_grad_()
    exact = image.detach().double().requires_grad_()
    exact_target = target.double()
    if bytes_:
        target = exact_target = (255 * target).to(torch.uint8)
    got = load(fast_backend).photometric(image, target, 0.2)
    wanted = load("reference").photometric(exact, exact_target, 0.2)
    assert got.item() == pytest.approx(wanted.item(), rel=2e-6, abs=1e-7)
    (3 * got).backward()
    (3 * wanted).backward()
    assert image.grad is not None
    assert exact.grad is not None
    assert (image.grad.double() - exact.grad).norm() <= 1e-4 * exact.grad.norm()


@pytest.mark.parametrize("ssim_weight", [0.0, 1.0])
def test_photometric_weights(fast_backend: str, ssim_weight: float, seed: int) -> None:
    image, target = torch.rand(2, few(fast_backend, 20, 3), 31, 3)
    got = load(fast_backend).photometric(image, target, ssim_weight)
    wanted = load("reference").photometric(image.double(), target.double(), ssim_weight)
    assert got.item() == pytest.approx(wanted.item(), rel=2e-6)


def test_photometric_does_not_care_how_pixels_lie(fast_backend: str, seed: int) -> None:
    height = few(fast_backend, 20, 3)
    target = torch.randint(0, 256, (height, 31, 3), dtype=torch.uint8)
    image = torch.rand(height, 31, 3)
    results = []
    for picture in (image, planar(image), image.flip(0).contiguous().flip(0)):
        leaf = picture.detach().requires_grad_()
        load(fast_backend).photometric(leaf, planar(target), 0.2).backward()
        assert leaf.grad is not None
        results.append(leaf.grad)
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    torch.testing.assert_close(results[0], results[2], rtol=0, atol=0)
