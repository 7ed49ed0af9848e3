"""Gaussians and held-out views to scores; scores, protocol and machine to report.json and report.md."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from sfumato.core.errors import InputError
from sfumato.core.files import write_text
from sfumato.core.gaussians import Gaussians
from sfumato.core.image import RESIZE_FILTER
from sfumato.core.scene import Scene, View
from sfumato.core.threads import one_torch_thread
from sfumato.evaluate.lpips import Lpips
from sfumato.evaluate.machine import commit, gpu, machine, peak_gpu_memory, peak_memory, versions
from sfumato.evaluate.metrics import excluded, psnr, ssim, unmasked
from sfumato.kernels.backends import choose
from sfumato.kernels.stages import RenderSettings
from sfumato.render.render import render

__all__ = ["Evaluation", "ViewScore", "evaluate", "plain", "protocol_of", "write_report"]


_OF_LISTS = ("most_pairs", "room", "deterministic")  # how the lists of tiles are kept: no pixel depends on it


@dataclass(frozen=True)
class ViewScore:
    """How well one photo is reproduced."""

    name: str
    psnr: float  # dB
    ssim: float
    lpips: float | None = None  # None: no weights were given
    excluded: float = 0.0  # share of the pixels that the photo's mask ignores: not in any score


@dataclass(frozen=True)
class Evaluation:
    """The scores of every view, and their means over views."""

    views: tuple[ViewScore, ...]

    @property
    def psnr(self) -> float:
        """Mean over photos, dB; not a number when there are none."""
        return _mean([view.psnr for view in self.views])

    @property
    def ssim(self) -> float:
        """Mean over photos."""
        return _mean([view.ssim for view in self.views])

    @property
    def lpips(self) -> float | None:
        """Mean over photos; None when no weights were given."""
        values = [view.lpips for view in self.views if view.lpips is not None]
        return _mean(values) if values else None

    @property
    def excluded(self) -> float:
        """Share of the pixels that masks ignore, mean over photos."""
        return _mean([view.excluded for view in self.views])


def _ignore(view: View, image: Tensor, score: ViewScore) -> None:
    """Do nothing with an evaluated view."""


@torch.no_grad()
def evaluate(
    gaussians: Gaussians,
    views: Sequence[View],
    settings: RenderSettings | None = None,
    background: tuple[float, float, float] = (0.0, 0.0, 0.0),
    backend: str = "auto",
    lpips: Lpips | None = None,
    on_view: Callable[[View, Tensor, ViewScore], None] = _ignore,
) -> Evaluation:
    """Render each view and compare it with its photo; on_view gets the view, the image (H, W, 3) and the score.

    background is what transparent photos were composited on. Pictures are drawn and compared where the Gaussians are;
    on_view gets them on the CPU. Pixels that a view's mask ignores are in no score; a
    view without any other pixel is passed over. Raises InputError when there are no views to compare.
    """
    if not views:
        raise InputError("there are no views to evaluate; hold some out, for example with --holdout 8")
    behind = torch.tensor(background).to(gaussians.means)
    scores = []
    for view in views:
        picture = view.picture()
        photo, mask = picture.pixels, picture.mask
        hidden = excluded(mask)
        if hidden == 1:
            continue
        with one_torch_thread():
            image = render(gaussians, view.camera, settings, behind, backend).image
            photo = photo.to(image.device)
            similarity = psnr(image, photo, mask), ssim(image, photo, backend, mask)
        distance = lpips(unmasked(image, photo, mask), photo) if lpips else None
        score = ViewScore(view.name, *similarity, distance, hidden)
        on_view(replace(view, photo=picture), image.cpu(), score)  # decoded: nobody needs to do it again
        scores.append(score)
    if not scores:
        raise InputError("the masks ignore every pixel of every held-out photo, so there is nothing to evaluate")
    return Evaluation(tuple(scores))


def protocol_of(scene: Scene, settings: RenderSettings, backend: str) -> dict[str, object]:
    """Everything that another person must repeat to get the same numbers."""
    name, device = choose(backend)
    beside = {}
    if device.type == "cuda":
        beside = {"gpu": gpu(device), "peak_gpu_memory_bytes": peak_gpu_memory(device)}
    return {
        "resize_filter": RESIZE_FILTER,
        "background": list(scene.background),
        **scene.protocol,  # whoever read the scene knows better
        "train_views": len(scene.train),
        "test_views": len(scene.test),
        "test_names": [view.name for view in scene.test],
        "metrics": {
            "psnr": "-10 log10 of the mean squared error over pixels and colors, clamped to [0, 1], mean over photos",
            "ssim": "11x11 Gaussian window, sigma 1.5, K1 0.01, K2 0.03, zeros outside, per color, mean over photos",
            "lpips": "Zhang et al. 2018, mean over photos, when weights are given",
            "photos": "8 bit, against floating-point renders",
            "masks": "ignored pixels are in no mean; windows of SSIM and LPIPS that reach there see the photo twice",
        },
        "render": {name: value for name, value in asdict(settings).items() if name not in _OF_LISTS},
        "backend": name,
        "versions": versions(),
        "commit": commit(),
        "machine": machine(),
        "peak_memory_bytes": peak_memory(),
        **beside,
    }


def write_report(
    folder: Path,
    evaluation: Evaluation | None,
    training: Mapping[str, object],
    protocol: Mapping[str, object],
    pictures: Mapping[str, Path] | None = None,
) -> None:
    """Write report.json for programs and report.md for people.

    evaluation is None when nothing was held out; pictures maps a view's name to its comparison picture, which the
    page links. Raises OSError when the folder cannot be written.
    """
    report = {"test": _test(evaluation), "train": dict(training), "protocol": dict(protocol)}
    write_text(folder / "report.json", json.dumps(plain(report), indent=2, allow_nan=False) + "\n")
    write_text(folder / "report.md", _page(folder, evaluation, training, protocol, pictures or {}))


def _test(evaluation: Evaluation | None) -> dict[str, object]:
    if evaluation is None:
        return {"psnr": None, "ssim": None, "lpips": None, "excluded": None, "views": []}
    views = [asdict(view) for view in evaluation.views]
    means = {name: getattr(evaluation, name) for name in ("psnr", "ssim", "lpips", "excluded")}
    return {**means, "views": views}


def _page(
    folder: Path,
    evaluation: Evaluation | None,
    training: Mapping[str, object],
    protocol: Mapping[str, object],
    pictures: Mapping[str, Path],
) -> str:
    lines = ["# Report", ""]
    if training.get("interrupted"):
        lines += ["**Interrupted:** training stopped before its last step, and was not scored.", ""]
    elif evaluation is None:
        lines += ["Nothing was held out, so there is nothing to measure.", ""]
    if evaluation is not None:
        lines += _summary(evaluation) + _views(folder, evaluation, pictures)
    for title, values in (("Training", training), ("Protocol", protocol)):
        if values:
            lines += [f"## {title}", "", "| what | value |", "|---|---|", *_rows(values), ""]
    return "\n".join(lines)


def _summary(evaluation: Evaluation) -> list[str]:
    count = len(evaluation.views)
    best = max(evaluation.views, key=lambda view: view.psnr)
    worst = min(evaluation.views, key=lambda view: view.psnr)
    distance = "" if evaluation.lpips is None else f", LPIPS {evaluation.lpips:.4f}"
    return [
        f"**PSNR {evaluation.psnr:.2f} dB, SSIM {evaluation.ssim:.4f}{distance}**: "
        f"mean over {count} held-out photo{'s' if count > 1 else ''}.",
        "",
        *_exclusion(evaluation),
        f"Best: {best.name} ({best.psnr:.2f} dB). Worst: {worst.name} ({worst.psnr:.2f} dB).",
        "",
    ]


def _exclusion(evaluation: Evaluation) -> list[str]:
    if not evaluation.excluded:
        return []
    count = sum(view.excluded > 0 for view in evaluation.views)
    return [
        f"Masks: {_percent(evaluation.excluded)} of the pixels, in {count} of these photos, are ignored: they are in "
        "no mean, and windows of SSIM and LPIPS that reach there see the photo twice.",
        "",
    ]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _views(folder: Path, evaluation: Evaluation, pictures: Mapping[str, Path]) -> list[str]:
    """A table, worst photo first, each with a link to its picture; the worst and the best are shown."""
    with_lpips, with_masks = evaluation.lpips is not None, evaluation.excluded > 0
    lines = ["## Held-out photos, worst first", ""]
    lines += ["| photo | PSNR, dB | SSIM |" + (" LPIPS |" if with_lpips else "") + (" ignored |" if with_masks else "")]
    lines += ["|---|---|---|" + "---|" * (with_lpips + with_masks)]
    ordered = sorted(evaluation.views, key=lambda view: view.psnr)
    links = {name: path.relative_to(folder).as_posix().replace(" ", "%20") for name, path in pictures.items()}
    for view in ordered:
        name = _cell(view.name)
        shown = f"[{name}]({links[view.name]})" if view.name in links else name
        row = f"| {shown} | {view.psnr:.2f} | {view.ssim:.4f} |"
        row += (f" {view.lpips:.4f} |" if with_lpips else "") + (f" {_percent(view.excluded)} |" if with_masks else "")
        lines.append(row)
    lines.append("")
    for title, view in {"Worst": ordered[0], "Best": ordered[-1]}.items():
        if view.name in links:
            lines += [f"![{title}: {_cell(view.name)}]({links[view.name]})", ""]
    return lines


def _rows(values: Mapping[str, object], prefix: str = "") -> list[str]:
    """One line per value; nested values are named with dots."""
    rows = []
    for key, value in values.items():
        value = value._asdict() if hasattr(value, "_asdict") else value
        if isinstance(value, Mapping):
            rows += _rows(value, f"{prefix}{key}.")
        else:
            rows.append(f"| {prefix}{key} | {_cell(_readable(key, value))} |")
    return rows


def _readable(key: str, value: object) -> str:
    if value is None:
        return "none"
    if key.endswith("_bytes") and isinstance(value, int):
        return f"{value / 2**30:.2f} GiB"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_readable("", item) for item in value)
    return str(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def plain(value: object) -> object:
    """The same value in what JSON knows; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "_asdict"):  # a NamedTuple
        return plain(value._asdict())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    return str(value)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
