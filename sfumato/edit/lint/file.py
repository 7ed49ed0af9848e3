"""An Asset and what its file is made of to findings about the file: how it is written, and what it leaves open."""

from collections.abc import Iterator

import torch

from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL, matrix_between
from sfumato.edit.lint.facts import FileFacts
from sfumato.edit.lint.finding import Finding

__all__ = ["file_findings"]

CROWDED = 2_000_000  # Gaussians: from 1 to 2 million on, makers of viewers advise streaming
EARLY = 10_000  # bytes that old viewers look for the end of a header in
SIDEWAYS = 0.7  # cosine: what is farther than 45 degrees from where it should be
_KNOWN = {"x", "y", "z", "nx", "ny", "nz", "opacity", "red", "green", "blue"}
_PREFIXES = ("f_dc_", "f_rest_", "scale_", "rot_")


def file_findings(asset: Asset, facts: FileFacts | None) -> Iterator[Finding]:
    """What is odd about the file of a splat; facts: None when it has none."""
    for note in asset.notes:
        yield Finding("reader", "note", note)
    yield from _meaning(asset)
    if len(asset) > CROWDED:
        told = f"it has {len(asset):,} Gaussians, and viewers in browsers get slow from 1 to 2 million on"
        yield Finding("crowded", "note", told, "`sfumato edit --decimate` makes fewer; SOG can be streamed")
    if facts is None:
        return
    if facts.format == "PLY":
        yield from _ply(facts)
    if facts.format == "SPZ":
        yield from _spz(facts)


def _meaning(asset: Asset) -> Iterator[Finding]:
    if asset.color_space == "linear":
        told = "its colors are linear light, and most viewers take them for sRGB: too dark"
        yield Finding("linear", "warning", told)
    if asset.kernel == "disc":
        told = "it was trained as discs (2D Gaussians); most viewers draw very flat ellipsoids instead"
        yield Finding("discs", "note", told)
    if asset.antialiased:
        told = "it was trained to be drawn antialiased; viewers that do not know show it a little too thin or too thick"
        yield Finding("antialiased", "note", told)
    if asset.up is not None:
        right, down, forward = (
            matrix_between(asset.axes, CANONICAL) @ torch.tensor(asset.up, dtype=torch.float64)
        ).tolist()
        length = (right**2 + down**2 + forward**2) ** 0.5
        if length > 0 and -down / length < SIDEWAYS:
            told = f"it says that up is {_direction(right, down, forward)}, and viewers take -y for up, as cameras do"
            advice = "it lies on its side or upside down in them; `sfumato edit --up` sets it upright"
            yield Finding("up", "warning", told, advice)


def _direction(x: float, y: float, z: float) -> str:
    size, axis = max((abs(value), name) for value, name in ((x, "x"), (y, "y"), (z, "z")))
    value = {"x": x, "y": y, "z": z}[axis]
    return f"{'+' if value > 0 else '-'}{axis}" if size > 0 else "nowhere"


def _ply(facts: FileFacts) -> Iterator[Finding]:
    if facts.order != "binary_little_endian":
        written = "as text" if facts.order == "ascii" else "with the most significant byte first"
        told = f"it is written {written}, which nearly no viewer reads: some show garbage without a word"
        yield Finding("encoding", "warning", told, "`sfumato convert` it to another PLY")
    odd = [
        f"columns of type {', '.join(kind for kind in facts.types if kind != 'float')}"
        if set(facts.types) - {"float"}
        else "",
        f"lines {', '.join(facts.odd_lines)}" if facts.odd_lines else "",
        "lines that end as on Windows" if facts.returns else "",
        "lists" if facts.lists else "",
        "another element before the vertices" if facts.elements[:1] != ("vertex",) else "",
        f"{facts.header_bytes:,} bytes, and old viewers look at 10,000" if facts.header_bytes > EARLY else "",
    ]
    if odd := [part for part in odd if part]:
        told = f"its header has {'; '.join(odd)}: strict programs refuse it"
        yield Finding("header", "note", told, "`sfumato convert` to another PLY writes what all read")
    extra = [name for name in facts.columns if name not in _KNOWN and not name.startswith(_PREFIXES)]
    if extra:
        more = f" and {len(extra) - 6} more" if len(extra) > 6 else ""
        told = f"it has columns that are no splat's: {', '.join(extra[:6])}{more}"
        yield Finding("columns", "note", told, "they are not read; `sfumato convert` leaves them out")
    rest = sum(name.startswith("f_rest_") for name in facts.columns)
    if rest not in (0, 9, 24, 45):
        told = f"it has {rest} columns f_rest, and most programs know 0, 9, 24 and 45"
        yield Finding("degree", "warning", told, "`sfumato convert --sh-degree 3` to another PLY")


def _spz(facts: FileFacts) -> Iterator[Finding]:
    told = (
        "which way is up cannot be known from it: SPZ says +y, but some programs write the numbers of a PLY into it as"
        " they are, whose up is -y, and no file says who wrote it"
    )
    yield Finding("spz-up", "note", told, "if it is upside down here, use `sfumato convert --raw`")
    if facts.version is not None and facts.version <= 2:
        told = f"it is SPZ version {facts.version}, whose rotations are up to 5 degrees off"
        yield Finding("spz-rough", "note", told, "write it from the original again, as version 3 or 4")
    if not facts.gzipped and facts.version is not None and facts.version < 4:
        told = "it is an SPZ of versions 1 to 3 without gzip, which Niantic's own library refuses"
        yield Finding("spz-bare", "warning", told, "`sfumato convert` it to another SPZ")
