"""Names of pictures in, those that only belong to photos among them out: masks, smaller copies, depth maps."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath

from sfumato.core.errors import InputError
from sfumato.core.image import image_header

__all__ = ["companions", "masks_among"]

_MASK = re.compile(r"(.+)[._-]masks?")
_SMALLER = re.compile(r"(.+)_(2|4|8|16)")
_MEASURED = re.compile(r"depths?|depth_?maps?|confidence|normals?", re.IGNORECASE)
_ATTEMPTS = 3  # photos whose headers are read: one may be broken

_Tree = dict[str, str]  # what is below a folder without extensions -> the whole names


def companions(folder: Path, names: Sequence[str]) -> set[str]:
    """Which of the pictures `names` below `folder` (forward slashes) are no photos of their own.

    Masks in the folder of their photos. Copies as in images_4, of which images has all at four times the size: two
    cameras that took frames at the same time have the same names, too, but not these sizes. Depth maps, confidence
    and normals in folders of that name, of which the folder around or beside them has all.
    """
    trees, around = _trees(names), _around(names)
    passed = set(masks_among(names))
    for inside, tree in trees.items():
        if _is_copy(folder, inside, trees) or _is_measured(inside, trees, around):
            passed.update(tree.values())
    return passed


def masks_among(names: Iterable[str]) -> dict[str, list[str]]:
    """a_mask.png, a.mask.png or a.jpg.mask.png -> the photos beside it that are called a, or a.jpg."""
    named: dict[tuple[PurePosixPath, str], list[str]] = {}
    paths = {name: PurePosixPath(name) for name in names}
    for name, path in paths.items():
        for key in (path.stem.lower(), path.name.lower()):
            named.setdefault((path.parent, key), []).append(name)
    found = {name: _MASK.fullmatch(path.stem.lower()) for name, path in paths.items()}
    owners = {name: named.get((paths[name].parent, word[1]), []) for name, word in found.items() if word}
    return {mask: photos for mask, photos in owners.items() if photos}


def _trees(names: Iterable[str]) -> dict[PurePosixPath, _Tree]:
    """Every folder, and what is below it."""
    trees: dict[PurePosixPath, _Tree] = {}
    for name in names:
        path = PurePosixPath(name)
        for inside in path.parents[:-1]:
            trees.setdefault(inside, {})[str(path.relative_to(inside).with_suffix(""))] = name
    return trees


def _around(names: Iterable[str]) -> dict[PurePosixPath, set[str]]:
    """Every folder, and what is in it itself."""
    around: dict[PurePosixPath, set[str]] = {}
    for path in map(PurePosixPath, names):
        around.setdefault(path.parent, set()).add(path.stem)
    return around


def _is_copy(folder: Path, inside: PurePosixPath, trees: Mapping[PurePosixPath, _Tree]) -> bool:
    word = _SMALLER.fullmatch(inside.name)
    if word is None:
        return False
    name, times = word[1], int(word[2])
    larger = {larger: name if larger == 1 else f"{name}_{larger}" for larger in (1, 2, 4, 8) if larger < times}
    return any(
        trees[inside].keys() <= (tree := trees.get(inside.with_name(other), {})).keys()
        and _is_smaller(folder, trees[inside], tree, times // number)
        for number, other in larger.items()
    )


def _is_smaller(folder: Path, copies: _Tree, tree: _Tree, times: int) -> bool:
    """True when the first copy that can be read is 1/times as large as its photo, up to a pixel."""
    for stem in sorted(copies)[:_ATTEMPTS]:
        with suppress(InputError):
            small, large = image_header(folder / copies[stem]), image_header(folder / tree[stem])
            return all(abs(times * a - b) <= times for a, b in zip(small[:2], large[:2], strict=True))
    return False


def _is_measured(
    inside: PurePosixPath, trees: Mapping[PurePosixPath, _Tree], around: Mapping[PurePosixPath, set[str]]
) -> bool:
    if not _MEASURED.fullmatch(inside.name):
        return False
    stems = trees[inside].keys()
    beside = [
        tree.keys()
        for other, tree in trees.items()
        if other.parent == inside.parent and not _MEASURED.fullmatch(other.name)
    ]
    return any(stems <= photos for photos in (around.get(inside.parent, set()), *beside))
