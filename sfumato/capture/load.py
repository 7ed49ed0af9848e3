"""load_scene: a folder of photos, or a dataset with cameras, to a Scene that can be trained on."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sfumato.capture.develop import Developer, MaskMode, sizes_of
from sfumato.capture.masks import with_masks
from sfumato.capture.nerf_json import random_points
from sfumato.capture.shot import Capture, Shot
from sfumato.capture.source import read_source
from sfumato.core.cache import cache_folder
from sfumato.core.errors import InputError
from sfumato.core.image import RESIZE_FILTER
from sfumato.core.limits import release_memory
from sfumato.core.progress import Note, Progress, mute, silent
from sfumato.core.scene import Scene, Size, View, hold_out

__all__ = ["Fit", "load_scene"]

FAR = 100.0  # times the spread of the cameras; single precision then resolves 1e-5 of the spread
_Color = tuple[float, float, float]
Fit = Callable[[Sequence[Size], Sequence[Size]], tuple[float, int | None]]  # train, test -> further downscale, keep


def load_scene(
    source: Path,
    *,
    downscale: float = 1.0,
    holdout: int = 8,
    background: _Color | None = None,
    masks: MaskMode = "ignore",
    invert_masks: bool = False,
    frames: int | None = None,
    keep: int | None = None,
    fit: Fit | None = None,
    cache: Path | None = None,
    progress: Progress = silent,
    note: Note = mute,
) -> Scene:
    """Read photos with their cameras; world axes and units stay those of the source.

    source: a folder of photos or a video, whose cameras are then found by structure from motion; a dataset of any
        program that `read_source` knows, or its file; a zip or tar archive of any of these.
    downscale: photos become 1/downscale as wide and high, by the mean over each new pixel's footprint.
    holdout: every holdout-th photo in name order, the first included, is for testing; 0 holds none out. A dataset
        with an official test split keeps that instead.
    background: [0, 1] RGB behind transparent photos; white for synthetic scenes, else black.
    masks: what the black pixels of masks mean: "ignore" (nothing is known there) or "empty" (nothing is there). "off":
        neither masks nor alpha channels are looked at.
    invert_masks: white is masked, not black.
    frames: how many to take of a video; None: as many as its motion asks for.
    keep: bytes of photos that the views may hold in memory; when all need more, they are decoded when asked for.
    fit: asked how many times smaller still photos must be, and what to keep of them, given the sizes of those to train
        on and of those held out, before any photo is decoded; what may have a mask counts as if it had.
    cache: where found cameras and undistorted photos are kept; the user's cache folder by default. Nothing is ever
        written to `source`.
    note: told in a sentence what is worth knowing, such as how many photos were registered.

    Photos of distorting lenses are undistorted. When the source's origin is far from its cameras, as in maps, the scene
    has an `origin` of its own, so that single precision suffices. Warns (SfumatoWarning) of photos that are left out
    because they are broken or have no camera. Raises InputError when the source cannot be read, most photos are
    broken, or there are too few to hold any out.
    """
    source = Path(source)
    _check(downscale, holdout, background)
    store = cache_folder() if cache is None else Path(cache)
    capture, folder = read_source(source, store, frames, masks != "off" and not invert_masks, progress, note)
    if not capture.shots:
        raise InputError(f"{source} has no photo with a camera")
    capture, origin = _centered(capture)
    color = background or ((1.0, 1.0, 1.0) if capture.is_synthetic else (0.0, 0.0, 0.0))
    shots = _with_unique_names(capture.shots)
    if masks != "off":
        shots = with_masks(folder, shots)
    smallest = min(min(shot.lens.width, shot.lens.height) for shot in shots)
    if downscale > smallest:
        raise InputError(f"downscale must be at most {smallest}, which leaves photos one pixel; got {downscale:g}")
    if fit is not None:
        times, keep = fit(*_sizes(shots, sizes_of(shots, downscale, masks, progress), holdout))
        downscale *= times
    developer = Developer(downscale, color, store / "undistorted", masks, invert_masks, keep)
    views = developer.develop_all(shots, progress)
    release_memory()
    views, rule = _split(source, views, shots, holdout)
    points = random_points(capture) if capture.points is None or not len(capture.points) else capture.points
    if points is not capture.points:
        note(f"{source} has no points, so training starts from {len(points):,} random ones")
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
        "points": "structure from motion" if capture.points is not None and len(capture.points) else "random",
        "masks": developer.mask_rule(shots),
        "undistorted": sum(not shot.lens.is_pinhole for shot in shots),
        "origin": list(origin),
        **capture.protocol,
    }
    return Scene(views, points, color, protocol, origin)


def _check(downscale: float, holdout: int, background: _Color | None) -> None:
    if not 1 <= downscale < float("inf"):
        raise InputError(f"downscale must be 1 or more; got {downscale}")
    if holdout < 0 or holdout == 1:
        raise InputError(f"holdout must be 0 (none) or at least 2 (every 2nd photo); got {holdout}")
    if background is not None and not (len(background) == 3 and all(0 <= value <= 1 for value in background)):
        raise InputError(f"background must be three numbers in [0, 1]; got {background}")


def _sizes(shots: Sequence[Shot], sizes: Sequence[Size], holdout: int) -> tuple[list[Size], list[Size]]:
    """Sizes of the photos that will be trained on, and of those held out."""
    official = any(shot.split == "test" for shot in shots)
    train: list[Size] = []
    test: list[Size] = []
    by_name = sorted(zip(shots, sizes, strict=True), key=lambda item: item[0].name)
    for index, (shot, size) in enumerate(by_name):
        held_out = shot.split == "test" if official else holdout > 0 and index % holdout == 0
        (test if held_out else train).append(size)
    return train, test


def _centered(capture: Capture) -> tuple[Capture, tuple[float, float, float]]:
    """The capture with the world's zero near its cameras, and the source's coordinates of that zero.

    Nothing moves unless zero is FAR times farther away than the cameras are spread. Whole numbers: exact to undo.
    """
    viewmats = np.stack([shot.viewmat for shot in capture.shots])
    positions = -np.einsum("vji,vj->vi", viewmats[:, :3, :3], viewmats[:, :3, 3])
    middle = positions.mean(axis=0)
    spread = np.linalg.norm(positions - middle, axis=1).max()
    if not np.isfinite(middle).all() or np.linalg.norm(middle) <= FAR * max(spread, 1.0):
        return capture, (0.0, 0.0, 0.0)
    origin = np.round(middle)
    shots = []
    for shot in capture.shots:
        viewmat = shot.viewmat.copy()
        viewmat[:3, 3] += viewmat[:3, :3] @ origin
        shots.append(replace(shot, viewmat=viewmat))
    points = capture.points
    if points is not None:
        points = replace(points, xyz=points.xyz.double() - torch.from_numpy(origin))
    x, y, z = origin.tolist()
    return replace(capture, shots=shots, points=points), (x, y, z)


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
