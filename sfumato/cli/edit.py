"""`sfumato edit`: a splat through a chain of operations, in the order they are typed, to a splat."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from sfumato.cli.flags import Backend, Output, parse
from sfumato.cli.operations import Operation, operations_help, parse_operations
from sfumato.cli.reading import Reading, ReadingFlags
from sfumato.cli.writing import Writing, WritingFlags, write_splat
from sfumato.core.errors import InputError

if TYPE_CHECKING:
    from sfumato.core.asset import Asset
    from sfumato.core.scene import Scene

__all__ = ["Edit", "main"]


@dataclass(frozen=True)
class Edit:
    """Move, cut, recolor and reduce a splat by the operations listed below, in order."""

    splat: Annotated[Positional[Path], arg(metavar="SPLAT")]
    """The file, or folder, to read."""
    output: Output
    """The file to write, in the format of its suffix."""
    scene: Annotated[Path | None, arg(metavar="INPUT")] = None
    """What the splat was trained on, for operations that ask cameras or photos."""
    reading: ReadingFlags = field(default_factory=Reading)
    backend: Backend = "auto"
    """What draws for the held-out photos' PSNR."""
    writing: WritingFlags = field(default_factory=Writing)
    force: bool = False
    """Replace OUT."""


def main(words: Sequence[str]) -> int:
    """Run the verb; returns the exit code."""
    if not words or {"-h", "--help"} & set(words):
        return _help()
    operations, left = parse_operations(words, _flags())
    flags = parse(Edit, left)
    if not operations:
        raise InputError(
            "edit was given no operation, such as --translate 1 0 0; see sfumato edit --help, and for another format"
            " sfumato convert"
        )
    if flags.scene and flags.writing.raw:
        raise InputError("--raw and --scene: the cameras are in the usual frame, and raw numbers may not be; leave one")
    from sfumato.cli.splat import check_target, read_splat

    _rehearse(operations, flags.scene is not None)
    check_target(flags.output, flags.force, [flags.splat])
    asset = _edited(flags, operations, read_splat(flags.splat, flags.writing.raw))
    written = write_splat(flags.output, asset, flags.writing)
    print(f"{flags.output}: {len(asset):,} Gaussian{'s' if len(asset) != 1 else ''}, {written}")
    return 0


def _edited(flags: Edit, operations: Sequence[Operation], asset: "Asset") -> "Asset":
    """The splat after all operations, each of which says what it did."""
    from dataclasses import replace

    import torch

    from sfumato.cli.chain import Chain
    from sfumato.cli.run import load
    from sfumato.edit import move_camera

    def scene() -> "Scene":
        found = load(flags.scene or Path(), flags.reading)
        zero, origin = (torch.tensor(place, dtype=torch.float64) for place in (asset.origin, found.origin))
        views = [replace(v, camera=move_camera(v.camera, torch.eye(3), origin - zero)) for v in found.views]
        return replace(found, views=views)

    chain = Chain(asset, scene if flags.scene else None, flags.backend)
    for operation in operations:
        done = operation.apply(chain)
        if not len(chain):
            raise InputError(f"{operation.said} leaves nothing of the splat; {flags.output} was not written")
        if not bool(chain.asset.gaussians.finite.all()):
            raise InputError(f"{operation.said} makes numbers too large to be stored; {flags.output} was not written")
        print(f"{operation.said}: {done}; {len(chain):,} Gaussian{'s' if len(chain) != 1 else ''}", flush=True)
    return chain.asset


class _Enough(Exception):  # noqa: N818  # it is no error
    """A rehearsal has come to where it would need the scene."""


def _rehearse(operations: Sequence[Operation], with_scene: bool) -> None:
    """Refuse what no splat can be asked for, before a large file is read: the operations are done to nothing."""
    from sfumato.cli.chain import Chain
    from sfumato.core.asset import Asset
    from sfumato.core.gaussians import Gaussians

    def scene() -> "Scene":
        raise _Enough

    chain = Chain(Asset(Gaussians.empty()), scene if with_scene else None)
    for operation in operations:
        if "auto" in operation.values:  # the file may tell
            continue
        try:
            operation.apply(chain)
        except _Enough:
            continue
        except InputError as error:
            told = str(error)
            raise InputError(told if operation.verb.flag in told else f"{operation.said}: {told}") from None


def _flags() -> list[str]:
    names = [field.name for group in (Edit, Reading, Writing) for field in fields(group)]
    others = [name for name in names if name not in ("splat", "reading", "writing")]
    return [f"--{name.replace('_', '-')}" for name in (*others, "help")]


def _help() -> int:
    try:
        parse(Edit, ["--help"])
    except SystemExit:
        sys.stdout.write(f"\n{operations_help()}\n")
    return 0
