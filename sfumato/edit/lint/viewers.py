"""A splat and its file to what known programs will do with it, from what was found out about each of them.

What stands here was read in their sources and documents, or tried, in November 2026; what is not known is left open.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sfumato.core.asset import Asset
from sfumato.edit.lint.facts import FileFacts

__all__ = ["VIEWERS", "Verdict", "Viewer", "verdicts"]

_Outcome = Literal["reads", "loses", "misreads", "refuses", "unknown"]
_RESTS = (0, 9, 24, 45)  # columns f_rest of degrees 0 to 3
_ALL = frozenset(
    {"PLY", "compressed PLY", ".splat", ".ksplat", "SPZ", "SOG", "glTF", "OpenUSD", "numpy", "point cloud"}
)


@dataclass(frozen=True)
class Viewer:
    """What a program reads. A format that is in neither set is one of which nothing is known."""

    name: str
    reads: frozenset[str]
    refuses: frozenset[str] = frozenset()  # only formats that it surely does not read
    degree: int = 3  # highest that it shows
    fourth: bool = True  # SPZ of degree 4: shows it as far as it can; else refuses it
    spz: tuple[int, ...] = ()  # versions that it reads ...
    unsure: tuple[int, ...] = ()  # ... and of which nothing is known
    strict: bool = True  # PLY: little-endian only, and nothing unusual in the header
    rests: bool = True  # PLY: refuses columns f_rest that fill no degree
    types: frozenset[str] = frozenset(
        {"float", "double", "uchar", "char", "short", "ushort", "int", "uint"}
    )  # of a PLY
    garbles: bool = False  # PLY of other byte orders: shows garbage instead of refusing
    header: int | None = None  # bytes of a PLY's header that it looks at
    returns: bool = True  # reads PLY headers whose lines end as on Windows
    raw_spz: bool = False  # takes the numbers of an SPZ for those of a PLY
    bare_spz: bool = True  # reads an SPZ without gzip
    crowd: int | None = None  # Gaussians that are its comfort


def _viewer(name: str, reads: str, refuses: str = "", **known: object) -> Viewer:
    split = [frozenset(part.strip() for part in names.split(",") if part.strip()) for names in (reads, refuses)]
    return Viewer(name, split[0], split[1], **known)  # type: ignore[arg-type]


VIEWERS: tuple[Viewer, ...] = (
    _viewer("sfumato", ", ".join(_ALL), degree=4, spz=(1, 2, 3, 4), strict=False, rests=False),
    _viewer("SuperSplat", "PLY, compressed PLY, SPZ, SOG", "numpy", spz=(4,), unsure=(1, 2, 3), crowd=2_000_000),
    _viewer("PlayCanvas", "PLY, compressed PLY, SPZ, SOG, glTF", "numpy", spz=(4,), crowd=2_000_000),
    _viewer("Spark, up to 2.2", "PLY, compressed PLY, .splat, .ksplat, SPZ, SOG", "numpy, glTF, OpenUSD",
            spz=(1, 2, 3), bare_spz=False),
    _viewer("three.js r187", "PLY, .splat, .ksplat, SPZ, glTF", "numpy, OpenUSD, compressed PLY, SOG",
            spz=(1, 2, 3, 4), strict=False, bare_spz=False),
    _viewer("GaussianSplats3D (mkkellogg)", "PLY, compressed PLY, .splat, .ksplat, SPZ",
            "numpy, SOG, glTF, OpenUSD", degree=2, spz=(1, 2), bare_spz=False),
    _viewer("antimatter15/splat", "PLY, .splat", "numpy, SOG, glTF, OpenUSD, SPZ, .ksplat", degree=0, header=10_000),
    _viewer("Niantic's SPZ library", "PLY, SPZ", "numpy, SOG, glTF, OpenUSD, .splat, .ksplat, compressed PLY",
            degree=4, spz=(1, 2, 3, 4), types=frozenset({"float"}), bare_spz=False),
    _viewer("Cesium", "glTF", "numpy, SOG, OpenUSD, PLY, compressed PLY, .splat, .ksplat"),
    _viewer("splat-transform 3.7", "PLY, compressed PLY, .splat, .ksplat, SPZ, SOG", "numpy, glTF, OpenUSD",
            spz=(2, 3, 4), garbles=True, returns=False, raw_spz=True, fourth=False),
)  # fmt: skip


@dataclass(frozen=True)
class Verdict:
    """What a program will do with a file."""

    viewer: str
    outcome: _Outcome  # loses: shows it without something; misreads: shows what is not in the file
    told: str  # after the program's name


def verdicts(asset: Asset, facts: FileFacts) -> list[Verdict]:
    """What each known program will do with a splat in a file."""
    return [_verdict(viewer, asset, facts) for viewer in VIEWERS]


def _verdict(viewer: Viewer, asset: Asset, facts: FileFacts) -> Verdict:
    if facts.format not in viewer.reads:
        if facts.format in viewer.refuses:
            return Verdict(viewer.name, "refuses", f"does not read {facts.format}")
        if facts.format == "point cloud":
            return Verdict(viewer.name, "unknown", "it is no splat: convert it first")
        return Verdict(viewer.name, "unknown", f"not known whether it reads {facts.format}")
    if facts.format == "SPZ" and facts.version in viewer.unsure:
        return Verdict(viewer.name, "unknown", f"not known whether it reads version {facts.version}")
    for why in _refusals(viewer, asset, facts):
        return Verdict(viewer.name, "refuses", f"refuses it: {why}")
    if facts.format == "PLY" and viewer.garbles and facts.order != "binary_little_endian":
        return Verdict(viewer.name, "misreads", "reads garbage without a word: it takes every PLY for little-endian")
    if facts.format == "SPZ" and viewer.raw_spz:
        return Verdict(viewer.name, "misreads", "keeps the numbers as they are: a PLY made of it is upside down")
    losses = list(_losses(viewer, asset, facts))
    if losses:
        return Verdict(viewer.name, "loses", f"reads it, {'; '.join(losses)}")
    return Verdict(viewer.name, "reads", "reads it")


def _refusals(viewer: Viewer, asset: Asset, facts: FileFacts) -> Iterator[str]:
    """Why a program refuses a file of a format that it reads."""
    if facts.format == "SPZ":
        if facts.version is not None and facts.version not in viewer.spz:
            known = " ".join(str(version) for version in viewer.spz)
            yield f"it is of version {facts.version}, and known are {known}"
        if not facts.gzipped and (facts.version or 4) < 4 and not viewer.bare_spz:
            yield "it is not gzipped"
        if asset.gaussians.degree > 3 and not viewer.fourth:
            yield "its harmonics are of degree 4, and known are 0 to 3"
    if facts.format != "PLY":
        return
    rest = sum(name.startswith("f_rest_") for name in facts.columns)
    if viewer.rests and rest not in _RESTS:
        yield f"it has {rest} columns f_rest, and known are 0, 9, 24 and 45"
    if not viewer.strict:
        return
    if viewer.header is not None and facts.header_bytes > viewer.header:
        yield f"its header has {facts.header_bytes:,} bytes, and {viewer.header:,} are looked at"
    if facts.order != "binary_little_endian" and not viewer.garbles:
        yield f"it is {'text' if facts.order == 'ascii' else 'big-endian'}, and must be little-endian"
    if facts.elements[:1] != ("vertex",):
        yield "its vertices must come first"
    if odd := sorted(set(facts.types) - viewer.types):
        yield f"its columns are of type {', '.join(odd)}"
    if facts.odd_lines:
        yield f"its header has lines {', '.join(facts.odd_lines)}"
    if facts.returns and not viewer.returns:
        yield "its header's lines end as on Windows"


def _losses(viewer: Viewer, asset: Asset, facts: FileFacts) -> Iterator[str]:
    degree, most = asset.gaussians.degree, viewer.degree
    if degree > most:
        yield f"with harmonics of degree {most} instead of {degree}" if most else "without harmonics"
    if asset.color_space == "linear" and facts.format != "glTF":
        yield "too dark: it takes linear colors for sRGB"
    if viewer.crowd and len(asset) > viewer.crowd:
        yield f"slowly: {viewer.crowd / 1e6:.0f} million Gaussians are comfortable"
