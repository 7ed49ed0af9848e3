"""Gaussians to the small bytes of a page that is one file, within a stated size, and back; web/squeeze.js reads them.

Every number is rounded to a step, and what is left are planes of bytes, one per property, whose entropy deflate codes.
The Gaussians are put in an order in which neighbours in space are neighbours in the file.
"""

import json
import math
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sfumato.core import sh as harmonics
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.morton import interleaved, morton_order
from sfumato.core.progress import Progress, silent
from sfumato.core.rotation import multiply_quaternions
from sfumato.view.packed import MAX_DEGREE, ROW, drawable

__all__ = ["BUDGET", "LADDER", "Steps", "budget_of", "expand", "squeeze", "squeeze_with"]

BUDGET = (15.0, 19.5, 27.0, 33.0)  # bytes a Gaussian may take, for degree 0 to 3; base64 makes them 20, 26, 36, 44
ELEMENT = 64  # letters of the element around the data, and what base64 fills up
LEAST = 4096  # bytes that any scene may take: tables have their size, however few Gaussians there are
MAGIC = b"sfx1"
SEGMENT = 64 * ROW  # Gaussians that are compressed together: a page shows one when it is there
TOP = 5  # bits of each coordinate, within the row's box, that give the order
MOST_BITS = 18  # of each coordinate within the row's box
PLACES = 4  # columns of places
BLOCK = 1 << 15  # bytes that zlib codes with one table
MOST = (1 << 16) - 1  # a plane has two bytes at most
# red, green, blue -> brightness and two colors, orthonormal: rounding errors stay what they are, and zeros are many
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Steps:
    """How coarsely each property is rounded."""

    place: float  # of a typical Gaussian's size
    scale: float  # of log scales
    turn: float  # of the unit quaternion's components
    color: float  # of colors in [0, 1]
    opacity: int  # levels above zero, at most 255
    bands: tuple[float, float, float]  # of the coefficients of each band

    @classmethod
    def of(cls, level: float) -> "Steps":
        """The finest for 0; each level by a 24th root of 2 coarser.

        In these proportions every number of a Gaussian adds about as much to the error of pictures as any other.
        """
        by = 2 ** (level / 24)
        bands = (0.01 * by, 0.0125 * by, 0.014 * by)
        return cls(0.013 * by, 0.015 * by, 0.003 * by, 0.0036 * by, max(1, min(255, round(280 / by))), bands)


LADDER = 1200  # levels: the last ones round everything to nothing


def budget_of(count: int, degree: int) -> int:
    """Bytes that the data of `count` Gaussians may take, before base64, and without the elements that hold it."""
    return max(LEAST, int(BUDGET[degree] * count * 0.9999) - ELEMENT)


def squeeze(gaussians: Gaussians, progress: Progress = silent) -> bytes:
    """The finest data that stays within `budget_of`; degrees above 3 and what cannot be drawn are left out.

    progress: is told of the steps that are tried, then of Gaussians. Raises InputError when nothing is left.
    """
    scene = _Scene.of(gaussians)
    budget = budget_of(scene.count, scene.degree)
    sample = scene.sample(2)
    low, high = 0, LADDER  # the coarsest fits anything: all but the boxes of the rows is zero
    while low < high:
        progress("choosing steps", LADDER.bit_length() - (high - low).bit_length(), LADDER.bit_length())
        middle = (low + high) // 2
        size = len(_encode(sample, Steps.of(middle)))
        low, high = (low, middle) if size * scene.count <= budget * sample.count else (middle + 1, high)
    progress("choosing steps", LADDER.bit_length(), LADDER.bit_length())
    for level in range(low, LADDER + 1):
        data = _encode(scene, Steps.of(level), progress)
        if len(data) <= budget:
            return data
    raise InputError(f"{scene.count} Gaussians cannot be written in {budget} bytes")


def squeeze_with(gaussians: Gaussians, steps: Steps) -> bytes:
    """The data for given steps, however large. Raises InputError when nothing can be drawn."""
    return _encode(_Scene.of(gaussians), steps)


@dataclass(frozen=True)
class _Scene:
    """Drawable Gaussians in the order of a space-filling curve (Morton 1966), float64."""

    count: int
    degree: int
    means: _Floats  # (N, 3)
    quats: _Floats  # (N, 3) x y z of unit quaternions whose w is the largest component
    log_scales: _Floats  # (N, 3)
    opacities: _Floats  # (N,)
    colors: _Floats  # (N, 3) brightness and two colors
    bands: tuple[_Floats, ...]  # (N, 2 band + 1, 3) the same of the coefficients

    @classmethod
    def of(cls, gaussians: Gaussians) -> "_Scene":
        good = drawable(gaussians)
        gaussians = gaussians[good.nonzero()[:, 0]].detach().to("cpu")
        if not len(gaussians):
            raise InputError("there is no Gaussian that can be drawn")
        gaussians = gaussians[morton_order(gaussians.means.double())]
        degree = min(gaussians.degree, MAX_DEGREE)
        shN = gaussians.shN.double().numpy()
        rgb = harmonics.rgb_from_sh0(gaussians.sh0[:, 0].double()).numpy()
        return cls(
            count=len(gaussians),
            degree=degree,
            means=gaussians.means.double().numpy(),
            quats=_turned(gaussians.quats),
            log_scales=gaussians.log_scales.double().numpy(),
            opacities=gaussians.opacities.double().numpy(),
            colors=(rgb - 0.5) @ OPPONENT.T,
            bands=tuple(shN[:, b * b - 1 : (b + 1) ** 2 - 1] @ OPPONENT.T for b in range(1, degree + 1)),
        )

    def part(self, rows: slice | _Ints) -> "_Scene":
        return self._made([field[rows] for field in self._arrays])

    def sample(self, parts: int) -> "_Scene":
        """The whole when it is small, else segments of it, evenly."""
        if self.count <= parts * SEGMENT:
            return self
        starts = np.linspace(0, self.count - SEGMENT, parts).astype(int) // ROW * ROW
        chosen = [self.part(slice(start, start + SEGMENT))._arrays for start in starts]
        return self._made([np.concatenate(arrays) for arrays in zip(*chosen, strict=True)])

    @property
    def _arrays(self) -> list[_Floats]:
        return [self.means, self.quats, self.log_scales, self.opacities, self.colors, *self.bands]

    def _made(self, arrays: list[_Floats]) -> "_Scene":
        means, quats, log_scales, opacities, colors, *bands = arrays
        return _Scene(len(means), self.degree, means, quats, log_scales, opacities, colors, tuple(bands))


def _turned(quats: torch.Tensor) -> _Floats:
    """x y z of unit quaternions; half turns about the own axes, which change no Gaussian, have made w the largest."""
    q = quats.double()
    q = q / q.abs().amax(dim=1, keepdim=True)
    q = torch.nn.functional.normalize(q, dim=1)
    half_turns = torch.eye(4, dtype=torch.float64)[q.abs().argmax(dim=1)]
    turned = multiply_quaternions(q, half_turns)
    turned = torch.where(turned[:, :1] < 0, -turned, turned)
    return turned[:, 1:].numpy()


def _encode(scene: _Scene, steps: Steps, progress: Progress = silent) -> bytes:
    """The whole: "sfx1", the length of a JSON header, the header, and per segment its length and deflated bytes."""
    header = {
        "count": scene.count,
        "degree": scene.degree,
        "segment": SEGMENT,
        "scale": steps.scale,
        "turn": steps.turn,
        "color": steps.color,
        "opacity": steps.opacity,
        "bands": steps.bands[: scene.degree],
    }
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    parts = [MAGIC, len(text).to_bytes(4, "little"), text]
    for start in range(0, scene.count, SEGMENT):
        data = _encode_segment(scene.part(slice(start, start + SEGMENT)), steps)
        parts += [len(data).to_bytes(4, "little"), data]
        progress("squeezing", min(start + SEGMENT, scene.count), scene.count)
    return b"".join(parts)


def _encode_segment(scene: _Scene, steps: Steps) -> bytes:
    boxes, order, places = _places(scene, steps.place)
    scene = scene.part(order)
    columns = [*places]  # these are never negative
    columns += list(_rounded(scene.log_scales, steps.scale).T)
    columns += list(_rounded(scene.quats, steps.turn).T)
    columns += list(_rounded(scene.colors, steps.color).T)
    columns += [_rounded(scene.opacities, 1 / steps.opacity)]
    for band, step in zip(scene.bands, steps.bands, strict=False):
        columns += list(_rounded(band, step).reshape(scene.count, -1).T)
    return _deflated(boxes, columns)


def _places(scene: _Scene, step: float) -> tuple[_Floats, _Ints, list[_Ints]]:
    """Rows' boxes (R, 5): lowest x y z, step, bits of a coordinate; the order within rows; four columns of numbers.

    The upper bits of a place give the order, so that only the differences of their Morton codes are left to be stored;
    the lower bits follow as they are. The step is a share of the row's Gaussians' size.
    """
    boxes, order, codes, rest = [], [], [], []
    for start in range(0, scene.count, ROW):
        means, scales = scene.means[start : start + ROW], scene.log_scales[start : start + ROW]
        low = means.min(axis=0)
        box = max(float((means - low).max()), 1e-30)
        size = math.log2(step) + float(np.quantile(scales.max(axis=1), 0.25)) / math.log(2)
        bits = int(np.clip(math.ceil(math.log2(box) - size), TOP, MOST_BITS))
        cell = box / (1 << bits)
        cells = np.minimum((means - low) / cell, (1 << bits) - 1).astype(np.int64)
        code = interleaved(torch.from_numpy(cells >> (bits - TOP))).numpy()
        sorting = np.argsort(code, kind="stable")
        boxes.append([*low, cell, bits])
        order.append(start + sorting)
        codes.append(np.diff(code[sorting], prepend=0))
        rest.append(cells[sorting] & ((1 << (bits - TOP)) - 1))
    return np.array(boxes), np.concatenate(order), [np.concatenate(codes), *np.concatenate(rest).T]


def _rounded(values: _Floats, step: float) -> _Ints:
    numbers = values / step
    np.rint(numbers, out=numbers)
    np.clip(numbers, -(1 << 30), 1 << 30, out=numbers)
    return numbers.astype(np.int64)


def _deflated(boxes: _Floats, columns: list[_Ints]) -> bytes:
    """A segment: bytes of each column's numbers (0, 1 or 2), each column's middle, the boxes, the planes of bytes."""
    widths, middles, planes = [], [], []
    for index, column in enumerate(columns):
        middle = 0 if index < PLACES else int(np.median(column[:: len(column) // 4096 + 1]))
        number = column if index < PLACES else _folded(column - middle)
        low = (number & 255).astype(np.uint8)
        high = (number >> 8).astype(np.uint8)
        widths.append(2 if high.any() else 1 if low.any() else 0)
        middles.append(middle)
        planes += [plane.tobytes() for plane in (low, high)[: widths[-1]]]
    head = bytes(widths) + np.array(middles, "<i4").tobytes() + boxes.astype("<f8").tobytes()
    stream = [b"\x78\x9c"]
    checksum = 1
    for group in _grouped([head, *planes]):
        checksum = zlib.adler32(group, checksum)
        stream.append(_block(group))
    return b"".join([*stream, b"\x03\x00", checksum.to_bytes(4, "big")])  # an empty last block ends the stream


def _folded(numbers: _Ints) -> _Ints:
    """0, -1, 1, -2, ... as 0, 1, 2, 3, ...; what is beyond two bytes becomes the largest."""
    return np.clip(np.where(numbers >= 0, 2 * numbers, -2 * numbers - 1), 0, MOST)


def _grouped(planes: list[bytes]) -> list[bytes]:
    """Planes that share one table of codes: neighbours, where they are short."""
    groups: list[bytes] = []
    for plane in planes:
        if groups and len(groups[-1]) + len(plane) <= BLOCK:
            groups[-1] += plane
        else:
            groups.append(plane)
    return groups


def _block(data: bytes) -> bytes:
    """Deflated without looking back, as rounded noise repeats nothing, or with, whichever is shorter."""
    common = np.bincount(np.frombuffer(data, np.uint8)).max() / max(len(data), 1)
    ways = [zlib.Z_HUFFMAN_ONLY, *([zlib.Z_DEFAULT_STRATEGY] if common > 0.4 else [])]
    found = []
    for way in ways:
        coder = zlib.compressobj(6, zlib.DEFLATED, -15, 9, way)
        found.append(coder.compress(data) + coder.flush(zlib.Z_FULL_FLUSH))
    return min(found, key=len)


def expand(data: bytes) -> Gaussians:
    """The Gaussians that a page shows of what `squeeze` has written, float32, in the order of the file."""
    length = int.from_bytes(data[4:8], "little")
    header = json.loads(data[8 : 8 + length])
    at, left = 8 + length, header["count"]
    parts = []
    while left:
        size = int.from_bytes(data[at : at + 4], "little")
        count = min(left, header["segment"])
        parts.append(_expand_segment(zlib.decompress(data[at + 4 : at + 4 + size]), count, header))
        at += 4 + size
        left -= count
    return Gaussians.cat(parts)


def _expand_segment(data: bytes, N: int, header: dict[str, Any]) -> Gaussians:
    rest = harmonics.bases_of_degree(header["degree"]) - 1
    C, R = PLACES + 10 + 3 * rest, -(-N // ROW)
    widths = np.frombuffer(data, np.uint8, C)
    middles = np.frombuffer(data, "<i4", C, C)
    boxes = np.frombuffer(data, "<f8", 5 * R, 5 * C).reshape(R, 5)
    at = 5 * C + 40 * R
    columns = np.zeros((C, N), np.int64)
    for index, width in enumerate(widths):
        for byte in range(width):
            columns[index] |= np.frombuffer(data, np.uint8, N, at).astype(np.int64) << (8 * byte)
            at += N
        if index >= PLACES:
            columns[index] = middles[index] + ((columns[index] >> 1) ^ -(columns[index] & 1))
    numbers = columns[PLACES:].astype(np.float64)
    x, y, z = numbers[3:6] * header["turn"]
    w = np.sqrt(np.maximum(0, 1 - (x * x + y * y + z * z)))
    opacity = np.clip(numbers[9] / header["opacity"], 1e-4, 1 - 1e-4)
    shN = [_rgb(numbers[10 + 3 * j : 13 + 3 * j] * header["bands"][math.isqrt(j + 1) - 1]) for j in range(rest)]
    arrays = [
        _expand_places(columns[:PLACES], boxes),
        np.stack([w, x, y, z], axis=1),
        (numbers[0:3] * header["scale"]).T,
        np.log(opacity / (1 - opacity)),
        (_rgb(numbers[6:9] * header["color"]) / harmonics.C0)[:, None],
        np.stack(shN, axis=1) if shN else np.zeros((N, 0, 3)),
    ]
    return Gaussians(*(torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)) for array in arrays))


def _expand_places(columns: _Ints, boxes: _Floats) -> _Floats:
    """(N, 3) means."""
    places = []
    for row, (*low, cell, bits) in enumerate(boxes):
        code, *rest = columns[:, row * ROW : (row + 1) * ROW]
        code = np.cumsum(code)
        for axis in range(3):
            top = sum((code >> (3 * bit + axis) & 1) << bit for bit in range(TOP))
            places.append(low[axis] + ((top << (int(bits) - TOP) | rest[axis]) + 0.5) * cell)
    return np.concatenate([np.stack(places[i : i + 3], axis=1) for i in range(0, len(places), 3)])


def _rgb(opponent: _Floats) -> _Floats:
    """(N, 3) from (3, N), in an order of operations that JavaScript can follow."""
    a, b, c = opponent
    gray, side, tint = a / math.sqrt(3), b / math.sqrt(2), c / math.sqrt(6)
    return np.stack([gray + side + tint, gray - 2 * tint, gray - side + tint], axis=1)
