"""An Asset to a .glb or .gltf file: one node with one primitive of splats, some of the rows at a time."""

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.core.asset import Asset
from sfumato.core.axes import matrix_between
from sfumato.core.errors import InputError
from sfumato.core.files import replacing
from sfumato.core.gaussians import Gaussians
from sfumato.core.units import say_bytes
from sfumato.formats.facts import KEY, facts_of
from sfumato.formats.gltf.file import BINARY_CHUNK, JSON_CHUNK, MAGIC
from sfumato.formats.gltf.primitive import EXTENSION, MOST_DEGREE
from sfumato.formats.gltf.text import MOST_TEXT
from sfumato.formats.losses import warn_clamped, warn_lost
from sfumato.formats.placement import count_clamped, linear_scales, unit_quats

__all__ = ["write"]

FLOAT, POINTS, VERTICES = 5126, 0, 34962  # glTF's numbers for float32, for a primitive of points, for vertex data
MOST_GLB = (1 << 32) - 1  # bytes: the length in its header is a u32
CHUNK = 3 << 13  # rows that stay in the processor's cache: a multiple of 3, so that bytes are whole threes of base64's


def write(path: Path, asset: Asset, axes: str) -> None:
    """Write the splat, its numbers in the frame `axes`; the file appears whole or not at all.

    Warns (SfumatoWarning) of harmonics above degree 3 and of scales float32 cannot hold as such. Raises InputError
    when it would be larger than such files can be, OSError when it cannot be written.
    """
    keeps = ("origin", "antialiased", "kernel", "color_space", "meters_per_unit", "up")
    warn_lost(path, asset, "glTF", MOST_DEGREE, keeps)
    clamped = count_clamped(asset.gaussians.log_scales)
    warn_clamped(path, "scales too large or too small for float32", clamped, len(asset))
    columns = _columns(min(asset.gaussians.degree, MOST_DEGREE)) if len(asset) else []
    writer = _write_text if path.suffix.lower() == ".gltf" else _write_binary
    with replacing(path) as file:
        writer(path, file, asset, axes, columns)


def _columns(degree: int) -> list[tuple[str, int]]:
    """Names and widths of the attributes, in the order of `_blocks`."""
    bands = [f"{EXTENSION}:SH_DEGREE_{band}_COEF_{n}" for band in range(degree + 1) for n in range(2 * band + 1)]
    packed = [("POSITION", 3), (f"{EXTENSION}:ROTATION", 4), (f"{EXTENSION}:SCALE", 3), (f"{EXTENSION}:OPACITY", 1)]
    return packed + [(name, 3) for name in bands]


def _write_binary(path: Path, file: BinaryIO, asset: Asset, axes: str, columns: list[tuple[str, int]]) -> None:
    """Each attribute is one run of bytes, so every part of the rows writes into all of them."""
    lengths = [4 * width * len(asset) for _, width in columns]
    starts = [sum(lengths[:place]) for place in range(len(lengths))]
    total = sum(lengths)
    views = [(0, start) for start in starts]
    text = _json(_document(asset, axes, columns, views, [{"byteLength": total}] if total else []))
    text += b" " * (-len(text) % 4)
    whole = 20 + len(text) + (8 + total if total else 0)
    if whole > MOST_GLB:
        raise InputError(f"cannot write {path}: it would take {say_bytes(whole)}, and .glb ends at 4 GiB; write a .ply")
    file.write(struct.pack("<4sIIII", MAGIC, 2, whole, len(text), JSON_CHUNK) + text)
    if not total:
        return
    file.write(struct.pack("<II", total, BINARY_CHUNK))
    base = file.tell()
    row = 0
    for part in asset.chunks(axes, CHUNK):
        for start, (_, width), block in zip(starts, columns, _blocks(part), strict=True):
            file.seek(base + start + 4 * width * row)
            file.write(block.data)
        row += len(part)


def _write_text(path: Path, file: BinaryIO, asset: Asset, axes: str, columns: list[tuple[str, int]]) -> None:
    """Each attribute is a buffer of its own, in base64."""
    lengths = [4 * width * len(asset) for _, width in columns]
    views = [(place, 0) for place in range(len(columns))]
    text = _json(_document(asset, axes, columns, views, []))
    heads = [f'{{"byteLength":{length},"uri":"data:application/octet-stream;base64,'.encode() for length in lengths]
    encoded = [(length + 2) // 3 * 4 for length in lengths]
    whole = len(text) + sum(encoded) + sum(len(head) + 3 for head in heads) + len(b',"buffers":[]')
    if whole > MOST_TEXT:
        raise InputError(f"cannot write {path}: as text it would take {say_bytes(whole)}; write a .glb")
    if not columns:
        file.write(text)
        return
    file.write(text[:-1] + b',"buffers":[')
    starts = []
    for place, (head, length) in enumerate(zip(heads, encoded, strict=True)):
        file.write(head)
        starts.append(file.tell())
        file.seek(length, 1)
        file.write(b'"},' if place + 1 < len(heads) else b'"}')
    file.write(b"]}")
    row = 0
    for part in asset.chunks(axes, CHUNK):
        for start, (_, width), block in zip(starts, columns, _blocks(part), strict=True):
            file.seek(start + 4 * width * row // 3 * 4)
            file.write(base64.b64encode(block.data))
        row += len(part)


def _blocks(part: Gaussians) -> Iterator[NDArray[np.float32]]:
    """The attributes of some rows, as they lie in the file."""
    yield _floats(part.means)
    yield _floats(unit_quats(part.quats)[:, [1, 2, 3, 0]])
    yield _floats(linear_scales(part.log_scales))
    yield _floats(part.logit_opacities.double().sigmoid())
    yield _floats(part.sh0[:, 0])
    for k in range(min(part.shN.shape[1], (MOST_DEGREE + 1) ** 2 - 1)):
        yield _floats(part.shN[:, k])


def _floats(values: torch.Tensor) -> NDArray[np.float32]:
    return np.ascontiguousarray(values.numpy(), dtype="<f4")


def _document(
    asset: Asset,
    axes: str,
    columns: list[tuple[str, int]],
    views: list[tuple[int, int]],  # (buffer, offset) of each column
    buffers: list[dict[str, Any]],
) -> dict[str, Any]:
    import sfumato

    about: dict[str, Any] = {"version": "2.0", "generator": f"sfumato {sfumato.__version__}"}
    facts = facts_of(asset, axes)
    about |= {"extras": {KEY: facts}} if facts else {}
    document: dict[str, Any] = {"asset": about, "extensionsUsed": [EXTENSION], "scene": 0}
    if not columns:  # glTF knows no accessors without rows
        return document | {"scenes": [{}]}
    space = "lin_rec709_display" if asset.color_space == "linear" else "srgb_rec709_display"
    said = {"kernel": "ellipse", "colorSpace": space, "projection": "perspective", "sortingMethod": "cameraDistance"}
    attributes = {name: place for place, (name, _) in enumerate(columns)}
    primitive = {"attributes": attributes, "mode": POINTS, "extensions": {EXTENSION: said}}
    widths = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}
    accessors: list[dict[str, Any]] = [
        {"bufferView": place, "componentType": FLOAT, "count": len(asset), "type": widths[width]}
        for place, (_, width) in enumerate(columns)
    ]
    accessors[0]["min"], accessors[0]["max"] = _bounds(asset, axes)
    document |= {"scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}], "meshes": [{"primitives": [primitive]}]}
    document["accessors"] = accessors
    document["bufferViews"] = [
        {"buffer": buffer, "byteOffset": offset, "byteLength": 4 * width * len(asset), "target": VERTICES}
        for (_, width), (buffer, offset) in zip(columns, views, strict=True)
    ]
    return document | ({"buffers": buffers} if buffers else {})


def _bounds(asset: Asset, axes: str) -> tuple[list[float], list[float]]:
    """Least and largest of each coordinate in the frame `axes`, the very float32 that are written."""
    means = asset.gaussians.means.detach().to("cpu", torch.float32)
    corners = torch.stack([means.amin(dim=0), means.amax(dim=0)]).double() @ matrix_between(asset.axes, axes).T
    low, high = corners.amin(dim=0) + 0.0, corners.amax(dim=0) + 0.0
    return low.tolist(), high.tolist()


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")
