"""Small inputs of every kind, whole, for tests that damage them or train on them."""

import json
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from ring import FLIP, SIZE, photos, points, viewmats

from sfumato import formats
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import write_image
from sfumato.core.rotation import quaternion_from_matrix
from sfumato.core.scene import Scene

NAMES = [f"{number}.jpg" for number in range(6)]
FOCAL = 40.0  # pixels


def colmap(
    folder: Path,
    model: int = 1,
    params: Sequence[float] = (FOCAL, FOCAL, SIZE[0] / 2, SIZE[1] / 2),
    quat: Sequence[float] | None = None,
    xyz: np.ndarray | None = None,
    with_photos: bool = True,
) -> Path:
    """Six photos of noise and a binary COLMAP model of them. quat: of the third photo, wxyz."""
    if with_photos:
        photos(folder / "images", NAMES)
    sparse = folder / "sparse" / "0"
    sparse.mkdir(parents=True)
    xyz = points() if xyz is None else xyz
    cameras = struct.pack("<QIiQQ", 1, 1, model, *SIZE) + struct.pack(f"<{len(params)}d", *params)
    images = struct.pack("<Q", len(NAMES))
    for number, (name, viewmat) in enumerate(zip(NAMES, viewmats(len(NAMES)), strict=True)):
        wxyz = quaternion_from_matrix(torch.from_numpy(viewmat[:3, :3])).tolist()
        pose = (*(quat if quat is not None and number == 2 else wxyz), *viewmat[:3, 3])
        images += struct.pack("<I7dI", number + 1, *pose, 1) + name.encode() + b"\0" + struct.pack("<Q", 0)
    clouds = struct.pack("<Q", len(xyz))
    for number, point in enumerate(xyz.tolist()):
        clouds += struct.pack("<Q3d3BdQ", number + 1, *point, 200, 100, 50, 0.5, 0)
    for name, data in (("cameras", cameras), ("images", images), ("points3D", clouds)):
        (sparse / f"{name}.bin").write_bytes(data)
    return folder


def transforms(folder: Path, frame: dict[str, Any] | None = None, **top: Any) -> Path:
    """The same as transforms.json; `frame` changes the third one."""
    photos(folder / "images", NAMES)
    frames: list[dict[str, Any]] = [
        {"file_path": f"images/{name}", "transform_matrix": (np.linalg.inv(viewmat) @ FLIP).tolist()}
        for name, viewmat in zip(NAMES, viewmats(len(NAMES)), strict=True)
    ]
    frames[2] |= frame or {}
    whole = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": SIZE[0] / 2, "cy": SIZE[1] / 2, "w": SIZE[0], "h": SIZE[1]}
    text = json.dumps({**whole, "frames": frames, **top})
    (folder / "transforms.json").write_text(text, encoding="utf-8")
    return folder


def blender(folder: Path, scene: Scene) -> Path:
    """A scene as photos and transforms_{train,test}.json with OpenGL's axes, as Blender's datasets have them."""
    flip = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    for split, views in (("train", scene.train), ("test", scene.test)):
        frames = []
        for view in views:
            write_image(folder / split / view.name, view.image)
            pose = torch.linalg.inv(view.camera.viewmat) @ flip
            frames.append({"file_path": f"./{split}/{Path(view.name).stem}", "transform_matrix": pose.tolist()})
        camera = scene.views[0].camera
        angle = 2 * math.atan(camera.width / (2 * camera.K[0, 0].item()))
        text = json.dumps({"camera_angle_x": angle, "frames": frames})
        (folder / f"transforms_{split}.json").write_text(text, encoding="utf-8")
    return folder


def splat(path: Path, count: int = 20, seed: int = 3) -> Path:
    """A splat of a few balls where the cameras look."""
    generator = torch.Generator().manual_seed(seed)
    gaussians = Gaussians(
        means=torch.from_numpy(points(count)).float(),
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        log_scales=torch.full((count, 3), -2.0),
        logit_opacities=torch.full((count,), 2.0),
        sh0=torch.randn(count, 1, 3, generator=generator),
        shN=torch.zeros(count, 0, 3),
    )
    formats.write(path, gaussians)
    return path


def mesh(path: Path) -> Path:
    """A triangle, as PLY."""
    header = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    faces = "element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    path.write_text(header + faces + "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", encoding="ascii")
    return path


def textured(
    folder: Path, count: int, shift: int = 40, different: bool = False, size: tuple[int, int] = (320, 240)
) -> Path:
    """Photos of one flat wall from further and further right (shift 0: copies), or each of another wall."""
    folder.mkdir(parents=True, exist_ok=True)
    width, height = size
    for number in range(count):
        wide = width + shift * count
        random = np.random.default_rng(number if different else 0)
        wall = np.zeros((height, wide, 3))
        for cell in (3, 8, 20, 50):
            coarse = random.integers(0, 256, (height // cell + 2, wide // cell + 2, 3), dtype=np.uint8)
            wall += np.asarray(Image.fromarray(coarse).resize((wide, height), Image.Resampling.BICUBIC))
        seen = (wall / 4)[:, shift * number : shift * number + width].astype(np.uint8)
        Image.fromarray(seen).save(folder / f"{number:02d}.jpg", quality=95)
    return folder
