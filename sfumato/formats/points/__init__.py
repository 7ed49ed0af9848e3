"""Point clouds (.ply without Gaussians, .las, .laz) to the Gaussians that training starts from; centers to points."""

import io
from pathlib import Path

import torch

from sfumato.core import sh as harmonics
from sfumato.core.asset import Asset
from sfumato.core.axes import CANONICAL
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.initialize import initialize
from sfumato.core.ply_table import parse_header, read_header
from sfumato.core.point_cloud import is_cloud, read_point_cloud, write_point_cloud
from sfumato.core.scene import Points
from sfumato.formats.facts import turned
from sfumato.formats.limits import opened
from sfumato.formats.losses import warn_clamped, warn_lost
from sfumato.formats.options import WriteOptions
from sfumato.formats.parts import origin_of
from sfumato.formats.points.las import MAGIC, count_las, read_las, write_las

__all__ = ["EXACT", "NAME", "SUFFIXES", "count", "read", "recognizes", "write"]

NAME = "point cloud"
SUFFIXES: tuple[str, ...] = (".points.ply", ".las", ".laz")
EXACT = False
UP = (0.0, 0.0, 1.0)  # of LAS
KEEPS = {"origin", "antialiased", "kernel", "color_space"}  # all but the first mean nothing for points


def recognizes(path: Path, head: bytes) -> bool:
    """LAS, and PLY whose vertices are places without anything that makes Gaussians of them."""
    if head[:4] == MAGIC:
        return True
    try:
        return is_cloud(parse_header(path, io.BytesIO(head)))
    except InputError:
        return False


def read(path: Path, raw: bool = False) -> Asset:
    """A round Gaussian at each point, as large as the gap to its neighbours, of degree 0; a note says so.

    The frame is that of the points, whatever it is: LAS has its z up. Points far from zero get an origin in whole
    numbers. Raises InputError when the file is missing or damaged.
    """
    is_las = _is_las(path)
    points = read_las(path) if is_las else read_point_cloud(path)
    notes = [_note(path, len(points), is_las)]
    if (lost := count(path) - len(points)) > 0:
        notes.append(f"{lost:,} points that are nowhere (not finite) are left out")
    points, origin = _centered(points)
    gaussians = initialize(points, sh_degree=0) if len(points) else Gaussians.empty(0)
    return Asset(gaussians, origin=origin, up=UP if is_las else None, notes=tuple(notes))


def count(path: Path) -> int:
    """How many points the header promises. Raises InputError as `read` does for what the header shows."""
    return count_las(path) if _is_las(path) else read_header(path)["vertex"].count


def write(path: Path, asset: Asset, options: WriteOptions) -> None:
    """Write the centers and the colors as seen from everywhere, in the source's coordinates.

    Warns (SfumatoWarning) of colors that are clamped, and of what the splat knows and points cannot say: a .las has
    its z up, whatever that of the splat is. The file appears whole or not at all. Raises OSError when it cannot be
    written.
    """
    axes = asset.axes if options.raw else CANONICAL
    origin = torch.tensor(turned(asset.origin, asset.axes, axes), dtype=torch.float64)
    is_las = not path.name.lower().endswith(".ply")
    xyz = torch.empty(len(asset), 3, dtype=torch.float64 if is_las or origin.any() else torch.float32)
    rgb, start, clamped = torch.empty(len(asset), 3, dtype=torch.uint8), 0, 0
    for part in asset.chunks(axes):
        rows, colors = slice(start, start + len(part)), harmonics.rgb_from_sh0(part.sh0[:, 0])
        xyz[rows] = part.means.to(xyz) + origin.to(xyz)
        rgb[rows] = (colors.clamp(0, 1) * 255).round().byte()
        clamped += int(((colors < -1e-3) | (colors > 1.001)).any(dim=1).sum())
        start = rows.stop
    warn_clamped(path, "colors beyond black or white", clamped, len(asset))
    is_up = is_las and asset.up is not None and turned(asset.up, asset.axes, axes) == UP
    warn_lost(path, asset, "a point cloud", harmonics.MAX_DEGREE, KEEPS | ({"up"} if is_up else set()))
    (write_las if is_las else write_point_cloud)(path, Points(xyz, rgb))


def _is_las(path: Path) -> bool:
    with opened(path), path.open("rb") as file:
        return file.read(4) == MAGIC


def _note(path: Path, N: int, is_las: bool) -> str:
    is_mesh = not is_las and _has_faces(path)
    what = (
        f"is a mesh, not a splat: its {N:,} vertices" if is_mesh else f"is a point cloud, not a splat: its {N:,} points"
    )
    refine = f"with photos, `sfumato train PHOTOS --init {path.name}` trains from them"
    return f"it {what} each became a round Gaussian, as training starts from; {refine}"


def _has_faces(path: Path) -> bool:
    header = read_header(path)
    return "face" in header and header["face"].count > 0


def _centered(points: Points) -> tuple[Points, tuple[float, float, float]]:
    """The points about zero where they are far from it, and the source's coordinates of that zero."""
    origin = origin_of(points.xyz.numpy())
    if not any(origin):
        return points, origin
    return Points(points.xyz - torch.tensor(origin, dtype=torch.float64), points.rgb), origin
