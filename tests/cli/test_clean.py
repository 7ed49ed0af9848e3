"""`sfumato clean`: floaters go, the table says why, and one sentence for whatever cannot be done."""

import math
import re
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from sfumato import formats
from sfumato.cli.clean import Limits
from sfumato.cli.main import main
from sfumato.core.asset import Asset
from sfumato.core.gaussians import Gaussians
from sfumato.edit.clean import Criteria

from refusing import refuses
from scenes import dot

Tell = pytest.CaptureFixture[str]


def balls() -> Gaussians:
    """Something to look at, a faint one and one far away."""
    torch.manual_seed(7)
    some = [dot(x, y, z, 0.15, 0.9, (0.2, 0.9, 0.4)) for x, y, z in (0.5 * torch.randn(60, 3)).tolist()]
    return Gaussians.cat([*some, dot(0, 0, 0, 0.1, 0.005), dot(0, 90, 0, 0.05, 0.9)])


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    formats.write("a.ply", Asset(balls()))
    Path("folder").mkdir()
    return tmp_path


def test_what_goes_and_why(capsys: Tell) -> None:
    assert main(["clean", "a.ply", "-o", "b.ply", "--preview", "gone.ply"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert re.search(r"^faint +1 +< 0\.01 % +nearly transparent", out, re.MULTILINE), out
    assert re.search(r"^isolated +1 +1\.64 % +far from everything else", out, re.MULTILINE), out
    assert "2 of 62 Gaussians go (3.23 %): 1.65 % of opacity" in out
    assert "no camera was asked: --scene INPUT" in out
    assert "b.ply: 60 Gaussians stay (PLY, " in out
    kept, gone = formats.read("b.ply"), formats.read("gone.ply")
    torch.testing.assert_close(kept.means, balls().means[:60])
    torch.testing.assert_close(gone.means, balls().means[60:])


def test_cameras_say_more_and_photos_what_it_costs(capsys: Tell, dataset: Path) -> None:
    hidden = dot(0, -60, 0, 0.3, 0.9)  # not alone, but beside every picture
    formats.write("c.ply", Asset(Gaussians.cat([balls(), *[hidden] * 4])))
    flags = ["--scene", str(dataset), "--backend", "cpu", "--unseen", "1e-5", "--spoils", "0"]
    assert main(["clean", "c.ply", "-o", "b.ply", *flags]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^unseen +4 +\d[\d.]+ % +0 % +no camera sees", out, re.MULTILINE), out
    assert re.search(r"6 of 66 Gaussians go .* of opacity, (< 0\.01|0) % of pictures", out), out
    told = r"held out 2: PSNR (\d+\.\d\d) dB to \1 dB \([+-]0\.000\), SSIM 0\.\d{4} to 0\.\d{4}"
    assert re.search(told, out), out
    assert len(formats.read("b.ply")) == 60
    assert main(["clean", "c.ply", "--dry-run", *flags[:-2]]) == 0  # these balls are in none of the photos
    assert re.search(r"^spoils +\d+ +.* the photos say that it is not", capsys.readouterr().out, re.MULTILINE)


def test_a_dry_run_writes_nothing(capsys: Tell) -> None:
    assert main(["clean", "a.ply", "--dry-run", "-o", "b.ply"]) == 0
    assert "2 of 62 Gaussians go" in capsys.readouterr().out
    assert sorted(map(str, Path().iterdir())) == ["a.ply", "folder"]
    assert main(["clean", "a.ply", "--dry-run", "--preview", "gone.ply"]) == 0
    assert len(formats.read("gone.ply")) == 2


def test_limits_move_and_switch_off(capsys: Tell) -> None:
    off = ["--faint", "0", "--isolated", "0"]
    assert main(["clean", "a.ply", "-o", "b.ply", "--preview", "gone.ply", *off]) == 0
    out = capsys.readouterr().out
    assert "0 of 62 Gaussians go (0 %)" in out
    assert "nothing goes, so gone.ply is not written" in out
    assert not Path("gone.ply").exists()
    assert len(formats.read("b.ply")) == 62
    assert main(["clean", "a.ply", "-o", "b.ply", "--force", "--faint", "0.001"]) == 0
    assert len(formats.read("b.ply")) == 61


def test_flags_are_those_of_the_library() -> None:
    assert [field.name for field in fields(Limits)] == [field.name for field in fields(Criteria)]
    assert Limits().criteria() == Criteria()
    assert Limits(faint=0, few=0).criteria() == Criteria(faint=None, few=0.0)


@pytest.mark.filterwarnings("always::sfumato.core.errors.SfumatoWarning")  # it is a sentence
def test_broken_rows_go_first(capsys: Tell) -> None:
    gaussians = balls()
    gaussians.means[5] = math.nan
    gaussians.quats[6] = 0
    formats.write("b.ply", Asset(gaussians))
    assert main(["clean", "b.ply", "-o", "c.ply"]) == 0
    out, err = capsys.readouterr()
    assert "1 of 62 Gaussians of b.ply have numbers that are not finite, and are left out" in err
    assert re.search(r"^no rotation +1 ", out, re.MULTILINE)
    assert len(formats.read("c.ply")) == 58


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a.ply", ("add -o OUT, or --dry-run",)),
        ("nowhere.ply -o b.ply", ("nowhere.ply is not there",)),
        ("a.ply -o a.ply --force", ("a.ply is what is read; choose another name",)),
        ("a.ply -o b.doc", ("cannot write b.doc",)),
        ("a.ply -o folder", ("folder",)),
        ("a.ply -o b.ply --preview b.ply", ("--preview must be another file than OUT; both are b.ply",)),
        ("a.ply -o b.ply --preview a.ply", ("a.ply is what is read",)),
        ("a.ply -o b.ply --faint -1", ("--faint must be a number from 0 on; got -1",)),
        ("a.ply -o b.ply --giant nan", ("--giant must be a number from 0 on; got nan",)),
        ("a.ply -o b.ply --faint 1", ("nothing of a.ply would stay: these limits remove all 62; raise them",)),
        ("a.ply -o b.ply --scene nowhere", ("nowhere is not there; give a folder",)),
        ("a.ply -o b.ply --scene folder", ("folder holds no photos",)),
        ("a.ply -o b.ply --scene folder --downscale 0", ("--downscale must be at least 1; got 0",)),
    ],
)
def test_one_sentence(capsys: Tell, line: str, told: tuple[str, ...]) -> None:
    refuses(capsys, ["clean", *line.split(" ")], *told)


def test_nothing_is_replaced_unasked(capsys: Tell) -> None:
    Path("b.ply").write_text("mine")
    refuses(capsys, ["clean", "a.ply", "-o", "b.ply"], "b.ply is there already; choose another name or add --force")
    refuses(capsys, ["clean", "a.ply", "-o", "c.ply", "--preview", "b.ply"], "b.ply is there already")
    assert main(["clean", "a.ply", "-o", "b.ply", "--force"]) == 0
