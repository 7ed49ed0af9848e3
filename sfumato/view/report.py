"""A run's folder to report.html: scores, pictures, curves, settings and the scene itself, in one file."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from sfumato import formats
from sfumato.core.errors import InputError, SfumatoError
from sfumato.core.files import replacing, write_text
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import to_uint8
from sfumato.view.page import PageCamera
from sfumato.view.report_page import page_of
from sfumato.view.report_run import Pictures, Run, Score, number_of
from sfumato.view.views import read_cameras

__all__ = ["NAME", "choose", "write", "write_render"]

NAME = "report.html"
LARGEST = 960  # pixels, the longer side of a render's picture, as of its photo's
QUALITY = 85
WORST, BEST, OTHERS = 12, 6, 6  # held-out photos whose pictures are in the page where there are more


def write_render(folder: Path, photo: str, image: Tensor) -> None:
    """Write a held-out render (H, W, 3), in [0, 1], beside its photo in the run's folder, small enough for a page.

    photo: path inside the folder, as `read_cameras` says. Raises OSError when it cannot be written.
    """
    picture = Image.fromarray(to_uint8(image.detach().cpu()).numpy())
    share = LARGEST / max(picture.size)
    if share < 1:
        size = max(1, round(picture.width * share)), max(1, round(picture.height * share))
        picture = picture.resize(size, Image.Resampling.BOX)
    with replacing(_render_of(folder / photo)) as file:
        picture.save(file, "JPEG", quality=QUALITY)


def write(folder: Path, gaussians: Gaussians | None = None) -> Path:
    """Write report.html from what the folder holds, whole or not at all; returns its path.

    gaussians: None reads splat.ply where it is there; what is not there, of an evaluation or of an interrupted run, is
    not in the page. Raises InputError when there is no report.json or it is damaged, OSError when the page cannot be
    written.
    """
    run = _read(folder, gaussians)
    path = folder / NAME
    write_text(path, page_of(run))
    return path


def choose(count: int) -> list[int]:
    """Which of so many photos, worst first, have their pictures in the page: all, or the worst, some, and the best."""
    if count <= WORST + BEST + OTHERS:
        return list(range(count))
    between = count - WORST - BEST
    others = [WORST + (2 * number + 1) * between // (2 * OTHERS) for number in range(OTHERS)]
    return [*range(WORST), *others, *range(count - BEST, count)]


def _render_of(photo: Path) -> Path:
    return photo.with_name(f"{photo.stem}.render.jpg")


def _read(folder: Path, gaussians: Gaussians | None) -> Run:
    path = folder / "report.json"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        written = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc).astimezone()
    except FileNotFoundError:
        raise InputError(f"{folder} holds no report: {path.name} is not there") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}); train or evaluate again") from None
    if not isinstance(report, Mapping) or not all(isinstance(report.get(k), Mapping) for k in ("test", "train")):
        raise InputError(f"{path} must hold the objects test and train; train or evaluate again")
    views = report["test"].get("views") or []
    if not isinstance(views, list) or not all(isinstance(view, Mapping) and "name" in view for view in views):
        raise InputError(f"{path} must hold a list of views, each with its name; train or evaluate again")
    settings = _settings(folder / "config.json") if "config" in report["train"] else {}
    cameras: list[PageCamera] = []
    with suppress(InputError):  # a page without cameras is better than none
        cameras = read_cameras(folder)
    scores = _scores(views)
    if gaussians is None:
        with suppress(SfumatoError):
            gaussians = formats.read(folder / "splat.ply")
    return Run(
        name=folder.resolve().name,
        written=written,
        report=report,
        scores=scores,
        pictures=_pictures(folder, cameras, scores),
        log=_log(folder / "log.jsonl") if settings else [],
        settings=settings,
        cameras=cameras,
        gaussians=gaussians,
    )


def _scores(views: Sequence[Mapping[str, Any]]) -> list[Score]:
    """Every held-out photo's, worst PSNR first; those without a number last."""
    scores = [Score(str(view["name"]), *(number_of(view.get(k)) for k in Score.KEYS)) for view in views]
    return sorted(scores, key=lambda score: math.inf if score.psnr is None else score.psnr)


def _pictures(folder: Path, cameras: Sequence[PageCamera], scores: Sequence[Score]) -> dict[str, Pictures]:
    """Photo and render of the chosen views that have both, by name, as data URIs."""
    by_name = {camera.name: camera.photo for camera in cameras}
    places = [(score.name, folder / place) for score in scores if (place := by_name.get(score.name))]
    pairs = [(name, place) for name, place in places if _render_of(place).is_file()]
    found = {}
    for name, photo in (pairs[index] for index in choose(len(pairs))):
        with suppress(OSError), Image.open(photo) as header:
            found[name] = Pictures(_uri(photo), _uri(_render_of(photo)), *header.size)
    return found


def _uri(path: Path) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode("ascii")


def _log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that are whole."""
    lines = []
    with suppress(OSError):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError, RecursionError):
                entry = json.loads(line)
                if isinstance(entry, dict) and number_of(entry.get("step")) is not None:
                    lines.append(entry)
    return lines


def _settings(path: Path) -> dict[str, Any]:
    """config.json, or nothing."""
    with suppress(OSError, ValueError):
        settings = json.loads(path.read_text(encoding="utf-8"))
        return settings if isinstance(settings, dict) else {}
    return {}
