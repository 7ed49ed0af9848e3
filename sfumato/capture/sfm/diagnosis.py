"""Why photos have no camera, each and all together, and what to do about it."""

import statistics
from collections.abc import Collection, Sequence

from sfumato.capture.sfm.evidence import Link
from sfumato.capture.sfm.result import PhotoRecord
from sfumato.capture.sfm.survey import Look, Refused
from sfumato.capture.sfm.watch import MORE

__all__ = ["BLURRED", "UNREADABLE", "is_still", "judge", "verdict"]

BLURRED = 0.42  # sharpness of a photo that is blurred by a Gaussian of three to four pixels
PLAIN = 0.03  # contrast below which a photo shows next to nothing
FEW = 200  # features; a photo of something with texture has thousands
ROOM = 500  # pixels of a photo for each feature that is asked of it, when it is too small for as many
STILL = 0.002  # of the photo's width: a camera that moves less between photos shows no depth
UNREADABLE, PLAIN_WORDS, BLURRED_WORDS = "cannot be read", "no texture", "blurred"
# what can be wrong with all photos together -> in a few words, and what to say and do about it
FAULTS = {
    "still": (
        "camera did not move",
        "the photos are copies of one, or the camera did not move, and depth is seen only from several places; "
        "walk around what you photograph, a step between photos",
    ),
    "turned": (
        "camera only turned",
        "the camera was only turned on its spot, and depth is seen only from several places; "
        "walk around what you photograph, a step between photos",
    ),
}
MOST = 0.5  # share of the photos that makes something the reason for all


def judge(
    looks: Sequence[Look],
    refused: Sequence[Refused],
    features: Sequence[int],
    links: Sequence[Link],
    registered: Collection[str],
    fault: str = "",
) -> list[PhotoRecord]:
    """What became of every photo, in order of names.

    features, links: of `looks`, in its order. fault: one of FAULTS, which is then the reason for all.
    """
    partners: list[list[Link]] = [[] for _ in looks]
    for link in links:
        for place in link.pair:
            partners[place].append(link)
    table = [PhotoRecord(one.name, 0, 0, 0, False, UNREADABLE) for one in refused]
    for place, (look, count, shared) in enumerate(zip(looks, features, partners, strict=True)):
        others = {looks[other].name for link in shared for other in link.pair if other != place}
        why = "" if look.name in registered else _why(look, count, others, registered)
        why = FAULTS[fault][0] if fault and others and why else why
        inliers = sum(link.inliers for link in shared)
        table.append(PhotoRecord(look.name, count, len(shared), inliers, look.name in registered, why))
    return sorted(table, key=lambda row: row.name)


def _why(look: Look, features: int, shared: Collection[str], registered: Collection[str]) -> str:
    """A few words, which fit below the photo on the contact sheet. shared: the photos that show the same."""
    few = features < min(FEW, look.size[0] * look.size[1] // ROOM)
    if look.contrast < PLAIN or (few and look.sharpness >= BLURRED):
        return PLAIN_WORDS
    if look.sharpness < BLURRED:
        return BLURRED_WORDS
    if not shared:
        return "shares nothing"
    if not registered:
        return "no camera agrees"
    return "shares too little" if any(name in registered for name in shared) else "a group of its own"


def is_still(looks: Sequence[Look], links: Sequence[Link]) -> bool:
    """True when nearly all photos that share something show it in the same place: copies, or a camera that stood."""
    if not links:
        return False
    moved = [link.shift / looks[link.pair[0]].size[0] for link in links]
    return statistics.quantiles([0.0, *moved], n=10)[-1] < STILL if len(moved) > 1 else moved[0] < STILL


def verdict(table: Sequence[PhotoRecord], fault: str = "") -> str:
    """Why no cameras were found, as the second half of a sentence, and what to do. fault: one of FAULTS."""
    if fault:
        return FAULTS[fault][1]
    readable = [row for row in table if row.why != UNREADABLE]
    share = {
        why: sum(row.why == why for row in readable) / max(len(readable), 1) for why in (PLAIN_WORDS, BLURRED_WORDS)
    }
    if share[PLAIN_WORDS] >= MOST:
        return (
            "most photos show too little texture for points to be found again; "
            "put patterned things into view, and use more light"
        )
    if share[BLURRED_WORDS] >= MOST:
        return "most photos are blurred; hold the camera still for each photo, use more light, and check the focus"
    linked = sum(row.matched > 0 for row in readable)
    if linked < MOST * len(readable):
        return f"the photos do not overlap enough: {linked} of {len(readable)} share anything with another; {MORE}"
    return (
        f"{linked} of {len(readable)} photos share something with another, but no camera agrees with it (was the "
        f"camera only turned, or did what it sees move?); {MORE}"
    )
