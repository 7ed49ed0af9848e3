"""A walk with a phone: a number of photos in, cameras around the still life and JPEG files out."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from sfumato.capture.studio.photograph import picture, studio
from sfumato.core.camera import Camera
from sfumato.core.progress import Progress, silent

__all__ = ["phone_walk", "shoot"]

FOCAL_35MM = 27  # of the phone: 65 degrees across for pictures of 4:3
ARC, TOWARDS_SUN = np.deg2rad(210), np.deg2rad(-100)  # of the walk, seen from the middle of the table
DIAGONAL_35MM = 43.266615  # millimeters; equivalent focal lengths compare diagonals (CIPA DCG-001)


def phone_walk(count: int = 48, width: int = 480, height: int = 360, seed: int = 0) -> list[Camera]:
    """`count` cameras of a walk around the sunny side of the table, the phone now higher, now lower, never steady.

    It first goes back a little, so that the first photo, which is often held out, shows nothing that no other does.
    """
    rng = np.random.default_rng([seed, 200])
    focal = FOCAL_35MM / DIAGONAL_35MM * float(np.hypot(width, height))
    spacing = ARC / max(count - 1, 1)
    cameras = []
    for t in np.linspace(0, 1, count):
        along = np.interp(t, [0, 0.1, 1], [-0.78, -1, 1])
        angle = TOWARDS_SUN + along * ARC / 2 + rng.normal(0, 0.12 * spacing)
        radius = 1.36 + 0.12 * np.sin(2 * np.pi * 1.6 * t + 0.8) + rng.normal(0, 0.02)
        z = 1.42 + 0.20 * np.sin(2 * np.pi * 3 * t) + rng.normal(0, 0.02)
        position = torch.tensor([radius * np.cos(angle), radius * np.sin(angle), z], dtype=torch.float64)
        target = torch.tensor([0.0, 0.0, 0.93], dtype=torch.float64) + torch.from_numpy(rng.normal(0, 0.03, 3))
        up = torch.from_numpy(np.array([0, 0, 1.0]) + rng.normal(0, 0.015, 3))
        cameras.append(Camera.look_at(position, target, up, focal, width, height).to(torch.float32))
    return cameras


def shoot(
    folder: Path, cameras: Sequence[Camera], progress: Progress = silent, workers: int | None = None, seed: int = 0
) -> None:
    """Write what `cameras` see as photo_001.jpg, photo_002.jpg and so on into `folder`, with a phone's EXIF data.

    `workers` photos are developed at the same time; None: one for each processor core.
    """
    folder.mkdir(parents=True, exist_ok=True)
    progress("photos", 0, len(cameras))
    scene = studio(seed)

    def one(numbered: tuple[int, Camera]) -> None:
        number, camera = numbered
        photo = Image.fromarray(picture(scene, camera))
        photo.save(folder / f"photo_{number:03d}.jpg", quality=95, subsampling=0, exif=_exif(camera))

    with ThreadPoolExecutor(workers) as pool:
        for done, _ in enumerate(pool.map(one, enumerate(cameras, start=1)), start=1):
            progress("photos", done, len(cameras))


def _exif(camera: Camera) -> Image.Exif:
    """The tags a phone writes; pixels per centimeter of sensor make the focal length exact."""
    focal = float(camera.K[0, 0])
    diagonal = float(np.hypot(camera.width, camera.height))
    millimeters = 4.25
    exif = Image.Exif()
    exif[0x010F], exif[0x0110] = "sfumato", "studio"  # Make, Model
    exif[0x0112] = 1  # Orientation: as stored
    tags = exif.get_ifd(0x8769)
    tags[0x920A] = IFDRational(round(millimeters * 100), 100)  # FocalLength
    tags[0xA405] = round(focal / diagonal * DIAGONAL_35MM)  # FocalLengthIn35mmFilm
    tags[0xA20E] = tags[0xA20F] = IFDRational(round(focal / millimeters * 10 * 1000), 1000)  # FocalPlaneX/YResolution
    tags[0xA210] = 3  # FocalPlaneResolutionUnit: centimeters
    tags[0xA002], tags[0xA003] = camera.width, camera.height  # PixelXDimension, PixelYDimension
    return exif
