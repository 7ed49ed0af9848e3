"""The report's page: its numbers, names whatever they are, what is left out, and what it does in a browser."""

import json
import math
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from sfumato import formats
from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Points, Scene, View
from sfumato.evaluate import Evaluation, ViewScore, write_report
from sfumato.view import report
from sfumato.view.histogram import draw, histogram, log_histogram
from sfumato.view.views import read_cameras, write_views

from browser import Watched

EVIL = '<b>&"x</script>.jpg'
CONFIG = {"steps": 600, "max_gaussians": 200, "density": {"name": "adaptive", "every": 0.05}, "most_pairs": 5}
USUAL = {"steps": 4000, "max_gaussians": 200, "density": {"name": "adaptive", "every": 0.1}, "most_pairs": 9}
PROTOCOL: dict[str, object] = {
    "source": "toy & <co>",
    "train_views": 3,
    "background": [0.1, 0.2, 0.3],
    "peak_memory_bytes": 1_500_000_000,
    "versions": {"sfumato": "9.9"},
    "render": {"near": 0.2},
}


def toy_scene(names: Sequence[str]) -> Scene:
    """Photos of noise, with these held out, and three to train on."""
    views = []
    for index, name in enumerate([*names, "t1.png", "t2.png", "t3.png"]):
        position = torch.tensor([math.sin(index), -0.3, -math.cos(index)]) * 4
        camera = Camera.look_at(position, torch.zeros(3), torch.tensor([0.0, -1.0, 0.0]), 30.0, 32, 24)
        photo = torch.randint(0, 256, (24, 32, 3), dtype=torch.uint8)
        views.append(View(name, camera, photo, "test" if index < len(names) else "train"))
    return Scene(views, Points(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.uint8)))


def toy_gaussians(count: int = 200) -> Gaussians:
    """A small cloud of every opacity and many sizes."""
    return Gaussians(
        means=torch.randn(count, 3) * 0.5,
        quats=torch.randn(count, 4),
        log_scales=torch.randn(count, 3) - 2,
        logit_opacities=torch.randn(count) * 2,
        sh0=torch.randn(count, 1, 3),
        shN=torch.zeros(count, 3, 3),
    )


def toy_run(folder: Path, scores: Sequence[ViewScore], interrupted: bool = False) -> Path:
    """What a run leaves in its folder, without its report's page."""
    folder.mkdir(parents=True, exist_ok=True)
    scene = toy_scene([score.name for score in scores])
    write_views(folder, scene)
    for camera in read_cameras(folder):
        if camera.split == "test" and camera.photo and not interrupted:
            report.write_render(folder, camera.photo, torch.rand(24, 32, 3))
    gaussians = toy_gaussians()
    formats.write(folder / "splat.ply", gaussians)
    lines = [
        {"step": step, "loss": 1 / step, "psnr": 10 + math.log(step), "gaussians": 100 + step, "seconds": step / 100}
        for step in range(1, 61)
    ]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    settings = {"command": {"line": "sfumato train 'a b' -o <out>"}, "train": CONFIG, "usual": USUAL}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    memory = {"predicted_peak_bytes": 1_200_000_000}
    trained = {"seconds": 83.0, "steps": 600, "gaussians": len(gaussians), "interrupted": interrupted}
    protocol = {**PROTOCOL, "test_views": len(scores)}
    evaluation = None if interrupted or not scores else Evaluation(tuple(scores))
    write_report(folder, evaluation, {**trained, "memory": memory, "config": CONFIG}, protocol)
    return folder


THREE = (
    ViewScore("good.jpg", 31.25, 0.95, 0.125),
    ViewScore(EVIL, 12.5, 0.41, 0.75, 0.25),
    ViewScore("deep/middle.jpg", 21.0, 0.8, 0.5),
)


class Read(HTMLParser):
    """Tags with their attributes, and the text between, without that of scripts and styles."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.islands: dict[str, str] = {}
        self._texts: list[str] = []
        self._inside: tuple[str, str] | None = None
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._inside = (tag, dict(attributes).get("id") or "") if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside is None:
            self._texts.append(data)
        elif self._inside[1]:
            self.islands[self._inside[1]] = data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._texts).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def written(folder: Path) -> Read:
    return Read(report.write(folder))


def test_the_page_holds_the_numbers(tmp_path: Path, seed: int) -> None:
    page = written(toy_run(tmp_path / "bonsai", THREE))
    for wanted in (
        *("bonsai", "21.58 dB", "0.7200", "200 Gaussians", "1 min 23 s", "600"),  # (31.25 + 12.5 + 21) / 3 = 21.58
        *("Learned from 3 photos, and scored on 3 that training never saw.", "Masks ignore a part of 1 of them"),
        *("steps 600 4000", "density.every 0.05 0.1", "sfumato train 'a b' -o <out>", "toy & <co>"),
        *("1.20 GB predicted, 1.50 GB measured", "Opacity", "Scale", "25.0 % ignored", "9.9"),
    ):
        assert wanted in page.text, wanted
    assert "max_gaussians 200 200" not in page.text  # as usual
    assert "most_pairs 5 9" not in page.text  # a matter of memory
    levels = [int(name[1]) for name, _ in page.tags if name in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.text.index(EVIL) < page.text.index("deep/middle.jpg") < page.text.index("good.jpg")


def test_names_are_only_names(tmp_path: Path, seed: int) -> None:
    page = written(toy_run(tmp_path / "<i>run", THREE))
    assert "<i>run" in page.text
    assert page.text.count(EVIL) == 2  # caption and table
    assert {name for name, _ in page.tags} & {"i", "x"} == set()
    assert len(page.all("b")) == len(THREE)  # the captions' own
    assert {image["alt"] for image in page.all("img")} >= {f"Photo {EVIL}", f"Render of {EVIL}"}


def test_the_page_needs_nothing_else(tmp_path: Path, seed: int) -> None:
    page = written(toy_run(tmp_path, THREE))
    policy = page.all("meta")[1]["content"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "http" not in policy
    for _, attributes in page.tags:
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/jpeg;base64,"))
    places = {attributes.get("id") for _, attributes in page.tags}
    assert {str(link["href"])[1:] for link in page.all("a")} <= places


def test_a_run_without_held_out_photos(tmp_path: Path, seed: int) -> None:
    page = written(toy_run(tmp_path, ()))
    assert "Nothing was held out, so there is nothing to measure." in page.text
    assert "PSNR from 10.35 dB to 14.09 dB" in page.text  # of the photos that were trained on
    assert page.all("figure") == []
    assert "Scores" not in page.text


def test_an_interrupted_run(tmp_path: Path, seed: int) -> None:
    page = written(toy_run(tmp_path, THREE, interrupted=True))
    assert "Interrupted: training stopped before its last step, and was not scored." in page.text.replace(" :", ":")
    assert page.all("figure") == []
    assert "200 Gaussians" in page.text


def test_scores_that_are_no_numbers(tmp_path: Path, seed: int) -> None:
    scores = (
        ViewScore("blank.jpg", math.nan, math.nan),
        ViewScore("same.jpg", math.inf, 1.0),
        ViewScore("good.jpg", 31.25, 0.95),
    )
    page = written(toy_run(tmp_path, scores))
    assert "nan" not in page.text.lower()
    assert "– dB · SSIM –" in page.text
    assert page.text.index("good.jpg") < page.text.index("blank.jpg")
    assert json.loads(page.islands["data"])["psnr"] is None


def test_an_evaluation_by_itself_says_nothing_of_training(tmp_path: Path, seed: int) -> None:
    folder = toy_run(tmp_path, THREE)
    (folder / "splat.ply").unlink()
    write_report(folder, Evaluation(THREE), {"gaussians": 7}, PROTOCOL)
    page = Read(report.write(folder, toy_gaussians(7)))
    assert "Scored on 3 held-out photos." in page.text
    assert "7 Gaussians" in page.text
    for section in ("Training", "Settings", "1 min"):
        assert section not in page.text


def test_many_photos_stay_a_page(tmp_path: Path, seed: int) -> None:
    scores = [ViewScore(f"{index:03}.jpg", 20 + index / 10, 0.9) for index in range(60)]
    path = report.write(toy_run(tmp_path, scores))
    page = Read(path)
    assert len(page.all("figure")) == 24
    assert "36 of the 60 held-out photos are not shown here." in page.text
    assert page.text.count(".jpg") >= 60 + 24  # all of them in the table
    assert len(page.all("a")) == 24
    shown = [image["alt"] for image in page.all("img") if (image["alt"] or "").startswith("Photo")]
    assert shown[:12] == [f"Photo {index:03}.jpg" for index in range(12)]
    assert shown[-6:] == [f"Photo {index:03}.jpg" for index in range(54, 60)]


@pytest.mark.parametrize("count", [0, 1, 24, 25, 26, 30, 1000])
def test_which_photos_are_chosen(count: int) -> None:
    chosen = report.choose(count)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, 24)
    assert set(chosen) >= {*range(min(count, 12)), *range(max(0, count - 6), count)}
    assert all(0 <= index < count for index in chosen)


def test_what_is_damaged_is_left_out(tmp_path: Path, seed: int) -> None:
    folder = toy_run(tmp_path, THREE)
    whole = report.write(folder).stat().st_size
    (folder / "cameras.json").write_text("[", encoding="utf-8")
    (folder / "config.json").write_text("[]", encoding="utf-8")
    (folder / "splat.ply").write_bytes(b"ply\n")
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"step": 61, "lo')
    path = report.write(folder)
    assert path.stat().st_size < whole
    page = Read(path)
    assert "21.58 dB" in page.text
    assert page.all("figure") == []


def test_a_log_of_another_program(tmp_path: Path, seed: int) -> None:
    """Lines that are no steps are left out; what is no number would end the page's script before it begins."""
    folder = toy_run(tmp_path, THREE)
    with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
        log.write('{"note": 1}\nnull\n[1]\n{"step": "x"}\n{"step": 61, "loss": NaN, "psnr": Infinity}\n')
    found = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    found["test"]["psnr"] = math.inf
    (folder / "report.json").write_text(json.dumps(found), encoding="utf-8")

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    data = json.loads(written(folder).islands["data"], parse_constant=refuse)
    assert data["steps"] == [*range(1, 62)]
    assert data["log"]["loss"][-1] is None
    assert data["psnr"] is None


def test_no_report_no_page(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no report: report\.json is not there"):
        report.write(tmp_path)
    views = ('{"a": 1}', "[1]", '[{"psnr": 20}]')  # no list, no objects, no name
    for text in (
        "{",
        "[]",
        '{"test": 3, "train": {}}',
        *(f'{{"test": {{"views": {v}}}, "train": {{}}}}' for v in views),
    ):
        (tmp_path / "report.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=r"report\.json"):
            report.write(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_it_works_from_disk(tmp_path: Path, seed: int, open_page: Callable[..., Watched]) -> None:
    path = report.write(toy_run(tmp_path / "a run", THREE))
    watched = open_page(viewport={"width": 900, "height": 600})
    page = watched.page
    page.goto(path.as_uri())
    check_sorting(page)
    check_slider(page)
    check_errors(page)
    assert page.locator(".chart svg").count() == 5  # three curves, two histograms
    assert "held out 21.58 dB at step 60" in page.locator("[data-curve=psnr] svg").get_attribute("aria-label")
    page.get_by_role("link", name="good.jpg").click()
    assert page.locator("figure:target b").inner_text() == "good.jpg"
    page.get_by_role("button", name="Enlarge").first.click()
    assert page.get_by_role("button", name="Shrink").count() == 1
    assert watched.requests == [url for url in watched.requests if url.startswith((path.as_uri(), "data:", "blob:"))]


def test_a_damaged_picture_is_not_in_the_way(tmp_path: Path, seed: int, browser_page: Watched) -> None:
    """Errors of the others are shown all the same."""
    folder = toy_run(tmp_path, THREE)
    worst = next(camera.photo for camera in read_cameras(folder) if camera.name == EVIL)
    assert worst is not None
    (folder / worst).with_suffix(".render.jpg").write_bytes(b"no picture")
    page = browser_page.page
    page.goto(report.write(folder).as_uri())
    page.get_by_text("error", exact=True).click()
    page.locator(".wipe-right[src^='blob:']").nth(1).wait_for()


def test_the_scene_waits_to_be_looked_at(tmp_path: Path, seed: int, browser_page: Watched) -> None:
    page = browser_page.page
    page.goto(report.write(toy_run(tmp_path, THREE)).as_uri())
    assert page.locator("iframe").count() == 0
    page.get_by_role("button", name="Look around").click()
    frame = page.frame_locator("iframe")
    frame.locator("canvas").first.wait_for()
    inner = next(frame for frame in page.frames if frame != page.main_frame)
    inner.evaluate("window.sfumato.ready")
    photos = inner.evaluate("Object.fromEntries(window.sfumato.page.cameras.map(c => [c.name, c.photo]))")
    assert photos[EVIL].startswith("data:image/jpeg;base64,")  # the report's own
    assert photos["t1.png"] is None
    shown = inner.evaluate("[...new Set(window.sfumato.renderer.pixels().data)].length")
    assert shown > 20  # more than a background
    assert page.get_by_role("button", name="Full screen").is_visible()


def test_a_large_scene_is_thinned(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sfumato.view.report_scene.MOST", 150)
    page = written(toy_run(tmp_path, THREE))
    assert "The 150 most important of 200 Gaussians" in page.text
    assert "data-splat" in json.loads(page.islands["viewer"])


def test_a_scene_that_shows_nothing_is_left_out(tmp_path: Path, seed: int) -> None:
    gaussians = toy_gaussians(3)
    nothing = Gaussians(gaussians.means * math.nan, *list(gaussians)[1:])
    page = Read(report.write(toy_run(tmp_path, THREE), nothing))
    assert "Look around" not in page.text
    assert "viewer" not in page.islands
    report.write(tmp_path, Gaussians.empty(0))


def names_in_order(page: Any) -> list[str]:
    names: list[str] = page.locator("table.scores tbody th").all_inner_texts()
    return names


def check_sorting(page: Any) -> None:
    """Worst first; then by name, and back, with the keyboard alone."""
    assert names_in_order(page) == [EVIL, "deep/middle.jpg", "good.jpg"]
    assert page.get_by_role("columnheader", name="PSNR, dB").get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Photo").focus()
    page.keyboard.press("Enter")
    by_name = names_in_order(page)
    assert by_name == [EVIL, "deep/middle.jpg", "good.jpg"]
    page.keyboard.press("Enter")
    assert names_in_order(page) == by_name[::-1]
    assert page.get_by_role("columnheader", name="Photo").get_attribute("aria-sort") == "descending"
    assert page.locator("[aria-sort]").count() == 1
    page.get_by_role("button", name="LPIPS").click()
    assert names_in_order(page) == ["good.jpg", "deep/middle.jpg", EVIL]


def check_slider(page: Any) -> None:
    """The line follows keys and the pointer, and says where it is."""
    line = page.get_by_role("slider").first
    assert line.get_attribute("aria-label") == "Compare photo and render"
    line.focus()
    page.keyboard.press("ArrowRight")
    assert line.get_attribute("aria-valuetext") == "52 % photo, 48 % render"
    box = page.locator(".wipe").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 20)
    page.mouse.down()
    assert line.get_attribute("aria-valuenow") == "25"
    page.mouse.move(box["x"] + box["width"] + 50, box["y"] + 20)
    page.mouse.up()
    assert line.get_attribute("aria-valuetext") == "photo only"
    assert page.locator(".wipe-right").first.evaluate("e => getComputedStyle(e).clipPath").endswith("100%)")


def check_errors(page: Any) -> None:
    """The error of a picture is a picture of the same size, in place of the render; and back."""
    page.get_by_text("error", exact=True).click()
    page.locator(".wipe-right[src^='blob:']").first.wait_for()  # a function to wait for would need eval
    size = page.locator(".wipe-right").first.evaluate(
        "async e => (await e.decode(), [e.naturalWidth, e.naturalHeight])"
    )
    assert size == [32, 24]
    assert page.locator("#error-legend").is_visible()
    page.get_by_text("render", exact=True).first.click()
    page.locator(".wipe-right[src^='data:']").first.wait_for()


def test_it_can_be_read_without_scripts(tmp_path: Path, seed: int, open_page: Callable[..., Watched]) -> None:
    page = open_page(java_script_enabled=False, viewport={"width": 390, "height": 800}).page
    page.goto(report.write(toy_run(tmp_path, THREE)).as_uri())
    assert page.locator("figure img").count() == 6
    assert page.locator("figure img").first.is_visible()
    assert page.locator("table.scores").is_visible()
    assert not page.locator(".scripted").first.is_visible()
    assert page.locator(".histogram").first.is_visible()


def test_a_histogram_counts_everything() -> None:
    found = histogram(torch.tensor([0.0, 0.5, 0.5, 1.0, 7.0, math.nan]), 0, 1)
    assert sum(found.counts) == 5
    assert (found.counts[0], found.counts[24], found.counts[47]) == (1, 2, 2)
    assert [text for _, text in found.ticks()] == ["0", "0.25", "0.5", "0.75", "1"]


def test_a_logarithmic_axis_has_round_numbers() -> None:
    found = log_histogram(torch.logspace(-3.5, 2.5, 1000))
    assert found is not None
    assert sum(found.counts) == 1000
    assert [text for _, text in found.ticks()] == ["0.001", "0.01", "0.1", "1", "10", "100"]
    close = log_histogram(torch.full((9,), 0.02))
    assert close is not None
    assert sum(close.counts) == 9
    assert "0.02" in [text for _, text in close.ticks()]
    assert close.edge(0) < 0.02 < close.edge(48)
    assert log_histogram(torch.tensor([0.0, math.nan, math.inf, -1.0])) is None


def test_a_drawing_says_what_it_shows() -> None:
    drawing = draw(histogram(torch.tensor([0.1] * 999 + [0.9]), 0, 1), 'a "b" <c>')
    assert 'aria-label="a &quot;b&quot; &lt;c&gt;"' in drawing
    assert drawing.count("<rect") == 2
    assert "999 (99.9 %)" in drawing
    assert 'height="1.5"' in drawing  # one of a thousand is seen all the same
