"""`sfumato edit`: operations in the order they are typed, and one sentence for whatever cannot be done."""

import math
import re
from pathlib import Path

import pytest
import torch

from sfumato import edit, formats
from sfumato.cli.main import main
from sfumato.cli.operations import OPERATIONS, parse_operations
from sfumato.core.asset import Asset
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians

from refusing import refuses
from scenes import crowd

Tell = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> Path:
    monkeypatch.chdir(tmp_path)
    formats.write("a.ply", crowd(200, 2))
    Path("folder").mkdir()
    return tmp_path


def edited(*words: str) -> Gaussians:
    assert main(["edit", "a.ply", "-o", "b.ply", "--force", *words]) == 0
    return formats.read("b.ply")


def test_the_order_is_that_of_the_words(capsys: Tell) -> None:
    some = formats.read("a.ply")
    first = edited("--translate", "1", "0", "0", "--scale", "2")
    second = edited("--scale", "2", "--translate", "1", "0", "0")
    torch.testing.assert_close(first.means, 2 * (some.means + torch.tensor([1.0, 0, 0])))
    torch.testing.assert_close(second.means, 2 * some.means + torch.tensor([1.0, 0, 0]))
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[:2] == [
        "--translate 1 0 0: moved; 200 Gaussians",
        "--scale 2: made larger; 200 Gaussians",
    ]
    assert re.fullmatch(r"b\.ply: 200 Gaussians, PLY, .* bytes, .* bytes per Gaussian", out.splitlines()[2])


def test_each_operation_does_what_its_function_does() -> None:
    some = Asset(formats.read("a.ply"))
    red = edit.matches(some.gaussians, "red > 0.5")
    cases: list[tuple[str, Asset]] = [
        ("--rotate 0 1 0 -90", edit.rotate(some, (0, 1, 0), -90)),
        ("--rotate-quaternion 1 2 3 4", edit.turn(some, (1, 2, 3, 4))),
        ("--up 1 0 0", edit.upright(some, (1, 0, 0))),
        ("--center", edit.translate(some, -edit.middle(some.gaussians))),
        ("--crop-box -1 -1 -1 1 1 4", edit.crop_box(some, (-1, -1, -1), (1, 1, 4))),
        (
            "--crop-turned-box -1 -1 2 1 1 4 0 0 1 45",
            edit.crop_box(some, (-1, -1, 2), (1, 1, 4), edit.rotation_about((0, 0, 1), 45)),
        ),
        ("--crop-sphere 0,0,3 1", edit.crop_sphere(some, (0, 0, 3), 1)),
        ("--sh-degree 1", edit.limit_degree(some, 1)),
        ("--exposure -1", edit.exposure(some, -1)),
        ("--contrast=1.5", edit.contrast(some, 1.5)),
        ("--saturation 0", edit.saturation(some, 0)),
        ("--white-balance 0.5", edit.white_balance(some, 0.5)),
        ("--white_balance 0.5 -0.1", edit.white_balance(some, 0.5, -0.1)),
        ("--gain 1 2 3", edit.recolor(some, torch.diag(torch.tensor([1.0, 2, 3])))),
        ("--offset .1 .2 -.3", edit.recolor(some, torch.eye(3), (0.1, 0.2, -0.3))),
        ("--recolor 1 0.5 0", edit.tint(some, (1, 0.5, 0))),
        ("--decimate 60", edit.decimate(some, 60)),
        ("--decimate 30%", edit.decimate(some, 60)),
        ("--morton", edit.in_morton_order(some)),
    ]
    for words, wanted in cases:
        for a, b in zip(edited(*words.split()), wanted.gaussians, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-6, msg=words)
    assert len(edited("--select", "red > 0.5")) == red.sum()
    assert len(edited("--remove", "red > 0.5")) == 200 - red.sum()
    assert len(edited("--recolor", "1 0 0")) == 200
    done = {words.split()[0].partition("=")[0].replace("_", "-") for words, _ in cases}
    elsewhere = {"--translate", "--scale", "--select", "--remove", "--where", "--crop-camera-hull", "--crop-views"}
    assert done | elsewhere == {verb.flag for verb in OPERATIONS}


def test_where_concerns_what_follows(capsys: Tell) -> None:
    some = formats.read("a.ply")
    chosen = edit.matches(some, "x > 0")
    count = int(chosen.sum())
    moved = edited(
        "--where", "x > 0", "--translate", "-100", "0", "0", "--scale", "2", "--where", "all", "--exposure", "1"
    )
    torch.testing.assert_close(moved.means[~chosen], some.means[~chosen])
    torch.testing.assert_close(moved.means[chosen], 2 * (some.means[chosen] - torch.tensor([100.0, 0, 0])))
    torch.testing.assert_close(moved.sh0, edit.exposure(some, 1).sh0)
    assert f"--where x > 0: {count} of 200 from here on; 200 Gaussians" in capsys.readouterr().out

    fewer = edited("--where", "x > 0", "--decimate", "10", "--recolor", "1 0 0", "--remove", "y > 0")
    rest = some[~chosen]
    assert torch.equal(fewer.means[: len(rest)], rest.means)
    assert torch.equal(fewer.sh0[: len(rest)], rest.sh0)
    assert (fewer.means[len(rest) :, 1] <= 0).all()
    assert f"merged {count} to 10; {len(rest) + 10} Gaussians" in capsys.readouterr().out

    flat = edited("--where", "x > 0", "--sh-degree", "0")
    assert flat.degree == 2
    assert not flat.shN[chosen].any()
    assert torch.equal(flat.shN[~chosen], some.shN[~chosen])


def test_what_the_file_says_moves_along() -> None:
    formats.write("a.npz" if _has(".npz") else "a.ply", Asset(crowd(20, 0), origin=(5.0, 0.0, 0.0)))
    source = "a.npz" if _has(".npz") else "a.ply"
    assert main(["edit", source, "-o", "b.ply", "--rotate", "0", "0", "1", "90"]) == 0
    assert formats.read_asset("b.ply").origin == pytest.approx((0, 5, 0), abs=1e-9)


def _has(suffix: str) -> bool:
    return any(suffix in known.SUFFIXES for known in formats.FORMATS)


def test_with_a_scene(dataset: Path, capsys: Tell) -> None:
    """The toy's photos: the hull, upright by the cameras, and what decimating costs though everything has moved."""
    words = ["--scene", str(dataset), "--backend", "reference"]
    assert main(["edit", "a.ply", "-o", "b.ply", *words, "--crop-camera-hull", "3", "--up", "auto"]) == 0
    out, _ = capsys.readouterr()
    assert "--crop-camera-hull 3: kept " in out
    assert "--up auto: turned by " in out

    def told(*more: str) -> tuple[float, float]:
        capsys.readouterr()
        assert main(["edit", "a.ply", "-o", "b.ply", "--force", *words, *more, "--decimate", "50%"]) == 0
        out, _ = capsys.readouterr()
        found = re.search(r"merged 200 to 100, PSNR (\S+) dB to (\S+) dB on 2 held-out photos", out)
        assert found, out
        return float(found.group(1)), float(found.group(2))

    before, after = told()
    assert before != after
    moved = told("--translate", "3", "4", "5", "--rotate", "1", "2", "3", "40", "--scale", "0.5")
    assert moved == pytest.approx((before, after), abs=0.3)  # mergers are found along other axes
    assert moved[0] == pytest.approx(before, abs=0.02)
    assert main(["edit", "a.ply", "-o", "b.ply", "--force", *words, "--crop-views", "5"]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("a.ply -o b.ply", ("edit was given no operation", "--help", "sfumato convert")),
        ("a.ply -o b.ply --trnslate 1 2 3", ("no operation or flag --trnslate; did you mean --translate?",)),
        ("a.ply -o b.ply --xyzzy 1", ("no operation or flag --xyzzy; see sfumato edit --help",)),
        ("a.ply -o b.ply --translate 1 2", ("--translate takes X Y Z; got 2 numbers",)),
        ("a.ply -o b.ply --translate 1 2 --scale 2", ("--translate takes X Y Z; got 2 numbers before '--scale'",)),
        ("a.ply -o b.ply --translate 1 2 3x", ("'3x' is no number",)),
        ("a.ply -o b.ply --translate 1 2 nan", ("'nan' is no number",)),
        ("a.ply -o b.ply --translate 1 2 inf", ("--translate 1 2 inf: translation must be three finite numbers",)),
        (
            "a.ply -o b.ply --translate 1e39 0 0",
            ("--translate 1e+39 0 0 makes numbers too large", "b.ply was not written"),
        ),
        ("a.ply -o b.ply --scale 0", ("--scale 0: scale must be a positive number; got 0",)),
        ("a.ply -o b.ply --rotate 0 0 0 90", ("axis must be a direction",)),
        ("a.ply -o b.ply --up 0 0 0", ("up must be a direction",)),
        ("a.ply -o b.ply --up auto", ("does not say which way is up", "--scene INPUT")),
        ("a.ply -o b.ply --crop-camera-hull", ("--crop-camera-hull needs the cameras: add --scene INPUT",)),
        ("a.ply -o b.ply --crop-camera-hull -1", ("--crop-camera-hull must be a positive number; got -1",)),
        ("a.ply -o b.ply --crop-views 0", ("--crop-views must be a whole number of at least 1; got 0",)),
        ("a.ply -o b.ply --crop-views 1.5", ("whole number",)),
        ("a.ply -o b.ply --crop-sphere 500 0 0 1", ("--crop-sphere 500 0 0 1 leaves nothing", "b.ply was not written")),
        ("a.ply -o b.ply --crop-box 1 0 0 0 1 1", ("from its lowest corner to its highest",)),
        ("a.ply -o b.ply --select", ('--select takes a condition in quotes, as --select "opacity < 0.05"',)),
        ("a.ply -o b.ply --select opacty<1", ("did you mean opacity?", "in column 1")),
        ("a.ply -o b.ply --where x>1e9 --scale 2", ("--where 'x>1e9' holds for none of 200 Gaussians",)),
        ("a.ply -o b.ply --decimate 0", ("--decimate must be a whole number of at least 1; got 0",)),
        ("a.ply -o b.ply --decimate 120%", ("got 120%",)),
        ("a.ply -o b.ply --decimate half", ("--decimate takes N|PERCENT%",)),
        ("a.ply -o b.ply --sh-degree 9", ("--sh-degree 9: sh_degree must be 0 to 4; got 9",)),
        ("a.ply -o b.ply --recolor 2 0 0", ("from 0 to 1; got 2 0 0",)),
        ("a.ply -o b.ply --exposure 99", ("-30 to 30; got 99",)),
        ("a.ply -o b.ply --raw --scene folder --scale 2", ("--raw and --scene",)),
        ("a.ply -o a.ply --force --scale 2", ("a.ply is what is read",)),
        ("a.ply -o b.xyz --scale 2", ("cannot write b.xyz: no format for .xyz",)),
        ("a.ply -o folder --scale 2", ("cannot write folder",)),
        ("nowhere.ply -o b.ply --scale 2", ("nowhere.ply is not there",)),
        ("folder -o b.ply --scale 2", ("folder is a folder",)),
        ("a.ply -o b.ply --scene nowhere --crop-camera-hull", ("nowhere",)),
    ],
)
def test_one_sentence(capsys: Tell, words: str, told: tuple[str, ...]) -> None:
    refuses(capsys, ["edit", *words.split(" ")], *told)


def test_nothing_is_replaced_unasked(capsys: Tell) -> None:
    Path("b.ply").write_text("mine")
    refuses(
        capsys,
        ["edit", "a.ply", "-o", "b.ply", "--scale", "2"],
        "b.ply is there already; choose another name or add --force",
    )
    assert Path("b.ply").read_text() == "mine"


def test_numbers_and_what_follows_them() -> None:
    def values(*words: str) -> tuple[object, ...]:
        operations, left = parse_operations(words, ["--force", "--output"])
        return [operation.values for operation in operations], left

    assert values("--crop-camera-hull", "3rd.ply") == ([()], ["3rd.ply"])
    assert values("--crop-camera-hull", "1.5", "3rd.ply", "--force") == ([(1.5,)], ["3rd.ply", "--force"])
    assert values("a", "--center", "b") == ([()], ["a", "b"])
    assert values("--recolor", "1, 0, .5", "-o", "b") == ([(1, 0, 0.5)], ["-o", "b"])
    assert values("--recolor=1 0 1") == ([(1, 0, 1)], [])
    assert values("--translate", "-1", "-.5", "+2e3") == ([(-1, -0.5, 2000)], [])
    assert values("--select", "-x > 1", "--up", "auto") == ([("-x > 1",), ("auto",)], [])
    assert values("--crop-box", *["-inf"] * 3, *["inf"] * 3) == ([(-math.inf,) * 3 + (math.inf,) * 3], [])
    with pytest.raises(InputError, match="got 4 numbers"):
        values("--recolor", "1 0 0 0")


@pytest.mark.parametrize("words", [[], ["--help"], ["a.ply", "-h"]])
def test_help_lists_everything(capsys: Tell, words: list[str]) -> None:
    assert main(["edit", *words]) == 0
    out = capsys.readouterr().out
    assert all(verb.flag in out for verb in OPERATIONS)
    assert "max_scale" in out
    assert "--scene INPUT" in out
    assert "examples:" in out


@pytest.mark.parametrize("words", ["--scale 2", "a.ply --scale 2", "a.ply c.ply -o b.ply --scale 2"])
def test_flags_that_are_missing_or_too_many(capsys: Tell, words: str) -> None:
    assert main(["edit", *words.split()]) == 2
    assert capsys.readouterr().err
    assert not Path("b.ply").exists()
