"""Each finding: a splat that has it, and one that has not; and what is told of other programs."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from sfumato.core.asset import Asset
from sfumato.core.gaussians import Gaussians
from sfumato.edit.lint import lint
from sfumato.edit.lint.facts import FileFacts
from sfumato.edit.lint.finding import Finding
from sfumato.edit.lint.shape import overdraw
from sfumato.edit.lint.viewers import VIEWERS, verdicts

from scenes import crowd

COLUMNS = ("x", "y", "z", *(f"f_dc_{i}" for i in range(3)), "opacity", *(f"scale_{i}" for i in range(3)))
PLAIN = FileFacts(columns=(*COLUMNS, *(f"rot_{i}" for i in range(4)), *(f"f_rest_{i}" for i in range(9))))
Change = Callable[[Gaussians], Gaussians]


@pytest.fixture
def sound(seed: int) -> Gaussians:
    """A splat that nothing can be said about."""
    gaussians = crowd(400, 1, size=0.05)
    quats = torch.nn.functional.normalize(gaussians.quats, dim=1)
    harmonics = (gaussians.sh0.clamp(-1.5, 1.5), gaussians.shN.clamp(-0.9, 0.9))
    opacities = gaussians.logit_opacities.clamp(min=-4)
    return Gaussians(gaussians.means, quats, gaussians.log_scales, opacities, *harmonics)


def codes(gaussians: Gaussians, facts: FileFacts | None = PLAIN, **known: object) -> dict[str, Finding]:
    return {finding.code: finding for finding in lint(Asset(gaussians, **known), facts)}  # type: ignore[arg-type]


def put(name: str, rows: object, value: float) -> Change:
    def change(gaussians: Gaussians) -> Gaussians:
        tensor = getattr(gaussians, name).clone()
        tensor[rows] = value
        return replace(gaussians, **{name: tensor})

    return change


def test_nothing(sound: Gaussians) -> None:
    assert codes(sound) == {}
    assert codes(sound, None) == {}


CASES: dict[str, tuple[Change, str, int, tuple[int, ...]]] = {
    "not-finite": (put("log_scales", [3, 5], math.nan), "error", 2, (3, 5)),
    "zero-rotation": (put("quats", 7, 0.0), "error", 1, (7,)),
    "unit-rotation": (lambda g: replace(g, quats=2 * g.quats), "note", 400, (0, 1, 2, 3, 4)),
    "all-invisible": (put("logit_opacities", slice(None), -9.0), "error", 400, ()),
    "invisible": (put("logit_opacities", [1, 2], -9.0), "note", 2, (1, 2)),
    "all-opaque": (put("logit_opacities", slice(None), 9.0), "warning", 400, ()),
    "plain-opacity": (lambda g: replace(g, logit_opacities=g.opacities), "warning", 400, ()),
    "plain-scale": (lambda g: replace(g, log_scales=g.log_scales.abs() + 1), "warning", 400, ()),
    "plain-color": (lambda g: replace(g, sh0=torch.rand(400, 1, 3)), "warning", 400, ()),
    "no-harmonics": (lambda g: replace(g, shN=0 * g.shN), "note", 400, ()),
    "harmonics-1": (put("shN", (9, 0, 0), -1.5), "note", 1, (9,)),
    "harmonics-4": (put("shN", (9, 0, 0), 5.0), "note", 1, (9,)),
    "clipped-color": (put("sh0", (4, 0, 2), 3.5), "note", 1, (4,)),
    "gamut": (put("sh0", (4, 0, 2), 2.0), "note", 1, (4,)),
    "copies": (lambda g: Gaussians.cat([g[:390], g[20:30]]), "warning", 10, (390, 391, 392, 393, 394)),
    "same-center": (lambda g: replace(g, means=g.means[torch.arange(400) // 2 * 2]), "note", 200, (1, 3, 5, 7, 9)),
    "giants": (put("log_scales", (11, 1), 4.0), "warning", 1, (11,)),
    "needles": (put("log_scales", 11, torch.tensor([-9.0, 0, -9])), "note", 1, (11,)),  # type: ignore[arg-type]
    "zero-scale": (put("log_scales", (11, slice(2)), -20.0), "warning", 1, (11,)),
    "outliers": (put("means", (11, 1), 1e3), "warning", 1, (11,)),
    "steps": (lambda g: replace(g, means=g.means + 3e6), "warning", 0, ()),
    "overdraw": (lambda g: replace(g, log_scales=g.log_scales * 0 + 0.9), "warning", 0, ()),
}


@pytest.mark.parametrize("code", CASES)
def test_each(sound: Gaussians, code: str) -> None:
    change, severity, count, rows = CASES[code]
    finding = codes(change(sound))[code]
    assert (finding.severity, finding.count, finding.told.isascii()) == (severity, count, True)
    if code != "overdraw":
        assert finding.rows == rows


def test_nothing_at_all() -> None:
    assert [finding.code for finding in lint(Asset(Gaussians.empty(2)))] == ["empty"]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_very_few(seed: int, count: int) -> None:
    assert all(finding.severity == "note" for finding in lint(Asset(crowd(count, 3))))


def test_all_broken(sound: Gaussians) -> None:
    assert set(codes(put("means", slice(None), math.inf)(sound))) == {"not-finite"}


def test_rows_are_those_of_the_file(sound: Gaussians) -> None:
    """Row 0 is broken and left out before others are counted."""
    broken = put("quats", 7, 0.0)(put("means", 0, math.nan)(sound))
    assert codes(broken)["zero-rotation"].rows == (7,)


def test_copies_are_found_as_by_comparing_all(seed: int) -> None:
    gaussians = crowd(60, 1)[torch.randint(60, (200,))]
    rows = torch.cat([field.flatten(1) if field.ndim > 1 else field[:, None] for field in gaussians], dim=1)
    assert codes(gaussians)["copies"].count == 200 - len(torch.unique(rows, dim=0))


def test_the_worst_comes_first(sound: Gaussians) -> None:
    found = lint(Asset(put("means", 0, math.nan)(put("quats", 3, 2.0)(sound[:]))), None)
    assert [finding.severity for finding in found] == sorted(
        (finding.severity for finding in found), key=["error", "warning", "note"].index
    )


def test_cover_of_a_ball() -> None:
    """One of standard deviation 1 and opacity 1 ends at sqrt(2 ln 255) = 3.329: of a disc of radius 10, 11.08 %."""
    ball = crowd(1, 0)
    ball = replace(ball, log_scales=torch.zeros(1, 3), logit_opacities=torch.full((1,), 30.0))
    assert overdraw(ball, 10.0).item() == pytest.approx(2 * math.log(255) / 100, rel=1e-6)
    assert overdraw(ball, 1.0).item() == 1


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (replace(PLAIN, order="ascii"), "encoding"),
        (replace(PLAIN, returns=True), "header"),
        (replace(PLAIN, types=("float", "double")), "header"),
        (replace(PLAIN, columns=(*PLAIN.columns, "confidence")), "columns"),
        (replace(PLAIN, columns=(*PLAIN.columns, "f_rest_9", "f_rest_10", "f_rest_11")), "degree"),
        (FileFacts("SPZ", version=3, gzipped=True), "spz-up"),
        (FileFacts("SPZ", version=2, gzipped=True), "spz-rough"),
        (FileFacts("SPZ", version=3, gzipped=False), "spz-bare"),
    ],
)
def test_files(sound: Gaussians, facts: FileFacts, code: str) -> None:
    assert code in codes(sound, facts)


@pytest.mark.parametrize(
    ("known", "code"),
    [
        ({"color_space": "linear"}, "linear"),
        ({"kernel": "disc"}, "discs"),
        ({"antialiased": True}, "antialiased"),
        ({"up": (0, 1, 0)}, "up"),
        ({"up": (0, 0, 1)}, "up"),
        ({"notes": ("its scales were taken for logarithms",)}, "reader"),
    ],
)
def test_what_is_said_about_it(sound: Gaussians, known: dict[str, object], code: str) -> None:
    assert code in codes(sound, **known)


def test_up_that_is_right_is_no_finding(sound: Gaussians) -> None:
    assert codes(sound, up=(0, -1, 0.2)) == {}
    assert codes(sound, up=(0, 1, 0), axes="RUB") == {}


def told(facts: FileFacts, gaussians: Gaussians, **known: object) -> dict[str, tuple[str, str]]:
    found = verdicts(Asset(gaussians, **known), facts)  # type: ignore[arg-type]
    return {verdict.viewer: (verdict.outcome, verdict.told) for verdict in found}


def test_a_plain_file_is_read_by_nearly_all(sound: Gaussians) -> None:
    found = told(PLAIN, sound)
    assert len(found) == len(VIEWERS)
    assert {name for name, (outcome, _) in found.items() if outcome != "reads"} == {"antimatter15/splat", "Cesium"}


def test_programs_with_habits(seed: int) -> None:
    rich = crowd(3, 3)
    facts = replace(PLAIN, columns=(*PLAIN.columns, *(f"f_rest_{i}" for i in range(9, 45))))
    assert "degree 2 instead of 3" in told(facts, rich)["GaussianSplats3D (mkkellogg)"][1]
    text = told(replace(facts, order="ascii"), rich)
    assert text["splat-transform 3.7"][0] == "misreads"
    assert text["Spark, up to 2.2"] == ("refuses", "refuses it: it is text, and must be little-endian")
    assert text["sfumato"][0] == text["three.js r187"][0] == "reads"
    assert told(replace(facts, types=("float", "double")), rich)["Niantic's SPZ library"][0] == "refuses"
    spz = told(FileFacts("SPZ", version=4), rich)
    assert (spz["Spark, up to 2.2"][0], spz["PlayCanvas"][0]) == ("refuses", "reads")
    assert "upside down" in spz["splat-transform 3.7"][1]
    assert told(FileFacts("SPZ", version=3, gzipped=True), rich)["Spark, up to 2.2"][0] == "reads"
    bare = told(FileFacts("SPZ", version=2), rich)
    assert {name for name in bare if bare[name][1] == "refuses it: it is not gzipped"} >= {
        "Spark, up to 2.2", "three.js r187", "GaussianSplats3D (mkkellogg)", "Niantic's SPZ library",
    }  # fmt: skip
    assert told(FileFacts("compressed PLY"), rich)["three.js r187"][0] == "refuses"
    assert told(FileFacts("numpy"), rich)["Cesium"][0] == "refuses"


def test_points_are_not_taken_for_numbers_that_were_stored_wrongly() -> None:
    """Their colors and scales were computed by the reader, and may well lie from 0 to 1."""
    pale = replace(crowd(100, 0), sh0=torch.rand(100, 1, 3))
    assert "plain-color" in codes(pale, format="PLY")
    assert "plain-color" not in codes(pale, format="point cloud")
