"""`sfumato view`: a splat or a run to a page in the browser, served until Ctrl-C."""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from sfumato.cli.flags import parse
from sfumato.cli.splat import read_splat
from sfumato.core.errors import InputError

if TYPE_CHECKING:
    from sfumato.view.server import Background

__all__ = ["View", "announce", "main"]


@dataclass(frozen=True)
class View:
    """Fly through a splat, or a run with its photos, in the browser. Ctrl-C ends it."""

    input: Annotated[Positional[Path], arg(metavar="FILE|RUN")]
    """The splat's file, of any format, or the folder that a training wrote."""
    port: Annotated[int, arg(metavar="P")] = 7007
    """Port to listen at; when it is taken, the next free one (0: any)."""
    host: Annotated[str, arg(metavar="H")] = "127.0.0.1"
    """Address to listen at: 0.0.0.0 lets other machines look, with a token."""
    no_open: bool = False
    """Only print the address, and open no browser."""


def main(words: Sequence[str]) -> int:
    """Run the verb until Ctrl-C, which is its regular end; returns the exit code."""
    flags = parse(View, words)
    if not 0 <= flags.port < 65536:
        raise InputError(f"--port must be 0 to 65535; got {flags.port}")
    from sfumato.view.opened import open_splat
    from sfumato.view.server import Background, create_app

    try:
        with _page_can_read(flags.input) as (path, said):
            page, files = open_splat(path)
            with Background(create_app(replace(page, **said), files), flags.host, flags.port) as background:
                announce(background, flags.port, not flags.no_open)
                background.wait()
    except KeyboardInterrupt:
        print(file=sys.stderr)  # after the terminal's ^C
    return 0


@contextmanager
def _page_can_read(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A file that the page reads itself, a PLY or a run, and what else its page should say; others become a PLY.

    The page counts, streams and thins a PLY as it comes; the copy is gone when the block ends.
    """
    from sfumato import formats
    from sfumato.formats import ply
    from sfumato.view.opened import splat_of

    splat = splat_of(path)
    if path.is_dir() and splat != path:
        yield path, {}
        return
    if formats.format_of(splat) is ply and (said := _said_by(splat)) is not None:
        yield path, said
        return
    asset = read_splat(splat)
    with tempfile.TemporaryDirectory(prefix="sfumato-view-") as room:
        copy = Path(room) / "splat.ply"  # of the splat's own name "a.compressed" would come a compressed PLY
        formats.write(copy, asset)
        yield copy, {"title": splat.name, "antialiased": asset.antialiased is True, "up": asset.up}


def _said_by(splat: Path) -> dict[str, Any] | None:
    """What a PLY's header says and the page does not read; None when float32, which the page has, is too short for it.

    Raises InputError when the header is damaged.
    """
    from sfumato.core.ply_table import read_header
    from sfumato.formats.ply.comments import read_comments

    header = read_header(splat)
    if "vertex" in header and "f8" in (header["vertex"].types.get(name) for name in "xyz"):
        return None
    known = read_comments(splat, header.comments)
    return {"antialiased": known.get("antialiased") is True, "up": known.get("up")}


def announce(background: "Background", port: int, browse: bool) -> None:
    """Say where the page is and what that means, and open it where there is a display and somebody wants it.

    port: the one that was asked for.
    """
    from sfumato.cli.browse import open_browser

    if port not in (0, background.port):
        _say(f"port {port} is taken, so this is port {background.port}")
    print(background.url, flush=True)
    if background.outside:
        print(f"{background.outside}  from other machines", flush=True)
        _say("whoever has this address and reaches this machine sees the splat and its photos; it is not encrypted")
    opened = browse and open_browser(background.url)
    _say("opening the browser; Ctrl-C here ends the viewer" if opened else "open this address; Ctrl-C ends the viewer")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
