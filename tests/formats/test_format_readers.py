"""benchmarks/format_readers.py tells readings that are right, rough and wrong apart; stand-ins are other programs."""

import importlib
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from sfumato import formats
from sfumato.core.axes import reframe
from sfumato.core.gaussians import Gaussians
from sfumato.core.rotation import multiply_quaternions

from scenes import crowd

Change = Callable[[Gaussians], Gaussians]


@pytest.fixture
def readers(repository: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The benchmark as a module."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    return importlib.import_module("format_readers")


def half_turn(gaussians: Gaussians) -> Gaussians:
    """About each Gaussian's own x axis: nothing that one can see."""
    around_x = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=gaussians.quats.dtype)
    return replace(gaussians, quats=multiply_quaternions(gaussians.quats, around_x.expand_as(gaussians.quats)))


def mirrored(gaussians: Gaussians) -> Gaussians:
    return replace(gaussians, means=gaussians.means * torch.tensor([1.0, 1.0, -1.0], dtype=gaussians.means.dtype))


def redder(gaussians: Gaussians, by: float) -> Gaussians:
    return replace(gaussians, sh0=gaussians.sh0 + torch.tensor([by, 0.0, 0.0], dtype=gaussians.sh0.dtype))


CHANGES: dict[str, tuple[Change, str, bool]] = {
    "the same": (lambda g: g, "reads it", False),
    "in another order": (lambda g: g[torch.arange(len(g) - 1, -1, -1)], "reads it", False),
    "half turns": (half_turn, "reads it", False),
    "opposite quaternions": (lambda g: replace(g, quats=-3 * g.quats), "reads it", False),
    "colors in bytes": (lambda g: redder(g, 0.004), "reads it; colors in bytes", False),
    "other colors": (lambda g: redder(g, 0.1), "FAULT: reads other sh0, beyond colors in bytes", True),
    "turned": (lambda g: reframe(g, "RDF", "RUB"), "FAULT: reads it turned to RUB", True),
    "mirrored": (mirrored, "FAULT: reads it turned to RDB", True),
    "one missing": (lambda g: g[1:], "FAULT: reads 39 of 40 Gaussians", True),
    "scales not logs": (lambda g: replace(g, log_scales=g.log_scales.exp()), "FAULT: reads other log scales", True),
    "wxyz as xyzw": (lambda g: replace(g, quats=g.quats[:, [1, 2, 3, 0]]), "FAULT: reads other rotations", True),
    "no harmonics": (lambda g: g.with_degree(0), "FAULT: reads no harmonics above degree 0", True),
    "channels of harmonics": (
        lambda g: replace(g, shN=g.shN.transpose(1, 2).reshape(g.shN.shape)),
        "FAULT: reads other shN",
        True,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_reading_is_judged(readers: ModuleType, change: str, tmp_path: Path, seed: int) -> None:
    changed, verdict, fault = CHANGES[change]
    path = tmp_path / "splat.ply"
    formats.write(path, crowd(40, 2))
    program = readers.Program(
        "stand-in",
        "no-such-package",
        (".ply",),
        lambda place, file, folder: changed(formats.read(file).to(torch.float64)),
        ways={"sh0": readers.Way("colors in bytes", 0.01)},
    )
    row = readers.read_by(program, readers.Variant("PLY", ".ply"), tmp_path, path)
    cells = row.cells()
    assert (cells[-1], row.fault) == (verdict, fault), seed
    assert len(cells) == len(readers.HEAD)
    assert cells[:3] == ["PLY", "stand-in", "-"]


def test_a_refusal_is_a_fault_unless_it_is_known(readers: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "splat.ply"
    formats.write(path, crowd(2, 0))

    def refuse(place: Path, file: Path, folder: Path) -> Gaussians:
        raise readers.RefusedError("no such version")

    program = readers.Program("stand-in", "no-such-package", (".ply",), refuse, refuses=("PLY 2",))
    rows = [readers.read_by(program, readers.Variant(name, ".ply"), tmp_path, path) for name in ("PLY 1", "PLY 2")]
    assert [row.cells()[-1] for row in rows] == [
        "FAULT: does not read it: no such version",
        "does not read it: no such version",
    ]


def test_overview(readers: ModuleType) -> None:
    ply, sog = readers.Variant("PLY", ".ply"), readers.Variant("SOG", ".sog")
    found = [
        readers.Row(ply, "one", "1", verdict="reads it"),
        readers.Row(ply, "two", "2", verdict="reads it; colors in bytes"),
        readers.Row(ply, "three", "3", picture=41.26, verdict="draws it"),
        readers.Row(sog, "two", "2", verdict="does not read it: no zip"),
        readers.Row(sog, "three", "3").faulty("draws something else"),
    ]
    assert readers.overview(found) == [
        "| format | one 1 | two 2 | three 3 |",
        "|---|---|---|---|",
        "| PLY | exactly | roughly | 41 dB |",
        "| SOG |  | no | FAULT |",
    ]


def test_rows_and_complaints_of_a_script(readers: ModuleType, tmp_path: Path) -> None:
    """A program of its own leaves rows of float32 and a line of JSON; covariances become scales and rotations."""
    programs = importlib.import_module("format_programs")
    script = tmp_path / "reads.py"
    numbers = [1, 2, 3, 4, 0, 0, 1, 0, 9, "float('nan')", 0.5, 0.1, 0.2, 0.3]  # variances 4, 1 and 9 along x, y and z
    script.write_text(
        "import array, json, pathlib, sys\n"
        "if 'bad' in sys.argv[1]: sys.exit('something is odd\\nTypeError: no such header')\n"
        f"pathlib.Path(sys.argv[2]).write_bytes(array.array('f', [{', '.join(map(str, numbers))}]).tobytes())\n"
        "print(json.dumps({'count': 1, 'bases': 0, 'covariances': True}))\n",
        encoding="utf-8",
    )
    read = programs._rows([sys.executable, str(script)], tmp_path, tmp_path / "good", tmp_path)
    assert read.means.tolist() == [[1, 2, 3]]
    assert read.opacities.item() == pytest.approx(0.5)
    torch.testing.assert_close(read.covariances[0], torch.diag(torch.tensor([4.0, 1, 9], dtype=torch.float64)))
    with pytest.raises(programs.RefusedError, match=r"^TypeError: no such header$"):
        programs._rows([sys.executable, str(script)], tmp_path, tmp_path / "bad", tmp_path)


def test_pictures_are_tried_in_the_frames_of_files(readers: ModuleType) -> None:
    """A point has the same place before the camera, in whatever frame its numbers are."""
    camera = readers.Camera.look_at(
        torch.tensor([1.0, 2.0, -5.0]), torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]), 100.0, 32, 24
    )
    point = torch.tensor([0.3, -0.2, 0.5])
    for frame in readers.UPRIGHT:
        there = readers.in_frame(camera, frame)
        numbers = readers.matrix_between("RDF", frame).float() @ point
        seen = there.viewmat[:3, :3] @ numbers + there.viewmat[:3, 3]
        torch.testing.assert_close(seen, camera.viewmat[:3, :3] @ point + camera.viewmat[:3, 3])


def test_packages_are_named_once(repository: Path, readers: ModuleType) -> None:
    """Spark and three.js have the versions that the viewer is compared with; every script is there."""
    programs, browser = (importlib.import_module(name) for name in ("format_programs", "viewer_browser"))
    assert {name: programs.NPM[name] for name in browser.PACKAGES} == browser.PACKAGES
    assert {path.name for path in (repository / "benchmarks" / "formats_js").iterdir()} == {
        "adobe_spz.mjs", "gltf_validator.mjs", "mkkellogg.mjs", "playcanvas.mjs", "rows.mjs", "three.mjs",
    }  # fmt: skip
