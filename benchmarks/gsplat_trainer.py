"""A folder of photos with COLMAP's cameras to what gsplat's own simple_trainer reaches on it, in a process of its own.

gsplat is nothing that sfumato needs: where its examples are not found, nothing is measured.
"""

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from training_points import Point

__all__ = ["LEAST_STEPS", "PUBLISHED_STEPS", "find_trainer", "train_gsplat"]

PUBLISHED_STEPS = 30_000  # that its schedules are written for; --steps_scaler shortens them all
LEAST_STEPS = 500  # with much fewer, "every 100 steps" becomes every 0
PHOTOS = (".jpg", ".jpeg", ".png")


def find_trainer(given: Path | None) -> Path | None:
    """The file simple_trainer.py: in the folder given, or beside an installed checkout of gsplat."""
    if given is None:
        found = importlib.util.find_spec("gsplat")
        if found is None or found.origin is None:
            return None
        given = Path(found.origin).parents[1] / "examples"
    file = given / "simple_trainer.py"
    return file if file.is_file() else None


def train_gsplat(trainer: Path, data: Path, factor: int, steps: int) -> Point:
    """Its default training in so many steps, and what it says of held-out photos: every 8th by name, as ours.

    Seconds are its own, from the first step to the last, without scoring; it loads each photo again and again in other
    processes meanwhile. Raises RuntimeError with its last words when it fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy, result = Path(folder) / "data", Path(folder) / "result"
        _copy(data, copy, factor)  # it writes into the folder it reads
        flags = {
            "data_dir": copy,
            "data_factor": factor,
            "result_dir": result,
            "test_every": 8,
            "steps_scaler": steps / PUBLISHED_STEPS,
            "eval_steps": PUBLISHED_STEPS,
            "save_steps": PUBLISHED_STEPS,
        }
        command = [sys.executable, trainer.name, "default", "--disable_viewer", "--disable_video"]
        command += [word for name, value in flags.items() for word in (f"--{name}", str(value))]
        done = subprocess.run(command, cwd=trainer.parent, capture_output=True, text=True, errors="replace")
        if done.returncode:
            last = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
            raise RuntimeError(f"gsplat's simple_trainer failed, code {done.returncode}:\n{last}")
        return read_stats(result / "stats", steps)


def read_stats(stats: Path, steps: int) -> Point:
    """What the files of its last step say. Raises RuntimeError when they are not there."""
    try:
        trained, scored = (
            json.loads(max(stats.glob(f"{kind}_step*.json"), key=_step).read_text(encoding="utf-8"))
            for kind in ("train", "val")
        )
        return Point(trained["ellipse_time"], scored["psnr"], scored["ssim"], steps, scored["num_GS"])
    except (ValueError, KeyError) as error:
        raise RuntimeError(f"gsplat's simple_trainer left no numbers that can be read in {stats}: {error}") from error


def _step(file: Path) -> int:
    """The step in a name such as train_step0999_rank0.json."""
    return int(file.stem.split("_step")[1].split("_")[0])


def _copy(data: Path, copy: Path, factor: int) -> None:
    """Photos and cameras, and the photos made smaller where it looks for them."""
    from PIL import Image

    shutil.copytree(data / "images", copy / "images")
    shutil.copytree(data / "sparse", copy / "sparse")
    if factor == 1:
        return
    smaller = copy / f"images_{factor}"
    smaller.mkdir()
    for photo in sorted((copy / "images").iterdir()):
        if photo.suffix.lower() in PHOTOS:
            with Image.open(photo) as image:
                size = round(image.width / factor), round(image.height / factor)
                image.convert("RGB").resize(size, Image.Resampling.BOX).save(smaller / f"{photo.stem}.png")
