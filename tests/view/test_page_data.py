"""What a page is to show, and a run's cameras and pictures: there and back, and every way they can be damaged."""

import errno
import json
import math
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter

import pytest
import torch
from PIL import Image

from sfumato.capture import load_scene
from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.scene import Picture, Points, Scene, View
from sfumato.view.page import Page, PageCamera, SplatFile, cameras_of, embeddable, near_of, up_of
from sfumato.view.views import own_pictures, read_cameras, view_stems, write_views

DOWN = torch.tensor([0.0, 1.0, 0.0])
GOOD = {
    "id": 0,
    "img_name": "a",
    "width": 8,
    "height": 6,
    "position": [0, 0, 0],
    "rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "fx": 5,
    "fy": 5,
}


def make_scene(count: int = 4, test: int = 1, size: tuple[int, int] = (8, 6)) -> Scene:
    """Cameras around the middle, photos of one color each; the first `test` are held out."""
    views = []
    for index in range(count):
        angle = torch.tensor(math.tau * index / count)
        position = torch.stack([3 * angle.cos(), torch.tensor(-1.0), 3 * angle.sin()])
        camera = Camera.look_at(position, torch.zeros(3), -DOWN, 5.0, *size)
        photo = torch.full((size[1], size[0], 3), 10 * index % 256, dtype=torch.uint8)
        views.append(View(f"b/{index:03}.png", camera, photo, "test" if index < test else "train"))
    return Scene(views, Points(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.uint8)), (1.0, 0.5, 0.0))


def test_a_page_as_its_script_reads_it() -> None:
    scene = make_scene()
    page = replace(Page.of_scene("a title", scene, "/photos/{}.jpg".format), splat=SplatFile("/s.ply", "s.ply", 7))
    found = json.loads(embeddable(page))
    assert found == page.to_json()
    keys = "title splat up background near antialiased cameras start live"
    assert set(found) == set(keys.split())
    assert found["splat"] == {"url": "/s.ply", "name": "s.ply", "bytes": 7}
    assert found["up"] == pytest.approx([0, -1, 0], abs=1e-6)
    assert found["background"] == [1.0, 0.5, 0.0]
    assert found["near"] == scene.near
    camera = found["cameras"][2]
    assert set(camera) == {"name", "viewmat", "K", "width", "height", "split", "photo"}
    assert camera["viewmat"] == pytest.approx(scene.views[2].camera.viewmat.flatten().tolist())
    assert camera["K"] == [5, 5, 4, 3]
    assert (camera["name"], camera["split"], camera["photo"]) == ("b/002.png", "train", "/photos/2.jpg")
    assert set(found["start"]) == {"viewmat", "K", "width", "height"}
    assert found["start"]["viewmat"] == found["cameras"][0]["viewmat"]  # the first that was held out
    assert json.loads(embeddable(Page("x", "embedded")))["splat"] == {"embedded": True}
    assert json.loads(embeddable(Page("x")))["splat"] is None


@pytest.mark.parametrize(
    "name", ["</script><script>alert(1)</script>", "<!--<script>", "a & b", "\u2028 é 日本 \udc80"]
)
def test_no_name_leads_out_of_the_script_element(name: str) -> None:
    text = embeddable(Page(name))
    assert not set("<>&") & set(text)
    assert text.isascii()
    assert json.loads(text)["title"] == name


def test_position_is_where_the_camera_stands() -> None:
    # turned by 90 degrees about y, at (1, 2, 3): x of the camera is -z of the world
    viewmat = (0.0, 0.0, -1.0, 3.0, 0.0, 1.0, 0.0, -2.0, 1.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
    assert PageCamera("", viewmat, (1, 1, 1, 1), 2, 2).position == (1.0, 2.0, 3.0)


def test_up_is_nothing_where_cameras_disagree() -> None:
    upright = cameras_of(make_scene(1).views)
    overhead = Camera.look_at(torch.tensor([3.0, -1.0, 0.0]), torch.zeros(3), DOWN, 5.0, 8, 6)
    assert up_of(upright) is not None
    assert up_of([*upright, PageCamera.of(overhead)]) is None
    assert up_of([]) is None


@pytest.mark.parametrize("size", [0.01, 1.0, 100.0])
def test_near_is_that_of_the_scene(size: float) -> None:
    scene = make_scene()
    views = []
    for view in scene.views:
        viewmat = view.camera.viewmat.clone()
        viewmat[:3, 3] *= size
        views.append(replace(view, camera=replace(view.camera, viewmat=viewmat)))
    scene = replace(scene, views=views)
    assert near_of(cameras_of(scene.views)) == pytest.approx(scene.near)
    assert near_of([]) == near_of(cameras_of(views[:2])) == 0.2  # one camera has no extent


def test_cameras_there_and_back(tmp_path: Path) -> None:
    scene = make_scene()
    write_views(tmp_path, scene)
    found = read_cameras(tmp_path)
    for index, (camera, view) in enumerate(zip(found, scene.views, strict=True)):
        wanted = PageCamera.of(view.camera, view.name, view.split, f"views/b-{index:03}.jpg")
        assert camera.viewmat == pytest.approx(wanted.viewmat, abs=1e-6)
        assert replace(camera, viewmat=wanted.viewmat) == wanted
        with Image.open(tmp_path / str(camera.photo)) as picture:
            assert picture.size == (8, 6)
            assert abs(picture.getpixel((3, 3))[0] - 10 * index) < 3
    assert read_cameras(tmp_path / "nowhere") == []


def test_cameras_are_in_the_common_format(tmp_path: Path) -> None:
    scene = make_scene()
    write_views(tmp_path, scene)
    entry = json.loads((tmp_path / "cameras.json").read_text(encoding="utf-8"))[2]
    assert {**entry, "position": 0, "rotation": 0}.items() >= {
        "id": 2,
        "img_name": "b/002.png",
        "width": 8,
        "height": 6,
        "fx": 5.0,
        "fy": 5.0,
    }.items()
    pose = torch.linalg.inv(scene.views[2].camera.viewmat)  # world <- camera
    assert torch.tensor(entry["rotation"]).allclose(pose[:3, :3], atol=1e-6)
    assert torch.tensor(entry["position"]).allclose(pose[:3, 3], atol=1e-6)


def test_pictures_are_small_and_not_too_many(tmp_path: Path) -> None:
    scene = make_scene(count=300, test=3)
    large = make_scene(count=1, size=(2000, 500)).views[0]
    told: list[tuple[str, int, int]] = []
    views = [*scene.views, replace(large, name="large.jpg")]
    write_views(tmp_path, replace(scene, views=views), progress=lambda *progress: told.append(progress))
    assert told == [("pictures for the viewer", done, 204) for done in range(1, 205)]
    cameras = read_cameras(tmp_path)
    assert len(cameras) == 301
    shown = [index for index, camera in enumerate(cameras) if camera.photo]
    assert len(shown) == 204
    assert {0, 1, 2, 300} <= set(shown)
    assert max(b - a for a, b in pairwise(shown)) == 2  # evenly
    with Image.open(tmp_path / "views" / "large.jpg") as picture:
        assert picture.size == (960, 240)
    assert len(own_pictures(tmp_path)) == 204


def test_a_photo_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    def broken() -> Picture:
        raise InputError("001.png is broken")

    scene = make_scene()
    views = [scene.views[0], replace(scene.views[1], photo=broken), *scene.views[2:]]
    told: list[str] = []
    write_views(tmp_path, replace(scene, views=views), told.append)
    assert told == [
        f"{tmp_path}: not all pictures for the viewer could be written (001.png is broken); training goes on"
    ]
    assert [camera.photo is None for camera in read_cameras(tmp_path)] == [False, True, False, False]


def test_a_full_disk_is_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("sfumato.view.views.replacing", full)
    monkeypatch.setattr("sfumato.view.views.write_text", full)
    told: list[str] = []
    write_views(tmp_path, make_scene(), told.append)
    assert len(told) == 1
    assert "No space left on device" in told[0]
    assert list(tmp_path.iterdir()) == []


def test_names_for_pictures() -> None:
    names = [
        "a/1.png",
        "a-1.jpg",
        "A/1.JPG",
        "../../etc/x.png",
        "a\\b.png",
        "c:d?.png",
        ".jpg",
        "é" * 99 + ".png",
        "r.render.jpg",
    ]
    stems = view_stems(names)
    assert stems[:7] == ["a-1", "a-1-1", "A-1-2", "etc-x", "a-b", "c_d_", "_jpg"]
    assert len(stems[7]) == 50
    assert stems[8] == "r_render"  # r.render.jpg is the render of r
    assert view_stems(["a-2.png", "a.png", "a.jpg"]) == ["a-2", "a", "a-3"]


def test_long_names_of_wide_letters_are_written(tmp_path: Path) -> None:
    view = make_scene().views[0]
    told: list[str] = []
    write_views(tmp_path, replace(make_scene(), views=[replace(view, name="\U0001f600" * 60 + ".png")]), told.append)
    assert told == []
    assert len(own_pictures(tmp_path)) == 1


FAR: dict[str, object] = {"position": [1.7e308, 1.7e308, 0]}  # finite, but its place as a camera sees it is not
DAMAGES: dict[str, Callable[[dict[str, object]], object]] = {
    "no list": lambda entry: {"a": 1},
    "no object": lambda entry: [3],
    "no position": lambda entry: [{key: entry[key] for key in entry if key != "position"}],
    "short position": lambda entry: [{**entry, "position": [0, 0]}],
    "position NaN": lambda entry: [{**entry, "position": [0, 0, float("nan")]}],
    "position too far": lambda entry: [{**entry, "rotation": [[0.8, 0.6, 0], [0.6, -0.8, 0], [0, 0, -1]], **FAR}],
    "position of words": lambda entry: [{**entry, "position": ["a", "b", "c"]}],
    "no rotation": lambda entry: [{**entry, "rotation": [[1, 0, 0], [0, 2, 0], [0, 0, 1]]}],
    "rotation NaN": lambda entry: [{**entry, "rotation": [[float("nan")] * 3] * 3}],
    "nested rotation": lambda entry: [{**entry, "rotation": [[[1]]]}],
    "rotation null": lambda entry: [{**entry, "rotation": None}],
    "width of words": lambda entry: [{**entry, "width": "8"}],
    "no width": lambda entry: [{**entry, "width": 0}],
    "huge width": lambda entry: [{**entry, "width": 10**40}],
    "negative focal": lambda entry: [{**entry, "fx": -1}],
    "huge focal": lambda entry: [{**entry, "fx": 10**400}],
    "cx infinite": lambda entry: [{**entry, "cx": float("inf")}],
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_cameras_get_a_sentence(tmp_path: Path, damage: Callable[[dict[str, object]], object]) -> None:
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps([GOOD]), encoding="utf-8")
    assert read_cameras(tmp_path)[0].K == (5, 5, 4, 3)  # of others, who write no cx and cy
    path.write_text(json.dumps(damage(dict(GOOD))), encoding="utf-8")
    with pytest.raises(InputError, match=r"cameras\.json") as error:
        read_cameras(tmp_path)
    assert len(str(error.value)) < 300
    assert "\n" not in str(error.value)
    assert own_pictures(tmp_path) == []


@pytest.mark.parametrize("text", [b"", b"[", b"\xff\xfe", b"[" * 100_000, b'"x"', b"[{}]"])
def test_cameras_that_are_no_json_get_a_sentence(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "cameras.json").write_bytes(text)
    with pytest.raises(InputError, match=r"cameras\.json"):
        read_cameras(tmp_path)


@pytest.mark.parametrize(
    "photo", ["../secret.jpg", "/etc/passwd", "views/../secret.jpg", "views\\a.jpg", "secret.jpg", 7]
)
def test_photos_elsewhere_are_no_photos(tmp_path: Path, photo: object) -> None:
    for name in ("secret.jpg", "run/secret.jpg", "run/views/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    path = tmp_path / "run" / "cameras.json"
    path.write_text(json.dumps([{**GOOD, "photo": "views/a.jpg"}, {**GOOD, "photo": photo}]), encoding="utf-8")
    assert [camera.photo for camera in read_cameras(tmp_path / "run")] == ["views/a.jpg", None]


def test_real_photos(tmp_path: Path, shared_data: Path) -> None:
    scene = load_scene(shared_data / "fox")
    began = perf_counter()
    write_views(tmp_path, scene)
    assert perf_counter() - began < 10  # 0.13 s on two cores
    cameras = read_cameras(tmp_path)
    assert len(cameras) == len(own_pictures(tmp_path)) == 50
    assert sum(path.stat().st_size for path in own_pictures(tmp_path)) < 8e6
    assert near_of(cameras) == pytest.approx(scene.near, rel=1e-4)
