"""A .glb or .gltf file to its JSON and arrays of numbers: every index, offset and length is checked before its use."""

import binascii
import struct
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato.core.errors import InputError
from sfumato.formats.gltf.text import AGAIN, MOST_JSON, MOST_TEXT, as_whole, is_finite, parsed, say
from sfumato.formats.limits import opened

__all__ = ["BINARY_CHUNK", "JSON_CHUNK", "MAGIC", "Accessor", "GltfFile", "open_gltf"]

MAGIC = b"glTF"  # of the binary container, glTF 2.0 section 4.4
JSON_CHUNK, BINARY_CHUNK = 0x4E4F534A, 0x004E4942
MOST_LETTERS = 255  # of a file's name, as most systems have it
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}  # glTF 2.0, table 3.6.2.2

_Buffer = bytes | NDArray[np.uint8]


@dataclass(frozen=True)
class Accessor:
    """Numbers where they lie in the file."""

    stored: NDArray[Any]  # (count, width) in the file's type
    normalized: bool  # integers stand for [0, 1], or [-1, 1] when they are signed

    def rows(self, start: int, stop: int) -> NDArray[np.float32]:
        """(stop - start, width) a copy of these rows as what they mean."""
        values = self.stored[start:stop].astype(np.float32)
        if not self.normalized or self.stored.dtype.kind == "f":
            return values
        values /= float(np.iinfo(self.stored.dtype).max)
        return np.maximum(values, -1) if self.stored.dtype.kind == "i" else values


@dataclass(frozen=True)
class GltfFile:
    """The JSON of a file, and its buffers, which are opened when they are asked for."""

    path: Path
    json: dict[str, Any]
    binary: _Buffer | None = None  # the second chunk of a .glb
    buffers: dict[int, _Buffer] = field(default_factory=dict)  # those asked for so far

    def damaged(self, what: str) -> InputError:
        """The error of a file that contradicts itself or glTF."""
        return InputError(f"{self.path} is damaged: {what}; {AGAIN}")

    def items(self, kind: str, owner: dict[str, Any] | None = None) -> list[Any]:
        """A list of the JSON, or of one of its objects; empty when it is not there."""
        found = (self.json if owner is None else owner).get(kind, [])
        if not isinstance(found, list):
            raise self.damaged(f"its {kind} must be a list")
        return found

    def item(self, kind: str, index: object) -> dict[str, Any]:
        """The object that an index of the JSON means."""
        found = self.items(kind)
        place = as_whole(index)
        if place is None or place >= len(found) or not isinstance(found[place], dict):
            raise self.damaged(f"it speaks of {kind}[{say(index)}], which it does not have")
        entry: dict[str, Any] = found[place]
        return entry

    def whole(self, owner: dict[str, Any], key: str, default: int | None = None) -> int:
        """A whole number >= 0 of an object of the JSON."""
        value = as_whole(owner.get(key, default))
        if value is None:
            raise self.damaged(f"a {key} must be a whole number of at least 0; got {say(owner.get(key))}")
        return value

    def numbers(self, owner: dict[str, Any], key: str, default: list[float]) -> list[float]:
        """As many finite numbers as the default has."""
        found = owner.get(key, default)
        if isinstance(found, list) and len(found) == len(default) and all(is_finite(value) for value in found):
            return [float(value) for value in found]
        raise self.damaged(f"a {key} must be {len(default)} finite numbers; got {say(found)}")

    def table(self, owner: dict[str, Any], key: str) -> dict[str, Any]:
        """An object in an object; empty when it is not there."""
        found = owner.get(key, {})
        if not isinstance(found, dict):
            raise self.damaged(f"a {key} must be an object; got {say(found)}")
        return found

    def accessor(self, index: object, width: int) -> Accessor:
        """The numbers of an accessor, `width` in each row; also 4 where 3 are wanted, as of colors."""
        entry = self.item("accessors", index)
        kind, component = entry.get("type"), entry.get("componentType")
        wide = WIDTHS.get(kind) if isinstance(kind, str) else None
        if wide is None or not width <= wide <= max(width, 4 if width == 3 else width):
            raise self.damaged(f"accessors[{say(index)}] must have {width} numbers in a row; got {say(kind)}")
        if not isinstance(component, int) or component not in COMPONENTS:
            raise self.damaged(f"accessors[{say(index)}] has an unknown componentType, {say(component)}")
        if "sparse" in entry or "bufferView" not in entry:
            raise InputError(f"{self.path} has sparse or empty accessors, which are not read; export it without")
        dtype = np.dtype(COMPONENTS[component])
        data, stride = self.view(entry["bufferView"])
        count, offset = self.whole(entry, "count"), self.whole(entry, "byteOffset", 0)
        row = wide * dtype.itemsize
        stride = stride or row
        if stride < row:
            raise self.damaged(f"accessors[{say(index)}] has rows of {row} bytes every {stride} bytes")
        needed = offset + (count - 1) * stride + row if count else 0
        if needed > len(data):
            raise self.damaged(f"accessors[{say(index)}] needs {needed} bytes of a view of {len(data)}")
        strides = (stride, dtype.itemsize)
        stored: NDArray[Any] = np.ndarray((count, wide), dtype, data, offset if count else 0, strides)
        return Accessor(stored, entry.get("normalized") is True)

    def view(self, index: object) -> tuple[_Buffer, int]:
        """The bytes of a buffer view, not copied, and its stride, 0 without one."""
        entry = self.item("bufferViews", index)
        for name in self.table(entry, "extensions"):
            if "compression" in name:
                raise InputError(f"{self.path} is packed with {say(name)}, which is not read; export it without")
        buffer = self.buffer(entry.get("buffer"))
        offset, length = self.whole(entry, "byteOffset", 0), self.whole(entry, "byteLength")
        if offset + length > len(buffer):
            where = f"bufferViews[{say(index)}] ends at byte {offset + length}"
            raise self.damaged(f"{where} of a buffer of {len(buffer)}")
        return buffer[offset : offset + length], self.whole(entry, "byteStride", 0)

    def buffer(self, index: object) -> _Buffer:
        """The bytes of a buffer: of the file itself, of its JSON, or of a file beside it."""
        entry = self.item("buffers", index)
        place = self.whole({"buffer": index}, "buffer")
        if place not in self.buffers:
            promised = self.whole(entry, "byteLength")
            data = self._opened(entry.get("uri"), place)
            if len(data) < promised:
                told = f"its buffer {place} has {len(data)} of the {promised} bytes it promises"
                raise InputError(f"{self.path} is truncated: {told}; copy or download it again")
            self.buffers[place] = data[:promised]
        return self.buffers[place]

    def _opened(self, uri: object, index: int) -> _Buffer:
        if uri is None:
            if index or self.binary is None:
                raise self.damaged(f"its buffer {index} says not where its bytes are")
            return self.binary
        if not isinstance(uri, str):
            raise self.damaged(f"the uri of its buffer {index} must be text; got {say(uri)}")
        if uri.startswith("data:"):
            return self._embedded(uri, index)
        name = urllib.parse.unquote(uri)
        if name != Path(name).name or set(name) & set('/\\:\0"') or name in ("", ".", "..") or len(name) > MOST_LETTERS:
            told = f"keeps its numbers in {say(uri)}; only files in its own folder are read"
            raise InputError(f"{self.path} {told}: copy that beside it, or export a .glb")
        beside = self.path.parent / name
        with opened(beside):
            if not beside.is_file():
                raise InputError(f"{self.path} keeps its numbers in {beside}, which is not there; copy both files")
            return _mapped(beside)

    def _embedded(self, uri: str, index: int) -> bytes:
        head, comma, text = uri.partition(",")
        if not comma or not head.endswith(";base64"):
            raise self.damaged(f"the data of its buffer {index} must be base64")
        try:
            return binascii.a2b_base64(text)
        except (binascii.Error, ValueError):
            raise self.damaged(f"the data of its buffer {index} is no base64") from None


def open_gltf(path: Path) -> GltfFile:
    """The file's JSON, checked to be glTF 2; its numbers stay on the disk. Raises InputError."""
    with opened(path):
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(20)
            if head[:4] != MAGIC:
                return _checked(GltfFile(path, parsed(path, head + file.read(MOST_TEXT + 1 - len(head)), MOST_TEXT)))
            if len(head) < 20:
                raise InputError(f"{path} is truncated: it has {len(head)} of the 20 bytes that start a .glb; {AGAIN}")
            version, total, length, kind = struct.unpack("<IIII", head[4:])
            if version != 2 or kind != JSON_CHUNK:
                raise InputError(f"{path} is no glTF 2 (its version is {version}); export it as glTF 2")
            if total > size or 20 + length > total:
                least = max(total, 20 + length)
                raise InputError(f"{path} is truncated: it promises {least} bytes and has {size}; {AGAIN}")
            text = file.read(min(length, MOST_JSON + 1))
            file.seek(20 + length)
            chunk = file.read(8)
        json_part = parsed(path, text, MOST_JSON)
        binary: _Buffer | None = None
        start = 20 + length + 8
        if len(chunk) == 8 and start <= total:
            length, kind = struct.unpack("<II", chunk)
            if kind == BINARY_CHUNK:
                if start + length > total:
                    told = f"it promises {start + length} bytes and has {total}"
                    raise InputError(f"{path} is truncated: {told}; copy or download it again")
                binary = _mapped(path)[start : start + length]
    return _checked(GltfFile(path, json_part, binary))


def _mapped(path: Path) -> _Buffer:
    """The bytes of a file, read when they are looked at."""
    return np.memmap(path, dtype=np.uint8, mode="r") if path.stat().st_size else b""


def _checked(file: GltfFile) -> GltfFile:
    version = file.table(file.json, "asset").get("version")
    if not isinstance(version, str) or not version.startswith("2."):
        raise InputError(f"{file.path} must be glTF 2; its version is {say(version)}")
    return file
