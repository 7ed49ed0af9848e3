"""antimatter15's .splat: Gaussians to 32 bytes each, the most important first, and back.

A row is three float32 of the mean, three of the standard deviations, a byte each of red, green, blue and opacity, and
a byte each of the quaternion's w, x, y, z as 128 + 128 times the component; there is no header, and no harmonics but
color. What a round trip costs: means and log scales nothing but float32's rounding (1e-6 of the log), colors and
opacities half of 1/255, rotations at most 0.9 degrees.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.core.asset import CHUNK, Asset
from sfumato.core.axes import CANONICAL, reframe
from sfumato.core.errors import InputError
from sfumato.core.files import replacing
from sfumato.core.gaussians import Gaussians
from sfumato.formats.limits import opened
from sfumato.formats.losses import warn_clamped, warn_lost
from sfumato.formats.options import WriteOptions
from sfumato.formats.parts import gathered, log_of_scales
from sfumato.formats.rgba import pack_rgba, unpack_rgba

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "write"]

NAME = ".splat"
SUFFIXES: tuple[str, ...] = (".splat",)
EXACT = False
_ROW = np.dtype([("mean", "<f4", 3), ("scale", "<f4", 3), ("rgba", "u1", 4), ("quat", "u1", 4)])
_FAR = 1e8  # units, the most that an unnamed file's first rows may lie from zero
_SAMPLE = 1 << 11  # rows whose sense is looked at
_EDGE = 88.7  # log of the largest standard deviation that float32 holds


def recognizes(path: Path, head: bytes) -> bool:
    """Files of that name; others when their first rows could be Gaussians, for nothing in a row says what it is."""
    if path.is_dir():
        return False
    return path.suffix.lower() in SUFFIXES or (_is_whole(path) and _look_like_rows(head))


def read(path: Path, raw: bool = False) -> Asset:
    """The splat, degree 0, in the frame of the PLY it was made of, which is the canonical one by custom.

    Raises InputError when the file is missing or empty, does not end with a whole row, or has rows of another meaning.
    """
    rows = count(path)
    _check_sense(path, rows)
    return Asset(gathered(rows, 0, _parts(path, rows)))


def count(path: Path) -> int:
    """How many rows the file holds. Raises InputError when there is none, or the last is not whole."""
    with opened(path):
        size = path.stat().st_size
    if not size:
        raise InputError(f"{path} is empty; export or download it again")
    rows, more = divmod(size, _ROW.itemsize)
    if more:
        told = f"its size must be a multiple of {_ROW.itemsize} bytes, one row per Gaussian; got {size}"
        raise InputError(f"{path} is truncated or no .splat: {told}; copy or download it again")
    return rows


def write(path: Path, asset: Asset, options: WriteOptions) -> None:
    """Write rows by falling volume times opacity, so that a viewer that is still loading shows what matters.

    Harmonics above degree 0 are cut and colors beyond black and white clamped, both with a warning. The file appears
    whole or not at all. Raises InputError when there is nothing to write, OSError when it cannot be written.
    """
    if not len(asset):
        told = "without a Gaussian it would be a file of no bytes, which nobody can tell from a lost one"
        raise InputError(f"cannot write {path}: {told}; write another format, such as .ply")
    warn_lost(path, asset, NAME, sh_degree=0)
    clamped = 0
    with replacing(path) as file:
        for part in _by_importance(asset, asset.axes if options.raw else CANONICAL):
            rgba, beyond = pack_rgba(part)
            clamped += beyond
            file.write(_rows(part, rgba).tobytes())
    warn_clamped(path, "colors beyond black or white", clamped, len(asset))


def _is_whole(path: Path) -> bool:
    try:
        return path.stat().st_size % _ROW.itemsize == 0
    except OSError:
        return False


def _look_like_rows(head: bytes) -> bool:
    """Whether all rows have finite means, standard deviations above 0 and quaternions of length 1, but for rounding."""
    rows = np.frombuffer(head, _ROW, count=len(head) // _ROW.itemsize)
    with np.errstate(invalid="ignore"):
        near = (np.abs(rows["mean"]) < _FAR).all() and ((rows["scale"] > 0) & (rows["scale"] < _FAR)).all()
    lengths = np.linalg.norm(rows["quat"].astype(np.float32) / 128 - 1, axis=1)
    return bool(len(rows) and near and (np.abs(lengths - 1) < 0.05).all())


def _check_sense(path: Path, count: int) -> None:
    """Refuse what other programs called .splat before it meant this: most of its rows make no sense as Gaussians."""
    with opened(path):
        rows = np.array(np.memmap(path, _ROW, "r", shape=(count,))[:: -(-count // _SAMPLE)])
    with np.errstate(invalid="ignore"):
        near, scale = (np.abs(rows["mean"]) < _FAR).all(axis=1), rows["scale"]
        good = near & ((scale >= 0) & (scale < np.inf)).all(axis=1) & scale.any(axis=1)
    bad = len(rows) - np.count_nonzero(good)
    if 2 * bad > len(rows):
        told = f"of {len(rows)} rows that were looked at, {bad} make no sense as Gaussians"
        raise InputError(f"{path} is damaged or another program's .splat: {told}; export it as PLY")


def _parts(path: Path, count: int) -> Iterator[Gaussians]:
    with opened(path), path.open("rb") as file:
        for start in range(0, count, CHUNK):
            rows = np.fromfile(file, _ROW, min(CHUNK, count - start))
            if len(rows) < min(CHUNK, count - start):
                raise InputError(f"{path} became shorter while it was read; read it again")
            yield _decoded(rows)


def _decoded(rows: NDArray[np.void]) -> Gaussians:
    sh0, logit_opacities = unpack_rgba(rows["rgba"])
    # 128 for zero, as it was encoded; some read byte / 127.5 - 1, which turns every Gaussian by up to half a degree
    quats = torch.from_numpy(rows["quat"].astype(np.float32)) / 128 - 1
    quats[(quats == 0).all(dim=1), 0] = 1  # no rotation at all is none
    return Gaussians(
        means=torch.from_numpy(rows["mean"].astype(np.float32)),
        quats=torch.nn.functional.normalize(quats, dim=1),
        log_scales=log_of_scales(torch.from_numpy(np.abs(rows["scale"].astype(np.float32)))),  # a sign means nothing
        logit_opacities=logit_opacities,
        sh0=sh0,
        shN=torch.zeros(len(rows), 0, 3),
    )


def _by_importance(asset: Asset, axes: str) -> Iterator[Gaussians]:
    """The Gaussians without higher harmonics, in another frame and in the order of the file, a part at a time."""
    whole = asset.gaussians.detach().to("cpu", torch.float32)
    whole = replace(whole, shN=whole.shN[:, :0])
    importance = whole.log_scales.sum(dim=1) + torch.nn.functional.logsigmoid(whole.logit_opacities)
    order = importance.argsort(descending=True, stable=True)
    for start in range(0, len(order), CHUNK):
        yield reframe(whole[order[start : start + CHUNK]], asset.axes, axes)


def _rows(gaussians: Gaussians, rgba: NDArray[np.uint8]) -> NDArray[np.void]:
    quats = torch.nn.functional.normalize(gaussians.quats, dim=1)
    rows = np.empty(len(gaussians), _ROW)
    rows["mean"] = gaussians.means.numpy()
    rows["scale"] = gaussians.log_scales.clamp(-_EDGE, _EDGE).exp().numpy()
    rows["rgba"] = rgba
    rows["quat"] = quats.mul_(128).add_(128.5).clamp_(0, 255).to(torch.uint8).numpy()  # 1 does not fit, and is 255
    return rows
