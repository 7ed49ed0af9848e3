"""Compressed PLY (SuperSplat, PlayCanvas): chunks of 256 Gaussians in 16 bytes each, and harmonics in bytes, and back.

Each chunk has the bounds of its positions, log scales and colors, and its Gaussians say where between them they are:
positions and scales in 11, 10 and 11 bits, colors and opacities in 8; rotations have no bounds and lose their largest
component. Errors, at most half a step: 1/2046 of a chunk's width, 0.11 degrees, 1/510 of opacity, 1/64 of a harmonic.
"""

import io
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL, reframe
from sfumato.core.errors import InputError
from sfumato.core.files import replacing
from sfumato.core.gaussians import Gaussians
from sfumato.core.morton import morton_order
from sfumato.core.ply_table import Columns, Header, check_size, parse_header, read_header, read_parts
from sfumato.formats.losses import warn_clamped, warn_lost
from sfumato.formats.options import WriteOptions
from sfumato.formats.parts import gathered, logit
from sfumato.formats.ply import rest_columns
from sfumato.formats.ply.comments import read_comments, write_comments
from sfumato.formats.quaternions import keep_smallest_three, restore_from_three

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "write"]

NAME = "compressed PLY"
SUFFIXES: tuple[str, ...] = (".compressed.ply",)
EXACT = False
ROWS = 256  # Gaussians of a chunk
PART = 64 * ROWS  # Gaussians that are packed and unpacked at a time: they stay in the processor's cache
PACKED = ["packed_position", "packed_rotation", "packed_scale", "packed_color"]
PLACES = [f"{end}_{axis}" for end in ("min", "max") for axis in "xyz"]
SIZES = [f"{end}_scale_{axis}" for end in ("min", "max") for axis in "xyz"]
COLORS = [f"{end}_{color}" for end in ("min", "max") for color in "rgb"]
FEWEST, MOST = -20.0, 20.0  # log scales, as PlayCanvas clamps them
REACH = 4.0  # harmonics are in [-4, 4]
DEGREE = 3  # what the readers of the field know
KEEPS = {"origin", "antialiased", "kernel", "color_space", "meters_per_unit", "up"}  # as comments


def recognizes(path: Path, head: bytes) -> bool:
    """A PLY file whose vertices have a packed position."""
    if head[:3] != b"ply":
        return False
    try:
        header = parse_header(path, io.BytesIO(head))
    except InputError:
        return False
    return "vertex" in header and "packed_position" in header["vertex"].types


def read(path: Path, raw: bool = False) -> Asset:
    """The splat of a compressed PLY, in the file's order. Raises InputError when it is missing, damaged or incomplete.

    Its frame is the canonical one by custom, as that of every PLY.
    """
    header, degree, rest = _header(path)
    N = header["vertex"].count
    bounds = _bounds(path, header)
    vertices = read_parts(path, header, "vertex", PART)
    shN = read_parts(path, header, "sh", PART) if rest else iter([])
    parts = _decoded(vertices, shN, bounds, rest)
    return Asset(gathered(N, degree, parts), **read_comments(path, header.comments))


def count(path: Path) -> int:
    """How many Gaussians the header promises. Raises InputError as `read` does for what the header shows."""
    return _header(path)[0]["vertex"].count


def write(path: Path, asset: Asset, options: WriteOptions) -> None:
    """Write the chunks along a Morton curve, so that each is small and its steps are fine.

    Warns (SfumatoWarning) of harmonics and scales that the format cannot hold. The file appears whole or not at all.
    Raises OSError when it cannot be written.
    """
    gaussians, N = asset.gaussians, len(asset)
    degree = min(gaussians.degree, DEGREE)
    rest = 3 * (harmonics.bases_of_degree(degree) - 1)
    chunks, vertices = np.empty((-(-N // ROWS), 18), "<f4"), np.empty((N, 4), "<u4")
    shN = np.empty((N, rest), np.uint8)
    axes = asset.axes if options.raw else CANONICAL
    order = morton_order(gaussians.means.detach())
    scales = lights = 0
    for start in range(0, N, PART):
        chosen = gaussians[order[start : start + PART]].detach().to("cpu", torch.float32)
        part = reframe(chosen, asset.axes, axes)
        scales += int(((part.log_scales < FEWEST) | (part.log_scales > MOST)).any(dim=1).sum())
        lights += int((part.shN[:, : rest // 3].abs() > REACH).any(dim=2).any(dim=1).sum())
        rows = slice(start, start + len(part))
        chunks[start // ROWS : -(-rows.stop // ROWS)], vertices[rows] = _encoded(part)
        shN[rows] = _bytes_of_harmonics(part.shN[:, : rest // 3])
    warn_lost(path, asset, NAME, DEGREE, KEEPS)
    warn_clamped(path, f"scales outside exp({FEWEST:g}) to exp({MOST:g})", scales, N)
    warn_clamped(path, f"harmonics beyond {REACH:g}", lights, N)
    with replacing(path) as file:
        file.write(_header_lines(asset, axes, rest))
        for array in (chunks, vertices, shN):
            file.write(array.tobytes())


def _header(path: Path) -> tuple[Header, int, list[str]]:
    """The header, checked; the degree, and the columns of its harmonics: for each coefficient red, green and blue."""
    header = read_header(path)
    N, types = header["vertex"].count, header["vertex"].types
    wanted = {"vertex": PACKED, "chunk": [*PLACES, *SIZES]}
    missing = [f"{name} of {element}" for element, names in wanted.items() for name in names
               if element not in header or name not in header[element].types]  # fmt: skip
    if missing:
        raise InputError(f"{path} is not a whole compressed PLY: it has no {', '.join(missing)}; export it again")
    if not header.order or any(types[name] != "u4" for name in PACKED):
        raise InputError(f"{path} must hold its packed numbers as binary uint, as compressed PLY does; export it again")
    needed = -(-N // ROWS)
    check_size(path, header, "chunk")
    if header["chunk"].count < needed:
        told = f"{header['chunk'].count} chunks for {N} Gaussians, which take {needed}"
        raise InputError(f"{path} is damaged: it has {told}; export it again")
    return (header, *_harmonics(path, header))


def _harmonics(path: Path, header: Header) -> tuple[int, list[str]]:
    if "sh" not in header or not header["sh"].properties:  # gsplat writes an empty one at degree 0
        return 0, []
    degree, rest = rest_columns(path, header["sh"].types)
    check_size(path, header, "sh")
    if any(header["sh"].types[name] != "u1" for name in rest):
        raise InputError(f"{path} must hold its harmonics as bytes, as compressed PLY does; export it again")
    if header["sh"].count != header["vertex"].count:
        told = f"{header['sh'].count} rows of harmonics for {header['vertex'].count} Gaussians"
        raise InputError(f"{path} is damaged: it has {told}; export it again")
    return degree, rest


def _bounds(path: Path, header: Header) -> Tensor:
    """(chunks, 18) of positions, log scales and colors, the least of each first; old files have no colors."""
    has_colors = set(COLORS) <= header["chunk"].types.keys()
    tables = [torch.zeros(0, 18)]
    for part in read_parts(path, header, "chunk"):
        table = torch.cat([torch.zeros(len(part["min_x"]), 15), torch.ones(len(part["min_x"]), 3)], dim=1)
        for index, name in enumerate([*PLACES, *SIZES, *COLORS]):
            if has_colors or name not in COLORS:
                table[:, index] = torch.from_numpy(part[name].astype(np.float32))
        tables.append(table)
    return torch.cat(tables)


def _decoded(
    vertices: Iterator[Columns], shN: Iterator[Columns], bounds: Tensor, rest: list[str]
) -> Iterator[Gaussians]:
    start = 0
    for part in vertices:
        packed = [torch.from_numpy(part[name].astype(np.int64)) for name in PACKED]
        N = len(packed[0])
        near, color = bounds[torch.arange(start, start + N) // ROWS], packed[3] >> 8
        numbers = torch.stack([packed[1] >> 20 & 1023, packed[1] >> 10 & 1023, packed[1] & 1023], dim=1)
        rgb = _between(near[:, 12:], torch.stack([color >> 16, color >> 8 & 255, color & 255], dim=1) / 255)
        yield Gaussians(
            means=_between(near[:, :6], _from_11_10_11(packed[0])),
            quats=restore_from_three(packed[1] >> 30, (numbers / 1023 - 0.5) * math.sqrt(2)),
            log_scales=_between(near[:, 6:12], _from_11_10_11(packed[2])),
            logit_opacities=logit((packed[3] & 255).float() / 255),
            sh0=harmonics.sh0_from_rgb(rgb)[:, None],
            shN=_harmonics_of_bytes(next(shN), rest) if rest else torch.zeros(N, 0, 3),
        )
        start += N


def _from_11_10_11(packed: Tensor) -> Tensor:
    """(N, 3) in [0, 1]."""
    steps = torch.tensor([2047.0, 1023.0, 2047.0])
    return torch.stack([packed >> 21 & 2047, packed >> 11 & 1023, packed & 2047], dim=1) / steps


def _between(bounds: Tensor, t: Tensor) -> Tensor:
    """(N, 3) of the least and the most, (N, 6)."""
    return bounds[:, :3] * (1 - t) + bounds[:, 3:] * t


def _table() -> NDArray[np.float32]:
    """(256,) what a byte of harmonics means, as PlayCanvas's tools say it: the ends are the ends of the range."""
    values = ((np.arange(256) + 0.5) / 256 - 0.5) * 2 * REACH
    values[0], values[255] = -REACH, REACH
    return values.astype(np.float32)


def _harmonics_of_bytes(columns: Columns, rest: list[str]) -> Tensor:
    stored = np.stack([columns[name] for name in rest], axis=1)
    return torch.from_numpy(_table()[stored]).reshape(len(stored), len(rest) // 3, 3)


def _encoded(part: Gaussians) -> tuple[NDArray[np.float32], NDArray[np.uint32]]:
    """The rows of the chunks and of the vertices."""
    scales = part.log_scales.clamp(FEWEST, MOST)
    rgb = harmonics.rgb_from_sh0(part.sh0[:, 0])
    (places, low), (sizes, small), (colors, dark) = (_within(values) for values in (part.means, scales, rgb))
    dropped, others = keep_smallest_three(part.quats)
    a, b, c = _rounded(others * math.sqrt(0.5) + 0.5, 1023).unbind(dim=1)
    red, green, blue = _rounded(colors, 255).unbind(dim=1)
    packed = [
        _to_11_10_11(places),
        dropped << 30 | a << 20 | b << 10 | c,
        _to_11_10_11(sizes),
        red << 24 | green << 16 | blue << 8 | _rounded(part.opacities, 255),
    ]
    chunks = torch.cat([low, small, dark], dim=1)
    return chunks.numpy(), torch.stack(packed, dim=1).numpy().astype(np.uint32)


def _within(values: Tensor) -> tuple[Tensor, Tensor]:
    """Where in the bounds of its chunk each row of (N, 3) is, in [0, 1], and the bounds, (chunks, 6) least first."""
    N = len(values)
    padded = torch.cat([values, values[-1:].expand(-N % ROWS, 3)]).reshape(-1, ROWS, 3)  # the last one again
    low, high = padded.amin(dim=1), padded.amax(dim=1)
    width = (high.double() - low)[:, None]
    t = (padded.double() - low[:, None]) / torch.where(width > 0, width, 1)
    return t.float().reshape(-1, 3)[:N], torch.cat([low, high], dim=1)


def _rounded(t: Tensor, most: int | Tensor) -> Tensor:
    return (t * most + 0.5).floor().long().clamp(min=0).minimum(torch.as_tensor(most, dtype=torch.int64))


def _to_11_10_11(t: Tensor) -> Tensor:
    x, y, z = _rounded(t, torch.tensor([2047, 1023, 2047])).unbind(dim=1)
    return x << 21 | y << 11 | z


def _bytes_of_harmonics(shN: Tensor) -> NDArray[np.uint8]:
    """(N, 3 (K-1)): all coefficients of red, then green, then blue."""
    steps = ((shN / (2 * REACH) + 0.5) * 256).clamp(0, 255).to(torch.uint8)
    return steps.transpose(1, 2).flatten(1).numpy()


def _header_lines(asset: Asset, axes: str, rest: int) -> bytes:
    N = len(asset)
    lines = ["ply", "format binary_little_endian 1.0", *write_comments(asset, axes), f"element chunk {-(-N // ROWS)}"]
    lines += [f"property float {name}" for name in (*PLACES, *SIZES, *COLORS)] + [f"element vertex {N}"]
    lines += [f"property uint {name}" for name in PACKED]
    lines += [f"element sh {N}"] if rest else []  # strict readers know no empty one
    lines += [f"property uchar f_rest_{i}" for i in range(rest)] + ["end_header"]
    return ("\n".join(lines) + "\n").encode("ascii")
