"""What lies beside a transforms.json: points of a PLY file or a COLMAP model, masks, and how the world was moved."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ring import FLIP, photos, points, same_poses, viewmats

from sfumato.capture.nerf_json import find_transforms, read_transforms
from sfumato.capture.nerf_points import fit_similarity
from sfumato.capture.shot import Capture
from sfumato.core.errors import InputError, SfumatoWarning

NAMES = [f"images/frame_0000{i}.png" for i in range(6)]
APPLIED = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0]])  # what nerfstudio does to COLMAP's worlds


def write(folder: Path, moved: np.ndarray | None = None, scale: float = 1.0, **top: Any) -> Path:
    """The ring as nerfstudio writes it: world <- camera, OpenGL axes, moved by (3, 4) and then scaled."""
    moved = np.eye(4)[:3] if moved is None else moved
    frames = []
    for name, viewmat in zip(NAMES, viewmats(), strict=True):
        pose = np.vstack([moved @ np.linalg.inv(viewmat) @ FLIP, [0, 0, 0, 1]])
        pose[:3, 3] *= scale
        frames.append({"file_path": name, "transform_matrix": pose.tolist()})
    path = folder / "transforms.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"fl_x": 40, "w": 48, "h": 36, **top, "frames": frames}), encoding="utf-8")
    return path


def write_model(folder: Path, names: list[str], poses: np.ndarray, xyz: np.ndarray) -> None:
    """A COLMAP model in text, its quaternions by the formula for w > 0, else through the axis."""
    folder.mkdir(parents=True)
    (folder / "cameras.txt").write_text("1 PINHOLE 48 36 40 40 24 18\n", encoding="utf-8")
    lines = []
    for number, (name, pose) in enumerate(zip(names, poses, strict=True)):
        values, vectors = np.linalg.eigh(quaternion_form(pose[:3, :3]))
        quat = vectors[:, np.argmax(values)]
        row = [number + 1, *quat.tolist(), *pose[:3, 3].tolist(), 1, name]
        lines += [" ".join(map(str, row)), ""]
    (folder / "images.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = (f"{i} {x} {y} {z} 1 2 3 0.5 1 0" for i, (x, y, z) in enumerate(xyz.tolist()))
    (folder / "points3D.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")


def quaternion_form(m: np.ndarray) -> np.ndarray:
    """The 4 x 4 form whose largest eigenvector is the rotation's wxyz (Bar-Itzhack 2000)."""
    (a, b, c), (d, e, f), (g, h, i) = m
    return np.array(
        [
            [a + e + i, h - f, c - g, d - b],
            [h - f, a - e - i, d + b, c + g],
            [c - g, d + b, e - a - i, h + f],
            [d - b, c + g, h + f, i - a - e],
        ]
    )


def read_folder(folder: Path) -> Capture:
    return read_transforms(find_transforms(folder))


@pytest.mark.parametrize("name", ["sparse_pc.ply", "./sparse_pc.ply", "/home/somebody/out/sparse_pc.ply"])
def test_points_of_a_ply_file_are_in_the_stored_world(tmp_path: Path, name: str) -> None:
    write(tmp_path, APPLIED, ply_file_path=name, applied_transform=APPLIED.tolist())
    photos(tmp_path, NAMES)
    header = "ply\nformat binary_little_endian 1.0\nelement vertex 2\n"
    header += "".join(f"property float {axis}\n" for axis in "xyz")
    header += "".join(f"property uint8 {color}\n" for color in ("red", "green", "blue")) + "end_header\n"
    body = struct.pack("<3f3B", 1, 2, 3, 10, 20, 30) + struct.pack("<3f3B", -1, 0.5, 0, 255, 0, 1)
    (tmp_path / "sparse_pc.ply").write_bytes(header.encode() + body)
    capture = read_folder(tmp_path)
    assert capture.points is not None
    assert capture.points.xyz.tolist() == [[1, 2, 3], [-1, 0.5, 0]]
    assert capture.points.rgb.tolist() == [[10, 20, 30], [255, 0, 1]]
    assert capture.protocol["points"] == "sparse_pc.ply"
    assert capture.protocol["applied_transform"] == APPLIED.tolist()
    assert capture.protocol["applied_scale"] == 1.0
    (tmp_path / "sparse_pc.ply").write_bytes(header.encode() + body[:-1])
    with pytest.raises(InputError, match=r"sparse_pc\.ply is not a whole PLY file"):
        read_folder(tmp_path)
    (tmp_path / "sparse_pc.ply").unlink()
    with pytest.warns(SfumatoWarning, match="sparse_pc.ply is not there, so its points are not used"):
        assert read_folder(tmp_path).points is None


@pytest.mark.parametrize(
    ("moved", "scale"),
    [
        (APPLIED, 1.0),
        (APPLIED, 0.25),
        (np.array([[0.0, 1, 0, 3], [1, 0, 0, -2], [0, 0, -1, 0.5]]), 1.7),  # as it was done before it was recorded
        (np.eye(4)[:3], 1.0),
    ],
)
@pytest.mark.parametrize("recorded", [True, False])
def test_points_of_a_colmap_model_follow_the_cameras(
    tmp_path: Path, moved: np.ndarray, scale: float, recorded: bool
) -> None:
    top = {"applied_transform": moved.tolist(), "applied_scale": scale} if recorded else {}
    write(tmp_path, moved, scale, **top)
    photos(tmp_path, NAMES)
    write_model(tmp_path / "colmap/sparse/0", [Path(name).name for name in NAMES], viewmats(), points())
    capture = read_folder(tmp_path)
    assert capture.points is not None
    by_definition = scale * (points() @ moved[:, :3].T + moved[:, 3])
    np.testing.assert_allclose(capture.points.xyz.numpy(), by_definition, atol=1e-6)
    assert capture.protocol["points"] == "colmap/sparse/0"
    assert ("applied_transform" in capture.protocol) == recorded


def test_a_model_of_something_else_is_not_used(tmp_path: Path) -> None:
    write(tmp_path)
    photos(tmp_path, NAMES)
    names = [Path(name).name for name in NAMES]
    write_model(tmp_path / "colmap/sparse/0", names, viewmats(seed=5)[::-1], points())
    with pytest.warns(SfumatoWarning, match="are not those of .*so its points are not used"):
        assert read_folder(tmp_path).points is None


def test_a_damaged_model_is_not_used(tmp_path: Path) -> None:
    write(tmp_path)
    photos(tmp_path, NAMES)
    write_model(tmp_path / "colmap/sparse/0", NAMES, viewmats(), points())
    (tmp_path / "colmap/sparse/0/points3D.txt").write_text("1 2\n", encoding="utf-8")
    with pytest.warns(SfumatoWarning, match=r"points beside the cameras are not used: .*points3D\.txt is damaged"):
        same_poses(read_folder(tmp_path), viewmats())


def test_similarity_of_cameras_on_a_line() -> None:
    """Positions alone would leave the turn about the line open; the cameras' own turns decide it."""
    before = np.stack([np.eye(4)] * 4)
    before[:, 0, 3] = [0, -1, -2, -3]
    after = before.copy()
    turn = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    after[:, :3, :3] = turn.T
    after[:, :3, 3] = 2 * before[:, :3, 3]
    found = fit_similarity(list(before), list(after))
    assert found is not None
    np.testing.assert_allclose(found.rotation, turn, atol=1e-12)
    assert found.scale == pytest.approx(2)
    np.testing.assert_allclose(found.apply(np.array([[1.0, 1, 0]])), [[2, 0, 2]], atol=1e-12)
    assert fit_similarity(list(before[:2]), list(after[:2])) is None
    assert fit_similarity([before[0]] * 3, [after[0]] * 3) is None  # at one place: no scale


def test_other_places_or_other_turns_are_no_similarity() -> None:
    poses = list(viewmats())
    assert fit_similarity(poses, poses) is not None
    moved = [pose.copy() for pose in poses]  # the same turns, but the positions of others
    for pose, other in zip(moved, [*poses[1:], poses[0]], strict=True):
        pose[:3, 3] = pose[:3, :3] @ other[:3, :3].T @ other[:3, 3]
    assert fit_similarity(poses, moved) is None
    turned = []  # the same positions, and the same turns on average
    for number, pose in enumerate(poses):
        sine = np.sin(np.radians(5 if number % 2 else -5))
        roll = np.eye(4)
        roll[:2, :2] = [[np.sqrt(1 - sine**2), -sine], [sine, np.sqrt(1 - sine**2)]]
        turned.append(roll @ pose)
    assert fit_similarity(poses, turned) is None


@pytest.mark.filterwarnings("ignore:.*lists 67 photos")
def test_fox_takes_the_points_of_its_colmap_model(shared_data: Path, tmp_path: Path) -> None:
    """Two solutions of the same photos: the points land where both worlds agree, seen by the file's cameras."""
    folder = tmp_path / "fox"
    folder.mkdir()
    for name in ("transforms.json", "images", "sparse"):
        (folder / name).symlink_to(shared_data / "fox" / name)
    capture = read_folder(folder)
    assert capture.points is not None
    assert len(capture.points) > 1000
    middle = capture.points.xyz.median(dim=0).values.numpy()
    for shot in capture.shots:
        x, y, z = shot.viewmat[:3, :3] @ middle + shot.viewmat[:3, 3]
        assert z > 0
        fx, fy = shot.lens.focals
        assert abs(fx * x / z) < shot.lens.width
        assert abs(fy * y / z) < shot.lens.height


@pytest.mark.parametrize("name", ["masks/{}.png", "./masks/{}.png", "/home/somebody/data/masks/{}.png"])
def test_masks(tmp_path: Path, name: str) -> None:
    path = write(tmp_path)
    photos(tmp_path, NAMES)
    content = json.loads(path.read_text(encoding="utf-8"))
    for frame in content["frames"][:4]:
        frame["mask_path"] = name.format(Path(frame["file_path"]).stem)
    path.write_text(json.dumps(content), encoding="utf-8")
    photos(tmp_path / "masks", [f"frame_0000{i}.png" for i in range(3)])
    with pytest.warns(SfumatoWarning, match=r"names 1 masks that are not there .*frame_00003"):
        masks = [shot.mask for shot in read_folder(tmp_path).shots]
    assert masks == [tmp_path / "masks" / f"frame_0000{i}.png" for i in range(3)] + [None] * 3


def test_a_photo_is_not_its_own_mask(tmp_path: Path) -> None:
    path = write(tmp_path)
    photos(tmp_path, NAMES)
    content = json.loads(path.read_text(encoding="utf-8"))
    content["frames"][0]["mask_path"] = "/elsewhere/masks/" + NAMES[0]
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.warns(SfumatoWarning, match="names 1 masks that are not there"):
        assert read_folder(tmp_path).shots[0].mask is None
