"""A splat's file, or the folder of a run, to the page that shows it and the files that the page fetches."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from sfumato import formats
from sfumato.core.errors import InputError
from sfumato.view.page import Page, PageCamera, SplatFile, near_of, up_of
from sfumato.view.served import DiskFile, MemoryFile
from sfumato.view.views import read_cameras

__all__ = ["SPLAT", "open_splat", "page_of_run", "splat_of"]

SPLAT = "splat.ply"  # in a run's folder

_Files = dict[str, DiskFile | MemoryFile]


def open_splat(path: Path) -> tuple[Page, _Files]:
    """The page for a file or a run, and the files by their address on the server.

    Raises InputError when there is no splat, what can be seen of it without reading it all is damaged, or it leads
    out of the run's folder by a link.
    """
    splat = splat_of(path)
    if not formats.count(splat):
        raise InputError(f"{splat} shows nothing: it holds no Gaussians; give another splat")
    folder = path if path.is_dir() else splat.resolve().parent  # a link that somebody names is followed
    page = page_of_run(path) if path.is_dir() else Page(path.name)
    file = DiskFile.inside(folder, splat if path.is_dir() else splat.resolve())
    url = "/splat/" + re.sub(r"[^A-Za-z0-9_-]", "_", splat.stem) + splat.suffix.lower()
    files: _Files = {url: file}
    cameras = [_served(path, index, camera, files) for index, camera in enumerate(page.cameras)]
    shown = SplatFile(url, splat.name, file.path.stat().st_size)
    return replace(page, splat=shown, cameras=cameras), files


def splat_of(path: Path) -> Path:
    """The splat: the path itself, be it a folder by its format, or what a run's folder holds.

    Raises InputError when there is none.
    """
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path} is not there; give a splat's file, or the folder of a run")
        return path
    splat = path / SPLAT
    if splat.exists():
        return splat
    if any(known.recognizes(path, b"") for known in formats.FORMATS):
        return path
    others = sorted(item for item in path.glob("*.ply"))
    if others:
        raise InputError(f"{path} is no folder of a run: it has no {SPLAT}; give a splat's file, such as {others[0]}")
    if (path / "config.json").exists():
        later = f"{SPLAT} is written when training ends; to watch a training, start it with --view"
        raise InputError(f"{path} holds no splat yet: {later}")
    raise InputError(f"{path} is no folder of a run: it has no {SPLAT}; give a splat's file, or the OUT of a training")


def page_of_run(folder: Path) -> Page:
    """The page of a run without its splat: cameras (each `photo` a path inside the folder), background, near plane.

    What the folder does not say is as for a splat alone. Raises InputError when cameras.json is damaged.
    """
    cameras = read_cameras(folder)
    protocol = _protocol(folder)
    render = protocol.get("render")
    render = render if isinstance(render, Mapping) else {}
    near, background = render.get("near"), protocol.get("background")
    start = next((camera for camera in cameras if camera.split == "test"), next(iter(cameras), None))
    page = Page(folder.resolve().name or str(folder), None, up_of(cameras), near=near_of(cameras))
    page = replace(page, cameras=cameras, start=start, antialiased=render.get("antialiased") is True)
    if isinstance(near, int | float) and 0 < near < 1e6:
        page = replace(page, near=float(near))
    if isinstance(background, list) and len(background) == 3 and all(_is_share(value) for value in background):
        page = replace(page, background=(float(background[0]), float(background[1]), float(background[2])))
    return page


def _served(folder: Path, index: int, camera: PageCamera, files: _Files) -> PageCamera:
    """The camera with its photo's address, which is put into the table; without it where a link leads outside."""
    if camera.photo is None:
        return camera
    url = f"/photos/{index}.jpg"
    with suppress(InputError):
        files[url] = DiskFile.inside(folder, folder / camera.photo)
        return replace(camera, photo=url)
    return replace(camera, photo=None)


def _protocol(folder: Path) -> Mapping[str, object]:
    """How the run was scored, as far as its report can be read."""
    with suppress(OSError, ValueError, RecursionError):
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        if isinstance(report, Mapping) and isinstance(report.get("protocol"), Mapping):
            found: Mapping[str, object] = report["protocol"]
            return found
    return {}


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1
