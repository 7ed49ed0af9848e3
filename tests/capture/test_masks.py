"""Masks: found under every naming, read at the photo's size, followed through undistortion and downscaling."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.capture import load_scene
from sfumato.capture.masks import find_masks, masks_beside, read_mask, with_masks
from sfumato.capture.photos import list_photos
from sfumato.capture.shot import Lens, Shot
from sfumato.capture.undistort import pinhole_of, undistort, undistort_mask
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.image import resize_mask
from sfumato.core.scene import EMPTY, IGNORED, SHOWN

Photo = Callable[..., np.ndarray]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def touch(folder: Path, *names: str) -> list[Path]:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return [folder / name for name in names]


class TestNames:
    @pytest.mark.parametrize(
        "mask",
        [
            "a.png", "a.jpg.png", "a.mask.png", "a_mask.png", "a-mask.PNG", "a.jpg.mask.png", "mask_a.png", "A.PNG",
            "a.jpg", "A.JPG.PNG", "a_masks.tif", "deep/er/a.png", "images/a.jpg.png",
        ],
    )  # fmt: skip
    def test_conventions(self, tmp_path: Path, mask: str) -> None:
        photos = touch(tmp_path / "images", "a.jpg", "b.jpg", "ab.jpg")
        (wanted,) = touch(tmp_path / "masks", mask)
        assert find_masks([tmp_path / "masks"], photos) == {photos[0]: wanted}

    @pytest.mark.parametrize("mask", ["ab.png", "a2.png", "amask.png", "a.png.txt", "b_a.png", "mask.png"])
    def test_what_is_no_mask_of_a(self, tmp_path: Path, mask: str) -> None:
        photos = touch(tmp_path / "images", "a.jpg")
        touch(tmp_path / "masks", mask)
        assert find_masks([tmp_path / "masks"], photos) == {}

    def test_folders_decide_between_equal_names(self, tmp_path: Path) -> None:
        photos = touch(tmp_path / "images", "left/1.jpg", "Right/1.jpg", "2.jpg")
        left, right, two = touch(tmp_path / "masks", "left/1.png", "right/1.jpg.png", "2.png")
        assert find_masks([tmp_path / "masks"], photos) == {photos[0]: left, photos[1]: right, photos[2]: two}

    def test_a_mask_of_one_folder_is_not_that_of_another(self, tmp_path: Path) -> None:
        photos = touch(tmp_path / "images", "left/1.jpg", "right/1.jpg")
        (left,) = touch(tmp_path / "masks", "left/1.png")
        assert find_masks([tmp_path / "masks"], photos) == {photos[0]: left}

    def test_what_fits_two_photos_alike_fits_none(self, tmp_path: Path) -> None:
        photos = touch(tmp_path / "images", "left/1.jpg", "right/1.jpg")
        touch(tmp_path / "masks", "1.png")
        assert find_masks([tmp_path / "masks"], photos) == {}

    def test_of_the_same_masks_in_several_sizes_the_first_folder_is_used(self, tmp_path: Path) -> None:
        photos = touch(tmp_path / "images", "a.jpg", "left/b.jpg")
        folders = [tmp_path / name for name in ("masks", "masks_2", "masks_4")]
        masks = [touch(folder, "a.png", "left/b.png") for folder in folders]
        assert find_masks(folders, photos) == dict(zip(photos, masks[0], strict=True))
        assert masks_beside(tmp_path / "images") == dict(zip(("a.jpg", "left/b.jpg"), masks[0], strict=True))

    def test_the_whole_name_goes_before_the_stem(self, tmp_path: Path) -> None:
        photos = touch(tmp_path / "images", "a.jpg", "a.png")
        jpg, png = touch(tmp_path / "masks", "a.jpg.png", "a.png.png")
        assert find_masks([tmp_path / "masks"], photos) == {photos[0]: jpg, photos[1]: png}

    def test_photos_that_are_called_mask(self, tmp_path: Path) -> None:
        photos = touch(tmp_path / "images", "mask_1.jpg", "mask_2.jpg")
        masks = touch(tmp_path / "masks", "mask_1.png", "mask_2.png")
        assert find_masks([tmp_path / "masks"], photos) == dict(zip(photos, masks, strict=True))


def shots(*photos: Path, mask: Path | None = None) -> list[Shot]:
    lens = Lens("SIMPLE_PINHOLE", (30.0, 16.0, 12.0), 32, 24)
    return [Shot(path.name, path, lens, np.eye(4), mask=mask) for path in photos]


class TestFolders:
    @pytest.mark.parametrize("folder", ["masks", "mask", "images_masks", "image_mask", "Masks", "masks_4"])
    def test_beside_the_photos(self, tmp_path: Path, folder: str) -> None:
        photos = touch(tmp_path / "scene" / "images", "a.jpg", "sub/b.jpg")
        masks = touch(tmp_path / "scene" / folder, "a.png", "sub/b.png")
        for source in (tmp_path / "scene", tmp_path / "scene" / "images"):
            assert [shot.mask for shot in with_masks(source, shots(*photos))] == masks

    def test_among_the_photos(self, tmp_path: Path) -> None:
        photos = touch(tmp_path, "a.jpg", "b.jpg")
        masks = touch(tmp_path / "masks", "a.png", "b.png")
        assert [shot.mask for shot in with_masks(tmp_path, shots(*photos))] == masks
        assert list_photos(tmp_path) == ["a.jpg", "b.jpg"]  # masks are no photos

    def test_by_name_for_photos_without_cameras(self, tmp_path: Path) -> None:
        touch(tmp_path / "images", "a.jpg", "sub/b.jpg", "c.jpg")
        beside, among = touch(tmp_path, "masks/a.png", "images/mask/sub/b.png")
        assert masks_beside(tmp_path / "images") == {"a.jpg": beside, "sub/b.jpg": among}
        assert masks_beside(tmp_path) == {"images/a.jpg": beside, "images/sub/b.jpg": among}

    def test_what_a_reader_found_stays(self, tmp_path: Path) -> None:
        photos = touch(tmp_path / "images", "a.jpg")
        touch(tmp_path / "masks", "a.png")
        assert with_masks(tmp_path, shots(*photos, mask=tmp_path / "other.png"))[0].mask == tmp_path / "other.png"

    def test_no_masks_no_words(self, tmp_path: Path) -> None:
        photos = touch(tmp_path / "images", "a.jpg")
        touch(tmp_path / "masks", "readme.txt")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert with_masks(tmp_path, shots(*photos))[0].mask is None

    def test_photos_without_a_mask_are_named(self, tmp_path: Path) -> None:
        photos = touch(tmp_path / "images", "a.jpg", "b.jpg", "c.jpg")
        touch(tmp_path / "masks", "a.png")
        with pytest.warns(SfumatoWarning, match=r"2 of 3 photos have no mask \(first: b\.jpg\); all of their pixels"):
            with_masks(tmp_path, shots(*photos))

    @pytest.mark.parametrize("mask", ["a_mask.png", "a.mask.png", "A-Mask.PNG", "a.jpg.mask.png"])
    def test_in_the_folder_of_the_photos_itself(self, tmp_path: Path, mask: str) -> None:
        images = tmp_path / "images"
        photos = touch(images, "a.jpg", "deep/b.jpg", "c.jpg")
        masks = touch(images, mask, "deep/b_mask.png", "d_mask.png", "deep/c_mask.png")
        assert list_photos(tmp_path) == [  # d_mask is a photo with an odd name, for there is no d
            *("images/a.jpg", "images/c.jpg", "images/d_mask.png", "images/deep/b.jpg", "images/deep/c_mask.png"),
        ]
        assert masks_beside(images) == {"a.jpg": masks[0], "deep/b.jpg": masks[1]}
        with pytest.warns(SfumatoWarning, match=r"1 of 3 photos have no mask \(first: c\.jpg\)"):
            assert [shot.mask for shot in with_masks(images, shots(*photos))] == [masks[0], masks[1], None]

    def test_a_photo_with_a_camera_is_no_mask(self, tmp_path: Path) -> None:
        photos = touch(tmp_path, "a.jpg", "a_mask.jpg")
        assert [shot.mask for shot in with_masks(tmp_path, shots(*photos))] == [None, None]

    def test_masks_that_fit_several_photos_are_said(self, tmp_path: Path) -> None:
        photos = touch(tmp_path / "images", "left/1.jpg", "right/1.jpg")
        touch(tmp_path / "masks", "1.png")
        told = r"1\.png fits .*left.1\.jpg as well as .*right.1\.jpg: sort the masks into folders .*, so no masks are"
        with pytest.warns(SfumatoWarning, match=told):
            with_masks(tmp_path, shots(*photos))

    def test_two_masks_of_one_photo_are_said(self, tmp_path: Path) -> None:
        photos = touch(tmp_path / "images", "1.jpg")
        touch(tmp_path / "masks", "1.png", "1.tif")
        with pytest.warns(SfumatoWarning, match=r"1\.jpg has two masks, .*1\.png and .*1\.tif: leave one, so no masks"):
            with_masks(tmp_path, shots(*photos))

    def test_masks_of_other_photos_are_said(self, tmp_path: Path) -> None:
        photos = touch(tmp_path / "images", "a.jpg")
        touch(tmp_path / "masks", "0001.png")
        with pytest.warns(SfumatoWarning, match=r"masks has the name of a photo \(such as a\.png or a\.jpg\.png\)"):
            with_masks(tmp_path, shots(*photos))


def write(path: Path, pixels: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


class TestReading:
    def test_black_is_masked_from_127_down(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.png", np.array([[0, 127, 128, 255]], dtype=np.uint8))
        assert read_mask(path, 4, 1).tolist() == [[True, True, False, False]]
        assert read_mask(path, 4, 1, invert=True).tolist() == [[False, False, True, True]]

    def test_labels_of_0_and_1(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.png", np.array([[0, 1]], dtype=np.uint8))
        assert read_mask(path, 2, 1).tolist() == [[True, False]]
        assert read_mask(write(tmp_path / "b.png", np.array([[0, 0]], dtype=np.uint8)), 2, 1).all()

    @pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
    def test_any_kind_of_picture(self, tmp_path: Path, mode: str) -> None:
        black = Image.fromarray(np.array([[0, 255]], dtype=np.uint8))
        if mode == "I;16":
            black = Image.fromarray(np.array([[0, 65535]], dtype=np.uint16))
        elif mode != "L":
            black = black.convert(mode)
        black.save(tmp_path / "a.png")
        assert read_mask(tmp_path / "a.png", 2, 1).tolist() == [[True, False]]

    def test_transparent_is_black(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.png", np.array([[[255, 255, 255, 0], [255, 255, 255, 255]]], dtype=np.uint8))
        assert read_mask(path, 2, 1).tolist() == [[True, False]]

    def test_resized_to_the_nearest(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.png", np.array([[0, 255], [255, 0]], dtype=np.uint8))
        wanted = [[True, True, False, False]] * 2 + [[False, False, True, True]] * 2
        assert read_mask(path, 4, 4).tolist() == wanted

    def test_another_shape_is_refused(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.png", np.zeros((8, 4), np.uint8))
        with pytest.raises(InputError, match=r"a\.png is 4 x 8, but its photo 8 x 4; make the mask again"):
            read_mask(path, 8, 4)
        (tmp_path / "a.png").write_bytes(b"text")
        with pytest.raises(InputError, match=r"a\.png is not an image"):
            read_mask(path, 8, 4)


def test_smaller_masks_by_hand() -> None:
    mask = torch.full((4, 8), SHOWN, dtype=torch.uint8)
    mask[0, 0] = IGNORED  # one of four: ignored
    mask[0:2, 2:4] = EMPTY  # all four: empty
    mask[0, 4] = EMPTY  # one of four: shown
    mask[2:4, 2:4], mask[2, 2] = EMPTY, IGNORED  # empty and ignored: ignored
    assert resize_mask(mask, 4, 2).tolist() == [[IGNORED, EMPTY, SHOWN, SHOWN], [SHOWN, IGNORED, SHOWN, SHOWN]]
    assert resize_mask(mask, 8, 4) is mask


BARREL = Lens("OPENCV", (60.0, 61.0, 32.0, 24.0, -0.25, 0.05, 0.002, -0.001), 64, 48)


def test_masks_bend_as_photos_do(seed: int) -> None:
    """A white disk on black, undistorted as a photo: where it is black or white, the mask agrees."""
    v, u = torch.meshgrid(torch.arange(48), torch.arange(64), indexing="ij")
    disk = (u - 20) ** 2 + (v - 30) ** 2 < 100
    photo = undistort((disk[..., None].expand(-1, -1, 3) * 255).to(torch.uint8), BARREL)[..., 0]
    for value, certain in ((IGNORED, photo > 0), (EMPTY, photo == 255)):
        mask = undistort_mask(torch.where(disk, value, SHOWN).to(torch.uint8), BARREL)
        assert mask is not None
        assert certain.any()
        assert not certain.all()
        assert torch.equal(mask == value, certain)
    assert undistort_mask(None, BARREL) is None


def test_blank_pixels_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where undistortion leaves pixels without color, nothing is known."""
    straight = pinhole_of(BARREL)
    blank = torch.zeros(straight.height, straight.width, dtype=torch.bool)
    blank[0, :3] = True
    monkeypatch.setattr("sfumato.capture.undistort._blank", lambda lens: blank)
    for given in (None, torch.full((48, 64), EMPTY, dtype=torch.uint8)):
        mask = undistort_mask(given, BARREL)
        assert mask is not None
        assert torch.equal(mask == IGNORED, blank)
        assert (mask[~blank] == (SHOWN if given is None else EMPTY)).all()


class TestScenes:
    @pytest.fixture
    def scene(self, tmp_path: Path, colmap_toy: Any) -> Path:
        toy = colmap_toy()
        toy.write_photos(tmp_path / "scene" / "images")
        toy.write_binary(tmp_path / "scene" / "sparse" / "0")
        left = np.full((24, 32), 255, np.uint8)
        left[:, :10] = 0
        for name in toy.names:
            write(tmp_path / "scene" / "masks" / f"{name}.png", left)
        return tmp_path / "scene"

    def test_ignored(self, scene: Path) -> None:
        loaded = load_scene(scene)
        assert loaded.protocol["masks"] == "3 of 3 photos, black pixels are ignored"
        for view in loaded.views:
            picture = view.picture()
            assert picture.mask is not None
            assert (picture.mask[:, :10] == IGNORED).all()
            assert (picture.mask[:, 10:] == SHOWN).all()
            stored = np.array(Image.open(scene / "images" / view.name))
            np.testing.assert_array_equal(picture.pixels.numpy(), stored)

    def test_empty(self, scene: Path) -> None:
        picture = load_scene(scene, masks="empty", background=(0.0, 0.5, 1.0)).views[0].picture()
        assert picture.mask is not None
        assert (picture.mask[:, :10] == EMPTY).all()
        assert (picture.mask[:, 10:] == SHOWN).all()
        assert picture.pixels[:, :10].flatten(0, 1).unique(dim=0).tolist() == [[0, 128, 255]]

    def test_inverted_and_downscaled(self, scene: Path) -> None:
        loaded = load_scene(scene, invert_masks=True, downscale=4)
        assert loaded.protocol["masks"] == "3 of 3 photos, white pixels are ignored"
        mask = loaded.views[0].picture().mask
        assert mask is not None
        assert (mask == IGNORED)[0].tolist() == [False, False, True, True, True, True, True, True]  # 10 / 4 = 2.5

    def test_off(self, scene: Path) -> None:
        loaded = load_scene(scene, masks="off")
        assert loaded.protocol["masks"] == "off"
        assert all(view.picture().mask is None for view in loaded.views)

    def test_masks_without_black_are_none(self, scene: Path) -> None:
        for path in (scene / "masks").rglob("*.png"):
            write(path, np.full((24, 32), 255, np.uint8))
        assert all(view.picture().mask is None for view in load_scene(scene).views)

    def test_another_shape(self, scene: Path) -> None:
        write(scene / "masks" / "a.png.png", np.zeros((32, 24), np.uint8))
        with pytest.raises(InputError, match=r"a\.png\.png is 24 x 32, but its photo 32 x 24"):
            load_scene(scene)

    def test_everything_masked_is_refused(self, scene: Path) -> None:
        for path in (scene / "masks").rglob("*.png"):
            write(path, np.zeros((24, 32), np.uint8))
        with pytest.raises(InputError, match=r"ignore every pixel of every photo; .*invert"):
            load_scene(scene)

    def test_undistorted_masks_are_kept_with_the_photo(self, tmp_path: Path, colmap_toy: Any, cache: Path) -> None:
        toy = colmap_toy(model="OPENCV", params=BARREL.params, size=(64, 48))
        toy.write_photos(tmp_path / "scene" / "images")
        toy.write_binary(tmp_path / "scene" / "sparse")
        mask = np.full((48, 64), 255, np.uint8)
        mask[:20] = 0
        for name in toy.names:
            write(tmp_path / "scene" / "masks" / name, mask)
        first = [view.picture() for view in load_scene(tmp_path / "scene").views]
        assert len(list(cache.rglob("*.tif"))) == 3
        again = [view.picture() for view in load_scene(tmp_path / "scene").views]
        for one, other in zip(first, again, strict=True):
            assert one.mask is not None
            assert other.mask is not None
            assert torch.equal(one.mask, other.mask)
            assert torch.equal(one.pixels, other.pixels)
            assert set(one.mask.unique().tolist()) == {IGNORED, SHOWN}
        inverted = load_scene(tmp_path / "scene", invert_masks=True).views[0].picture()
        assert inverted.mask is not None
        assert not torch.equal(inverted.mask, first[0].mask)
        write(tmp_path / "scene" / "masks" / toy.names[0], 255 - mask)  # another mask, other pixels count
        changed = load_scene(tmp_path / "scene").views[0].picture()
        assert changed.mask is not None
        assert torch.equal(changed.mask, inverted.mask)

    def test_transparent_pixels_are_empty(self, tmp_path: Path, transforms: Callable[..., Path], photo: Photo) -> None:
        for i in range(3):
            pixels = photo(tmp_path / f"{i}.png", (20, 20), i, alpha=True)
            pixels[:6, :, 3], pixels[6:, :, 3] = 0, np.maximum(pixels[6:, :, 3], 1)
            Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        transforms(tmp_path / "transforms.json", [f"{i}.png" for i in range(3)], fl_x=20)
        loaded = load_scene(tmp_path)
        assert loaded.protocol["masks"] == "transparent pixels of 3 photos are empty"
        mask = loaded.views[0].picture().mask
        assert mask is not None
        assert (mask[:6] == EMPTY).all()
        assert (mask[6:] == SHOWN).all()
        assert load_scene(tmp_path, masks="off").views[0].picture().mask is None
        half = load_scene(tmp_path, downscale=4).views[0].picture().mask  # the second row is half empty: shown
        assert half is not None
        assert half[:, 0].tolist() == [EMPTY, SHOWN, SHOWN, SHOWN, SHOWN]
