"""A file of OpenUSD to what `usd/child.py` finds in it: run apart, so that its crashes, prints and hangs end there."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

from sfumato.core.errors import InputError
from sfumato.formats.limits import opened
from sfumato.formats.usd import child

__all__ = ["check_installed", "looked_into"]

SUFFIXES = (".usdc", ".usda", ".usd", ".usdz")  # that pxr goes by
START = "import runpy, sys; runpy.run_path(sys.argv.pop(1), run_name='__main__')"
LEAST_TIME = 30.0  # seconds: pxr alone takes several to be imported from a slow disk
SPEED = 2e6  # bytes a second, a tenth of what text is read with
LEAST_MEMORY = 3 << 30  # bytes of addresses: what pxr's threads reserve, and 2 GiB
EXPANSION = 24  # bytes of memory for a byte of the file, whose text may be as short as `0,`


def check_installed(path: Path) -> None:
    """Raise InputError when usd-core is not there."""
    if find_spec("pxr") is None:
        how = "pip install 'sfumato[usd]', which needs Python 3.11 or newer"
        raise InputError(f"{path} is OpenUSD, for which usd-core is missing; {how}")


@contextmanager
def looked_into(path: Path, counting: bool = False) -> Iterator[tuple[dict[str, Any], Path]]:
    """What is in the file, and the folder where its arrays lie until the block ends.

    Raises InputError when it is missing or damaged, or usd-core is not installed.
    """
    check_installed(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path} is OpenUSD, which is known by its name; rename it to end in {' or '.join(SUFFIXES)}")
    with opened(path), path.open("rb") as file:
        _check_end(path, file)
        size = path.stat().st_size
    # arrays that are still mapped cannot be removed on Windows
    with tempfile.TemporaryDirectory(prefix="sfumato-usd-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        arguments = [str(path.absolute()), name, str(LEAST_MEMORY + EXPANSION * size), "count" if counting else "all"]
        _run(path, [sys.executable, "-c", START, child.__file__, *arguments], name, LEAST_TIME + size / SPEED)
        try:
            found = json.loads((folder / "stage.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(f"{path} is damaged: OpenUSD breaks off on it; export it again") from None
        if "refused" in found:
            raise InputError(f"{path} {found['refused']}")
        yield found, folder


def _run(path: Path, command: list[str], folder: str, seconds: float) -> None:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # each of its threads takes time and addresses
    try:
        subprocess.run(
            command,
            cwd=folder,
            env=environment,
            timeout=seconds,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired:
        told = f"OpenUSD has not read it after {seconds:.0f} seconds"
        raise InputError(f"{path} is damaged or far too large: {told}; export it again, as .usdc") from None


def _check_end(path: Path, file: BinaryIO) -> None:
    """Refuse files that were cut: text ends with a bracket or a comment, crate with its table of contents."""
    head, size = file.read(24), path.stat().st_size
    if head[:5] == b"#usda":
        file.seek(max(0, size - 4096))
        last = file.read().rstrip().rpartition(b"\n")[2].strip()
        if last[-1:] not in (b"}", b")") and last[:1] != b"#":
            raise InputError(
                f"{path} is truncated: its last line is not the end of anything; copy or download it again"
            )
    if head[:8] != b"PXR-USDC":
        return
    start = int.from_bytes(head[16:24], "little")
    file.seek(min(start, size))
    sections = file.read(8)
    end = start + 8 + 32 * int.from_bytes(sections, "little")  # of a name of 16 letters, an offset and a length
    if len(head) < 24 or len(sections) < 8 or end > size:
        told = f"its table of contents ends at byte {end}, and it has {size} bytes"
        raise InputError(f"{path} is truncated: {told}; copy or download it again")
