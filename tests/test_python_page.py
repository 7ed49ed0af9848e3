"""docs/python.md: its example runs as it stands there, on real photos, and does what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest

BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
FIRST_TRY = re.compile(r"^(\w+) = .*for a first try: (\d+)$", re.MULTILINE)


def blocks(repository: Path) -> list[str]:
    return BLOCK.findall((repository / "docs/python.md").read_text(encoding="utf-8"))


def test_every_name_of_the_page_exists(repository: Path) -> None:
    import sfumato
    from sfumato import edit, formats

    page = (repository / "docs/python.md").read_text(encoding="utf-8")
    places = {"sfumato": sfumato, "edit": edit, "sfumato.formats": formats}
    for place, name in re.findall(r"`(sfumato\.formats|sfumato|edit)\.(\w+)`", page):
        assert hasattr(places[place], name), f"{place}.{name}"
    listed = set(re.findall(r"`(?:\w+\.)*(\w+)`", page[page.index("## What there is") :]))
    assert listed <= {*sfumato.__all__, *edit.__all__, *formats.__all__, "formats"} | {"help"}
    results = {"Alignment", "Condition", "Finding", "Findings", "Joined", "Seam", "UNLABELLED", "Visibility"}
    assert set(edit.__all__) - results <= listed, "the page leaves something out"


def test_the_example_runs(
    repository: Path, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    first, *rest = blocks(repository)
    assert dict(FIRST_TRY.findall(first)) == {"downscale": "8", "steps": "300"}
    first = FIRST_TRY.sub(r"\1 = \2", first).replace('"photos"', repr(str(shared_data / "fox")))
    names: dict[str, Any] = {}
    for code in [first, *rest]:
        exec(compile(code, "docs/python.md", "exec"), names)
    said = capsys.readouterr().out
    print(said)

    before, after = names["psnr"](names["gaussians"]), names["psnr"](names["cleaned"])
    assert before > 18
    assert after > before - 0.1
    assert len(names["floaters"]) + len(names["cleaned"]) == len(names["gaussians"])
    assert 0.2 * len(names["cleaned"]) < len(names["thing"]) < len(names["cleaned"])
    assert {path.name for path in tmp_path.glob("thing.*")} == {f"thing.{s}" for s in ("ply", "sog", "spz", "html")}
    assert f"SPZ {len(names['thing'])} 1" in said
    assert names["out"].image.shape[2] == 3
