"""Gaussians -> Gaussians: select, clean, transform, merge, reduce."""

from sfumato.edit.crop import (
    crop_box,
    crop_camera_hull,
    crop_sphere,
    crop_views,
    inside_box,
    inside_camera_hull,
    inside_sphere,
    keep,
    views_seeing,
)
from sfumato.edit.expression import Condition, matches, remove, select
from sfumato.edit.transform import move, rotate, rotation_about, rotation_between, scale, translate, turn, upright

__all__ = [
    "Condition",
    "crop_box",
    "crop_camera_hull",
    "crop_sphere",
    "crop_views",
    "inside_box",
    "inside_camera_hull",
    "inside_sphere",
    "keep",
    "matches",
    "move",
    "remove",
    "rotate",
    "rotation_about",
    "rotation_between",
    "scale",
    "select",
    "translate",
    "turn",
    "upright",
    "views_seeing",
]
