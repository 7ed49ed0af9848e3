"""`sfumato segment`: parts by masks of photos, and one sentence for whatever cannot be done."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato import formats
from sfumato.capture import load_scene
from sfumato.cli.main import main
from sfumato.core.asset import Asset
from sfumato.core.gaussians import Gaussians
from sfumato.render.render import render

from scenes import dot

Tell = pytest.CaptureFixture[str]


def balls() -> Gaussians:
    """A red one, a green one, and one that no photo shows."""
    return Gaussians.cat(
        [dot(-0.6, 0, 0, 0.3, 0.95, (1, 0, 0)), dot(0.6, 0, 0, 0.3, 0.95, (0, 1, 0)), dot(-50, 0, 0, 0.3, 0.95)]
    )


@pytest.fixture(autouse=True)
def place(tmp_path: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A splat of balls, a dataset and masks of the balls for four of its photos: red 3, green 8."""
    monkeypatch.chdir(tmp_path)
    formats.write("a.ply", Asset(balls()))
    Path("masks").mkdir()
    for view in load_scene(dataset).views[2:6]:
        image = render(balls(), view.camera, backend="reference").image
        mask = np.where(image[..., 0] > 0.3, 3, np.where(image[..., 1] > 0.3, 8, 0)).astype(np.uint8)
        Image.fromarray(mask).save(Path("masks") / (Path(view.name).stem + ".png"))
    Path("empty").mkdir()
    return tmp_path


def run(line: str) -> int:
    return main(["segment", *line.split(" ")])


def refuses(capsys: Tell, line: str, *told: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    capsys.readouterr()
    code = run(line)
    out, err = capsys.readouterr()
    assert code == 2, out
    assert err.splitlines()[-1].startswith("sfumato: "), err
    assert err.count("sfumato: ") == 1
    assert all(part in err for part in told), err
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == before


def test_a_part_for_each_label(capsys: Tell) -> None:
    assert run("a.ply -o parts --scene dataset --masks masks") == 0
    out = capsys.readouterr().out
    assert sorted(path.name for path in Path("parts").iterdir()) == ["3.ply", "8.ply", "unlabelled.ply"]
    for name, row in (("3", 0), ("8", 1), ("unlabelled", 2)):
        part = formats.read(Path("parts") / f"{name}.ply")
        torch.testing.assert_close(part.means, balls().means[row : row + 1])
        assert f"{Path('parts') / name}.ply: 1 Gaussian (PLY, " in out
    assert re.search(r"^3 +1 +33\.3 % +\d\d\.\d % +\d\d\.\d %", out, re.MULTILINE), out
    assert "3 Gaussians by 4 labelled photos of 9" in out


def test_what_is_unseen_joins_the_nearest() -> None:
    assert run("a.ply -o parts --scene dataset --masks masks --unseen nearest --format .splat") == 0
    assert sorted(path.name for path in Path("parts").iterdir()) == ["3.splat", "8.splat"]
    assert len(formats.read("parts/3.splat")) == 2


def test_one_file_of_some_labels() -> None:
    words = "--scene dataset --masks masks"
    assert run(f"a.ply -o b.ply {words} --keep 3 --keep unlabelled") == 0
    assert formats.read("b.ply").means[:, 0].tolist() == pytest.approx([-0.6, -50])
    assert run(f"a.ply -o b.ply {words} --remove 3 --force") == 0
    assert formats.read("b.ply").means[:, 0].tolist() == pytest.approx([0.6, -50])
    assert run(f"a.ply -o c.ply {words} --keep 3 --keep 8 --remove 8") == 0
    assert formats.read("c.ply").means[:, 0].tolist() == pytest.approx([-0.6])


def test_folders_name_their_labels() -> None:
    for path in sorted(Path("masks").iterdir()):
        mask = np.array(Image.open(path))
        for name, value in (("red ball", 3), ("green", 8)):
            (Path("named") / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray((mask == value).astype(np.uint8) * 255).save(Path("named") / name / path.name)
    assert run("a.ply -o parts --scene dataset --masks named --downscale 2") == 0
    assert sorted(path.name for path in Path("parts").iterdir()) == ["green.ply", "red ball.ply", "unlabelled.ply"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a.ply -o parts --masks masks", ("segment must be given --scene INPUT",)),
        ("a.ply -o parts --scene dataset", ("segment must be given --masks DIR",)),
        ("nowhere.ply -o parts --scene dataset --masks masks", ("nowhere.ply is not there",)),
        ("a.ply -o parts --scene nowhere --masks masks", ("nowhere is not there; give a folder",)),
        ("a.ply -o parts --scene dataset --masks nowhere", ("nowhere must be a folder of masks; it is not there",)),
        ("a.ply -o parts --scene dataset --masks a.ply", ("a.ply must be a folder of masks; it is a file",)),
        ("a.ply -o parts --scene dataset --masks empty", ("no picture in empty has the name of a photo",)),
        ("a.ply -o masks --scene dataset --masks masks", ("masks is there already",)),
        ("a.ply -o masks --scene dataset --masks masks --force", ("masks is where the input is",)),
        ("a.ply -o a.ply --scene dataset --masks masks", ("a.ply must be a folder for the parts; it is a file",)),
        ("a.ply -o b.ply --scene dataset --masks masks", ("b.ply would be a folder", "or add --keep LABEL")),
        ("a.ply -o parts --scene dataset --masks masks --format .doc", ("no format for .doc",)),
        ("a.ply -o parts --scene dataset --masks masks --share 2", ("--share must be from 0 to 1; got 2",)),
        ("a.ply -o a.ply --scene dataset --masks masks --keep 3", ("a.ply is what is read",)),
        ("a.ply -o b.doc --scene dataset --masks masks --keep 3", ("no format for .doc",)),
        (
            "a.ply -o b.ply --scene dataset --masks masks --keep 4",
            ("masks has no label '4' (known: background, 3, 8, unlabelled)",),
        ),
        ("a.ply -o b.ply --scene dataset --masks masks --keep background", ("has the label background",)),
    ],
)
def test_one_sentence(capsys: Tell, line: str, told: tuple[str, ...]) -> None:
    refuses(capsys, line, *told)


def test_nothing_is_replaced_unasked(capsys: Tell) -> None:
    Path("parts").mkdir()
    Path("parts/mine.txt").write_text("mine")
    refuses(capsys, "a.ply -o parts --scene dataset --masks masks", "parts is there already; choose another name")
    assert run("a.ply -o parts --scene dataset --masks masks --force") == 0
    assert Path("parts/mine.txt").read_text() == "mine"
    refuses(capsys, "a.ply -o parts/3.ply --scene dataset --masks masks --keep 3", "3.ply is there already")
