"""The files of one SOG to Gaussians: bytes of pixels, looked up in the tables of its meta.json."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.core.asset import CHUNK
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import bases_of_degree, degree_of_bases
from sfumato.formats.limits import check_memory
from sfumato.formats.parts import logit
from sfumato.formats.quaternions import restore_from_three
from sfumato.formats.sog import images as sog_images
from sfumato.formats.sog.files import Files
from sfumato.formats.sog.meta import ENTRIES_PER_ROW, MOST_ENTRIES, Meta, Palette

__all__ = ["FIRST_TAG", "Images", "decode_images", "degree_of", "read_images"]

FIRST_TAG = 252  # of a quaternion, in alpha: 252 + which of wxyz is left out
MOST_BASES = bases_of_degree(3) - 1
PADDING = 1 << 16  # pixels that images may have beyond four for each Gaussian
_Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Images:
    """The images of a SOG, read but not decoded yet."""

    files: Files
    data: dict[str, bytes]
    count: int

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(map(len, self.data.values()))

    def rows(self, name: str) -> _Bytes:
        """(count, 4): the pixel of each Gaussian."""
        image = sog_images.decode(self.files.path, name, self.data[name], 4 * self.count + PADDING)
        return sog_images.pixel_rows(self.files.path, name, image, self.count)

    def entries(self, name: str) -> _Bytes:
        """(H, W, 4): the image of a palette's entries."""
        most = MOST_ENTRIES * MOST_BASES
        return sog_images.decode(self.files.path, name, self.data[name], most)


def read_images(files: Files, meta: Meta) -> Images:
    """The bytes of the images. Raises InputError when some are missing, or too few for what meta.json promises."""
    names = [*meta.means, *meta.scale_files, *meta.quat_files, *meta.sh0_files, *(meta.shN.files if meta.shN else ())]
    images = Images(files, {name: files.image(name) for name in dict.fromkeys(names)}, meta.count)
    check_memory(files.path, meta.count, degree_of(meta), images.size)
    return images


def degree_of(meta: Meta) -> int:
    """Of the harmonics; of version 1, which does not say it, the highest there may be."""
    return degree_of_bases((meta.shN.bases or MOST_BASES) + 1) if meta.shN else 0


def decode_images(images: Images, meta: Meta) -> Gaussians:
    """The Gaussians, float32, in the order of the pixels. Raises InputError when images are damaged."""
    colors = images.rows(meta.sh0_files[0])
    return Gaussians(
        means=_means(meta, images),
        quats=_quats(images.rows(meta.quat_files[0])),
        log_scales=_looked_up(meta.scales, images.rows(meta.scale_files[0])),
        logit_opacities=_logits(meta, colors[:, 3]),
        sh0=_looked_up(meta.sh0, colors)[:, None],
        shN=_shN(meta.shN, images) if meta.shN else torch.zeros(meta.count, 0, 3),
    )


def _means(meta: Meta, images: Images) -> Tensor:
    low, high = (images.rows(name) for name in meta.means)
    means = np.empty((meta.count, 3), dtype=np.float32)
    for axis in range(3):
        extent = float(meta.maxs[axis] - meta.mins[axis])
        logs = meta.mins[axis] + extent * np.arange(65536) / 65535
        table = (np.sign(logs) * np.expm1(np.abs(logs))).astype(np.float32)
        means[:, axis] = table[low[:, axis] | high[:, axis].astype(np.uint16) << 8]
    return torch.from_numpy(means)


def _quats(rows: _Bytes) -> Tensor:
    """The smallest three of wxyz; a pixel without a tag is no rotation."""
    quats = torch.empty(len(rows), 4)
    for start in range(0, len(rows), CHUNK):
        part = torch.from_numpy(rows[start : start + CHUNK].astype(np.float32))
        tags = part[:, 3].long() - FIRST_TAG
        others = torch.where(tags[:, None] < 0, 0.0, (part[:, :3] / 255 * 2 - 1) * math.sqrt(0.5))
        quats[start : start + CHUNK] = restore_from_three(tags.clamp(min=0), others)
    return quats


def _logits(meta: Meta, alpha: _Bytes) -> Tensor:
    table = logit(torch.arange(256, dtype=torch.float64) / 255).float() if meta.logits is None else meta.logits
    return torch.from_numpy(np.asarray(table)[alpha])


def _looked_up(table: NDArray[np.float32], rows: _Bytes) -> Tensor:
    """(N, 3) from (256, 3), each channel in its own column."""
    values = np.empty((len(rows), 3), dtype=np.float32)
    for channel in range(3):
        values[:, channel] = table[rows[:, channel], channel]
    return torch.from_numpy(values)


def _shN(palette: Palette, images: Images) -> Tensor:
    """(N, K-1, 3): each Gaussian's label names an entry, which is K-1 pixels in a row."""
    path, name = images.files.path, palette.files[0]
    picture = images.entries(name)
    height, width = picture.shape[:2]
    bases = width // ENTRIES_PER_ROW if palette.bases is None else palette.bases
    fitting = [bases_of_degree(degree) - 1 for degree in range(1, 4)]
    if bases not in fitting or width != bases * ENTRIES_PER_ROW:
        wanted = " or ".join(str(ENTRIES_PER_ROW * fit) for fit in ([bases] if palette.bases else fitting))
        raise InputError(f"{path} is damaged: {name} is {width} pixels wide; wanted {wanted}")
    entries = torch.from_numpy(palette.table[picture[:, :, :3]]).reshape(height * ENTRIES_PER_ROW, bases, 3)
    rows = images.rows(palette.files[1])
    labels = torch.from_numpy(rows[:, 0] | rows[:, 1].astype(np.int32) << 8)
    if len(labels) and int(labels.max()) >= len(entries):
        raise InputError(
            f"{path} is damaged: a label is {int(labels.max())}; wanted one of the {len(entries)} entries in {name}"
        )
    return entries.index_select(0, labels)
