"""World: meshes, patches, balls and what they are made of, packed into the arrays that tracing reads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from sfumato.capture.studio.noise import Array
from sfumato.capture.studio.shapes import Ball, Mesh, Patch
from sfumato.capture.studio.texture import Texture

__all__ = ["Material", "World"]


@dataclass(frozen=True)
class Material:
    """How a surface looks: painted, perhaps glossy, perhaps a thin leaf that lets light through."""

    texture: Texture
    texel: float  # meters across one texel
    gloss: float = 0.0  # mirrored share of light at normal incidence, Schlick 1994
    sharpness: float = 60.0  # of the sun's highlight; larger is smaller and brighter
    metal: bool = False  # the mirrored light takes the texture's color and nothing is scattered
    translucent: float = 0.0  # share of the light on the far side that shines through


@dataclass(frozen=True)
class World:
    """A scene ready for tracing; facets are its triangles, then its patches."""

    vertices: Array  # (V, 3)
    normals: Array  # (V, 3)
    uv: Array  # (V, 2)
    tint: Array  # (V, 3)
    faces: np.ndarray  # (F, 3)
    patches: tuple[Patch, ...]
    balls: tuple[Ball, ...]
    materials: Mapping[str, Material]  # in the order that material_of counts
    material_of: np.ndarray  # (F + patches + balls,) int
    points: Array = field(repr=False)  # (Q, 3) float64: the vertices, then three corners of each patch
    corners: np.ndarray = field(repr=False)  # (F + patches, 3) rows of points: corner, corner + e1, corner + e2

    @classmethod
    def of(cls, parts: Sequence[Mesh | Patch | Ball], materials: Mapping[str, Material]) -> "World":
        """Pack `parts`, in any order."""
        number = {name: k for k, name in enumerate(materials)}
        meshes = [part for part in parts if isinstance(part, Mesh)]
        patches = tuple(part for part in parts if isinstance(part, Patch))
        balls = tuple(part for part in parts if isinstance(part, Ball))
        first = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes])
        vertices = np.concatenate([mesh.vertices for mesh in meshes])
        faces = np.concatenate([mesh.faces + start for mesh, start in zip(meshes, first, strict=False)])
        quads = [corner for p in patches for corner in (p.origin, p.origin + p.e1, p.origin + p.e2)]
        points = np.concatenate([vertices, np.array(quads).reshape(-1, 3)], dtype=np.float64)
        quad_rows = len(vertices) + np.arange(3 * len(patches)).reshape(-1, 3)
        material_of = [np.full(len(mesh.faces), number[mesh.material]) for mesh in meshes]
        material_of.append(np.array([number[patch.material] for patch in patches], dtype=np.int64))
        material_of.append(np.array([number[ball.material] for ball in balls], dtype=np.int64))
        return cls(
            vertices,
            np.concatenate([mesh.normals for mesh in meshes]),
            np.concatenate([mesh.uv for mesh in meshes]),
            np.concatenate([mesh.tint for mesh in meshes]),
            faces,
            patches,
            balls,
            dict(materials),
            np.concatenate(material_of),
            points,
            np.concatenate([faces, quad_rows]),
        )
