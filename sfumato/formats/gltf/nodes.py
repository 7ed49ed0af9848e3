"""The scene of a glTF file to the meshes in it, each with the matrix that carries it into the world."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sfumato.formats.gltf.file import GltfFile

__all__ = ["meshes_in_scene"]

MOST = 1e30  # of a matrix: its squares must fit, and float32 ends at 3e38
_Matrix = NDArray[np.float64]


def meshes_in_scene(file: GltfFile) -> list[tuple[dict[str, Any], _Matrix]]:
    """The meshes of the default scene in the order of its nodes, with (4, 4) world <- mesh.

    Without a scene, those of all nodes that are nobody's children; without nodes, all meshes as they are. Raises
    InputError for cycles, nodes with two parents, and matrices that are not finite.
    """
    if not file.items("nodes"):
        return [(file.item("meshes", index), np.eye(4)) for index in range(len(file.items("meshes")))]
    found = []
    waiting: list[tuple[object, _Matrix]] = [(index, np.eye(4)) for index in reversed(_roots(file))]
    seen: set[int] = set()
    while waiting:
        index, parent = waiting.pop()
        node = file.item("nodes", index)
        place = file.whole({"node": index}, "node")
        if place in seen:
            raise file.damaged(f"its nodes are no tree: nodes[{place}] has two parents or is its own")
        seen.add(place)
        with np.errstate(over="ignore", invalid="ignore"):
            world = parent @ _local(file, node)
        if not (np.abs(world) < MOST).all() or not np.array_equal(world[3], [0, 0, 0, 1]):
            raise file.damaged(f"the matrices of nodes[{place}] are not finite, or have perspective")
        if "mesh" in node:
            found.append((file.item("meshes", node["mesh"]), world))
        waiting += [(child, world) for child in reversed(file.items("children", node))]
    return found


def _roots(file: GltfFile) -> list[Any]:
    if file.items("scenes"):
        return file.items("nodes", file.item("scenes", file.json.get("scene", 0)))
    nodes = [file.item("nodes", index) for index in range(len(file.items("nodes")))]
    children = {child for node in nodes for child in file.items("children", node) if isinstance(child, int)}
    return [index for index in range(len(nodes)) if index not in children]


def _local(file: GltfFile, node: dict[str, Any]) -> _Matrix:
    """(4, 4) parent <- node: its matrix, which is stored column by column, or translation, rotation and scale."""
    if "matrix" in node:
        return np.array(file.numbers(node, "matrix", np.eye(4).ravel().tolist())).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = file.numbers(node, "rotation", [0.0, 0.0, 0.0, 1.0])
    length = np.sqrt(x * x + y * y + z * z + w * w)
    if not 0 < length < np.inf:
        raise file.damaged("a node's rotation must be a quaternion of length 1; got one of length 0")
    x, y, z, w = np.array([x, y, z, w]) / length
    turn = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] = np.array(turn) * file.numbers(node, "scale", [1.0, 1.0, 1.0])
    matrix[:3, 3] = file.numbers(node, "translation", [0.0, 0.0, 0.0])
    return matrix
