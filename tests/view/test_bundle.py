"""The viewer in one file: modules joined in order, workers and styles inside, nothing that text could break out of."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sfumato.core.errors import InputError
from sfumato.view import bundle
from sfumato.view.page import Page


class Elements(HTMLParser):
    """Every element's name and attributes, and the text inside it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs), []))
        self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = False

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found[-1][2].append(data)

    def all(self, tag: str, **wanted: str) -> list[str]:
        """Texts of the elements with these attributes."""
        return ["".join(text) for name, has, text in self.found if name == tag and wanted.items() <= has.items()]


def entries(web: Path) -> list[str]:
    return ["app.js", "report.js", *sorted(path.name for path in web.glob("*_worker.js"))]


def test_joined_scripts_are_scripts(web: Path, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("NO NODE: the joined scripts were not checked")
    for entry in entries(web):
        text = bundle.joined(entry)
        assert not re.search(r"^(?:import|export)\b", text, re.MULTILINE), entry
        (tmp_path / "joined.mjs").write_text(text, encoding="utf-8")
        done = subprocess.run([node, "--check", tmp_path / "joined.mjs"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_workers_do_without_modules(web: Path) -> None:
    """They run as classic scripts, in which `import.meta` is an error."""
    for path in web.glob("*_worker.js"):
        assert "import.meta" not in bundle.joined(path.name)


def test_what_is_used_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "WEB", tmp_path)
    (tmp_path / "b-entry.js").write_text('import { a } from "./a.js";\nimport { c, d } from "./c.js";\na(c);\n')
    (tmp_path / "a.js").write_text('import {\n  c,\n} from "./c.js";\nexport async function a() {\n  return c;\n}\n')
    (tmp_path / "c.js").write_text('export const c = "export const";\nexport class d {}\n')
    a, c = "async function a() {\n  return c;\n}\n", 'const c = "export const";\nclass d {}\n'
    wanted = f"// c.js\n{c}// a.js\n{a}// b-entry.js\na(c);\n"
    assert bundle.joined("b-entry.js") == wanted
    (tmp_path / "a.js").unlink()
    bundle.joined.cache_clear()
    with pytest.raises(InputError, match=r"a\.js is missing: this installation of sfumato is not whole"):
        bundle.joined("b-entry.js")


def test_page_in_one_file() -> None:
    title = '</script><b>&amp; "quoted" <!-- ä \u2028'
    text = "".join(bundle.page_html(Page(title), ["<i>data</i>"]))
    elements = Elements(text)
    assert elements.all("title") == [title]
    assert "b" not in [tag for tag, _, _ in elements.found]
    (page,) = elements.all("script", id="page")
    assert json.loads(page) == Page(title).to_json()
    (script,) = elements.all("script", type="module")
    workers = {has["data-worker"]: "".join(inner) for tag, has, inner in elements.found if "data-worker" in has}
    assert {"sort_worker.js", "load_worker.js"} <= workers.keys()
    assert "startPage();" in script
    for inner in (script, *workers.values()):
        assert "</script" not in inner.lower()
        assert "<!--" not in inner
    (policy,) = [has["content"] for _, has, _ in elements.found if has.get("http-equiv") == "Content-Security-Policy"]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy is not None
    assert f"script-src 'sha256-{digest}' blob:;" in policy
    assert policy.startswith("default-src 'none';")
    assert text.index("Content-Security-Policy") < text.index("<style")
    assert text.index("<i>data</i>") < text.index('data-worker="')


def test_page_asks_for_no_other_file() -> None:
    elements = Elements("".join(bundle.page_html(Page("a"))))
    for tag, has, _ in elements.found:
        for key in ("src", "href", "srcset", "data", "poster"):
            assert (has.get(key) or "data:").startswith("data:"), tag
        assert not [key for key in has if key.startswith("on") or key == "style"]
    assert elements.all("style")
    assert not re.search(r"@import|url\((?!['\"]?data:)", "".join(elements.all("style")))


def test_text_that_would_end_its_element(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "WEB", tmp_path)
    for cached in (bundle.joined, bundle._inline):
        cached.cache_clear()
    script = 'const text = "</script><!-- </SCRIPT>";\nstartWorker("w_worker.js");\n'
    (tmp_path / "app.js").write_text(script)
    (tmp_path / "w_worker.js").write_text("const inner = `</script>`;\n")
    (tmp_path / "a.css").write_text('p::after { content: "</style>"; }\n')
    html = Elements(bundle.script_html("app.js") + bundle.style_html("a.css"))
    assert [tag for tag, _, _ in html.found] == ["script", "script", "style"]
    assert html.all("script", type="module") == [
        f"\n// app.js\n{script}".replace("</", "<\\/").replace("<!--", "<\\!--")
    ]
    for cached in (bundle.joined, bundle._inline):
        cached.cache_clear()
