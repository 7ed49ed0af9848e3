"""A run's Gaussians and cameras to the part of its report in which one can look around."""

import json
from dataclasses import replace

from sfumato.view.export import html_of
from sfumato.view.packed import drawable, most_important
from sfumato.view.page import Page, near_of, up_of
from sfumato.view.report_run import Run
from sfumato.view.squeeze import Steps, squeeze_with

__all__ = ["PHOTO", "scene_of"]

MOST = 300_000  # Gaussians: about 12 MB
LEVEL = 24  # of rounding: half as fine as an exported file's best, in a tenth of the time, 30 bytes a Gaussian
PHOTO = "report-photo-"  # and a number: stands for a picture that the page has already


def scene_of(run: Run) -> tuple[str, str]:
    """The section with its button, and the page of the viewer that waits for it; both empty without Gaussians."""
    if run.gaussians is None or not drawable(run.gaussians).any():
        return "", ""
    kept = most_important(run.gaussians.detach().to("cpu"), MOST)
    data = squeeze_with(kept, Steps.of(LEVEL))
    text = html_of(data, _page(run))
    said = "The scene is part of this file, its numbers rounded a little."
    if len(kept) < len(run.gaussians):
        said = (
            f"The {len(kept):,} most important of {len(run.gaussians):,} Gaussians, those of the largest opacity times "
            "area, are part of this file; splat.ply has all of them."
        )
    section = (
        '<section id="scene" class="scripted" aria-labelledby="scene-title"><h2 id="scene-title">Look around</h2>'
        '<div class="stage"><button type="button" class="start">Look around</button></div>'
        f'<p class="note">{said}</p><button type="button" class="whole" hidden>Full screen</button></section>'
    )
    island = json.dumps(text).replace("<", "\\u003c")
    return section, f'<script type="application/json" id="viewer">{island}</script>'


def _page(run: Run) -> Page:
    """What the viewer is to show; photos that the report shows stand for themselves."""
    numbers = {name: index for index, name in enumerate(run.pictures)}
    cameras = [
        replace(camera, photo=f"{PHOTO}{numbers[camera.name]}" if camera.name in numbers else None)
        for camera in run.cameras
    ]
    best = list(run.pictures)[-1] if run.pictures else None
    start = next((camera for camera in cameras if camera.name == best), None) or next(iter(cameras), None)
    render, background = run.protocol.get("render"), run.protocol.get("background")
    near = render.get("near") if isinstance(render, dict) else None
    page = Page(run.name, "embedded", up_of(cameras), near=near_of(cameras), cameras=cameras, start=start)
    if isinstance(near, int | float) and near > 0:
        page = replace(page, near=float(near))
    if isinstance(background, list) and len(background) == 3:
        page = replace(page, background=(float(background[0]), float(background[1]), float(background[2])))
    return page
