"""benchmarks/formats.py runs to its end on a tiny splat: what it says is there, and nothing is left behind."""

import os
import subprocess
import sys
from pathlib import Path


def test_formats_are_measured(repository: Path, tmp_path: Path) -> None:
    sizes = ["--count", "50", "--degree", "1", "--repeats", "1", "--large", "70", "--formats", ".splat"]
    command = [sys.executable, repository / "benchmarks" / "formats.py", *sizes, "--folder", tmp_path]
    command += ["--splat-transform", tmp_path / "nowhere"]
    found = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(repository), os.environ.get("PYTHONPATH")]))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, encoding="utf-8", env=found)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| .")]
    assert [row[0] for row in rows] == [".splat"]
    assert rows[0][3] == "32.0"
    for row in rows:
        assert all(float(row[column]) >= 0 for column in (1, 2, 3, 4, 5, 6, 8))
        assert row[7] == row[9] == "-"  # nobody to compare with
    assert "70 Gaussians, PLY of " in done.stdout.splitlines()[-1]
    assert not list(tmp_path.iterdir())
