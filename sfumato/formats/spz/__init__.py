"""SPZ (Niantic Labs), versions 1 to 4: Gaussians quantized to 20 bytes, 65 with harmonics of degree 3, and packed.

Its frame is RUB. Some programs (splat-transform, gsply) write the numbers of a PLY as they are, and do not say so:
such a file comes out upside down here, and everywhere else.
"""

import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL, reframe
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.files import replacing
from sfumato.core.gaussians import Gaussians
from sfumato.core.threads import one_torch_thread
from sfumato.formats.facts import facts_of, known_from
from sfumato.formats.losses import warn_clamped, warn_lost
from sfumato.formats.options import WriteOptions
from sfumato.formats.spz import numbers
from sfumato.formats.spz.container import FACTS, Blocks, Header, is_spz, opened_blocks, write_blocks

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "write"]

NAME = "SPZ"
SUFFIXES: tuple[str, ...] = (".spz",)
EXACT = False

_FRAME = "RUB"
_CHUNK = 1 << 16  # rows at a time, few enough that what is made of them stays in the processor's cache
_FRACTION = 12  # bits, as other programs write: positions to 2,048 units from zero in steps of 1/4096
_MOST_DEGREE = 3  # the layout has room for 4, which Spark and splat-transform refuse
_AXES = 0xADBE0003  # Adobe's extension record: the frame of the numbers, of which these are 1, 2, ...
_FRAMES = (
    "LDB", "RDB", "LUB", "RUB", "LDF", "RDF", "LUF", "RUF", "LFD", "RFD", "LFU", "RFU", "LBD", "RBD", "LBU", "RBU",
)  # fmt: skip
_MOST_FACTS = 1 << 12  # bytes of what an Asset knows that SPZ has no place for, as JSON


def recognizes(path: Path, head: bytes) -> bool:
    """SPZ of any version, packed or not; never raises."""
    return is_spz(head)


def count(path: Path) -> int:
    """How many Gaussians the header promises; of Spark's levels of detail, how many `read` keeps.

    Raises InputError as `read` does for what the header shows.
    """
    with opened_blocks(path) as blocks:
        if not blocks.header.tree:
            return blocks.header.count
        for width in blocks.header.widths:
            for rows in _pieces(blocks.header.count):
                blocks.take(rows, width)
        return len(_leaves(blocks))


def read(path: Path, raw: bool = False) -> Asset:
    """The splat of an SPZ file, decoded piece by piece as it is unpacked.

    A record of another frame is followed, other programs' records are passed over; of Spark's levels of detail the
    finest is kept. Raises InputError when the file is missing or damaged.
    """
    with one_torch_thread(), opened_blocks(path) as blocks:
        header = blocks.header
        gaussians, notes = _decoded(blocks), []
        if header.tree:
            gaussians = gaussians[_leaves(blocks)]
            notes.append(
                f"of its {header.count:,} Gaussians at levels of detail the finest, {len(gaussians):,}, are read"
            )
        records = blocks.finish()
        source = _frame(path, records)
        target = source if raw else CANONICAL
        _turn(gaussians, source, target)
    known = known_from(_facts(records), source, target)
    return Asset(gaussians, target, antialiased=header.antialiased, notes=tuple(notes), **known)


def write(path: Path, asset: Asset, options: WriteOptions) -> None:
    """Write version 2, 3 or 4, whole or not at all.

    Positions are kept in coarser steps than 1/4096 when some are too far from zero for those; colors, scales and
    harmonics that do not fit are clamped, each with a warning. Raises InputError when positions are too far for
    any step, OSError when the file cannot be written.
    """
    warn_lost(path, asset, NAME, _MOST_DEGREE, keeps=("antialiased", "kernel", "meters_per_unit", "origin", "up"))
    axes = asset.axes if options.raw else _FRAME
    degree = min(asset.gaussians.degree, _MOST_DEGREE)
    fraction = _fractional_bits(path, asset.gaussians.means)
    header = Header(options.spz_version, len(asset), degree, fraction, antialiased=bool(asset.antialiased))
    with one_torch_thread():  # its threads would wait for each other after every small step
        blocks, clamped = _encoded(asset, axes, header, options.spz_sh_bits)
    with replacing(path) as file:
        write_blocks(file, header, blocks, _records(path, asset, axes))
    for what, rows in clamped.items():
        warn_clamped(path, what, rows, len(asset))


def _decoded(blocks: Blocks) -> Gaussians:
    """All blocks, in their order in the file."""
    header = blocks.header
    decoders: list[Callable[[NDArray[np.uint8]], Tensor]] = [
        partial(numbers.decode_positions, fractional_bits=header.fractional_bits),
        partial(numbers.decode_opacities, doubled=header.tree),
        numbers.decode_colors,
        numbers.decode_scales,
        numbers.decode_rotations,
        numbers.decode_harmonics,
    ]
    fields = [_field(blocks, width, decode) for width, decode in zip(header.widths, decoders, strict=True)]
    means, logit_opacities, sh0, log_scales, quats, shN = fields
    return Gaussians(means, quats, log_scales, logit_opacities, sh0, shN)


def _field(blocks: Blocks, width: int, decode: Callable[[NDArray[np.uint8]], Tensor]) -> Tensor:
    """The next block's numbers: memory is taken for them once, and filled no faster than the file gives bytes."""
    count = blocks.header.count
    first = decode(blocks.take(min(_CHUNK, count), width))
    whole = first.new_empty(count, *first.shape[1:])
    whole[: len(first)] = first
    for start in range(_CHUNK, count, _CHUNK):
        rows = min(_CHUNK, count - start)
        whole[start : start + rows] = decode(blocks.take(rows, width))
    return whole


def _turn(gaussians: Gaussians, source: str, target: str) -> None:
    """Bring the numbers themselves into another frame: large splats are not held twice."""
    for start in range(0, len(gaussians), _CHUNK):
        part = gaussians[start : start + _CHUNK]
        for kept, turned in zip(part, reframe(part, source, target), strict=True):
            if turned is not kept:
                kept.copy_(turned)


def _frame(path: Path, records: dict[int, bytes]) -> str:
    """That of Adobe's record, RUB without one."""
    if _AXES not in records:
        return _FRAME
    number = int.from_bytes(records[_AXES][:4], "little")
    if not 0 <= number <= len(_FRAMES):
        raise InputError(f"{path}: its coordinate system must be one of 1 to {len(_FRAMES)}; got {number}")
    return _FRAMES[number - 1] if number else _FRAME  # 0: unspecified


def _facts(records: dict[int, bytes]) -> Any:
    try:
        return json.loads(records.get(FACTS, b"")[:_MOST_FACTS])
    except (ValueError, RecursionError):  # none, or damaged: the splat is there without
        return None


def _leaves(blocks: Blocks) -> Tensor:
    """Rows of a tree of Spark's that have no children: numbers of children follow the blocks, then the first ones."""
    children = [blocks.take(rows, 2).view("<u2")[:, 0] == 0 for rows in _pieces(blocks.header.count)]
    for rows in _pieces(blocks.header.count):
        blocks.take(rows, 4)
    return torch.from_numpy(np.concatenate([np.zeros(0, dtype=bool), *children])).nonzero()[:, 0]


def _pieces(count: int) -> list[int]:
    return [min(_CHUNK, count - start) for start in range(0, count, _CHUNK)]


def _fractional_bits(path: Path, means: Tensor) -> int:
    """12, or as many as 24 bits leave for the farthest mean; most programs would wrap it to the other side."""
    if not len(means):
        return _FRACTION
    farthest = max(abs(float(value)) for value in means.detach().aminmax())
    for fraction in range(_FRACTION, -1, -1):
        if round(farthest * 2**fraction) <= numbers.MOST_FIXED:
            break
    else:
        told = f"all positions within {numbers.MOST_FIXED:,} units of zero; one is {farthest:,.0f} away"
        raise InputError(f"cannot write {path}: {NAME} wants {told}; move the splat nearer or make it smaller")
    if fraction < _FRACTION:
        told = f"positions reach {farthest:,.0f} units from zero and are kept in steps of 1/{2**fraction:,} unit"
        warnings.warn(
            f"{path}: {told}, not 1/{2**_FRACTION:,}; crop what lies so far out", SfumatoWarning, stacklevel=3
        )
    return fraction


def _encoded(asset: Asset, axes: str, header: Header, bits: int) -> tuple[list[NDArray[np.uint8]], dict[str, int]]:
    """All blocks, and how many Gaussians have what clamped."""
    blocks = [np.empty((len(asset), width), dtype=np.uint8) for width in header.widths]
    clamped = dict.fromkeys(["colors", "scales", "harmonics"], torch.tensor(0))
    start = 0
    for part in asset.chunks(axes, _CHUNK):
        part = part.to(torch.float32)
        rows = slice(start, start := start + len(part))
        blocks[0][rows] = numbers.encode_positions(part.means, header.fractional_bits)
        blocks[1][rows] = numbers.encode_opacities(part.logit_opacities)
        blocks[2][rows], colors = numbers.encode_colors(part.sh0)
        blocks[3][rows], scales = numbers.encode_scales(part.log_scales)
        blocks[4][rows] = numbers.encode_rotations(part.quats, header.version)
        kept = header.widths[-1] // 3
        blocks[5][rows], harmonics = numbers.encode_harmonics(part.shN[:, :kept], bits)
        for what, beyond in (("colors", colors), ("scales", scales), ("harmonics", harmonics)):
            clamped[what] = clamped[what] + beyond.sum()
    words = {
        "colors": "colors beyond what SPZ holds",
        "scales": "standard deviations below 0.000045 or above 387 units",
        "harmonics": "harmonics beyond -1 or 1",
    }
    return blocks, {words[what]: int(rows) for what, rows in clamped.items()}


def _records(path: Path, asset: Asset, axes: str) -> dict[int, bytes]:
    """What SPZ's header cannot say: the frame where it is not RUB, and what else is known of the splat."""
    records = {}
    if axes in _FRAMES and axes != _FRAME:
        records[_AXES] = (_FRAMES.index(axes) + 1).to_bytes(4, "little")
    if axes not in _FRAMES:
        told = f"{NAME} has no name for the frame {axes} of the raw numbers; readers will take it for {_FRAME}"
        warnings.warn(f"{path}: {told}", SfumatoWarning, stacklevel=3)
    facts = {name: value for name, value in facts_of(asset, axes).items() if name != "antialiased"}
    if facts:
        records[FACTS] = json.dumps(facts, separators=(",", ":")).encode("ascii")
    return records
