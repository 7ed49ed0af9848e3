"""PLY of the field (Kerbl et al. 2023 and every trainer since): Gaussians to named float columns and back."""

import math
from collections.abc import Collection, Sequence
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
from sfumato.core.ply_table import Columns, Header, read_header, read_parts
from sfumato.core.point_cloud import COORDINATES
from sfumato.formats.options import WriteOptions
from sfumato.formats.parts import gathered, origin_of
from sfumato.formats.ply.comments import read_comments, write_comments

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "rest_columns", "write"]

NAME = "PLY"
SUFFIXES: tuple[str, ...] = (".ply",)
EXACT = True
FLAT = math.log(1e-6)  # log scale of the third axis of a disc, whose file has only two
PART = 1 << 14  # rows that are written at a time, see PART of core/ply_table.py


def recognizes(path: Path, head: bytes) -> bool:
    """Every PLY file: which of them are no splats, `read` says."""
    return head[:3] == b"ply"


def read(path: Path, raw: bool = False) -> Asset:
    """The splat of a PLY file, float32, every value as stored: its frame is the canonical one by custom.

    Columns are found by name; a color instead of f_dc, and the two scales of a disc, are understood. Of higher
    harmonics that fill no degree, the full degrees are kept. Places far from zero in double precision get an origin in
    whole numbers, and keep their digits. Raises InputError when the file is missing, damaged, or no splat.
    """
    header = read_header(path)
    _check_is_splat(path, header)
    types = header["vertex"].types
    degree, rest = rest_columns(path, types)
    known, shift = read_comments(path, header.comments), _shift(path, header)
    parts = (_gaussians(_moved(part, shift), types, rest) for part in read_parts(path, header, "vertex"))
    gaussians = gathered(header["vertex"].count, degree, parts)
    if any(shift):
        known["origin"] = tuple(a + b for a, b in zip(known.get("origin", (0, 0, 0)), shift, strict=True))
    return Asset(gaussians, **known | ({} if "scale_2" in types else {"kernel": "disc"}))


def count(path: Path) -> int:
    """How many Gaussians the header promises. Raises InputError as `read` does for what the header shows."""
    header = read_header(path)
    _check_is_splat(path, header)
    rest_columns(path, header["vertex"].types)
    return header["vertex"].count


def write(path: Path, asset: Asset, options: WriteOptions) -> None:
    """Write binary little-endian float32 columns in the order of Kerbl et al. 2023, normals zero.

    What is known beyond the numbers becomes comments; a disc keeps its third scale, which most programs ask for. The
    file appears whole or not at all. Raises OSError when it cannot be written.
    """
    names, axes = _names(asset.gaussians), asset.axes if options.raw else CANONICAL
    header = ["ply", "format binary_little_endian 1.0", *write_comments(asset, axes), f"element vertex {len(asset)}"]
    header += [f"property float {name}" for name in names] + ["end_header"]
    with replacing(path) as file:
        file.write(("\n".join(header) + "\n").encode("ascii"))
        for part in asset.chunks(axes, PART):
            file.write(_rows(part).data)


def rest_columns(path: Path, columns: Collection[str]) -> tuple[int, list[str]]:
    """The degree that the columns f_rest_* fill, and its columns: for each coefficient red, green and blue.

    f_rest runs over all coefficients of red, then green, then blue. Raises InputError when they are no multiple of 3.
    """
    stored, beyond = divmod(sum(name.startswith("f_rest_") for name in columns), 3)
    if beyond or not all(f"f_rest_{i}" in columns for i in range(3 * stored)):
        given = 3 * stored + beyond
        raise InputError(f"{path} has {given} columns f_rest_*; wanted a multiple of 3, numbered from 0 on")
    degree = next(d for d in range(harmonics.MAX_DEGREE, -1, -1) if harmonics.bases_of_degree(d) - 1 <= stored)
    kept = harmonics.bases_of_degree(degree) - 1
    return degree, [f"f_rest_{color * stored + k}" for k in range(kept) for color in range(3)]


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


def _check_is_splat(path: Path, header: Header) -> None:
    columns = header["vertex"].types
    colored = {"f_dc_0", "f_dc_1", "f_dc_2"} <= columns.keys() or {"red", "green", "blue"} <= columns.keys()
    wanted = ["x", "y", "z", "opacity", "scale_0", "scale_1", *[f"rot_{i}" for i in range(4)]]
    missing = [name for name in wanted if name not in columns] + ([] if colored else ["f_dc_0"])
    if missing:
        raise InputError(f"{path} is not a whole splat: its vertices have no {', '.join(missing)}; export it again")


def _shift(path: Path, header: Header) -> tuple[float, float, float]:
    """What to take off places in double precision, by those of the first part."""
    if any(header["vertex"].types[name] != "f8" for name in COORDINATES):
        return (0.0, 0.0, 0.0)
    first = next(read_parts(path, header, "vertex"), None)
    return origin_of(np.stack([first[name].astype(np.float64) for name in COORDINATES], axis=1)) if first else (0, 0, 0)


def _moved(columns: Columns, shift: Sequence[float]) -> Columns:
    if not any(shift):
        return columns
    return columns | {name: columns[name].astype(np.float64) - by for name, by in zip(COORDINATES, shift, strict=True)}


def _gaussians(columns: Columns, types: dict[str, str], rest: Sequence[str]) -> Gaussians:
    return Gaussians(
        means=_stack(columns, COORDINATES),
        quats=_stack(columns, [f"rot_{i}" for i in range(4)]),
        log_scales=_log_scales(columns),
        logit_opacities=_stack(columns, ["opacity"])[:, 0],
        sh0=_sh0(columns, types)[:, None],
        shN=_stack(columns, rest).reshape(len(columns["x"]), len(rest) // 3, 3),
    )


def _stack(columns: Columns, names: Sequence[str]) -> Tensor:
    """(N, len(names)) float32; a column that is float32 in the file, of either byte order, keeps its bits."""
    values = np.empty((len(columns["x"]), len(names)), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # what float32 cannot hold is not finite, which `info` counts
        for index, name in enumerate(names):
            values[:, index] = columns[name]
    return torch.from_numpy(values)


def _log_scales(columns: Columns) -> Tensor:
    if "scale_2" in columns:
        return _stack(columns, ["scale_0", "scale_1", "scale_2"])
    scales = _stack(columns, ["scale_0", "scale_1"])
    return torch.cat([scales, torch.full_like(scales[:, :1], FLAT)], dim=1)


def _sh0(columns: Columns, types: dict[str, str]) -> Tensor:
    """(N, 3): a color instead fills its type's range, or is one in [0, 1]."""
    if "f_dc_0" in columns:
        return _stack(columns, [f"f_dc_{i}" for i in range(3)])
    names = ["red", "green", "blue"]
    most = [float(np.iinfo(types[name]).max) if types[name][0] in "ui" else 1.0 for name in names]
    return harmonics.sh0_from_rgb(_stack(columns, names) / torch.tensor(most))
