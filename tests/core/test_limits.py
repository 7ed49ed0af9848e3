"""What is left for this process: memory by pretended control groups, a real limit in a subprocess, disk."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sfumato.core.limits import available_memory, free_disk, release_memory, taken_memory


def pretend(folder: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    """A tree of control groups and the file that says where this process is in it."""
    for name, text in files.items():
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / name).write_text(text, encoding="utf-8")
    (folder / "membership").write_text(membership, encoding="utf-8")
    return folder / "tree", folder / "membership"


def test_memory_left_in_groups_of_version_2(tmp_path: Path) -> None:
    """The least of every group around the process; file copies count as free."""
    files = {
        "a/b/memory.max": "max\n",
        "a/b/memory.current": "100\n",
        "a/memory.max": "90000\n",
        "a/memory.current": "70000\n",
        "a/memory.stat": "anon 50000\nfile 15000\ninactive_file 12000\nactive_file 3000\n",
        "memory.max": "99000\n",
        "memory.current": "80000\n",
    }
    assert available_memory(*pretend(tmp_path, "0::/a/b\n", files)) == 19_000  # a: 90 000 - 58 000 leaves 32 000
    (tmp_path / "tree" / "memory.max").unlink()
    assert available_memory(tmp_path / "tree", tmp_path / "membership") == 32_000


def test_memory_left_in_groups_of_version_1(tmp_path: Path) -> None:
    files = {
        "memory/x/memory.limit_in_bytes": "5000\n",
        "memory/x/memory.usage_in_bytes": "4000\n",
        "memory/x/memory.stat": "inactive_file 0\ntotal_inactive_file 500\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
        "memory/memory.usage_in_bytes": "4000000\n",
    }
    assert available_memory(*pretend(tmp_path, "4:memory:/x\n", files)) == 1500


def test_nothing_is_left(tmp_path: Path) -> None:
    files = {"memory.max": "5000\n", "memory.current": "6000\n", "memory.stat": "broken"}
    assert available_memory(*pretend(tmp_path, "0::/\n", files)) == 0


def test_without_groups_the_machine_decides(tmp_path: Path) -> None:
    left = available_memory(tmp_path / "gone", tmp_path / "gone")
    assert 0 < left <= psutil.virtual_memory().total
    assert 10e6 < taken_memory() < psutil.virtual_memory().total


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS IS NOT KEPT by other systems, so it was not tried")
def test_a_limit_on_address_space_counts() -> None:
    """What is said to be left can be taken; what threads will map is not left."""
    script = """
import resource
from sfumato.core.limits import available_memory, usable_cores
import psutil
threads = (2 * usable_cores() + 2) * 72 * 2**20
used = psutil.Process().memory_info().vms
resource.setrlimit(resource.RLIMIT_AS, (used + threads + 200_000_000,) * 2)
left = available_memory()
kept = bytearray(left)
print(left, available_memory())
"""
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    left, then = map(int, said.split())
    assert 150e6 < left <= 200e6
    assert then < 20e6


def test_free_disk_of_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert free_disk(tmp_path / "a" / "b") == pytest.approx(psutil.disk_usage(str(tmp_path)).free, rel=0.2)
    assert free_disk(tmp_path / "a" / "b") > 0


def test_freed_memory_is_handed_back() -> None:
    """Small pieces with one that stays above them: the C library keeps what lies below until it is asked."""
    pieces = [bytearray(60_000) for _ in range(3000)]
    stays = bytearray(60_000)
    full = taken_memory()
    del pieces
    release_memory()
    assert len(stays) == 60_000
    if sys.platform == "linux":
        assert full - taken_memory() > 100e6
