"""`sfumato merge`: splats to one file, what is told of it, and one sentence for whatever cannot be done."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sfumato import formats
from sfumato.cli.main import main
from sfumato.core.asset import Asset
from sfumato.core.rotation import matrix_from_quaternion
from sfumato.edit.merge.similarity import Similarity, moved

from refusing import refuses
from scenes import crowd

Tell = pytest.CaptureFixture[str]
TURN = 0.9  # radians

pytestmark = pytest.mark.filterwarnings("always::sfumato.core.errors.SfumatoWarning")  # they are sentences, too


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> Path:
    """Two parts of a splat, the second one moved, of which both have 400 Gaussians; and what is no splat."""
    monkeypatch.chdir(tmp_path)
    scene = crowd(1000, 1)
    rotation = matrix_from_quaternion(torch.tensor([math.cos(TURN / 2), 0, math.sin(TURN / 2), 0]).double())
    true = Similarity(rotation, torch.tensor([3.0, 1, 2]).double(), 2.0)
    formats.write("a.ply", scene[:700])
    formats.write("b.ply", moved(scene[300:], true.inverse()))
    formats.write("small.ply", crowd(5, 0))
    Path("photo.jpg").write_bytes(b"\xff\xd8\xff")
    return tmp_path


def test_as_they_are(capsys: Tell) -> None:
    assert main(["merge", "a.ply", "b.ply", "small.ply", "-o", "c.ply"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "stays where it is" in out
    assert "c.ply: 1,405 Gaussians, degree 1, PLY" in out
    merged = formats.read("c.ply")
    torch.testing.assert_close(merged.means[700:1400], formats.read("b.ply").means)


@pytest.mark.parametrize("suffix", [".ply", ".spz"])
def test_aligned(capsys: Tell, suffix: str) -> None:
    """Turned by 0.9 radians: 51.566 degrees. SPZ stores places in steps of 0.0002."""
    formats.write(f"b{suffix}", formats.read("b.ply"))
    capsys.readouterr()
    assert main(["merge", "a.ply", f"b{suffix}", "-o", "c.ply", "--align", "--dedupe"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    angle, scale = re.search(r"turned by ([\d.]+) degrees, scaled by ([\d.]+) moved by", out).groups()  # type: ignore[union-attr]
    assert float(angle) == pytest.approx(math.degrees(TURN), abs=0.02)
    assert float(scale) == pytest.approx(2, rel=1e-3)
    left = int(re.search(r"left out (\d+) that were there already", out).group(1))  # type: ignore[union-attr]
    assert left >= 400
    assert formats.count("c.ply") == 1400 - left


def test_a_doubtful_alignment_is_said(capsys: Tell) -> None:
    formats.write("other.ply", crowd(700, 0))
    assert main(["merge", "a.ply", "other.ply", "-o", "c.ply", "--align"]) == 0
    assert "other.ply: the alignment may be wrong: " in capsys.readouterr().err


def test_origins_and_disagreements(capsys: Tell) -> None:
    known = Asset(formats.read("a.ply"), antialiased=True, origin=(500_000.5, 0.0, 0.0))
    formats.write("a.npz", known)
    formats.write("b.npz", replace(known, antialiased=False, origin=(500_001.0, 0.0, 0.0)))
    assert main(["merge", "a.npz", "b.npz", "-o", "c.npz"]) == 0
    out, err = capsys.readouterr()
    assert "moved as its origin and unit say: scaled by 1, moved by 0.5 0 0" in out
    assert "not trained to be drawn antialiased" in err
    assert formats.read_asset("c.npz").origin == (500_000.5, 0.0, 0.0)


def test_bad_days(capsys: Tell) -> None:
    refuses(capsys, ["merge", "a.ply", "-o", "c.ply"], "merge takes two splats or more; got 1")
    refuses(capsys, ["merge", "a.ply", "none.ply", "-o", "c.ply"], "none.ply is not there")
    refuses(capsys, ["merge", "a.ply", "photo.jpg", "-o", "c.ply"], "photo.jpg is no splat")
    refuses(capsys, ["merge", "a.ply", "b.ply", "-o", "a.ply"], "a.ply is what is read")
    refuses(capsys, ["merge", "a.ply", "b.ply", "-o", "small.ply"], "small.ply is there already", "--force")
    refuses(capsys, ["merge", "a.ply", "b.ply", "-o", "c.obj"], "no format for .obj")
    refuses(
        capsys, ["merge", "a.ply", "b.ply", "-o", "c.ply", "--no-scale"], "--no-scale is about aligning; add --align"
    )
    refuses(capsys, ["merge", "a.ply", "b.ply", "-o", "c.ply", "--start", "here"], "--start is about aligning")
    refuses(
        capsys,
        ["merge", "a.ply", "small.ply", "-o", "c.ply", "--align"],
        "the splat to move has",
        "aligning takes 10 or more",
    )


def test_own_input_is_refused_even_with_force(capsys: Tell) -> None:
    refuses(capsys, ["merge", "a.ply", "b.ply", "-o", "b.ply", "--force"], "b.ply is what is read")


@pytest.mark.parametrize("line", ["a.ply b.ply", "a.ply b.ply -o c.ply --nonsense", "a.ply b.ply -o c.ply --start up"])
def test_wrong_flags(capsys: Tell, line: str) -> None:
    assert main(["merge", *line.split()]) == 2
    assert not Path("c.ply").exists()
