"""A splat on its way through the operations of `sfumato edit`, with the cameras that saw it, which move along."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from sfumato import edit
from sfumato.cli.console import patient
from sfumato.core.asset import Asset
from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Scene

__all__ = ["Chain"]


class Chain:
    """What operations work on: one method for each, which returns what it did, in words."""

    def __init__(self, asset: Asset, scene: Callable[[], Scene] | None = None, backend: str = "auto") -> None:
        self.asset = asset
        self._read, self._backend = scene, backend
        self._scene: Scene | None = None
        self._chosen: Tensor | None = None  # (N,) True for those that operations concern; None: all
        self._moved = (torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64), 1.0)

    def __len__(self) -> int:
        return len(self.asset)

    # place

    def translate(self, x: float, y: float, z: float) -> str:
        """Move."""
        return self._move(torch.eye(3, dtype=torch.float64), torch.tensor([x, y, z], dtype=torch.float64), 1.0, "moved")

    def rotate(self, x: float, y: float, z: float, degrees: float) -> str:
        """Turn about an axis."""
        return self._move(edit.rotation_about((x, y, z), degrees), torch.zeros(3), 1.0, "turned")

    def turn(self, w: float, x: float, y: float, z: float) -> str:
        """Turn by a quaternion."""
        return self._move(edit.rotation_of((w, x, y, z)), torch.zeros(3), 1.0, "turned")

    def scale(self, factor: float) -> str:
        """Make larger."""
        return self._move(torch.eye(3), torch.zeros(3), factor, "made larger" if factor > 1 else "made smaller")

    def center(self) -> str:
        """Move the middle to zero."""
        middle = edit.middle(self._part())
        done = self._move(torch.eye(3), -middle, 1.0, "moved")
        return f"{done} by {_spaced(-middle)}"

    def up(self, *towards: float | str) -> str:
        """Turn upright."""
        direction = self._upwards() if towards == ("auto",) else torch.tensor([float(value) for value in towards])
        rotation = edit.upright_rotation(direction, self.asset.axes)
        degrees = torch.rad2deg(torch.arccos(((rotation.trace() - 1) / 2).clamp(-1, 1)))
        self._move(rotation, torch.zeros(3), 1.0, "")
        if self._chosen is None:
            self.asset = edit.upright(replace(self.asset, up=None), rotation @ direction.double())
        return f"turned by {degrees:.1f} degrees: up was {_spaced(direction)}"

    # keep a part

    def crop_box(self, *corners: float) -> str:
        """What lies in a box."""
        return self._keep(lambda part: edit.inside_box(part, corners[:3], corners[3:]))

    def crop_turned_box(self, *numbers: float) -> str:
        """What lies in a turned box."""
        rotation = edit.rotation_about(numbers[6:9], numbers[9])
        return self._keep(lambda part: edit.inside_box(part, numbers[:3], numbers[3:6], rotation))

    def crop_sphere(self, x: float, y: float, z: float, radius: float) -> str:
        """What lies in a sphere."""
        return self._keep(lambda part: edit.inside_sphere(part, (x, y, z), radius))

    def crop_camera_hull(self, grow: float = 1.0) -> str:
        """What the photos were about."""
        if not 0 < grow < float("inf"):
            raise InputError(f"--crop-camera-hull must be a positive number; got {grow:g}")
        cameras = self._cameras("--crop-camera-hull")
        return self._keep(lambda part: edit.inside_camera_hull(part, cameras, grow))

    def crop_views(self, count: float) -> str:
        """What is in so many pictures."""
        least = _whole("--crop-views", count)
        cameras = self._cameras("--crop-views")
        if least > len(cameras):
            raise InputError(f"--crop-views must be at most {len(cameras)}, the cameras there are; got {least}")
        return self._keep(lambda part: edit.views_seeing(part, cameras) >= least)

    def select(self, condition: str) -> str:
        """What meets a condition."""
        read = edit.Condition.read(condition)
        return self._keep(lambda part: edit.matches(part, read))

    def remove(self, condition: str) -> str:
        """What does not."""
        read = edit.Condition.read(condition)
        return self._keep(lambda part: ~edit.matches(part, read))

    # color

    def exposure(self, stops: float) -> str:
        """More light."""
        return self._changed(lambda asset: edit.exposure(asset, stops), "recolored")

    def contrast(self, factor: float) -> str:
        """Farther from middle gray."""
        return self._changed(lambda asset: edit.contrast(asset, factor), "recolored")

    def saturation(self, factor: float) -> str:
        """Farther from gray."""
        return self._changed(lambda asset: edit.saturation(asset, factor), "recolored")

    def white_balance(self, warmth: float, magenta: float = 0.0) -> str:
        """Warmer."""
        return self._changed(lambda asset: edit.white_balance(asset, warmth, magenta), "recolored")

    def gain(self, *rgb: float) -> str:
        """Multiplied."""
        return self._changed(lambda asset: edit.recolor(asset, torch.tensor(rgb).diag()), "recolored")

    def offset(self, *rgb: float) -> str:
        """Added to."""
        return self._changed(lambda asset: edit.recolor(asset, torch.eye(3), rgb), "recolored")

    def recolor(self, *rgb: float) -> str:
        """Painted."""
        return self._changed(lambda asset: edit.tint(asset, rgb), "recolored")

    # size

    def sh_degree(self, degree: float) -> str:
        """Fewer harmonics."""
        before, most = self.asset.gaussians.degree, _whole("--sh-degree", degree, least=0)
        return self._changed(lambda asset: edit.limit_degree(asset, most), f"degree {before} to {min(before, most)}")

    def morton(self) -> str:
        """Another order."""
        return self._changed(edit.in_morton_order, "reordered")

    def decimate(self, count: float | str) -> str:
        """Fewer Gaussians."""
        part = self._part()
        wanted = _count_of(count, len(part))
        before = self._psnr() if wanted < len(part) else None
        with patient() as progress:
            self._changed(lambda asset: edit.decimate(asset, wanted, progress), "")
        done = f"merged {len(part):,} to {min(wanted, len(part)):,}"
        after = self._psnr() if before is not None else None
        if before is None or after is None:
            return done
        return f"{done}, PSNR {before:.2f} dB to {after:.2f} dB on {len(self._held_out())} held-out photos"

    # only some

    def where(self, condition: str) -> str:
        """What follows concerns these."""
        if condition.strip() == "all":
            self._chosen = None
            return "all again"
        chosen = edit.matches(self.asset.gaussians, condition)
        self._chosen = chosen
        if len(self) and not chosen.any():
            raise InputError(f"--where {condition!r} holds for none of {len(self):,} Gaussians; nothing would be done")
        return f"{int(chosen.sum()):,} of {len(self):,} from here on"

    # how

    def _part(self) -> Gaussians:
        gaussians = self.asset.gaussians
        return gaussians if self._chosen is None else gaussians[self._chosen.nonzero()[:, 0]]

    def _changed(self, function: Callable[[Asset], Asset], said: str) -> str:
        """The function done to all, or put back in place of the part that it was done to."""
        if self._chosen is None:
            self.asset = function(self.asset)
            return said
        old, rows = self.asset.gaussians, self._chosen.nonzero()[:, 0]
        new = function(replace(self.asset, gaussians=self._part())).gaussians.with_degree(old.degree)
        if len(new) == len(rows):
            self._put(old.map(torch.Tensor.clone), rows, new)
        else:
            rest = old[(~self._chosen).nonzero()[:, 0]]
            self._chosen = torch.arange(len(rest) + len(new)) >= len(rest)
            self.asset = replace(self.asset, gaussians=Gaussians.cat([rest, new]))
        return said

    def _put(self, target: Gaussians, rows: Tensor, new: Gaussians) -> None:
        for tensor, numbers in zip(target, new, strict=True):
            tensor[rows] = numbers
        self.asset = replace(self.asset, gaussians=target)

    def _keep(self, inside: Callable[[Gaussians], Tensor]) -> str:
        """Only those of the part that are inside, and all that are not of the part."""
        before = len(self._part())
        if self._chosen is None:
            kept = inside(self.asset.gaussians)
        else:
            kept = ~self._chosen
            kept[self._chosen.nonzero()[:, 0]] = inside(self._part())
            self._chosen = self._chosen[kept]
        self.asset = edit.keep(self.asset, kept)
        return f"kept {len(self._part()):,} of {before:,}"

    def _move(self, rotation: Tensor, shift: Tensor, factor: float, said: str) -> str:
        done = self._changed(lambda asset: edit.move(asset, rotation, shift, factor), said)
        if self._chosen is None:  # a part that moves leaves the cameras where they are
            linear, offset, size = self._moved
            turn = rotation.double()
            self._moved = (turn @ linear, factor * turn @ offset + shift.double().cpu(), factor * size)
        return done

    def _scene_for(self, what: str) -> Scene:
        if self._read is None:
            raise InputError(f"{what} needs the cameras: add --scene INPUT, the photos or the dataset of the training")
        if self._scene is None:
            self._scene = self._read()
        return self._scene

    def _cameras(self, what: str) -> list[Camera]:
        scene = self._scene_for(what)
        return [self._along(view.camera) for view in scene.train or scene.views]

    def _along(self, camera: Camera) -> Camera:
        """A camera of the scene where the splat, which has moved, sees it."""
        return edit.move_camera(camera, *self._moved)

    def _upwards(self) -> Tensor:
        if self.asset.up is not None:
            return torch.tensor(self.asset.up, dtype=torch.float64)
        if self._read is None:
            raise InputError(
                "--up auto: the file does not say which way is up; give a direction, as --up 0 -1 0, or --scene INPUT,"
                " whose cameras tell"
            )
        from sfumato.render.path import up_of

        return up_of(self._cameras("--up auto"))

    def _held_out(self) -> list[int]:
        scene = self._scene
        return [index for index, view in enumerate(scene.views) if view.split == "test"] if scene else []

    def _psnr(self) -> float | None:
        """Of the held-out photos, dB; None without any."""
        if self._read is None:
            return None
        from sfumato.cli.run import prepare
        from sfumato.evaluate import evaluate
        from sfumato.kernels.backends import choose
        from sfumato.kernels.stages import RenderSettings

        scene = self._scene_for("--decimate")
        views = [replace(view, camera=self._along(view.camera)) for view in scene.test]
        if not views:
            return None
        prepare(self._backend)
        near = scene.near * self._moved[2]
        settings = RenderSettings(near=near, depth=False, antialiased=self.asset.antialiased is True)
        gaussians = self.asset.gaussians.to(choose(self._backend)[1])
        return evaluate(gaussians, views, settings, scene.background, self._backend).psnr


def _count_of(count: float | str, of: int) -> int:
    if isinstance(count, float):
        return _whole("--decimate", count)
    try:
        share = float(count.removesuffix("%")) / 100
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise InputError(f"--decimate must be a number of Gaussians, or a share, above 0% to 100%; got {count}")
    return max(1, round(share * of))


def _whole(flag: str, value: float, least: int = 1) -> int:
    if value != value // 1 or value < least or value > 1 << 40:
        raise InputError(f"{flag} must be a whole number of at least {least}; got {value:g}")
    return int(value)


def _spaced(vector: Tensor) -> str:
    return " ".join(f"{value + 0.0:.4g}" for value in vector.tolist())
