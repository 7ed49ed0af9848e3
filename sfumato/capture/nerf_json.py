"""transforms.json of instant-ngp, nerfstudio and Blender synthetic scenes, to shots."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.capture.colmap import report_missing
from sfumato.capture.datasets.common import OPENCV_FROM_OPENGL, file_named, load_object, viewmat_of
from sfumato.capture.nerf_lens import lens_of
from sfumato.capture.nerf_points import file_beside, find_points
from sfumato.capture.photos import PhotoIndex, read_headers
from sfumato.capture.shot import LARGEST, Capture, Shot
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.progress import Progress, silent
from sfumato.core.scene import Points

__all__ = ["find_transforms", "random_points", "read_transforms"]

RANDOM_POINTS = 20_000  # where a dataset has none: enough for density control to start from
_SYNTHETIC_CUBE = 1.3  # half its side: what holds the Blender scenes of Mildenhall et al. 2020
_PHOTO_PLACES = (".", "images", "images_2", "images_4", "images_8")  # of large datasets often only the smaller ones
_Split = Literal["train", "test"] | None


def find_transforms(source: Path) -> list[Path]:
    """The transforms files of a dataset: one, or those of its splits; none when there are none."""
    if path := file_named(source, "transforms.json"):
        return [path]
    splits = (file_named(source, f"transforms_{split}.json") for split in ("train", "test", "val"))
    return [path for path in splits if path]


def read_transforms(files: Sequence[Path], progress: Progress = silent) -> Capture:
    """The shots of transforms files, as `find_transforms` returns them; the official split is kept.

    Photos that are missing are left out with one warning; intrinsics follow the size of the real photos. Masks are
    those of mask_path. Points are those of ply_file_path, else of a COLMAP model beside the file. Raises InputError
    when a file is damaged, a camera is impossible, or most of the photos are missing.
    """
    files = [
        path for path in files if path.stem.lower() != "transforms_val" or len(files) < 3
    ]  # test views, when there are
    tops = {path: load_object(path) for path in files}
    frames = [(path, frame) for path in files for frame in _frames(path, tops[path])]
    held_out = {path: _held_out(top) for path, top in tops.items()}
    folder = files[0].parent
    index = PhotoIndex([folder / place for place in _PHOTO_PLACES])
    paths = index.find_all([frame["file_path"] for _, frame in frames])
    photos = [paths.get(frame["file_path"]) for _, frame in frames]
    missing = [frame["file_path"] for (_, frame), photo in zip(frames, photos, strict=True) if photo is None]
    report_missing(missing, len(frames), files[0], index)
    found = [(*item, photo) for item, photo in zip(frames, photos, strict=True) if photo is not None]
    headers = read_headers([photo for _, _, photo in found], progress)
    found = [item for item in found if item[2] in headers]
    shots = []
    for path, frame, photo in found:
        header = headers[photo]
        named = f"{path}: {frame['file_path']}"
        lens = lens_of(named, {**tops[path], **frame}, header.width, header.height)
        name = photo.relative_to(folder).as_posix() if folder in photo.parents else photo.name
        viewmat = viewmat_of(f"{named}: transform_matrix", frame["transform_matrix"], OPENCV_FROM_OPENGL)
        shots.append(Shot(name, photo, lens, viewmat, _split(path, held_out[path], frame), _mask(folder, frame, photo)))
    _report_masks(files[0], [frame for _, frame, _ in found], shots)
    is_synthetic = files[0].stem.lower() != "transforms" and any(header.has_alpha for header in headers.values())
    protocol: dict[str, object] = {
        "registered": len(frames),
        "missing_files": len(missing),
        **_frame_of(tops[files[0]]),
    }
    points = find_points(folder, tops[files[0]].get("ply_file_path"), shots)
    if points is not None:
        protocol["points"] = points[1]
    reader = "blender" if files[0].stem.lower() != "transforms" else "transforms.json"
    return Capture(reader, shots, points and points[0], protocol, is_synthetic)


def random_points(capture: Capture, seed: int = 0) -> Points:
    """RANDOM_POINTS random points of random colors in the cube that the cameras look at.

    Synthetic scenes have a known cube around the origin. Otherwise its middle is the point nearest to all optical
    axes (least squares), and it reaches as far as the cameras stand from there, so that the background, too, gets
    points.
    """
    generator = torch.Generator().manual_seed(seed)
    middle, reach = np.zeros(3), _SYNTHETIC_CUBE
    if not capture.is_synthetic:
        middle, reach = _looked_at(np.stack([shot.viewmat for shot in capture.shots]))
    unit = torch.rand(RANDOM_POINTS, 3, generator=generator)
    rgb = torch.randint(0, 256, (RANDOM_POINTS, 3), generator=generator).to(torch.uint8)
    return Points((unit * 2 - 1) * reach + torch.from_numpy(middle).float(), rgb)


def _looked_at(viewmats: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The point nearest to the optical axes of (V, 4, 4) cameras, and the median distance of the cameras from it."""
    rotations = viewmats[:, :3, :3]
    positions = -np.einsum("vji,vj->vi", rotations, viewmats[:, :3, 3])
    axes = rotations[:, 2]
    spread = np.linalg.norm(positions - positions.mean(0), axis=1).max() or 1.0
    # a point ahead of the cameras, held weakly: it decides where parallel axes leave the distance open
    ahead = positions.mean(0) + 2 * spread * axes.mean(0)
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    weight = 1e-2 * len(viewmats)
    left = across.sum(0) + weight * np.eye(3)
    right = np.einsum("vij,vj->i", across, positions) + weight * ahead
    middle = np.linalg.solve(left, right)
    return middle, float(np.median(np.linalg.norm(positions - middle, axis=1))) or 1.0


def _frames(path: Path, top: Mapping[str, Any]) -> list[dict[str, Any]]:
    frames = top.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f"{path} must hold a list of frames, each with file_path and transform_matrix")
    for number, frame in enumerate(frames):
        if not isinstance(frame.get("file_path"), str) or not frame["file_path"]:
            raise InputError(f"{path}: frame {number} must name its photo; got file_path {frame.get('file_path')!r}")
        if "transform_matrix" not in frame:
            raise InputError(f"{path}: transform_matrix of {frame['file_path']} is missing; export it again")
    return frames


def _held_out(top: Mapping[str, Any]) -> set[PurePosixPath]:
    """The photos that nerfstudio's lists of names hold out: none without lists. "./a" is "a"."""
    names = top.get("test_filenames") or top.get("val_filenames")
    return {PurePosixPath(name) for name in names if isinstance(name, str)} if isinstance(names, list) else set()


def _split(path: Path, held_out: set[PurePosixPath], frame: Mapping[str, Any]) -> _Split:
    """The official split: a file per split, or nerfstudio's lists."""
    if path.stem.lower() != "transforms":
        return "train" if path.stem.lower() == "transforms_train" else "test"
    if not held_out:
        return None
    return "test" if PurePosixPath(frame["file_path"]) in held_out else "train"


def _mask(folder: Path, frame: Mapping[str, Any], photo: Path) -> Path | None:
    """The picture at mask_path, black where the photo does not count; never the photo itself."""
    name = frame.get("mask_path")
    path = file_beside(folder, name) if isinstance(name, str) and name else None
    return None if path == photo else path


def _report_masks(path: Path, frames: Sequence[Mapping[str, Any]], shots: Sequence[Shot]) -> None:
    """One warning for masks that are named, but not there."""
    missing = [
        str(frame["mask_path"])
        for frame, shot in zip(frames, shots, strict=True)
        if frame.get("mask_path") and shot.mask is None
    ]
    if missing:
        told = f"{path} names {len(missing)} masks that are not there (first: {missing[0][:100]})"
        warnings.warn(f"{told}; all pixels of their photos count", SfumatoWarning, stacklevel=3)


def _frame_of(top: Mapping[str, Any]) -> dict[str, object]:
    """How the cameras were moved from where structure from motion had them, as far as the file says."""
    try:
        rows = np.array(top.get("applied_transform"), dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        return {}
    if rows.shape not in ((3, 4), (4, 4)) or not np.isfinite(rows).all():
        return {}
    scale = top.get("applied_scale", 1.0)
    is_number = isinstance(scale, int | float) and not isinstance(scale, bool) and 0 < scale < LARGEST
    moved: dict[str, object] = {"frame": "structure from motion's, moved by applied_transform and applied_scale"}
    return moved | {"applied_transform": rows[:3].tolist(), "applied_scale": float(scale) if is_number else 1.0}
