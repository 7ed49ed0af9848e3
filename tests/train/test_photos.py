"""Photos of the steps: order, sizes, masks, and the same bits however few are held in memory."""

import gc
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch

from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.image import planar
from sfumato.core.scene import EMPTY, IGNORED, SHOWN, Picture, Size, View
from sfumato.train.lesson import Lesson
from sfumato.train.photos import AHEAD, Photos, under_way

from pretend import PretendGPU, pretended

SIDE = 32
BYTES = 3 * SIDE * SIDE
OTHERS = under_way([Size(SIDE, SIDE, True)])  # bytes that are needed beside what is held


def noise_view(name: str, mask: torch.Tensor | None = None) -> View:
    camera = Camera(torch.eye(4), torch.tensor([[38.0, 0, 16], [0, 38, 16], [0, 0, 1]]), SIDE, SIDE)
    return View(name, camera, Picture(torch.randint(0, 256, (SIDE, SIDE, 3), dtype=torch.uint8), mask))


@pytest.fixture
def views(seed: int) -> list[View]:
    """Seven views; one has a mask of all three values."""
    mask = torch.full((SIDE, SIDE), SHOWN, dtype=torch.uint8)
    mask[:8], mask[8:16] = IGNORED, EMPTY
    return [noise_view(f"{i}.png", mask if i == 3 else None) for i in range(7)]


def lazy(views: list[View], count: Counter[str] | None = None) -> list[View]:
    """The same views, decoded when asked; each decoding is counted."""

    def decode(view: View) -> Picture:
        time.sleep(0.001)
        if count is not None:
            count[view.name] += 1
        return view.picture()

    return [replace(view, photo=lambda view=view: decode(view)) for view in views]


def drain(photos: Photos, divisors: list[int]) -> list[Lesson]:
    with photos:
        return [photos.take(divisor) for divisor in divisors]


def same(one: Lesson, other: Lesson) -> bool:
    pairs = [(one.photo, other.photo), (one.shown, other.shown), (one.empty, other.empty)]
    pairs += [(one.camera.K, other.camera.K), (one.camera.viewmat, other.camera.viewmat)]
    return all(torch.equal(a, b) if a is not None and b is not None else a is b for a, b in pairs)


def test_each_photo_is_taken_once_in_an_epoch(views: list[View]) -> None:
    plain = [view for view in views if view.picture().mask is None]
    lessons = drain(Photos(plain, (1,), seed=0), [1] * 12)
    for epoch in (lessons[:6], lessons[6:]):
        assert all(any(torch.equal(view.image, lesson.photo) for lesson in epoch) for view in plain)
    assert any(not same(one, other) for one, other in zip(lessons[:6], lessons[6:], strict=True))


def test_photos_shrink_by_area(views: list[View]) -> None:
    for view in views[:3]:
        (lesson,) = drain(Photos([view], (2, 1), seed=0), [2])
        assert (lesson.photo.shape, lesson.photo.dtype) == ((16, 16, 3), torch.uint8)
        assert lesson.photo.permute(2, 0, 1).is_contiguous()
        assert lesson.camera.K[0, 0] == 19
        mean = view.image.float().unflatten(1, (16, 2)).unflatten(0, (16, 2)).mean(dim=(1, 3))
        assert (lesson.photo - mean).abs().max() <= 1  # rounded twice: across, then down


def test_masks_become_what_counts_and_what_is_empty(views: list[View]) -> None:
    (lesson,) = drain(Photos(views[3:4], (1,), seed=0), [1])
    assert lesson.shown is not None
    assert lesson.empty is not None
    assert (lesson.shown.shape, lesson.shown.dtype) == ((SIDE, SIDE, 1), torch.float32)
    assert (lesson.shown[:8] == 0).all()
    assert (lesson.shown[8:] == 1).all()
    assert (lesson.empty.shape, lesson.empty.dtype) == ((SIDE, SIDE), torch.float32)
    assert lesson.empty.nonzero()[:, 0].unique().tolist() == list(range(8, 16))
    assert (lesson.photo[:8] == 0).all()
    assert torch.equal(lesson.photo[8:], views[3].image[8:])
    assert lesson.photo.permute(2, 0, 1).is_contiguous()
    assert (views[3].image[:8] != 0).any()  # the view's own pixels stay


def test_what_a_mask_does_not_say_is_none(views: list[View]) -> None:
    shown = torch.full((SIDE, SIDE), SHOWN, dtype=torch.uint8)
    cases = {"all shown": shown, "ignored": shown.clone(), "empty": shown.clone()}
    cases["ignored"][0, 0], cases["empty"][0, 0] = IGNORED, EMPTY
    for name, mask in cases.items():
        (lesson,) = drain(Photos([noise_view("a.png", mask)], (1,), seed=0), [1])
        assert (lesson.shown is not None, lesson.empty is not None) == (name == "ignored", name == "empty"), name


@pytest.mark.parametrize("value", [IGNORED, EMPTY])
def test_a_mask_takes_a_byte_a_pixel(views: list[View], value: int) -> None:
    """Nothing of a view in memory is copied; of one that is decoded again, four bytes a pixel are held."""
    mask = torch.full((SIDE, SIDE), SHOWN, dtype=torch.uint8)
    mask[:8] = value
    view = replace(views[0], photo=Picture(planar(views[0].image), mask))
    for each in (view, *lazy([view])):
        with Photos([each], (1,), seed=0) as photos:
            for _ in range(3):
                photos.take(1)
            (held,) = photos._held.photos.values()
            assert photos._held.bytes == held.bytes == each.size.bytes == 4 * SIDE * SIDE
            kept = {tensor.data_ptr() for tensor in vars(held).values() if isinstance(tensor, torch.Tensor)}
            assert kept == {view.image.data_ptr(), mask.data_ptr()}


def test_masks_count_where_memory_is_bounded(views: list[View]) -> None:
    mask = torch.full((SIDE, SIDE), SHOWN, dtype=torch.uint8)
    mask[:8] = IGNORED
    masked = [replace(view, photo=Picture(view.image, mask)) for view in views]
    count: Counter[str] = Counter()
    drain(Photos(lazy(masked, count), (1,), seed=1, keep=OTHERS + 11 * SIDE * SIDE), [1] * 35)
    assert count.total() >= 2 + 5 * 5  # two are held, whose third would fit without masks


SCHEDULE = [4] * 9 + [2] * 10 + [1] * 25


@pytest.mark.parametrize("keep", [None, 0, OTHERS + 2 * BYTES, OTHERS + 4 * BYTES])
def test_the_same_bits_however_much_is_kept(views: list[View], keep: int | None) -> None:
    wanted = drain(Photos(views, (4, 2, 1), seed=5), SCHEDULE)
    got = drain(Photos(lazy(views), (4, 2, 1), seed=5, keep=keep), SCHEDULE)
    assert all(same(one, other) for one, other in zip(wanted, got, strict=True))


def test_memory_bounds_what_is_held(views: list[View]) -> None:
    plain = [replace(view, photo=view.image) for view in views]
    for keep, most in ((None, 7), (0, 0), (OTHERS + 3 * BYTES, 3), (1000 * BYTES, 7)):
        count: Counter[str] = Counter()
        photos = Photos(lazy(plain, count), (1,), seed=1, keep=keep)
        drain(photos, [1] * 7 * 5)
        unheld = 7 - most
        assert count.total() <= most + unheld * 5 + 2 * AHEAD, keep
        assert count.total() >= most + unheld * 5, keep


@pytest.mark.parametrize(("keep", "ahead"), [(OTHERS, 4), (OTHERS - 1, 2), (26 * SIDE * SIDE, 2), (0, 1)])
def test_few_photos_are_decoded_ahead(views: list[View], keep: int, ahead: int) -> None:
    count: Counter[str] = Counter()
    with Photos(lazy(views * 5, count), (1,), seed=1, keep=keep) as photos:
        photos.take(1)
        time.sleep(0.1)
        assert count.total() == 1 + ahead


def test_what_is_under_way_by_hand() -> None:
    plain, masked = [Size(20, 5)], [Size(20, 5, has_mask=True)]
    assert under_way(plain) == 100 * (2 * 10 + 3 * 5)  # two being decoded, four ahead, one in use
    assert under_way(plain, keep=3499) == 100 * (2 * 10 + 3 * 3)
    assert under_way(plain, keep=0) == 100 * (10 + 3 * 2)
    assert under_way(masked) == 100 * (2 * 14 + 4 * 5)
    assert under_way(plain + masked) == under_way(masked)
    assert under_way([]) == 0


def test_photos_that_lie_well_are_not_copied(views: list[View]) -> None:
    view = replace(views[0], photo=planar(views[0].image))
    (lesson,) = drain(Photos([view], (1,), seed=0), [1])
    assert lesson.photo.data_ptr() == view.image.data_ptr()


@pytest.mark.parametrize("position", [0, 1, 6, 7, 20])
@pytest.mark.parametrize("keep", [None, 0])
def test_resumed_order_is_the_order(views: list[View], position: int, keep: int | None) -> None:
    wanted = drain(Photos(views, (4, 2, 1), seed=5), SCHEDULE)[position:]
    photos = Photos(views, (4, 2, 1), 5, keep, position)
    assert photos.position == position
    got = drain(photos, SCHEDULE[position:])
    assert photos.position == len(SCHEDULE)
    assert all(same(one, other) for one, other in zip(wanted, got, strict=True))


def test_a_broken_photo_surfaces_where_it_is_taken(views: list[View]) -> None:
    def fail() -> Picture:
        raise InputError("b.png cannot be read")

    with Photos([replace(views[0], photo=fail)], (1,), seed=0) as photos, pytest.raises(InputError, match=r"b\.png"):
        photos.take(1)


def test_waiting_is_measured(views: list[View]) -> None:
    def slow() -> Picture:
        time.sleep(0.05)
        return views[0].picture()

    with Photos([replace(views[0], photo=slow)], (1,), seed=0) as photos:
        photos.take(1)
        assert 0.04 < photos.waited < 5
        before = photos.waited
        photos.take(1)  # held now
        assert photos.waited == before


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("photos")]


def closed(photos: Photos) -> None:
    photos.close()


def forgotten(photos: Photos) -> None:
    """Nothing is done: the last reference goes."""


@pytest.mark.parametrize("end", [closed, forgotten])
def test_threads_end(views: list[View], end: Callable[[Photos], None]) -> None:
    photos = Photos(lazy(views), (1,), seed=0, keep=0)
    photos.take(1)
    assert threads()
    end(photos)
    del photos
    gc.collect()
    waited = time.perf_counter() + 5
    while threads() and time.perf_counter() < waited:
        time.sleep(0.01)
    assert not threads()


def test_threads_end_after_an_exception(views: list[View]) -> None:
    photos = Photos(views, (1,), seed=0)
    photos.take(1)
    with pytest.raises(ValueError, match=r"divisor must be one of \[1\]; got 3"), photos:
        photos.take(3)
    assert not threads()


@pytest.fixture
def gpu() -> Iterator[PretendGPU]:
    with pretended() as gpu:
        yield gpu


def back(lesson: Lesson) -> Lesson:
    """The same on the CPU."""
    photo, shown, empty = (None if t is None else t.to("cpu") for t in (lesson.photo, lesson.shown, lesson.empty))
    assert photo is not None
    return replace(lesson, photo=photo, shown=shown, empty=empty)


@pytest.mark.parametrize("keep", [None, 0, OTHERS + 3 * BYTES])
@pytest.mark.parametrize("on_device", [None, 0, 3 * BYTES])
def test_the_same_bits_on_a_gpu_however_much_is_there(
    gpu: PretendGPU, views: list[View], keep: int | None, on_device: int | None
) -> None:
    """And whether photos are sent ahead or not, nothing waits."""
    wanted = drain(Photos(views, (4, 2, 1), seed=5), SCHEDULE)
    with Photos(lazy(views), (4, 2, 1), 5, keep, device=gpu.device, on_device=on_device) as photos:
        for turn, (divisor, expected) in enumerate(zip(SCHEDULE, wanted, strict=True)):
            time.sleep(0.002 * (turn % 3))  # now and then all that is ahead has arrived
            with gpu.no_waiting():
                lesson = photos.take(divisor)
            assert lesson.photo.device == gpu.device
            assert not lesson.camera.K.is_cuda
            assert lesson.photo.permute(2, 0, 1).is_contiguous()
            assert same(back(lesson), expected)
            assert lesson.key == expected.key


def test_photos_that_are_on_the_gpu_are_neither_decoded_nor_held_nor_sent_again(
    gpu: PretendGPU, views: list[View]
) -> None:
    plain = [replace(view, photo=view.image) for view in views]
    count: Counter[str] = Counter()
    with Photos(lazy(plain, count), (1,), 1, device=gpu.device) as photos:
        for _ in range(21):  # at first some are decoded for their second turn before they are there
            photos.take(1)
        time.sleep(0.1)
        pinned = len(gpu.pinned)
        decoded = count.total()
        for _ in range(35):
            photos.take(1)
        assert photos._there.bytes == 7 * BYTES
        assert photos._held.bytes == 0
    assert count.total() - decoded == 0
    assert len(gpu.pinned) == pinned


def test_what_the_gpu_has_no_room_for_is_held_in_memory(gpu: PretendGPU, views: list[View]) -> None:
    plain = [replace(view, photo=view.image) for view in views]
    count: Counter[str] = Counter()
    with Photos(lazy(plain, count), (1,), 1, device=gpu.device, on_device=3 * BYTES) as photos:
        for _ in range(42):
            photos.take(1)
        assert photos._there.bytes == 3 * BYTES
        assert photos._held.bytes == 4 * BYTES
    assert count.total() <= 7 + 2 * 8  # some were ahead when nobody knew yet where there would be room


def test_photos_are_sent_before_they_are_asked_for(gpu: PretendGPU, views: list[View]) -> None:
    with Photos(views, (1,), 1, device=gpu.device, on_device=0) as photos:
        photos.take(1)
        time.sleep(0.2)
        photos.take(1)
        time.sleep(0.2)
        photos.take(1)
        parcels = [turn.parcel for turn in photos._ahead]
        assert [parcel is not None for parcel in parcels[:3]] == [True, True, False]
        assert parcels[0] is not None
        assert parcels[0]._copies is not None  # on the GPU already


def test_a_broken_photo_is_told_when_its_turn_comes(gpu: PretendGPU, views: list[View]) -> None:
    def fail() -> Picture:
        raise InputError("b.png cannot be read")

    broken = [*views[:3], replace(views[0], name="b.png", photo=fail)]
    order = torch.randperm(4, generator=torch.Generator().manual_seed(0)).tolist()
    with Photos(broken, (1,), 0, device=gpu.device) as photos:
        for _ in range(order.index(3)):
            photos.take(1)
            time.sleep(0.02)
        with pytest.raises(InputError, match=r"b\.png"):
            photos.take(1)


def test_threads_end_on_a_gpu_too(gpu: PretendGPU, views: list[View]) -> None:
    with Photos(views, (1,), seed=0, device=gpu.device, on_device=0) as photos:
        for _ in range(5):
            photos.take(1)
    names = [thread.name for thread in threading.enumerate()]
    assert not [name for name in names if name.startswith(("photos", "transfer"))]
