"""Structure from motion: a folder of photos to their cameras and sparse points, as a COLMAP model."""

import shutil
import tempfile
import time
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sfumato.capture.photos import check_folder, list_photos
from sfumato.capture.sfm.diagnosis import UNREADABLE, is_still, judge, verdict
from sfumato.capture.sfm.evidence import Evidence
from sfumato.capture.sfm.features import color
from sfumato.capture.sfm.ladder import Climb
from sfumato.capture.sfm.mapping import MIN_PHOTOS, trusted
from sfumato.capture.sfm.result import (
    TABLE,
    PhotoRecord,
    Reconstruction,
    is_ours,
    keep_model,
    keep_record,
    recall,
    write_table,
)
from sfumato.capture.sfm.sheet import SHEET, write_sheet
from sfumato.capture.sfm.site import SEED, Site
from sfumato.capture.sfm.survey import Look, Refused, look_at_all
from sfumato.capture.sfm.turning import is_turned
from sfumato.capture.sfm.watch import MORE
from sfumato.capture.undistort import load_pycolmap
from sfumato.core.cache import fingerprint
from sfumato.core.errors import InputError, SfumatoWarning
from sfumato.core.progress import Note, Progress, mute, silent

__all__ = ["solve"]

MIN_POINTS = 40  # fewer are what chance finds in photos without detail
STALE = 24 * 3600  # seconds after which a folder of work belongs to nobody
VERSION = 4  # of what is done: results of another are not used again


def solve(
    photos: Path,
    folder: Path,
    progress: Progress = silent,
    *,
    note: Note = mute,
    sequential: bool = False,
    masks: Mapping[str, Path] | None = None,
) -> Reconstruction:
    """Find the cameras of the photos below `photos`, and write the model to `folder`/sparse/0.

    note: is told, in sentences, what is tried when few cameras are found at first, and what it gained.
    sequential: names are in the order in which the photos were taken, as frames of a video are.
    masks: by name of a photo, a picture that is black where features shall be ignored.

    SIFT features, matches between pairs of photos that look alike, incremental mapping (Schoenberger and Frahm 2016),
    by pycolmap; then whatever it takes until nine of ten photos have a camera: see `ladder`. Photos in the same folder
    with the same size and the same lens in their EXIF share one camera, whose focal length EXIF gives when it knows
    it. The stored orientation is kept: EXIF orientation is not applied.

    Beside the model, or instead of it, `folder` gets capture.csv, a line for each photo, and contact.jpg, a picture of
    all photos, those without a camera in red. When `folder` holds the result of the same photos already, it is
    returned at once. All seeds are fixed, but pycolmap adds in the order in which its threads finish: a second run
    may differ in the last digits, and so in a few points. Time grows with the number of photos above 150, and with
    its square below.

    Warns (SfumatoWarning) of photos that cannot be read and are skipped. Raises InputError when fewer than three can,
    or no cameras are found, saying why as far as that is known; KeyboardInterrupt soon after Ctrl-C.
    """
    check_folder(photos)
    names, masks = list_photos(photos), dict(masks or {})
    if len(names) < MIN_PHOTOS:
        held = f"{len(names)} photo{'s' if len(names) != 1 else ''}"
        raise InputError(f"{photos} holds {held}, and finding cameras needs {MIN_PHOTOS} or more; {MORE}")
    files = [photos / name for name in names] + [masks[name] for name in sorted(masks)]
    mark = fingerprint([path for path in files if path.exists()], VERSION, SEED, sequential, names, sorted(masks))
    if kept := recall(folder, mark):
        _warn_of([row.name for row in kept.table if row.why == UNREADABLE], photos, len(names))
        return kept
    if (folder / "sparse").exists() and not is_ours(folder):
        raise InputError(f"{folder} holds a model that was not made here; choose another folder for the result")
    looks, refused = look_at_all(photos, names, progress)
    report = _Report(photos, folder, looks, refused)
    if len(looks) < MIN_PHOTOS:
        table = report.write(None, ())
        unread = f"{len(refused)} of the {len(table)} photos in {photos} cannot be read ({refused[0].why})"
        raise InputError(f"{unread}, and finding cameras needs {MIN_PHOTOS} or more; replace them")
    _warn_of([one.name for one in refused], photos, len(names))
    folder.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    work = Path(tempfile.mkdtemp(prefix="work.", dir=folder))  # its own: another run may look at the same photos
    try:
        site = Site(photos, looks, masks, work, progress)
        found = _find(site, report, note, sequential)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    keep_record(found, photos, mark)
    return found


def _sweep(folder: Path) -> None:
    """Remove what killed runs left."""
    for work in folder.glob("work.*"):
        with suppress(OSError):
            if time.time() - work.stat().st_mtime > STALE:
                shutil.rmtree(work, ignore_errors=True)


@dataclass
class _Report:
    """The table and the contact sheet, for success and failure."""

    photos: Path
    folder: Path
    looks: list[Look]
    refused: list[Refused]

    def write(self, evidence: Evidence | None, registered: Collection[str], fault: str = "") -> list[PhotoRecord]:
        """Write both to the folder; returns the table."""
        features = evidence.counts() if evidence else [0] * len(self.looks)
        links = evidence.links() if evidence else []
        table = judge(self.looks, self.refused, features, links, registered, fault)
        write_table(self.folder, table)
        write_sheet(self.folder, table, {look.name: look.thumbnail for look in self.looks})
        return table

    def refuse(self, evidence: Evidence, fault: str = "") -> InputError:
        """The error that says why there are no cameras, after the report is written."""
        table = self.write(evidence, (), fault)
        seen = f"see {self.folder / SHEET} and {self.folder / TABLE}"
        return InputError(f"no cameras could be found for {self.photos}: {verdict(table, fault)}; {seen}")


def _find(site: Site, report: _Report, note: Note, in_order: bool) -> Reconstruction:
    """Solve, and write the model and the report."""
    load_pycolmap().set_random_seed(SEED)
    climb = Climb(site, note, in_order)
    climb.look()
    if is_still(site.looks, climb.evidence.links()):
        raise report.refuse(climb.evidence, "still")
    if is_turned(list(climb.evidence.matched_points())):
        raise report.refuse(climb.evidence, "turned")
    climb.solve()
    model = climb.best
    if model is None or model.num_points3D() < MIN_POINTS:
        raise report.refuse(climb.evidence)
    known = set(trusted(model))
    for number in set(model.reg_image_ids()) - known:
        model.deregister_frame(model.image(number).frame_id)
    color(model, site)
    registered = {model.image(number).name for number in known}
    table = report.write(climb.evidence, registered)
    keep_model(model, site.work, report.folder)
    return Reconstruction(
        registered=len(registered),
        photos=len(site.looks),
        points=int(model.num_points3D()),
        reprojection_error=float(model.compute_mean_reprojection_error()),
        left_out=[name for name in site.names if name not in registered],
        folder=report.folder,
        table=table,
    )


def _warn_of(unreadable: Sequence[str], photos: Path, count: int) -> None:
    if unreadable:
        shown = ", ".join(unreadable[:5]) + (", ..." if len(unreadable) > 5 else "")
        told = f"{len(unreadable)} of {count} photos in {photos} cannot be read and are skipped: {shown}"
        warnings.warn(f"{told}; replace or remove them", SfumatoWarning, stacklevel=3)
