"""PLY of the field (Kerbl et al. 2023 and every trainer since): Gaussians to named float columns and back."""

import math
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL
from sfumato.core.errors import InputError
from sfumato.core.files import replacing
from sfumato.core.gaussians import Gaussians
from sfumato.core.ply_table import Table, read_comments, read_layout, read_table
from sfumato.formats.options import WriteOptions

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "write"]

NAME = "PLY"
SUFFIXES: tuple[str, ...] = (".ply",)
EXACT = True
ORIGIN = "origin"
FLAT = math.log(1e-6)  # log scale of the third axis of a disc, whose file has only two


def recognizes(path: Path, head: bytes) -> bool:
    """Every PLY file: which of them are no splats, `read` says."""
    return head[:3] == b"ply"


def read(path: Path, raw: bool = False) -> Asset:
    """The splat of a PLY file, float32, every value as stored: its frame is the canonical one by custom.

    Columns are found by name; a color instead of f_dc, and the two scales of a disc, are understood. Of higher
    harmonics that fill no degree, the full degrees are kept. Raises InputError when the file is missing, damaged,
    a mesh, a point cloud or a compressed PLY.
    """
    table = read_table(path)
    _check_is_splat(path, table)
    columns = table.columns
    gaussians = Gaussians(
        means=_stack(columns, ["x", "y", "z"]),
        quats=_stack(columns, [f"rot_{i}" for i in range(4)]),
        log_scales=_log_scales(columns),
        logit_opacities=_stack(columns, ["opacity"])[:, 0],
        sh0=_sh0(columns)[:, None],
        shN=_shN(path, columns),
    )
    return Asset(gaussians, kernel="ellipsoid" if "scale_2" in columns else "disc", origin=_origin(path))


def count(path: Path) -> int:
    """How many Gaussians the header promises. Raises InputError as `read` does for what the header shows."""
    table = read_layout(path)
    _check_is_splat(path, table)
    _shN(path, table.columns)
    return table.count


def write(path: Path, asset: Asset, options: WriteOptions) -> None:
    """Write binary little-endian float32 columns in the order of Kerbl et al. 2023, normals zero.

    An origin that is not zero becomes a comment, in all its digits. The file appears whole or not at all. Raises
    OSError when it cannot be written.
    """
    gaussians, origin = asset.gaussians, asset.origin
    names = _names(gaussians)
    header = ["ply", "format binary_little_endian 1.0"]
    header += [f"comment {ORIGIN} {' '.join(repr(float(value)) for value in origin)}"] if any(origin) else []
    header += [f"element vertex {len(gaussians)}"]
    header += [f"property float {name}" for name in names] + ["end_header"]
    with replacing(path) as file:
        file.write(("\n".join(header) + "\n").encode("ascii"))
        for part in asset.chunks(asset.axes if options.raw else CANONICAL):
            file.write(_rows(part).tobytes())


def _origin(path: Path) -> tuple[float, float, float]:
    """The three numbers of the header's line `comment origin X Y Z`; zero without one."""
    words = next((words for words in read_comments(path) if words[:1] == [ORIGIN]), None)
    if words is None:
        return (0.0, 0.0, 0.0)
    try:
        x, y, z = (float(word) for word in words[1:])
    except ValueError:
        raise InputError(f"{path}: the comment {' '.join(words)!r} must hold three numbers") from None
    if not all(math.isfinite(value) for value in (x, y, z)):
        raise InputError(f"{path}: the comment {' '.join(words)!r} must hold finite numbers")
    return (x, y, z)


def _names(gaussians: Gaussians) -> list[str]:
    rest = 3 * gaussians.shN.shape[1]
    return [
        *["x", "y", "z", "nx", "ny", "nz"],
        *[f"f_dc_{i}" for i in range(3)],
        *[f"f_rest_{i}" for i in range(rest)],
        "opacity",
        *[f"scale_{i}" for i in range(3)],
        *[f"rot_{i}" for i in range(4)],
    ]


def _rows(gaussians: Gaussians) -> NDArray[np.float32]:
    """(N, columns) in the order of `_names`; f_rest runs over all coefficients of red, then green, then blue."""
    columns = [
        gaussians.means,
        torch.zeros_like(gaussians.means),
        gaussians.sh0.flatten(1),
        gaussians.shN.transpose(1, 2).flatten(1),
        gaussians.logit_opacities[:, None],
        gaussians.log_scales,
        gaussians.quats,
    ]
    joined = torch.cat([column.detach().to("cpu", torch.float32) for column in columns], dim=1)
    return joined.numpy().astype("<f4", copy=False)


def _check_is_splat(path: Path, table: Table) -> None:
    columns = table.columns
    if "packed_position" in columns:
        raise InputError(
            f"{path} is a compressed PLY, which cannot be read yet; save it as a plain PLY, as SuperSplat can"
        )
    colored = {"f_dc_0", "f_dc_1", "f_dc_2"} <= columns.keys() or {"red", "green", "blue"} <= columns.keys()
    wanted = ["x", "y", "z", "opacity", "scale_0", "scale_1", *[f"rot_{i}" for i in range(4)]]
    missing = [name for name in wanted if name not in columns] + ([] if colored else ["f_dc_0"])
    if not missing:
        return
    if {"opacity", "scale_0", "rot_0"}.isdisjoint(columns):
        kind = "mesh" if "face" in table.elements else "point cloud"
        raise InputError(f"{path} is a {kind}, not a splat: its vertices have no {', '.join(missing)}")
    raise InputError(f"{path} is not a whole splat: its vertices have no {', '.join(missing)}")


def _stack(columns: dict[str, NDArray[np.generic]], names: list[str]) -> Tensor:
    """(N, len(names)) float32; a column that is float32 in the file, of either byte order, keeps its bits."""
    values = np.empty((len(columns[names[0]]), len(names)), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is not finite, which `info` counts
        for index, name in enumerate(names):
            values[:, index] = columns[name]
    return torch.from_numpy(values)


def _log_scales(columns: dict[str, NDArray[np.generic]]) -> Tensor:
    if "scale_2" in columns:
        return _stack(columns, ["scale_0", "scale_1", "scale_2"])
    scales = _stack(columns, ["scale_0", "scale_1"])
    return torch.cat([scales, torch.full_like(scales[:, :1], FLAT)], dim=1)


def _sh0(columns: dict[str, NDArray[np.generic]]) -> Tensor:
    if "f_dc_0" in columns:
        return _stack(columns, [f"f_dc_{i}" for i in range(3)])
    rgb = _stack(columns, ["red", "green", "blue"])
    whole = columns["red"].dtype.kind in "ui" or bool((rgb > 1).any())  # text carries no types: 0 to 255 shows itself
    return harmonics.sh0_from_rgb(rgb / 255 if whole else rgb)


def _shN(path: Path, columns: dict[str, NDArray[np.generic]]) -> Tensor:
    """(N, K-1, 3) from f_rest_*, which runs over all coefficients of red, then green, then blue."""
    count = sum(name.startswith("f_rest_") for name in columns)
    if count % 3 or not all(f"f_rest_{i}" in columns for i in range(count)):
        raise InputError(f"{path} has {count} columns f_rest_*; wanted a multiple of 3, numbered from 0 on")
    stored = count // 3
    degree = next(d for d in range(harmonics.MAX_DEGREE, -1, -1) if harmonics.bases_of_degree(d) - 1 <= stored)
    kept = harmonics.bases_of_degree(degree) - 1
    names = [f"f_rest_{color * stored + k}" for k in range(kept) for color in range(3)]
    if not names:
        return torch.zeros(len(columns["x"]), 0, 3)
    return _stack(columns, names).reshape(-1, kept, 3)
