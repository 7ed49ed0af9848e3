"""OpenUSD's ParticleField3DGaussianSplat (OpenUSD 26.03): all splats of a stage in one world, and one to a file.

Round trip: means, harmonics: the same bits; rotations: 1e-7; log scales: 1e-6 (linear in the file);
opacities: 1e-7 (linear, so logits end at 13.8 either way).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.core import sh as harmonics
from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL, reframe
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.formats import usd_write
from sfumato.formats.facts import known_from
from sfumato.formats.options import WriteOptions
from sfumato.formats.parts import gathered, logit
from sfumato.formats.placement import is_stretched, log_of_scales, place, unit_quats
from sfumato.formats.usd_stage import AXES, OpenStage, opened_stage

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "write"]

NAME = "OpenUSD"
SUFFIXES: tuple[str, ...] = (".usdc", ".usda", ".usd")
EXACT = False
SPLAT = "ParticleField3DGaussianSplat"
CHUNK = 1 << 17  # rows
MOST_COPIES = 16  # of the 6 bytes that a position takes at least, as instances


@dataclass(frozen=True)
class _Field:
    """The arrays of one splat in a stage, where pxr keeps them, and its place."""

    world: Tensor  # (4, 4) float64 world <- field
    degree: int
    means: NDArray[Any]  # (N, 3)
    quats: NDArray[Any]  # (N, 4) xyzw, as they lie in memory
    scales: NDArray[Any]  # (N, 3)
    opacities: NDArray[Any]  # (N,)
    sh: NDArray[Any]  # (N, K, 3)

    def rows(self, start: int, stop: int) -> Gaussians:
        """Some of its rows in its own frame."""
        sh = _floats(self.sh[start:stop])
        return Gaussians(
            means=_floats(self.means[start:stop]),
            quats=unit_quats(_floats(self.quats[start:stop])[:, [3, 0, 1, 2]]),
            log_scales=log_of_scales(_floats(self.scales[start:stop])),
            logit_opacities=logit(_floats(self.opacities[start:stop])),
            sh0=sh[:, :1],
            shN=sh[:, 1:],
        )


def recognizes(path: Path, head: bytes) -> bool:
    """Crate, text, or a zip archive whose first member is one of them."""
    if head[:8] == b"PXR-USDC" or head[:5] == b"#usda":
        return True
    length = int.from_bytes(head[26:28], "little")
    return head[:4] == b"PK\x03\x04" and head[30 : 30 + length].lower().endswith((b".usd", b".usda", b".usdc"))


def count(path: Path) -> int:
    """How many Gaussians the stage shows. Raises InputError as `read` does for what shows without all numbers."""
    with opened_stage(path) as opened:
        return sum(len(_array(path, prim, "positions", 3)) for prim in _splats(path, opened, []))


def read(path: Path, raw: bool = False) -> Asset:
    """All visible splats of the stage, each moved by the transforms above it; raw: in the stage's own frame.

    Of animated ones, the first moment. Raises InputError when the file is missing, damaged, holds no splat, or is
    spread over several files, and when usd-core is not installed.
    """
    notes: list[str] = []
    with opened_stage(path) as opened:
        source = AXES[opened.up_axis]
        axes = source if raw else CANONICAL
        prims = _splats(path, opened, notes)
        fields = _fields(path, prims)
        total, degree = sum(len(field.means) for field in fields), max(field.degree for field in fields)
        stretched = sum(len(field.means) for field in fields if is_stretched(field.world))
        if stretched:
            told = "are stretched by their transforms: their shapes follow exactly, their lights only turn"
            notes.append(f"{stretched:,} Gaussians {told}")
        return Asset(
            gathered(total, degree, _placed(fields, degree, source, axes)),
            axes=axes,
            color_space=_color_space(prims, notes),
            generator=opened.generator,
            notes=tuple(notes),
            **(known_from(opened.facts, source, axes) | {"meters_per_unit": opened.meters_per_unit}),
        )


def write(path: Path, asset: Asset, options: WriteOptions) -> None:
    """Write one splat, +y up, all numbers float32; see `usd_write`."""
    usd_write.write(path, asset, asset.axes if options.raw else AXES["Y"])


def _splats(path: Path, opened: OpenStage, notes: list[str]) -> list[Any]:
    """The visible splats of the stage. Raises InputError when there are none."""
    from pxr import Usd, UsdGeom

    every = opened.stage.Traverse(Usd.TraverseInstanceProxies())
    splats = [prim for prim in every if prim.GetTypeName() == SPLAT]
    shown = [prim for prim in splats if UsdGeom.Imageable(prim).ComputeVisibility() != "invisible"]
    if not shown:
        hidden = f"its {len(splats)} splats are invisible" if splats else f"it has no {SPLAT}"
        raise InputError(f"{path} shows no splat: {hidden}; export the splat itself")
    if len(shown) < len(splats):
        notes.append(f"{len(splats) - len(shown)} splats that are marked as invisible are left out")
    if any(prim.HasAuthoredMetadata("clips") for splat in shown for prim in _line(splat)):
        raise InputError(f"{path} is an animation in clips, which are not opened; export one moment")
    return shown


def _line(prim: Any) -> Iterator[Any]:
    """A prim and those above it."""
    while prim:
        yield prim
        prim = prim.GetParent()


def _fields(path: Path, prims: list[Any]) -> list[_Field]:
    """Their arrays. Raises InputError when references show more Gaussians than the file can hold."""
    fields, total, most = [], 0, MOST_COPIES * path.stat().st_size // 6
    for prim in prims:
        total += len(_array(path, prim, "positions", 3))
        if total > max(most, MOST_COPIES):
            told = f"its references show at least {total:,} Gaussians, more than {MOST_COPIES} times what it can hold"
            raise InputError(f"{path}: {told}; export it with fewer")
        fields.append(_field(path, prim))
    return fields


def _field(path: Path, prim: Any) -> _Field:
    from pxr import UsdGeom

    means = _array(path, prim, "positions", 3)
    N = len(means)
    attribute = prim.GetAttribute("radiance:sphericalHarmonicsDegree")
    degree = attribute.Get(_moment(attribute))
    if not isinstance(degree, int) or not 0 <= degree <= harmonics.MAX_DEGREE:
        raise InputError(f"{path}: {prim.GetPath()} must have harmonics of degree 0 to 4; got {str(degree)[:20]}")
    K = harmonics.bases_of_degree(degree)
    moment = _moment(prim.GetAttribute("positions"))
    matrix = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(moment), dtype=np.float64).T
    if not np.isfinite(matrix).all() or not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise InputError(f"{path}: the transform of {prim.GetPath()} must be finite and without perspective")
    return _Field(
        world=torch.from_numpy(matrix.copy()),
        degree=degree,
        means=means,
        quats=_array(path, prim, "orientations", 4, N),
        scales=_array(path, prim, "scales", 3, N),
        opacities=_array(path, prim, "opacities", 1, N)[:, 0],
        sh=_array(path, prim, "radiance:sphericalHarmonicsCoefficients", 3, N * K).reshape(N, K, 3),
    )


def _array(path: Path, prim: Any, name: str, width: int, rows: int | None = None) -> NDArray[Any]:
    """(rows, width) floats, or halfs where there are no floats, of the first moment that has any."""
    for attribute in (prim.GetAttribute(name), prim.GetAttribute(f"{name}h")):
        value = attribute.Get(_moment(attribute)) if attribute and attribute.HasAuthoredValue() else None
        if value is None or (not len(value) and attribute.GetName() == name and rows != 0):
            continue
        found = np.asarray(value)
        if found.dtype.kind != "f" or found.size != len(value) * width:
            raise InputError(f"{path}: {name} of {prim.GetPath()} must be rows of {width} numbers")
        if rows is not None and len(value) != rows:
            raise InputError(f"{path}: {name} of {prim.GetPath()} must have {rows} rows; got {len(value)}")
        return found.reshape(-1, width)
    if rows is None or rows == 0:
        return np.zeros((0, width), np.float32)
    raise InputError(f"{path} is not a whole splat: {prim.GetPath()} has no {name}")


def _moment(attribute: Any) -> Any:
    """The time to ask an attribute about: none, unless it is animated only."""
    from pxr import Usd

    animated = attribute and attribute.GetNumTimeSamples() and attribute.Get() is None
    return Usd.TimeCode.EarliestTime() if animated else Usd.TimeCode.Default()


def _placed(fields: list[_Field], degree: int, source: str, axes: str) -> Iterator[Gaussians]:
    for field in fields:
        for start in range(0, len(field.means), CHUNK):
            rows = place(field.rows(start, start + CHUNK), field.world)
            yield reframe(rows.with_degree(degree), source, axes)


def _color_space(prims: list[Any], notes: list[str]) -> Literal["srgb", "linear"]:
    """What the splats' colors are in; sRGB, as trained splats are, where nothing is said."""
    names = set()
    for prim in prims:
        said = (above.GetAttribute("colorSpace:name") for above in _line(prim))
        names.add(next((str(name.Get()) for name in said if name and name.Get()), ""))
    linear = {name for name in names if name.startswith("lin_")}
    if linear and linear != names:
        notes.append(f"its splats are in several color spaces ({', '.join(sorted(names))[:200]}); all are read as sRGB")
    unknown = names - linear - {"", "srgb_rec709_display", "srgb_rec709_scene", "sRGB"}
    if unknown:
        notes.append(f"its color space, {', '.join(sorted(unknown))[:100]}, is read as sRGB")
    return "linear" if linear == names else "srgb"


def _floats(values: NDArray[Any]) -> Tensor:
    """A copy: pxr's own memory ends with the stage."""
    return torch.from_numpy(values.astype(np.float32))
