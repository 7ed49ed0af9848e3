"""Photos in, 3D Gaussian splat out.

    import sfumato

    scene = sfumato.load_scene("photos", downscale=2)
    gaussians = sfumato.train(scene)
    print(sfumato.evaluate(gaussians, scene.test, background=scene.background).psnr)
    sfumato.write("splat.ply", gaussians)
    sfumato.export("scene.html", gaussians)
    picture = sfumato.render(gaussians, scene.test[0].camera).image  # (H, W, 3), differentiable

Importing sfumato loads none of this, not even torch: each name is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sfumato import edit as edit
    from sfumato.capture import load_scene as load_scene
    from sfumato.core.asset import Asset as Asset
    from sfumato.core.camera import Camera as Camera
    from sfumato.core.errors import BackendError as BackendError
    from sfumato.core.errors import InputError as InputError
    from sfumato.core.errors import SfumatoError as SfumatoError
    from sfumato.core.gaussians import Gaussians as Gaussians
    from sfumato.core.scene import Points as Points
    from sfumato.core.scene import Scene as Scene
    from sfumato.core.scene import View as View
    from sfumato.evaluate import Evaluation as Evaluation
    from sfumato.evaluate import evaluate as evaluate
    from sfumato.evaluate import psnr as psnr
    from sfumato.evaluate import ssim as ssim
    from sfumato.formats import WriteOptions as WriteOptions
    from sfumato.formats import read as read
    from sfumato.formats import read_asset as read_asset
    from sfumato.formats import write as write
    from sfumato.kernels.stages import RenderSettings as RenderSettings
    from sfumato.render import Render as Render
    from sfumato.render import render as render
    from sfumato.train import TrainConfig as TrainConfig
    from sfumato.train import plan_steps as plan_steps
    from sfumato.train import train as train
    from sfumato.view.export import export as export

__all__ = [
    "Asset",
    "BackendError",
    "Camera",
    "Evaluation",
    "Gaussians",
    "InputError",
    "Points",
    "Render",
    "RenderSettings",
    "Scene",
    "SfumatoError",
    "TrainConfig",
    "View",
    "WriteOptions",
    "__version__",
    "edit",
    "evaluate",
    "export",
    "load_scene",
    "plan_steps",
    "psnr",
    "read",
    "read_asset",
    "render",
    "ssim",
    "train",
    "write",
]

__version__ = "0.1.0"

_ROOMS = ("edit", "evaluate", "render", "train")  # packages; all but edit can be called, too
_HOMES = {
    "Asset": "core.asset",
    "BackendError": "core.errors",
    "Camera": "core.camera",
    "Evaluation": "evaluate",
    "Gaussians": "core.gaussians",
    "InputError": "core.errors",
    "Points": "core.scene",
    "Render": "render",
    "RenderSettings": "kernels.stages",
    "Scene": "core.scene",
    "SfumatoError": "core.errors",
    "TrainConfig": "train",
    "View": "core.scene",
    "WriteOptions": "formats",
    "export": "view.export",
    "load_scene": "capture",
    "plan_steps": "train",
    "psnr": "evaluate",
    "read": "formats",
    "read_asset": "formats",
    "ssim": "evaluate",
    "write": "formats",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"sfumato.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"sfumato.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'sfumato' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
