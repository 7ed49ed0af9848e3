"""Which photo a dataset written elsewhere means by a name."""

from pathlib import Path

import pytest
from ring import photos

from sfumato.capture.photos import PhotoIndex

NAMES = ["a.png", "b/a.png", "b/c.JPG", "b/d/e.png", "x.jpg.tif", "r_0.5.png", "r_0.png"]


@pytest.fixture
def index(tmp_path: Path) -> PhotoIndex:
    photos(tmp_path / "images", NAMES)
    return PhotoIndex([tmp_path / "images", tmp_path / "not there"])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("a.png", "a.png"),
        ("b/a.png", "b/a.png"),
        ("b\\a.png", "b/a.png"),
        ("./b/c.jpg", "b/c.JPG"),
        ("B/C", "b/c.JPG"),
        ("/home/me/scan/b/a.png", "b/a.png"),  # the longest end that fits, not the file name alone
        ("C:\\Users\\me\\scan\\b\\A.PNG", "b/a.png"),
        ("/home/me/scan/a.png", "a.png"),
        ("c.jpg", "b/c.JPG"),  # deeper, but the only one of that name
        ("/elsewhere/e.png", "b/d/e.png"),
        ("a.jpg", "a.png"),  # converted to another format
        ("x.jpg", "x.jpg.tif"),
        ("r_0.5", "r_0.5.png"),
        ("r_0", "r_0.png"),
        ("r_0.7", None),  # the end of a number is no extension
        ("z.png", None),
        ("", None),
        (".", None),
        ("/", None),
        ("..", None),
        ("a" * 5000, None),
        ("a\0.png", None),
        ("\udcff.png", None),
    ],
)
def test_names(index: PhotoIndex, tmp_path: Path, name: str, meant: str | None) -> None:
    assert index.find(name) == (None if meant is None else tmp_path / "images" / meant)


def test_a_name_that_several_have_is_nobodys(tmp_path: Path) -> None:
    photos(tmp_path, ["left/0.png", "right/0.png"])
    assert PhotoIndex([tmp_path]).find("/cam/0.png") is None
    assert PhotoIndex([tmp_path]).find("/cam/left/0.png") == tmp_path / "left" / "0.png"


def test_one_file_for_several_names_is_the_one_of_the_best(tmp_path: Path) -> None:
    """Folders that were flattened into one, where the last of equal names is left."""
    photos(tmp_path, ["images/0.png", "cam/1/2.png"])
    index = PhotoIndex([tmp_path])
    assert index.find_all(["left/0.png", "right/0.png"]) == {}
    assert index.find_all(["left/0.png"]) == {"left/0.png": tmp_path / "images" / "0.png"}
    assert index.find_all(["/x/images/0.png", "/x/right/0.png"]) == {"/x/images/0.png": tmp_path / "images" / "0.png"}
    assert set(index.find_all(["images/0.png", "./images/0.png", "images/0"])) == {
        *("images/0.png", "./images/0.png", "images/0")
    }
    assert index.find_all(["a\\1\\2.png", "3/2.png"]) == {"a\\1\\2.png": tmp_path / "cam" / "1" / "2.png"}
