"""COLMAP models of any program that writes them, to shots and points."""

import warnings
from pathlib import Path

from sfumato.capture.colmap_model import count_images, model_files, read_model
from sfumato.capture.photos import PhotoIndex
from sfumato.capture.shot import Capture, Shot, points_from_arrays
from sfumato.core.errors import InputError, SfumatoWarning

__all__ = ["find_model", "read_colmap", "report_missing"]

# where programs put the model: COLMAP, nerfstudio, the authors of 3DGS, instant-ngp, COLMAP's own undistorter
_PLACES = ("sparse", "colmap/sparse", "distorted/sparse", "colmap", "colmap_text")
_UNDISTORTED = ("undistorted/sparse", "dense/sparse", "dense/0/sparse")
_PHOTO_PLACES = ("images", "input", "rgb", "photos", ".", "images_2", "images_4", "images_8")


def find_model(source: Path) -> Path | None:
    """The folder of the COLMAP model in a dataset, or None; of several sub-models, the one with the most photos."""
    for place in (*_PLACES, *_UNDISTORTED, "."):
        folder = _inside(source, place)
        if folder is None:
            continue
        numbered = (path for path in folder.iterdir() if path.is_dir() and path.name.isdigit())
        models = {path: files for path in (folder, *sorted(numbered)) if (files := model_files(path))}
        if models:
            return max(models, key=lambda path: count_images(models[path]))
    return None


def read_colmap(source: Path, model_folder: Path, photos: Path | None = None) -> Capture:
    """The shots and points of a model whose photos are in `photos`, or where datasets keep them.

    Photos that are missing are left out with one warning. Raises InputError when most of them are missing, or when
    a file of the model is truncated or contradicts another one.
    """
    model = read_model(model_folder)
    index = PhotoIndex([*([photos] if photos else []), *_photo_folders(source, model_folder)])
    paths = index.find_all([pose.name for pose in model.poses])
    known = [pose for pose in model.poses if pose.name in paths]
    shots = [Shot(pose.name, paths[pose.name], model.lenses[pose.camera_id], pose.viewmat) for pose in known]
    missing = [pose.name for pose in model.poses if pose.name not in paths]
    report_missing(missing, len(model.poses), model_folder, index)
    errors = model.errors[model.errors >= 0]
    protocol: dict[str, object] = {
        "registered": len(model.poses),
        "missing_files": len(missing),
        "reprojection_error": round(float(errors.mean()), 4) if len(errors) else None,
    }
    points = points_from_arrays(model.xyz, model.rgb)
    return Capture("colmap", shots, points if len(points) else None, protocol)


def report_missing(missing: list[str], total: int, listed_in: Path, index: PhotoIndex) -> None:
    """One warning for missing photos; InputError when most of them are missing and the rest are few."""
    if total == 0:
        raise InputError(f"{listed_in} lists no photos")
    if not missing:
        return
    places = ", ".join(str(folder) for folder in index.folders) or "any folder of photos"
    told = f"{listed_in} lists {total} photos, of which {len(missing)} are not in {places} (first: {missing[0]})"
    if 2 * len(missing) > total and total - len(missing) < 20:
        raise InputError(f"{told}; put the photos beside the model, in a folder named images")
    warnings.warn(f"{told}; they are left out", SfumatoWarning, stacklevel=2)


def _inside(source: Path, place: str) -> Path | None:
    """The folder at a place in `source`, capitals or not: Windows and macOS programs do not care which."""
    folder = source
    for part in Path(place).parts:
        if not (folder / part).is_dir():
            same = [path for path in folder.iterdir() if path.name.lower() == part and path.is_dir()]
            if not same:
                return None
            part = min(same).name
        folder = folder / part
    return folder if folder.is_dir() else None


def _photo_folders(source: Path, model_folder: Path) -> list[Path]:
    """Where the photos of a model may be: the usual names beside every folder from the model up to the source."""
    roots = [root for root in model_folder.parents if source in (root, *root.parents)]
    roots += [source, source / "colmap", source / "distorted"]
    if model_folder == source:  # the model itself was given, maybe as ".": its dataset is around it
        roots += source.absolute().parents[:2]
    return [root / place for place in _PHOTO_PLACES for root in roots if place != "." or root == source]
