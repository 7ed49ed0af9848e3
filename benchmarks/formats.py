"""Seconds, bytes and memory of every format that can be written: python benchmarks/formats.py [--count 1000000].

Each conversion, PLY to the format and back, is a process of its own, in turns with the same by splat-transform (npm,
found on PATH or given) where that can do it; medians of --repeats. `read` and `write` are the two halves of sfumato's
conversion; `whole` is what a stopwatch shows, from start to end of the process, for sfumato and for splat-transform
alike. `peak` is the most memory that sfumato's process held, Python and torch included. With --large 10000000 also
converts that many from PLY to SPZ, and prints the peak beside the file's size.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from cloud import cloud

from sfumato import formats
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.limits import usable_cores
from sfumato.core.units import say_bytes
from sfumato.evaluate.machine import peak_memory, processor

PART = 1_000_000  # Gaussians of the large file that are made at a time
LONGEST = 900.0  # seconds for a conversion, after which it counts as one that cannot be done
POINTS = ".points.ply"  # splat-transform knows no such thing, and would write a PLY of that name
LOADED = "import torch, sfumato.formats; from sfumato.evaluate.machine import peak_memory; print(peak_memory())"


def one(source: Path, target: Path) -> dict[str, float]:
    """Convert in this process: seconds of reading and of writing, and the most bytes of memory."""
    warnings.simplefilter("ignore", SfumatoWarning)  # what a format cannot hold is not the question here
    start = time.perf_counter()
    asset = formats.read_asset(source)
    read = time.perf_counter()
    formats.write(target, asset)
    return {"read": read - start, "write": time.perf_counter() - read, "peak": float(peak_memory())}


def make(path: Path, count: int, degree: int) -> None:
    """A PLY of any size, a part in memory at a time; in a process of its own.

    On Linux a process begins with the peak of the one that started it, which hence must stay small.
    """
    size = ["--count", str(count), "--degree", str(degree)]
    subprocess.run([sys.executable, __file__, "--make", str(path), *size], check=True)


def make_here(path: Path, count: int, degree: int) -> None:
    """The same in this process."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, path.open("wb") as file:
        for seed, start in enumerate(range(0, count, PART)):
            rows = min(PART, count - start)
            part = Path(folder) / "part.ply"
            formats.write(part, cloud(rows, 1280, 720, seed)[0].with_degree(degree))
            with part.open("rb") as source:
                header = b""
                while not header.endswith(b"end_header\n"):
                    header += source.readline()
                if seed == 0:
                    file.write(
                        header.replace(f"element vertex {rows}\n".encode(), f"element vertex {count}\n".encode())
                    )
                shutil.copyfileobj(source, file, 1 << 20)


def convert(source: Path, target: Path) -> dict[str, float] | None:
    """What `one` finds in a fresh process, and the seconds of all of it; None when it cannot be done here."""
    command = [sys.executable, __file__, "--one", str(source), str(target)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    whole = time.perf_counter() - start
    found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"refused": done.stderr[-2000:]}
    if "refused" in found:
        print(f"{source.name} to {target.name}: {found['refused']}", file=sys.stderr)
        return None
    return {**found, "whole": whole}


def transform(program: str | None, source: Path, target: Path) -> dict[str, float] | None:
    """Seconds that splat-transform takes; None when it is not there or cannot do it."""
    if program is None:
        return None
    command = [program, "-w", *(["-g", "cpu"] if target.suffix == ".sog" else []), str(source), str(target)]
    start = time.perf_counter()
    try:
        done = subprocess.run(command, capture_output=True, timeout=LONGEST)
    except (subprocess.TimeoutExpired, OSError):
        return None
    good = done.returncode == 0 and target.exists() and target.stat().st_size > 0
    return {"whole": time.perf_counter() - start} if good else None


def measure(
    folder: Path, suffixes: Sequence[str], source: Path, repeats: int, program: str | None
) -> tuple[dict[str, dict[str, list[float]]], dict[str, int]]:
    """Per suffix: what was measured, by column, each as often as repeated; and the bytes of each file."""
    found: dict[str, dict[str, list[float]]] = {suffix: {} for suffix in suffixes}
    sizes: dict[str, int] = {}
    cannot = {(POINTS, "their to"), (POINTS, "their from")}
    for _ in range(repeats):
        for suffix, columns in found.items():
            target, theirs, back = folder / f"ours{suffix}", folder / f"theirs{suffix}", folder / "back.ply"
            turns = {"to": (source, target), "their to": (source, theirs), "from": (target, back)}
            turns["their from"] = (target, back)
            for turn, (before, after) in turns.items():
                if (suffix, turn) in cannot or (suffix, "to") in cannot:
                    continue
                back.unlink(missing_ok=True)
                times = transform(program, before, after) if "their" in turn else convert(before, after)
                if times is None:  # once is enough
                    cannot.add((suffix, turn))
                    continue
                for name, value in times.items():
                    columns.setdefault(f"{turn} {name}", []).append(value)
            if target.exists():
                sizes[suffix] = target.stat().st_size
            for path in folder.iterdir():  # a million Gaussians in all formats fill a small disk
                if path != source:
                    path.unlink()
    return found, sizes


def table(found: dict[str, dict[str, list[float]]], sizes: dict[str, int], count: int) -> Iterator[str]:
    """Lines of markdown, a format each."""
    yield (
        "| format | write s | read s | bytes per Gaussian | peak MB, to it | peak MB, from it | whole s, PLY to it "
        "| splat-transform | whole s, it to PLY | splat-transform |"
    )
    yield "|---" * 10 + "|"
    for suffix, columns in found.items():

        def say(name: str, scale: float = 1.0, digits: int = 2, columns: dict[str, list[float]] = columns) -> str:
            values = columns.get(name)
            return f"{statistics.median(values) * scale:.{digits}f}" if values else "-"

        cells = [say("to write"), say("from read"), f"{sizes[suffix] / count:.1f}" if suffix in sizes else "-"]
        cells += [say("to peak", 1e-6, 0), say("from peak", 1e-6, 0)]
        cells += [say("to whole"), say("their to whole"), say("from whole"), say("their from whole")]
        yield f"| {suffix} | {' | '.join(cells)} |"


def large(folder: Path, count: int, degree: int) -> str:
    """A sentence about the memory of converting a large PLY to SPZ."""
    source, target = folder / "large.ply", folder / "large.spz"
    make(source, count, degree)
    found = convert(source, target)
    if found is None:
        return "the large file could not be converted"
    size = source.stat().st_size
    return (
        f"{count:,} Gaussians, PLY of {say_bytes(size)} to SPZ of {say_bytes(target.stat().st_size)}: "
        f"peak {say_bytes(found['peak'])}, {found['peak'] / size:.2f} times the PLY, in {found['whole']:.1f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--degree", type=int, default=3, choices=range(4))
    every = [known.SUFFIXES[0] for known in formats.FORMATS]
    parser.add_argument("--formats", nargs="+", default=every, metavar="SUFFIX", help=" ".join(every))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--splat-transform", default=shutil.which("splat-transform"), help="where npm put it")
    parser.add_argument("--large", type=int, default=0, help="Gaussians; 10000000 is a PLY of 2.5 GB")
    parser.add_argument("--folder", type=Path, help="for the files, which are removed; the system's otherwise")
    parser.add_argument("--one", type=Path, nargs=2, help=argparse.SUPPRESS)  # this process measures itself
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)  # this process makes a splat
    options = parser.parse_args()
    if options.make:
        make_here(options.make, options.count, options.degree)
        return
    if options.one:
        try:
            print(json.dumps(one(*options.one)))
        except InputError as error:
            print(json.dumps({"refused": str(error)}))
        return
    idle = subprocess.run([sys.executable, "-c", LOADED], check=True, capture_output=True, text=True).stdout.strip()
    load = f"; load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""  # beyond 0, others compute too
    print(f"{processor()}, {usable_cores()} cores{load}")
    held = f"a process that only imports holds {say_bytes(int(idle))}"
    print(f"{options.count:,} Gaussians of degree {options.degree}; {held}")
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        if options.count:
            source = Path(name) / "source.ply"
            make(source, options.count, options.degree)
            found = measure(Path(name), options.formats, source, options.repeats, options.splat_transform)
            print("\n".join(table(*found, options.count)), flush=True)
        if options.large:
            print(large(Path(name), options.large, options.degree))


if __name__ == "__main__":
    main()
