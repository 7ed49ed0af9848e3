"""load_scene: a folder of photos, or a dataset with cameras, to a Scene that can be trained on."""

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from sfumato.capture.cache import cache_folder, fingerprint
from sfumato.capture.colmap import find_model, read_colmap
from sfumato.capture.develop import Developer, MaskMode
from sfumato.capture.masks import with_masks
from sfumato.capture.nerf_json import find_transforms, random_points, read_transforms
from sfumato.capture.photos import check_folder, list_photos
from sfumato.capture.sfm import photos_of, solve
from sfumato.capture.shot import Capture, Shot
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.image import RESIZE_FILTER
from sfumato.core.progress import Progress, silent
from sfumato.core.scene import Scene, View, hold_out

__all__ = ["load_scene"]

_Color = tuple[float, float, float]


def load_scene(
    source: Path,
    *,
    downscale: float = 1.0,
    holdout: int = 8,
    background: _Color | None = None,
    masks: MaskMode = "ignore",
    invert_masks: bool = False,
    keep: int | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
) -> Scene:
    """Read photos with their cameras; world axes and units stay those of the source.

    source: a folder of photos, whose cameras are then found by structure from motion; or a dataset with a COLMAP model,
        a transforms.json, or the transforms_train.json and transforms_test.json of Blender synthetic scenes.
    downscale: photos become 1/downscale as wide and high, by the mean over each new pixel's footprint.
    holdout: every holdout-th photo in name order, the first included, is for testing; 0 holds none out. A dataset
        with an official test split keeps that instead.
    background: [0, 1] RGB behind transparent photos; white for synthetic scenes, else black.
    masks: what the black pixels of masks mean: "ignore" (nothing is known there) or "empty" (nothing is there). "off":
        neither masks nor alpha channels are looked at.
    invert_masks: white is masked, not black.
    keep: bytes of photos that the views may hold in memory; when all need more, they are decoded when asked for.
    cache: where found cameras and undistorted photos are kept; the user's cache folder by default. Nothing is ever
        written to `source`.

    Photos of distorting lenses are undistorted. Warns (SfumatoWarning) of photos that are left out because they are
    broken or have no camera. Raises InputError when the source cannot be read, most photos are broken, or there are
    too few to hold any out.
    """
    source = Path(source)
    _check(source, downscale, holdout, background)
    store = cache_folder() if cache is None else Path(cache)
    capture = _read(source, store, progress)
    color = background or ((1.0, 1.0, 1.0) if capture.is_synthetic else (0.0, 0.0, 0.0))
    shots = _with_unique_names(capture.shots)
    if masks != "off":
        shots = with_masks(source, shots)
    developer = Developer(downscale, color, store / "undistorted", masks, invert_masks, keep)
    views = developer.develop_all(shots, progress)
    views, rule = _split(source, views, shots, holdout)
    points = random_points(capture) if capture.points is None or not len(capture.points) else capture.points
    points = replace(points, xyz=points.xyz.float())
    sizes = Counter(f"{view.camera.width}x{view.camera.height}" for view in views)
    protocol: dict[str, object] = {
        "reader": capture.reader,
        "source": source.resolve().name,
        "photos": len(views),
        "size": ", ".join(sizes),
        "downscale": downscale,
        "resize_filter": RESIZE_FILTER if downscale != 1 else "none",
        "background": list(color),
        "holdout": rule,
        "points": "random" if capture.points is None else "structure from motion",
        "masks": developer.mask_rule(shots),
        "undistorted": sum(not shot.lens.is_pinhole for shot in shots),
        **capture.protocol,
    }
    return Scene(views, points, color, protocol)


def _check(source: Path, downscale: float, holdout: int, background: _Color | None) -> None:
    check_folder(source)
    if not 1 <= downscale < float("inf"):
        raise InputError(f"downscale must be 1 or more; got {downscale}")
    if holdout < 0 or holdout == 1:
        raise InputError(f"holdout must be 0 (none) or at least 2 (every 2nd photo); got {holdout}")
    if background is not None and not (len(background) == 3 and all(0 <= value <= 1 for value in background)):
        raise InputError(f"background must be three numbers in [0, 1]; got {background}")


def _read(source: Path, store: Path, progress: Progress) -> Capture:
    """The capture of whatever `source` is; a COLMAP model comes before transforms.json, for it has points."""
    if model := find_model(source):
        return read_colmap(source, model, photos_of(source))
    if files := find_transforms(source):
        return read_transforms(files, progress)
    names = list_photos(source)
    if not names:
        raise InputError(f"{source} holds no photos, no COLMAP model and no transforms.json")
    found = solve(source, store / "cameras" / fingerprint(source / name for name in names), progress)
    capture = read_colmap(source, found.folder / "sparse" / "0", source)
    if found.left_out:
        shown = ", ".join(found.left_out[:5]) + (", ..." if len(found.left_out) > 5 else "")
        told = f"no camera was found for {len(found.left_out)} of {found.photos} photos, which are left out: {shown}"
        warnings.warn(told, SfumatoWarning, stacklevel=3)
    solved = {"registered": found.registered, "photos_given": found.photos, "left_out": found.left_out}
    return replace(capture, reader="structure from motion", protocol={**capture.protocol, **solved})


def _with_unique_names(shots: Sequence[Shot]) -> list[Shot]:
    seen: Counter[str] = Counter()
    unique = []
    for shot in shots:
        seen[shot.name] += 1
        again = seen[shot.name]
        unique.append(shot if again == 1 else replace(shot, name=f"{shot.name}~{again}"))
    return unique


def _split(source: Path, views: list[View], shots: Sequence[Shot], holdout: int) -> tuple[list[View], str]:
    """Views with their split, and the rule in words."""
    if any(shot.split == "test" for shot in shots):
        rule = "official test split"
    elif holdout:
        if len(views) < 3:
            raise InputError(f"{source} has {len(views)} photos, too few to hold one out; add photos or use holdout 0")
        return hold_out(views, holdout), f"1 of every {holdout} photos in name order, from the first"
    else:
        rule = "none"
    if all(view.split == "test" for view in views):
        raise InputError(f"{source} has test photos only; training needs its transforms_train.json")
    return sorted(views, key=lambda view: view.name), rule
