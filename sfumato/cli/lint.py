"""`sfumato lint`: what is wrong or odd with a splat's file, what to do about it, and what viewers will do with it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from sfumato.cli.flags import parse

if TYPE_CHECKING:
    from rich.console import Console

    from sfumato.edit.lint.finding import Finding
    from sfumato.edit.lint.viewers import Verdict

__all__ = ["FOUND", "Lint", "main"]

NARROW = 60  # columns; below, long names of programs are broken so that what they do has room
FOUND = 3  # exit code: 1 is a bug and 2 bad input, as for every verb
STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}
MARKS = {
    "reads": ("reads", "green"),
    "loses": ("partly", "yellow"),
    "misreads": ("wrong", "red"),
    "refuses": ("no", "red"),
    "unknown": ("?", "dim"),
}


@dataclass(frozen=True)
class Lint:
    """Say what is wrong or odd with a splat's file, and what viewers will do with it.

    Exit code: 0 without errors, 3 with some (--strict: or warnings), 2 unreadable.
    """

    splat: Annotated[Positional[Path], arg(metavar="SPLAT")]
    """The file to look at, of any format."""
    json: bool = False
    """As JSON, for programs."""
    strict: bool = False
    """Warnings count as errors."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    flags = parse(Lint, words)
    from sfumato import formats
    from sfumato.cli.facts import facts_of
    from sfumato.cli.writing import describe
    from sfumato.edit.lint import lint
    from sfumato.edit.lint.viewers import verdicts

    asset = formats.read_asset(flags.splat)
    facts = facts_of(flags.splat, asset.format)
    findings, programs = lint(asset, facts), verdicts(asset, facts)
    if flags.json:
        print(json.dumps(_as_json(flags.splat, asset.format, len(asset), findings, programs), indent=2))
    else:
        _show(f"{flags.splat}", describe(flags.splat, asset), len(asset), findings, programs)
    counted = ("error", "warning") if flags.strict else ("error",)
    return FOUND if any(finding.severity in counted for finding in findings) else 0


def _as_json(path: Path, name: str, count: int, findings: "list[Finding]", programs: "list[Verdict]") -> dict[str, Any]:
    tally = {f"{kind}s": sum(finding.severity == kind for finding in findings) for kind in STYLES}
    head = {"file": str(path), "format": name, "gaussians": count}
    return head | tally | {"findings": [asdict(f) for f in findings], "viewers": [asdict(v) for v in programs]}


def _show(path: str, what: str, count: int, findings: "list[Finding]", programs: "list[Verdict]") -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False)
    console.print(Text.assemble((path, "bold"), f"\n{what}"))
    console.print()
    _show_findings(console, count, findings)
    _show_programs(console, programs)


def _show_findings(console: "Console", count: int, findings: "list[Finding]") -> None:
    from rich.table import Table
    from rich.text import Text

    if not findings:
        console.print(Text("nothing is wrong with it", style="green"))
        return
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column()
    for finding in findings:
        text = Text(_counted(finding, count))
        if finding.rows:
            text.append(f"\n{'rows' if len(finding.rows) > 1 else 'row'} {_rows(finding)}", style="dim")
        if finding.advice:
            text.append(f"\n{finding.advice}", style="italic")
        table.add_row(Text(finding.severity, style=STYLES[finding.severity]), text)
        table.add_row()
    console.print(table)
    tally = [(sum(finding.severity == kind for finding in findings), kind) for kind in STYLES]
    console.print(", ".join(f"{number} {kind}{'s' if number > 1 else ''}" for number, kind in tally if number))


def _counted(finding: "Finding", count: int) -> str:
    """As 12 of 345 have holes, 1 of 345 has holes, all have holes, or nothing but the words when none are counted."""
    if not finding.count:
        return finding.told
    first, rest = finding.told.split(" ", 1)
    if finding.count == 1:
        first = {"have": "has", "are": "is"}.get(first, f"{first}s")
    return f"{f'{finding.count:,} of {count:,}' if finding.count < count or count == 1 else 'all'} {first} {rest}"


def _rows(finding: "Finding") -> str:
    more = ", ..." if finding.count > len(finding.rows) else ""
    return ", ".join(str(row) for row in finding.rows) + more


def _show_programs(console: "Console", programs: "list[Verdict]") -> None:
    from rich.table import Table
    from rich.text import Text

    console.print()
    console.print(Text("what programs do with it", style="bold underline"))
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=None if console.width >= NARROW else 16, overflow="fold")
    table.add_column(no_wrap=True)
    table.add_column(min_width=None if console.width >= NARROW else 12)
    ours, *others = programs
    if len({(program.outcome, program.told) for program in others}) == 1:
        others = [replace(others[0], viewer="all others")]
    for program in [ours, *others]:
        word, style = MARKS[program.outcome]
        table.add_row(program.viewer, Text(word, style=style), "" if program.outcome == "reads" else Text(program.told))
    console.print(table)
