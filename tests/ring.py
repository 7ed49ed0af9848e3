"""A ring of cameras with known poses around known points, and what every reader of a dataset must survive."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sfumato.capture.shot import Capture, Lens, Shot
from sfumato.core.errors import InputError

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenGL's camera axes in OpenCV's
SIZE = (48, 36)


def viewmats(count: int = 6, seed: int = 0, center: tuple[float, float, float] = (0.3, -0.2, 0.1)) -> np.ndarray:
    """(count, 4, 4) camera <- world, OpenCV axes, all looking near `center`, each rolled by a random angle."""
    random = np.random.default_rng(seed)
    poses = []
    for angle in np.linspace(0, 5, count):
        position = np.array(center) + 3 * np.array([np.cos(angle), np.sin(angle), 0.4 + 0.1 * angle])
        forward = np.array(center) + random.normal(0, 0.1, 3) - position
        forward /= np.linalg.norm(forward)
        side = np.cross(forward, random.normal(0, 1, 3))
        side /= np.linalg.norm(side)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([side, np.cross(forward, side), forward])
        pose[:3, 3] = -pose[:3, :3] @ position
        poses.append(pose)
    return np.stack(poses)


def points(count: int = 20, seed: int = 1) -> np.ndarray:
    """(count, 3) points in front of every camera of the ring."""
    return np.random.default_rng(seed).uniform(-0.6, 0.6, (count, 3)) + np.array([0.3, -0.2, 0.1])


def photos(folder: Path, names: list[str], size: tuple[int, int] = SIZE) -> None:
    """Photos of noise."""
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name)


def colmap_pixels(shot: Shot, xyz: np.ndarray) -> np.ndarray:
    """(M, 2) pixels of (M, 3) world points, by COLMAP's own code for the lens."""
    import pycolmap

    lens = shot.lens
    camera = pycolmap.Camera(model=lens.model, width=lens.width, height=lens.height, params=list(lens.params))
    inside = xyz @ shot.viewmat[:3, :3].T + shot.viewmat[:3, 3]
    pixels: np.ndarray = camera.img_from_cam(inside)
    return pixels


def pinhole_pixels(lens: Lens, viewmat: np.ndarray, xyz: np.ndarray) -> np.ndarray:
    """(M, 2) pixels of (M, 3) world points, by hand, without distortion."""
    x, y, z = (xyz @ viewmat[:3, :3].T + viewmat[:3, 3]).T
    return np.stack([lens.focals[0] * x / z + lens.center[0], lens.focals[1] * y / z + lens.center[1]], axis=1)


def same_poses(capture: Capture, truth: np.ndarray, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(np.stack([shot.viewmat for shot in capture.shots]), truth, atol=atol)


def survives(read: Callable[[], Capture | None]) -> bool:
    """True when `read` gives shots that are whole; False when it refuses in one sentence; else the test fails."""
    try:
        capture = read()
    except InputError as error:
        text = str(error)
        assert text
        assert "\n" not in text
        return False
    if capture is None:
        return False
    assert capture.shots
    for shot in capture.shots:
        assert np.isfinite(shot.viewmat).all()
        assert min(shot.lens.focals) > 0
        np.testing.assert_allclose(shot.viewmat[:3, :3] @ shot.viewmat[:3, :3].T, np.eye(3), atol=1e-5)
    return True


def truncations(path: Path, parts: int = 20) -> Iterator[int]:
    """Cut the file at every 1/parts of its length, and tell how much is left; whole again at the end."""
    data = path.read_bytes()
    try:
        for part in range(parts):
            path.write_bytes(data[: len(data) * part // parts])
            yield part
    finally:
        path.write_bytes(data)


# what a field of JSON must never be
NONSENSE: list[Any] = [None, True, "x", "", [], {}, [[]], -1, 0, 1e400, float("nan"), 10**400, [1, 2], {"a": 1}]
