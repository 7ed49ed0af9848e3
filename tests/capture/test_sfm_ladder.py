"""Structure from motion that does not give up: hard photos, photos of many kinds, models in parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sfumato.capture.photos import list_photos
from sfumato.capture.sfm import solve
from sfumato.capture.sfm.evidence import Evidence
from sfumato.capture.sfm.ladder import is_enough
from sfumato.capture.sfm.mapping import MapSettings, map_cameras, map_globally
from sfumato.capture.sfm.merging import merge
from sfumato.capture.sfm.pairs import every_pair
from sfumato.capture.sfm.site import FeatureSettings, Site
from sfumato.capture.sfm.survey import look_at_all
from sfumato.capture.undistort import load_pycolmap
from sfumato.core.errors import InputError
from sfumato.core.progress import silent

Change = Callable[[Image.Image, int], Image.Image]
Pictures = Callable[..., Path]


def as_it_is(photo: Image.Image, number: int) -> Image.Image:
    return photo


def small(photo: Image.Image, number: int) -> Image.Image:
    return photo.resize((180, 320))


@pytest.fixture
def foxes(tmp_path: Path, shared_data: Path) -> Pictures:
    """Writes every other of the first photos of the fox, 270 x 480, changed, to a folder."""

    def write(count: int, change: Change = as_it_is, suffix: str = ".png") -> Path:
        folder = tmp_path / "photos"
        folder.mkdir()
        for number, path in enumerate(sorted((shared_data / "fox" / "images").iterdir())[: 2 * count : 2]):
            photo = Image.open(path).convert("RGB").resize((270, 480), Image.Resampling.BOX)
            change(photo, number).save(folder / f"{number} of many{suffix}", quality=95)
        return folder

    return write


def of_each_kind(photo: Image.Image, number: int) -> Image.Image:
    if number % 3 == 1:
        return photo.rotate(90, expand=True)
    return photo.resize((210, 373)) if number % 3 == 2 else photo


def test_what_is_enough() -> None:
    assert [is_enough(*numbers) for numbers in ((45, 50), (44, 50), (7, 8), (6, 8), (5, 5), (4, 5))] == [
        *(True, False, True, False, True, False),
    ]


def test_sizes_and_orientations_are_mixed(foxes: Pictures, tmp_path: Path) -> None:
    said: list[str] = []
    found = solve(foxes(9, of_each_kind), tmp_path / "scene", note=said.append)
    assert (found.registered, found.left_out, said) == (9, [], [])
    model = load_pycolmap().Reconstruction(tmp_path / "scene" / "sparse" / "0")
    assert sorted((camera.width, camera.height) for camera in model.cameras.values()) == [
        (210, 373),
        (270, 480),
        (480, 270),
    ]


def test_photos_pycolmap_cannot_read_are_converted(foxes: Pictures, tmp_path: Path) -> None:
    photos = foxes(5, suffix=".webp")
    Image.open(photos / "0 of many.webp").save(photos / "0 of many.webp.jpg")  # as some converters name it
    assert solve(photos, tmp_path / "other").registered == 6
    (photos / "0 of many.webp.jpg").unlink()
    found = solve(photos, tmp_path / "scene")
    assert found.registered == 5
    model = load_pycolmap().Reconstruction(tmp_path / "scene" / "sparse" / "0")
    assert {image.name for image in model.images.values()} == {f"{number} of many.webp" for number in range(5)}
    colors = np.array([point.color for point in model.points3D.values()])
    assert (colors.max(axis=1) > 30).mean() > 0.9


def test_converted_photos_keep_what_exif_says_of_the_lens(foxes: Pictures, tmp_path: Path) -> None:
    photos, exif = foxes(3, suffix=".webp"), Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26  # focal length on film 36 mm wide
    for path in photos.iterdir():
        Image.open(path).save(path, exif=exif)
    (tmp_path / "work").mkdir()
    looks, _ = look_at_all(photos, list_photos(photos), silent)
    told: list[tuple[str, int, int]] = []
    site = Site(photos, looks, {}, tmp_path / "work", lambda *news: told.append(news))
    evidence = Evidence(site, FeatureSettings(), tmp_path / "features.db")
    evidence.find_features()
    assert [news for news in told if news[0] == "converting photos"] == [
        ("converting photos", done, 3) for done in range(4)
    ]
    converted = sorted((tmp_path / "work" / "converted").iterdir())
    assert all(path.read_bytes().startswith(b"\xff\xd8") for path in converted)
    assert sum(path.stat().st_size for path in converted) < 3 * 270 * 480  # bytes; as PNG it is four times as much
    with load_pycolmap().Database.open(evidence.path) as database:
        (camera,) = database.read_all_cameras()
    assert camera.has_prior_focal_length
    # of the diagonal, 43.27 mm on film
    assert camera.params[0] == pytest.approx(np.hypot(camera.width, camera.height) / 43.27 * 26, rel=1e-3)


def test_features_behind_a_mask_are_dropped(foxes: Pictures, tmp_path: Path) -> None:
    photos = foxes(5)
    shown = np.zeros((48, 27), dtype=np.uint8)  # not the photo's size
    shown[:, 13:] = 255
    masks = {}
    for number in range(3):  # some photos have none
        masks[f"{number} of many.png"] = tmp_path / ("2.png" if number == 2 else f"{number}.jpg")
        Image.fromarray(shown.clip(max=1) if number == 2 else shown).save(
            masks[f"{number} of many.png"]
        )  # labels: 0, 1
    assert solve(photos, tmp_path / "scene", masks=masks).registered == 5
    model = load_pycolmap().Reconstruction(tmp_path / "scene" / "sparse" / "0")
    for image in model.images.values():
        x = np.array([point.xy[0] for point in image.points2D])
        assert (x.min() > 128) == (image.name in masks)


def test_faint_photos_need_another_rung(foxes: Pictures, tmp_path: Path) -> None:
    """In photos of little contrast few features pass at first; the ladder lowers what is asked of them."""

    def faint(photo: Image.Image, number: int) -> Image.Image:
        return Image.fromarray((118 + 0.05 * np.asarray(photo)).astype(np.uint8))

    said: list[str] = []
    found = solve(foxes(6, faint), tmp_path / "scene", note=said.append)
    assert found.registered == 6
    assert any(line.startswith("more features: ") and line.endswith("-> 6 of 6 photos") for line in said)
    assert not any("affine" in line for line in said)  # enough was enough


def test_blurred_photos_are_called_blurred(foxes: Pictures, tmp_path: Path) -> None:
    blurred = foxes(4, lambda photo, number: photo.filter(ImageFilter.GaussianBlur(14)))
    with pytest.raises(InputError, match="most photos are blurred; hold the camera still"):
        solve(blurred, tmp_path / "scene")
    assert (tmp_path / "scene" / "capture.csv").read_text(encoding="utf-8").count(",blurred") == 4
    assert (tmp_path / "scene" / "contact.jpg").exists()


def test_copies_of_one_photo(foxes: Pictures, tmp_path: Path) -> None:
    folder = foxes(1, small)
    for number in range(1, 40):
        (folder / f"{number}.png").write_bytes((folder / "0 of many.png").read_bytes())
    with pytest.raises(InputError, match=r"copies of one, or the camera did not move, .* walk around"):
        solve(folder, tmp_path / "scene")
    assert (tmp_path / "scene" / "capture.csv").read_text(encoding="utf-8").count(",camera did not move") == 40


def test_places_come_from_exif(foxes: Pictures, tmp_path: Path) -> None:
    """Three photos a second of latitude apart, 30.9 metres, and one that says nothing."""
    photos, work = foxes(4, small, ".jpg"), tmp_path / "work"
    work.mkdir()
    for number in range(3):
        exif = Image.Exif()
        exif[0x8825] = {1: "N", 2: (47.0, 30.0, float(number)), 3: "E", 4: (8.0, 0.0, 0.0), 5: b"\0", 6: 400.0}
        path = photos / f"{number} of many.jpg"
        Image.open(path).save(path, exif=exif)
    looks, _ = look_at_all(photos, sorted(path.name for path in photos.iterdir()), silent)
    evidence = Evidence(Site(photos, looks, {}, work, silent), FeatureSettings(), work / "features.db")
    evidence.find_features()
    places = evidence.places()
    assert places is not None
    assert (places[1:3] - places[:2]).norm(dim=1).tolist() == pytest.approx([30.9, 30.9], abs=0.1)
    assert places[3].isnan().all()


def test_frames_in_order(foxes: Pictures, tmp_path: Path) -> None:
    found = solve(foxes(18, small), tmp_path / "scene", sequential=True)
    assert found.registered == 18
    assert sum(row.matched for row in found.table) >= 5 * 18


@pytest.fixture
def whole(foxes: Pictures, tmp_path: Path) -> tuple[Evidence, Any]:
    """Nine photos, matched, and their model."""
    photos, work = foxes(9), tmp_path / "work"
    work.mkdir()
    looks, _ = look_at_all(photos, sorted(path.name for path in photos.iterdir()), silent)
    evidence = Evidence(Site(photos, looks, {}, work, silent), FeatureSettings(count=1500), work / "features.db")
    evidence.find_features()
    evidence.match(every_pair(9))
    (model,) = map_cameras(evidence.site, evidence.path, MapSettings())
    assert model.num_reg_images() == 9
    return evidence, model


def part_of(model: Any, places: range) -> Any:
    part = load_pycolmap().Reconstruction(model)
    numbers = sorted(model.reg_image_ids())
    for number in set(numbers) - {numbers[place] for place in places}:
        part.deregister_frame(part.image(number).frame_id)
    return part


def test_parts_are_merged(whole: tuple[Evidence, Any]) -> None:
    """By a photo that both have, and, without one, by points that both have; where they lie does not matter."""
    evidence, model = whole
    pycolmap = load_pycolmap()
    turn = np.array([0.1, 0.2, 0.3, 0.9]) / np.linalg.norm([0.1, 0.2, 0.3, 0.9])
    elsewhere = pycolmap.Sim3d(2.5, pycolmap.Rotation3d(turn), np.array([1.0, 2.0, 3.0]))
    for first, second in ((range(5), range(4, 9)), (range(5), range(5, 9))):
        moved = part_of(model, second)
        moved.transform(elsewhere)
        merged = merge(evidence.site, [part_of(model, first), moved], evidence)
        assert merged.num_reg_images() == 9
        assert merged.compute_mean_reprojection_error() < 1.2 * model.compute_mean_reprojection_error()
        compared = pycolmap.compare_reconstructions(merged, model, alignment_error="proj_center")
        assert max(error.rotation_error_deg for error in compared["errors"]) < 0.5


def test_the_global_mapper_finds_the_same_and_can_be_stopped(whole: tuple[Evidence, Any]) -> None:
    evidence, model = whole
    (found,) = map_globally(evidence.site, evidence.path)
    assert found.num_reg_images() == 9
    compared = load_pycolmap().compare_reconstructions(found, model, alignment_error="proj_center")
    assert max(error.rotation_error_deg for error in compared["errors"]) < 1.0

    def interrupt(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    site = Site(evidence.site.photos, evidence.site.looks, {}, evidence.site.work, interrupt)
    with pytest.raises(KeyboardInterrupt):
        map_globally(site, evidence.path)  # and no process is left: it is waited for
