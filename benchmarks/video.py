"""Seconds from a phone's video to its cameras: python benchmarks/video.py [--size 540x960] [--keep FILE].

The video is of the still life, filmed upright by a phone that stores it lying: a walk half around the table, 30 frames
a second, with a trembling hand, two rests and every third frame smeared. Ten frames a second are rendered, and the
others are those, turned a little about the camera's own center, which is exact. --video takes one of your own.
"""

import argparse
import inspect
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image

from sfumato.capture.sfm import solve
from sfumato.capture.studio import phone_walk
from sfumato.capture.studio.photograph import picture, studio
from sfumato.capture.video import extract_frames
from sfumato.core.camera import Camera

RATE, RENDERED = 30, 10  # frames a second
SAMPLES = 1  # rays a pixel: the video is smeared and compressed anyway
MARGIN = 16  # pixels around a rendered frame, from where its turned copies take their borders
TREMOR, SMEAR = 0.004, 0.003  # radians
RESTS = ((0.30, 0.38), (0.70, 0.78))  # shares of the time that the camera stands still


def between(knots: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Catmull and Rom's curve (1974) through `knots` (n, 3), at t in [0, 1]."""
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    place = t * (len(knots) - 1)
    i = np.minimum(place.astype(int), len(knots) - 2)
    u = (place - i)[:, None]
    a, b, c, d = (padded[i + k] for k in range(4))
    return 0.5 * (2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * b - a - 3 * c + d) * u**3)


def walk(count: int, width: int, height: int) -> list[Camera]:
    """`count` cameras, evenly in time, of a walk with rests."""
    stops = [camera.to(torch.float64) for camera in phone_walk(16, width, height)]
    positions, ahead, up = (
        np.stack([row(camera).numpy() for camera in stops])
        for row in (
            lambda camera: camera.position,
            lambda camera: camera.viewmat[2, :3],
            lambda camera: -camera.viewmat[1, :3],
        )
    )
    times = np.linspace(0, 1, count)
    moving = np.ones(count)
    for start, end in RESTS:
        moving[(times >= start) & (times < end)] = 0
    t = np.concatenate([[0], np.cumsum(moving[1:])])
    t /= t[-1]
    curves = [torch.from_numpy(between(knots, t)) for knots in (positions, ahead, up)]
    focal = float(stops[0].K[0, 0])
    side = 2 * MARGIN
    return [
        Camera.look_at(position, position + forward, upward, focal, width + side, height + side)
        for position, forward, upward in zip(*curves, strict=True)
    ]


def turned(photo: Image.Image, K: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """(H, W, 3): the photo without its margin, by the same camera turned by small `angles` (3,) about x, y and z."""
    x, y, z = angles
    turn = torch.linalg.matrix_exp(torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)).numpy()
    inner = K - [[0, 0, MARGIN], [0, 0, MARGIN], [0, 0, 0]]
    grid = K @ turn @ np.linalg.inv(inner)
    size = (photo.width - 2 * MARGIN, photo.height - 2 * MARGIN)
    numbers = tuple((grid / grid[2, 2]).ravel()[:8])
    return np.asarray(photo.transform(size, Image.Transform.PERSPECTIVE, numbers, Image.Resampling.BICUBIC))


def tremble(count: int) -> np.ndarray:
    """(count, 3) radians: a hand's slow drift."""
    random = np.random.default_rng(7)
    steps = random.normal(size=(count + 30, 3))
    smooth = np.stack([np.convolve(column, np.hanning(13), "same") for column in steps.T], axis=1)[15 : 15 + count]
    return np.asarray(np.clip(smooth / smooth.std(), -2, 2) * TREMOR)


def pictures(seconds: float, width: int, height: int) -> Iterator[np.ndarray]:
    """Frames (H, W, 3) of the walk."""
    scene = studio(0)
    cameras = walk(round(seconds * RENDERED), width, height)
    copies = RATE // RENDERED
    hand = tremble(len(cameras) * copies)

    def frames_of(number: int) -> list[np.ndarray]:
        K = cameras[number].K.double().numpy()
        photo = Image.fromarray(picture(scene, cameras[number], SAMPLES))
        made = []
        for k in range(copies):
            angles = hand[number * copies + k]
            sweep = np.linspace(-0.5, 0.5, 5) if k == 0 else np.zeros(1)
            views = [turned(photo, K, angles + s * SMEAR * np.array([1.0, 2.0, 0.0])) for s in sweep]
            made.append(np.mean(views, axis=0).round().astype(np.uint8))
        return made

    with ThreadPoolExecutor() as pool:
        for chunk in range(0, len(cameras), 16):
            for made in pool.map(frames_of, range(chunk, min(chunk + 16, len(cameras)))):
                yield from made


def make_video(path: Path, seconds: float, width: int, height: int) -> None:
    """Store the walk lying on its side, with the turn in the video's metadata, as phones do."""
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("libx264", rate=RATE, options={"crf": "21", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = height, width, "yuv420p"
        stream.set_display_rotation(-90)  # needs PyAV 18
        for upright in pictures(seconds, width, height):
            lying = np.ascontiguousarray(np.rot90(upright))
            file.mux(stream.encode(av.VideoFrame.from_ndarray(lying, format="rgb24")))
        file.mux(stream.encode())


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="540x960")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--video", type=Path, help="a video to use instead")
    parser.add_argument("--keep", type=Path, help="where to make the video, and to find it the next time")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        video = chosen.video or chosen.keep or folder / "walk.mp4"
        if not video.exists():
            width, height = (int(side) for side in chosen.size.split("x"))
            took, _ = timed(lambda: make_video(video, chosen.seconds, width, height))
            print(f"made {video.name}, {video.stat().st_size / 1e6:.1f} MB, in {took:.0f} s")
        extracting, names = timed(lambda: extract_frames(video, folder / "frames", chosen.frames, note=print))
        sequential: dict[str, Any] = {"sequential": True} if "sequential" in inspect.signature(solve).parameters else {}
        solving, found = timed(lambda: solve(folder / "frames", folder / "cameras", **sequential))
        print(
            f"extraction {extracting:.1f} s, structure from motion {solving:.1f} s, in all {extracting + solving:.1f} s"
        )
        print(
            f"registered {found.registered} of {len(names)} frames, {found.points} points, "
            f"mean reprojection error {found.reprojection_error:.2f} pixels"
        )


if __name__ == "__main__":
    main()
