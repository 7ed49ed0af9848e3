"""LPIPS: both networks with random weights, against the same network built from torch's own layers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from sfumato.core.errors import InputError
from sfumato.evaluate.lpips import ALEX, VGG, Lpips


def alex() -> nn.Sequential:
    return nn.Sequential(
        *[nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU()],
        *[nn.MaxPool2d(3, 2), nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(), nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU()],
        *[nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU()],
    )


def vgg() -> nn.Sequential:
    layers: list[nn.Module] = []
    into = 3
    for size in (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"):
        if isinstance(size, str):
            layers.append(nn.MaxPool2d(2, 2))
        else:
            layers += [nn.Conv2d(into, size, 3, 1, 1), nn.ReLU()]
            into = size
    return nn.Sequential(*layers)


CASES = {"alex": (alex, (1, 4, 7, 9, 11), ALEX), "vgg": (vgg, (3, 8, 15, 22, 29), VGG)}


def weights(network: nn.Sequential, taps: tuple[int, ...]) -> dict[str, Tensor]:
    state = {f"features.{key}": value for key, value in network.state_dict().items()}
    sizes = [network[tap - 1].out_channels for tap in taps]  # type: ignore[union-attr]
    return state | {f"lin{i}.model.1.weight": torch.rand(1, size, 1, 1) for i, size in enumerate(sizes)}  # type: ignore[arg-type]


def expected(network: nn.Sequential, taps: tuple[int, ...], state: dict[str, Tensor], a: Tensor, b: Tensor) -> float:
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    pair = torch.stack([((2 * x - 1 - shift) / scale).permute(2, 0, 1) for x in (a, b)])
    total = 0.0
    with torch.no_grad():
        for index, layer in enumerate(network):
            pair = layer(pair)
            if index in taps:
                unit = torch.nn.functional.normalize(pair, dim=1)
                head = state[f"lin{taps.index(index)}.model.1.weight"]
                total += torch.nn.functional.conv2d((unit[:1] - unit[1:]) ** 2, head).mean().item()
    return total


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["alex", "vgg"])
def test_distance_is_that_of_the_network(tmp_path: Path, name: str, suffix: str, seed: int) -> None:
    build, taps, network = CASES[name]
    model = build()
    state = weights(model, taps)
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    lpips = Lpips.load(path)
    assert lpips.network is network
    a, b = torch.rand(67, 49, 3), torch.randint(0, 256, (67, 49, 3), dtype=torch.uint8)
    assert lpips(a, b) == pytest.approx(expected(model, taps, state, a, b.float() / 255), rel=1e-4)
    assert lpips(a, a) == 0
    least = torch.rand(network.least, network.least, 3)
    assert lpips(least, 1 - least) > 0
    with pytest.raises(InputError, match="sides of at least"):
        lpips(least[1:], least[1:])


def test_names_of_the_authors_module(tmp_path: Path, seed: int) -> None:
    model = alex()
    state = weights(model, CASES["alex"][1])
    slices = {0: 1, 3: 2, 6: 3, 8: 4, 10: 5}
    renamed = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1)}
    for key, value in state.items():
        number = key.split(".")[1]
        renamed[f"net.slice{slices[int(number)]}.{number}.{key.split('.')[2]}" if "features" in key else key] = value
    torch.save(renamed, tmp_path / "a.pth")
    torch.save(state, tmp_path / "b.pth")
    a, b = torch.rand(40, 40, 3), torch.rand(40, 40, 3)
    assert Lpips.load(tmp_path / "a.pth")(a, b) == Lpips.load(tmp_path / "b.pth")(a, b) > 0


class Thief:
    """What a malicious file would carry."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (Path.touch, (Path("stolen"),))  # type: ignore[return-value]


def test_files_that_are_no_weights(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="is not there"):
        Lpips.load("none.pth")
    Path("text.pth").write_text("hello", encoding="utf-8")
    Path("text.safetensors").write_text("hello", encoding="utf-8")
    torch.save({"weights": Thief()}, "thief.pth")
    for name in ("text.pth", "text.safetensors", "thief.pth"):
        with pytest.raises(InputError, match="cannot be read as weights") as caught:
            Lpips.load(name)
        assert "\n" not in str(caught.value)
    assert not Path("stolen").exists()
    torch.save({"features.0.weight": torch.zeros(3, 3, 3, 3), "features.0.bias": torch.zeros(3)}, "other.pth")
    with pytest.raises(InputError, match="holds no LPIPS network"):
        Lpips.load("other.pth")
    state = weights(alex(), CASES["alex"][1])
    del state["lin3.model.1.weight"]
    torch.save(state, "headless.pth")
    with pytest.raises(InputError, match=r"lin3\.model\.1\.weight must have 256 numbers for AlexNet; got nothing"):
        Lpips.load("headless.pth")


def test_no_card_rounds_in_convolutions(monkeypatch: pytest.MonkeyPatch) -> None:
    """cuDNN may take TF32 for float32 unless it is told; afterwards everything is as it was."""
    layers = [nn.Conv2d(into, out, side) for out, into, side in ALEX.shapes]
    kernels, biases = [layer.weight.detach() for layer in layers], [layer.bias.detach() for layer in layers]  # type: ignore[union-attr]
    lpips = Lpips(ALEX, kernels, biases, [torch.rand(ALEX.shapes[tap][0]) for tap in ALEX.taps])
    cudnn: Any = torch.backends.cudnn

    def setting() -> object:
        return cudnn.conv.fp32_precision if hasattr(cudnn, "conv") else cudnn.allow_tf32

    def noted(*words: Any, **more: Any) -> Tensor:
        seen.append(setting())
        return nn.functional.conv2d(*words, **more)

    before, seen = setting(), []
    monkeypatch.setattr("sfumato.evaluate.lpips.conv2d", noted)
    lpips(torch.rand(40, 40, 3), torch.rand(40, 40, 3))
    assert set(seen) <= {"ieee", False}
    assert len(seen) == 10
    assert setting() == before
