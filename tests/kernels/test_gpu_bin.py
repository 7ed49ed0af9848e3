"""Tile lists of the GPU backend: which pairs, in which order, and what becomes of those that find no room."""

import importlib
import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from sfumato.core.errors import BackendError, TileListError
from sfumato.kernels.reference.bin import smallest_exponent
from sfumato.kernels.reference.project import project
from sfumato.kernels.stages import TILE, RenderSettings, Splats, TileLists

from pretend import pretended, unwrapped, wrapped
from scenes import askew, crowd, dot, straight

pytest.importorskip("triton", reason="GPU BACKEND NOT TESTED: Triton is not installed (pip install triton)")
gpu: Any = importlib.import_module("sfumato.kernels.gpu.bin")  # the module, not the function of its name
late: Any = importlib.import_module("sfumato.kernels.gpu.late")

SLACK = 0.01  # pixels by which a splat in a list may miss its tile
PLAIN, BOTH_WAYS = RenderSettings(), RenderSettings(deterministic=True)
# how many Gaussians, how large, how far around the middle, in what picture
SCENES = {
    "one pixel": (40, 0.3, 1.0, 1, 1),
    "thin picture": (40, 0.08, 1.0, 3, 50),
    "odd picture": (64, 0.08, 1.0, 45, 31),
    "large": (24, 2.0, 1.0, 64, 64),
    "mostly out of sight": (64, 0.1, 10.0, 64, 48),
    "nothing": (0, 0.1, 1.0, 40, 24),
}


pytestmark = pytest.mark.usefixtures("device")


def on(device: torch.device, splats: Splats) -> Splats:
    return Splats(**{name: value.detach().to(device) for name, value in vars(splats).items()})


def scene(name: str, device: torch.device) -> tuple[Splats, int, int]:
    N, size, spread, width, height = SCENES[name]
    return on(device, project(crowd(N, 0, spread, size), askew(width, height), PLAIN)), width, height


def upright(device: torch.device, *rows: tuple[float, float, float, float], depth: float = 2.0) -> Splats:
    """Splats with axes along the picture's: each its middle (x, y) and half width and height, in pixels."""
    numbers = torch.tensor(rows, dtype=torch.float32)
    opacity = 0.5
    reach = 2 * math.log(opacity / PLAIN.alpha_min)
    a, c = (reach / numbers[:, 2:].double() ** 2).float().unbind(1)
    N = len(rows)
    splats = Splats(
        means2d=numbers[:, :2],
        conics=torch.stack([a, torch.zeros(N), c], 1),
        depths=torch.full((N,), depth),
        radii=numbers[:, 2:],
        colors=torch.ones(N, 3),
        opacities=torch.full((N,), opacity),
        probe=torch.zeros(N, 2),
        nonfinite=torch.tensor(0),
    )
    return on(device, splats)


def by_tile(lists: TileLists) -> list[list[int]]:
    ends, ids = lists.offsets.tolist(), lists.splats.tolist()
    return [ids[first:end] for first, end in pairwise(ends)]


def same(one: TileLists, other: TileLists) -> bool:
    return by_tile(one) == by_tile(other)


def test_numbers_shared_with_this_file() -> None:
    assert gpu.SLACK.value == SLACK


@pytest.mark.parametrize("name", SCENES)
def test_lists_hold_what_touches_the_tile(device: torch.device, name: str, seed: int) -> None:
    """All that touches it, nothing that is out of its reach by more than the slack; nearest first."""
    splats, width, height = scene(name, device)
    lists = gpu.bin(splats, width, height, PLAIN)
    assert (lists.width, lists.height, lists.starts, lists.pairs) == (width, height, None, None)
    assert lists.offsets.dtype == torch.int64
    assert lists.splats.dtype == torch.int32
    assert lists.count == lists.splats.numel() == int(lists.offsets[-1])
    means, conics = splats.means2d.cpu().double(), splats.conics.cpu().double()
    reach = 2 * torch.log(splats.opacities.cpu().double() / PLAIN.alpha_min)
    seen, depths = splats.seen.cpu(), splats.depths.cpu()
    for tile, ids in enumerate(by_tile(lists)):
        row, column = divmod(tile, lists.tiles_x)
        low = torch.tensor([column * TILE + 0.5, row * TILE + 0.5]).double()

        def touching(grown: float, low: Tensor = low) -> set[int]:
            least = smallest_exponent(means, conics, low - grown, low + TILE - 1 + grown)
            return set(torch.nonzero(seen & (least <= reach)).flatten().tolist())

        assert touching(-1e-3) <= set(ids) <= touching(2 * SLACK)
        assert ids == sorted(ids, key=lambda i: (float(depths[i]), i))


@pytest.mark.parametrize("name", SCENES)
def test_lists_seen_from_the_splats(device: torch.device, name: str, seed: int) -> None:
    splats, width, height = scene(name, device)
    lists = gpu.bin(splats, width, height, BOTH_WAYS)
    assert same(lists, gpu.bin(splats, width, height, PLAIN))
    assert lists.starts is not None
    assert lists.pairs is not None
    starts, pairs, ids = lists.starts.tolist(), lists.pairs.tolist(), lists.splats.tolist()
    assert len(starts) == len(splats.radii) + 1
    assert starts[0] == 0
    assert sorted(pairs) == list(range(len(ids)))
    for i, (first, end) in enumerate(pairwise(starts)):
        assert pairs[first:end] == [place for place, owner in enumerate(ids) if owner == i]


@pytest.mark.parametrize("large", [1, 3])
def test_splats_of_many_tiles(device: torch.device, large: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole warp writes what one lane would have written."""
    splats, width, height = scene("large", device)
    wanted = gpu.bin(splats, width, height, PLAIN)
    monkeypatch.setattr(gpu, "LARGE", large)
    assert same(gpu.bin(splats, width, height, PLAIN), wanted)
    cut = RenderSettings(room=wanted.count // 2)
    assert int(gpu.bin(splats, width, height, cut).offsets[-1]) == wanted.count // 2


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0, 1.5])
def test_room(device: torch.device, share: float, seed: int) -> None:
    """Nothing waits and nothing is refused: the nearest splats' pairs are kept, the rest is said to be missing."""
    splats, width, height = scene("odd picture", device)
    whole = gpu.bin(splats, width, height, PLAIN)
    room = int(share * whole.count)
    lists = gpu.bin(splats, width, height, RenderSettings(room=room, deterministic=True))
    kept = min(room, whole.count)
    assert lists.splats.numel() == room
    assert (lists.count, lists.missing) == (whole.count, whole.count - kept)
    assert int(lists.offsets[-1]) == kept
    depths = splats.depths.tolist()
    last = max((depths[i] for ids in by_tile(lists) for i in ids), default=0.0)
    for ids, wanted in zip(by_tile(lists), by_tile(whole), strict=True):
        assert ids == wanted[: len(ids)]
        assert all(depths[i] >= last for i in wanted[len(ids) :])
    assert lists.starts is not None
    assert lists.pairs is not None
    assert int(lists.starts[-1]) == kept
    assert sorted(lists.pairs[:kept].tolist()) == list(range(kept))


def test_room_is_not_made_for_more_than_allowed(device: torch.device, seed: int) -> None:
    splats, width, height = scene("odd picture", device)
    lists = gpu.bin(splats, width, height, RenderSettings(room=1000, most_pairs=20))
    assert lists.splats.numel() == 20
    assert lists.missing == lists.count - 20 > 0


def test_equal_depths_keep_their_order(device: torch.device) -> None:
    splats = upright(device, *[(8.0, 8.0, 2.0 + i % 3, 3.0) for i in range(70)])
    assert by_tile(gpu.bin(splats, 16, 16, PLAIN)) == [list(range(70))]


def test_unseen_splats_are_in_no_list(device: torch.device) -> None:
    """Radii of 0, and whatever else their rows hold."""
    splats = upright(device, (8, 8, 3, 3), (8, 8, 3, 3), (8, 8, 3, 3))
    splats.radii[1] = 0
    for field in (splats.means2d, splats.conics, splats.opacities, splats.depths):
        field[1] = 0
    assert by_tile(gpu.bin(splats, 16, 16, PLAIN)) == [[0, 2]]
    splats.radii[:] = 0
    assert gpu.bin(splats, 40, 40, BOTH_WAYS).offsets.tolist() == [0] * 10


def test_touching_the_picture_by_a_hair(device: torch.device) -> None:
    """The first pixel centers lie at 0.5, the last at 31.5: hand-computed on both sides, each way."""
    near, far = 0.02, 0.05  # pixels that it reaches in; pixels that it fails to
    inside = upright(
        device, (-3, 8, 3.5 + near, 2), (35, 8, 3.5 + near, 2), (8, -3, 2, 3.5 + near), (8, 35, 2, 3.5 + near)
    )
    assert by_tile(gpu.bin(inside, 32, 32, PLAIN)) == [[0, 2], [1], [3], []]
    outside = upright(
        device, (-3, 8, 3.5 - far, 2), (35, 8, 3.5 - far, 2), (8, -3, 2, 3.5 - far), (8, 35, 2, 3.5 - far)
    )
    assert by_tile(gpu.bin(outside, 32, 32, PLAIN)) == [[], [], [], []]
    # between two tiles' pixel centers, 15.5 and 16.5, there is nothing to touch
    between = upright(device, (16, 8, 0.4, 2), (16, 8, 0.5 + SLACK / 2, 2))
    assert by_tile(gpu.bin(between, 32, 16, PLAIN)) == [[1], [1]]


@pytest.mark.parametrize("radius", [1e4, 1e10, 1e30])
def test_endless_splats_are_everywhere(device: torch.device, radius: float) -> None:
    """At 1e30 the conic is 0: the exponential is 1 all over the picture."""
    splats = upright(device, (20, 20, radius, radius), (-30, 20, radius, 3.0), (20, 500, 3.0, radius))
    beside, along = [[0], [0, 2], [0]], [[0, 1], [0, 1, 2], [0, 1]]
    assert by_tile(gpu.bin(splats, 40, 40, PLAIN)) == beside + along + beside


def test_one_splat_over_a_large_picture(device: torch.device) -> None:
    """4K: 32,400 tiles, nearly all that 16 bits can tell apart."""
    splats = on(device, project(dot(0, 0, 2, scale=1e4), straight(3840, 2160, (3840, 3840)), PLAIN))
    lists = gpu.bin(splats, 3840, 2160, RenderSettings(room=40_000))
    assert lists.offsets.tolist() == list(range(32_401))
    assert not lists.splats[:32_400].any()
    assert lists.missing == 0


@pytest.mark.parametrize("tiles", [32_766, 32_767, 32_768, 70_000])
def test_more_tiles_than_16_bits(device: torch.device, tiles: int) -> None:
    splats = upright(device, (8, 8, 3, 3), (8, TILE * tiles - 8, 3, 3), (8, TILE * 30_000 + 8, 3, 3))
    lists = gpu.bin(splats, 16, TILE * tiles, RenderSettings(room=10))
    assert lists.splats[:3].tolist() == [0, 2, 1]
    wanted = torch.zeros(tiles + 1, dtype=torch.int64)
    for place in (1, 30_001, tiles):
        wanted[place:] += 1
    assert torch.equal(lists.offsets.cpu(), wanted)


def test_counts_beyond_32_bits_are_refused(device: torch.device) -> None:
    """30 splats over 100,000,000 tiles each; nothing is allocated for the tiles, either."""
    splats = upright(device, *[(8.0, 8.0, 1e30, 3.0)] * 30)
    with pytest.raises(TileListError) as caught:
        gpu.bin(splats, 1_600_000_000, 16, PLAIN)
    assert (caught.value.pairs, caught.value.most) == (3_000_000_000, PLAIN.most_pairs)


def test_more_rows_of_tiles_than_allowed_are_refused(device: torch.device) -> None:
    """The box of an ellipse beside the picture reaches over six rows of tiles, the ellipse into none."""
    splats = upright(device, (-5, 48, 4, 100))
    assert gpu.bin(splats, 96, 96, RenderSettings(most_pairs=6)).count == 0
    with pytest.raises(TileListError) as caught:
        gpu.bin(splats, 96, 96, RenderSettings(most_pairs=5))
    assert (caught.value.pairs, caught.value.most) == (6, 5)
    assert gpu.bin(splats, 96, 96, RenderSettings(most_pairs=5, room=5)).missing == 0


def test_other_types_are_refused(device: torch.device) -> None:
    splats = upright(device, (8, 8, 3, 3))
    splats = Splats(**{**vars(splats), "depths": splats.depths.double()})
    with pytest.raises(BackendError, match="float32"):
        gpu.bin(splats, 16, 16, PLAIN)


@pytest.mark.parametrize("deterministic", [False, True])
def test_with_room_nothing_waits(device: torch.device, deterministic: bool, seed: int) -> None:
    splats, width, height = scene("odd picture", torch.device("cpu"))
    settings = RenderSettings(room=200, deterministic=deterministic)
    with pretended() as machine:
        there = Splats(**wrapped(vars(splats)))
        with machine.no_waiting():
            lists = gpu.bin(there, width, height, settings)
        assert machine.launches == ["_count", "_emit"]
        count, missing = lists.count, lists.missing
    wanted = gpu.bin(splats, width, height, settings)
    assert (count, missing) == (wanted.count, wanted.missing)
    for name in ("offsets", "splats", "starts", "pairs"):
        mine, theirs = getattr(lists, name), getattr(wanted, name)
        assert mine is theirs is None or torch.equal(unwrapped(mine), theirs)


class There(torch.Tensor):
    """A tensor that says it is on a GPU."""

    device = torch.device("cuda", 0)


def test_a_late_number_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU that is pretended: copied and marked at once, waited for when it is asked for."""
    done: list[str] = []
    empty = torch.empty

    def pinned(shape: tuple[int, ...], *, dtype: torch.dtype, device: str, pin_memory: bool) -> Tensor:
        assert pin_memory
        assert device == "cpu"  # where tensors are made on the GPU unless told otherwise, pinning one fails
        return empty(shape, dtype=dtype)

    event = SimpleNamespace(record=done.append, synchronize=lambda: done.append("waited"))
    monkeypatch.setattr(torch, "empty", pinned)
    monkeypatch.setattr(torch.cuda, "Event", lambda: event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"marked in the stream of {device}")
    number = late.Late(torch.tensor(7).as_subclass(There))
    assert done == ["marked in the stream of cuda:0"]
    assert number() == 7
    assert done[1:] == ["waited"]


def test_a_number_on_the_cpu_is_there(device: torch.device) -> None:
    assert late.Late(torch.tensor(2**40))() == 2**40
