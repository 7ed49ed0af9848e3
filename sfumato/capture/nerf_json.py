"""transforms.json of instant-ngp, nerfstudio and Blender synthetic scenes, to shots."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.capture.colmap import report_missing
from sfumato.capture.photos import PhotoIndex, map_photos, read_header
from sfumato.capture.shot import Capture, Lens, Shot
from sfumato.core.errors import InputError
from sfumato.core.progress import Progress, silent
from sfumato.core.scene import Points

__all__ = ["find_transforms", "random_points", "read_transforms"]

RANDOM_POINTS = 20_000  # where a dataset has none: enough for density control to start from
_SYNTHETIC_CUBE = 1.3  # half its side: what holds the Blender scenes of Mildenhall et al. 2020
_OPENCV_FROM_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])  # their cameras look along -z with y up
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")  # also the order of nerfstudio's distortion_params
_Split = Literal["train", "test"] | None


def find_transforms(source: Path) -> list[Path]:
    """The transforms files of a dataset: one, or those of its splits; none when there are none."""
    if (source / "transforms.json").is_file():
        return [source / "transforms.json"]
    splits = [source / f"transforms_{split}.json" for split in ("train", "test", "val")]
    return [path for path in splits if path.is_file()]


def read_transforms(files: Sequence[Path], progress: Progress = silent) -> Capture:
    """The shots of transforms files, as `find_transforms` returns them; the official split is kept.

    Photos that are missing are left out with one warning; intrinsics follow the size of the real photos.
    Raises InputError when a file is damaged, or most of the photos are missing.
    """
    files = [path for path in files if path.stem != "transforms_val" or len(files) < 3]  # test views, when there are
    frames = [(path, top, frame) for path in files for top in [_load(path)] for frame in _frames(path, top)]
    folder = files[0].parent
    index = PhotoIndex([folder, folder / "images", *(path.parent for path in files)])
    found, missing = [], []
    for path, top, frame in frames:
        name = str(frame.get("file_path", ""))
        photo = index.find(name)
        if photo is None:
            missing.append(name)
        else:
            found.append((path, top, frame, photo))
    report_missing(missing, len(frames), files[0], index)
    headers = map_photos(lambda item: read_header(item[3]), found, "looking at photos", progress)
    shots = []
    for (path, top, frame, photo), header in zip(found, headers, strict=True):
        lens = _lens(path, {**top, **frame}, header.width, header.height)
        name = photo.relative_to(folder).as_posix() if folder in photo.parents else photo.name
        shots.append(Shot(name, photo, lens, _viewmat(path, frame), _split(path, top, frame)))
    is_synthetic = files[0].stem != "transforms" and any(header.has_alpha for header in headers)
    protocol: dict[str, object] = {"registered": len(frames), "missing_files": len(missing)}
    reader = "blender" if files[0].stem != "transforms" else "transforms.json"
    return Capture(reader, shots, None, protocol, is_synthetic)


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


def _load(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} is not readable JSON ({error}); export it again") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold an object with frames; got {type(content).__name__}")
    return content


def _frames(path: Path, top: dict[str, Any]) -> list[dict[str, Any]]:
    frames = top.get("frames")
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise InputError(f"{path} must hold a list of frames, each with file_path and transform_matrix")
    return frames


def _viewmat(path: Path, frame: dict[str, Any]) -> NDArray[np.float64]:
    """(4, 4) camera <- world, OpenCV axes, of a frame's world <- camera with OpenGL axes."""
    named = f"{path}: transform_matrix of {frame.get('file_path')}"
    try:
        rows = np.array(frame["transform_matrix"], dtype=np.float64)
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{named} is missing or not numbers") from None
    if rows.shape not in ((3, 4), (4, 4)) or not np.isfinite(rows).all():
        raise InputError(f"{named} must be 4 x 4 finite numbers; got {rows.shape}")
    c2w = np.vstack([rows[:3], [0, 0, 0, 1]]) @ _OPENCV_FROM_OPENGL
    lengths = np.linalg.norm(c2w[:3, :3], axis=0)
    if lengths.min() < 1e-6 or np.linalg.det(c2w[:3, :3]) < 0:
        raise InputError(f"{named} must be a rotation and a position; its determinant is not positive")
    u, _, v = np.linalg.svd(c2w[:3, :3])  # the nearest rotation: the numbers are often rounded, or scaled
    c2w[:3, :3] = u @ v
    return np.linalg.inv(c2w)


def _split(path: Path, top: dict[str, Any], frame: dict[str, Any]) -> _Split:
    """The official split: a file per split, or nerfstudio's lists of names."""
    if path.stem != "transforms":
        return "train" if path.stem == "transforms_train" else "test"
    held_out = top.get("test_filenames") or top.get("val_filenames")
    if not held_out:
        return None
    return "test" if frame.get("file_path") in held_out else "train"


def _lens(path: Path, values: dict[str, Any], width: int, height: int) -> Lens:
    """The lens of a frame whose photo has `width` x `height` pixels; `values` are the frame's over the file's."""
    named = f"{path}: {values.get('file_path')}"
    w, h = _number(named, values, "w", width), _number(named, values, "h", height)
    fx, fy = _focal(named, values, "x", w), _focal(named, values, "y", h)
    if fx is None and fy is None:
        raise InputError(f"{named} has no focal length: give fl_x or camera_angle_x")
    fx, fy = fx or fy, fy or fx
    center = (_number(named, values, "cx", w / 2), _number(named, values, "cy", h / 2))
    model, tail = _distortion(named, values)
    lens = Lens(model, tuple(float(value) for value in (fx, fy, *center, *tail) if value is not None), int(w), int(h))
    if lens.focals[0] <= 0 or lens.focals[1] <= 0:
        raise InputError(f"{named} must have a focal length above 0; got {lens.focals}")
    return lens


def _distortion(named: str, values: dict[str, Any]) -> tuple[str, tuple[float, ...]]:
    """COLMAP's model for a frame's distortion, and the parameters behind the principal point."""
    listed = values.get("distortion_params")
    if isinstance(listed, list):
        values = {**values, **dict(zip(_DISTORTION, listed, strict=False))}
    k1, k2, k3, k4, p1, p2 = (_number(named, values, name, 0.0) for name in _DISTORTION)
    kind = str(values.get("camera_model", "OPENCV")).upper()
    if kind in ("EQUIRECTANGULAR", "ORTHOPHOTO") or values.get("is_equirectangular"):
        raise InputError(f"{named} is {kind.lower()}, which cannot be read yet; cut it into perspective views")
    if "FISHEYE" in kind or values.get("is_fisheye"):
        return "OPENCV_FISHEYE", (k1, k2, k3, k4)
    if k3 or k4:  # COLMAP's polynomial is a quotient: with k5 and k6 zero it divides by 1 + k4 r^2
        if k4:
            raise InputError(f"{named} has k4={k4}, which a perspective camera cannot have here; undistort it first")
        return "FULL_OPENCV", (k1, k2, p1, p2, k3, 0.0, 0.0, 0.0)
    return ("OPENCV", (k1, k2, p1, p2)) if k1 or k2 or p1 or p2 else ("PINHOLE", ())


def _focal(named: str, values: dict[str, Any], axis: str, size: float) -> float | None:
    """Focal length in pixels along an axis, of a focal length or a field of view."""
    if values.get(f"fl_{axis}") is not None:
        return _number(named, values, f"fl_{axis}", 0.0)
    if values.get(f"{axis}_fov") is not None:  # degrees
        return 0.5 * size / math.tan(math.radians(_number(named, values, f"{axis}_fov", 0.0)) / 2)
    if values.get(f"camera_angle_{axis}") is not None:  # radians
        return 0.5 * size / math.tan(_number(named, values, f"camera_angle_{axis}", 0.0) / 2)
    return None


def _number(named: str, values: dict[str, Any], key: str, default: float) -> float:
    value = values.get(key, default)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{named}: {key} must be a finite number; got {value!r}")
    return float(value)
