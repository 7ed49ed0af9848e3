"""How far the GPU's picture and gradients are from the reference in float64, at full size, on some of the tiles."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.kernels import reference
from sfumato.kernels.reference.bin import smallest_exponent
from sfumato.kernels.stages import TILE, Backend, RenderSettings, Splats, TileLists

__all__ = ["Truth", "compare"]


@dataclass(frozen=True)
class Truth:
    """What differs, over the pixels of some tiles."""

    tiles: int
    color: float  # the greatest difference of a color
    apart: float  # share of colors that differ by more than rounding explains: a faint splat drawn by one side only
    gradients: dict[str, float]  # per field of Gaussians: length of the difference by length of the gradient

    @property
    def good(self) -> bool:
        """Differences are as decisions at thresholds and float32 explain."""
        return self.color < 1e-2 and self.apart < 1e-3 and all(error < 1e-2 for error in self.gradients.values())


def compare(
    gaussians: Gaussians, camera: Camera, settings: RenderSettings, stages: Backend, count: int, seed: int = 0
) -> Truth:
    """Draw with `stages` and, `count` random tiles, with the reference; gradients of random sums of their pixels."""
    device = gaussians.means.device
    random = torch.Generator().manual_seed(seed)
    tiles_x, tiles_y = -(-camera.width // TILE), -(-camera.height // TILE)
    chosen = torch.randperm(tiles_x * tiles_y, generator=random)[:count].tolist()
    weights = torch.zeros(tiles_y * TILE, tiles_x * TILE, 3)
    for tile in chosen:
        _block(weights, tile, tiles_x)[:] = torch.randn(TILE, TILE, 3, generator=random)
    weights = weights[: camera.height, : camera.width].to(device)

    ours = gaussians.map(lambda tensor: tensor.detach().clone().requires_grad_())
    splats = stages.project(ours, camera, settings)
    lists = stages.bin(splats, camera.width, camera.height, settings)
    image = stages.blend(splats, lists, torch.zeros(3, device=device), settings)[0]
    (image * weights).sum().backward()

    exact, rows, picture = _reference(gaussians, camera, settings, chosen, weights)
    differences = torch.cat([
        (_block(image.detach(), tile, tiles_x) - _block(picture, tile, tiles_x)).abs().flatten() for tile in chosen
    ])  # fmt: skip
    gradients = {}
    for name, mine, wanted in zip(ours.names(), ours, exact, strict=True):
        if wanted.numel():
            assert mine.grad is not None
            assert wanted.grad is not None
            off = mine.grad.double().clone()
            off[rows] -= wanted.grad
            gradients[name] = float(off.norm() / wanted.grad.norm().clamp(min=1e-30))
    apart = float((differences > 1e-4).double().mean())
    return Truth(len(chosen), float(differences.max()), apart, gradients)


def _block(image: Tensor, tile: int, tiles_x: int) -> Tensor:
    row, column = divmod(tile, tiles_x)
    return image[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]


def _reference(
    gaussians: Gaussians, camera: Camera, settings: RenderSettings, chosen: list[int], weights: Tensor
) -> tuple[Gaussians, Tensor, Tensor]:
    """The Gaussians that reach the chosen tiles, in float64 with gradients; their rows; a picture of those tiles."""
    exact_camera = camera.to(torch.float64)
    tiles_x = -(-camera.width // TILE)
    with torch.no_grad():  # all rows, without gradients: who reaches which tile?
        splats = reference.project(gaussians.to(torch.float64), exact_camera, settings)
        order = torch.argsort(splats.depths, stable=True)
        order = order[splats.seen[order]]
        listed = [order[_reaching(splats, order, tile, tiles_x, settings)] for tile in chosen]
    rows = torch.unique(torch.cat(listed))
    exact = gaussians[rows].to(torch.float64).map(lambda tensor: tensor.detach().clone().requires_grad_())
    splats = reference.project(exact, exact_camera, settings)
    leaves = splats.leaves()
    picture = weights.new_zeros(weights.shape, dtype=torch.float64)
    background = picture.new_zeros(3)
    for tile, ids in zip(chosen, listed, strict=True):
        pixels = _block(picture, tile, tiles_x)
        image = _draw_tile(leaves, torch.searchsorted(rows, ids), tile, tiles_x, background, settings)
        image = image[: pixels.shape[0], : pixels.shape[1]]
        pixels[:] = image.detach()
        (image * _block(weights, tile, tiles_x)).sum().backward()
    names = ("means2d", "conics", "colors", "opacities")
    torch.autograd.backward([getattr(splats, name) for name in names], [getattr(leaves, name).grad for name in names])
    return exact, rows, picture


def _corner(like: Tensor, tile: int, tiles_x: int) -> Tensor:
    row, column = divmod(tile, tiles_x)
    return like.new_tensor([column * TILE, row * TILE])


def _reaching(splats: Splats, order: Tensor, tile: int, tiles_x: int, settings: RenderSettings) -> Tensor:
    low = _corner(splats.means2d, tile, tiles_x) + 0.5
    reach = 2 * torch.log(splats.opacities[order] / settings.alpha_min)
    return smallest_exponent(splats.means2d[order], splats.conics[order], low, low + TILE - 1) <= reach


def _draw_tile(
    splats: Splats, ids: Tensor, tile: int, tiles_x: int, background: Tensor, settings: RenderSettings
) -> Tensor:
    """(16, 16, 3) one tile, as a picture of its own."""
    moved = Splats(
        splats.means2d - _corner(splats.means2d, tile, tiles_x),
        splats.conics, splats.depths, splats.radii, splats.colors, splats.opacities, splats.probe, splats.nonfinite,
    )  # fmt: skip
    offsets = torch.tensor([0, len(ids)], device=ids.device)
    return reference.blend(moved, TileLists(offsets, ids.int(), TILE, TILE), background, settings)[0]
