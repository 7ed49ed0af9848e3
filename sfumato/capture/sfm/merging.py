"""Models of parts of the photos, laid over one another by what they share, to one model of them all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato.capture.sfm.evidence import Evidence
from sfumato.capture.sfm.mapping import MapSettings, best_of, map_cameras, trusted
from sfumato.capture.sfm.site import SEED, Site
from sfumato.capture.sfm.watch import watched
from sfumato.capture.undistort import load_pycolmap

__all__ = ["merge"]

SHARED = 12  # points that two models without a common photo must both have
NEAR = 0.02  # of the distance from cameras to points: how exactly the shared points must fall on each other


def merge(site: Site, models: Sequence[Any], evidence: Evidence) -> Any:
    """The best single model of several: the others, as far as they share photos or points with it, are laid over it.

    Then all points are triangulated afresh from all matches, and mapping goes on from there, refining everything.
    """
    whole = best_of(models)
    parts = [model for model in models if model is not whole]
    if whole is None or not parts:
        return whole
    poses = {number: (whole.image(number), whole.image(number).cam_from_world()) for number in trusted(whole)}
    count = len(poses)
    for part in sorted(parts, key=lambda model: -model.num_reg_images()):
        laid = _lay_over(part, whole, evidence)
        if laid is not None:
            for number in trusted(laid):
                poses.setdefault(number, (laid.image(number), laid.image(number).cam_from_world()))
    if len(poses) == count:
        return whole
    start = _only_poses(poses, [whole, *parts], site.work / "merged")
    return best_of([whole, *map_cameras(site, evidence.path, MapSettings(), _triangulated(site, evidence, start))])


def _lay_over(part: Any, whole: Any, evidence: Evidence) -> Any | None:
    """A copy of `part` in the world of `whole`; None when they do not share enough."""
    pycolmap = load_pycolmap()
    whole_from_part = pycolmap.align_reconstructions_via_reprojections(part, whole, 0.3, 8.0)
    if whole_from_part is None:
        whole_from_part = _by_points(*evidence.shared_points(part, whole), whole)
    if whole_from_part is None:
        return None
    laid = pycolmap.Reconstruction(part)
    laid.transform(whole_from_part)
    return laid


def _by_points(of_part: NDArray[np.float64], of_whole: NDArray[np.float64], whole: Any) -> Any | None:
    """The similarity that takes the points of one model to those of another, when enough of them agree."""
    if len(of_part) < SHARED:
        return None
    pycolmap = load_pycolmap()
    centers = np.array([whole.image(number).projection_center() for number in whole.reg_image_ids()])
    distance = np.median(np.linalg.norm(of_whole - np.median(centers, axis=0), axis=1))
    options = pycolmap.RANSACOptions()
    options.max_error, options.random_seed = NEAR * float(distance), SEED
    found = pycolmap.estimate_sim3d_robust(of_part, of_whole, options)
    return found["tgt_from_src"] if found and found["num_inliers"] >= SHARED else None


def _only_poses(poses: dict[int, tuple[Any, Any]], models: Sequence[Any], folder: Path) -> Any:
    """A model of cameras and poses only, by way of a COLMAP model in text, which needs no more than them."""
    folder.mkdir(exist_ok=True)
    cameras: dict[int, Any] = {}
    for model in reversed(models):  # the first one's cameras win
        cameras.update(model.cameras)
    lines = [
        f"{number} {camera.model.name} {camera.width} {camera.height} {' '.join(repr(float(p)) for p in camera.params)}"
        for number, camera in sorted(cameras.items())
    ]
    (folder / "cameras.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = []
    for number, (image, pose) in sorted(poses.items()):
        x, y, z, w = pose.rotation.quat
        values = " ".join(repr(float(value)) for value in (w, x, y, z, *pose.translation))
        rows.append(f"{number} {values} {image.camera_id} {number}\n\n")  # a name could hold spaces
    (folder / "images.txt").write_text("".join(rows), encoding="utf-8")
    (folder / "points3D.txt").write_text("", encoding="utf-8")
    model = load_pycolmap().Reconstruction(folder)
    for number, (image, _) in poses.items():
        model.image(number).name = image.name
    return model


def _triangulated(site: Site, evidence: Evidence, start: Any) -> Path:
    """The folder of that model with points, triangulated from all matches."""
    pycolmap, folder = load_pycolmap(), site.work / "triangulated"
    folder.mkdir(exist_ok=True)
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = options.triangulation.random_seed = SEED
    options.extract_colors = False

    def triangulate(token: Any) -> None:
        pycolmap.triangulate_points(
            start, evidence.path, site.photos, folder, options=options, refine_intrinsics=True, cancellation_token=token
        ).write_binary(str(folder))

    count = len(site.looks)
    watched(triangulate, lambda: 0, lambda done: site.progress("solving cameras", done, count))
    return folder
