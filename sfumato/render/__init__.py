"""Gaussians and cameras to pictures: one picture, camera paths, fly-through videos."""

from sfumato.render.render import Render, render

__all__ = ["Render", "render"]
