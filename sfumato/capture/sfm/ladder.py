"""Attempts at structure from motion, from the cheapest on, until nearly all photos have a camera."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from sfumato.capture.sfm.evidence import Evidence
from sfumato.capture.sfm.mapping import MapSettings, best_of, is_better, map_cameras, map_globally, trusted
from sfumato.capture.sfm.merging import merge
from sfumato.capture.sfm.pairs import BEST, MANY, Pair, choose_pairs, every_pair
from sfumato.capture.sfm.site import FeatureSettings, Site
from sfumato.core.progress import Note

__all__ = ["Climb", "is_enough"]

GOOD_FIT = 2.0  # pixels
RELAXED = MapSettings(first_inliers=40, first_angle=4.0, inliers=18, share=0.15, matches=12)
MORE = FeatureSettings(count=12_000, orientations=2, peak=0.002)
THOROUGH_UP_TO = 300  # photos: it takes a second for each, and more for each pair
THOROUGH = FeatureSettings(count=6000, orientations=2, peak=0.004, thorough=True)

_Rung = tuple[str, Callable[[], Any]]  # what is tried, and the trying, which returns a model or None


def is_enough(registered: int, photos: int) -> bool:
    """True when so few photos are left out that nothing more is tried for them: a tenth, or one of six or more."""
    return photos - registered <= max(photos // 10, int(photos > 5))


@dataclass
class Climb:
    """The search for a model, and the best one by now."""

    site: Site
    note: Note
    in_order: bool
    best: Any = None  # pycolmap.Reconstruction
    evidence: Evidence = field(init=False)  # what the best model was made from, or else the first
    _models: list[Any] = field(init=False, default_factory=list)  # of the first attempt

    def __post_init__(self) -> None:
        self.evidence = Evidence(self.site, FeatureSettings(), self.site.work / "features.db")

    def look(self) -> None:
        """Find features, and match the pairs that are worth it."""
        self.evidence.find_features()
        self.evidence.match(self._pairs(self.evidence, BEST))

    def solve(self) -> None:
        """Solve the cameras; while too few photos have one, climb the next rung."""
        self._models = map_cameras(self.site, self.evidence.path, MapSettings())
        self.best = best_of(self._models)
        for name, attempt in self._rungs():
            if self._is_good():
                return
            self._try(name, attempt)

    def _is_good(self) -> bool:
        if self.best is None:
            return False
        fits = self.best.compute_mean_reprojection_error() <= GOOD_FIT
        return fits and is_enough(len(trusted(self.best)), len(self.site.looks))

    def _try(self, name: str, attempt: Callable[[], Any]) -> None:
        count, before = len(self.site.looks), self._registered()
        self.note(f"{before} of {count} photos have a camera; next: {name}")
        model = attempt()
        if model is not None and is_better(model, self.best):
            self.best = model
        self.note(f"{name}: {before} -> {self._registered()} of {count} photos")

    def _registered(self) -> int:
        return 0 if self.best is None else len(trusted(self.best))

    def _rungs(self) -> Iterator[_Rung]:
        """What is tried, in the order of what it costs; each is looked at only when those before were not enough."""
        if len(self._models) > 1:
            yield "sub-models merged", self._merged
        if not self.evidence.has_every_pair:
            yield "more pairs of photos", self._more_pairs
        if len(self.evidence.links()) > 1 and not self._in_parts():  # nothing in common: all mapping is in vain
            yield "less agreement asked for", self._relaxed
            yield "another first pair", self._another_start
            yield "all cameras at once, by the global mapper", self._globally
        yield "more features", lambda: self._fresh(MORE, "more.db")
        if len(self.site.looks) <= THOROUGH_UP_TO:
            yield "affine features and guided matching", lambda: self._fresh(THOROUGH, "thorough.db")

    def _in_parts(self) -> bool:
        """True when nearly all photos have a camera, but not in the same model: what is missing is what joins them."""
        solved = {number for model in self._models for number in trusted(model)}
        return len(self._models) > 1 and is_enough(len(solved), len(self.site.looks))

    def _pairs(self, evidence: Evidence, best: int) -> list[Pair]:
        places = evidence.places()
        return choose_pairs(
            evidence.largest(), places=places, in_order=self.in_order, best=best, progress=self.site.progress
        )

    def _merged(self) -> Any:
        return merge(self.site, self._models, self.evidence)

    def _map(self, evidence: Evidence, settings: MapSettings) -> Any:
        models = map_cameras(self.site, evidence.path, settings)
        best = best_of(models)
        if best is None or is_enough(len(trusted(best)), len(self.site.looks)):
            return best
        return merge(self.site, models, evidence)

    def _widen(self, evidence: Evidence) -> None:
        """Match every pair, or, of many photos, those with more neighbours each."""
        count = len(self.site.looks)
        evidence.match(every_pair(count) if count <= MANY else self._pairs(evidence, 2 * BEST))

    def _more_pairs(self) -> Any:
        self._widen(self.evidence)
        return self._map(self.evidence, MapSettings())

    def _relaxed(self) -> Any:
        return self._map(self.evidence, RELAXED)

    def _another_start(self) -> Any:
        """The pair that shares the most, apart from the photos that the best model has."""
        ids = self.evidence.image_ids()
        known = set(trusted(self.best)) if self.best else set()
        links = sorted(self.evidence.links(), key=lambda link: -link.inliers)
        apart = [link for link in links if not all(ids[place] in known for place in link.pair)]
        if not apart:
            return None
        first, second = (ids[place] for place in apart[0].pair)
        return self._map(self.evidence, replace(RELAXED, first_pair=(first, second)))

    def _globally(self) -> Any:
        return best_of(map_globally(self.site, self.evidence.path))

    def _fresh(self, settings: FeatureSettings, name: str) -> Any:
        """New features, matched widely, and mapped as usual, then with less agreement."""
        evidence = Evidence(self.site, settings, self.site.work / name)
        evidence.find_features()
        self._widen(evidence)
        model = self._map(evidence, MapSettings())
        if model is None or not is_enough(len(trusted(model)), len(self.site.looks)):
            relaxed = self._map(evidence, RELAXED)
            model = relaxed if relaxed is not None and is_better(relaxed, model) else model
        if model is not None and is_better(model, self.best):
            self.evidence = evidence
        return model
