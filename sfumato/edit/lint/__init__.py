"""A splat, and what its file is made of, to findings: what is wrong or odd with it, how much of it, and what to do."""

from collections.abc import Iterator

import torch
from torch import Tensor

from sfumato.core.asset import Asset
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import rgb_from_sh0
from sfumato.edit.lint.facts import FileFacts
from sfumato.edit.lint.file import file_findings
from sfumato.edit.lint.finding import Finding, rows_of
from sfumato.edit.lint.shape import shape_findings

__all__ = ["lint"]

INVISIBLE = 1 / 255  # opacity: renderers leave out less
OPAQUE = 0.99
MANY = 0.5  # share of a splat from which on something is about all of it
RARE = 1e-3  # share of a splat up to which nobody needs to know what other formats would clip
UNIT = 1e-3  # a quaternion's length may be so far from 1
ENOUGH = 50  # Gaussians that say something of a habit
AS_STORED = (
    "",
    "PLY",
    "numpy",
)  # formats whose numbers may lack a logarithm, a logit or harmonics; others compute them
_SEVERITIES = ("error", "warning", "note")


def lint(asset: Asset, facts: FileFacts | None = None) -> list[Finding]:
    """Look for what is wrong or odd with a splat.

    Parameters
    ----------
    asset : Asset
        As `sfumato.read_asset` gives it.
    facts : FileFacts, optional
        What its file is made of; without them, only the numbers are looked at.

    Returns
    -------
    list of Finding
        The worst first; empty when nothing is wrong.

    Examples
    --------
    >>> [finding.code for finding in edit.lint(Asset(Gaussians.empty()))]
    ['empty']
    """
    gaussians = asset.gaussians.detach().to("cpu")
    if not len(gaussians):
        return [Finding("empty", "error", "it holds no Gaussians", "export or train it again")]
    found = [*_numbers(gaussians)]
    good = gaussians.finite.nonzero()[:, 0]
    if len(good):
        sound = gaussians[good]
        for look in (_rotations, _opacities, _colors, _copies, shape_findings):
            found += [finding.among(good) for finding in look(sound)]
    if asset.format not in AS_STORED:
        found = [finding for finding in found if not finding.code.startswith("plain-")]
    found += file_findings(asset, facts)
    return sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity))


def _numbers(gaussians: Gaussians) -> Iterator[Finding]:
    bad = ~gaussians.finite
    if not bad.any():
        return
    fields = []
    for name, tensor in zip(gaussians.names(), gaussians, strict=True):
        rows = ~tensor.reshape(len(gaussians), tensor[:1].numel()).isfinite().all(dim=1)
        if rows.any():
            fields.append(f"{name} {int(rows.sum()):,}")
    told = f"have numbers that are not finite ({', '.join(fields)})"
    advice = "some programs leave them out, others show nothing at all; `sfumato convert` leaves them out"
    yield Finding("not-finite", "error", told, advice, int(bad.sum()), rows_of(bad))


def _rotations(gaussians: Gaussians) -> Iterator[Finding]:
    lengths = gaussians.quats.double().norm(dim=1)
    if (zero := lengths == 0).any():
        told = "have a quaternion of length 0, which is no rotation"
        yield Finding(
            "zero-rotation",
            "error",
            told,
            "they are never drawn; `sfumato clean` leaves them out",
            int(zero.sum()),
            rows_of(zero),
        )
    odd = ((lengths - 1).abs() > UNIT) & ~zero
    if odd.any():
        told = f"have quaternions of lengths from {float(lengths[odd].min()):.2g} to {float(lengths[odd].max()):.2g}"
        advice = (
            "as trainers leave them in a PLY: viewers normalise them; `sfumato convert` writes unit ones where needed"
        )
        yield Finding("unit-rotation", "note", told, advice, int(odd.sum()), rows_of(odd))


def _opacities(gaussians: Gaussians) -> Iterator[Finding]:
    opacities, stored = gaussians.opacities, gaussians.logit_opacities
    faint = opacities < INVISIBLE
    if faint.all():
        advice = "check what the program that wrote it means by opacity"
        yield Finding("all-invisible", "error", "are too transparent to be drawn", advice, len(gaussians))
    elif faint.any():
        told = f"have opacities below 1/255 ({_percent(faint)}) and are never drawn"
        yield Finding("invisible", "note", told, "`sfumato clean` removes them", int(faint.sum()), rows_of(faint))
    if len(gaussians) < ENOUGH:
        return
    if bool((stored >= 0).all()) and bool((stored <= 1).all()) and bool((stored != stored[0]).any()):
        told = "have stored opacities from 0 to 1: as if no logit had been taken, so that all are half transparent"
        yield Finding("plain-opacity", "warning", told, "check the program that wrote it", len(gaussians))
    opaque = opacities > OPAQUE
    if opaque.all():
        told = "are all opaque: nothing is soft, as of a point cloud or a splat that lost its opacities"
        yield Finding("all-opaque", "warning", told, "check the program that wrote it", len(gaussians))


def _colors(gaussians: Gaussians) -> Iterator[Finding]:
    sh0, shN = gaussians.sh0, gaussians.shN
    if len(gaussians) >= ENOUGH and bool(((sh0 >= 0) & (sh0 <= 1)).all()) and bool((sh0 != 0).any()):
        told = "have colors stored from 0 to 1: as if red, green and blue stood where harmonics belong; all is pale"
        yield Finding("plain-color", "warning", told, "check the program that wrote it", len(gaussians))
    yield from _outside(sh0, 3.34, "clipped-color", "base colors beyond what SPZ holds (-0.44 to 1.44)")
    rows = ((rgb_from_sh0(sh0) - 0.5).abs() > 0.52).flatten(1).any(dim=1)
    if _worth_a_word(rows):
        told = f"have base colors outside of 0 to 1 ({_percent(rows)}), which .splat and .ksplat clip"
        yield Finding("gamut", "note", told, "no fault, unless you write one of those", int(rows.sum()), rows_of(rows))
    if not shN.shape[1]:
        return
    if not shN.any():
        told = f"have harmonics of degree {gaussians.degree} that are all zero"
        yield Finding("no-harmonics", "note", told, "`sfumato convert --sh-degree 0` makes the file smaller", len(shN))
    yield from _outside(shN, 4.0, "harmonics-4", "harmonics beyond 4, where compressed PLY clips them")
    yield from _outside(shN, 1.0, "harmonics-1", "harmonics beyond 1, where SPZ clips them")


def _outside(values: Tensor, most: float, code: str, what: str) -> Iterator[Finding]:
    rows = (values.abs() > most).flatten(1).any(dim=1)
    if _worth_a_word(rows):
        told = f"have {what}: up to {float(values.abs().max()):.3g}"
        yield Finding(code, "note", told, "nothing to do, unless you write that format", int(rows.sum()), rows_of(rows))


def _copies(gaussians: Gaussians) -> Iterator[Finding]:
    copies = _repeated([*gaussians])
    if copies.any():
        told = "repeat an earlier Gaussian exactly: drawn twice, and so too opaque"
        advice = "as of a file that was merged with itself (`sfumato merge --dedupe` does not), or rounded numbers"
        yield Finding("copies", "warning", told, advice, int(copies.sum()), rows_of(copies))
    stacked = _repeated([gaussians.means]) & ~copies
    if stacked.any():
        told = "share a center with another"
        advice = "as after splitting, or where positions were rounded; no fault"
        yield Finding("same-center", "note", told, advice, int(stacked.sum()), rows_of(stacked))


def _repeated(fields: list[Tensor]) -> Tensor:
    """(N,) which rows say what an earlier row says, by a 64-bit number that is made of their bits."""
    count, seed = len(fields[0]), torch.Generator().manual_seed(0)
    number = torch.zeros(count, dtype=torch.int64)
    for field in fields:
        for column in (field.float() + 0.0).reshape(count, field[:1].numel()).T:  # + 0: there is one zero
            factor = torch.randint(1, 2**62, (1,), generator=seed) | 1
            number = (number ^ (number >> 29)) * factor + column.contiguous().view(torch.int32)
    order = number.argsort(stable=True)
    again = torch.zeros(count, dtype=torch.bool)
    again[order[1:]] = number[order[1:]] == number[order[:-1]]
    return again


def _worth_a_word(rows: Tensor) -> bool:
    return float(rows.double().mean()) > RARE


def _percent(rows: Tensor) -> str:
    share = 100 * float(rows.double().mean())
    return f"{share:.0f} %" if share >= 1 else "less than 1 %"
