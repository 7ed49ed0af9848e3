"""A SOG's place, a bundle or a folder, to the bytes of its files by name: nothing outside it is ever opened."""

import struct
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from sfumato.core.errors import InputError
from sfumato.core.units import say_bytes
from sfumato.formats.limits import opened, read_member

__all__ = ["LOD_META", "META", "MOST_META", "ZIP", "Files", "open_files"]

META = "meta.json"
LOD_META = "lod-meta.json"
MOST_META = 16 << 20  # bytes; that of a hundred million Gaussians has some 100 KB
MOST_IMAGE = 4 << 28  # bytes; the largest WebP's pixels take as many
PACKED = 4  # times the bytes of its archive that an image may have: WebP is packed already, deflate makes little of it
ZIP = b"PK\x03\x04"


@dataclass(frozen=True, eq=False)
class Files:
    """The files of a SOG."""

    path: Path  # as the person named it: for sentences
    meta: str  # name of the JSON file
    place: Path | zipfile.ZipFile  # a folder, or an archive
    prefix: str = ""  # folder in the archive
    most: int = MOST_IMAGE  # bytes of an image

    def image(self, name: str) -> bytes:
        """The bytes of an image; see `read`."""
        return self.read(name, self.most)

    def read(self, name: str, most: int) -> bytes:
        """The bytes of the file. Raises InputError when it is not there, larger than `most`, or outside the place."""
        _check_inside(self.path, name)
        if isinstance(self.place, zipfile.ZipFile):
            return read_member(self.path, self.place, self.prefix + name, most)
        path = self.place / name  # links are followed, since caches of downloads are made of them; devices are not
        with opened(path):
            if not path.is_file():
                raise InputError(f"{self.path} is not whole: {path} is not there; copy or download it again")
            with path.open("rb") as file:
                data = file.read(most + 1)
        if len(data) > most:
            raise InputError(f"{path} has more than {say_bytes(most)}; it is damaged")
        return data

    def inner(self, name: str) -> "Files":
        """The SOG in a folder beside the JSON file, by the name of its own JSON file or of the folder."""
        _check_inside(self.path, name)
        folder, file = (name.rpartition("/")[::2]) if name.endswith(".json") else (name.rstrip("/"), META)
        if isinstance(self.place, zipfile.ZipFile):
            return Files(self.path, file, self.place, f"{self.prefix}{folder}/" if folder else self.prefix, self.most)
        return Files(self.path, file, self.place / folder)


@contextmanager
def open_files(path: Path) -> Iterator[Files]:
    """The SOG in a bundle, in a folder, or of a JSON file in its folder. Raises InputError when there is none."""
    if path.is_dir():
        with opened(path):
            names = [name for name in (LOD_META, META) if (path / name).is_file()]
        if not names:
            raise InputError(f"{path} holds no {META} or {LOD_META}; give the folder of a SOG")
        yield Files(path, names[0], path)
        return
    with opened(path), path.open("rb") as file:
        if file.read(len(ZIP)) != ZIP:
            yield Files(path, path.name, path.parent)
            return
        try:
            archive = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OverflowError, struct.error) as error:
            raise InputError(f"{path} is damaged or cut: {error}; copy or download it again") from None
        with archive:
            yield Files(path, *_meta_in(path, archive), most=PACKED * path.stat().st_size)


def _meta_in(path: Path, archive: zipfile.ZipFile) -> tuple[str, zipfile.ZipFile, str]:
    """The JSON file at the archive's root, or in the only folder there that has one."""
    found = [name for name in archive.namelist() if PurePosixPath(name).name in (META, LOD_META)]
    for depth in range(2):
        here = sorted(name for name in found if name.count("/") == depth)
        folders = {name.rpartition("/")[0] for name in here}
        if len(folders) == 1:  # lod-meta.json is before meta.json
            folder, _, name = here[0].rpartition("/")
            return name, archive, f"{folder}/" if folder else ""
    raise InputError(f"{path} is an archive without a {META} of its own; export it again")


def _check_inside(path: Path, name: str) -> None:
    """Names come from the file: they must stay where it is."""
    windows = PureWindowsPath(name)
    if not name or "\0" in name or windows.anchor or ":" in name or ".." in windows.parts:
        raise InputError(f"{path} names a file {name!r}, which is not beside it; such a file is not opened")
