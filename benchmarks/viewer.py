"""The viewer against three.js with Spark in the same browser: python benchmarks/viewer.py [--counts 100000 500000].

Both show the same PLY at the same size to the same cameras in headless Chromium with software GL, one fresh browser
after the other, in turns; a quarter of an hour on two cores. three.js and Spark are fetched by npm into a temporary
folder, only for this. A frame is the time from one to the next with everything the browser does, and ends when a pixel
could be read. How alike the pictures are to the CPU renderer's is printed, so that nobody is fast by drawing less.
"""

import argparse
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from cloud import cloud
from viewer_browser import PACKAGES, Found, Viewer, fetch_modules, find_chromium, measure, serve

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import to_uint8, write_image
from sfumato.evaluate.machine import machine
from sfumato.evaluate.metrics import psnr
from sfumato.formats import ply
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render

TURN = math.radians(15)  # the camera swings so far to each side of where it starts
# what our kernels do: the low-pass without its loss of opacity, to alpha = 1 / 255, in order of depth
AS_OURS = {
    "preBlurAmount": 0.3,
    "blurAmount": 0,
    "maxStdDev": math.sqrt(2 * math.log(255)),
    "minAlpha": 1 / 255,
    "sortRadial": False,
}
VIEWERS = (
    Viewer("sfumato", "/bench/ours.html"),
    Viewer("Spark", "/bench/spark.html"),
    Viewer("Spark, our settings", "/bench/spark.html", AS_OURS),
    Viewer("sfumato, whole page", "/web/", bare=False),
)
FASTER, SOONER = 3.0, 2.0  # the goals: frame rate and time to the first picture against Spark's


def swing(camera: Camera, pivot: torch.Tensor, frames: int) -> list[Camera]:
    """`frames` cameras from `camera` around `pivot` to one side, to the other and back, about the camera's own up."""
    cameras = []
    for i in range(frames):
        angle = TURN * math.sin(2 * math.pi * i / frames)
        c, s = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[c, 0, s], [0, 1, 0], [-s, 0, c]])
        center = camera.viewmat[:3, :3] @ pivot + camera.viewmat[:3, 3]
        viewmat = camera.viewmat.clone()
        viewmat[:3, :3] = turn @ camera.viewmat[:3, :3]
        viewmat[:3, 3] = turn @ (camera.viewmat[:3, 3] - center) + center
        cameras.append(Camera(viewmat, camera.K, camera.width, camera.height))
    return cameras


def as_asked(camera: Camera) -> dict[str, Any]:
    """A camera as the pages read it."""
    K = camera.K
    numbers = [float(value) for value in (K[0, 0], K[1, 1], K[0, 2], K[1, 2])]
    viewmat = camera.viewmat.flatten().tolist()
    return {"viewmat": viewmat, "K": numbers, "width": camera.width, "height": camera.height}


def first_camera(path: Path, width: int, height: int) -> Camera:
    """The first camera of a cameras.json, its picture scaled to fill the width, at the size asked for."""
    first = json.loads(path.read_text(encoding="utf-8"))[0]
    turn = torch.tensor(first["rotation"]).T
    viewmat = torch.eye(4)
    viewmat[:3, :3], viewmat[:3, 3] = turn, -turn @ torch.tensor(first["position"])
    focal = first["fx"] * width / first["width"]
    return Camera(viewmat, torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]), width, height)


def outside(gaussians: Gaussians, width: int, height: int) -> Camera:
    """A camera that looks at the solid middle of a splat, with the y axis down as in most captures."""
    solid = gaussians.means[gaussians.opacities > 0.5]
    middle = solid.median(dim=0).values
    radius = (solid - middle).norm(dim=1).quantile(0.5)
    position = middle + 2.0 * radius * torch.nn.functional.normalize(torch.tensor([0.3, -0.4, -1.0]), dim=0)
    return Camera.look_at(position, middle, torch.tensor([0.0, -1.0, 0.0]), 0.9 * width, width, height)


def pivot_of(gaussians: Gaussians, camera: Camera) -> torch.Tensor:
    """The point in the middle of the picture at the median depth of what is seen there."""
    splats = render(gaussians, camera, RenderSettings(depth=False)).splats
    depth = splats.depths[splats.seen].median()
    return camera.position + depth * camera.viewmat[2, :3]


def scenes(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str, Gaussians, Camera]]:
    """What is shown: (said name, file name in `folder`, Gaussians, the camera to start from)."""
    width, height = options.size
    if options.splat:
        gaussians = ply.read(options.splat)
        start = first_camera(options.cameras, width, height) if options.cameras else outside(gaussians, width, height)
        sources = [(options.splat.name, gaussians, start)]
    else:
        sources = [(f"{count:,} made", *cloud(count, width, height)) for count in options.counts]
    for i, (name, gaussians, camera) in enumerate(sources):
        kept = gaussians.with_degree(min(gaussians.degree, options.sh_degree))
        ply.write(folder / f"{i}.ply", kept)
        yield name, f"{i}.ply", kept, camera


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan


class Row:
    """All loads of one viewer with one scene, as one row of the table: medians of the rounds."""

    def __init__(self, viewer: Viewer, found: Sequence[Found], agreement: Sequence[float]) -> None:
        self.viewer, self.found, self.agreement = viewer, found, agreement

    def median(self, name: str) -> float:
        """Over the rounds; of a list of times, over all times of all rounds."""
        values = [getattr(one, name) for one in self.found]
        return median([v for many in values for v in many] if isinstance(values[0], list) else values)

    def cells(self) -> list[str]:
        """The row's words, in the order of HEAD."""
        bare = self.viewer.bare

        def rate(name: str) -> str:
            return f"{1e3 / self.median(name):.2f}" if bare else ""

        cpu = [f"{self.median('moving_cpu'):.0f}" if bare else "", f"{self.median('complete_cpu') / 1e3:.2f}"]
        sort = f"{self.median('sorts'):.1f}" if self.median("sorts") > 0 else ""
        if self.median("read_backs") > 0:
            sort += f" + {self.median('read_backs'):.0f}"
        megabytes = [f"{self.median(name) / 1e6:.0f}" for name in ("gpu", "heap", "renderer_process", "gpu_process")]
        seconds = [f"{self.median(name) / 1e3:.2f}" for name in ("first", "complete")]
        agreement = " ".join(f"{value:.1f}" for value in self.agreement)
        return [self.viewer.name, rate("moving"), rate("still"), cpu[0], sort, *seconds, cpu[1], *megabytes, agreement]


HEAD = (
    "viewer",
    "frames/s, moving",
    "frames/s, still",
    "CPU ms a frame",
    "sort ms (+ reading depths)",
    "first picture s",
    "complete s",
    "CPU s until then",
    "GPU MB",
    "JS heap MB",
    "page process MB",
    "GPU process MB",
    "PSNR dB",
)


def compare(options: argparse.Namespace, viewers: Sequence[Viewer], driver: Any, site: Any, scene: Any) -> list[Row]:
    """All viewers with one scene, in turns."""
    said, file, gaussians, start = scene
    cameras = swing(start, pivot_of(gaussians, start), options.frames)
    path = [as_asked(camera) for camera in cameras]
    shown = sorted({0, options.frames // 4})  # where it starts, and the farthest turn
    wanted = [to_uint8(render(gaussians, cameras[i], RenderSettings(depth=False)).image) for i in shown]
    found: dict[str, list[Found]] = {viewer.name: [] for viewer in viewers}
    for number in range(1, options.rounds + 1):
        for viewer in viewers:
            if viewer.settings and number > 1:
                continue  # once is enough to see what the settings cost
            one = measure(driver, site, viewer, file, path, options.stills, shown)
            found[viewer.name].append(one)
            rate = f"{1e3 / median(one.moving):7.2f} frames/s, " if one.moving else " " * 18
            print(f"{said}, round {number}, {viewer.name:20} {rate}first picture {one.first / 1e3:6.2f} s", flush=True)
    rows = []
    for viewer in viewers:
        pictures = found[viewer.name][0].pictures
        agreement = [psnr(p.float() / 255, w) for p, w in zip(pictures, wanted, strict=False)]
        if options.pictures:
            save(options.pictures, f"{file[:-4]} {viewer.name}", pictures)
            save(options.pictures, f"{file[:-4]} render", wanted)
        rows.append(Row(viewer, found[viewer.name], agreement))
    return rows


def save(folder: Path, name: str, pictures: Sequence[torch.Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(pictures):
        write_image(folder / f"{re.sub('[^a-z0-9]+', '-', name.lower())}-{i}.png", picture.float() / 255)


def verdict(rows: Sequence[Row]) -> list[str]:
    """Whether the goals hold, in sentences."""
    by_name = {row.viewer.name: row for row in rows}
    if not {"sfumato", "Spark"} <= by_name.keys():
        return []
    ours, spark = by_name["sfumato"], by_name["Spark"]
    sentences = []
    for row in (spark, by_name.get("Spark, our settings")):
        if row is not None:
            faster = row.median("moving") / ours.median("moving")
            cpu = row.median("moving_cpu") / ours.median("moving_cpu")
            sentences.append(
                f"{faster:.1f} times the frame rate of {row.viewer.name}, {cpu:.1f} times less processor time a frame: "
                f"{said(faster >= FASTER)} (at least {FASTER:g} times)."
            )
    for row in (ours, by_name.get("sfumato, whole page")):
        if row is not None:
            share = row.median("first") / spark.median("first")
            sentences.append(
                f"{row.viewer.name}: first picture after {share:.2f} of Spark's time: "
                f"{said(share <= 1 / SOONER)} (at most {1 / SOONER:g})."
            )
    return sentences


def said(holds: bool) -> str:
    return "the goal holds" if holds else "THE GOAL IS MISSED"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", nargs="+", type=int, default=[100_000, 500_000], help="Gaussians of made scenes")
    parser.add_argument("--splat", type=Path, help="a PLY instead of made scenes")
    parser.add_argument("--cameras", type=Path, help="cameras.json of the splat's run: starts from its first camera")
    parser.add_argument("--sh-degree", type=int, default=3)
    parser.add_argument("--size", nargs=2, type=int, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--frames", type=int, default=12, help="of the camera's way")
    parser.add_argument("--stills", type=int, default=4, help="frames with the camera at rest")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--viewers", nargs="+", default=[viewer.name for viewer in VIEWERS], help="some of the names")
    parser.add_argument("--modules", type=Path, help="a node_modules folder with three.js and Spark")
    parser.add_argument("--pictures", type=Path, help="folder for what each viewer drew")
    parser.add_argument("--json", type=Path, help="file for every number")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    viewers = [viewer for viewer in VIEWERS if viewer.name in options.viewers]
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise InputError("no Playwright, which drives the browser; pip install playwright") from None
    needed = any(viewer.name.startswith("Spark") for viewer in viewers)
    modules = fetch_modules(options.modules) if needed else None
    version = subprocess.run([find_chromium(), "--version"], capture_output=True, text=True, check=False).stdout.strip()
    about = machine()
    packages = ", ".join(f"{name} {number}" for name, number in PACKAGES.items())
    print(f"{about['processor']}, {about['cores']} cores, {about['system']}; {version}, SwiftShader; {packages}")
    everything: dict[str, Any] = {"machine": about, "browser": version, "packages": PACKAGES, "scenes": {}}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver, serve(Path(folder), modules) as site:
        for scene in scenes(options, Path(folder)):
            rows = compare(options, viewers, driver, site, scene)
            width, height = options.size
            print(f"\n{scene[0]} Gaussians, degree {scene[2].degree}, {width}x{height}\n")
            print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
            for row in rows:
                print("| " + " | ".join(row.cells()) + " |")
            print("\n" + "\n".join(verdict(rows)) + "\n", flush=True)
            everything["scenes"][scene[0]] = {row.viewer.name: numbers(row) for row in rows}
    if options.json:
        options.json.write_text(json.dumps(everything, indent=1), encoding="utf-8")


def numbers(row: Row) -> dict[str, Any]:
    """Every number of a row, without its pictures."""
    loads = [{key: value for key, value in vars(one).items() if key != "pictures"} for one in row.found]
    return {"psnr": list(row.agreement), "settings": row.viewer.settings, "loads": loads}


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
