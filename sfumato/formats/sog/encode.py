"""Gaussians to the files of a SOG: a pixel for each in every image, and what the pixels' bytes mean in meta.json."""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import sfumato
from sfumato.core.asset import Asset
from sfumato.core.axes import matrix_between, reframe
from sfumato.core.gaussians import Gaussians
from sfumato.core.limits import usable_cores
from sfumato.core.morton import morton_order
from sfumato.formats.facts import KEY, facts_of
from sfumato.formats.quaternions import keep_smallest_three
from sfumato.formats.sog.codebook import codebook, nearest_level
from sfumato.formats.sog.decode import FIRST_TAG
from sfumato.formats.sog.files import META
from sfumato.formats.sog.images import encode, image_size
from sfumato.formats.sog.meta import ENTRIES_PER_ROW, MOST_ENTRIES
from sfumato.formats.sog.palette import palette

__all__ = ["encode_asset"]

NARROW, WIDE = -20.0, 20.0  # log scales beyond, of 2e-9 and 5e8 units, are moved here: no level is lost to them
UNIT = 1024  # palettes are this times a power of two, as splat-transform's: as large as there are Gaussians for
FARTHEST_SHARE = 1e3  # what one Gaussian may weigh, of the middle one: a sky is larger still
POWER = 1 / 3  # of opacity times area, as errors weigh: from 1/2 on, detailed scenes lose, below 1/4 rough ones
STEPS = 65535  # of a place, from the least to the greatest of each axis
_Image = NDArray[np.uint8]  # (H * W, 4)


@dataclass(frozen=True, eq=False)
class _Canvas:
    """Where each Gaussian's pixel is: neighbours in space are neighbours in the image."""

    pixels: NDArray[np.int64]  # (N,)
    width: int
    height: int

    def colored(self, values: NDArray[np.uint8]) -> _Image:
        """The image of (N, 3 or 4), opaque black where no Gaussian is."""
        image = np.zeros((self.width * self.height, 4), dtype=np.uint8)
        image[:, 3] = 255
        image[self.pixels, : values.shape[1]] = values
        return image


def encode_asset(asset: Asset, axes: str) -> Iterator[tuple[str, bytes]]:
    """Each file's name and bytes, meta.json last. The Gaussians are finite, of degree 3 at most.

    The numbers are in the frame of `axes`. The same bytes for the same Gaussians, on any number of threads.
    """
    canvas = _canvas_of(asset.gaussians)
    meta = _head(asset, axes)
    waiting: dict[str, Future[bytes]] = {}
    with ThreadPoolExecutor(usable_cores(), thread_name_prefix="sog") as pool:
        for key, make in {"means": _means, "scales": _scales, "quats": _quats, "sh0": _sh0, "shN": _shN}.items():
            said, images = make(asset, axes, canvas)
            if not images:
                continue
            meta[key] = {**said, "files": [f"{name}.webp" for name in images]}
            for name, (image, width) in images.items():
                waiting[f"{name}.webp"] = pool.submit(encode, image, width)
        for name, image_bytes in waiting.items():
            yield name, image_bytes.result()
    yield META, json.dumps(meta, separators=(",", ":"), allow_nan=False).encode()


_Made = tuple[dict[str, Any], dict[str, tuple[_Image, int]]]  # what meta.json says; images by name, with their widths


def _canvas_of(gaussians: Gaussians) -> _Canvas:
    order = morton_order(gaussians.means.detach().cpu())
    pixels = torch.empty_like(order)
    pixels[order] = torch.arange(len(order))
    return _Canvas(pixels.numpy(), *image_size(len(gaussians)))


def _head(asset: Asset, axes: str) -> dict[str, Any]:
    """What is said about all Gaussians; our own key is one that other readers pass over."""
    meta: dict[str, Any] = {"version": 2, "asset": {"generator": f"sfumato {sfumato.__version__}"}}
    meta["count"] = len(asset)
    if asset.kernel == "disc":
        meta["model"] = "2dgs"
    elif asset.antialiased:
        meta["model"] = "antialiased"
    facts = facts_of(asset, axes) | ({"colorSpace": "linear"} if asset.color_space == "linear" else {})
    return meta | ({KEY: facts} if facts else {})


def _chunks(asset: Asset, axes: str) -> Iterator[Gaussians]:
    """Without higher harmonics, whose turning costs the most."""
    gaussians = replace(asset.gaussians, shN=asset.gaussians.shN[:, :0])
    return replace(asset, gaussians=gaussians).chunks(axes)


def _means(asset: Asset, axes: str, canvas: _Canvas) -> _Made:
    """sign(x) ln(1 + |x|) in 16 bits."""
    parts = [_logs(part.means) for part in _chunks(asset, axes)]
    logs = torch.cat(parts) if parts else torch.zeros(0, 3, dtype=torch.float64)
    low, high = (logs.amin(dim=0), logs.amax(dim=0)) if len(logs) else (torch.zeros(3), torch.zeros(3))
    steps = (logs - low).div_((high - low).clamp(min=1e-30)).mul_(STEPS).round_().to(torch.int32).numpy()
    said = {"mins": low.tolist(), "maxs": high.tolist()}
    images = {f"means_{half}": (steps >> shift).astype(np.uint8) for half, shift in (("l", 0), ("u", 8))}
    return said, {name: (canvas.colored(values), canvas.width) for name, values in images.items()}


def _logs(means: Tensor) -> Tensor:
    exact = means.double()
    return exact.sign() * exact.abs().log1p()


def _prominence(gaussians: Gaussians) -> Tensor:
    """(N,) how much an error of each Gaussian shows: a root of opacity times area, 1 for the middle one.

    For scales and harmonics this makes pictures more like those of the original, by up to 6 dB; for colors it does
    not. The area itself would leave too little for what is small and near.
    """
    opacities, log_scales = gaussians.logit_opacities.detach().cpu(), gaussians.log_scales.detach().cpu()
    shares = torch.nn.functional.logsigmoid(opacities.float()) + log_scales.float().sort(dim=1)[0][:, 1:].sum(dim=1)
    middle = shares.median() if len(shares) else 0.0
    return (shares - middle).mul(POWER).exp().clamp(1 / FARTHEST_SHARE, FARTHEST_SHARE)


def _scales(asset: Asset, axes: str, canvas: _Canvas) -> _Made:
    values = asset.gaussians.log_scales.detach().cpu().float().clamp(NARROW, WIDE).numpy()
    levels = codebook(values, np.broadcast_to(_prominence(asset.gaussians).numpy()[:, None], values.shape))
    image = canvas.colored(nearest_level(values, levels))
    return {"codebook": _written(levels)}, {"scales": (image, canvas.width)}


def _quats(asset: Asset, axes: str, canvas: _Canvas) -> _Made:
    """The smallest three of wxyz, and in alpha which one is left out."""
    values = np.empty((len(asset), 4), dtype=np.uint8)
    start = 0
    for part in _chunks(asset, axes):
        dropped, others = keep_smallest_three(part.quats.float())
        rows = values[start : start + len(part)]
        rows[:, :3] = ((others * 2**0.5 * 0.5 + 0.5) * 255).round().clamp(0, 255).numpy()
        rows[:, 3] = dropped.numpy() + FIRST_TAG
        start += len(part)
    return {}, {"quats": (canvas.colored(values), canvas.width)}


def _sh0(asset: Asset, axes: str, canvas: _Canvas) -> _Made:
    """Colors by their codebook, opacities in alpha."""
    values = asset.gaussians.sh0.detach().cpu().float()[:, 0].numpy()
    alpha = asset.gaussians.opacities.detach().cpu().float().mul(255).round().numpy().astype(np.uint8)
    levels = codebook(values)
    image = canvas.colored(np.concatenate([nearest_level(values, levels), alpha[:, None]], axis=1))
    return {"codebook": _written(levels)}, {"sh0": (image, canvas.width)}


def _shN(asset: Asset, axes: str, canvas: _Canvas) -> _Made:
    """Rows of harmonics by their palette, whose numbers have a codebook; only the palette is turned to the frame."""
    rows = asset.gaussians.shN.detach().cpu().float().flatten(1)
    if not rows.numel():
        return {}, {}
    entries, labels = palette(rows, _palette_size(len(rows)), weights=_prominence(asset.gaussians))
    bases, count = rows.shape[1] // 3, len(entries)
    values = _turned(entries.reshape(count, bases, 3), asset.axes, axes).numpy()
    levels = codebook(values)
    height = -(-count // ENTRIES_PER_ROW)
    picture = np.zeros((height * ENTRIES_PER_ROW * bases, 4), dtype=np.uint8)
    picture[:, 3] = 255
    picture[: count * bases, :3] = nearest_level(values, levels).reshape(-1, 3)
    said = {"count": count, "bands": asset.gaussians.degree, "codebook": _written(levels)}
    bytes_of_labels = labels.to(torch.int32).numpy()[:, None] >> np.array([0, 8]) & 255
    return said, {
        "shN_centroids": (picture, ENTRIES_PER_ROW * bases),
        "shN_labels": (canvas.colored(bytes_of_labels.astype(np.uint8)), canvas.width),
    }


def _palette_size(count: int) -> int:
    return count if count < UNIT else min(MOST_ENTRIES, UNIT << (count // UNIT).bit_length() - 1)


def _turned(shN: Tensor, source: str, target: str) -> Tensor:
    if torch.equal(matrix_between(source, target), torch.eye(3, dtype=torch.float64)):
        return shN
    count = len(shN)
    bare = replace(Gaussians.empty(0).map(lambda field: field.new_ones(count, *field.shape[1:])), shN=shN)
    return reframe(bare, source, target).shN.contiguous()


def _written(levels: NDArray[np.float32]) -> list[float]:
    """The shortest numbers that are these levels again as float32."""
    return [float(str(level)) for level in levels]
