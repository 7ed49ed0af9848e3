"""`sfumato lint`: exit codes, both forms, what a file's first bytes tell, and files that cannot be read."""

import json
import re
from pathlib import Path

import pytest
import torch

from sfumato import formats
from sfumato.cli.facts import facts_of
from sfumato.cli.main import main
from sfumato.core.gaussians import Gaussians
from sfumato.formats.options import WriteOptions

from scenes import broken_crowd, crowd

Tell = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def twice() -> Gaussians:
    gaussians = crowd(100, 1)
    return Gaussians.cat([gaussians, gaussians[:3]])


@pytest.mark.parametrize(
    ("gaussians", "words", "code"),
    [
        (crowd(100, 1), [], 0),
        (twice(), [], 0),
        (twice(), ["--strict"], 3),
        (broken_crowd(50), [], 3),
        (Gaussians.empty(1), [], 3),
    ],
)
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_exit_codes(capsys: Tell, gaussians: Gaussians, words: list[str], code: int, form: list[str]) -> None:
    formats.write("a.ply", gaussians)
    assert main(["lint", "a.ply", *words, *form]) == code
    assert capsys.readouterr().err == ""


def test_as_json(capsys: Tell) -> None:
    formats.write("a.ply", broken_crowd(50))
    assert main(["lint", "a.ply", "--json"]) == 3
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert (found["format"], found["gaussians"], found["errors"]) == ("PLY", 50, 1)
    first = found["findings"][0]
    assert (first["code"], first["severity"], first["count"]) == ("not-finite", "error", 6)
    assert first["rows"] == [0, 1, 2, 3, 4]
    assert {"viewer", "outcome", "told"} == found["viewers"][0].keys()


def test_as_words(capsys: Tell) -> None:
    gaussians = twice()
    gaussians.quats[7] = 0
    formats.write("a.ply", gaussians)
    assert main(["lint", "a.ply"]) == 3
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    plain = " ".join(out.split())
    assert "error 1 of 103 has a quaternion of length 0, which is no rotation row 7" in plain
    assert "warning 3 of 103 repeat an earlier Gaussian exactly" in plain
    assert re.search(r"1 error, 1 warning, \d notes? what programs do with it sfumato reads", plain)


def test_narrow_terminals_cut_no_words_off(capsys: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    formats.write(Path("a.ply"), crowd(4))
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["lint", "a.ply"]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert "GaussianSplats3D" in out  # in one piece
    assert max(map(len, out.splitlines())) <= 40


def test_nothing_to_say(capsys: Tell) -> None:
    gaussians = crowd(3, 0)
    quats = torch.nn.functional.normalize(gaussians.quats, dim=1)
    formats.write("a.ply", Gaussians(gaussians.means, quats, *(0 * field for field in list(gaussians)[2:])))
    assert main(["lint", "a.ply", "--strict"]) == 0
    assert "nothing is wrong with it" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::sfumato.core.errors.SfumatoWarning")
def test_what_is_said_of_all_programs_is_said_once(capsys: Tell) -> None:
    formats.write("a.points.ply", crowd(100, 0))
    assert main(["lint", "a.points.ply"]) == 0
    out = capsys.readouterr().out
    assert out.count("it is no splat: convert it first") == 1
    assert "all others" in out


def test_what_a_ply_is_made_of() -> None:
    lines = ["ply", "format ascii 1.0", "obj_info by hand", "element vertex 1"]
    names = ["x", "y", "z", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]
    lines += [f"property double {name}" for name in names] + [f"property uchar {name}" for name in ("red", "green")]
    lines += [
        "property uchar blue",
        "property float confidence",
        "end_header",
        " ".join(["0.5"] * 11 + ["9", "9", "9", "1"]),
    ]
    Path("a.ply").write_text("\r\n".join(lines) + "\r\n", encoding="ascii", newline="")
    facts = facts_of(Path("a.ply"), formats.read_asset("a.ply").format)
    assert (facts.order, facts.types, facts.odd_lines) == ("ascii", ("double", "uchar", "float"), ("obj_info",))
    assert facts.returns
    assert facts.columns == (*names, "red", "green", "blue", "confidence")
    assert facts.header_bytes == Path("a.ply").read_bytes().index(b"end_header") + 12


@pytest.mark.parametrize("version", [2, 3, 4])
def test_which_spz_it_is(version: int) -> None:
    formats.write("a.spz", crowd(5, 1), WriteOptions(spz_version=version))  # type: ignore[arg-type]
    facts = facts_of(Path("a.spz"), "SPZ")
    assert (facts.version, facts.gzipped) == (version, version < 4)


@pytest.mark.filterwarnings("ignore::sfumato.core.errors.SfumatoWarning")
@pytest.mark.parametrize("known", formats.FORMATS, ids=lambda known: known.NAME)
def test_every_format(capsys: Tell, known: formats.Format) -> None:
    """Whatever is written is found to be without error."""
    path = Path(f"a{known.SUFFIXES[0]}")
    formats.write(path, crowd(200, 2))
    capsys.readouterr()
    assert main(["lint", str(path)]) == 0
    assert capsys.readouterr().err == ""


def test_files_of_other_programs(shared_data: Path, capsys: Tell) -> None:
    for name in ("inria_9080.ply", "guitar.compressed.ply", "kacy_model.splat", "minimal-raw.spz", "minimal.ksplat"):
        assert main(["lint", str(shared_data / "splats" / name), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["gaussians"] > 0


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("none.ply", "none.ply is not there"),
        ("photo.jpg", "photo.jpg is no splat"),
        ("empty.ply", "empty.ply is empty"),
        ("cut.ply", "cut.ply is truncated"),
        (".", "is a folder"),
    ],
)
def test_bad_days(capsys: Tell, line: str, told: str) -> None:
    Path("photo.jpg").write_bytes(b"\xff\xd8\xff")
    Path("empty.ply").write_bytes(b"")
    formats.write("a.ply", crowd(20, 0))
    Path("cut.ply").write_bytes(Path("a.ply").read_bytes()[:-10])
    assert main(["lint", line]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"sfumato: .*\n", err), err
    assert told in err


def test_wrong_flags() -> None:
    assert main(["lint", "a.ply", "--nonsense"]) == 2
    assert main(["lint"]) == 2
