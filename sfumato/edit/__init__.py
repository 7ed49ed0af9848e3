"""Gaussians -> Gaussians: select, clean, transform, merge, reduce."""

from sfumato.edit.clean import REASONS, Criteria, Findings, clean, inspect
from sfumato.edit.color import contrast, exposure, mean_color, recolor, saturation, tint, white_balance
from sfumato.edit.condition import Condition, matches, remove, select
from sfumato.edit.crop import crop_box, crop_sphere, inside_box, inside_sphere, keep
from sfumato.edit.crop_cameras import crop_camera_hull, crop_views, inside_camera_hull, views_seeing
from sfumato.edit.lint import lint
from sfumato.edit.lint.finding import Finding
from sfumato.edit.merge import Joined, MergeOptions, merge
from sfumato.edit.merge.icp import Alignment, AlignOptions, align
from sfumato.edit.merge.seam import Seam, seam
from sfumato.edit.merge.similarity import Similarity
from sfumato.edit.reduce import decimate, in_morton_order, limit_degree
from sfumato.edit.rotations import rotation_about, rotation_between, rotation_of, upright_rotation
from sfumato.edit.segment import UNLABELLED, join_nearest, label, vote
from sfumato.edit.spoilage import spoilage
from sfumato.edit.transform import middle, move, move_camera, rotate, scale, translate, turn, upright
from sfumato.edit.visibility import Visibility, visibility

__all__ = [
    "REASONS",
    "UNLABELLED",
    "AlignOptions",
    "Alignment",
    "Condition",
    "Criteria",
    "Finding",
    "Findings",
    "Joined",
    "MergeOptions",
    "Seam",
    "Similarity",
    "Visibility",
    "align",
    "clean",
    "contrast",
    "crop_box",
    "crop_camera_hull",
    "crop_sphere",
    "crop_views",
    "decimate",
    "exposure",
    "in_morton_order",
    "inside_box",
    "inside_camera_hull",
    "inside_sphere",
    "inspect",
    "join_nearest",
    "keep",
    "label",
    "limit_degree",
    "lint",
    "matches",
    "mean_color",
    "merge",
    "middle",
    "move",
    "move_camera",
    "recolor",
    "remove",
    "rotate",
    "rotation_about",
    "rotation_between",
    "rotation_of",
    "saturation",
    "scale",
    "seam",
    "select",
    "spoilage",
    "tint",
    "translate",
    "turn",
    "upright",
    "upright_rotation",
    "views_seeing",
    "visibility",
    "vote",
    "white_balance",
]
