"""KIRI Engine's "camera pose" export: a nerfstudio dataset in the folder that its zip makes, to shots."""

from dataclasses import replace
from pathlib import Path

from sfumato.capture.datasets.common import file_named, load_object
from sfumato.capture.nerf_json import read_transforms
from sfumato.capture.photos import list_photos
from sfumato.capture.shot import Capture
from sfumato.core.errors import InputError
from sfumato.core.progress import Progress, silent

__all__ = ["find", "read"]


def find(source: Path) -> Path | None:
    """The only transforms.json in the sub-folders of a folder, or None: that of the folder itself is no news.

    None, too, when there are photos elsewhere in the folder: then they are meant.
    """
    if file_named(source, "transforms.json"):
        return None
    folders = [path for pattern in ("*", "*/*") for path in sorted(source.glob(pattern)) if path.is_dir()]
    folders = [path for path in folders if not path.relative_to(source).parts[0].startswith((".", "__MACOSX"))]
    found = [path for folder in folders if (path := file_named(folder, "transforms.json"))]
    if len(found) != 1:
        return None
    inside = f"{found[0].parent.relative_to(source).as_posix()}/"
    return found[0] if all(name.startswith(inside) for name in list_photos(source)) else None


def read(found: Path, source: Path, progress: Progress = silent) -> Capture:
    """The shots of the export; their names begin with the folder. Raises InputError as `read_transforms` does."""
    if not load_object(found).get("frames"):
        raise InputError(f"{found} has no frames; export the camera poses again")
    capture = read_transforms([found], progress)
    folder = found.parent.relative_to(source)
    shots = [replace(shot, name=(folder / shot.name).as_posix()) for shot in capture.shots]
    protocol = {"frame": "local, arbitrary scale (KIRI Engine)", **capture.protocol}
    return replace(capture, reader="kiri", shots=shots, protocol=protocol)
