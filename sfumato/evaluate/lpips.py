"""Two images to their perceptual distance LPIPS (Zhang et al. 2018), with weights that the caller brings."""

import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, relu

from sfumato.core.check import check_shape
from sfumato.core.errors import InputError

__all__ = ["Lpips"]


@dataclass(frozen=True)
class _Network:
    """The convolutions of a published feature network, up to the last one that LPIPS looks at."""

    name: str
    shapes: tuple[tuple[int, int, int], ...]  # per convolution: colors out, colors in, kernel side
    strides: tuple[int, ...]
    paddings: tuple[int, ...]
    pool: tuple[int, int]  # side and stride
    pooled: frozenset[int]  # the convolutions that a pooling stands before
    taps: tuple[int, ...]  # the convolutions whose rectified outputs are compared
    least: int  # pixels, the smallest side that leaves something to compare


ALEX = _Network(  # Krizhevsky 2014
    name="AlexNet",
    shapes=((64, 3, 11), (192, 64, 5), (384, 192, 3), (256, 384, 3), (256, 256, 3)),
    strides=(4, 1, 1, 1, 1),
    paddings=(2, 2, 1, 1, 1),
    pool=(3, 2),
    pooled=frozenset({1, 2}),
    taps=(0, 1, 2, 3, 4),
    least=31,
)
VGG_COLORS = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
VGG = _Network(  # configuration D of Simonyan and Zisserman 2015
    name="VGG16",
    shapes=tuple((out, into, 3) for into, out in itertools.pairwise(VGG_COLORS)),
    strides=(1,) * 13,
    paddings=(1,) * 13,
    pool=(2, 2),
    pooled=frozenset({2, 4, 7, 10}),
    taps=(1, 3, 6, 9, 12),
    least=16,
)
SHIFT = (-0.030, -0.088, -0.188)  # of images in [-1, 1]; the mean and spread of ImageNet, as the metric was trained
SCALE = (0.458, 0.448, 0.450)


@dataclass(frozen=True, eq=False)
class Lpips:
    """LPIPS with the weights of one network; call it with two images."""

    network: _Network
    kernels: list[Tensor]  # per convolution (out, in, side, side)
    biases: list[Tensor]  # per convolution (out,)
    heads: list[Tensor]  # per tap (out,) >= 0

    @classmethod
    def load(cls, path: Path | str) -> "Lpips":
        """Weights from a .pth (read without pickled code) or .safetensors file.

        The file is the state dict of the authors' module, or the backbone's `features.*` and the `lin*` of the
        heads in one dict; whether it is AlexNet or VGG16 shows from the shapes. Raises InputError otherwise.
        """
        path = Path(path)
        state = _read_state(path)
        numbered: dict[int, dict[str, Tensor]] = {}
        for key, value in state.items():
            if found := re.fullmatch(r"(?:.*\.)?(?:slice\d+|features)\.(\d+)\.(weight|bias)", key):
                numbered.setdefault(int(found[1]), {})[found[2]] = value.float()
        layers = [numbered[number] for number in sorted(numbered)]
        shapes = [tuple(layer["weight"].shape) for layer in layers if "weight" in layer and "bias" in layer]
        for network in (ALEX, VGG):
            if shapes[: len(network.shapes)] == [(out, into, side, side) for out, into, side in network.shapes]:
                used = layers[: len(network.shapes)]
                heads = _heads(path, state, network)
                return cls(network, [part["weight"] for part in used], [part["bias"] for part in used], heads)
        raise InputError(
            f"{path} holds no LPIPS network: wanted the convolutions of AlexNet or VGG16 as features.N.weight "
            f"and features.N.bias, and the heads as linN.model.1.weight; got {len(state)} tensors"
        )

    def to(self, device: torch.device | str) -> "Lpips":
        """The same weights on another device; images are brought there to be compared."""
        parts = ([tensor.to(device) for tensor in part] for part in (self.kernels, self.biases, self.heads))
        return Lpips(self.network, *parts)

    @torch.no_grad()
    def __call__(self, image: Tensor, target: Tensor) -> float:
        """The distance of (H, W, 3) images, floats clamped to [0, 1] or uint8; 0 for equal ones."""
        check_shape("image", image, ("H", "W", 3))
        check_shape("target", target, ("H", "W", 3), H=image.shape[0], W=image.shape[1])
        if min(image.shape[:2]) < self.network.least:
            raise InputError(f"LPIPS needs sides of at least {self.network.least} pixels; got {tuple(image.shape[:2])}")
        with _single_precision():
            pairs = zip(self._features(image), self._features(target), self.heads, strict=True)
        # Eq. 1 of Zhang et al. 2018
        return sum(torch.einsum("c,chw->hw", head, (a - b) ** 2).mean().item() for a, b, head in pairs)

    def _features(self, image: Tensor) -> list[Tensor]:
        """Per tap (C, h, w): rectified outputs, scaled to length 1 at every pixel."""
        image = image.to(self.kernels[0].device)
        values = image.float() / 255 if image.dtype == torch.uint8 else image.float().clamp(0, 1)
        values = (2 * values - 1 - values.new_tensor(SHIFT)) / values.new_tensor(SCALE)
        values = values.permute(2, 0, 1)[None]
        features = []
        for index, (kernel, bias) in enumerate(zip(self.kernels, self.biases, strict=True)):
            if index in self.network.pooled:
                values = max_pool2d(values, *self.network.pool)
            stride, padding = self.network.strides[index], self.network.paddings[index]
            values = relu(conv2d(values, kernel, bias, stride=stride, padding=padding))
            if index in self.network.taps:
                features.append(values[0] / (values[0].norm(dim=0) + 1e-10))
        return features


@contextmanager
def _single_precision() -> Iterator[None]:
    """Convolutions without TF32, whose 10 bits cuDNN takes by default: a score must not depend on the card."""
    cudnn: Any = torch.backends.cudnn
    exact: str | bool
    if hasattr(cudnn, "conv"):  # torch 2.9 and newer, which refuse a mixture of both ways
        place, name, exact = cudnn.conv, "fp32_precision", "ieee"
    else:
        place, name, exact = cudnn, "allow_tf32", False
    before = getattr(place, name)
    setattr(place, name, exact)
    try:
        yield
    finally:
        setattr(place, name, before)


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path} is not there; LPIPS weights are not part of sfumato") from None
    except Exception as error:  # torch and safetensors raise many kinds for a damaged file
        raise InputError(f"{path} cannot be read as weights: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"{path} must hold a state dict of tensors; got {type(state).__name__}")
    return state


def _heads(path: Path, state: dict[str, Tensor], network: _Network) -> list[Tensor]:
    heads = []
    for tap, layer in enumerate(network.taps):
        wanted = network.shapes[layer][0]
        keys = [f"lin{tap}.model.1.weight", f"lins.{tap}.model.1.weight"]
        head = next((state[key].float().flatten() for key in keys if key in state), None)
        if head is None or len(head) != wanted:
            got = "nothing" if head is None else f"{len(head)} numbers"
            raise InputError(f"{path}: {keys[0]} must have {wanted} numbers for {network.name}; got {got}")
        heads.append(head)
    return heads
