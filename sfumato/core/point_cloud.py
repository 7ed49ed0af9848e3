"""Point clouds in PLY files, text or binary of either byte order, to points with colors, and back."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.core.errors import InputError
from sfumato.core.files import replacing
from sfumato.core.ply_table import Columns, Element, Header, read_header, read_parts
from sfumato.core.scene import Points

__all__ = ["COORDINATES", "is_cloud", "read_point_cloud", "write_point_cloud"]

COORDINATES = ("x", "y", "z")
_COLORS = (("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b"))
_OF_SPLATS = {"opacity", "scale_0", "rot_0", "packed_position"}
_GRAY = 128  # of points without colors
_LARGEST = 1e30  # world units; farther points are mistakes, and float32 ends soon
_PART = 1 << 18  # rows at a time


def is_cloud(header: Header) -> bool:
    """Whether the vertices are points in space, and not those of a splat."""
    columns = header["vertex"].types.keys() if "vertex" in header else set()
    return columns >= set(COORDINATES) and _OF_SPLATS.isdisjoint(columns)


def read_point_cloud(path: Path) -> Points:
    """The vertices of a PLY file: float64 positions and uint8 colors, gray where it has none.

    Colors may be bytes, 16-bit numbers or floats in [0, 1]. Points that are not finite are dropped. Raises InputError
    when the file is not PLY, is cut, or has no x, y and z.
    """
    try:
        header = read_header(path)
        vertex = header["vertex"]
        if not vertex.types.keys() >= set(COORDINATES):
            raise InputError(f"{path} has vertices with no x, y and z but {' '.join(vertex.types) or 'lists'}")
        parts = [_points(part, vertex) for part in read_parts(path, header, "vertex", _PART)]
    except InputError as error:
        why = str(error).removeprefix(f"{path} ").partition("; copy")[0]
        raise InputError(f"{path} is not a whole PLY file of points (it {why}); export it again") from None
    xyz = np.concatenate([np.zeros((0, 3)), *[positions for positions, _ in parts]])
    rgb = np.concatenate([np.zeros((0, 3), np.uint8), *[colors for _, colors in parts]])
    return Points(torch.from_numpy(xyz), torch.from_numpy(rgb))


def write_point_cloud(path: Path, points: Points) -> None:
    """Write a binary PLY file, whole or not at all: float64 positions stay so, colors are bytes.

    Raises OSError when it cannot be written.
    """
    kind, name = ("<f8", "double") if points.xyz.dtype == torch.float64 else ("<f4", "float")
    rows = np.empty(len(points), [("xyz", kind, 3), ("rgb", "u1", 3)])
    rows["xyz"], rows["rgb"] = points.xyz.cpu().numpy(), points.rgb.cpu().numpy()
    lines = ["ply", "format binary_little_endian 1.0", f"element vertex {len(points)}"]
    lines += [f"property {name} {axis}" for axis in COORDINATES] + [f"property uchar {color}" for color in _COLORS[0]]
    with replacing(path) as file:
        file.write(("\n".join([*lines, "end_header"]) + "\n").encode("ascii"))
        file.write(rows.tobytes())


def _points(columns: Columns, vertex: Element) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    with np.errstate(invalid="ignore"):  # a NaN of the kind that signals stays one
        xyz = np.stack([columns[name].astype(np.float64) for name in COORDINATES], axis=1)
    near = (np.abs(xyz) < _LARGEST).all(axis=1)  # false for NaN, too
    return xyz[near], _colors(columns, vertex)[near]


def _colors(columns: Columns, vertex: Element) -> NDArray[np.uint8]:
    """(M, 3): whole numbers fill their type's range, floats [0, 1]."""
    for names in _COLORS:
        if set(names) <= columns.keys():
            kinds = [np.dtype(vertex.types[name]) for name in names]
            scales = [255 / np.iinfo(kind).max if kind.kind in "iu" else 255 for kind in kinds]
            with np.errstate(over="ignore", invalid="ignore"):
                rgb = np.stack([columns[n].astype(np.float64) * s for n, s in zip(names, scales, strict=True)], axis=1)
            return np.nan_to_num(rgb).clip(0, 255).round().astype(np.uint8)
    return np.full((len(columns["x"]), 3), _GRAY, np.uint8)
