"""glTF 2 with KHR_gaussian_splatting (Khronos 2026), .glb and .gltf: every splat of the default scene, in one world.

Round trip: means, harmonics: the same bits; rotations: 1e-7; log scales: 1e-6 (linear in the file);
opacities: 1e-7 (linear, so logits end at 13.8 either way).
"""

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL, reframe
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.formats.facts import KEY, known_from, turned
from sfumato.formats.gltf import encode
from sfumato.formats.gltf.file import MAGIC, Accessor, GltfFile, open_gltf
from sfumato.formats.gltf.nodes import meshes_in_scene
from sfumato.formats.gltf.primitive import EXTENSION, PACKED, Part, Reading, is_splat, part_of
from sfumato.formats.gltf.text import say
from sfumato.formats.limits import check_memory
from sfumato.formats.options import WriteOptions
from sfumato.formats.parts import gathered
from sfumato.formats.placement import is_stretched, place

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "write"]

NAME = "glTF"
SUFFIXES: tuple[str, ...] = (".glb", ".gltf")
EXACT = False
AXES = "LUF"  # of glTF's world: +y up, +z forward, -x right
HARMLESS = re.compile(r"KHR_gaussian_splatting|KHR_mesh_quantization|(KHR|EXT)_(materials|texture|lights)_\w+")
MOST_PARTS = 1 << 14  # primitives that nodes show: each takes some milliseconds, however few rows it has
CHUNK = 1 << 17  # rows
FAR = 1e5  # units from zero, from where on single precision is coarser than a hundredth of one


def recognizes(path: Path, head: bytes) -> bool:
    """A .glb by its first bytes, a .gltf by the words that glTF's JSON begins its objects with."""
    if head[:4] == MAGIC:
        return True
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] != b"{" or b'"lodLevels"' in text or b'"means"' in text:  # SOG's JSON has an asset, too
        return False
    words = rb'"(scenes|nodes|meshes|buffers|bufferViews|accessors|extensionsUsed)"\s*:'
    return path.suffix.lower() == ".gltf" or (b'"asset"' in text and re.search(words, text) is not None)


def count(path: Path) -> int:
    """How many Gaussians the default scene shows. Raises InputError as `read` does for what the JSON shows."""
    return sum(part.count for part in _parts(open_gltf(path), Reading(counting=True)))


def read(path: Path, raw: bool = False) -> Asset:
    """All splats of the default scene, each moved by the matrices of its nodes; raw: in glTF's own world, LUF.

    Raises InputError when the file is missing, damaged, a mesh, or packed by an extension that is not read.
    """
    file = open_gltf(path)
    reading = Reading()
    parts, notes = _parts(file, reading), reading.notes
    axes = AXES if raw else CANONICAL
    origin = _origin(parts)
    asset = file.table(file.json, "asset")
    known = known_from(file.table(asset, "extras").get(KEY), AXES, axes)
    if origin.any():
        x, y, z = origin.tolist()
        before = known.get("origin", (0.0, 0.0, 0.0))
        known["origin"] = tuple(a + b for a, b in zip(turned((x, y, z), AXES, axes), before, strict=True))
    total, degree = sum(part.count for part in parts), max((part.degree for part in parts), default=0)
    gaussians = gathered(total, degree, _placed(parts, degree, axes, origin, notes))
    generator = asset.get("generator")
    return Asset(
        gaussians,
        axes=axes,
        color_space=_color_space(parts, notes),
        generator=generator[:200] if isinstance(generator, str) and generator else None,
        notes=tuple(notes),
        **known,
    )


def write(path: Path, asset: Asset, options: WriteOptions) -> None:
    """Write one node with one primitive, all numbers float32; see encode.py."""
    encode.write(path, asset, asset.axes if options.raw else AXES)


def _placed(parts: list[Part], degree: int, axes: str, origin: Tensor, notes: list[str]) -> Iterator[Gaussians]:
    """The parts' rows in the world, some at a time, and notes of what had to be guessed."""
    logs = any(part.scales is not None and _lowest(part.scales) < 0 for part in parts)
    if logs:
        notes.append("some of its scales are negative, so all are read as logarithms, as drafts of glTF stored them")
    stretched = sum(part.count for part in parts if is_stretched(part.world))
    if stretched:
        told = "are stretched by their nodes: their shapes follow exactly, their lights only turn"
        notes.append(f"{stretched:,} Gaussians {told}")
    for part in parts:
        world = part.world.clone()
        world[:3, 3] -= origin
        for start in range(0, part.count, CHUNK):
            rows = place(part.rows(start, min(start + CHUNK, part.count), logs), world)
            yield reframe(rows.with_degree(degree), AXES, axes)


def _parts(file: GltfFile, reading: Reading) -> list[Part]:
    """What the default scene shows of splats. Raises InputError when that is none, or more than the file can hold."""
    _check_required(file)
    parts: list[Part] = []
    others = total = degree = 0
    for mesh, world in meshes_in_scene(file):
        for primitive in file.items("primitives", mesh):
            if not isinstance(primitive, dict):
                raise file.damaged(f"a primitive must be an object; got {say(primitive)}")
            if not is_splat(file, primitive):
                others += 1
                continue
            parts.append(part_of(file, primitive, torch.from_numpy(world), reading))
            total, degree = total + parts[-1].count, max(degree, parts[-1].degree)
            _check_shown(file, len(parts), total, degree)
    if not parts and (others or file.items("meshes") or EXTENSION not in file.items("extensionsUsed")):
        kind = "is a mesh, not a splat" if others else "shows no splat in its scene"
        raise InputError(f"{file.path} {kind}: no primitive has {EXTENSION}; export the splat itself")
    if others:
        reading.note(f"{others:,} meshes beside the splats are left out")
    return parts


def _check_required(file: GltfFile) -> None:
    for name in file.items("extensionsRequired"):
        if not isinstance(name, str) or not (HARMLESS.fullmatch(name) or PACKED.fullmatch(name)):
            raise InputError(f"{file.path} needs {say(name)}, which is not read; export it without")


def _check_shown(file: GltfFile, parts: int, total: int, degree: int) -> None:
    """Nodes may show the same numbers again and again, and attributes share them."""
    if parts > MOST_PARTS:
        raise InputError(f"{file.path} shows more than {MOST_PARTS:,} splats at once; join them into fewer")
    check_memory(file.path, total, degree, sum(map(len, file.buffers.values())), "export it with fewer instances")


def _lowest(accessor: Accessor) -> float:
    if accessor.stored.dtype.kind == "u" or not len(accessor.stored):
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of NaN is not below zero
        return float(np.nanmin(accessor.stored))


def _origin(parts: list[Part]) -> Tensor:
    """(3,) where the world's zero is moved when nodes put splats so far away that float32 would blur them."""
    shifts = [part.world[:3, 3] for part in parts]
    if not shifts or max(shift.abs().max().item() for shift in shifts) < FAR:
        return torch.zeros(3, dtype=torch.float64)
    return torch.stack(shifts).mean(dim=0).round()


def _color_space(parts: list[Part], notes: list[str]) -> Literal["srgb", "linear"]:
    linear = sum(part.count for part in parts if part.color_space == "linear")
    total = sum(part.count for part in parts)
    if 0 < linear < total:
        most = "linear" if 2 * linear > total else "sRGB"
        notes.append(
            f"the colors of {linear:,} of its {total:,} Gaussians are linear, others sRGB; all are read as {most}"
        )
    return "linear" if 2 * linear > total else "srgb"
