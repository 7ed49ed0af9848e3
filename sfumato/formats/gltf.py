"""glTF 2 with KHR_gaussian_splatting (Khronos 2026), .glb and .gltf: every splat of the default scene, in one world.

Round trip: means, harmonics: the same bits; rotations: 1e-7; log scales: 1e-6 (linear in the file);
opacities: 1e-7 (linear, so logits end at 13.8 either way).
"""

import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL, reframe
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.formats import gltf_write, spz
from sfumato.formats.facts import KEY, known_from, turned
from sfumato.formats.gltf_file import MAGIC, Accessor, GltfFile, open_gltf, say
from sfumato.formats.gltf_nodes import meshes_in_scene
from sfumato.formats.options import WriteOptions
from sfumato.formats.parts import gathered, logit
from sfumato.formats.placement import is_stretched, log_of_scales, place, unit_quats

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "write"]

NAME = "glTF"
SUFFIXES: tuple[str, ...] = (".glb", ".gltf")
EXACT = False
AXES = "LUF"  # of glTF's world: +y up, +z forward, -x right
EXTENSION = "KHR_gaussian_splatting"
# of Cesium's tilesets before the extension was ratified; the last carries splats alone
PACKED = re.compile(r"KHR_gaussian_splatting_compression_spz(_2)?|KHR_spz_gaussian_splats_compression")
HARMLESS = re.compile(r"KHR_gaussian_splatting|KHR_mesh_quantization|(KHR|EXT)_(materials|texture|lights)_\w+")
COLOR_SPACES: dict[str, Literal["srgb", "linear"]] = {  # the second pair is that of drafts before March 2026
    "srgb_rec709_display": "srgb",
    "lin_rec709_display": "linear",
    "BT.709-sRGB": "srgb",
    "BT.709-linear": "linear",
}
MOST_COPIES = 16  # of each 12 bytes of a file, as instances: what a position takes
CHUNK = 1 << 17  # rows
FAR = 1e5  # units from zero, from where on single precision is coarser than a hundredth of one


@dataclass(frozen=True)
class _Part:
    """A primitive of splats, once for each node that shows it."""

    count: int
    degree: int
    world: Tensor  # (4, 4) float64 world <- primitive
    color_space: str
    scales: Accessor | None  # None: they are logs in a blob of SPZ
    rows: Callable[[int, int, bool], Gaussians]  # (start, stop, whether scales are logs already), in its own frame


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
    return sum(part.count for part in _parts(open_gltf(path), [], counting=True))


def read(path: Path, raw: bool = False) -> Asset:
    """All splats of the default scene, each moved by the matrices of its nodes; raw: in glTF's own world, LUF.

    Raises InputError when the file is missing, damaged, a mesh, or packed by an extension that is not read.
    """
    file = open_gltf(path)
    notes: list[str] = []
    parts = _parts(file, notes)
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
    """Write one node with one primitive, all numbers float32; see `gltf_write`."""
    gltf_write.write(path, asset, asset.axes if options.raw else AXES)


def _placed(parts: list[_Part], degree: int, axes: str, origin: Tensor, notes: list[str]) -> Iterator[Gaussians]:
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


def _parts(file: GltfFile, notes: list[str], counting: bool = False) -> list[_Part]:
    """What the default scene shows of splats. Raises InputError when that is none, or more than the file can hold."""
    _check_required(file)
    parts, others = [], 0
    for mesh, world in meshes_in_scene(file):
        for primitive in file.items("primitives", mesh):
            if not isinstance(primitive, dict):
                raise file.damaged(f"a primitive must be an object; got {say(primitive)}")
            extensions = file.table(primitive, "extensions")
            if EXTENSION in extensions or any(PACKED.fullmatch(name) for name in extensions):
                parts.append(_part(file, primitive, torch.from_numpy(world), notes, counting))
                _check_copies(file, parts)
            else:
                others += 1
    if not parts and (others or file.items("meshes") or EXTENSION not in file.items("extensionsUsed")):
        kind = "is a mesh, not a splat" if others else "shows no splat in its scene"
        raise InputError(f"{file.path} {kind}: no primitive has {EXTENSION}; export the splat itself")
    if others:
        notes.append(f"{others:,} meshes beside the splats are left out")
    return parts


def _check_required(file: GltfFile) -> None:
    for name in file.items("extensionsRequired"):
        if not isinstance(name, str) or not (HARMLESS.fullmatch(name) or PACKED.fullmatch(name)):
            raise InputError(f"{file.path} needs {say(name)}, which is not read; export it without")


def _check_copies(file: GltfFile, parts: list[_Part]) -> None:
    total, there = sum(part.count for part in parts), sum(len(data) for data in file.buffers.values())
    if total * 12 > MOST_COPIES * there and total > MOST_COPIES:
        told = f"its nodes show {total:,} Gaussians from {there:,} bytes, more than {MOST_COPIES} times what they hold"
        raise InputError(f"{file.path}: {told}; export it with fewer instances")


def _part(file: GltfFile, primitive: dict[str, Any], world: Tensor, notes: list[str], counting: bool) -> _Part:
    extensions = file.table(primitive, "extensions")
    said = file.table(extensions, EXTENSION)
    space = said.get("colorSpace")
    if not isinstance(space, str) or space not in COLOR_SPACES:
        _note(notes, f"its color space, {say(space)}, is read as sRGB")
        space = "srgb_rec709_display"
    if said.get("kernel", "ellipse") != "ellipse":
        _note(notes, f"its kernel, {say(said['kernel'])}, is read as ellipsoids")
    if said.get("projection", "perspective") != "perspective":
        _note(notes, f"its projection, {say(said['projection'])}, is read as perspective")
    if primitive.get("mode", 4) != 0:
        _note(notes, "its splats are not marked as points, but read as such")
    packed = {**extensions, **file.table(said, "extensions")}
    for name, extension in packed.items():
        if PACKED.fullmatch(name) and isinstance(extension, dict):
            return _from_spz(file, extension.get("bufferView"), world, COLOR_SPACES[space], counting)
        if "compression" in name:
            raise InputError(f"{file.path} is packed with {say(name)}, which is not read; export it without")
    return _from_attributes(file, file.table(primitive, "attributes"), world, COLOR_SPACES[space], notes)


def _from_spz(file: GltfFile, view: object, world: Tensor, color_space: str, counting: bool) -> _Part:
    """The splat of an SPZ file in a buffer view, its numbers as stored: they are already those of glTF's frame.

    So say the draft of KHR_gaussian_splatting_compression_spz_2 and the programs that read it.
    """
    with tempfile.TemporaryDirectory() as folder:
        blob = Path(folder) / "packed.spz"
        blob.write_bytes(file.view(view)[0])
        try:
            total = spz.count(blob)
            gaussians = Gaussians.empty(0) if counting else spz.read(blob, raw=True).gaussians
        except InputError as error:
            raise InputError(str(error).replace(str(blob), f"{file.path}, in its SPZ,")) from None

    def rows(start: int, stop: int, logs: bool) -> Gaussians:
        part = gaussians[start:stop]
        return replace(part, quats=unit_quats(part.quats))

    return _Part(total if counting else len(gaussians), gaussians.degree, world, color_space, None, rows)


def _from_attributes(
    file: GltfFile, attributes: dict[str, Any], world: Tensor, color_space: str, notes: list[str]
) -> _Part:
    def find(name: str, width: int) -> Accessor | None:
        # drafts of 2025 wrote _SCALE, as glTF has it for an application's own
        index = attributes.get(f"{EXTENSION}:{name}", attributes.get(f"_{name}"))
        return None if index is None else file.accessor(index, width)

    def need(name: str, width: int) -> Accessor:
        found = find(name, width)
        if found is None:
            raise InputError(f"{file.path} is not a whole splat: a primitive has no {EXTENSION}:{name}")
        return found

    if "POSITION" not in attributes:
        raise InputError(f"{file.path} is not a whole splat: a primitive has no POSITION")
    means = file.accessor(attributes["POSITION"], 3)
    colors = file.accessor(attributes["COLOR_0"], 3) if "COLOR_0" in attributes else None
    quats, scales, opacities = need("ROTATION", 4), need("SCALE", 3), find("OPACITY", 1)
    sh = _harmonics(find)
    if colors is None or colors.stored.shape[1] < 4 or opacities is not None:
        opacities = opacities or need("OPACITY", 1)
    if not sh and colors is None:
        need("SH_DEGREE_0_COEF_0", 3)
    if not sh:
        _note(notes, "it has colors but no harmonics, so it looks the same from everywhere")
    used = [means, quats, scales, *sh, *([opacities] if opacities else []), *([] if sh or not colors else [colors])]
    total = len(means.stored)
    if any(len(accessor.stored) != total for accessor in used):
        raise file.damaged(
            f"the attributes of a primitive have {sorted({len(a.stored) for a in used})} rows, not as many"
        )

    def rows(start: int, stop: int, logs: bool) -> Gaussians:
        span = stop - start
        shN = np.empty((span, max(len(sh) - 1, 0), 3), np.float32)
        for k, accessor in enumerate(sh[1:]):
            shN[:, k] = accessor.rows(start, stop)[:, :3]
        sizes = torch.from_numpy(scales.rows(start, stop))
        faded = opacities.rows(start, stop)[:, 0] if opacities else colors.rows(start, stop)[:, 3]  # type: ignore[union-attr]
        if sh:
            sh0 = torch.from_numpy(sh[0].rows(start, stop)[:, :3])
        else:
            sh0 = _sh0_of_colors(torch.from_numpy(colors.rows(start, stop)[:, :3]), color_space)  # type: ignore[union-attr]
        return Gaussians(
            means=torch.from_numpy(means.rows(start, stop)[:, :3]),
            quats=unit_quats(torch.from_numpy(quats.rows(start, stop)[:, [3, 0, 1, 2]])),
            log_scales=sizes if logs else log_of_scales(sizes),
            logit_opacities=logit(torch.from_numpy(faded)),
            sh0=sh0[:, None],
            shN=torch.from_numpy(shN),
        )

    return _Part(total, max(harmonics.degree_of_bases(max(len(sh), 1)), 0), world, color_space, scales, rows)


def _harmonics(find: Callable[[str, int], Accessor | None]) -> list[Accessor]:
    """The coefficients of the whole degrees that are there, in order."""
    whole: list[Accessor] = []
    for degree in range(4):
        band = [find(f"SH_DEGREE_{degree}_COEF_{n}", 3) for n in range(2 * degree + 1)]
        if None in band:
            break
        whole += [accessor for accessor in band if accessor is not None]
    return whole


def _sh0_of_colors(rgb: Tensor, color_space: str) -> Tensor:
    """COLOR_0 is in linear light (glTF 2.0, 3.9.2), whatever the splat is in; IEC 61966-2-1 otherwise."""
    if color_space == "srgb":
        rgb = torch.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
    return harmonics.sh0_from_rgb(rgb)


def _lowest(accessor: Accessor) -> float:
    if accessor.stored.dtype.kind == "u" or not len(accessor.stored):
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a column of NaN is not below zero
        return float(np.nanmin(accessor.stored))


def _origin(parts: list[_Part]) -> Tensor:
    """(3,) where the world's zero is moved when nodes put splats so far away that float32 would blur them."""
    shifts = [part.world[:3, 3] for part in parts]
    if not shifts or max(shift.abs().max().item() for shift in shifts) < FAR:
        return torch.zeros(3, dtype=torch.float64)
    return torch.stack(shifts).mean(dim=0).round()


def _color_space(parts: list[_Part], notes: list[str]) -> Literal["srgb", "linear"]:
    linear = sum(part.count for part in parts if part.color_space == "linear")
    total = sum(part.count for part in parts)
    if 0 < linear < total:
        most = "linear" if 2 * linear > total else "sRGB"
        notes.append(
            f"the colors of {linear:,} of its {total:,} Gaussians are linear, others sRGB; all are read as {most}"
        )
    return "linear" if 2 * linear > total else "srgb"


def _note(notes: list[str], sentence: str) -> None:
    if sentence not in notes:
        notes.append(sentence)
