"""Predicted memory and what is given up for a budget, with made-up numbers; one real training stays within its own."""

from dataclasses import replace

import pytest
import torch

from sfumato.core.errors import BackendError, InputError
from sfumato.core.limits import available_memory, taken_memory
from sfumato.core.scene import Scene, Size
from sfumato.kernels.backends import NAMES
from sfumato.kernels.stages import MOST_PAIRS
from sfumato.train import TrainConfig
from sfumato.train.costs import COSTS, ON_GPU
from sfumato.train.demand import SENT, Demand, demand_of, pair_bytes, predict
from sfumato.train.density import MCMC, Span
from sfumato.train.memory import (
    FEWEST_GAUSSIANS,
    default_budget,
    default_gpu_budget,
    fit,
    fit_loaded,
    most_gaussians,
)
from sfumato.train.photos import under_way

from held import Held
from scenes import crowd

PHOTO = Size(1000, 800)
DEMAND = Demand(train=(PHOTO,) * 90, test=(PHOTO,) * 10, gaussians=100_000)


def part(demand: Demand, name: str) -> int:
    return predict(demand).parts[name]


def test_parts_by_hand() -> None:
    """Degree 3: 59 numbers of 4 bytes; twice that for the moments; photos of 3 bytes a pixel."""
    prediction = predict(DEMAND)
    assert prediction.parts["Gaussians"] == 100_000 * 59 * 4
    assert prediction.parts["moments"] == 2 * 100_000 * 59 * 4
    assert prediction.parts["photos"] == 3 * 800_000 * (100 + 90 / 4)  # those learned from once more, at half size
    assert prediction.total == sum(prediction.parts.values())
    assert prediction.table()[-1] == ("peak", prediction.total)
    assert prediction.to_report()["predicted_peak_bytes"] == prediction.total


def test_a_page_in_the_browser_takes_memory_too() -> None:
    """The fixed part; a photo of 3 bytes a pixel three times; per Gaussian 256 bytes, and 1.25 of its 59 numbers."""
    assert "viewer" not in predict(DEMAND).parts
    watched = replace(DEMAND, watched=True)
    assert part(watched, "viewer") == 60_000_000 + 3 * 3 * 800_000 + 100_000 * (256 + 295)
    larger = replace(watched, downscale=2.0)  # files that are twice as wide and high
    assert part(larger, "viewer") - part(watched, "viewer") == 3 * 3 * 3 * 800_000
    assert predict(watched).total == predict(DEMAND).total + part(watched, "viewer")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("Gaussians", {"gaussians": 200_000}),
        ("Gaussians", {"sh_degree": 4}),
        ("edits", {"gaussians": 200_000}),
        ("gradients", {"gaussians": 200_000}),
        ("tile lists", {"gaussians": 200_000}),
        ("tile lists", {"train": (Size(2000, 1600),)}),
        ("pictures", {"train": (Size(8000, 6000),)}),
        ("pictures", {"test": (Size(8000, 6000),)}),
        ("pictures", {"downscale": 100.0}),
        ("photos", {"train": (*(PHOTO,) * 89, PHOTO._replace(has_mask=True))}),
        ("photos", {"test": (*(PHOTO,) * 9, PHOTO._replace(has_mask=True))}),
        ("photos", {"train": (PHOTO,) * 91}),
        ("Python, torch, libraries", {"taken": 2**40}),
        ("gradients", {"backend": "reference"}),
        ("tile lists", {"backend": "reference"}),
    ],
)
def test_more_is_more(name: str, change: dict[str, object]) -> None:
    assert part(replace(DEMAND, **change), name) > part(DEMAND, name)  # type: ignore[arg-type]


def test_photos_that_are_loaded_stay_as_they_are() -> None:
    budget = predict(DEMAND).total
    more = replace(DEMAND, gaussians=1_000_000)
    assert not fit(more, budget).demand.in_views
    fitted = fit_loaded(more, budget)
    assert fitted.demand == replace(DEMAND, gaussians=100_000)
    assert fitted.said == (
        f"at most 100,000 Gaussians instead of 1,000,000, to stay within {budget / 1e9:.2f} GB of memory",
    )
    assert fit_loaded(DEMAND, budget).demand == DEMAND
    streamed = fit_loaded(replace(more, in_views=False), budget)
    assert (streamed.smaller, streamed.demand.in_views) == (1, False)
    assert streamed.prediction.total <= budget
    with pytest.raises(InputError, match="training must have at least"):
        fit_loaded(DEMAND, 10**9 // 2)


def test_masks_take_a_byte_a_pixel() -> None:
    masked = replace(DEMAND, train=(PHOTO._replace(has_mask=True),) * 90)
    alone, bare = replace(masked, test=()), replace(DEMAND, test=())
    assert part(alone, "pictures") - part(bare, "pictures") == 800_000 * COSTS["cpu"].pixel_masked
    assert part(masked, "photos") - part(DEMAND, "photos") == 800_000 * (90 + 90 / 4)
    streamed = replace(masked, in_views=False, keep=0)
    assert part(streamed, "photos") == under_way(masked.train, 0) == 800_000 * (14 + 2 * 4)
    assert part(replace(streamed, keep=None), "photos") == 4 * 800_000 * 90 + under_way(masked.train)


def test_the_highest_cap_that_fits() -> None:
    budget = predict(DEMAND).total
    assert most_gaussians(DEMAND, budget) == 100_000
    most = most_gaussians(DEMAND, 2 * budget)
    assert predict(replace(DEMAND, gaussians=most)).total <= 2 * budget
    assert predict(replace(DEMAND, gaussians=most + 1000)).total > 2 * budget
    few = replace(DEMAND, gaussians=777)
    assert most_gaussians(few, predict(few).total) == 777


def test_photos_that_are_not_held() -> None:
    again, half = replace(DEMAND, in_views=False), replace(DEMAND, in_views=False, keep=100_000_000)
    assert part(again, "photos") == 3 * 800_000 * 90 + under_way([PHOTO])
    assert part(half, "photos") == 100_000_000
    assert part(replace(half, keep=0), "photos") == under_way([PHOTO], 0) > 0  # those under way are always there
    assert part(replace(half, keep=10**12), "photos") == part(again, "photos")


def test_lists_are_no_longer_than_every_gaussian_in_every_tile() -> None:
    assert predict(replace(DEMAND, train=(Size(16, 16),), gaussians=5)).pairs == 5
    assert predict(replace(DEMAND, train=(Size(3840, 2160),), gaussians=1)).pairs <= 240 * 135


def test_every_backend_has_costs() -> None:
    assert set(COSTS) >= {*NAMES, *ON_GPU}
    with pytest.raises(BackendError, match="no backend named 'gpux' has known costs"):
        predict(replace(DEMAND, backend="gpux"))


def test_demand_of_a_scene(toy: Scene) -> None:
    """The cap from the sizes alone is the one that training uses."""
    sizes = [view.size for view in toy.train]
    demand = demand_of(sizes, config=TrainConfig(steps=1000, sh_degree=1), backend="cpu")
    assert demand.gaussians == TrainConfig(steps=1000).gaussians_for(toy)
    assert (demand.train, demand.sh_degree, demand.backend) == (tuple(sizes), 1, "cpu")
    assert demand.taken > 10e6
    assert demand_of(sizes, config=TrainConfig(max_gaussians=77), backend="reference").gaussians == 77


# ---- a budget


def test_nothing_is_given_up_when_all_fits() -> None:
    total = predict(DEMAND).total
    fitted = fit(DEMAND, total)
    assert (fitted.demand, fitted.smaller, fitted.said, fitted.keep_in_views) == (DEMAND, 1, (), None)
    assert fitted.most_pairs == 2 * fitted.prediction.pairs  # twice the estimate, even without room to spare
    assert fit(DEMAND, 10**15).most_pairs == MOST_PAIRS


def test_photos_are_given_up_first() -> None:
    """One byte too few: photos are decoded again; fewer still: some are held, as many as there is room for."""
    fitted = fit(DEMAND, predict(DEMAND).total - 1)
    assert (fitted.demand, fitted.keep_in_views) == (replace(DEMAND, in_views=False), 0)
    assert [sentence.split(",")[0] for sentence in fitted.said] == ["photos are decoded again when their size changes"]
    budget = predict(fitted.demand).total - 1_000_000
    fitted = fit(DEMAND, budget)
    assert fitted.prediction.total == budget
    assert (fitted.demand.gaussians, fitted.smaller) == (100_000, 1)
    assert len(fitted.said) == 1
    assert "of them held" in fitted.said[0]


def test_gaussians_are_given_up_second() -> None:
    bare = predict(replace(DEMAND, in_views=False, keep=0)).total
    assert fit(DEMAND, bare).demand.gaussians == 100_000
    fitted = fit(DEMAND, bare - 30_000_000)
    assert FEWEST_GAUSSIANS <= fitted.demand.gaussians < 100_000
    assert fitted.smaller == 1
    assert fitted.prediction.total <= bare - 30_000_000
    one_more = replace(DEMAND, in_views=False, keep=0, gaussians=fitted.demand.gaussians + 1000)
    assert predict(one_more).total > bare - 30_000_000
    assert any(sentence.startswith(f"at most {fitted.demand.gaussians:,} Gaussians") for sentence in fitted.said)


def test_size_is_given_up_third() -> None:
    large = replace(DEMAND, train=(Size(8000, 6000),) * 9, test=(Size(8000, 6000),))
    bare = predict(replace(large, in_views=False, keep=0, gaussians=FEWEST_GAUSSIANS)).total
    assert fit(large, bare).smaller == 1
    fitted = fit(large, bare - 1)
    assert fitted.smaller == 2
    assert fitted.demand.train[0] == Size(4000, 3000)
    assert fitted.demand.gaussians == 100_000  # there is room again
    assert "photos of at most 4000 x 3000 pixels instead of 8000 x 6000" in fitted.said[-1]


@pytest.mark.parametrize("backend", NAMES)
def test_whatever_the_budget_it_is_kept_or_refused(backend: str) -> None:
    """More memory never gives less, and the prediction is always within it."""
    demand = replace(DEMAND, backend=backend, train=(Size(3000, 2000),) * 40)
    before = (0.0, 0)
    refused = 0
    for budget in range(300_000_000, 4_000_000_000, 50_000_000):
        try:
            fitted = fit(demand, budget)
        except InputError:
            refused += 1
            assert before == (0.0, 0)
            continue
        assert fitted.prediction.total <= budget
        assert fitted.prediction == predict(fitted.demand)
        now = (1 / fitted.smaller, fitted.demand.gaussians)
        assert now >= before
        before = now
    assert refused > 0


def test_refusal_says_what_is_needed() -> None:
    needs = r"training must have at least \d+ MB of memory here.*; got 50 MB: close other programs, or raise --memory"
    with pytest.raises(InputError, match=needs):
        fit(DEMAND, 50_000_000)
    with pytest.raises(InputError, match="with 500 Gaussians"):
        fit(replace(DEMAND, gaussians=500), 50_000_000)


def test_default_budget_is_most_of_what_is_free() -> None:
    free, budget = available_memory(), default_budget()
    assert budget - taken_memory() == pytest.approx(0.8 * free, rel=0.2)


# ---- a GPU, whose numbers follow from the tensors of its kernels: nobody has measured them yet

ON_A_GPU = replace(DEMAND, backend="gpu", gaussians=1_000_000)
PLENTY = 10**15


def on_gpu(demand: Demand, name: str) -> int:
    return predict(demand).device[name]


def test_what_a_gpu_holds_by_hand() -> None:
    """Numbers as on the CPU; room for a quarter more pairs than expected, at 38 bytes; photos, and three more."""
    prediction = predict(ON_A_GPU)
    assert prediction.device["Gaussians"] == 1_000_000 * 59 * 4
    assert prediction.device["moments"] == 2 * 1_000_000 * 59 * 4
    assert prediction.device["gradients"] == 1_000_000 * 284
    assert prediction.device["tile lists"] == 38 * (int(1.25 * prediction.pairs) + 4096)
    assert prediction.device["photos"] == 3 * 800_000 * (90 + SENT)
    assert prediction.device["pictures"] == 800_000 * 140  # of a photo that is scored: more than learning takes
    assert prediction.device_table()[-1] == ("peak", prediction.device_total)
    assert "Gaussians" not in prediction.parts
    assert prediction.parts["checkpoints"] == 3 * 1_000_000 * 59 * 4
    told = prediction.to_report()
    assert told["gpu_predicted_peak_bytes"] == prediction.device_total == sum(prediction.device.values())
    assert "gpu_predicted_peak_bytes" not in predict(DEMAND).to_report()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("Gaussians", {"sh_degree": 4}),
        ("edits", {"gaussians": 2_000_000}),
        ("gradients", {"gaussians": 2_000_000}),
        ("tile lists", {"gaussians": 2_000_000}),
        ("tile lists", {"deterministic": True}),
        ("Gaussians", {"half_shN": True}),
        ("pictures", {"test": (Size(8000, 6000),)}),
        ("pictures", {"train": (Size(8000, 6000),)}),
        ("photos", {"train": (PHOTO,) * 91}),
        ("photos", {"train": (*(PHOTO,) * 89, PHOTO._replace(has_mask=True))}),
        ("allocator", {"gaussians": 2_000_000}),
    ],
)
def test_more_is_more_on_a_gpu(name: str, change: dict[str, object]) -> None:
    assert on_gpu(replace(ON_A_GPU, **change), name) > on_gpu(ON_A_GPU, name)  # type: ignore[arg-type]


def test_what_the_markov_chain_makes_is_less_than_what_edits_may(seed: int) -> None:
    """On a GPU the noise is of all Gaussians; of degree 0 they have the smallest numbers that edits are foreseen by."""
    N = 20_000
    gaussians = crowd(N, 0)
    chain = MCMC(every=0.5, start_at=0.0).start(Span(steps=2, extent=1.0, max_gaussians=2 * N, seed=0))
    everyone = gaussians.logit_opacities, gaussians.quats, gaussians.log_scales
    foreseen = on_gpu(replace(ON_A_GPU, gaussians=N, sh_degree=0), "edits")
    with Held(*gaussians) as shaken:
        gaussians.means + torch.where(everyone[0][:, None] < -2, chain._noise(0.5, *everyone), 0)
    with Held(*gaussians) as edited:
        edit = chain.edit(1, gaussians)
    assert len(edit.gaussians) > N
    assert 0.5 * foreseen < shaken.peak < foreseen
    assert 0.5 * foreseen < edited.peak < foreseen


def test_photos_that_a_gpu_keeps_are_not_held_in_memory() -> None:
    """90 photos learned from and 10 tested, each 2.4 MB; three more are pinned, on their way."""
    learned = 3 * 800_000 * 90
    tested = 3 * 800_000 * 10
    assert part(ON_A_GPU, "photos") == learned + tested + 3 * 3 * 800_000
    assert part(replace(ON_A_GPU, on_device=0), "photos") == part(ON_A_GPU, "photos") + learned // 4
    again = replace(ON_A_GPU, in_views=False)
    assert part(again, "photos") == under_way([PHOTO], None, True)
    assert part(replace(again, on_device=learned // 2), "photos") == part(again, "photos") + learned // 2


def test_many_tiles_need_wider_keys() -> None:
    """3840 x 2160 has 32,400 tiles, which 16 bits can name; 4096 x 2160 has 34,560."""
    narrow, wide = (replace(ON_A_GPU, train=(Size(width, 2160),)) for width in (3840, 4096))
    assert (pair_bytes(narrow), pair_bytes(wide)) == (38, 44)
    assert pair_bytes(replace(DEMAND, train=(Size(4096, 2160),))) == COSTS["cpu"].pair


def test_photos_on_the_gpu_are_given_up_first() -> None:
    """One byte too few: they are sent again and again, as many kept as there is room for; the rest stays."""
    whole = predict(ON_A_GPU).device_total
    assert fit(ON_A_GPU, PLENTY, whole).said == ()
    assert fit(ON_A_GPU, PLENTY, whole).demand.on_device is None
    fitted = fit(ON_A_GPU, PLENTY, whole - 1)
    assert fitted.demand == replace(ON_A_GPU, on_device=fitted.demand.on_device)
    assert fitted.demand.on_device == 3 * 800_000 * 90 - 1
    assert fitted.prediction.device_total == whole - 1
    assert len(fitted.said) == 1
    assert fitted.said[0].startswith("photos are sent to the GPU again and again, with 216 MB of them kept there")


def test_gaussians_are_given_up_second_on_a_gpu() -> None:
    bare = predict(replace(ON_A_GPU, on_device=0)).device_total
    assert fit(ON_A_GPU, PLENTY, bare).demand == replace(ON_A_GPU, on_device=0)
    fitted = fit(ON_A_GPU, PLENTY, bare // 2)
    cap = fitted.demand.gaussians
    assert FEWEST_GAUSSIANS <= cap < 1_000_000
    assert fitted.prediction.device_total == bare // 2  # what a thousand Gaussians would not fill, photos do
    assert predict(replace(fitted.demand, gaussians=cap + 1000, on_device=0)).device_total > bare // 2
    assert fitted.said[1].startswith(f"at most {cap:,} Gaussians instead of 1,000,000, to stay within")
    assert fitted.said[1].endswith("of the GPU's memory")
    assert fit_loaded(ON_A_GPU, PLENTY, bare // 2).demand.gaussians == cap
    assert most_gaussians(fitted.demand, PLENTY, bare // 2) == cap


def test_size_is_given_up_third_on_a_gpu() -> None:
    large = replace(ON_A_GPU, train=(Size(8000, 6000),) * 9, test=(Size(8000, 6000),))
    bare = predict(replace(large, on_device=0, gaussians=FEWEST_GAUSSIANS)).device_total
    assert fit(large, PLENTY, bare).smaller == 1
    fitted = fit(large, PLENTY, bare - 1)
    assert fitted.smaller == 2
    assert "photos of at most 4000 x 3000 pixels instead of 8000 x 6000" in fitted.said[-1]
    assert fitted.said[-1].endswith("of the GPU's")
    assert fitted.prediction.device_total <= bare - 1


def test_what_a_gpu_must_have_at_least() -> None:
    needs = r"at least \d+ MB of the GPU's memory here.*; got 50 MB: close other programs that use it, raise --gpu-mem"
    for choose_what_fits in (fit, fit_loaded):
        with pytest.raises(InputError, match=needs):
            choose_what_fits(ON_A_GPU, PLENTY, 50_000_000)
    with pytest.raises(InputError, match="close other programs, or raise --memory"):
        fit(ON_A_GPU, 50_000_000, PLENTY)


def test_memory_and_the_gpus_both_bind() -> None:
    """Whatever the two budgets, both are kept or one of them is refused."""
    demand = replace(ON_A_GPU, train=(Size(3000, 2000),) * 40)
    kept = 0
    for budget in range(1_500_000_000, 4_000_000_000, 500_000_000):
        for gpu in range(200_000_000, 5_000_000_000, 400_000_000):
            try:
                fitted = fit(demand, budget, gpu)
            except InputError:
                continue
            kept += 1
            assert fitted.prediction.total <= budget
            assert fitted.prediction.device_total <= gpu
            lists = pair_bytes(fitted.demand) * (fitted.most_pairs - 2 * fitted.prediction.pairs)
            assert lists <= gpu
    assert kept > 10


def test_any_gpu_is_large_enough_where_nobody_says() -> None:
    assert fit(ON_A_GPU, PLENTY).demand == ON_A_GPU
    assert fit(ON_A_GPU, PLENTY).most_pairs == MOST_PAIRS
    assert default_gpu_budget(torch.device("cpu")) is None


def test_a_cpu_has_no_memory_of_a_gpu() -> None:
    assert predict(DEMAND).device == {}
    assert fit(DEMAND, PLENTY, 1).demand == DEMAND
