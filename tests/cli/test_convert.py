"""`sfumato convert`: one file to another, what is said of it, and one sentence for whatever cannot be done."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from sfumato import formats
from sfumato.cli.main import main
from sfumato.cli.writing import Writing
from sfumato.formats import WriteOptions

from refusing import refuses
from scenes import crowd

Tell = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> Path:
    monkeypatch.chdir(tmp_path)
    formats.write("a.ply", crowd(200, 2))
    Path("folder").mkdir()
    return tmp_path


def test_one_line_says_it_all(capsys: Tell) -> None:
    assert main(["convert", "a.ply", "b.ply", "--sh-degree", "1"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    # 2: 62 - 3 * 7 columns of 4 bytes; 1: 3 * 5 columns less
    assert re.fullmatch(
        r"a\.ply \(PLY, 200 Gaussians, degree 2, 33,\d{3} bytes\) -> "
        r"b\.ply \(PLY, 21,\d{3} bytes, 10\d\.\d bytes per Gaussian\): 1\.6 times smaller\n",
        out,
    ), out
    there, here = formats.read("b.ply"), formats.read("a.ply")
    assert there.degree == 1
    assert all(torch.equal(a, b) for a, b in zip(there, here.with_degree(1), strict=True))


def test_a_degree_that_is_not_there_adds_nothing() -> None:
    assert main(["convert", "a.ply", "b.ply", "--sh-degree", "4"]) == 0
    assert Path("a.ply").read_bytes() == Path("b.ply").read_bytes()


def test_the_other_way_is_larger_and_force_replaces(capsys: Tell) -> None:
    formats.write("b.ply", crowd(3, 0))
    assert main(["convert", "b.ply", "a.ply", "--force"]) == 0
    assert len(formats.read("a.ply")) == 3
    assert "1.0 times" in capsys.readouterr().out


@pytest.mark.filterwarnings("always::sfumato.core.errors.SfumatoWarning")  # it is a sentence
def test_what_is_left_out_is_told(capsys: Tell) -> None:
    gaussians = crowd(20, 1)
    gaussians.means[2] = torch.inf
    formats.write("b.ply", gaussians)
    assert main(["convert", "b.ply", "c.ply"]) == 0
    out, err = capsys.readouterr()
    assert "1 of 20 Gaussians of b.ply have numbers that are not finite" in err
    assert "19 Gaussians" in out


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nowhere.ply b.ply", ("nowhere.ply is not there",)),
        ("a.ply a.ply --force", ("a.ply is what is read; choose another name",)),
        ("a.ply ./folder/../a.ply --force", ("is what is read",)),
        ("a.ply b.xyz", ("cannot write b.xyz: no format for .xyz (known: ",)),
        ("a.ply b", ("no format for a file without suffix",)),
        ("a.ply folder", ("cannot write folder",)),
        ("folder b.ply", ("folder is a folder; give the splat's file",)),
        ("a.ply b.ply --sh-degree 5", ("--sh-degree must be 0 to 4; got 5",)),
        ("a.ply b.ply --sh-degree -1", ("--sh-degree must be 0 to 4; got -1",)),
    ],
)
def test_one_sentence(capsys: Tell, line: str, told: tuple[str, ...]) -> None:
    refuses(capsys, ["convert", *line.split(" ")], *told)


def test_nothing_is_replaced_unasked(capsys: Tell) -> None:
    Path("b.ply").write_text("mine")
    refuses(capsys, ["convert", "a.ply", "b.ply"], "b.ply is there already; choose another name or add --force")
    assert Path("b.ply").read_text() == "mine"


def test_a_file_that_is_no_splat(capsys: Tell) -> None:
    Path("b.ply").write_bytes(b"hello")
    refuses(capsys, ["convert", "b.ply", "c.ply"], "b.ply is no ")
    Path("b.ply").write_bytes(Path("a.ply").read_bytes()[:-100])
    refuses(capsys, ["convert", "b.ply", "c.ply"], "b.ply")


@pytest.mark.parametrize("line", ["a.ply", "a.ply b.ply c.ply", "a.ply b.ply --spz-version 7", "a.ply b.ply --wild"])
def test_flags_that_are_none(capsys: Tell, line: str) -> None:
    assert main(["convert", *line.split()]) == 2
    assert not Path("b.ply").exists()
    assert capsys.readouterr().err


def test_every_option_of_a_writer_is_a_flag() -> None:
    def told(of: type) -> list[tuple[object, ...]]:
        return [(field.name, field.default, field.type) for field in fields(of)]

    assert told(Writing) == told(WriteOptions)
