"""A scene to the calls of a training step, stage by stage: ours, and gsplat's on the same scene."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import bases_of_degree
from sfumato.kernels.gpu import launch
from sfumato.kernels.reference.bin import smallest_exponent
from sfumato.kernels.stages import TILE, AdamStep, Backend, Moments, Rates, RenderSettings, Splats, TileLists

__all__ = ["Gsplat", "Ours", "Scene", "Visits"]

RATE = 1e-6  # of learning: small, so that every step sees the same scene
SSIM_WEIGHT = 0.2
Calls = dict[str, Callable[[], Any]]


@dataclass(frozen=True, eq=False)
class Scene:
    """What is trained on: Gaussians and photo on the device, the camera on the CPU."""

    name: str
    gaussians: Gaussians
    camera: Camera
    photo: Tensor  # (H, W, 3) uint8


@dataclass(frozen=True)
class Visits:
    """How often a warp of the blend kernel takes up a Gaussian, and the launch that did it."""

    count: int
    launch: tuple[Any, Any, dict[str, Any]]


class Ours:
    """Training steps as the trainer does them, with room for the tile lists known from the step before."""

    def __init__(self, scene: Scene, stages: Backend) -> None:
        self.scene, self.backend = scene, stages
        self.gaussians = scene.gaussians.map(Tensor.clone)
        self.moments = Moments.zeros(self.gaussians)
        self.background = torch.zeros(3, device=scene.photo.device)
        self.settings = RenderSettings(depth=False)
        self._project()
        self._bin()
        self.pairs = self.tiles.count
        self.settings = replace(self.settings, room=self.pairs * 5 // 4 + 1000)

    def stages(self) -> Calls:
        """In their order; each works on what the ones before left."""
        return {
            "project, SH": self._project,
            "sort, tile lists": self._bin,
            "blend": self._blend,
            "L1 + D-SSIM and gradient": self._loss,
            "blend backward": lambda: self.image.backward(self.g_image),
            "project backward + Adam": self._adam,
        }

    def step(self) -> None:
        """All stages; whether all pairs found room is read before anything changes."""
        self._project()
        self._bin()
        self._blend()
        self._loss()
        self.image.backward(self.g_image)
        if self.tiles.missing:
            raise RuntimeError(f"{self.tiles.missing} pairs found no room: the scene moved too far")
        self._adam()

    def draw(self) -> None:
        """A picture, without gradients and without waiting."""
        with torch.no_grad():
            self._project()
            self._bin()
            self._blend()

    def least_bytes(self) -> dict[str, int]:
        """What each stage must read and write at least, each number once."""
        N, pixels = len(self.gaussians.means), self.scene.camera.width * self.scene.camera.height
        seen = int(self.splats.seen.sum())
        bases = 1 + self.gaussians.shN.shape[1]
        stored = 11 + 3 * bases
        return {
            "project, SH": 4 * (11 * N + 3 * bases * seen + 12 * N),
            "sort, tile lists": 4 * (9 * N + self.pairs),
            "blend": 4 * (12 * seen + self.pairs + 4 * pixels),
            "L1 + D-SSIM and gradient": pixels * 3 * (4 + 1 + 4),
            "blend backward": 4 * (12 * seen + self.pairs + 8 * pixels + 12 * N),
            "project backward + Adam": 4 * (12 * N + 6 * stored * N),
        }

    def visits(self) -> dict[str, Visits]:
        """Of blend and of blend backward: pairs of a Gaussian and a warp it reaches, as far as lists are walked."""
        self.draw()
        found: dict[str, Any] = {}

        def note(kernel: Any, arguments: Any, constants: dict[str, Any]) -> None:
            found[f"{kernel.fn.__module__.rpartition('.')[2]}.{kernel.fn.__name__}"] = (kernel, arguments, constants)

        launch.recorders.append(note)
        try:
            self._blend()
            self._loss()
            self.image.backward(self.g_image)
        finally:
            launch.recorders.remove(note)
        forward, backward = found["blend._forward"], found["blend_backward._backward"]
        walked = dict(zip(forward[0].arg_names, forward[1], strict=False))["walked"]
        return {
            "blend": Visits(_count(self.splats, self.tiles, walked, forward[2]["ROWS"], self.settings), forward),
            "blend backward": Visits(
                _count(self.splats, self.tiles, walked, backward[2]["ROWS"], self.settings), backward
            ),
        }

    def _project(self) -> None:
        with torch.no_grad():
            self.splats = self.backend.project(self.gaussians, self.scene.camera, self.settings).leaves()

    def _bin(self) -> None:
        camera = self.scene.camera
        self.tiles = self.backend.bin(self.splats, camera.width, camera.height, self.settings)

    def _blend(self) -> None:
        self.image = self.backend.blend(self.splats, self.tiles, self.background, self.settings)[0]

    def _loss(self) -> None:
        leaf = self.image.detach().requires_grad_()
        self.backend.photometric(leaf, self.scene.photo, SSIM_WEIGHT).backward()
        self.g_image = leaf.grad

    def _adam(self) -> None:
        step = AdamStep(Rates(*[RATE] * 6), count=10)
        self.backend.adam_from_splats(self.gaussians, self.splats, self.scene.camera, self.settings, self.moments, step)


def _count(splats: Splats, tiles: TileLists, walked: Tensor, rows: int, settings: RenderSettings) -> int:
    """Visits of warps that hold `rows` rows of a tile; `walked` says how far into the lists its own warps went."""
    total = 0
    parts, own = TILE // rows, walked.numel() // (tiles.tiles_x * tiles.tiles_y)
    lengths = tiles.offsets[1:] - tiles.offsets[:-1]
    tile_from_pair = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
    ends = walked.view(-1, own).repeat_interleave(max(1, parts // own), dim=1).view(-1, parts, max(1, own // parts))
    ends = ends.amax(dim=2)  # (T, parts)
    for chunk in torch.arange(len(tile_from_pair), device=lengths.device).split(2**22):
        tile = tile_from_pair[chunk]
        ids = tiles.splats[chunk].long()
        reach = 2 * torch.log(splats.opacities.detach()[ids] / settings.alpha_min)
        place = chunk - tiles.offsets[tile]
        corner = torch.stack([tile % tiles.tiles_x * TILE, tile // tiles.tiles_x * TILE], dim=1) + 0.5
        for part in range(parts):
            low = corner + torch.tensor([0, part * rows], device=corner.device)
            high = low + torch.tensor([TILE - 1, rows - 1], device=corner.device)
            least = smallest_exponent(splats.means2d.detach()[ids], splats.conics.detach()[ids], low, high)
            total += int(((least <= reach) & (place < ends[tile, part])).sum())
    return total


class Gsplat:
    """gsplat's step as its simple_trainer does it: dense, fused Adam of torch, fused SSIM where that is installed."""

    def __init__(self, scene: Scene) -> None:
        from gsplat import rasterization

        self.rasterization = rasterization
        try:
            from fused_ssim import fused_ssim

            self.ssim: Callable[..., Tensor] | None = fused_ssim
        except ImportError:
            self.ssim = None
        self.scene = scene
        device = scene.photo.device
        self.gaussians = scene.gaussians.map(lambda tensor: tensor.clone().requires_grad_())
        self.viewmats, self.Ks = scene.camera.viewmat[None].to(device), scene.camera.K[None].to(device)
        self.degree = next(d for d in range(5) if bases_of_degree(d) == 1 + scene.gaussians.shN.shape[1])
        self.target = scene.photo[None].float() / 255
        fused = {"fused": True} if device.type == "cuda" else {}
        self.optimizers = [
            torch.optim.Adam([tensor], lr=RATE, eps=1e-15, **fused) for tensor in self.gaussians if tensor.numel()
        ]

    def stages(self) -> Calls:
        """In their order; each works on what the ones before left."""
        return {
            "gsplat forward": self._forward,
            "gsplat loss": self._loss,
            "gsplat backward": lambda: self.loss.backward(),
            "gsplat Adam": self._adam,
        }

    def step(self) -> None:
        """All stages."""
        for call in self.stages().values():
            call()

    def draw(self) -> None:
        """A picture, without gradients."""
        with torch.no_grad():
            self._forward()

    def _forward(self) -> None:
        g = self.gaussians
        self.image = self.rasterization(
            means=g.means,
            quats=g.quats,
            scales=torch.exp(g.log_scales),
            opacities=torch.sigmoid(g.logit_opacities),
            colors=torch.cat([g.sh0, g.shN], dim=1),
            viewmats=self.viewmats,
            Ks=self.Ks,
            width=self.scene.camera.width,
            height=self.scene.camera.height,
            near_plane=RenderSettings().near,
            sh_degree=self.degree,
            packed=False,
        )[0]

    def _loss(self) -> None:
        l1 = torch.nn.functional.l1_loss(self.image, self.target)
        if self.ssim is None:
            self.loss = l1
            return
        ssim = self.ssim(self.image.permute(0, 3, 1, 2), self.target.permute(0, 3, 1, 2), padding="valid")
        self.loss = l1 * (1 - SSIM_WEIGHT) + (1 - ssim) * SSIM_WEIGHT

    def _adam(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
