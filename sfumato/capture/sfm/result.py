"""What structure from motion found, and the folder that keeps it: a model, a record, a table and a contact sheet."""

import csv
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sfumato.core.files import write_text

__all__ = [
    "RECORD",
    "TABLE",
    "PhotoRecord",
    "Reconstruction",
    "is_ours",
    "keep_model",
    "keep_record",
    "photos_of",
    "recall",
    "write_table",
]

RECORD = "capture.json"
TABLE = "capture.csv"


@dataclass(frozen=True)
class PhotoRecord:
    """What became of a photo."""

    name: str
    features: int
    matched: int  # photos that it was found to share features with
    inliers: int  # features shared with them, all in all
    registered: bool  # its camera is known
    why: str  # why not; empty when it is


@dataclass(frozen=True)
class Reconstruction:
    """What structure from motion found."""

    registered: int  # photos whose camera is known
    photos: int  # that could be read
    points: int
    reprojection_error: float  # mean over the points, pixels
    left_out: list[str]  # photos that could be read, but whose camera is not known
    folder: Path  # holds sparse/0, a COLMAP model in binary
    table: list[PhotoRecord]  # every photo in order of names, those that could not be read too


def photos_of(folder: Path) -> Path | None:
    """The folder of photos that a result of `solve` was made of, or None when `folder` is not such a result."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return Path(json.loads((folder / RECORD).read_text(encoding="utf-8"))["source"])
    return None


def recall(folder: Path, mark: str) -> Reconstruction | None:
    """The result that `folder` holds of photos with that fingerprint."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record.pop("fingerprint") == mark and (folder / "sparse" / "0" / "images.bin").is_file():
            del record["source"]
            table = [PhotoRecord(**row) for row in record.pop("table")]
            return Reconstruction(**{**record, "folder": folder, "table": table})
    return None


def is_ours(folder: Path) -> bool:
    """True when the model in `folder` was made here, be it by a run that ended before it had written everything.

    The table is written before the model, the record after it. That of a run without success has no registered photo.
    """
    if (folder / RECORD).exists():
        return True
    with suppress(OSError, ValueError, csv.Error):
        rows = csv.DictReader(io.StringIO((folder / TABLE).read_text(encoding="utf-8")))
        return any(row.get("registered") == "yes" for row in rows)
    return False


def keep_model(model: Any, work: Path, folder: Path) -> None:
    """Write the model to `work`, then move it to its place in `folder`, which is never half a model."""
    (work / "best").mkdir()
    model.write_binary(str(work / "best"))
    place = folder / "sparse" / "0"
    place.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        place.replace(work / "former")
    (work / "best").replace(place)


def keep_record(found: Reconstruction, source: Path, mark: str) -> None:
    """Write down what was found; the last file of a result, for it says that all the rest is complete."""
    record = {**asdict(found), "folder": None, "source": str(source.resolve()), "fingerprint": mark}
    write_text(found.folder / RECORD, json.dumps(record, indent=1))


def write_table(folder: Path, table: Sequence[PhotoRecord]) -> None:
    """Write capture.csv: a line for each photo."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(PhotoRecord))
    for row in table:
        writer.writerow("yes" if value is True else "no" if value is False else value for value in asdict(row).values())
    write_text(folder / TABLE, text.getvalue().encode("utf-8", "backslashreplace").decode("utf-8"))
