"""A run to the text of its report: one HTML file with its looks, its scripts and the scene."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable
from html import escape
from pathlib import Path

import torch

from sfumato.render.colormap import colorize
from sfumato.view.report_sections import Run, sections_of, smoothed

__all__ = ["page_of"]

WEB = Path(__file__).parent / "web"
FULL_ERROR = 0.2  # root mean square over colors, of [0, 1], that is shown as the most; as in compare/
COLORS = 64  # of the error map


def page_of(run: Run) -> str:
    """The whole page."""
    viewer = ""
    style = "\n".join((WEB / name).read_text(encoding="utf-8") for name in ("report.css", "wipe.css"))
    script = _joined("report.js")
    body = sections_of(run, "")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy([script], [style], viewer)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_title(run)}</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
<footer>Made by sfumato {_version(run)}. This page is complete in itself: it needs no network.</footer>
<script type="application/json" id="data">{_island(_data(run))}</script>
<script>{script}</script>
</body>
</html>
"""


def _title(run: Run) -> str:
    return escape(f"{run.name} · sfumato report")


def _version(run: Run) -> str:
    versions = run.protocol.get("versions")
    return escape(str(versions.get("sfumato", ""))) if isinstance(versions, dict) else ""


def _data(run: Run) -> dict[str, object]:
    keys = ("psnr", "loss", "gaussians")
    log = {key: [_number(entry.get(key)) for entry in run.log] for key in keys}
    return {
        "steps": [entry["step"] for entry in run.log],
        "log": {"psnr": smoothed(log["psnr"]), "loss": smoothed(log["loss"]), "gaussians": log["gaussians"]},
        "psnr": run.report["test"].get("psnr"),
        "colors": colorize(torch.linspace(0, 1, COLORS)).tolist(),
        "fullError": FULL_ERROR,
    }


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) else None


def _island(value: object) -> str:
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _policy(scripts: Iterable[str], styles: Iterable[str], viewer: str) -> str:
    return (
        f"default-src 'none'; script-src {_hashes(scripts)}; style-src {_hashes(styles)}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hashes(texts: Iterable[str]) -> str:
    digests = (hashlib.sha256(text.encode("utf-8")).digest() for text in texts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode('ascii')}'" for digest in digests)


def _joined(entry: str, seen: set[str] | None = None) -> str:
    seen = set() if seen is None else seen
    seen.add(entry)
    text = (WEB / entry).read_text(encoding="utf-8")
    before = ""
    for name in re.findall(r'^import \{[^}]*\} from "\./([\w.]+)";$', text, re.MULTILINE):
        if name not in seen:
            before += _joined(name, seen)
    text = re.sub(r'^import \{[^}]*\} from "\./([\w.]+)";\n', "", text, flags=re.MULTILINE)
    return before + re.sub(r"^export ", "", text, flags=re.MULTILINE)
