"""Public functions of formats and edit are documented as numpydoc says: parameters, returns, examples that hold."""

import dataclasses
import doctest
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import sfumato
from sfumato import edit, formats

from scenes import askew

SECTIONS = ("Parameters", "Attributes", "Returns", "Yields", "Raises", "Warns", "Examples")
FORMATS = {
    f"sfumato.{name}": getattr(sfumato, name) for name in ("read", "read_asset", "write", "Asset", "WriteOptions")
}
OFFERED = {**FORMATS, "formats.count": formats.count} | {f"edit.{name}": getattr(edit, name) for name in edit.__all__}


def callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Every public function, and every public method of a public class, by name."""
    for name, thing in OFFERED.items():
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                function = value.__func__ if isinstance(value, classmethod) else value
                if inspect.isfunction(function) and (not member.startswith("_") or member == "__call__"):
                    yield f"{name}.{member}", function
        elif callable(thing):
            yield name, thing


def classes() -> list[str]:
    return [name for name, thing in OFFERED.items() if dataclasses.is_dataclass(thing)]


def sections(documented: Any) -> dict[str, str]:
    """Heading -> what stands under it; "" -> what stands before the first one."""
    parts = re.split(r"^(\w+)\n(-{3,})\n", inspect.getdoc(documented) or "", flags=re.MULTILINE)
    found = dict(zip(["", *parts[1::3]], parts[::3], strict=True))
    for heading, dashes in zip(parts[1::3], parts[2::3], strict=True):
        assert heading in SECTIONS, f"no section of numpydoc: {heading}"
        assert len(heading) == len(dashes), f"{heading} is underlined by {len(dashes)} dashes"
    order = [SECTIONS.index(heading) for heading in parts[1::3]]
    assert order == sorted(order), "sections out of order"
    return found


def described(section: str) -> list[str]:
    """The names under a heading, each with its type, and with a sentence below."""
    entries = re.findall(r"^(\S[^:\n]*?)(?: : (.+))?\n((?: {4}.*\n?|\n)*)", section, re.MULTILINE)
    assert all(text.strip() for _, _, text in entries), f"an entry says nothing: {section}"
    return [name for name, _, _ in entries]


def opens_well(text: str) -> bool:
    """One sentence, of one line."""
    return bool(re.match(r"[^\n]+\.(\n\n|\n?$)", text))


@pytest.mark.parametrize(("name", "function"), list(callables()), ids=[name for name, _ in callables()])
def test_functions_say_what_they_take_and_give(name: str, function: Callable[..., Any]) -> None:
    found = sections(function)
    assert opens_well(found[""])
    parameters = [parameter for parameter in inspect.signature(function).parameters if parameter not in ("self", "cls")]
    assert described(found.get("Parameters", "")) == parameters
    returned = inspect.signature(function).return_annotation
    gives = "Yields" in found if "Iterator" in str(returned) else "Returns" in found
    assert gives == (returned not in (None, "None"))


@pytest.mark.parametrize("name", classes())
def test_classes_say_what_they_hold(name: str) -> None:
    found = sections(OFFERED[name])
    assert opens_well(found[""])
    told = described(found.get("Parameters", "")) + described(found.get("Attributes", ""))
    assert told == [field.name for field in dataclasses.fields(OFFERED[name])]


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What examples may use: a splat of 20 Gaussians, here and in splat.ply, and a camera."""
    generator = torch.Generator().manual_seed(0)
    numbers = [torch.randn(20, *shape, generator=generator) for shape in ((3,), (4,), (3,), (), (1, 3), (3, 3))]
    means, quats, log_scales, logits, sh0, shN = numbers
    gaussians = sfumato.Gaussians(means, quats, log_scales * 0.3 - 3, logits.abs(), sh0, 0.1 * shN)
    monkeypatch.chdir(tmp_path)
    sfumato.write("splat.ply", gaussians)
    given = {"gaussians": gaussians, "cameras": [askew(64, 48)], "torch": torch, "sfumato": sfumato, "edit": edit}
    return given | {"Asset": sfumato.Asset, "Gaussians": sfumato.Gaussians}


def examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(recurse=False)
    found = [finder.find(thing, name, globs={})[0] for name, thing in [*callables(), *OFFERED.items()] if thing.__doc__]
    return [test for test in {test.name: test for test in found}.values() if test.examples]


@pytest.mark.parametrize("example", examples(), ids=[test.name for test in examples()])
def test_examples_hold(example: doctest.DocTest, names: dict[str, Any]) -> None:
    example.globs = names
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=said.append)
    assert not said, "".join(said)


def test_checks_can_fail() -> None:
    def undocumented(x: int) -> int:
        """Do it.

        Parameters
        ----------
        y : int
            Another.
        """
        return x

    with pytest.raises(AssertionError):
        test_functions_say_what_they_take_and_give("undocumented", undocumented)
