"""Small datasets, written here as other programs write them: COLMAP models, transforms.json, folders of photos."""

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

MODELS = {
    "SIMPLE_PINHOLE": 0,
    "PINHOLE": 1,
    "SIMPLE_RADIAL": 2,
    "OPENCV": 4,
    "OPENCV_FISHEYE": 5,
    "EQUIRECTANGULAR": 17,
}


@dataclass
class Toy:
    """A COLMAP model of three photos by one camera."""

    names: Sequence[str] = ("a.png", "sub folder/b c.png", "d.png")
    model: str = "PINHOLE"
    params: Sequence[float] = (30.0, 31.0, 16.5, 12.25)
    size: tuple[int, int] = (32, 24)
    quats: Sequence[Sequence[float]] = ((1, 0, 0, 0), (0.8, 0.6, 0, 0), (0.5, 0.5, -0.5, 0.5))
    xyz: Sequence[Sequence[float]] = ((0, 0, 3), (0.5, -0.25, 4))
    written: list[Path] = field(default_factory=list)

    def rows(self) -> list[tuple[int, Sequence[float], Sequence[float], str]]:
        """(id, wxyz, translation, name) of each photo."""
        return [(i + 7, q, (0.1 * i, 0.2, 0.3), n) for i, (q, n) in enumerate(zip(self.quats, self.names, strict=True))]

    def write_binary(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        camera = struct.pack("<QIiQQ", 1, 3, MODELS[self.model], *self.size)
        camera += struct.pack(f"<{len(self.params)}d", *self.params)
        images = struct.pack("<Q", len(self.names))
        for number, quat, translation, name in self.rows():
            images += struct.pack("<I7dI", number, *quat, *translation, 3) + name.encode() + b"\0"
            images += struct.pack("<Qddqddq", 2, 1.5, 2.5, 1, 3.5, 4.5, -1)
        points = struct.pack("<Q", len(self.xyz))
        for i, xyz in enumerate(self.xyz):
            points += struct.pack("<Q3d3BdQ2I", i + 1, *xyz, 10 + i, 20, 255, 0.5, 1, 7, 0)
        for name, data in (("cameras", camera), ("images", images), ("points3D", points)):
            (folder / f"{name}.bin").write_bytes(data)
        return folder

    def write_text(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        numbers = " ".join(str(value) for value in self.params)
        camera = f"# comment\n3 {self.model} {self.size[0]} {self.size[1]} {numbers}\n"
        images = "# comment\n"
        for place, (number, quat, translation, name) in enumerate(self.rows()):
            pose = " ".join(str(value) for value in (*quat, *translation))
            observations = "1.5 2.5 1 3.5 4.5 -1" if place else ""  # a line that is empty, not missing
            images += f"{number} {pose} 3 {name}\n{observations}\n"
        points = "".join(f"{i + 1} {x} {y} {z} {10 + i} 20 255 0.5 7 0\n" for i, (x, y, z) in enumerate(self.xyz))
        for name, text in (("cameras", camera), ("images", images), ("points3D", points)):
            (folder / f"{name}.txt").write_text(text, encoding="utf-8")
        return folder

    def write_photos(self, folder: Path) -> Path:
        for number, name in enumerate(self.names):
            write_photo(folder / name, self.size, number)
        return folder


def write_photo(path: Path, size: tuple[int, int], number: int, alpha: bool = False, **options: Any) -> np.ndarray:
    """A photo of noise with that number as its seed; returns its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 4 if alpha else 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return pixels


@pytest.fixture
def photo() -> Callable[..., np.ndarray]:
    return write_photo


@pytest.fixture
def colmap_toy() -> type[Toy]:
    return Toy


Pose = list[list[float]]


def orbit_pose(angle: float, distance: float = 4.0) -> Pose:
    """World <- camera with OpenGL axes of a camera that looks at the origin, z up."""
    back = np.array([np.cos(angle), np.sin(angle), 0.5])
    back /= np.linalg.norm(back)
    right = np.cross([0, 0, 1], back)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3] = np.stack([right, np.cross(back, right), back, distance * back], axis=1)
    rows: Pose = matrix.tolist()
    return rows


@pytest.fixture
def orbit() -> Callable[..., Pose]:
    return orbit_pose


@pytest.fixture
def transforms() -> Callable[..., Path]:
    """Write a transforms file of frames that look at the origin, one for each path."""

    def write(path: Path, files: Sequence[str], frame: dict[str, Any] | None = None, **top: Any) -> Path:
        frames = [
            {"file_path": name, "transform_matrix": orbit_pose(0.7 * i), **(frame or {})}
            for i, name in enumerate(files)
        ]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**top, "frames": frames}), encoding="utf-8")
        return path

    return write
