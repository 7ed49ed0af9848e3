"""The viewer's modules, styles and page to one HTML text that needs no other file, no server and no network."""

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from sfumato.core.errors import InputError
from sfumato.view.page import Page, embeddable

__all__ = ["CSP", "WEB", "joined", "page_html", "policy", "script_html", "style_html", "worker_blocks"]

WEB = Path(__file__).parent / "web"
# this page's one script, the workers it starts and the pictures it makes; nothing is fetched from anywhere
CSP = (
    "default-src 'none'; script-src '{script}' blob:; worker-src blob:; style-src 'unsafe-inline'; "
    "img-src data: blob:; media-src data: blob:; connect-src data: blob:; base-uri 'none'; form-action 'none'"
)
IMPORT = re.compile(r"^import \{[^}]*\} from \"\./([\w.]+)\";\n", re.MULTILINE)
EXPORT = re.compile(r"^export (?=async |function|class |const |let )", re.MULTILINE)
WORKER = re.compile(r"startWorker\(\"([\w.]+)\"\)")
STYLE = re.compile(r"<link rel=\"stylesheet\" href=\"([\w.]+)\">")
SCRIPT = re.compile(r"<script type=\"module\" src=\"([\w.]+)\"></script>")
PAGE = re.compile(r"<script type=\"application/json\" id=\"page\">.*?</script>", re.DOTALL)
PRELOAD = re.compile(r"^ *<link rel=\"modulepreload\" href=\"[\w.]+\">\n", re.MULTILINE)
TITLE = re.compile(r"<title>.*?</title>", re.DOTALL)


@cache
def joined(entry: str) -> str:
    """A module of the viewer and all that it imports as one script without imports or exports, what is used first.

    Raises InputError when a module is not there.
    """
    return "".join(f"// {name}\n{EXPORT.sub('', IMPORT.sub('', _read(name)))}" for name in _order(entry))


def script_html(entry: str) -> str:
    """A module, all that it imports, and the workers they start, as elements of a page."""
    script = joined(entry)
    return f'{worker_blocks(script)}<script type="module">{_inline(entry)}</script>\n'


def policy(*entries: str) -> str:
    """The Content-Security-Policy of a page whose only scripts are `script_html` of those entries, by their hashes."""
    digests = (hashlib.sha256(_inline(entry).encode("utf-8")).digest() for entry in entries)
    return CSP.format(script="' '".join(f"sha256-{base64.b64encode(digest).decode('ascii')}" for digest in digests))


def worker_blocks(script: str) -> str:
    """The workers that a script starts, each a text block in which workers.js finds it."""
    names = sorted(set(WORKER.findall(script)))
    return "".join(f'<script type="text/plain" data-worker="{n}">\n{_shielded(joined(n))}</script>\n' for n in names)


def style_html(*names: str) -> str:
    """Style sheets of the viewer as elements of a page."""
    return "".join(f"<style>\n{_shielded(_read(name))}</style>\n" for name in names)


def page_html(page: Page, blocks: Iterable[str] = (), template: str = "index.html") -> Iterator[str]:
    """The parts of a page in one file: the viewer's `template`, its styles and scripts within, and the page's JSON.

    The page's title becomes the document's, too. blocks: text that stands before the scripts, such as the scene's data.
    """
    text = _read(template)
    entries = SCRIPT.findall(text)
    if not entries or not PAGE.search(text):
        raise InputError(f"{WEB / template} must have <script type=module> and one <script id=page>")
    entry = entries[-1]  # it imports those that a server's page starts before it
    head = f'<meta charset="utf-8">\n    <meta http-equiv="Content-Security-Policy" content="{policy(entry)}">'
    title = f"<title>{html.escape(page.title or 'sfumato')}</title>"
    text = PRELOAD.sub("", SCRIPT.sub("", text)).replace('<meta charset="utf-8">', head, 1)
    text = TITLE.sub(lambda _: title, text, count=1)
    text = STYLE.sub(lambda link: style_html(link.group(1)), text)
    text = PAGE.sub(lambda _: f'<script type="application/json" id="page">{embeddable(page)}</script>', text, count=1)
    # the scripts come last: a browser then draws the page before it has read the data
    body, end = text.rsplit("</body>", 1)
    yield body
    yield from blocks
    yield script_html(entry) + "</body>" + end


def _read(name: str) -> str:
    path = WEB / name
    if not path.is_file():
        raise InputError(f"{path} is missing: this installation of sfumato is not whole; install it again")
    return path.read_text(encoding="utf-8")


def _order(entry: str) -> list[str]:
    """The module and what it imports, each after all that it imports itself."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        for wanted in IMPORT.findall(_read(name)):
            visit(wanted)
        order.append(name)

    visit(entry)
    return order


@cache
def _inline(entry: str) -> str:
    return "\n" + _shielded(joined(entry))


def _shielded(text: str) -> str:
    """JavaScript or CSS that ends no element it stands in: a backslash before / or ! changes no string of either."""
    text = re.sub(r"</(?=script|style)", r"<\\/", text, flags=re.IGNORECASE)
    return text.replace("<!--", "<\\!--")
