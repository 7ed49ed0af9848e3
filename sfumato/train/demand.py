"""What a training run is asked to do to the bytes it will hold at its peak, in memory and on a GPU.

The peak is the sum of parts that are there at the same time: what each costs per Gaussian, pixel or pair, times how
many there are. What strategies make for a moment (mcmc's noise takes 150 bytes a Gaussian) is less than their edits.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from sfumato.core import sh as harmonics
from sfumato.core.camera import Camera
from sfumato.core.errors import BackendError
from sfumato.core.limits import taken_memory, usable_cores
from sfumato.core.scene import Picture, Points, Scene, Size, View
from sfumato.kernels.backends import choose
from sfumato.kernels.rooms import Rooms
from sfumato.kernels.stages import TILE
from sfumato.train.config import TrainConfig
from sfumato.train.costs import COSTS, ON_GPU, Costs
from sfumato.train.photos import under_way

__all__ = ["Demand", "Prediction", "demand_of", "pair_bytes", "predict"]

LEFTOVER = 0.1  # of what comes and goes: memory that the allocator holds back in pieces too small for the next tensor
LEFTOVER_GPU = 0.2  # torch's allocator there keeps such pieces for longer: Gaussians multiply, and need larger ones
VIEWER = 60_000_000  # bytes of the live page's server, and of the few held-out photos that it keeps
VIEWED, COPIED = 4 * 64, 1.25  # per Gaussian: packed, as bytes, those before, and being sent; and a copy of its numbers
READERS, READ_COPIES = 8, 3  # threads that load photos at most, and copies of a photo that each works on
SENT = 3  # photos on a GPU beside those that stay there: the one that is learned from, and those on their way


WIDE_KEYS = 6  # bytes a pair more, where there are too many tiles for 16 bits: 2 in the list, 4 while it is sorted
MOST_SHORT = 2**15 - 1  # tiles

# Pairs per Gaussian: a splat s pixels wide touches (1 + s / 16)^2 tiles on average. However many there are, splats
# overlap COVERED-fold, so that s^2 = COVERED pixels / Gaussians; and the low-pass alone makes them 0.4 tiles wide.
# Within a factor of 1.8 of what fox, fern and lego had at 20,000 to 100,000 Gaussians.
COVERED, LEAST_WIDTH = 35.0, 0.4


@dataclass(frozen=True)
class Demand:
    """What the memory of a training run depends on."""

    train: tuple[Size, ...]  # of the photos, as they are learned at full size
    test: tuple[Size, ...] = ()
    gaussians: int = 100_000  # the cap
    sh_degree: int = 3
    backend: str = "cpu"
    downscale: float = 1.0  # the files' photos are so many times wider and higher
    in_views: bool = True  # the scene holds all photos, decoded
    keep: int | None = None  # bytes of photos prepared for training that are held; None: all
    taken: int = 0  # bytes that the process holds before, without the photos
    watched: bool = False  # in the browser
    on_device: int | None = None  # bytes of photos prepared for training that stay on the GPU; None: all
    half_shN: bool = False  # the GPU holds a copy of them in half precision
    deterministic: bool = False  # gradients are added in a fixed order

    @property
    def on_gpu(self) -> bool:
        """True when the Gaussians live in a GPU's own memory."""
        return self.backend in ON_GPU

    def smaller(self, factor: int) -> "Demand":
        """The same with photos 1/factor as wide and high."""
        train, test = (tuple(size.smaller(factor) for size in sizes) for sizes in (self.train, self.test))
        return replace(self, train=train, test=test, downscale=self.downscale * factor)


@dataclass(frozen=True)
class Prediction:
    """Bytes that a training run holds at its peak."""

    parts: Mapping[str, int]  # what for -> bytes, in the order of the table
    pairs: int  # of tiles and splats in the lists of a picture
    device: Mapping[str, int] = field(default_factory=dict)  # the same of a GPU's memory; nothing without one

    @property
    def total(self) -> int:
        """Of all parts: the largest resident set of the process."""
        return sum(self.parts.values())

    @property
    def device_total(self) -> int:
        """Of all parts on the GPU."""
        return sum(self.device.values())

    def table(self) -> list[tuple[str, int]]:
        """Rows of (what for, bytes), the sum last."""
        return [*self.parts.items(), ("peak", self.total)]

    def device_table(self) -> list[tuple[str, int]]:
        """The same of the GPU."""
        return [*self.device.items(), ("peak", self.device_total)]

    def to_report(self) -> dict[str, object]:
        """For report.json."""
        told: dict[str, object] = {
            "predicted_peak_bytes": self.total,
            "parts_bytes": dict(self.parts),
            "tile_list_entries": self.pairs,
        }
        if self.device:
            told |= {"gpu_predicted_peak_bytes": self.device_total, "gpu_parts_bytes": dict(self.device)}
        return told


def demand_of(
    train: Sequence[Size],
    test: Sequence[Size] = (),
    config: TrainConfig | None = None,
    backend: str = "auto",
    downscale: float = 1.0,
) -> Demand:
    """The demand of training on photos of these sizes, known from their headers; `taken` is what is held right now.

    Raises BackendError when the backend cannot run here.
    """
    config = config or TrainConfig()
    return Demand(
        tuple(train),
        tuple(test),
        config.gaussians_for(_sketch(train)),
        config.sh_degree,
        choose(backend)[0],
        downscale,
        taken=taken_memory(),
        half_shN=config.half_shN,
        deterministic=config.deterministic,
    )


def _sketch(sizes: Sequence[Size]) -> Scene:
    """A scene with photos of these sizes and nothing on them: enough for the numbers that a config leaves open."""

    def nothing() -> Picture:
        raise AssertionError("nobody looks at these photos")

    views = [View(str(i), Camera(torch.eye(4), torch.eye(3), *size[:2]), nothing) for i, size in enumerate(sizes)]
    return Scene(views, Points(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.uint8)))


def predict(demand: Demand) -> Prediction:
    """The peak of loading, training and evaluating. Raises BackendError when the backend's costs are not known."""
    if demand.backend not in COSTS:
        raise BackendError(f"no backend named {demand.backend!r} has known costs (known: {' '.join(COSTS)})")
    pairs = _pairs(demand.gaussians, _largest(demand.train))
    if demand.on_gpu:
        return Prediction(_beside_gpu(demand), pairs, _on_gpu(demand, pairs))
    costs, parts = COSTS[demand.backend], _common(demand)
    working = _working(demand, costs, pairs)
    read = round(_reading(demand))
    parts |= {**working, "pictures": max(working["pictures"], read)}
    parts |= _viewer(demand)
    return Prediction({**parts, "allocator": round(LEFTOVER * _moving(parts))}, pairs)


def _common(demand: Demand) -> dict[str, int]:
    """What is in memory wherever pictures are made."""
    base = max(COSTS[demand.backend].base, demand.taken)
    return {"Python, torch, libraries": base, "photos": _photos(demand)}


def _working(demand: Demand, costs: Costs, pairs: int) -> dict[str, int]:
    """What pictures are made of, and with, where that is done."""
    stored, N = _stored(demand), demand.gaussians
    learning = max((s.pixels * (costs.pixel + s.has_mask * costs.pixel_masked) for s in demand.train), default=0)
    return {
        "Gaussians": stored * N,
        "moments": 2 * stored * N,
        "gradients": costs.gaussian * N,
        "edits": 3 * stored * N,  # Gaussians and moments once more while rows move; checkpoints need no more
        "pictures": max(learning, costs.pixel_scored * _largest(demand.test)),
        "tile lists": pair_bytes(demand) * pairs,
    }


def _on_gpu(demand: Demand, pairs: int) -> dict[str, int]:
    """The parts in the GPU's memory."""
    costs = ON_GPU[demand.backend]
    working = _working(demand, costs, _room(pairs))
    parts = {"kernels": costs.base, "photos": _photos_there(demand) + _photos_passing(demand), **working}
    parts["Gaussians"] += (
        demand.gaussians * (2 * 3 * (harmonics.bases_of_degree(demand.sh_degree) - 1)) * demand.half_shN
    )
    return {**parts, "allocator": round(LEFTOVER_GPU * _moving(parts))}


def _beside_gpu(demand: Demand) -> dict[str, int]:
    """The parts in memory when a GPU holds the Gaussians."""
    scored = COSTS[demand.backend].pixel_scored * _largest(demand.test)
    parts = _common(demand)
    parts["checkpoints"] = 3 * _stored(demand) * demand.gaussians  # Gaussians and moments on their way to the disk
    parts["pictures"] = max(scored, round(_reading(demand)))
    parts |= _viewer(demand)
    return {**parts, "allocator": round(LEFTOVER * _moving(parts))}


def _viewer(demand: Demand) -> dict[str, int]:
    if not demand.watched:
        return {}
    showing = round(READ_COPIES * _file(demand))  # one photo at a time is made small for a page
    return {"viewer": VIEWER + showing + (VIEWED + round(COPIED * _stored(demand))) * demand.gaussians}


def _moving(parts: Mapping[str, int]) -> int:
    """What comes and goes."""
    return sum(parts.get(name, 0) for name in ("gradients", "edits", "checkpoints", "pictures", "tile lists"))


def _stored(demand: Demand) -> int:
    """Bytes of a Gaussian's own numbers."""
    return 4 * (11 + 3 * harmonics.bases_of_degree(demand.sh_degree))


def pair_bytes(demand: Demand) -> int:
    """What a pair of tile and splat costs where pictures are made."""
    costs = ON_GPU.get(demand.backend) or COSTS[demand.backend]
    tiles = max((-(-size.width // TILE) * -(-size.height // TILE) for size in demand.train), default=0)
    wide = WIDE_KEYS if demand.on_gpu and tiles > MOST_SHORT else 0
    return costs.pair + wide + (costs.pair_in_order if demand.deterministic else 0)


def _room(pairs: int) -> int:
    """For how many pairs a GPU makes room when there are so many."""
    rooms = Rooms()
    rooms.learn(0, pairs)
    return rooms.of(0) or pairs


def _reading(demand: Demand) -> float:
    """Of photos that are read, before training: the rest is not there yet."""
    return READ_COPIES * min(READERS, usable_cores()) * _file(demand)


def _file(demand: Demand) -> float:
    """Bytes of the largest photo as it is in its file."""
    return max((size.bytes for size in demand.train + demand.test), default=0) * demand.downscale**2


def _largest(sizes: Sequence[Size]) -> int:
    """Pixels of the largest photo."""
    return max((size.pixels for size in sizes), default=0)


def _photos(demand: Demand) -> int:
    """Bytes of photos in the scene, prepared for training, and under way.

    Those in the scene are learned from as they are, but at half size there is a copy of them. Of those that are decoded
    again, `keep` bounds all that is held, but not what is under way. What a GPU keeps is not held here, too.
    """
    learned, there = sum(size.bytes for size in demand.train), _photos_there(demand)
    if demand.in_views:
        tested, halves = sum(size.bytes for size in demand.test), max(0, learned // 4 - there)
        return learned + tested + halves + _photos_passing(demand)
    passing = _photos_passing(demand)
    under = under_way(demand.train, demand.keep, demand.on_gpu) - passing
    needed = learned - there + under
    return passing + (needed if demand.keep is None else min(needed, max(demand.keep, under)))


def _photos_there(demand: Demand) -> int:
    """Bytes of photos that stay on the GPU."""
    learned = sum(size.bytes for size in demand.train)
    if not demand.on_gpu:
        return 0
    return learned if demand.on_device is None else min(learned, demand.on_device)


def _photos_passing(demand: Demand) -> int:
    """Bytes of photos on the GPU that come and go, and of their copies in memory on the way to it."""
    return SENT * max((size.bytes for size in demand.train), default=0) if demand.on_gpu else 0


def _pairs(gaussians: int, pixels: int) -> int:
    """How many pairs of tile and splat a picture has."""
    width = math.sqrt(COVERED * pixels / max(1, gaussians)) / TILE + LEAST_WIDTH
    return min(round(gaussians * (1 + width) ** 2), gaussians * -(-pixels // TILE**2))
