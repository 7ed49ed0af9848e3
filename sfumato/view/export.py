"""Gaussians and the page that shows them to one HTML file, which any browser opens from a disk, without a network."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sfumato.core.errors import InputError
from sfumato.core.files import replacing
from sfumato.core.gaussians import Gaussians
from sfumato.core.progress import Progress, silent
from sfumato.view.bundle import page_html
from sfumato.view.packed import MAX_DEGREE, drawable, most_important
from sfumato.view.page import Page, PageCamera
from sfumato.view.squeeze import squeeze

__all__ = ["Exported", "export", "find_camera", "html_of"]

PIECE = 3 << 18  # bytes of the scene in each text block: a multiple of 3, so that base64 needs no filling between


@dataclass(frozen=True)
class Exported:
    """What has been written."""

    count: int  # Gaussians in the file
    left_out: int  # Gaussians that cannot be drawn
    degree: int
    bytes: int  # of the file
    scene_bytes: int  # of the scene in it, as text


def export(
    path: str | Path,
    gaussians: Gaussians,
    page: Page | None = None,
    sh_degree: int = MAX_DEGREE,
    max_gaussians: int | None = None,
    progress: Progress = silent,
) -> Exported:
    """Write `gaussians`, and the viewer that shows `page`, to an HTML file, which appears whole or not at all.

    page: None has the file's name as its title, and no cameras.

    The scene takes at most 20, 26, 36 or 44 bytes a Gaussian for spherical harmonics of degree 0, 1, 2 or 3, or 5.6 kB
    where that is more; the viewer's own code comes on top. Cameras stay, without their photos. max_gaussians: the most
    important ones are kept, by opacity times area. Raises InputError when nothing can be drawn, OSError when the place
    cannot be written.
    """
    path = Path(path)
    shown = gaussians[drawable(gaussians).nonzero()[:, 0]]
    kept = shown if max_gaussians is None else most_important(shown, max_gaussians)
    degree = min(sh_degree, gaussians.degree, MAX_DEGREE)
    data = squeeze(kept.with_degree(degree), progress)
    with replacing(path) as file:
        for part in _page(data, page or Page(path.stem)):
            file.write(part.encode("utf-8"))
        size = file.tell()
    scene = sum(len(block) for block in _blocks(data))
    return Exported(len(kept), len(gaussians) - len(shown), degree, size, scene)


def html_of(data: bytes, page: Page) -> str:
    """The same as text, for a frame within another page, which gives the cameras' photos their addresses.

    data: of `squeeze` or `squeeze_with`.
    """
    return "".join(page_html(replace(page, splat="embedded", live=False), _blocks(data)))


def find_camera(cameras: list[PageCamera], wanted: str) -> PageCamera:
    """The camera with a name, with or without its folder and suffix, or at a place in the list, counted from 0.

    Raises InputError when there is none, or more than one.
    """
    if not cameras:
        raise InputError(f"there is no camera {wanted!r}: the splat comes without cameras; give the folder of its run")
    for name in (str, lambda path: Path(path).name, lambda path: Path(path).stem):
        found = [camera for camera in cameras if name(camera.name) == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(camera.name for camera in found[:3])
            raise InputError(f"{wanted!r} is the name of {len(found)} cameras ({names}); give the whole name")
    if wanted.isdecimal() and int(wanted) < len(cameras):
        return cameras[int(wanted)]
    known = f"a name, such as {cameras[0].name}, or a number from 0 to {len(cameras) - 1}"
    raise InputError(f"there is no camera {wanted!r}; give {known}")


def _page(data: bytes, page: Page) -> Iterator[str]:
    cameras = [replace(camera, photo=None) for camera in page.cameras]  # a photo would be another file
    yield from page_html(replace(page, splat="embedded", cameras=cameras, live=False), _blocks(data))


def _blocks(data: bytes) -> Iterator[str]:
    """The scene as elements of the page that no browser looks into."""
    for start in range(0, len(data), PIECE):
        text = base64.b64encode(data[start : start + PIECE]).decode("ascii")
        yield f'<script type="text/plain" data-splat>{text}</script>\n'
