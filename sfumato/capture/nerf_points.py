"""The points that belong to a transforms.json: a PLY file it names, or those of the COLMAP model beside it."""

import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from sfumato.capture.colmap import find_model
from sfumato.capture.colmap_model import read_model
from sfumato.capture.datasets.common import file_named
from sfumato.capture.shot import Shot, points_from_arrays
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.point_cloud import read_point_cloud
from sfumato.core.scene import Points

__all__ = ["Similarity", "file_beside", "find_points", "fit_similarity"]

_SAME_PLACE = 0.02  # of the cameras' spread: farther apart, on average, they are not of one solution
_SAME_TURN = 1.0  # degrees
_FEWEST = 3  # cameras in common


@dataclass(frozen=True)
class Similarity:
    """x to scale * rotation x + shift."""

    scale: float
    rotation: NDArray[np.float64]  # (3, 3)
    shift: NDArray[np.float64]  # (3,)

    def apply(self, xyz: NDArray[np.float64]) -> NDArray[np.float64]:
        """(M, 3) points to where they are after it."""
        moved: NDArray[np.float64] = self.scale * xyz @ self.rotation.T + self.shift
        return moved


def find_points(folder: Path, named: object, shots: Sequence[Shot]) -> tuple[Points, str] | None:
    """Points in the world of `shots`, and where they are from; None when there are none.

    named: ply_file_path of the transforms.json in `folder`, whose points are in its world already. The COLMAP model
    beside it is in a world of its own, for converters turn and move the cameras (some say how, in applied_transform,
    others do not): the cameras that both have tell how the one lies in the other. Warns (SfumatoWarning) of points
    that cannot be used. Raises InputError when the PLY file is damaged.
    """
    if isinstance(named, str) and named:
        path = file_beside(folder, named)
        if path is not None:
            return read_point_cloud(path), path.name
        warnings.warn(f"{folder / named} is not there, so its points are not used", SfumatoWarning, stacklevel=3)
    try:
        model_folder = find_model(folder)
        model = None if model_folder is None else read_model(model_folder)
    except InputError as error:
        warnings.warn(f"the points beside the cameras are not used: {error}", SfumatoWarning, stacklevel=3)
        return None
    if model_folder is None or model is None or not len(model.xyz):
        return None
    theirs = _by_file((pose.name, pose.viewmat) for pose in model.poses)
    ours = _by_file((shot.path.as_posix(), shot.viewmat) for shot in shots)
    common = sorted(theirs.keys() & ours.keys())
    found = fit_similarity([theirs[name] for name in common], [ours[name] for name in common])
    if found is None:
        told = (
            f"the cameras of {model_folder} are not those of {folder / 'transforms.json'}, so its points are not used"
        )
        warnings.warn(told, SfumatoWarning, stacklevel=3)
        return None
    return points_from_arrays(found.apply(model.xyz), model.rgb), model_folder.relative_to(folder).as_posix()


def fit_similarity(before: Sequence[NDArray[np.float64]], after: Sequence[NDArray[np.float64]]) -> Similarity | None:
    """The similarity that takes the world of the cameras `before` to that of the same cameras `after`, or None.

    Both are (4, 4) camera <- world. The cameras' turns decide the rotation (the mean by SVD, Horn et al. 1988), so
    that positions may lie on a line. None when they disagree, or fewer than three cameras are given.
    """
    if len(before) < _FEWEST:
        return None
    a, b = np.stack(before), np.stack(after)
    u, _, v = np.linalg.svd(np.einsum("vji,vjk->ik", b[:, :3, :3], a[:, :3, :3]))
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v
    rest = np.einsum("vij,jk,vlk->vil", b[:, :3, :3], rotation, a[:, :3, :3])
    turns = np.degrees(np.arccos(((np.trace(rest, axis1=1, axis2=2) - 1) / 2).clip(-1, 1)))
    old, new = (-np.einsum("vji,vj->vi", poses[:, :3, :3], poses[:, :3, 3]) for poses in (a, b))
    turned = (old - old.mean(0)) @ rotation.T
    spread = float((turned**2).sum())
    if not spread > 0 or not np.median(turns) < _SAME_TURN:
        return None
    scale = float((turned * (new - new.mean(0))).sum()) / spread
    off = np.linalg.norm(scale * turned - (new - new.mean(0)), axis=1)
    if scale <= 0 or not np.median(off) < _SAME_PLACE * scale * np.sqrt(spread / len(a)):
        return None
    return Similarity(scale, rotation, new.mean(0) - scale * rotation @ old.mean(0))


def file_beside(folder: Path, name: str) -> Path | None:
    """A file in `folder` by its name, or by ever shorter ends of somebody else's path."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    try:
        paths = [folder / name, *(folder.joinpath(*parts[first:]) for first in range(1, len(parts)))]
        return next((found for path in paths if (found := file_named(path.parent, path.name))), None)
    except (OSError, ValueError):  # what no file can be called
        return None


def _by_file(poses: Iterable[tuple[str, NDArray[np.float64]]]) -> dict[str, NDArray[np.float64]]:
    """The poses by the photo's file name without extension; names that several photos have are left out."""
    named = [(PurePosixPath(name.replace("\\", "/")).stem.lower(), viewmat) for name, viewmat in poses]
    count = Counter(name for name, _ in named)
    return {name: viewmat for name, viewmat in named if count[name] == 1}
