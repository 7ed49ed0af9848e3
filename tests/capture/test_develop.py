"""Developing: what views hold and what they decode again, from where, and what a broken photo does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.capture import load_scene
from sfumato.capture.develop import Developer
from sfumato.capture.shot import Lens, Shot
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.scene import IGNORED, View

PINHOLE = Lens("SIMPLE_PINHOLE", (60.0, 32.0, 24.0), 64, 48)
BARREL = Lens("OPENCV", (60.0, 61.0, 32.0, 24.0, -0.25, 0.05, 0.002, -0.001), 64, 48)
BYTES = 3 * 64 * 48
Photo = Callable[..., np.ndarray]


def shots(folder: Path, lens: Lens, suffix: str, photo: Photo, masked: bool = False) -> list[Shot]:
    found = []
    for number in range(4):
        path = folder / f"{number}.{suffix}"
        photo(path, (64, 48), number)
        mask = None
        if masked:
            mask = folder / "masks" / f"{number}.png"
            mask.parent.mkdir(exist_ok=True)
            Image.fromarray(np.repeat(np.uint8([[0] * 20 + [255] * 44]), 48, 0)).save(mask)
        found.append(Shot(path.name, path, lens, np.eye(4), mask=mask))
    return found


def same(one: View, other: View) -> bool:
    a, b = one.picture(), other.picture()
    masks = a.mask is b.mask if a.mask is None or b.mask is None else torch.equal(a.mask, b.mask)
    return torch.equal(a.pixels, b.pixels) and masks and torch.equal(one.camera.K, other.camera.K)


@pytest.mark.parametrize("lens", [PINHOLE, BARREL], ids=["pinhole", "barrel"])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("downscale", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_decoded_again_is_the_same(
    tmp_path: Path, photo: Photo, lens: Lens, suffix: str, downscale: float, masked: bool
) -> None:
    taken = shots(tmp_path, lens, suffix, photo, masked)
    held = Developer(downscale, (0, 0, 0), tmp_path / "store").develop_all(taken)
    lazy = Developer(downscale, (0, 0, 0), tmp_path / "other", keep=100).develop_all(taken)
    assert not any(callable(view.photo) for view in held)
    assert all(callable(view.photo) for view in lazy)
    assert all(same(one, other) for one, other in zip(held, lazy, strict=True))
    assert all((view.picture().mask is not None) == masked for view in lazy)
    kept = list((tmp_path / "other").rglob("*.tif"))
    plain = lens is PINHOLE and suffix == "jpg" and downscale == 1
    assert len(kept) == (0 if plain else 4)  # a JPEG at its full size is quick to decode
    assert len(list((tmp_path / "store").rglob("*.tif"))) == (4 if lens is BARREL else 0)


@pytest.mark.parametrize(("keep", "held"), [(None, True), (4 * BYTES, True), (4 * BYTES - 1, False), (0, False)])
def test_views_hold_photos_when_all_fit(tmp_path: Path, photo: Photo, keep: int | None, held: bool) -> None:
    views = Developer(1, (0, 0, 0), tmp_path / "store", keep=keep).develop_all(shots(tmp_path, PINHOLE, "jpg", photo))
    assert all(callable(view.photo) != held for view in views)


@pytest.mark.parametrize(("keep", "held"), [(16 * 64 * 48, True), (16 * 64 * 48 - 1, False)])
def test_masks_are_held_too(tmp_path: Path, photo: Photo, keep: int, held: bool) -> None:
    """Four photos of four bytes a pixel."""
    taken = shots(tmp_path, PINHOLE, "jpg", photo, masked=True)
    views = Developer(1, (0, 0, 0), tmp_path / "store", keep=keep).develop_all(taken)
    assert all(callable(view.photo) != held for view in views)
    assert all(view.size == (64, 48, True) for view in views)


def test_views_know_whether_they_have_a_mask(tmp_path: Path, photo: Photo) -> None:
    for keep in (None, 0):
        views = Developer(1, (0, 0, 0), tmp_path / "store", keep=keep).develop_all(
            shots(tmp_path, PINHOLE, "jpg", photo)
        )
        assert all(view.size == (64, 48, False) for view in views)


def test_what_is_kept_is_lossless_whatever_pillow_can(
    tmp_path: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = shots(tmp_path, BARREL, "png", photo, masked=True)
    plain = Developer(1, (0, 0, 0), tmp_path / "zstd").develop_all(taken)
    monkeypatch.setattr("sfumato.capture.develop._compression", lambda: "tiff_lzw")
    first = Developer(1, (0, 0, 0), tmp_path / "lzw").develop_all(taken)
    monkeypatch.setattr("sfumato.capture.develop.undistort", None)
    again = Developer(1, (0, 0, 0), tmp_path / "lzw").develop_all(taken)
    for one, two, three in zip(plain, first, again, strict=True):
        assert same(one, two)
        assert same(two, three)
        assert IGNORED in one.picture().mask.unique()  # type: ignore[union-attr]


def test_a_photo_that_breaks_later_says_so(tmp_path: Path, photo: Photo) -> None:
    view = Developer(1, (0, 0, 0), tmp_path / "store", keep=0).develop_all(shots(tmp_path, PINHOLE, "jpg", photo))[0]
    (tmp_path / "0.jpg").unlink()
    with pytest.raises(InputError, match=r"0\.jpg is not there"):
        view.picture()


def test_a_mask_that_is_not_there_says_so(tmp_path: Path, photo: Photo) -> None:
    for lens in (PINHOLE, BARREL):
        taken = shots(tmp_path, lens, "jpg", photo, masked=True)
        (tmp_path / "masks" / "1.png").unlink()
        with pytest.raises(InputError, match=r"1\.png (is not there|cannot be read: No such file)"):
            Developer(1, (0, 0, 0), tmp_path / "store").develop_all(taken)


def test_what_is_kept_stays_when_the_photo_goes(tmp_path: Path, photo: Photo) -> None:
    taken = shots(tmp_path, BARREL, "jpg", photo)
    view = Developer(1, (0, 0, 0), tmp_path / "store", keep=0).develop_all(taken)[0]
    (tmp_path / "0.jpg").unlink()
    assert view.picture().mask is None


@pytest.mark.parametrize(("keep", "threads"), [(None, 8), (0, 1), (3 * 5 * BYTES, 3), (1000 * BYTES, 8)])
def test_few_photos_are_developed_at_once_where_memory_is_short(
    tmp_path: Path, photo: Photo, monkeypatch: pytest.MonkeyPatch, keep: int | None, threads: int
) -> None:
    asked: list[int] = []

    def one_by_one(work: Any, items: Any, stage: str, progress: Any, threads: int = 8) -> list[Any]:
        asked.append(threads)
        return [work(item) for item in items]

    monkeypatch.setattr("sfumato.capture.develop.map_photos", one_by_one)
    Developer(1, (0, 0, 0), tmp_path / "store", keep=keep).develop_all(shots(tmp_path, PINHOLE, "jpg", photo))
    assert asked[-1] == threads


def test_broken_photos_are_named_and_most_are_an_error(tmp_path: Path, photo: Photo) -> None:
    taken = shots(tmp_path, BARREL, "jpg", photo)
    data = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(data[: len(data) // 2])
    (tmp_path / "2.jpg").write_text("a text", encoding="utf-8")
    with pytest.warns(
        SfumatoWarning, match=r"2 of 4 photos cannot be read .*left out: .*2\.jpg is not an image.*1\.jpg"
    ):
        views = Developer(1, (0, 0, 0), tmp_path / "store").develop_all(taken)
    assert [view.name for view in views] == ["0.jpg", "3.jpg"]
    (tmp_path / "3.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"3 of 4 photos cannot be read; copy them again"):
        Developer(1, (0, 0, 0), tmp_path / "store").develop_all(taken)


def test_a_text_called_png_among_the_photos_of_a_dataset(
    tmp_path: Path, photo: Photo, transforms: Callable[..., Path]
) -> None:
    names = [f"{i}.png" for i in range(4)]
    for number, name in enumerate(names):
        photo(tmp_path / name, (20, 20), number)
    transforms(tmp_path / "transforms.json", names, fl_x=20)
    (tmp_path / "2.png").write_text("a text", encoding="utf-8")
    with pytest.warns(
        SfumatoWarning, match=r"^1 of 4 photos cannot be read and are left out: .*2\.png is not an image"
    ):
        scene = load_scene(tmp_path, cache=tmp_path / "cache")
    assert [view.name for view in scene.views] == ["0.png", "1.png", "3.png"]
    for name in names[:2]:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=r"^3 of 4 photos cannot be read; copy them again. The first: .*0\.png"):
        load_scene(tmp_path, cache=tmp_path / "cache")


def test_real_photos_are_the_same_when_streamed(shared_data: Path, tmp_path: Path) -> None:
    held = load_scene(shared_data / "fern", downscale=4, cache=tmp_path)
    lazy: Any = load_scene(shared_data / "fern", downscale=4, cache=tmp_path, keep=1000)
    assert all(callable(view.photo) for view in lazy.views)
    assert all(same(one, other) for one, other in zip(held.views, lazy.views, strict=True))
