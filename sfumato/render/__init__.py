"""Gaussians and cameras to pictures: one picture, camera paths, fly-through videos."""

from sfumato.core.room import make_callable
from sfumato.render.path import orbit, smooth_path
from sfumato.render.render import Render, render
from sfumato.render.video import fly_through, write_frames, write_video

__all__ = ["Render", "fly_through", "orbit", "render", "smooth_path", "write_frames", "write_video"]

make_callable(__name__, render)
