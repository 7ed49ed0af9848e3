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

from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL, reframe
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import bases_of_degree
from sfumato.formats.facts import known_from
from sfumato.formats.options import WriteOptions
from sfumato.formats.parts import gathered, log_of_scales, logit
from sfumato.formats.placement import is_stretched, place, unit_quats
from sfumato.formats.usd import encode
from sfumato.formats.usd.child import ARRAYS
from sfumato.formats.usd.process import looked_into

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "write"]

NAME = "OpenUSD"
SUFFIXES: tuple[str, ...] = (".usdc", ".usda", ".usd")
EXACT = False
FRAMES = {"Y": "RUB", "Z": "RFU"}  # up axis -> frame of a stage's world: right-handed, seen from the front
SRGB = {"", "srgb_rec709_display", "srgb_rec709_scene", "sRGB"}  # where nothing is said, as trained splats are
CHUNK = 1 << 17  # rows


@dataclass(frozen=True)
class _Field:
    """The arrays of one splat in a stage, and its place."""

    world: Tensor  # (4, 4) float64 world <- field
    degree: int
    arrays: dict[str, NDArray[Any]]  # as child.py names them, on the disk

    def __len__(self) -> int:
        return len(self.arrays["means"])

    def rows(self, start: int, stop: int) -> Gaussians:
        """Some of its rows in its own frame."""
        K = bases_of_degree(self.degree)
        part = {name: self.arrays[name][start:stop] for name in ARRAYS if name != "sh"}
        floats = {name: torch.from_numpy(array.astype(np.float32)) for name, array in part.items()}
        sh = torch.from_numpy(self.arrays["sh"][start * K : stop * K].astype(np.float32)).reshape(-1, K, 3)
        return Gaussians(
            means=floats["means"],
            quats=unit_quats(floats["quats"][:, [3, 0, 1, 2]]),
            log_scales=log_of_scales(floats["scales"]),
            logit_opacities=logit(floats["opacities"][:, 0]),
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
    with looked_into(path, counting=True) as (found, _):
        return int(found["count"])


def read(path: Path, raw: bool = False) -> Asset:
    """All visible splats of the stage, each moved by the transforms above it; raw: in the stage's own frame.

    Of animated ones, the first moment. Raises InputError when the file is missing, damaged, holds no splat, or is
    spread over several files, and when usd-core is not installed.
    """
    with looked_into(path) as (found, folder):
        if found["up"] not in FRAMES:
            raise InputError(f"{path}: its up axis must be Y or Z; got {found['up'][:20]!r}; export it again")
        source = FRAMES[found["up"]]
        axes = source if raw else CANONICAL
        fields = [_field(field, folder / str(index)) for index, field in enumerate(found["fields"])]
        notes = list(found["notes"])
        stretched = sum(len(field) for field in fields if is_stretched(field.world))
        if stretched:
            told = "are stretched by their transforms: their shapes follow exactly, their lights only turn"
            notes.append(f"{stretched:,} Gaussians {told}")
        known = known_from(found["facts"], source, axes)
        if found["facts"].get("unitIsKnown") is not False:
            known["meters_per_unit"] = found["meters"]
        degree = max(field.degree for field in fields)
        return Asset(
            gathered(found["count"], degree, _placed(fields, degree, source, axes)),
            axes=axes,
            color_space=_color_space({field["space"] for field in found["fields"]}, notes),
            generator=found["creator"],
            notes=tuple(notes),
            **known,
        )


def write(path: Path, asset: Asset, options: WriteOptions) -> None:
    """Write one splat, +y up, all numbers float32; see encode.py."""
    encode.write(path, asset, asset.axes if options.raw else FRAMES["Y"])


def _field(found: dict[str, Any], start: Path) -> _Field:
    arrays = {
        name: np.load(start.with_name(f"{start.name}.{name}.npy"), mmap_mode="r", allow_pickle=False) for name in ARRAYS
    }
    return _Field(torch.tensor(found["world"], dtype=torch.float64), found["degree"], arrays)


def _placed(fields: list[_Field], degree: int, source: str, axes: str) -> Iterator[Gaussians]:
    for field in fields:
        for start in range(0, len(field), CHUNK):
            rows = place(field.rows(start, start + CHUNK), field.world)
            yield reframe(rows.with_degree(degree), source, axes)


def _color_space(names: set[str], notes: list[str]) -> Literal["srgb", "linear"]:
    """What the splats' colors are in, by the names of their spaces."""
    linear = {name for name in names if name.startswith("lin_")}
    if linear and linear != names:
        notes.append(f"its splats are in several color spaces ({', '.join(sorted(names))[:200]}); all are read as sRGB")
    unknown = names - linear - SRGB
    if unknown:
        notes.append(f"its color space, {', '.join(sorted(unknown))[:100]}, is read as sRGB")
    return "linear" if linear == names else "srgb"
