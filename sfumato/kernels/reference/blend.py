"""Splats in tile lists to a picture: front-to-back over, tile by tile."""

from typing import Any

import torch
from torch import Tensor

from sfumato.kernels.stages import TILE, RenderSettings, Splats, TileLists

__all__ = ["blend"]


def blend(
    splats: Splats, tiles: TileLists, background: Tensor, settings: RenderSettings
) -> tuple[Tensor, Tensor, Tensor | None]:
    """See `stages.Backend.blend`: C = sum c_i alpha_i T_i + T background, Eq. 3 of Kerbl et al. 2023."""
    values = torch.cat([splats.colors, splats.depths[:, None]], dim=1)
    colors, alphas = [], []
    for tile in range(tiles.tiles_x * tiles.tiles_y):
        ids = tiles.splats[tiles.offsets[tile] : tiles.offsets[tile + 1]].long()
        weights, transmittance = _weights(splats, ids, tile, tiles, settings)
        colors.append((weights @ values[ids]).reshape(TILE, TILE, 4))
        alphas.append((1 - transmittance).reshape(TILE, TILE))
    blended = _join(colors, tiles)
    alpha = _join(alphas, tiles)
    image = blended[..., :3] + (1 - alpha)[..., None] * background
    depth = blended[..., 3] / torch.where(alpha > 0, alpha, 1) if settings.depth else None
    return image, alpha, depth


def _weights(
    splats: Splats, ids: Tensor, tile: int, tiles: TileLists, settings: RenderSettings
) -> tuple[Tensor, Tensor]:
    """alpha_i T_i of the tile's pixels, (256, M), and what shines through all of them, (256,)."""
    row, column = divmod(tile, tiles.tiles_x)
    y, x = torch.meshgrid(torch.arange(TILE), torch.arange(TILE), indexing="ij")
    corner = torch.tensor([column * TILE + 0.5, row * TILE + 0.5])
    pixels = (torch.stack([x, y], dim=-1).reshape(-1, 2) + corner).to(splats.means2d)

    means = _Spread.apply(splats.means2d[ids], splats.probe[ids], settings.probe == "absolute")
    dx, dy = (pixels[:, None] - means).unbind(-1)
    a, b, c = splats.conics[ids].unbind(1)
    exponents = -0.5 * (a * dx * dx + c * dy * dy) - b * dx * dy
    alphas = (splats.opacities[ids] * torch.exp(exponents)).clamp(max=settings.alpha_max)
    alphas = torch.where(alphas >= settings.alpha_min, alphas, 0)

    passed = torch.cumprod(1 - alphas, dim=1)
    before = torch.cat([torch.ones_like(passed[:, :1]), passed[:, :-1]], dim=1)
    alphas = torch.where(before >= settings.transmittance_min, alphas, 0)
    return alphas * before, torch.prod(1 - alphas, dim=1)


def _join(blocks: list[Tensor], tiles: TileLists) -> Tensor:
    rows = [torch.cat(blocks[i : i + tiles.tiles_x], dim=1) for i in range(0, len(blocks), tiles.tiles_x)]
    return torch.cat(rows, dim=0)[: tiles.height, : tiles.width]


class _Spread(torch.autograd.Function):
    """(M, 2) means to one copy per pixel (256, M, 2); the probe receives the copies' gradients, maybe absolute."""

    @staticmethod
    def forward(ctx: Any, means: Tensor, probe: Tensor, absolute: bool) -> Tensor:
        ctx.absolute = absolute
        return (means + probe).expand(TILE * TILE, -1, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = gradients
        probe = gradient.abs() if ctx.absolute else gradient
        return gradient.sum(dim=0), probe.sum(dim=0), None
