"""load_scene: sizes and intrinsics, background, undistortion and its cache, splits, and what it refuses."""

import math
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.capture import load_scene
from sfumato.capture.develop import MaskMode
from sfumato.capture.photos import Header, list_photos, read_header
from sfumato.core.cache import cache_folder, fingerprint
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.scene import Size

Photo = Callable[..., np.ndarray]
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's cache."""
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def scene_folder(tmp_path: Path, colmap_toy: Any) -> Path:
    toy = colmap_toy()
    toy.write_photos(tmp_path / "scene" / "images")
    toy.write_binary(tmp_path / "scene" / "sparse" / "0")
    return tmp_path / "scene"


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def test_a_pinhole_scene_is_read_as_it_is(scene_folder: Path, photo: Photo, cache: Path) -> None:
    before = files(scene_folder)
    scene = load_scene(scene_folder, holdout=3)
    assert [(view.name, view.split) for view in scene.views] == [
        ("a.png", "test"),
        ("d.png", "train"),
        ("sub folder/b c.png", "train"),
    ]
    camera = scene.views[0].camera
    assert (camera.width, camera.height) == (32, 24)
    assert camera.K.tolist() == [[30, 0, 16.5], [0, 31, 12.25], [0, 0, 1]]
    assert camera.K.dtype == camera.viewmat.dtype == scene.points.xyz.dtype == torch.float32
    stored = np.array(Image.open(scene_folder / "images" / "a.png"))
    np.testing.assert_array_equal(scene.views[0].image.numpy(), stored)
    assert scene.points.xyz.tolist() == [[0, 0, 3], [0.5, -0.25, 4]]
    assert scene.background == (0, 0, 0)
    assert scene.protocol == {
        "reader": "colmap",
        "source": "scene",
        "photos": 3,
        "size": "32x24",
        "downscale": 1.0,
        "resize_filter": "none",
        "background": [0.0, 0.0, 0.0],
        "holdout": "1 of every 3 photos in name order, from the first",
        "points": "structure from motion",
        "masks": "none",
        "undistorted": 0,
        "origin": [0.0, 0.0, 0.0],
        "registered": 3,
        "missing_files": 0,
        "reprojection_error": 0.5,
    }
    assert files(scene_folder) == before
    assert not cache.exists()


def test_downscaled_by_the_mean_with_exact_intrinsics(scene_folder: Path) -> None:
    scene = load_scene(scene_folder, downscale=2)
    view = scene.views[0]
    assert view.camera.K.tolist() == [[15, 0, 8.25], [0, 15.5, 6.125], [0, 0, 1]]
    stored = np.array(Image.open(scene_folder / "images" / "a.png")).astype(float)
    means = stored.reshape(12, 2, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(view.image.numpy() - means).max() <= 1  # the filter rounds twice
    assert scene.protocol["resize_filter"] == "area"
    odd = load_scene(scene_folder, downscale=3).views[0].camera  # 32 / 3 = 10.67: 11 pixels
    assert (odd.width, odd.height) == (11, 8)
    assert odd.K[0].tolist() == pytest.approx([30 * 11 / 32, 0, 16.5 * 11 / 32])


def test_intrinsics_follow_photos_that_were_made_smaller(scene_folder: Path) -> None:
    for path in files(scene_folder / "images"):
        Image.open(path).resize((16, 12)).save(path)
    scene = load_scene(scene_folder)
    assert scene.views[0].camera.K.tolist() == [[15, 0, 8.25], [0, 15.5, 6.125], [0, 0, 1]]


def test_memory_is_planned_for_photos_as_they_are(scene_folder: Path) -> None:
    """Cameras may be those of photos four times as wide."""
    for path in files(scene_folder / "images"):
        Image.open(path).resize((8, 6)).save(path)
    asked: list[Any] = []

    def fit(train: Any, test: Any) -> tuple[float, None]:
        asked.extend([list(train), list(test)])
        return 2.0, None

    scene = load_scene(scene_folder, fit=fit)
    assert asked == [[Size(8, 6)] * 2, [Size(8, 6)]]
    assert [(view.camera.width, view.camera.height) for view in scene.views] == [(4, 3)] * 3


@pytest.mark.parametrize("masks", ["ignore", "empty", "off"])
def test_memory_is_planned_with_masks(scene_folder: Path, masks: MaskMode) -> None:
    """The first photo has a mask, the second is transparent, the third is neither."""
    first, second, _ = sorted(files(scene_folder / "images"))
    (scene_folder / "masks").mkdir()
    Image.new("L", (32, 24)).save(scene_folder / "masks" / first.name)
    Image.open(second).convert("RGBA").save(second)
    asked: list[Size] = []

    def fit(train: Sequence[Size], test: Sequence[Size]) -> tuple[float, None]:
        asked.extend(train)
        return 1.0, None

    with suppress(SfumatoWarning) if masks == "off" else pytest.warns(SfumatoWarning, match="have no mask"):
        load_scene(scene_folder, holdout=0, masks=masks, fit=fit)
    assert [size.has_mask for size in asked] == ([False] * 3 if masks == "off" else [True, True, False])


def test_turned_photos_are_refused(scene_folder: Path) -> None:
    for path in files(scene_folder / "images"):
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path)
    with pytest.raises(InputError, match=r"24 x 32, but its camera 32 x 24"):
        load_scene(scene_folder)


def test_exif_orientation_is_not_applied(tmp_path: Path, colmap_toy: Any, photo: Photo) -> None:
    toy = colmap_toy(names=["a.jpg", "b.jpg", "c.jpg"])
    toy.write_binary(tmp_path / "scene")
    turned = Image.Exif()
    turned[0x0112] = 6
    for number, name in enumerate(toy.names):
        photo(tmp_path / "scene" / name, toy.size, number, exif=turned)
    scene = load_scene(tmp_path / "scene")
    assert all(view.image.shape == (24, 32, 3) for view in scene.views)


class TestUndistortion:
    """A photo of a lens with strong barrel distortion, on which straight lines must become straight."""

    params = (60.0, 61.0, 32.0, 24.0, -0.25, 0.05, 0.002, -0.001)
    size = (64, 48)

    @pytest.fixture
    def distorted(self, tmp_path: Path, colmap_toy: Any) -> Path:
        toy = colmap_toy(model="OPENCV", params=self.params, size=self.size)
        toy.write_binary(tmp_path / "scene" / "sparse")
        for name in toy.names:
            path = tmp_path / "scene" / "images" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(self.picture()).save(path)
        return tmp_path / "scene"

    def picture(self) -> np.ndarray:
        """What the lens shows of a plane whose color is 127 + 200 times the direction: x in red, y in green."""
        fx, fy, cx, cy, *_ = self.params
        u, v = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
        target = np.stack([(u - cx) / fx, (v - cy) / fy])
        x, y = target
        for _ in range(50):  # invert the distortion by fixed-point iteration
            bend = self.bend(x, y)
            x, y = x + target[0] - bend[0], y + target[1] - bend[1]
        return self.colors(x, y)

    def bend(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k1, k2, p1, p2 = self.params[4:]
        radius = x * x + y * y
        factor = 1 + k1 * radius + k2 * radius**2
        return (
            x * factor + 2 * p1 * x * y + p2 * (radius + 2 * x * x),
            y * factor + 2 * p2 * x * y + p1 * (radius + 2 * y * y),
        )

    @staticmethod
    def colors(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        stack = np.stack([127 + 200 * x, 127 + 200 * y, 0 * x + 50], axis=-1)
        return (stack.clip(0, 255) + 0.5).astype(np.uint8)

    def test_every_pixel_shows_its_ray(self, distorted: Path) -> None:
        scene = load_scene(distorted)
        assert scene.protocol["undistorted"] == 3
        camera = scene.views[0].camera
        (fx, _, cx), (_, fy, cy), _ = camera.K.tolist()
        assert (fx, fy) == (60, 61)
        u, v = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
        expected = self.colors((u - cx) / fx, (v - cy) / fy).astype(int)
        difference = np.abs(scene.views[0].image.numpy().astype(int) - expected)[1:-1, 1:-1]
        assert difference.max() <= 2  # rounding, twice

    def test_done_once(self, distorted: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = load_scene(distorted, downscale=2)
        kept = files(cache)
        assert len(kept) == 3

        def refuse(*args: object) -> None:
            raise AssertionError("undistorted again")

        monkeypatch.setattr("sfumato.capture.develop.undistort", refuse)
        again = load_scene(distorted, downscale=2)
        for one, other in zip(first.views, again.views, strict=True):
            assert torch.equal(one.image, other.image)
        with pytest.raises(AssertionError, match="again"):
            load_scene(distorted, downscale=1.5)
        next(iter(kept)).write_bytes(b"not a picture")  # a damaged cache is computed again
        with pytest.raises(AssertionError, match="again"):
            load_scene(distorted, downscale=2)

    def test_a_cache_that_cannot_be_written_is_one_more_warning(self, distorted: Path, cache: Path) -> None:
        cache.write_text("a file where the folder should be", encoding="utf-8")
        with pytest.warns(SfumatoWarning, match="cannot write to the cache"):
            scene = load_scene(distorted)
        assert len(scene.views) == 3

    def test_panoramas_are_refused(self, tmp_path: Path, colmap_toy: Any) -> None:
        toy = colmap_toy(model="EQUIRECTANGULAR", params=(64, 48), size=self.size)
        toy.write_binary(tmp_path / "scene")
        toy.write_photos(tmp_path / "scene")
        with pytest.raises(InputError, match="EQUIRECTANGULAR"):
            load_scene(tmp_path / "scene")


class TestTransparency:
    """Synthetic scenes: straight alpha over the background, official split, random points."""

    @pytest.fixture
    def blender(self, tmp_path: Path, transforms: Write, photo: Photo) -> Path:
        for split, count in (("train", 3), ("test", 2)):
            names = [f"./{split}/r_{i}" for i in range(count)]
            for i, name in enumerate(names):
                photo(tmp_path / "scene" / f"{name}.png", (20, 20), i, alpha=True)
            transforms(tmp_path / "scene" / f"transforms_{split}.json", names, camera_angle_x=2 * math.atan(0.5))
        return tmp_path / "scene"

    @pytest.mark.parametrize("background", [None, (0.0, 0.5, 1.0)])
    def test_over_the_background(self, blender: Path, background: tuple[float, float, float] | None) -> None:
        scene = load_scene(blender, background=background)
        behind = (1.0, 1.0, 1.0) if background is None else background
        assert scene.background == behind
        assert scene.protocol["background"] == list(behind)
        stored = np.array(Image.open(blender / "test" / "r_0.png")).astype(float)
        alpha = stored[..., 3:] / 255
        expected = stored[..., :3] * alpha + 255 * np.array(behind) * (1 - alpha)
        assert np.abs(scene.views[0].image.numpy() - expected).max() <= 0.51

    def test_composited_before_downscaling(self, blender: Path) -> None:
        """One clear pixel beside three red ones is a quarter white, whatever color hides behind its alpha."""
        pixels = np.zeros((20, 20, 4), np.uint8)
        pixels[..., :] = (255, 0, 0, 255)
        pixels[::2, ::2] = (0, 255, 0, 0)
        Image.fromarray(pixels).save(blender / "test" / "r_0.png")
        image = load_scene(blender, downscale=2).views[0].image
        assert (image.float() - torch.tensor([255.0, 63.75, 63.75])).abs().max() <= 0.5

    def test_official_split_and_points(self, blender: Path) -> None:
        scene = load_scene(blender, holdout=2)
        assert [view.name for view in scene.test] == ["test/r_0.png", "test/r_1.png"]
        assert [view.name for view in scene.train] == ["train/r_0.png", "train/r_1.png", "train/r_2.png"]
        assert scene.protocol["holdout"] == "official test split"
        assert scene.protocol["points"] == "random"
        assert scene.views[0].camera.K[0].tolist() == [20, 0, 10]
        assert scene.points.xyz.abs().max() <= 1.3

    def test_a_scene_that_only_tests_is_refused(self, blender: Path) -> None:
        (blender / "transforms_train.json").unlink()
        with pytest.raises(InputError, match="test photos only"):
            load_scene(blender)


def test_the_file_that_is_given_is_the_one_that_is_read(scene_folder: Path, transforms: Write) -> None:
    """Of a folder with several lists of cameras."""
    names = ["images/a.png", "images/d.png", "images/sub folder/b c.png"]
    transforms(scene_folder / "transforms.json", names, fl_x=40)
    assert load_scene(scene_folder).protocol["reader"] == "colmap"
    with pytest.warns(SfumatoWarning, match="so its points are not used"):
        assert load_scene(scene_folder / "transforms.json").protocol["reader"] == "transforms.json"
    assert load_scene(scene_folder / "sparse" / "0" / "images.bin").protocol["reader"] == "colmap"
    shutil.rmtree(scene_folder / "sparse")
    transforms(scene_folder / "transforms_clean.json", names[:1], fl_x=40)
    with pytest.raises(InputError, match=r"transforms_clean\.json is not the list .*, which is transforms\.json"):
        load_scene(scene_folder / "transforms_clean.json")


def test_frames_of_a_folder_with_photos_are_not_overlooked(scene_folder: Path, photo: Photo, tmp_path: Path) -> None:
    for folder in (scene_folder, tmp_path / "photos"):
        for number in range(3):
            photo(folder / f"{number}.jpg", (20, 20), number)
        (folder / "walk.mp4").write_bytes(b"no video")
        with pytest.raises(InputError, match="is no video, so there are no frames to choose"):
            load_scene(folder, frames=20)


def test_a_video_among_covers_and_small_copies_is_meant(tmp_path: Path, photo: Photo) -> None:
    said: list[str] = []
    for name in ("GX1.MP4", "GX1.LRV"):
        (tmp_path / name).write_bytes(b"no video")
    photo(tmp_path / "GX1.jpg", (20, 20), 0)
    with pytest.raises(InputError, match=r"GX1\.MP4 cannot be opened as a video"):
        load_scene(tmp_path, note=said.append)
    assert said == ["GX1.MP4 is used, and not the few pictures beside it: GX1.jpg"]
    for number in range(2):
        photo(tmp_path / f"{number}.jpg", (20, 20), number)
    with pytest.raises(InputError, match="no cameras could be found"):
        load_scene(tmp_path)


def test_the_same_file_twice_has_two_names(tmp_path: Path, transforms: Write, photo: Photo) -> None:
    photo(tmp_path / "a.png", (20, 20), 0)
    transforms(tmp_path / "transforms.json", ["a.png", "./a.png", "a"], fl_x=20)
    assert [view.name for view in load_scene(tmp_path).views] == ["a.png", "a.png~2", "a.png~3"]


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, scene_folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        InputError, match="holds no photos, no video and no dataset that is known: a COLMAP model, transforms"
    ):
        load_scene(tmp_path / "empty")
    with pytest.raises(InputError, match="is not there"):
        load_scene(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is no video, archive or list of cameras; give a folder"):
        load_scene(scene_folder / "images" / "a.png")
    with pytest.raises(InputError, match=r"downscale must be 1 or more; got 0\.5"):
        load_scene(scene_folder, downscale=0.5)
    with pytest.raises(InputError, match="holdout must be"):
        load_scene(scene_folder, holdout=1)
    with pytest.raises(InputError, match="background must be"):
        load_scene(scene_folder, background=(0, 255, 0))


def test_a_broken_photo_is_left_out_and_named(scene_folder: Path) -> None:
    path = scene_folder / "images" / "a.png"
    path.write_bytes(path.read_bytes()[:700])
    with pytest.warns(SfumatoWarning, match=r"^1 of 3 photos cannot be read .* left out: .*a\.png cannot be read as"):
        scene = load_scene(scene_folder, holdout=0)
    assert [view.name for view in scene.views] == ["d.png", "sub folder/b c.png"]
    path.write_bytes(b"text")
    with pytest.warns(SfumatoWarning, match=r"^1 of 3 photos .* left out: .*a\.png is not an image"):
        load_scene(scene_folder, holdout=0)
    (scene_folder / "images" / "d.png").write_bytes(b"text")
    with pytest.raises(InputError, match=r"^2 of 3 photos cannot be read; copy them again. The first: .*a\.png is not"):
        load_scene(scene_folder, holdout=0)


def test_two_photos_are_too_few_to_hold_one_out(tmp_path: Path, colmap_toy: Any) -> None:
    toy = colmap_toy(names=["a.png", "b.png"], quats=[(1, 0, 0, 0)] * 2)
    toy.write_photos(tmp_path / "images")
    toy.write_binary(tmp_path / "sparse")
    with pytest.raises(InputError, match="has 2 photos, too few to hold one out"):
        load_scene(tmp_path)
    assert len(load_scene(tmp_path, holdout=0).train) == 2


def test_progress_and_real_scenes(shared_data: Path) -> None:
    told: list[tuple[str, int, int]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fox = load_scene(shared_data / "fox", downscale=4, progress=lambda *news: told.append(news))
        fern = load_scene(shared_data / "fern", downscale=4)
        lego = load_scene(shared_data / "lego")
    assert told[-1] == ("reading photos", 50, 50)
    assert (len(fox.train), len(fox.test)) == (43, 7)
    assert (len(fern.train), len(fern.test)) == (17, 3)
    assert (len(lego.train), len(lego.test)) == (100, 200)
    assert lego.background == (1, 1, 1)
    assert fox.protocol["reader"] == fern.protocol["reader"] == "colmap"
    assert (fox.protocol["undistorted"], fern.protocol["undistorted"]) == (50, 20)
    assert len(fox.points) == 10827
    for scene in (fox, fern):  # most points are in front of most cameras, and some inside each picture
        camera = scene.train[0].camera
        local = scene.points.xyz @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]
        pixels = (local / local[:, 2:]) @ camera.K.T
        inside = (local[:, 2] > 0) & (pixels[:, 0] > 0) & (pixels[:, 0] < camera.width)
        inside &= (pixels[:, 1] > 0) & (pixels[:, 1] < camera.height)
        assert inside.float().mean() > 0.2


def test_photos_of_a_folder(tmp_path: Path, photo: Photo) -> None:
    for name in ("b.JPG", "a.png", "day 2/c.webp", ".hidden.png", ".thumbs/d.png", "__MACOSX/e.png"):
        photo(tmp_path / name, (4, 4), 0)
    (tmp_path / "notes.txt").write_text("no photo", encoding="utf-8")
    assert list_photos(tmp_path) == ["a.png", "b.JPG", "day 2/c.webp"]


def test_copies_and_depth_maps_are_no_photos(tmp_path: Path, photo: Photo) -> None:
    """Of a dataset without its cameras; two cameras that took frames at the same time are two cameras."""
    for number in range(3):
        for folder, size, suffix in (
            ("images", (41, 24), ".JPG"), ("images_2", (20, 12), ".png"), ("images_4", (10, 6), ".jpg"),
            ("depth", (10, 6), ".png"), ("images/depth", (20, 12), ".png"), ("cam", (41, 24), ".jpg"),
            ("cam_2", (41, 24), ".jpg"), ("film_4", (20, 12), ".png"), ("film_8", (10, 6), ".png"),
        ):  # fmt: skip
            photo(tmp_path / folder / f"{number}{suffix}", size, number)
    photo(tmp_path / "normals" / "9.png", (41, 24), 9)  # of nothing else
    (tmp_path / "images_2" / "0.png").write_bytes(b"broken")
    names = list_photos(tmp_path)
    assert {Path(name).parent.as_posix() for name in names} == {"images", "cam", "cam_2", "film_4", "normals"}
    assert len(names) == 13
    assert len(list_photos(tmp_path / "images_4")) == 3  # who gives a folder means it


def test_a_header_tells_lenses_apart(tmp_path: Path, photo: Photo) -> None:
    lenses = []
    for number, focal in enumerate((4.2, 4.2, 1.5)):
        exif = Image.Exif()
        exif[0x010F], exif[0x0110] = "Acme", "Phone"
        exif.get_ifd(0x8769)[0x920A] = focal
        photo(tmp_path / f"{number}.jpg", (6, 4), number, exif=exif)
        lenses.append(read_header(tmp_path / f"{number}.jpg").lens)
    assert lenses[0] == lenses[1] != lenses[2]
    photo(tmp_path / "plain.png", (6, 4), 0, alpha=True)
    header = read_header(tmp_path / "plain.png")
    assert header == Header(6, 4, True, header.lens)
    assert set(header.lens) <= {"None"}


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("SFUMATO_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("sys.platform", "linux")
    assert cache_folder() == tmp_path / "xdg" / "sfumato"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_folder() == tmp_path / "local" / "sfumato" / "Cache"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder().parts[-3:] == ("Library", "Caches", "sfumato")


def test_a_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12")
    before = fingerprint([path], 1)
    assert fingerprint([path], 1) == before
    assert fingerprint([path], 2) != before
    path.write_bytes(b"123")
    assert fingerprint([path], 1) != before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_names_that_are_not_utf8_have_a_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    path.touch()
    assert len(fingerprint([path])) == 16


def test_a_world_far_from_its_zero_is_moved_to_the_cameras_without_loss(tmp_path: Path, colmap_toy: Any) -> None:
    far = np.array([448_262.25, 5_411_932.5, 128.75])

    class Mapped(colmap_toy):  # type: ignore[misc]
        def rows(self) -> list[Any]:
            return [(i, q, tuple(np.array(t) - far), name) for i, q, t, name in super().rows()]  # no rotations here

    scenes = []
    for name, kind, offset in (("here", colmap_toy, np.zeros(3)), ("there", Mapped, far)):
        toy = kind(
            quats=[(1, 0, 0, 0)] * 3, xyz=[tuple(np.array(xyz) + offset) for xyz in ((0, 0, 3), (0.5, -0.25, 4))]
        )
        toy.write_photos(tmp_path / name / "images")
        toy.write_binary(tmp_path / name / "sparse" / "0")
        scenes.append(load_scene(tmp_path / name, holdout=0))
    here, there = scenes
    assert here.origin == (0, 0, 0)
    assert there.origin == tuple(np.round(far - [0.1, 0.2, 0.3]))
    offset = torch.from_numpy(far) - torch.tensor(there.origin, dtype=torch.float64)
    for before, after in zip(here.views, there.views, strict=True):
        expected = before.camera.position.double() + offset
        torch.testing.assert_close(after.camera.position.double(), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(there.points.xyz.double(), here.points.xyz.double() + offset, atol=1e-6, rtol=0)
    assert there.protocol["origin"] == list(there.origin)
