"""Splats to files and back: one module per format, found by what a file begins with, written by its suffix.

A format is a module with what `Format` says, and one entry in FORMATS.
"""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from sfumato.core.asset import Asset
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.gaussians import Gaussians
from sfumato.core.threads import one_torch_thread
from sfumato.formats import compressed_ply, gltf, ksplat, npz, ply, points, sog, splat, spz, usd
from sfumato.formats.limits import opened
from sfumato.formats.options import WriteOptions

__all__ = ["FORMATS", "Format", "WriteOptions", "check_suffix", "count", "format_of", "read", "read_asset", "write"]

HEAD = 1 << 18  # bytes that a format is recognized by: a PLY's comments may take most of them


class Format(Protocol):
    """What a format's module offers."""

    NAME: str  # as people call it
    SUFFIXES: tuple[str, ...]  # lower case, with their dots; the first is the usual one
    EXACT: bool  # keeps every number as it is, also those that are not finite

    def recognizes(self, path: Path, head: bytes) -> bool:
        """Whether this is such a file, by its first HEAD bytes (of a folder: none); never raises."""

    def read(self, path: Path, raw: bool) -> Asset:
        """The splat, in the canonical frame or, raw, in the file's; InputError when it cannot be read."""

    def count(self, path: Path) -> int:
        """How many Gaussians the file says it holds, without reading them; InputError as far as that shows damage."""

    def write(self, path: Path, asset: Asset, options: WriteOptions) -> None:
        """Write the file whole or not at all, in the frame its readers expect; OSError when it cannot be written."""


# Whose head looks like another's comes first.
FORMATS: tuple[Format, ...] = (compressed_ply, points, ply, sog, gltf, usd, spz, npz, ksplat, splat)


def read(path: Path | str) -> Gaussians:
    """Read the Gaussians of a file or folder of any known format, in the canonical frame; see `read_asset`.

    Parameters
    ----------
    path : Path or str
        The file, or the folder of a format that has one; its format is found by its content.

    Returns
    -------
    Gaussians
        Every row of the file, in its order.

    Raises
    ------
    InputError
        When it is missing, damaged, or of no known format.
    """
    return read_asset(path).gaussians


def read_asset(path: Path | str, raw: bool = False) -> Asset:
    """Read a splat of any known format, with what its file says about it.

    Parameters
    ----------
    path : Path or str
        The file, or the folder of a format that has one; its format is found by its content.
    raw : bool
        Leave the numbers in the file's frame; else they come in the one that PLY has by custom
        (`core.axes.CANONICAL`).

    Returns
    -------
    Asset
        With every row of the file, also those whose numbers are not finite.

    Raises
    ------
    InputError
        When it is missing, damaged, or of no known format.

    Examples
    --------
    >>> asset = sfumato.read_asset("splat.ply")
    >>> asset.format, len(asset), asset.gaussians.degree
    ('PLY', 20, 1)
    """
    path = Path(path)
    known = format_of(path)
    with one_torch_thread():  # what little several would gain they lose, fivefold, on a busy machine
        return replace(known.read(path, raw), format=known.NAME)


def count(path: Path | str) -> int:
    """Read how many Gaussians a file says it holds, at the cost of its first bytes.

    Parameters
    ----------
    path : Path or str
        As for `read`.

    Returns
    -------
    int
        Rows.

    Raises
    ------
    InputError
        As `read`, for what can be seen without reading them: no splat, or fewer bytes than promised.
    """
    path = Path(path)
    return format_of(path).count(path)


def write(path: Path | str, splat: Gaussians | Asset, options: WriteOptions | None = None) -> None:
    """Write a splat in the format of the path's suffix; the file appears whole or not at all.

    Parameters
    ----------
    path : Path or str
        What exists there is replaced.
    splat : Gaussians or Asset
        Gaussians are taken to be in the canonical frame, and not told to be anything else.
    options : WriteOptions, optional
        Where a format has a choice.

    Raises
    ------
    InputError
        When no format has the suffix, or the splat does not fit into it.
    OSError
        When the place cannot be written.

    Warns
    -----
    SfumatoWarning
        When the format has no room for something. Gaussians whose numbers are not finite are left out where a format
        cannot hold them.

    Examples
    --------
    >>> sfumato.write("small.spz", gaussians, sfumato.WriteOptions(spz_version=4))
    >>> len(sfumato.read("small.spz"))
    20
    """
    path = Path(path)
    known = check_suffix(path)
    asset = splat if isinstance(splat, Asset) else Asset(splat)
    if not known.EXACT:
        asset = _finite(path, asset, known.NAME)
    with one_torch_thread():  # as for reading
        known.write(path, asset, options or WriteOptions())


def format_of(path: Path) -> Format:
    """The format of a file or folder that is there, by its content. Raises InputError when it is of none."""
    head, is_folder = _head(path)
    for known in FORMATS:
        if known.recognizes(path, head):
            return known
    if is_folder:
        raise InputError(f"{path} is a folder; give the splat's file, such as {path / 'splat.ply'}")
    if not head:
        raise InputError(f"{path} is empty; export or download it again")
    names = ", ".join(known.NAME for known in FORMATS)
    meant = [known.NAME for known in FORMATS if path.name.lower().endswith(known.SUFFIXES)]
    what = f"is no {meant[0]} file" if meant else "is no splat"
    raise InputError(f"{path} {what}, by what it begins with (known: {names}); export or download it again")


def _head(path: Path) -> tuple[bytes, bool]:
    """The first HEAD bytes of a file, or none of a folder, and whether it is one."""
    with opened(path):
        if path.is_dir():
            return b"", True
        if path.exists() and not path.is_file():  # opening a pipe would wait for somebody to write into it
            raise InputError(f"{path} is a device or a pipe, which cannot be read more than once; save it to a file")
        with path.open("rb") as file:
            return file.read(HEAD), False


def check_suffix(path: Path) -> Format:
    """The format that is written for the path's suffix. Raises InputError when there is none."""
    endings = [(suffix, known) for known in FORMATS for suffix in known.SUFFIXES if path.name.lower().endswith(suffix)]
    if endings:
        return max(endings, key=lambda ending: len(ending[0]))[1]
    suffixes = " ".join(suffix for known in FORMATS for suffix in known.SUFFIXES)
    raise InputError(f"cannot write {path}: no format for {path.suffix or 'a file without suffix'} (known: {suffixes})")


def _finite(path: Path, asset: Asset, name: str) -> Asset:
    with one_torch_thread():  # as for reading
        finite = asset.gaussians.finite
    bad = len(asset) - int(finite.sum())
    if not bad:
        return asset
    told = f"{bad:,} of {len(asset):,} Gaussians have numbers that are not finite, which {name} cannot hold"
    warnings.warn(f"{path}: {told}; they are left out", SfumatoWarning, stacklevel=3)
    return replace(asset, gaussians=asset.gaussians[finite.nonzero()[:, 0]])
