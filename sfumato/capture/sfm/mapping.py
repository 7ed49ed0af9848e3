"""Cameras and points from verified matches, by pycolmap: a database to the models that explain it."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sfumato.capture.sfm.site import SEED, Site
from sfumato.capture.sfm.watch import PERIOD, watched
from sfumato.capture.undistort import load_pycolmap

__all__ = ["MIN_PHOTOS", "MapSettings", "best_of", "is_better", "map_cameras", "map_globally", "trusted"]

GROWTH = 1.3  # a model is refined as a whole when it has grown by this; pycolmap's 1.1 takes longer for the same result
MIN_PHOTOS = 3  # two give cameras, but nothing to check them with
TRIALS = 10  # with the same first pair
MODELS = 10  # to try; more small ones help nobody
SEEN = 20  # points that a photo must see for its camera to be believed
SQUARE = 0.75  # of the focal length across and that down, the least share that one is of the other
WORST = 2.5  # pixels; a model that fits worse is not believed to be better than another
PATIENCE = 900  # seconds for the global mapper, which is then given up


@dataclass(frozen=True)
class MapSettings:
    """How much agreement is asked for before a camera is believed; the defaults are pycolmap's."""

    first_inliers: int = 100
    first_angle: float = 16.0  # degrees between the first two photos' rays
    inliers: int = 30
    share: float = 0.25  # of the matches of a photo that are inliers
    matches: int = 15
    first_pair: tuple[int, int] | None = None  # pycolmap's numbers


def map_cameras(site: Site, database: Path, settings: MapSettings, start: Path | None = None) -> list[Any]:
    """The models (pycolmap.Reconstruction) that incremental mapping finds (Schoenberger and Frahm 2016).

    start: the folder of a model to go on from.
    """
    pycolmap, count = load_pycolmap(), len(site.looks)
    options = _options(pycolmap, settings)
    solved: list[None] = []
    models: list[Any] = []
    output = site.work / "models"
    output.mkdir(exist_ok=True)

    def reconstruct(token: Any) -> None:
        found = pycolmap.incremental_mapping(
            database,
            site.photos,
            output,
            options=options,
            input_path=start or "",
            initial_image_pair_callback=lambda: solved.extend([None, None]),
            next_image_callback=lambda: solved.append(None),
            cancellation_token=token,
        )
        models.extend(found[number] for number in sorted(found))

    def tell(done: int) -> None:
        site.progress("solving cameras", min(done, count), count)

    watched(reconstruct, lambda: len(solved), tell)
    return models


def _options(pycolmap: Any, settings: MapSettings) -> Any:
    options = pycolmap.IncrementalPipelineOptions()
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = SEED
    options.min_model_size, options.max_num_models = MIN_PHOTOS, MODELS
    options.ba_global_frames_ratio = options.ba_global_points_ratio = GROWTH
    options.extract_colors = False  # once, at the end, for the model that is kept
    options.min_num_matches = settings.matches
    options.mapper.init_min_num_inliers = settings.first_inliers
    options.mapper.init_min_tri_angle = settings.first_angle
    options.mapper.abs_pose_min_num_inliers = settings.inliers
    options.mapper.abs_pose_min_inlier_ratio = settings.share
    if settings.first_pair:
        options.init_image_id1, options.init_image_id2 = settings.first_pair
        options.init_num_trials = TRIALS
    return options


def map_globally(site: Site, database: Path) -> list[Any]:
    """The models of the global mapper (Pan et al. 2024), which solves all cameras at once.

    In a process of its own: pycolmap cannot be told to stop it, and whatever befalls it befalls only itself.
    """
    output = site.work / "global"
    output.mkdir(exist_ok=True)
    copy = Path(shutil.copy(database, output / "copy.db"))  # its focal lengths get calibrated
    command = [sys.executable, "-m", "sfumato.capture.sfm.globally", str(copy), str(site.photos), str(output)]
    quiet = subprocess.DEVNULL
    places = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # however this one found sfumato
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, env=places)
    began = time.monotonic()
    try:
        while process.poll() is None and time.monotonic() - began < PATIENCE:
            site.progress("solving cameras at once", 0, len(site.looks))
            time.sleep(PERIOD)
    finally:
        process.kill()
        process.wait()
    folders = sorted(folder for folder in output.iterdir() if (folder / "images.bin").is_file())
    return [load_pycolmap().Reconstruction(folder) for folder in folders] if process.returncode == 0 else []


def trusted(model: Any) -> list[int]:
    """Numbers of the photos whose cameras can be believed: they see enough points, through a possible lens."""
    sound = {number for number, camera in model.cameras.items() if _is_possible(camera)}
    images = ((number, model.image(number)) for number in model.reg_image_ids())
    return [number for number, image in images if image.num_points3D >= SEEN and image.camera_id in sound]


def _is_possible(camera: Any) -> bool:
    """Whether pixels are nearly square; what has no depth is sometimes explained by lenses where they are not."""
    return bool(SQUARE < camera.focal_length_x / camera.focal_length_y < 1 / SQUARE)


def is_better(model: Any, other: Any | None) -> bool:
    """True when a model explains more photos, without fitting them much worse; or as many with more points."""
    if other is None:
        return True
    error, before = model.compute_mean_reprojection_error(), other.compute_mean_reprojection_error()
    if error > max(WORST, 1.5 * before):
        return False
    mine, theirs = len(trusted(model)), len(trusted(other))
    return mine > theirs or (mine == theirs and model.num_points3D() > other.num_points3D())


def best_of(models: Iterable[Any]) -> Any | None:
    """The model with the most photos, of those that have enough to be checked against each other."""
    checked = [model for model in models if len(trusted(model)) >= MIN_PHOTOS]
    return max(checked, key=lambda model: (len(trusted(model)), model.num_points3D()), default=None)
