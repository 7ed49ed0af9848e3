"""Features of photos and what they have in common: photos to a database of pycolmap's, and what it holds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sfumato.capture.sfm.features import find_features
from sfumato.capture.sfm.pairs import LARGEST, Pair
from sfumato.capture.sfm.site import SEED, FeatureSettings, Site
from sfumato.capture.sfm.watch import watched
from sfumato.capture.undistort import load_pycolmap

__all__ = ["Evidence", "Link"]

BLOCK = 45  # pairs at a time: Ctrl-C waits for the block
SURE = 60  # inliers from which on hardly any is wrong
MATCHED = 15  # inliers from which on pycolmap trusts a pair


@dataclass(frozen=True)
class Link:
    """A pair of photos whose features agree on the geometry of two views."""

    pair: Pair  # places in Site.names
    inliers: int
    shift: float  # median motion of the matched features, pixels


@dataclass
class Evidence:
    """Features and matches of the photos of a site."""

    site: Site
    settings: FeatureSettings
    path: Path  # of the database
    _tried: set[Pair] = field(default_factory=set)

    def find_features(self) -> None:
        """SIFT features of all photos (Lowe 2004), one camera for each group of photos that share one."""
        with self._open() as database:
            find_features(self.site, self.settings, self.path, database)

    def match(self, pairs: Iterable[Pair]) -> None:
        """Match the features of pairs that were not tried yet, and keep what the geometry of two views confirms."""
        fresh = sorted(set(pairs) - self._tried)
        with self._open() as database:
            images = self._images(database)
            known = [pair for pair in fresh if all(place in images for place in pair)]
            listed = self.site.work / "pairs.txt"
            listed.write_text("".join(f"{images[a]} {images[b]}\n" for a, b in known), encoding="utf-8")
            before = database.num_verified_image_pairs()

            def match(token: Any) -> None:
                pycolmap = load_pycolmap()
                pairing = pycolmap.ImportedPairingOptions()
                pairing.match_list_path, pairing.block_size = listed, BLOCK
                matching = pycolmap.FeatureMatchingOptions()
                matching.guided_matching = self.settings.thorough
                verification = pycolmap.TwoViewGeometryOptions()
                verification.ransac.random_seed = SEED
                pycolmap.match_image_pairs(self.path, matching, pairing, verification, cancellation_token=token)

            def tell(done: int) -> None:
                self.site.progress("matching photos", done, len(known))

            if known:
                with _numbers_for_names(database):
                    watched(match, lambda: database.num_verified_image_pairs() - before, tell)
        self._tried.update(fresh)

    def largest(self, count: int = LARGEST) -> list[Tensor]:
        """Of each photo the (F, 128) descriptors, of length 1, of its features of largest scale."""
        with self._open() as database:
            images = self._images(database)
            return [_largest(database, images.get(place), count) for place in range(len(self.site.looks))]

    def places(self) -> Tensor | None:
        """(V, 3) metres: where EXIF says that each photo was taken; None when it says so of none."""
        places = torch.full((len(self.site.looks), 3), float("nan"), dtype=torch.float64)
        with self._open() as database:
            images = {image: place for place, image in self._images(database).items()}
            for prior in database.read_all_pose_priors():
                place = images.get(prior.corr_data_id.id)
                if place is not None and np.isfinite(prior.position).all():
                    places[place] = torch.from_numpy(_metres(prior))
        return places if places.isfinite().any() else None

    def counts(self) -> list[int]:
        """Features of each photo."""
        with self._open() as database:
            images = self._images(database)
            return [
                database.num_keypoints_for_image(images[place]) if place in images else 0
                for place in range(len(self.site.looks))
            ]

    def links(self) -> list[Link]:
        """Pairs of photos that were found to show the same."""
        with self._open() as database:
            places = {image: place for place, image in self._images(database).items()}
            spots = {image: database.read_keypoints(image)[:, :2] for image in places}
            links = []
            for number, geometry in zip(*database.read_two_view_geometries(), strict=True):
                first, second = load_pycolmap().pair_id_to_image_pair(number)
                matches = geometry.inlier_matches
                if len(matches) >= MATCHED:
                    moved = spots[first][matches[:, 0]] - spots[second][matches[:, 1]]
                    a, b = sorted((places[first], places[second]))
                    links.append(Link((a, b), len(matches), float(np.median(np.linalg.norm(moved, axis=1)))))
        return sorted(links, key=lambda link: link.pair)

    def matched_points(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Of each pair of linked photos the (M, 2) places of what they share in the one, and in the other.

        From the middle of the photo, in lengths of its longer side.
        """
        with self._open() as database:
            spots = {}
            for place, image in self._images(database).items():
                width, height = self.site.looks[place].size
                middle = np.array([width / 2, height / 2])
                spots[image] = (database.read_keypoints(image)[:, :2].astype(np.float64) - middle) / max(width, height)
            for number, geometry in zip(*database.read_two_view_geometries(), strict=True):
                first, second = load_pycolmap().pair_id_to_image_pair(number)
                matches = geometry.inlier_matches
                if len(matches) >= SURE:
                    yield spots[first][matches[:, 0]], spots[second][matches[:, 1]]

    def shared_points(self, one: Any, other: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(M, 3) points of one model and (M, 3) the same points of another, as matches between their photos tell."""
        mine, theirs = _points_of(one), _points_of(other)
        rows: list[NDArray[np.float64]] = []
        with self._open() as database:
            for number, geometry in zip(*database.read_two_view_geometries(), strict=True):
                a, b = load_pycolmap().pair_id_to_image_pair(number)
                for first, second, swapped in ((a, b, False), (b, a, True)):
                    if first in mine and second in theirs and first not in theirs and second not in mine:
                        matches = np.asarray(geometry.inlier_matches)[:, ::-1] if swapped else geometry.inlier_matches
                        mine_here, theirs_here = mine[first], theirs[second]
                        both = [(int(i), int(j)) for i, j in matches if i in mine_here and j in theirs_here]
                        rows += [np.stack([mine_here[i], theirs_here[j]]) for i, j in both]
        table = np.array(rows, dtype=np.float64).reshape(-1, 2, 3)
        return table[:, 0], table[:, 1]

    @property
    def has_every_pair(self) -> bool:
        """True when there is no pair left to match."""
        count = len(self.site.looks)
        return len(self._tried) >= count * (count - 1) // 2

    def image_ids(self) -> dict[int, int]:
        """Places in Site.names -> pycolmap's numbers."""
        with self._open() as database:
            return self._images(database)

    def _images(self, database: Any) -> dict[int, int]:
        places = {name: place for place, name in enumerate(self.site.names)}
        return {places[image.name]: image.image_id for image in database.read_all_images()}

    @contextmanager
    def _open(self) -> Iterator[Any]:
        # through pycolmap: a second SQLite in the process, Python's own, would drop the locks of the first
        with load_pycolmap().Database.open(self.path) as database:
            yield database


@contextmanager
def _numbers_for_names(database: Any) -> Iterator[None]:
    """Call images by their numbers meanwhile: pycolmap's list of pairs cannot hold names with spaces."""
    images = database.read_all_images()
    names = {image.image_id: image.name for image in images}
    _rename(database, images, {number: str(number) for number in names})
    try:
        yield
    finally:
        _rename(database, images, names)


def _rename(database: Any, images: Sequence[Any], names: Mapping[int, str]) -> None:
    with load_pycolmap().DatabaseTransaction(database):
        for image in images:
            image.name = names[image.image_id]
            database.update_image(image)


def _largest(database: Any, image: int | None, count: int) -> Tensor:
    if image is None or not database.num_keypoints_for_image(image):
        return torch.zeros(0, 128)
    scale = np.hypot(*database.read_keypoints(image)[:, 2:4].T)
    order = np.argsort(-scale, kind="stable")[:count]
    descriptors = torch.from_numpy(database.read_descriptors(image).data[order].astype(np.float32))
    return torch.nn.functional.normalize(descriptors, dim=1)


def _metres(prior: Any) -> NDArray[np.float64]:
    """A prior's position in metres; geographic ones, in degrees and metres, from the middle of the Earth."""
    position = np.asarray(prior.position, dtype=np.float64).reshape(3)
    if prior.coordinate_system == load_pycolmap().PosePriorCoordinateSystem.WGS84:
        position = np.asarray(load_pycolmap().GPSTransform().ellipsoid_to_ecef(position[None])).reshape(3)
    return position


def _points_of(model: Any) -> dict[int, dict[int, NDArray[np.float64]]]:
    """For each photo of a model, the points that its features are of: number of the feature -> (3,)."""
    found: dict[int, dict[int, NDArray[np.float64]]] = {number: {} for number in model.reg_image_ids()}
    for point in model.points3D.values():
        for element in point.track.elements:
            found[element.image_id][element.point2D_idx] = point.xyz
    return found
