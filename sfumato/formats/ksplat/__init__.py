"""mkkellogg's .ksplat: Gaussians to records of 24 to 140 bytes in buckets of 256, and back.

Level 0 holds floats; level 1 means in 16 bits about the center of their bucket and other numbers as float16; level 2
also harmonics in 8 bits. What a round trip costs: colors and opacities half of 1/255 at every level; at levels 1 and 2
means 4e-5 units (less in scenes below 5 units) or what float32 holds of them, log scales 5e-4 (more below 6e-5 units,
where float16 thins out), rotations 0.06 degrees, harmonics 5e-4 of themselves at level 1, and at level 2 a 254th of
the largest.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.core.asset import CHUNK, Asset
from sfumato.core.axes import CANONICAL, matrix_between, reframe
from sfumato.core.errors import InputError
from sfumato.core.files import replacing
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import bases_of_degree
from sfumato.formats.ksplat.buckets import Buckets, into_buckets
from sfumato.formats.ksplat.layout import (
    HEADER,
    MAX_DEGREE,
    VERSION,
    WIDEST,
    Layout,
    Section,
    bucket_ends,
    headers,
    read_layout,
    record,
)
from sfumato.formats.limits import opened
from sfumato.formats.losses import warn_clamped, warn_lost
from sfumato.formats.options import WriteOptions
from sfumato.formats.parts import gathered, log_of_scales
from sfumato.formats.rgba import pack_rgba, unpack_rgba

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "write"]

NAME = ".ksplat"
SUFFIXES: tuple[str, ...] = (".ksplat",)
EXACT = False
_USED = 44  # bytes of the main header; the rest is zero
_EDGE = 88.7  # log of the largest standard deviation that float32 holds
_HALF = (2.0**-24, 65504.0)  # smallest and largest float16 above 0
_MOST = 4.0  # harmonics at level 2, as compressed PLY: one that is wilder would cost all others their steps


def recognizes(path: Path, head: bytes) -> bool:
    """By version, level, and a header that is zero to its end; files of that name by what can be a version alone."""
    if path.suffix.lower() in SUFFIXES and head[:1] == b"\0":
        return True
    begins = len(head) > HEADER and head[:2] == bytes(VERSION) and any(head[4:8])
    return begins and int.from_bytes(head[20:22], "little") <= 2 and not any(head[_USED:HEADER])


def read(path: Path, raw: bool = False) -> Asset:
    """The splat, of degree 0 to 2, in the frame of the PLY it was made of, which is the canonical one by custom.

    Raises InputError when the file is missing, truncated, damaged, or of another version.
    """
    with opened(path), path.open("rb") as file:
        layout = read_layout(path, file)
        full = [section for section in layout.sections if section.rows]  # others may claim any number of buckets
        parts = (part for section in full for part in _parts(path, file, layout, section))
        return Asset(gathered(layout.rows, layout.degree, parts))


def count(path: Path) -> int:
    """How many Gaussians the headers promise. Raises InputError as `read` does for what the headers show."""
    with opened(path), path.open("rb") as file:
        return read_layout(path, file).rows


def write(path: Path, asset: Asset, options: WriteOptions) -> None:
    """Write one section at the level `ksplat_level` of the options, above level 0 bucket by bucket.

    Harmonics above degree 2 are cut, and colors, scales and harmonics that do not fit clamped, each with a warning.
    The file appears whole or not at all. Raises OSError when it cannot be written.
    """
    warn_lost(path, asset, NAME, sh_degree=MAX_DEGREE)
    axes = asset.axes if options.raw else CANONICAL
    whole = asset.gaussians.detach().to("cpu", torch.float32)
    whole = replace(whole, shN=whole.shN[:, : bases_of_degree(MAX_DEGREE) - 1])
    packer = _Packer.of(options.ksplat_level, whole, matrix_between(asset.axes, axes))
    with replacing(path) as file:
        file.write(headers(packer.layout))
        if packer.buckets:
            file.write(packer.buckets.partial.tobytes())
            file.write(packer.buckets.centers.tobytes())
        for start in range(0, len(whole), CHUNK):
            part = whole[packer.rows(start)]
            file.write(packer.pack(reframe(part, asset.axes, axes), start).tobytes())
    for what, clamped in packer.clamped.items():
        warn_clamped(path, what, clamped, len(whole))


def _parts(path: Path, file: BinaryIO, layout: Layout, section: Section) -> Iterator[Gaussians]:
    """The Gaussians of a section of an open file, with harmonics up to those of the file."""
    file.seek(section.start)
    partial = np.fromfile(file, "<u4", section.partial)
    centers = np.fromfile(file, "<f4", 3 * section.buckets).reshape(-1, 3)
    ends = bucket_ends(path, section, partial) if layout.level else None
    kind = record(layout.level, section.degree)
    for start in range(0, section.rows, CHUNK):
        stop = min(start + CHUNK, section.rows)
        rows = np.fromfile(file, kind, stop - start)
        if len(rows) < stop - start:
            raise InputError(f"{path} became shorter while it was read; read it again")
        means = rows["mean"]
        if ends is not None:
            bucket = np.searchsorted(ends, np.arange(start, stop), side="right")
            step = section.block / 2 / section.steps
            means = (means.astype(np.float64) - section.steps) * step + centers[bucket]
        part = _decoded(rows, means.astype(np.float32), layout)
        yield part if section.degree == layout.degree else part.with_degree(layout.degree)


def _decoded(rows: NDArray[np.void], means: NDArray[np.float32], layout: Layout) -> Gaussians:
    sh0, logit_opacities = unpack_rgba(rows["rgba"])
    quats = torch.from_numpy(rows["quat"].astype(np.float32))
    quats[(quats == 0).all(dim=1), 0] = 1  # no rotation at all is none
    sh = torch.from_numpy(rows["sh"].astype(np.float32))
    if layout.level == 2:
        sh.mul_((layout.high - layout.low) / 255).add_(layout.low)
    return Gaussians(
        means=torch.from_numpy(means),
        quats=quats,
        log_scales=log_of_scales(torch.from_numpy(np.abs(rows["scale"].astype(np.float32)))),  # a sign means nothing
        logit_opacities=logit_opacities,
        sh0=sh0,
        shN=_by_coefficient(sh),
    )


def _by_coefficient(sh: Tensor) -> Tensor:
    """(N, K-1, 3) of (N, 3 (K-1)), which is three of red, of green, of blue, then five of red, of green, of blue."""
    bands = [band.reshape(len(sh), 3, band.shape[1] // 3) for band in (sh[:, :9], sh[:, 9:])]
    return torch.cat([band.transpose(1, 2) for band in bands], dim=1)


def _by_color(shN: Tensor) -> Tensor:
    """The inverse of `_by_coefficient`."""
    return torch.cat([band.transpose(1, 2).flatten(1) for band in (shN[:, :3], shN[:, 3:])], dim=1)


@dataclass(frozen=True)
class _Packer:
    """Gaussians to records, a part at a time; counts what had to be clamped."""

    layout: Layout
    buckets: Buckets | None
    clamped: dict[str, int]

    @classmethod
    def of(cls, level: int, gaussians: Gaussians, turn: Tensor) -> "_Packer":
        """`turn` (3, 3): frame of the file <- frame of the Gaussians."""
        section = Section(len(gaussians), gaussians.degree, block=0.0)
        buckets = None
        if level:
            buckets = into_buckets((gaussians.means @ turn.to(gaussians.means).T).numpy())
            sizes = {"full": buckets.full, "partial": len(buckets.partial), "buckets": len(buckets.centers)}
            section = replace(section, block=buckets.block, **sizes)
        widest = max(map(abs, torch.stack(gaussians.shN.aminmax()).tolist())) if gaussians.shN.numel() else 0.0
        step = min(widest or WIDEST, _MOST) / 127
        return cls(Layout(level, -127 * step, 128 * step, (section,)), buckets, {})  # zero is a whole step: 127

    def rows(self, start: int) -> Tensor | slice:
        """Which Gaussians the records from `start` on are."""
        stop = start + CHUNK
        return torch.from_numpy(self.buckets.order[start:stop]) if self.buckets else slice(start, stop)

    def pack(self, part: Gaussians, start: int) -> NDArray[np.void]:
        """The records from `start` on, whose Gaussians are given."""
        rows = np.empty(len(part), record(self.layout.level, part.degree))
        rows["mean"] = self._means(part.means.numpy(), start)
        rows["scale"] = self._scales(part.log_scales)
        rows["quat"] = torch.nn.functional.normalize(part.quats, dim=1).numpy()
        rows["rgba"], beyond = pack_rgba(part)
        self._count("colors beyond black or white", beyond)
        if part.degree:
            rows["sh"] = self._harmonics(_by_color(part.shN)).numpy()
        return rows

    def _means(self, means: NDArray[np.float32], start: int) -> NDArray[np.generic]:
        if not self.buckets:
            return means
        (section,) = self.layout.sections
        offsets = means - self.buckets.center_of(start, len(means)).astype(np.float64)
        steps: NDArray[np.float64] = np.rint(offsets * (section.steps / (section.block / 2))) + section.steps
        return steps.clip(0, 2 * section.steps + 1)

    def _scales(self, log_scales: Tensor) -> NDArray[np.float32]:
        scales = log_scales.clamp(-_EDGE, _EDGE).exp()
        if self.layout.level:
            least, most = _HALF
            self._count("standard deviations beyond float16", int(_outside(scales, least / 2, most).sum()))
            scales = scales.clamp(least, most)
        return scales.numpy()

    def _harmonics(self, sh: Tensor) -> Tensor:
        if self.layout.level == 0:
            return sh
        low, high = (self.layout.low, self.layout.high) if self.layout.level == 2 else (-_HALF[1], _HALF[1])
        slack = (high - low) / 510 if self.layout.level == 2 else 0.0
        self._count(f"harmonics beyond {high:.3g}", int(_outside(sh, low - slack, high + slack).sum()))
        sh = sh.clamp(low, high)
        return sh.sub_(low).mul_(255 / (high - low)).round_() if self.layout.level == 2 else sh

    def _count(self, what: str, number: int) -> None:
        self.clamped[what] = self.clamped.get(what, 0) + number


def _outside(values: Tensor, low: float, high: float) -> Tensor:
    """(N,) whether any number of a row of (N, M) lies outside."""
    return (values.amin(dim=1) < low) | (values.amax(dim=1) > high)
