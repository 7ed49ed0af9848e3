"""Scores of a toy scene, the two report files, the machine's description and the comparison pictures."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import to_uint8
from sfumato.core.scene import IGNORED, SHOWN, Picture, Points, Scene, View
from sfumato.evaluate import machine
from sfumato.evaluate.compare import FULL_ERROR, compare, picture_name, write_comparison
from sfumato.evaluate.metrics import psnr
from sfumato.evaluate.report import Evaluation, ViewScore, evaluate, protocol_of, write_report
from sfumato.kernels.stages import RenderSettings
from sfumato.render.colormap import colorize
from sfumato.render.render import render


def toy(count: int = 3) -> tuple[Gaussians, Scene]:
    """A few Gaussians and photos of exactly them, one of which is spoiled by 0.1."""
    gaussians = Gaussians(
        means=torch.randn(20, 3) * 0.5,
        quats=torch.randn(20, 4),
        log_scales=torch.full((20, 3), -1.5),
        logit_opacities=torch.ones(20),
        sh0=torch.randn(20, 1, 3) * 0.5,
        shN=torch.zeros(20, 0, 3),
    )
    up, origin = torch.tensor([0.0, -1.0, 0.0]), torch.zeros(3)
    views = []
    for index in range(count):
        angle = torch.tensor(index * 0.5)
        position = 4 * torch.stack([angle.sin(), torch.tensor(-0.2), -angle.cos()])
        camera = Camera.look_at(position, origin, up, 30.0, 33, 24)
        image = render(gaussians, camera, backend="reference").image
        image = image + 0.1 if index == 1 else image
        views.append(View(f"a/{index}.png", camera, to_uint8(image), "test" if index else "train"))
    points = Points(gaussians.means, torch.zeros(20, 3, dtype=torch.uint8))
    return gaussians, Scene(views, points, protocol={"split": "two of three"})


def test_evaluate_scores_each_view_against_its_photo(seed: int) -> None:
    gaussians, scene = toy()
    seen: list[tuple[str, float]] = []

    def on_view(view: View, image: Tensor, score: ViewScore) -> None:
        seen.append((view.name, psnr(image, view.image)))

    evaluation = evaluate(gaussians, scene.test, backend="reference", on_view=on_view)
    assert [view.name for view in evaluation.views] == ["a/1.png", "a/2.png"]
    assert [(view.name, view.psnr) for view in evaluation.views] == seen
    spoiled, exact = evaluation.views
    assert 19.5 < spoiled.psnr < 20.6  # 0.1 everywhere is 20 dB; clamping at white takes a little
    assert exact.psnr > 58  # half a step of 8 bits at most: 20 log10(510) = 54, on average 59
    assert exact.ssim > 0.9995 > spoiled.ssim
    assert evaluation.psnr == (spoiled.psnr + exact.psnr) / 2  # mean over photos
    assert evaluation.lpips is None


def test_evaluate_composites_on_the_background(seed: int) -> None:
    gaussians, scene = toy()
    view = scene.test[1]
    white = View("w", view.camera, torch.full_like(view.image, 255))
    nothing = gaussians[:0]
    assert evaluate(nothing, [white], background=(1.0, 1.0, 1.0), backend="reference").psnr == 100
    assert evaluate(nothing, [white], backend="reference").psnr == 0


def test_evaluate_uses_lpips_when_given(seed: int) -> None:
    gaussians, scene = toy()
    evaluation = evaluate(gaussians, scene.test, backend="reference", lpips=lambda image, target: 0.25)  # type: ignore[arg-type]
    assert evaluation.lpips == 0.25
    assert evaluation.views[0].lpips == 0.25


def masked(view: View, ignored: slice) -> View:
    mask = torch.full(view.image.shape[:2], SHOWN, dtype=torch.uint8)
    mask[ignored] = IGNORED
    pixels = view.image.clone()
    pixels[ignored] = 255 - pixels[ignored]  # somebody walked by
    return replace(view, photo=Picture(pixels, mask))


def test_ignored_pixels_are_not_scored_and_the_report_says_so(tmp_path: Path, seed: int) -> None:
    gaussians, scene = toy()
    decoded: list[str] = []

    def decode() -> Picture:
        decoded.append("now")
        return masked(scene.test[1], slice(0, 6)).picture()

    views = [scene.test[0], replace(scene.test[1], photo=decode), masked(scene.test[1], slice(0, None))]
    given: list[tuple[Tensor, Tensor]] = []

    def lpips(image: Tensor, target: Tensor) -> float:
        given.append((image, target))
        return 0.25

    seen: list[View] = []
    evaluation = evaluate(
        gaussians, views, backend="reference", lpips=lpips, on_view=lambda view, *_: seen.append(view)
    )  # type: ignore[arg-type]
    assert len(evaluation.views) == 2  # of the third one nothing counts
    spoiled, exact = evaluation.views
    assert (spoiled.excluded, exact.excluded) == (0, 0.25)
    assert exact.psnr > 55
    assert exact.ssim > 0.9995
    assert torch.equal(given[1][0][:6], given[1][1][:6].float() / 255)
    assert seen[1].picture().mask is not None
    assert len(decoded) == 1  # and nobody who looks at it decodes it again
    write_report(tmp_path, evaluation, {}, protocol_of(scene, RenderSettings(), "reference"))
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["test"]["excluded"] == 0.125
    assert [view["excluded"] for view in report["test"]["views"]] == [0, 0.25]
    assert "ignored pixels are in no mean" in report["protocol"]["metrics"]["masks"]
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Masks: 12.5 % of the pixels, in 1 of these photos, are ignored" in page
    assert "| 25.0 % |" in page
    with pytest.raises(InputError, match="ignore every pixel of every held-out photo"):
        evaluate(gaussians, views[2:], backend="reference")


def test_a_report_without_masks_does_not_speak_of_them(tmp_path: Path, seed: int) -> None:
    gaussians, scene = toy()
    write_report(tmp_path, evaluate(gaussians, scene.test, backend="reference"), {}, {})
    assert "ignored" not in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(InputError, match="no views to evaluate"):
        evaluate(Gaussians.empty(), [])


def test_report_files(tmp_path: Path, seed: int) -> None:
    gaussians, scene = toy()
    evaluation = evaluate(gaussians, scene.test, backend="reference")
    pictures = {"a/1.png": tmp_path / "compare" / "a 1.png"}
    training = {"seconds": 1.5, "steps": 10, "gaussians": 20, "loss": math.nan, "path": tmp_path}
    protocol = protocol_of(scene, RenderSettings(), "reference")
    write_report(tmp_path, evaluation, training, protocol, pictures)

    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert report["test"]["psnr"] == evaluation.psnr
    assert report["test"]["ssim"] == evaluation.ssim
    assert [view["name"] for view in report["test"]["views"]] == ["a/1.png", "a/2.png"]
    assert {"seconds", "steps", "gaussians"} <= report["train"].keys()
    assert report["train"]["loss"] is None
    assert report["protocol"]["split"] == "two of three"
    assert report["protocol"]["test_names"] == ["a/1.png", "a/2.png"]
    assert report["protocol"]["versions"].keys() >= {"python", "torch", "numba", "sfumato"}
    assert report["protocol"]["machine"].keys() >= {"processor", "cores", "memory_bytes", "system"}
    assert {"resize_filter", "background", "metrics", "render", "commit"} <= report["protocol"].keys()
    assert "near" in report["protocol"]["render"]
    assert (
        "deterministic" not in report["protocol"]["render"]
    )  # of the lists of tiles; training has its own, which counts

    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert f"PSNR {evaluation.psnr:.2f} dB" in page
    assert "[a/1.png](compare/a%201.png)" in page
    assert "![Worst: a/1.png](compare/a%201.png)" in page
    assert page.index("| [a/1.png]") < page.index("| a/2.png")  # worst first
    tables = [line for line in page.splitlines() if line.startswith("|")]
    assert all(line.count("|") - line.count("\\|") in (3, 4) for line in tables)


def test_report_without_held_out_photos_and_interrupted(tmp_path: Path) -> None:
    write_report(tmp_path, None, {"interrupted": True}, {})
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["test"]["psnr"] is None
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "was not scored" in page
    assert "Nothing was held out" not in page
    write_report(tmp_path, None, {}, {})
    assert "Nothing was held out" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_machine_is_described_without_failing(monkeypatch: pytest.MonkeyPatch) -> None:
    described = machine.machine()
    assert described["processor"]
    assert isinstance(described["cores"], int)
    assert described["cores"] >= 1
    peak, total = machine.peak_memory(), machine.total_memory()
    assert peak is None or total is None or 20e6 < peak < total
    monkeypatch.setenv("PATH", "")  # no git anywhere
    assert machine.commit() is None


def test_commit_of_a_checkout(repository: Path) -> None:
    if not (repository / ".git").exists():
        assert machine.commit() is None
    else:
        found = machine.commit()
        assert found is None or len(found.removesuffix("-dirty")) == 40


def view_of(width: int, height: int) -> tuple[View, Tensor]:
    camera = Camera(torch.eye(4), torch.eye(3), width, height)
    photo = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8)
    return View("folder/some photo with a very long name.jpg", camera, photo), photo.float() / 255


@pytest.mark.parametrize(("width", "height"), [(400, 300), (2000, 1500), (33, 24), (1, 1), (1, 500), (500, 2)])
def test_comparison_of_any_size(tmp_path: Path, width: int, height: int, seed: int) -> None:
    view, image = view_of(width, height)
    write_comparison(tmp_path / "deep" / "a.png", view, image, ViewScore("a", 12.3, 0.5, 0.1))
    with Image.open(tmp_path / "deep" / "a.png") as picture:
        assert picture.mode == "RGB"
        assert picture.width >= 3 * min(width, 960)


def test_comparison_shows_photo_render_and_error(seed: int) -> None:
    view, image = view_of(400, 300)
    image[:150] = (image[:150] + 0.5).clamp(max=1)
    image[150:] = view.image[150:].float() / 255
    sheet = torch.frombuffer(bytearray(compare(view, image, ViewScore("a", 1, 1)).tobytes()), dtype=torch.uint8)
    pixels = sheet.reshape(compare(view, image, ViewScore("a", 1, 1)).height, -1, 3)[16:316, 16:]
    assert torch.equal(pixels[:, :400], view.image)
    assert torch.equal(pixels[:, 412:812], to_uint8(image))
    error = pixels[:, 824:1224]
    assert (error[150:] == colorize(torch.tensor(0.0))).all()
    difference = (image[:1, :1] - view.image[:1, :1].float() / 255).square().mean().sqrt()
    assert torch.equal(error[0, 0], colorize(difference / FULL_ERROR))


def test_comparison_hatches_what_is_ignored(seed: int) -> None:
    view, image = view_of(400, 300)
    plain = compare(view, image * 0.5, ViewScore("a", 1, 1))
    half = compare(masked(view, slice(0, 150)), image * 0.5, ViewScore("a", 1, 1, excluded=0.5))
    assert half.size == plain.size
    for left in (16, 428, 840):
        below = (left, 16 + 150, left + 400, 16 + 300)
        assert half.crop(below).tobytes() == plain.crop(below).tobytes()
        above = torch.tensor(half.crop((left, 16, left + 400, 16 + 150)).getextrema())
        assert above[:, 0].min() >= 0.7 * 120 - 2  # pale: 30 % of the panel at most
    assert half.crop((840, 320, 1240, 360)).tobytes() != plain.crop((840, 320, 1240, 360)).tobytes()  # "50 % ignored"


def test_picture_names_stay_in_their_folder() -> None:
    assert picture_name("0001.jpg") == "0001.png"
    assert picture_name("left/0001.JPG") == "left-0001.png"
    assert picture_name("../../etc/passwd") == "etc-passwd.png"
    assert picture_name("a\\b.png") == "a-b.png"


def test_colors_grow_evenly_lighter() -> None:
    rgb = colorize(torch.linspace(0, 1, 256)).double() / 255
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    cones = torch.tensor([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                          [0.0883024619, 0.2817188376, 0.6299787005]], dtype=torch.float64)  # fmt: skip
    lightness = (linear @ cones.T) ** (1 / 3) @ torch.tensor([0.2104542553, 0.7936177850, -0.0040720468]).double()
    steps = lightness.diff()
    assert steps.min() > -0.004  # 8 bits round a little
    assert lightness[0] < 0.12
    assert lightness[-1] > 0.95
    assert torch.allclose(lightness, torch.linspace(0.1, 0.97, 256).double(), atol=0.01)
    assert colorize(torch.tensor([math.nan, -1.0, 2.0])).tolist() == colorize(torch.tensor([0.0, 0.0, 1.0])).tolist()


def test_means_of_no_views() -> None:
    assert math.isnan(Evaluation(()).psnr)
