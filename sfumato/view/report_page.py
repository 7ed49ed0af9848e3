"""A run to the text of its report: one HTML file with its looks, its scripts and the scene."""

import json
from html import escape

import torch

from sfumato.render.colormap import colorize
from sfumato.view.bundle import policy, script_html, style_html
from sfumato.view.report_run import Run, curve_of, number_of
from sfumato.view.report_scene import scene_of
from sfumato.view.report_sections import sections_of

__all__ = ["page_of"]

FULL_ERROR = 0.2  # root mean square over colors, of [0, 1], that is shown as the most; as in compare/
COLORS = 64  # of the error map


def page_of(run: Run) -> str:
    """The whole page."""
    scene, viewer = scene_of(run)
    entries = ["report.js", "app.js"] if scene else ["report.js"]
    body = sections_of(run, scene)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy(*entries)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_title(run)}</title>
{style_html("wipe.css", "report.css")}</head>
<body>
<main>
{body}
</main>
<footer>Made by sfumato {_version(run)}. This page is complete in itself: it needs no network.</footer>
<script type="application/json" id="data">{_island(_data(run))}</script>
{viewer}
{script_html("report.js")}</body>
</html>
"""


def _title(run: Run) -> str:
    return escape(f"{run.name} · sfumato report")


def _version(run: Run) -> str:
    versions = run.protocol.get("versions")
    return escape(str(versions.get("sfumato", ""))) if isinstance(versions, dict) else ""


def _data(run: Run) -> dict[str, object]:
    return {
        "steps": [entry["step"] for entry in run.log],
        "log": {key: curve_of(run, key) for key in ("psnr", "loss", "gaussians")},
        "psnr": number_of(run.report["test"].get("psnr")),
        "colors": colorize(torch.linspace(0, 1, COLORS)).tolist(),
        "fullError": FULL_ERROR,
    }


def _island(value: object) -> str:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
