"""`sfumato export`: a file or a run to one page, and one sentence for whatever cannot be done."""

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sfumato import formats
from sfumato.cli.main import main
from sfumato.view.squeeze import expand

from refusing import refuses
from scenes import crowd

Tell = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> Path:
    """A folder with a splat, a run, and what is neither."""
    monkeypatch.chdir(tmp_path)
    formats.write(Path("a.ply"), crowd(200, 2))
    Path("run").mkdir()
    formats.write(Path("run/splat.ply"), crowd(300, 3))
    Path("run/cameras.json").write_text(json.dumps([camera(0, "x/a.jpg", "train"), camera(1, "b.jpg", "test")]))
    Path("empty").mkdir()
    return tmp_path


def camera(index: int, name: str, split: str) -> dict[str, object]:
    return {
        "id": index,
        "img_name": name,
        "width": 40,
        "height": 30,
        "position": [float(index), 0.0, -2.0],
        "rotation": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        "fx": 30.0,
        "fy": 30.0,
        "split": split,
    }


def page_in(path: str) -> dict[str, object]:
    found = re.search(r'id="page">(.*?)</script>', Path(path).read_text(encoding="utf-8"))
    assert found is not None
    page: dict[str, object] = json.loads(found.group(1))
    return page


def count_in(path: str) -> tuple[int, int]:
    html = Path(path).read_text(encoding="utf-8")
    found = expand(b"".join(base64.b64decode(text) for text in re.findall(r"data-splat>([^<]*)<", html)))
    return len(found), found.degree


def test_a_file(capsys: Tell) -> None:
    assert main(["export", "a.ply", "out/a.html"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert re.search(r"out/a\.html: 0\.\d MB, of which 0\.\d MB are the scene: 200 Gaussians of degree 2, ", out)
    assert "open it in a browser" in out
    page = page_in("out/a.html")
    assert (page["title"], page["splat"], page["cameras"]) == ("a", {"embedded": True}, [])
    assert count_in("out/a.html") == (200, 2)


def test_a_run_with_everything(capsys: Tell) -> None:
    assert main(["export", "run", "a.html"]) == 0
    page = page_in("a.html")
    assert page["title"] == "run"
    assert page["start"]["viewmat"][3] == -1.0  # type: ignore[index]  # the held-out one
    assert [entry["name"] for entry in page["cameras"]] == ["x/a.jpg", "b.jpg"]  # type: ignore[attr-defined]
    assert page["up"] == [0.0, -1.0, 0.0]
    flags = ["--sh-degree", "0", "--max-gaussians", "50", "--title", "Hi <b>", "--start-camera", "a", "--force"]
    assert main(["export", "run", "a.html", *flags]) == 0
    page = page_in("a.html")
    assert page["title"] == "Hi <b>"
    assert page["start"]["viewmat"][3] == 0.0  # type: ignore[index]
    assert count_in("a.html") == (50, 0)


@pytest.mark.filterwarnings("always::sfumato.core.errors.SfumatoWarning")  # it is a sentence
def test_what_cannot_be_drawn_is_told(capsys: Tell) -> None:
    gaussians = crowd(20, 1)
    gaussians.means[2] = torch.inf
    formats.write(Path("b.ply"), gaussians)
    assert main(["export", "b.ply", "b.HTM"]) == 0
    assert "1 of 20 Gaussians of b.ply have numbers that are not finite, and are left out" in capsys.readouterr().err
    assert count_in("b.HTM") == (19, 1)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a.ply a.ply", ("wanted a file that ends in .html",)),
        ("a.ply empty", ("empty must be a file; it is a folder",)),
        ("nowhere.ply a.html", ("nowhere.ply is not there",)),
        ("empty a.html", ("empty is no folder of a run",)),
        ("a.ply a.html --sh-degree 4", ("--sh-degree must be 0 to 3; got 4",)),
        ("a.ply a.html --max-gaussians 0", ("--max-gaussians must be at least 1; got 0",)),
        ("a.ply a.html --start-camera b.jpg", ("comes without cameras; give the folder of its run",)),
        ("run a.html --start-camera c", ("no camera 'c'; give a name, such as x/a.jpg, or a number from 0 to 1",)),
        ("run a.html --start-camera 2", ("a number from 0 to 1",)),
    ],
)
def test_one_sentence(capsys: Tell, line: str, told: tuple[str, ...]) -> None:
    refuses(capsys, ["export", *line.split(" ")], *told)


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (lambda: Path("b.ply").write_bytes(b"hello"), "is no PLY file"),
        (lambda: formats.write(Path("b.ply"), crowd(10).map(lambda t: t * torch.nan)), "shows nothing"),
        (lambda: Path("b.ply").write_bytes(Path("a.ply").read_bytes()[:-100]), "truncated"),
    ],
)
def test_a_splat_that_is_none(capsys: Tell, prepare: Callable[[], object], told: str) -> None:
    prepare()
    refuses(capsys, ["export", "b.ply", "a.html"], told)


def test_a_damaged_list_of_cameras(capsys: Tell) -> None:
    Path("run/cameras.json").write_text("{")
    refuses(capsys, ["export", "run", "a.html"], "cameras.json is damaged")


def test_nothing_is_replaced_unasked(capsys: Tell) -> None:
    Path("a.html").write_text("mine")
    refuses(capsys, ["export", "a.ply", "a.html"], "a.html is there already; choose another name or add --force")
    assert Path("a.html").read_text() == "mine"
    Path("file").write_text("no folder")
    refuses(capsys, ["export", "a.ply", "file/a.html"], "file")
