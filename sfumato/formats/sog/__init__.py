"""SOG of PlayCanvas, versions 1 and 2, as a bundle, a folder or with levels of detail: lossless images of 8 bits."""

import zipfile
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL
from sfumato.core.errors import InputError
from sfumato.core.files import replacing
from sfumato.core.gaussians import Gaussians
from sfumato.formats.facts import known_from
from sfumato.formats.limits import check_memory
from sfumato.formats.losses import warn_lost
from sfumato.formats.options import WriteOptions
from sfumato.formats.parts import gathered
from sfumato.formats.sog.decode import decode_images, degree_of, read_images
from sfumato.formats.sog.encode import encode_asset
from sfumato.formats.sog.files import META, MOST_META, ZIP, Files, open_files
from sfumato.formats.sog.images import MOST_ROWS
from sfumato.formats.sog.lod import Streamed, is_lod, understand_lod
from sfumato.formats.sog.meta import Json, Meta, is_sog, parse, understand

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "write"]

NAME = "SOG"
SUFFIXES: tuple[str, ...] = (".sog",)
EXACT = False
MOST_DEGREE = 3  # of the harmonics
BOM = b"\xef\xbb\xbf"  # which some editors put before JSON
LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip archive: files do not differ by the time of writing


def recognizes(path: Path, head: bytes) -> bool:
    """A folder or a zip archive with a SOG's meta.json or lod-meta.json, or such a file itself, by its keys."""
    if not path.is_dir() and head[:4] != ZIP and head.removeprefix(BOM).lstrip()[:1] != b"{":
        return False
    try:
        with open_files(path) as files:
            meta = _parsed(files)
        return is_sog(meta) or is_lod(meta)
    except InputError:
        return _begins_with_image(head)


def read(path: Path, raw: bool = False) -> Asset:
    """The splat, float32, in the order of the file; its frame is that of PLY, whatever the specification says.

    Of a streamed SOG, the finest level of each place, and the environment. Raises InputError when files are missing,
    damaged, or of a version that is not known.
    """
    with open_files(path) as files:
        meta = _parsed(files)
        if is_lod(meta):
            return _read_streamed(files, understand_lod(meta))
        said = understand(meta)
        return _asset_of(said, decode_images(read_images(files, said), said))


def count(path: Path) -> int:
    """How many Gaussians the JSON files promise, of a streamed SOG those that `read` gives. Raises InputError."""
    with open_files(path) as files:
        meta = _parsed(files)
        if not is_lod(meta):
            return understand(meta).count
        streamed = understand_lod(meta)
        around = _understood(files.inner(streamed.environment)).count if streamed.environment else 0
        return around + sum(run.count for run in streamed.runs)


def write(path: Path, asset: Asset, options: WriteOptions) -> None:
    """Write version 2 as a bundle, in Morton order, harmonics by a palette of 65536 entries at most.

    Of the harmonics, degrees up to 3 have room: SfumatoWarning says when more are cut. The file appears whole or not
    at all, with the same bytes for the same splat. Raises InputError when there are more Gaussians than an image has
    pixels, OSError when it cannot be written.
    """
    if len(asset) > MOST_ROWS:
        told = f"{NAME} holds {MOST_ROWS:,} Gaussians at most, and there are {len(asset):,}"
        raise InputError(f"cannot write {path}: {told}; write a .ply, or fewer")
    warn_lost(path, asset, NAME, MOST_DEGREE, keeps=[field.name for field in fields(Asset)])
    gaussians = asset.gaussians
    if gaussians.degree > MOST_DEGREE:
        asset = replace(asset, gaussians=gaussians.with_degree(MOST_DEGREE))
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, data in encode_asset(asset, asset.axes if options.raw else CANONICAL):
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), data)


def _parsed(files: Files) -> Json:
    return parse(files.path, files.read(files.meta, MOST_META))


def _understood(files: Files) -> Meta:
    return understand(_parsed(files))


def _read_streamed(files: Files, streamed: Streamed) -> Asset:
    """The runs of each file in turn, one file decoded at a time."""
    names = list(dict.fromkeys(run.file for run in streamed.runs))
    inner = {name: files.inner(name) for name in [*names, *([streamed.environment] if streamed.environment else [])]}
    metas = {name: _understood(place) for name, place in inner.items()}
    for run in streamed.runs:
        if run.start + run.count > metas[run.file].count:
            raise InputError(
                f"{files.path} is damaged: it promises {run.start + run.count} Gaussians in {run.file}, "
                f"which has {metas[run.file].count}; export it again"
            )

    packed = {name: read_images(place, metas[name]) for name, place in inner.items()}
    degree = max((degree_of(meta) for meta in metas.values()), default=0)
    total = sum(run.count for run in streamed.runs)
    total += metas[streamed.environment].count if streamed.environment else 0
    check_memory(files.path, total, degree, sum(images.size for images in packed.values()))

    def parts() -> Iterator[Gaussians]:
        for name in inner:
            whole = decode_images(packed.pop(name), metas[name])
            for run in (run for run in streamed.runs if run.file == name):
                yield whole[run.start : run.start + run.count].with_degree(degree)
            if name == streamed.environment:
                yield whole.with_degree(degree)

    first = next(iter(metas.values()), None)
    gaussians = gathered(total, degree, parts())
    asset = _asset_of(first, gaussians) if first else Asset(gaussians)
    note = f"{files.path} has {streamed.levels} levels of detail, of which the finest was read"
    return replace(asset, notes=(note,))


def _asset_of(meta: Meta, gaussians: Gaussians) -> Asset:
    """The Gaussians with what the meta.json says of them."""
    known: dict[str, Any] = {"kernel": "disc"} if meta.model == "2dgs" else {}
    known |= {"antialiased": True} if meta.model == "antialiased" else {}
    known |= known_from(meta.own, CANONICAL, CANONICAL)
    linear = isinstance(meta.own, dict) and meta.own.get("colorSpace") == "linear"
    return Asset(gaussians, color_space="linear" if linear else "srgb", generator=meta.generator, **known)


def _begins_with_image(head: bytes) -> bool:
    """Of a bundle that is cut off, the name of the first file is left."""
    name = head[30 : 30 + int.from_bytes(head[26:28], "little")]
    return head[:4] == ZIP and name.endswith((b".webp", META.encode()))
