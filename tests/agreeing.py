"""What the viewer's own code makes of a file, run by node, to compare it with Python's numbers."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest


def browser_reads(data: bytes, repository: Path, folder: Path, kind: str = "rows") -> tuple[dict[str, Any], bytes]:
    """What the viewer says of a file's bytes, and the arrays it makes of them, one after the other.

    kind: "rows", packed, or "columns", of the scene of an exported page. folder: for two files. Skips without node.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("NO NODE: the browser's numbers were not compared with Python's")
    (folder / "in").write_bytes(data)
    script = repository / "tests" / "web" / "agree.mjs"
    subprocess.run([node, script, folder / "in", folder / "out", kind], check=True)
    head, arrays = (folder / "out").read_bytes().split(b"\n", 1)
    return json.loads(head), arrays
