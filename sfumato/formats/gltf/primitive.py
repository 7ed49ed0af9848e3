"""A primitive of a glTF file to rows of Gaussians in its own frame: from attributes, colors only, or SPZ within."""

import math
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.formats import spz
from sfumato.formats.gltf.file import Accessor, GltfFile
from sfumato.formats.gltf.text import say
from sfumato.formats.parts import log_of_scales, logit
from sfumato.formats.placement import unit_quats

__all__ = ["EXTENSION", "MOST_DEGREE", "PACKED", "Part", "Reading", "is_splat", "part_of"]

EXTENSION = "KHR_gaussian_splatting"
# of Cesium's tilesets before the extension was ratified; the last carries splats alone
PACKED = re.compile(r"KHR_gaussian_splatting_compression_spz(_2)?|KHR_spz_gaussian_splats_compression")
COLOR_SPACES: dict[str, Literal["srgb", "linear"]] = {  # the second pair is that of drafts before March 2026
    "srgb_rec709_display": "srgb",
    "lin_rec709_display": "linear",
    "BT.709-sRGB": "srgb",
    "BT.709-linear": "linear",
}
MOST_DEGREE = 3  # that the extension has names for


@dataclass(frozen=True)
class Part:
    """A primitive of splats, once for each node that shows it."""

    count: int
    degree: int
    world: Tensor  # (4, 4) float64 world <- primitive
    color_space: str
    scales: Accessor | None  # None: they are logs in a blob of SPZ
    rows: Callable[[int, int, bool], Gaussians]  # (start, stop, whether scales are logs already), in its own frame


@dataclass
class Reading:
    """What reading a file's primitives gathers."""

    counting: bool = False  # only how many Gaussians there are matters
    notes: list[str] = field(default_factory=list)  # sentences for Asset.notes
    unpacked: dict[int, tuple[int, Gaussians]] = field(default_factory=dict)  # buffer view of SPZ -> what is in it

    def note(self, sentence: str) -> None:
        """Keep a sentence, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)


def is_splat(file: GltfFile, primitive: dict[str, Any]) -> bool:
    """Whether a primitive is one of splats, not of points, lines or triangles."""
    extensions = file.table(primitive, "extensions")
    return EXTENSION in extensions or any(PACKED.fullmatch(name) for name in extensions)


def part_of(file: GltfFile, primitive: dict[str, Any], world: Tensor, reading: Reading) -> Part:
    """A primitive of splats, checked. Raises InputError when it is damaged, not whole, or packed in an unknown way."""
    extensions = file.table(primitive, "extensions")
    said = file.table(extensions, EXTENSION)
    space = said.get("colorSpace")
    if not isinstance(space, str) or space not in COLOR_SPACES:
        reading.note(f"its color space, {say(space)}, is read as sRGB")
        space = "srgb_rec709_display"
    if said.get("kernel", "ellipse") != "ellipse":
        reading.note(f"its kernel, {say(said['kernel'])}, is read as ellipsoids")
    if said.get("projection", "perspective") != "perspective":
        reading.note(f"its projection, {say(said['projection'])}, is read as perspective")
    for name, extension in {**extensions, **file.table(said, "extensions")}.items():
        if PACKED.fullmatch(name) and isinstance(extension, dict):
            return _from_spz(file, extension, world, COLOR_SPACES[space], reading)
        if "compression" in name:
            raise InputError(f"{file.path} is packed with {say(name)}, which is not read; export it without")
    return _from_attributes(file, file.table(primitive, "attributes"), world, COLOR_SPACES[space], reading)


def _from_spz(file: GltfFile, extension: dict[str, Any], world: Tensor, color_space: str, reading: Reading) -> Part:
    """The splat of an SPZ file in a buffer view, its numbers as stored: they are already those of glTF's frame.

    So say the draft of KHR_gaussian_splatting_compression_spz_2 and the programs that read it.
    """
    view = file.whole(extension, "bufferView")
    if view not in reading.unpacked:
        reading.unpacked[view] = _unpacked(file, view, reading.counting)
    total, gaussians = reading.unpacked[view]

    def rows(start: int, stop: int, logs: bool) -> Gaussians:
        return gaussians[start:stop]

    return Part(total, gaussians.degree, world, color_space, None, rows)


def _unpacked(file: GltfFile, view: int, counting: bool) -> tuple[int, Gaussians]:
    with tempfile.TemporaryDirectory() as folder:
        blob = Path(folder) / "packed.spz"
        blob.write_bytes(bytes(file.view(view)[0]))
        try:
            if counting:
                return spz.count(blob), Gaussians.empty(0)
            gaussians = spz.read(blob, raw=True).gaussians
        except InputError as error:
            raise InputError(str(error).replace(str(blob), f"{file.path}, in its SPZ,")) from None
    return len(gaussians), gaussians


@dataclass(frozen=True)
class _Columns:
    """The accessors of a primitive, each with as many rows."""

    means: Accessor
    quats: Accessor  # xyzw
    scales: Accessor
    opacities: Accessor
    opacity_column: int  # 3 when they are the last of COLOR_0
    base: Accessor  # harmonics of degree 0, or colors where there are no harmonics
    sh: list[Accessor]  # K of them, or none
    color_space: str

    def rows(self, start: int, stop: int, logs: bool) -> Gaussians:
        """Some of the Gaussians; logs: their scales are stored as logarithms."""
        scales = torch.from_numpy(self.scales.rows(start, stop)[:, :3])
        shN = np.empty((len(scales), max(len(self.sh) - 1, 0), 3), np.float32)
        for k, accessor in enumerate(self.sh[1:]):
            shN[:, k] = accessor.rows(start, stop)[:, :3]
        sh0 = torch.from_numpy(self.base.rows(start, stop)[:, :3])
        return Gaussians(
            means=torch.from_numpy(self.means.rows(start, stop)[:, :3]),
            quats=unit_quats(torch.from_numpy(self.quats.rows(start, stop)[:, [3, 0, 1, 2]])),
            log_scales=scales if logs else log_of_scales(scales),
            logit_opacities=logit(torch.from_numpy(self.opacities.rows(start, stop)[:, self.opacity_column])),
            sh0=(sh0 if self.sh else _sh0_of_colors(sh0, self.color_space))[:, None],
            shN=torch.from_numpy(shN),
        )


def _from_attributes(
    file: GltfFile, attributes: dict[str, Any], world: Tensor, color_space: str, reading: Reading
) -> Part:
    def find(name: str, width: int) -> Accessor | None:
        # drafts of 2025 wrote _SCALE, as glTF has it for an application's own
        places = (f"{EXTENSION}:{name}", f"_{name}", name)
        index = next((attributes[place] for place in places if place in attributes), None)
        return None if index is None else file.accessor(index, width)

    def need(name: str, width: int) -> Accessor:
        found = find(name, width)
        if found is None:
            raise InputError(f"{file.path} is not a whole splat: a primitive has no {name}; export it again")
        return found

    sh, colors = _harmonics(find, reading), find("COLOR_0", 3)
    base = sh[0] if sh else colors or need("SH_DEGREE_0_COEF_0", 3)
    opacities, column = find("OPACITY", 1), 0
    if opacities is None and colors is not None and colors.stored.shape[1] == 4:
        opacities, column = colors, 3
    opacities = opacities or need("OPACITY", 1)
    if not sh:
        reading.note("it has colors instead of harmonics, so it looks the same from everywhere")
    means, quats, scales = need("POSITION", 3), need("ROTATION", 4), need("SCALE", 3)
    counts = {len(accessor.stored) for accessor in (means, quats, scales, opacities, base, *sh)}
    if len(counts) > 1:
        told = f"the attributes of a primitive must have equally many rows; got {sorted(counts)[:6]}"
        raise file.damaged(told)
    columns = _Columns(means, quats, scales, opacities, column, base, sh, color_space)
    return Part(len(means.stored), math.isqrt(max(len(sh), 1)) - 1, world, color_space, scales, columns.rows)


def _harmonics(find: Callable[[str, int], Accessor | None], reading: Reading) -> list[Accessor]:
    """The coefficients of the whole degrees that are there, in order."""
    whole: list[Accessor] = []
    for degree in range(MOST_DEGREE + 1):
        band = [find(f"SH_DEGREE_{degree}_COEF_{n}", 3) for n in range(2 * degree + 1)]
        if None in band:
            if any(band):
                reading.note(f"its harmonics of degree {degree} are incomplete, and left out")
            break
        whole += [accessor for accessor in band if accessor is not None]
    return whole


def _sh0_of_colors(rgb: Tensor, color_space: str) -> Tensor:
    """COLOR_0 is in linear light (glTF 2.0, 3.9.2), whatever the splat is in; IEC 61966-2-1 otherwise."""
    if color_space == "srgb":
        rgb = torch.where(rgb <= 0.0031308, 12.92 * rgb, 1.055 * rgb.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)
    return harmonics.sh0_from_rgb(rgb)
