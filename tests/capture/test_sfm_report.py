"""What is said of photos without a camera: how sharp they are, the table, the contact sheet, the sentence."""

import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from sfumato.capture import photos as capture_photos
from sfumato.capture.sfm import survey
from sfumato.capture.sfm.diagnosis import BLURRED, is_still, judge, verdict
from sfumato.capture.sfm.evidence import Link
from sfumato.capture.sfm.result import PhotoRecord, write_table
from sfumato.capture.sfm.sheet import write_sheet
from sfumato.capture.sfm.survey import Look, Refused, look_at_all, sharpness
from sfumato.core import limits
from sfumato.core.image import read_image


def shapes(seed: int = 0, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A photo of rectangles with sharp edges."""
    random = np.random.default_rng(seed)
    pixels = np.full((size[1], size[0], 3), 128, dtype=np.uint8)
    for _ in range(60):
        x, y = random.integers(0, size[0]), random.integers(0, size[1])
        width, height = random.integers(8, 60, 2)
        pixels[y : y + height, x : x + width] = random.integers(0, 256, 3)
    return Image.fromarray(pixels)


def look(name: str, sharp: float = 0.7, contrast: float = 0.4) -> Look:
    return Look(name, ("", 400, 300, ()), (400, 300), sharp, contrast, np.zeros((96, 128, 3), dtype=np.uint8))


def test_sharpness_falls_with_blur() -> None:
    measured = [sharpness(np.asarray(shapes().filter(ImageFilter.GaussianBlur(s))))[0] for s in (0, 2, 6, 9)]
    assert measured[0] > 0.6
    assert measured == sorted(measured, reverse=True)
    assert measured[2] < BLURRED < measured[1]
    shaken = np.asarray(shapes()).astype(float)
    shaken = np.mean([np.roll(shaken, shift, axis=1) for shift in range(30)], axis=0)  # along one axis only
    assert sharpness(shaken.astype(np.uint8))[0] < BLURRED


def test_sharpness_does_not_depend_on_the_size_of_the_photo() -> None:
    large = shapes(size=(320, 240)).resize((3200, 2400), Image.Resampling.NEAREST)
    assert sharpness(np.asarray(large))[0] > 0.4
    assert sharpness(np.zeros((1, 1, 3), dtype=np.uint8)) == (0.0, 0.0)


def test_contrast() -> None:
    assert sharpness(np.full((100, 100, 3), 90, dtype=np.uint8))[1] == 0
    assert sharpness(np.asarray(shapes()))[1] > 0.1


def test_every_photo_is_looked_at(tmp_path: Path) -> None:
    shapes().save(tmp_path / "a.png")
    shapes(size=(240, 320)).save(tmp_path / "b.png")
    (tmp_path / "c.jpg").write_text("words", encoding="utf-8")
    looks, refused = look_at_all(tmp_path, ["a.png", "b.png", "c.jpg"], lambda *news: None)
    assert [one.name for one in looks] == ["a.png", "b.png"]
    assert looks[0].camera != looks[1].camera
    assert looks[0].thumbnail.shape == (96, 128, 3)
    assert [one.name for one in refused] == ["c.jpg"]
    assert "not an image" in refused[0].why


@pytest.mark.parametrize("blur", [0, 8, 24])
@pytest.mark.parametrize("width", [2000, 4000, 5600])
def test_large_jpegs_are_judged_from_a_part_of_their_pixels(tmp_path: Path, blur: int, width: int) -> None:
    photo = shapes().resize((width, width * 3 // 4)).filter(ImageFilter.GaussianBlur(blur))
    photo.save(tmp_path / "a.jpg", quality=90)
    with patch.object(survey, "read_image", wraps=read_image) as decode:
        ((one,), _) = look_at_all(tmp_path, ["a.jpg"], lambda *news: None)
    assert decode.call_args.args[1] == {2000: 2, 4000: 2, 5600: 4}[width]
    whole = sharpness(np.asarray(Image.open(tmp_path / "a.jpg")))
    assert (one.sharpness, one.contrast) == pytest.approx(whole, abs=0.02)
    assert one.size == (width, width * 3 // 4)


@pytest.mark.parametrize(("photos_that_fit", "at_once"), [(2, 1), (6, 3), (100, 4)])
def test_no_more_photos_are_decoded_at_once_than_memory_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos_that_fit: int, at_once: int
) -> None:
    names = [f"{number}.png" for number in range(9)]
    for name in names:
        shapes().save(tmp_path / name)
    decoding: list[int] = []
    most = 0

    def decode(path: Path, shrink: int) -> torch.Tensor:
        nonlocal most
        decoding.append(1)
        most = max(most, len(decoding))
        time.sleep(0.02)
        decoding.pop()
        return read_image(path, shrink)

    monkeypatch.setattr(survey, "read_image", decode)
    monkeypatch.setattr(limits, "available_memory", lambda: photos_that_fit * 320 * 240 * survey.BYTES)
    for module in (limits, capture_photos):
        monkeypatch.setattr(module, "usable_cores", lambda: 4)
    assert len(look_at_all(tmp_path, names, lambda *news: None)[0]) == 9
    assert most == at_once


def test_judgement_of_each_photo() -> None:
    looks = [look(f"{letter}.jpg") for letter in "abcdef"]
    looks += [look("g.jpg", sharp=0.26), look("h.jpg", contrast=0.01)]
    links = [Link((0, 1), 100, 9.0), Link((0, 2), 50, 9.0), Link((1, 3), 20, 9.0), Link((4, 5), 90, 9.0)]
    table = judge(looks, [Refused("z.jpg", "?")], [900] * 6 + [30, 4], links, registered={"a.jpg", "b.jpg", "c.jpg"})
    assert [row.why for row in table] == [
        *("", "", "", "shares too little", "a group of its own", "a group of its own"),
        *("blurred", "no texture", "cannot be read"),
    ]
    assert table[0] == PhotoRecord("a.jpg", 900, matched=2, inliers=150, registered=True, why="")


@pytest.mark.parametrize(
    ("sharp", "contrast", "features", "links", "said"),
    [
        (0.26, 0.3, 50, [], "blurred; hold the camera still"),
        (0.7, 0.01, 3, [], "too little texture"),
        (0.7, 0.4, 10, [], "too little texture"),
        (0.7, 0.4, 900, [], r"do not overlap enough: 0 of 4 share"),
        (0.7, 0.4, 900, [Link((0, 1), 20, 9.0), Link((2, 3), 20, 9.0)], "no camera agrees"),
    ],
)
def test_verdict(sharp: float, contrast: float, features: int, links: list[Link], said: str) -> None:
    looks = [look(f"{number}.jpg", sharp, contrast) for number in range(4)]
    assert said in verdict(judge(looks, [], [features] * 4, links, set()))


def test_copies_stand_still() -> None:
    looks = [look(f"{number}.jpg") for number in range(4)]
    copies = [Link((a, b), 500, 0.1) for a in range(4) for b in range(a + 1, 4)]
    assert is_still(looks, copies)
    assert not is_still(looks, [*copies[:4], Link((2, 3), 50, 8.0), Link((1, 3), 50, 8.0)])
    assert not is_still(looks, [])
    assert "copies of one" in verdict(judge(looks, [], [900] * 4, copies, set()), "still")


def test_table_and_contact_sheet(tmp_path: Path) -> None:
    names = ["a, b.jpg", "\u68ee/\n.png", "c.jpg", "a name that is much longer than the photo is wide.jpg"]
    reasons = ["", "blurred", "cannot be read", ""]
    table = [PhotoRecord(name, 9, 1, 30, not why, why) for name, why in zip(names, reasons, strict=True)]
    write_table(tmp_path, table)
    lines = (tmp_path / "capture.csv").read_text(encoding="utf-8").split("\n")
    assert lines[0] == "name,features,matched,inliers,registered,why"
    assert lines[1] == '"a, b.jpg",9,1,30,yes,'

    pictures = {name: np.full((96, 128, 3), 255, dtype=np.uint8) for name in names if name != "c.jpg"}
    write_sheet(tmp_path, table, pictures)
    with Image.open(tmp_path / "contact.jpg") as file:
        sheet = np.asarray(file.convert("RGB")).astype(int)
    green = (sheet[..., 1] > sheet[..., 0] + 60) & (sheet[..., 1] > sheet[..., 2] + 40)
    red = (sheet[..., 0] > sheet[..., 1] + 100) & (sheet[..., 0] > sheet[..., 2] + 100)
    around = 4 * 2 * (104 + 128)  # pixels of a frame of 4 pixels around 128 x 96
    assert green.sum() == pytest.approx(2 * around, rel=0.15)
    assert red.sum() > 1.7 * around
    write_sheet(tmp_path, [], {})  # nothing to show, but no harm
