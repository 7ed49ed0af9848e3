"""A scene's cameras and small copies of its photos to files in a run's folder, and back for the viewer."""

import io
import json
import math
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import torch
from PIL import Image
from torch import Tensor

from sfumato.core.errors import InputError, SfumatoError
from sfumato.core.files import replacing, write_text
from sfumato.core.progress import Note, Progress, mute, silent
from sfumato.core.scene import Scene, View
from sfumato.view.page import PageCamera, Split

__all__ = ["CAMERAS", "VIEWS", "own_pictures", "read_cameras", "view_stems", "write_views"]

CAMERAS, VIEWS = "cameras.json", "views"  # in a run's folder
LARGEST = 960  # pixels, the longer side of a view's picture
QUALITY = 85
SHOWN = 200  # training photos at most; of those held out, all
LONGEST = 50  # letters of a picture's name: of four bytes each, and with what is added, still below a disk's 255
THREADS = 4
_REMEDY = "remove the file to see the splat without cameras"


def view_stems(names: Sequence[str]) -> list[str]:
    """A plain file name, without suffix, for each view's name, no two alike on any system."""
    stems: list[str] = []
    taken: set[str] = set()
    for index, name in enumerate(names):
        parts = PurePosixPath(name.replace("\\", "/")).with_suffix("").parts
        plain = re.sub(
            r'[\x00-\x1f<>:"|?*/%#&.]', "_", "-".join(part for part in parts if part not in ("/", "..", "."))
        )
        first = stem = plain[-LONGEST:] or "view"
        number = index
        while stem.lower() in taken:
            stem, number = f"{first}-{number}", number + 1
        taken.add(stem.lower())
        stems.append(stem)
    return stems


def write_views(folder: Path, scene: Scene, note: Note = mute, progress: Progress = silent) -> None:
    """Write cameras.json, in the common format and with our own keys, and views/NAME.jpg, into a run's folder.

    All held-out photos become pictures, and at most SHOWN of the others. What cannot be written (a full disk) or
    read is left out, which `note` is told in one sentence.
    """
    stems = view_stems([view.name for view in scene.views])
    chosen = _chosen(scene.views)
    named = {index: f"{VIEWS}/{stems[index]}.jpg" for index in chosen}
    photos = {index: name for index, name in named.items() if not (folder / name).exists()}  # it is somebody else's
    entries = [_entry(index, view, photos.get(index)) for index, view in enumerate(scene.views)]
    failed: list[Exception] = []

    def write(index: int) -> None:
        if not any(isinstance(error, OSError) for error in failed):
            try:
                _write_picture(folder / photos[index], scene.views[index])
            except (SfumatoError, OSError) as error:
                failed.append(error)

    try:
        write_text(folder / CAMERAS, json.dumps(entries, indent=1, allow_nan=False) + "\n")
    except OSError as error:
        failed.append(error)
    with ThreadPoolExecutor(THREADS) as pool:
        for done, _ in enumerate(pool.map(write, photos), 1):
            progress("pictures for the viewer", done, len(photos))
    if failed:
        first = failed[0]
        why = first.strerror if isinstance(first, OSError) and first.strerror else first
        note(f"{folder}: not all pictures for the viewer could be written ({why}); training goes on")


def read_cameras(folder: Path) -> list[PageCamera]:
    """The cameras of a run's folder, `photo` being the path of the picture inside it where that is there.

    Empty when there is no cameras.json. Raises InputError when that is damaged.
    """
    path = folder / CAMERAS
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise InputError(f"{path} is damaged: it is no JSON; remove it to see the splat without cameras") from None
    if not isinstance(entries, list):
        raise InputError(f"{path} must hold a list of cameras; remove it to see the splat without them")
    return [_camera(path, index, entry) for index, entry in enumerate(entries)]


def own_pictures(folder: Path) -> list[Path]:
    """What a run has put into views/: the photos that its cameras.json names, and their renders."""
    try:
        photos = [folder / camera.photo for camera in read_cameras(folder) if camera.photo]
    except InputError:
        return []
    renders = [photo.with_name(f"{photo.stem}.render.jpg") for photo in photos]
    return [*photos, *(render for render in renders if render.is_file())]


def _chosen(views: Sequence[View]) -> list[int]:
    """Indices of the views that get a picture."""
    trained = [index for index, view in enumerate(views) if view.split == "train"]
    if len(trained) > SHOWN:
        trained = [trained[number * len(trained) // SHOWN] for number in range(SHOWN)]
    return sorted(trained + [index for index, view in enumerate(views) if view.split == "test"])


def _entry(index: int, view: View, photo: str | None) -> dict[str, object]:
    """A camera as the code of Kerbl et al. 2023 writes it, then our own keys."""
    camera = PageCamera.of(view.camera, view.name, view.split)
    fx, fy, cx, cy = camera.K
    return {
        "id": index,
        "img_name": camera.name,
        "width": camera.width,
        "height": camera.height,
        "position": list(camera.position),
        "rotation": [[camera.viewmat[4 * row + axis] for row in range(3)] for axis in range(3)],  # world <- camera
        "fx": fx,
        "fy": fy,
        "cx": cx,
        "cy": cy,
        "split": camera.split,
        "photo": photo,
    }


def _write_picture(path: Path, view: View) -> None:
    pixels = view.picture().pixels
    picture = Image.fromarray(pixels.cpu().contiguous().numpy())
    share = LARGEST / max(picture.size)
    if share < 1:
        size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
        picture = picture.resize(size, Image.Resampling.BOX)
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=QUALITY)
    with replacing(path) as file:
        file.write(data.getbuffer())


def _camera(path: Path, index: int, entry: object) -> PageCamera:
    """One camera of the file, every number looked at."""
    try:
        if not isinstance(entry, Mapping):
            raise TypeError("it is no object")
        width, height = (_whole(entry, key) for key in ("width", "height"))
        rotation = torch.tensor(entry["rotation"], dtype=torch.float64).reshape(3, 3)
        position = torch.tensor(entry["position"], dtype=torch.float64).reshape(3)
        focal = (_number(entry, "fx"), _number(entry, "fy"))
        middle = (_number(entry, "cx", width / 2), _number(entry, "cy", height / 2))
        if not (rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max() < 1e-2:
            raise ValueError("its rotation is none")
        viewmat = _viewmat(rotation, position)
        if min(focal) <= 0 or not all(map(math.isfinite, viewmat)):
            raise ValueError("its position or focal length is none")
    except KeyError as error:
        raise InputError(f"{path}: camera {index} has no {error}; {_REMEDY}") from None
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        said = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: camera {index} cannot be used ({said}); {_REMEDY}") from None
    split: Split = "test" if entry.get("split") == "test" else "train"
    name = str(entry.get("img_name", index))
    photo = _photo(path.parent, entry.get("photo"))
    return PageCamera(name, viewmat, (*focal, *middle), width, height, split, photo)


def _viewmat(rotation: Tensor, position: Tensor) -> tuple[float, ...]:
    """camera <- world from world <- camera, row by row."""
    moved = -rotation.T @ position
    rows = [*torch.cat([rotation.T, moved[:, None]], dim=1).flatten().tolist(), 0.0, 0.0, 0.0, 1.0]
    return tuple(rows)


def _photo(folder: Path, photo: object) -> str | None:
    """The path inside the folder, of a picture that `write_views` could have written."""
    if not isinstance(photo, str) or not re.fullmatch(rf"{VIEWS}/[^/\\:\x00]+\.jpg", photo):
        return None
    return photo if (folder / photo).is_file() else None


def _whole(entry: Mapping[str, object], key: str) -> int:
    value = entry[key]
    if not isinstance(value, int) or not 0 < value < 10**6:
        raise ValueError(f"{key} must be a number of pixels; got {value!r}")
    return value


def _number(entry: Mapping[str, object], key: str, otherwise: float | None = None) -> float:
    value = entry[key] if otherwise is None else entry.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{key} must be a number; got {value!r}")
    return float(value)
