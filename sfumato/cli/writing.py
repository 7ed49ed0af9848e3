"""The flags of every verb that writes a splat's file: what writers may be told, and what the file became, in words."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import OmitArgPrefixes

if TYPE_CHECKING:
    from sfumato.core.asset import Asset
    from sfumato.formats import WriteOptions

__all__ = ["Writing", "WritingFlags", "bytes_of", "describe", "said_bytes", "write_splat"]


@dataclass(frozen=True)
class Writing:
    """Each concerns the formats that it names."""

    # the fields of formats.WriteOptions once more, since importing that takes torch, and a second

    raw: bool = False
    """Keep the numbers as the file has them, as for one that comes out upside down; else they are turned to the frame
    that readers of the new format expect."""
    spz_version: Literal[2, 3, 4] = 3
    """Of .spz: 3 is read by most programs, 4 is smaller, 2 is for old engines."""
    spz_sh_bits: Literal[4, 5, 6, 7, 8] = 6
    """Of .spz, bits of each spherical harmonic: other programs take 4, smaller and visibly worse; 8 is truer."""
    ksplat_level: Literal[0, 1, 2] = 1
    """Of .ksplat: floats, 16 bits, or harmonics in 8 bits."""

    def options(self) -> "WriteOptions":
        """The same, as writers take them."""
        from sfumato.formats import WriteOptions

        return WriteOptions(**{field.name: getattr(self, field.name) for field in fields(self)})


WritingFlags = Annotated[Writing, OmitArgPrefixes]


def write_splat(path: Path, asset: "Asset", writing: Writing) -> str:
    """Write the file in the format of its suffix; returns what it is now, in words."""
    from sfumato import formats

    formats.write(path, asset, writing.options())
    size = bytes_of(path)
    return f"{formats.check_suffix(path).NAME}, {said_bytes(size)}, {size / max(1, len(asset)):.1f} bytes per Gaussian"


def describe(path: Path, asset: "Asset") -> str:
    """What was read, in words."""
    count = len(asset)
    return (
        f"{asset.format}, {count:,} Gaussian{'s' if count != 1 else ''}, degree {asset.gaussians.degree}, "
        f"{said_bytes(bytes_of(path))}"
    )


def bytes_of(path: Path) -> int:
    """Of a file, or of all files in a folder."""
    if path.is_dir():
        return sum(part.stat().st_size for part in path.rglob("*") if part.is_file())
    return path.stat().st_size


def said_bytes(size: int) -> str:
    """A size in words."""
    if size < 100_000:
        return f"{size:,} bytes"
    return f"{size / 1e6:.1f} MB" if size < 999.95e6 else f"{size / 1e9:.2f} GB"
