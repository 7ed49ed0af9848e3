"""What is known of a run to the sections of its report, as HTML that is complete before any script runs."""

from sfumato.view.histogram import Histogram, draw, histogram, log_histogram
from sfumato.view.report_run import Pictures, Run, Score, curve_of, number_of
from sfumato.view.report_settings import protocol_of, settings_of
from sfumato.view.report_words import duration, said_count, said_number, said_percent, section, text

__all__ = ["sections_of"]

FAINT = 0.05  # opacity below which a Gaussian is hardly seen
CURVES = (("psnr", "PSNR", " dB", 2), ("loss", "loss", "", 4), ("gaussians", "Gaussians", "", 0))


def sections_of(run: Run, scene: str) -> str:
    """The page's body; scene: the section with the viewer, or nothing."""
    parts = [
        _head(run),
        scene,
        _gallery(run),
        _table(run),
        _curves(run),
        _shapes(run),
        settings_of(run),
        protocol_of(run),
    ]
    return "\n".join(part for part in parts if part)


def _head(run: Run) -> str:
    when = run.written.strftime("%Y-%m-%d %H:%M")
    return (
        f'<header class="top"><p class="kicker">sfumato report · <time>{when}</time></p>'
        f"<h1>{text(run.name)}</h1>{_lead(run)}{_cards(run)}</header>"
    )


def _lead(run: Run) -> str:
    """What these numbers are of, in a sentence or two."""
    protocol, sentences = run.protocol, []
    train, test = protocol.get("train_views"), protocol.get("test_views")
    if run.training.get("interrupted"):
        sentences.append("<strong>Interrupted:</strong> training stopped before its last step, and was not scored.")
    elif run.scores:
        if run.settings and train:
            told = f"Learned from {said_count(train)} photos, and scored on {len(run.scores)} that training never saw."
        else:
            told = f"Scored on {len(run.scores)} held-out photo{'s' if len(run.scores) > 1 else ''}."
        sentences.append(told)
    elif test:
        sentences.append(f"{said_count(test)} photos were held out, but they could not be scored.")
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
        cards += [("PSNR", said_number(test.get("psnr"), 2), "dB"), ("SSIM", said_number(test.get("ssim"), 4), "")]
        cards += [("LPIPS", said_number(test["lpips"], 4), "")] if test.get("lpips") is not None else []
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
    return section(
        "photos",
        "Photo and render",
        f'<p class="note">{said}<span class="scripted">Drag the line, or move it with the arrow keys.</span></p>'
        f'<div class="tools">{chooser}</div><div class="gallery{" tall" if tall else ""}">{"".join(figures)}</div>',
    )


def _figure(index: int, score: Score, found: Pictures) -> str:
    size, name = f'width="{found.width}" height="{found.height}" decoding="async"', text(score.name)
    numbers = [f"{said_number(score.psnr, 2)} dB", f"SSIM {said_number(score.ssim, 4)}"]
    numbers += [f"LPIPS {said_number(score.lpips, 4)}"] if score.lpips is not None else []
    numbers += [f"{said_percent(score.excluded)} ignored"] if score.excluded else []
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
        name = text(score.name)
        shown = f'<a href="#photo-{places[score.name]}">{name}</a>' if score.name in places else name
        rows.append(f'<tr><th scope="row">{shown}</th>{"".join(_cell(score, key, n) for key, _, n in columns)}</tr>')
    test = run.report["test"]
    mean = Score("", *(number_of(test.get(key)) for key in Score.KEYS))
    means = "".join(_cell(mean, key, digits) for key, _, digits in columns)
    return section(
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
    shown = said_percent(value) if digits is None else said_number(value, digits)
    return f'<td data-value="{value if isinstance(value, int | float) else ""}">{shown}</td>'


def _curves(run: Run) -> str:
    """Places for the curves, and the same in words."""
    if len(run.log) < 2:
        return ""
    words = []
    for key, title, unit, digits in CURVES:
        values = curve_of(run, key)
        ends = [said_number(value, digits) + unit for value in (values[0], values[-1]) if value is not None]
        if len(ends) == 2:
            words.append(f"{title} {f'from {ends[0]} to {ends[1]}' if ends[0] != ends[1] else ends[0]}")
    said = (
        f"From step {said_count(run.log[0].get('step'))} to {said_count(run.log[-1].get('step'))}: {', '.join(words)}."
    )
    places = "".join(f'<div class="chart scripted" data-curve="{key}"></div>' for key, *_ in CURVES)
    return section(
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
        f"Half of them are more opaque than {said_number(opacities.median().item(), 2)}; "
        f"{said_percent(faint)} are below {FAINT:g} and hardly seen."
    )
    charts = [_chart("Opacity", histogram(opacities, 0, 1), said)]
    sizes = log_histogram(gaussians.scales.detach())
    if sizes:
        middle = gaussians.log_scales.detach().flatten().median().exp().item()
        said = f"Standard deviations along the three axes, in units of the scene; half are below {middle:.3g}."
        charts.append(_chart("Scale", sizes, said))
    return section(
        "gaussians",
        f"{len(gaussians):,} Gaussians",
        f'<div class="charts two">{"".join(charts)}</div>',
    )


def _chart(title: str, found: Histogram, said: str) -> str:
    drawing = draw(found, f"Histogram: {title}. {said}")
    return f'<div class="chart"><h3>{title}</h3>{drawing}<p class="note">{said}</p></div>'
