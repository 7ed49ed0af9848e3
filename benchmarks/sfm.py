"""Structure from motion, ours against pycolmap's defaults, in turns: python benchmarks/sfm.py PHOTOS [--rounds 2]."""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sfumato.capture.photos import list_photos
from sfumato.capture.sfm import solve
from sfumato.capture.undistort import load_pycolmap
from sfumato.core.limits import usable_cores


@dataclass
class Clock:
    """Seconds on the wall, and of all threads, for each stage."""

    stages: dict[str, tuple[float, float]] = field(default_factory=dict)
    _stage: str = ""
    _began: tuple[float, float] = (0.0, 0.0)

    def __call__(self, stage: str, done: int = 0, total: int = 0) -> None:
        if stage != self._stage:
            now = (time.perf_counter(), time.process_time())
            if self._stage:
                before = self.stages.get(self._stage, (0.0, 0.0))
                wall, cpu = (b + n - s for b, n, s in zip(before, now, self._began, strict=True))
                self.stages[self._stage] = (wall, cpu)
            self._stage, self._began = stage, now


@dataclass(frozen=True)
class Found:
    """What a run found, and how long it took."""

    stages: dict[str, tuple[float, float]]
    registered: int
    photos: int
    points: int
    error: float

    @property
    def seconds(self) -> float:
        return sum(wall for wall, _ in self.stages.values())


def defaults(photos: Path, folder: Path) -> Found:
    """As the pycolmap documentation does it: one camera model for each photo's size, every pair, default options."""
    pycolmap, clock = load_pycolmap(), Clock()
    database = folder / "features.db"
    clock("finding features")
    pycolmap.extract_features(database, photos)
    clock("matching photos")
    pycolmap.match_exhaustive(database)
    clock("solving cameras")
    models = pycolmap.incremental_mapping(database, photos, folder)
    clock("")
    best = max(models.values(), key=lambda model: model.num_reg_images())
    count, error = len(list_photos(photos)), best.compute_mean_reprojection_error()
    return Found(clock.stages, best.num_reg_images(), count, best.num_points3D(), error)


def ours(photos: Path, folder: Path) -> Found:
    clock = Clock()
    found = solve(photos, folder, clock, note=lambda sentence: print(f"    {sentence}"))
    clock("")
    return Found(clock.stages, found.registered, found.photos, found.points, found.reprojection_error)


def show(name: str, number: int, found: Found) -> None:
    cpu = sum(used for _, used in found.stages.values())
    print(
        f"{name:18} round {number}: {found.seconds:6.1f} s ({cpu:6.1f} s of all threads), "
        f"{found.registered} of {found.photos} photos, {found.points:,} points, {found.error:.3f} pixels"
    )
    for stage, (wall, used) in found.stages.items():
        print(f"    {stage:18} {wall:6.1f} s ({used:6.1f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    arguments = parser.parse_args()
    runs: dict[str, Callable[[Path, Path], Found]] = {"pycolmap defaults": defaults, "sfumato": ours}
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"pycolmap {load_pycolmap().__version__}, {usable_cores()} cores{load}, {arguments.photos}")
    best: dict[str, Found] = {}
    for number in range(1, arguments.rounds + 1):
        for name, run in runs.items():
            with tempfile.TemporaryDirectory() as folder:
                found = run(arguments.photos, Path(folder))
            show(name, number, found)
            if name not in best or found.seconds < best[name].seconds:
                best[name] = found
    theirs, mine = best["pycolmap defaults"].seconds, best["sfumato"].seconds
    print(f"best of {arguments.rounds}: {theirs:.1f} s and {mine:.1f} s, {theirs / mine:.2f} times as fast")


if __name__ == "__main__":
    main()
