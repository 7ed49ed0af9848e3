"""What is known of a run to the sections of its report, as HTML that is complete before any script runs."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from typing import Any, ClassVar

from sfumato.core.gaussians import Gaussians
from sfumato.core.units import say_bytes
from sfumato.view.histogram import Histogram, draw, histogram, log_histogram
from sfumato.view.page import PageCamera

__all__ = ["Pictures", "Run", "Score", "curve_of", "duration", "sections_of"]

FAINT = 0.05  # opacity below which a Gaussian is hardly seen
CURVES = (("psnr", "PSNR", " dB", 2), ("loss", "loss", "", 4), ("gaussians", "Gaussians", "", 0))
UNTOLD = ("most_pairs",)  # settings that follow from the memory there is, and change no picture
SMOOTH = 0.02  # of the lines of a log, on each side, that a curve's point is the mean of


@dataclass(frozen=True)
class Score:
    """How well one held-out photo is reproduced; None where there is no number."""

    KEYS: ClassVar = ("psnr", "ssim", "lpips", "excluded")

    name: str
    psnr: float | None
    ssim: float | None
    lpips: float | None = None
    excluded: float | None = None


@dataclass(frozen=True)
class Pictures:
    """A photo and its render, as data URIs."""

    photo: str
    render: str
    width: int  # pixels
    height: int


@dataclass(frozen=True, eq=False)
class Run:
    """What a run's folder holds."""

    name: str
    written: datetime
    report: Mapping[str, Any]  # report.json
    scores: Sequence[Score]  # worst first
    pictures: Mapping[str, Pictures]  # by the name of the view, worst first
    log: Sequence[Mapping[str, Any]]  # lines of log.jsonl
    settings: Mapping[str, Any]  # config.json; empty where nothing was trained
    cameras: Sequence[PageCamera]
    gaussians: Gaussians | None

    @property
    def training(self) -> Mapping[str, Any]:
        """What report.json says of the training."""
        found = self.report["train"]
        return found if isinstance(found, Mapping) else {}

    @property
    def protocol(self) -> Mapping[str, Any]:
        """What another person must repeat to get the same numbers."""
        found = self.report.get("protocol")
        return found if isinstance(found, Mapping) else {}


def sections_of(run: Run, scene: str) -> str:
    """The page's body; scene: the section with the viewer, or nothing."""
    parts = [_head(run), scene, _gallery(run), _table(run), _curves(run), _shapes(run), _settings(run), _protocol(run)]
    return "\n".join(part for part in parts if part)


def duration(seconds: float) -> str:
    """Seconds as people say them: 8.3 s, 3 min 5 s, 1 h 2 min."""
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole // 60 % 60} min"


def curve_of(run: Run, key: str) -> list[float | None]:
    """A number of the log line by line; what belongs to single photos is smoothed."""
    values = [value if isinstance(value := entry.get(key), int | float) else None for entry in run.log]
    return values if key == "gaussians" else _smoothed(values)


def _smoothed(values: Sequence[float | None]) -> list[float | None]:
    """Each number as the mean of it and its neighbours, where there are any; None stays None."""
    reach = int(SMOOTH * len(values))
    found: list[float | None] = []
    for index, value in enumerate(values):
        near = [v for v in values[max(0, index - reach) : index + reach + 1] if v is not None]
        found.append(sum(near) / len(near) if value is not None else None)
    return found


def _head(run: Run) -> str:
    when = run.written.strftime("%Y-%m-%d %H:%M")
    return (
        f'<header class="top"><p class="kicker">sfumato report · <time>{when}</time></p>'
        f"<h1>{_text(run.name)}</h1>{_lead(run)}{_cards(run)}</header>"
    )


def _lead(run: Run) -> str:
    """What these numbers are of, in a sentence or two."""
    protocol, sentences = run.protocol, []
    train, test = protocol.get("train_views"), protocol.get("test_views")
    if run.training.get("interrupted"):
        sentences.append("<strong>Interrupted:</strong> training stopped before its last step, and was not scored.")
    elif run.scores:
        if run.settings and train:
            told = f"Learned from {_count(train)} photos, and scored on {len(run.scores)} that training never saw."
        else:
            told = f"Scored on {len(run.scores)} held-out photo{'s' if len(run.scores) > 1 else ''}."
        sentences.append(told)
    elif test:
        sentences.append(f"{_count(test)} photos were held out, but they could not be scored.")
    else:
        sentences.append("Nothing was held out, so there is nothing to measure.")
    hidden = [score for score in run.scores if score.excluded]
    if hidden:
        sentences.append(
            f"Masks ignore a part of {len(hidden)} of them: those pixels are in no mean, and windows of SSIM and LPIPS "
            "that reach there see the photo twice."
        )
    return f'<p class="lead">{" ".join(sentences)}</p>'


def _cards(run: Run) -> str:
    test, training = run.report["test"], run.training
    cards: list[tuple[str, str, str]] = []
    if run.scores:
        cards += [("PSNR", _number(test.get("psnr"), 2), "dB"), ("SSIM", _number(test.get("ssim"), 4), "")]
        cards += [("LPIPS", _number(test["lpips"], 4), "")] if test.get("lpips") is not None else []
    if isinstance(training.get("gaussians"), int):
        cards.append(("Gaussians", f"{training['gaussians']:,}", ""))
    if isinstance(training.get("seconds"), int | float):
        cards.append(("Training", duration(training["seconds"]), ""))
    if isinstance(training.get("steps"), int):
        cards.append(("Steps", f"{training['steps']:,}", ""))
    rows = (
        f"<div><dt>{title}</dt><dd>{value}{f' <small>{unit}</small>' if unit else ''}</dd></div>"
        for title, value, unit in cards
    )
    return f'<dl class="cards">{"".join(rows)}</dl>'


def _gallery(run: Run) -> str:
    """Photo and render of each chosen view; a script lays them over each other."""
    if not run.pictures:
        return ""
    left_out = len(run.scores) - len(run.pictures)
    said = "Worst first. " if len(run.pictures) > 1 else ""
    tall = sum(found.height > found.width for found in run.pictures.values()) > len(run.pictures) / 2
    said += f"{left_out} of the {len(run.scores)} held-out photos are not shown here. " if left_out else ""
    scores = {score.name: score for score in run.scores}
    figures = (_figure(index, scores[name], found) for index, (name, found) in enumerate(run.pictures.items()))
    hidden = ", what masks ignore included" if any(score.excluded for score in run.scores) else ""
    chooser = (
        '<fieldset class="segments scripted"><legend>Beside the photo</legend>'
        '<label><input type="radio" name="right" value="render" checked><span>render</span></label>'
        '<label><input type="radio" name="right" value="error"><span>error</span></label></fieldset>'
        '<p class="legend" id="error-legend" hidden>0 <canvas width="120" height="10" aria-hidden="true"></canvas> '
        f"0.2 and more: root mean square over the colors of these pictures{hidden}</p>"
    )
    return _section(
        "photos",
        "Photo and render",
        f'<p class="note">{said}<span class="scripted">Drag the line, or move it with the arrow keys.</span></p>'
        f'<div class="tools">{chooser}</div><div class="gallery{" tall" if tall else ""}">{"".join(figures)}</div>',
    )


def _figure(index: int, score: Score, found: Pictures) -> str:
    size, name = f'width="{found.width}" height="{found.height}" decoding="async"', _text(score.name)
    numbers = [f"{_number(score.psnr, 2)} dB", f"SSIM {_number(score.ssim, 4)}"]
    numbers += [f"LPIPS {_number(score.lpips, 4)}"] if score.lpips is not None else []
    numbers += [f"{_percent(score.excluded)} ignored"] if score.excluded else []
    return (
        f'<figure id="photo-{index}" tabindex="-1"><div class="pair">'
        f'<img class="photo" src="{found.photo}" alt="Photo {name}" {size}>'
        f'<img class="render" src="{found.render}" alt="Render of {name}" {size}></div>'
        f"<figcaption><b>{name}</b> <span>{' · '.join(numbers)}</span></figcaption></figure>"
    )


def _table(run: Run) -> str:
    """Every held-out photo, worst first, each with a link to its pictures."""
    if not run.scores:
        return ""
    columns: list[tuple[str, str, int | None]] = [("psnr", "PSNR, dB", 2), ("ssim", "SSIM", 4)]
    columns += [("lpips", "LPIPS", 4)] if any(score.lpips is not None for score in run.scores) else []
    columns += [("excluded", "ignored", None)] if any(score.excluded for score in run.scores) else []
    places = {name: index for index, name in enumerate(run.pictures)}
    head = "".join(
        f'<th scope="col" data-key="{key}"{" aria-sort=ascending" if key == "psnr" else ""}>{title}</th>'
        for key, title, _ in [("name", "Photo", None), *columns]
    )
    rows = []
    for score in run.scores:
        name = _text(score.name)
        shown = f'<a href="#photo-{places[score.name]}">{name}</a>' if score.name in places else name
        rows.append(f'<tr><th scope="row">{shown}</th>{"".join(_cell(score, key, n) for key, _, n in columns)}</tr>')
    test = run.report["test"]
    mean = Score("", *(test.get(key) for key in Score.KEYS))
    means = "".join(_cell(mean, key, digits) for key, _, digits in columns)
    return _section(
        "scores",
        "Scores",
        '<div class="scroll" tabindex="0" role="region" aria-labelledby="scores-title"><table class="scores">'
        "<caption>Held-out photos. PSNR and SSIM: higher is better. "
        f"{'LPIPS: lower is better.' if any(key == 'lpips' for key, *_ in columns) else ''}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody>"
        f'<tfoot><tr><th scope="row">Mean</th>{means}</tr></tfoot></table></div>',
    )


def _cell(score: Score, key: str, digits: int | None) -> str:
    value = getattr(score, key)
    shown = _percent(value) if digits is None else _number(value, digits)
    return f'<td data-value="{value if isinstance(value, int | float) else ""}">{shown}</td>'


def _curves(run: Run) -> str:
    """Places for the curves, and the same in words."""
    if len(run.log) < 2:
        return ""
    words = []
    for key, title, unit, digits in CURVES:
        values = curve_of(run, key)
        ends = [_number(value, digits) + unit for value in (values[0], values[-1]) if value is not None]
        if len(ends) == 2:
            words.append(f"{title} {f'from {ends[0]} to {ends[1]}' if ends[0] != ends[1] else ends[0]}")
    said = f"From step {_count(run.log[0].get('step'))} to {_count(run.log[-1].get('step'))}: {', '.join(words)}."
    places = "".join(f'<div class="chart scripted" data-curve="{key}"></div>' for key, *_ in CURVES)
    return _section(
        "training",
        "Training",
        f'<p class="note">{said} Loss and PSNR are those of the photos that were trained on, smoothed.</p>'
        f'<div class="charts">{places}</div>',
    )


def _shapes(run: Run) -> str:
    """How opaque and how large the Gaussians are."""
    gaussians = run.gaussians
    if gaussians is None or not len(gaussians):
        return ""
    opacities = gaussians.opacities.detach()
    faint = (opacities < FAINT).double().mean().item()
    said = (
        f"Half of them are more opaque than {_number(opacities.median().item(), 2)}; "
        f"{_percent(faint)} are below {FAINT:g} and hardly seen."
    )
    charts = [_chart("Opacity", histogram(opacities, 0, 1), said)]
    sizes = log_histogram(gaussians.scales.detach())
    if sizes:
        middle = gaussians.log_scales.detach().flatten().median().exp().item()
        said = f"Standard deviations along the three axes, in units of the scene; half are below {middle:.3g}."
        charts.append(_chart("Scale", sizes, said))
    return _section(
        "gaussians",
        f"{len(gaussians):,} Gaussians",
        f'<div class="charts two">{"".join(charts)}</div>',
    )


def _chart(title: str, found: Histogram, said: str) -> str:
    drawing = draw(found, f"Histogram: {title}. {said}")
    return f'<div class="chart"><h3>{title}</h3>{drawing}<p class="note">{said}</p></div>'


def _settings(run: Run) -> str:
    """How the run can be repeated, what was not as usual, and everything else on demand."""
    config = run.training.get("config")
    if not isinstance(config, Mapping):
        return ""
    command, usual = run.settings.get("command"), run.settings.get("usual")
    line = command.get("line") if isinstance(command, Mapping) else None
    parts = [f'<p class="note">Begun with:</p><pre tabindex="0"><code>{_text(line)}</code></pre>'] if line else []
    flat = dict(_flat(config))
    if isinstance(usual, Mapping):
        before = dict(_flat(usual))
        rows = [(key, flat[key], before.get(key)) for key in flat if flat[key] != before.get(key) and key not in UNTOLD]
        if rows:
            body = "".join(
                f'<tr><th scope="row">{_text(k)}</th><td>{_text(a)}</td><td>{_text(b)}</td></tr>' for k, a, b in rows
            )
            parts.append(
                '<div class="scroll"><table class="values"><caption>What differs from what sfumato does by itself with '
                'these photos</caption><thead><tr><th scope="col">setting</th><th scope="col">here</th>'
                f'<th scope="col">usually</th></tr></thead><tbody>{body}</tbody></table></div>'
            )
        else:
            parts.append("<p>All settings are what sfumato chooses by itself for these photos.</p>")
    parts.append(f"<details><summary>All settings</summary>{_values(flat.items())}</details>")
    return _section("settings", "Settings", "".join(parts))


def _protocol(run: Run) -> str:
    """What another person must repeat, and what it took."""
    parts = [_memory(run)]
    simple = {key: value for key, value in run.protocol.items() if not isinstance(value, Mapping)}
    rest = {key: value for key, value in run.protocol.items() if isinstance(value, Mapping)}
    simple.pop("peak_memory_bytes", None)
    simple.pop("test_names", None)  # the table has them
    parts.append(_values((key.replace("_", " "), value) for key, value in _flat(simple)))
    for key, value in rest.items():
        parts.append(f"<details><summary>{_text(key.replace('_', ' '))}</summary>{_values(_flat(value))}</details>")
    return _section("protocol", "Protocol", '<p class="note">What these numbers depend on.</p>' + "".join(parts))


def _memory(run: Run) -> str:
    memory, peak = run.training.get("memory"), run.protocol.get("peak_memory_bytes")
    expected = memory.get("predicted_peak_bytes") if isinstance(memory, Mapping) else None
    said = [f"{say_bytes(expected)} predicted"] if isinstance(expected, int) else []
    said += [f"{say_bytes(peak)} measured at the highest"] if isinstance(peak, int) else []
    return f'<p class="memory">Memory: {", ".join(said)}.</p>' if said else ""


def _values(values: Iterable[tuple[str, str]]) -> str:
    rows = "".join(f'<tr><th scope="row">{_text(key)}</th><td>{_text(value)}</td></tr>' for key, value in values)
    return f'<div class="scroll"><table class="values"><tbody>{rows}</tbody></table></div>'


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names in words, with those of what they belong to, and values as they are read."""
    for key, value in values.items():
        name = prefix + str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}.")
        else:
            yield name.removesuffix("_bytes"), _readable(name, value)


def _readable(key: str, value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return say_bytes(value) if key.endswith("_bytes") else str(value)
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(_readable("", item) for item in value) or "none"
    return str(value)


def _section(name: str, title: str, body: str) -> str:
    return f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>{body}</section>'


def _number(value: object, digits: int) -> str:
    if isinstance(value, int | float) and math.isfinite(value):
        return f"{value:,.{digits}f}"
    return "–"


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "–"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _text(value: object) -> str:
    return escape(str(value), quote=True)
