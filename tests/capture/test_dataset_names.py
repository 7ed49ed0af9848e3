"""Files of datasets whose names are in capitals, as cameras, archives and old disks leave them.

Disks of macOS and Windows find them under either name, so files are compared, not names.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ring import points, viewmats

from sfumato.capture.datasets import bundler, kiri, llff, metashape, opensfm, polycam, reality_capture, record3d
from sfumato.capture.datasets.common import points_beside
from sfumato.capture.nerf_json import find_transforms, read_transforms
from sfumato.capture.nerf_points import file_beside
from sfumato.capture.shot import Lens, Shot

FILES = {
    bundler: ("bundle/SCENE.BUNDLE.OUT", "# Bundle file v0.3\n"),
    kiri: ("EXPORT/TRANSFORMS.JSON", "{}"),
    llff: ("POSES_BOUNDS.NPY", "any"),
    metashape: ("CAMERAS.XML", "<document><chunk><sensors>"),
    opensfm: ("opensfm/RECONSTRUCTION.JSON", "[]"),
    polycam: ("keyframes/cameras/1.JSON", '{"t_00": 1}'),
    reality_capture: ("images/A.XMP", "xcr:Rotation xcr:Position"),
    record3d: ("METADATA.JSON", '{"poses": []}'),
}


@pytest.mark.parametrize("reader", FILES, ids=lambda reader: reader.__name__.rpartition(".")[2])
def test_lists_of_cameras(tmp_path: Path, reader: Any) -> None:
    for folder in ("keyframes/images", "rgb"):
        (tmp_path / folder).mkdir(parents=True)
    name, text = FILES[reader]
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(text, encoding="utf-8")
    found = reader.find(tmp_path)
    assert found is not None
    assert found.samefile(tmp_path / name if reader is not polycam else tmp_path / "keyframes" / "cameras")


@pytest.mark.parametrize("name", ["TRANSFORMS.JSON", "Transforms_Train.json"])
def test_transforms(
    tmp_path: Path, name: str, transforms: Callable[..., Path], photo: Callable[..., np.ndarray]
) -> None:
    for number in range(3):
        photo(tmp_path / f"{number}.png", (20, 20), number, alpha=True)
    path = transforms(tmp_path / name, [f"{number}.png" for number in range(3)], camera_angle_x=1)
    (tmp_path / "POINTS.PLY").touch()
    (found,) = find_transforms(tmp_path)
    assert found.samefile(path)
    cloud = file_beside(tmp_path, "/of/another/points.ply")
    assert cloud is not None
    assert cloud.samefile(tmp_path / "POINTS.PLY")
    capture = read_transforms([path])
    is_split = "Train" in name
    assert (capture.is_synthetic, capture.reader == "blender", capture.shots[0].split == "train") == (is_split,) * 3


def test_the_list_of_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "A.LIST.TXT").write_text("one.jpg\ntwo.jpg 0 100\n", encoding="utf-8")
    assert bundler._names(tmp_path / "A.BUNDLE.OUT", tmp_path, 2) == ["one.jpg", "two.jpg"]


def test_cameras_and_place_of_opensfm(tmp_path: Path) -> None:
    (tmp_path / "CAMERAS.JSON").write_text("{}", encoding="utf-8")
    (tmp_path / "odm_report").mkdir()
    (tmp_path / "odm_report" / "SHOTS.GEOJSON").touch()
    found = opensfm.find(tmp_path)
    assert found is not None
    assert found.samefile(tmp_path / "odm_report" / "SHOTS.GEOJSON")
    place = {"latitude": 1.0, "longitude": 2.0, "altitude": 3.0}
    (tmp_path / "REFERENCE_LLA.JSON").write_text(json.dumps(place), encoding="utf-8")
    assert opensfm._place(tmp_path / "reconstruction.json", {})["geo_reference"] == place


def test_a_cloud(tmp_path: Path) -> None:
    header = "ply\nformat ascii 1.0\nelement vertex 20\n" + "".join(f"property float {axis}\n" for axis in "xyz")
    rows = "\n".join(" ".join(map(str, row)) for row in points())
    (tmp_path / "CLOUD.PLY").write_text(f"{header}end_header\n{rows}\n", encoding="utf-8")
    lens = Lens("SIMPLE_PINHOLE", (20.0, 24.0, 18.0), 48, 36)
    found = points_beside(tmp_path, [Shot("a", tmp_path / "a.jpg", lens, viewmat) for viewmat in viewmats()])
    assert found is not None
    assert len(found) == 20
