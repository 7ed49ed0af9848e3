"""Adaptive density control (Kerbl et al. 2023, Section 5): clone, split, prune and reset by image-space gradients."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.kernels.stages import Splats
from sfumato.train.density.strategy import Span
from sfumato.train.edit import Edit

__all__ = ["Adaptive"]

FADED = 0.01  # opacity that a reset leaves at most (code of Kerbl et al. 2023)


@dataclass(frozen=True)
class Adaptive:
    """Settings of adaptive density control; times are shares of the training, 0 to 1."""

    name: Literal["adaptive"] = "adaptive"
    threshold: float = 0.0  # mean gradient, in normalized device units, above which a Gaussian may be too coarse;
    # the paper: 2e-4, or 4e-4 where it is absolute (Ye et al. 2024). Here the room there is decides how many are.
    probe: Literal["signed", "absolute"] = "absolute"
    every: float = 0.05  # between edits; the paper: 100 of 30 000 steps, more than a few thousand steps can use
    start_at: float = 0.1  # the paper: 500 of 30 000 steps
    stop_at: float = 0.5  # no growth after this; pruning goes on
    full_at: float = 0.45  # until then room under the cap is given out evenly: time can be foretold, and +0.3 dB
    clone_below: float = 0.01  # of the extent: smaller Gaussians are cloned, larger ones split
    split_shrink: float = 1.6  # both halves are this much smaller
    prune_opacity: float = 0.005  # fainter Gaussians go
    prune_scale: float = 0.1  # of the extent: larger Gaussians go, ...
    prune_scale_from: float = 2.0  # ... from this time on (the paper: after the first reset)
    clamp_scale: float = 1.0  # of the extent: none may be larger
    resets: tuple[float, ...] = ()  # when opacities fall to FADED; the paper: every 3000 of 30 000 steps
    opacity: float = 0.1
    scale: float = 1.0

    def start(self, span: Span) -> "_Control":
        """See `Density.start`."""
        return _Control(self, span)


class _Control:
    """Gradients seen so far, and the edits they lead to."""

    def __init__(self, settings: Adaptive, span: Span) -> None:
        self.settings, self.span = settings, span
        self.random = torch.Generator().manual_seed(span.seed)
        self.gradient = torch.zeros(0)  # (N,) sum of the gradients' lengths over the photos that saw a Gaussian
        self.seen = torch.zeros(0)  # (N,) how many did
        self.first = 0  # Gaussians before the first edit
        self.growing = True  # not yet past stop_at: gradients are still asked for

    def penalty(self, gaussians: Gaussians) -> None:
        """See `Strategy.penalty`: there is none."""

    def observe(self, camera: Camera, splats: Splats) -> None:
        """See `Strategy.observe`: lengths in normalized device units, where the picture is 2 wide and 2 high."""
        if splats.probe.grad is None or not self.growing:
            return
        if len(self.seen) != len(splats.radii):
            self.gradient, self.seen = torch.zeros(2, len(splats.radii), device=splats.radii.device)
        x, y = splats.probe.grad.unbind(1)
        square = x * x * (camera.width / 2) ** 2
        self.gradient += square.addcmul_(y, y, value=(camera.height / 2) ** 2).sqrt_()
        self.seen += splats.seen

    def edit(self, step: int, gaussians: Gaussians) -> Edit | None:
        """See `Strategy.edit`."""
        time = self.span.time(step)
        self.growing = time < self.settings.stop_at
        edit = None
        if self.span.is_due(step, self.settings.every) and time >= self.settings.start_at:
            edit = self._densify_and_prune(time, gaussians)
            self.gradient, self.seen = torch.zeros(0), torch.zeros(0)
        before = self.span.time(step - 1)
        if any(before < reset <= time for reset in self.settings.resets):
            edit = _reset(edit or Edit(gaussians))
        return edit

    def follow(self, edit: Edit) -> None:
        """See `Strategy.follow`."""
        if edit.parents is not None and len(self.seen):
            self.gradient, self.seen = self.gradient[edit.parents], self.seen[edit.parents]

    def state(self) -> dict[str, Tensor]:
        """See `Strategy.state`."""
        numbers = torch.tensor([self.first, int(self.growing)])
        return {
            "random": self.random.get_state(),
            "gradient": self.gradient,
            "seen": self.seen,
            "numbers": numbers,
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """See `Strategy.restore`."""
        self.random.set_state(state["random"])
        self.gradient, self.seen = (state[name].to(self.span.device, copy=True) for name in ("gradient", "seen"))
        self.first, self.growing = int(state["numbers"][0]), bool(state["numbers"][1])

    def _densify_and_prune(self, time: float, gaussians: Gaussians) -> Edit | None:
        """One gather for everything: rows that stay, clones, and two halves of each split row."""
        log_largest = gaussians.log_scales.amax(dim=1)
        alive = ~self._dead(time, gaussians, log_largest)
        coarse = torch.zeros_like(alive)
        if self.growing and len(self.seen) == len(gaussians):
            coarse = self._coarsest(alive, self._allowed(time, len(gaussians)))
        large = log_largest > math.log(self.settings.clone_below * self.span.extent)
        halves = (coarse & large).nonzero()[:, 0].repeat(2)
        clones = (coarse & ~large).nonzero()[:, 0]
        staying = (alive & ~(coarse & large)).nonzero()[:, 0]
        if len(staying) == len(gaussians) and len(clones) == 0:
            return None
        parents = torch.cat([staying, clones, halves])
        fresh = torch.arange(len(parents), device=parents.device) >= len(staying)
        changed = gaussians[parents]
        self._scatter_halves(changed, len(halves))
        return Edit(changed, parents, fresh)

    def _dead(self, time: float, gaussians: Gaussians, log_largest: Tensor) -> Tensor:
        """(N,) True for Gaussians that are too faint, too large or broken."""
        prune_opacity, limit = self.settings.prune_opacity, self.settings.clamp_scale
        if time >= self.settings.prune_scale_from:
            limit = min(limit, self.settings.prune_scale)
        faint = gaussians.logit_opacities < math.log(prune_opacity / (1 - prune_opacity))
        return faint | (log_largest > math.log(limit * self.span.extent)) | ~gaussians.finite

    def _allowed(self, time: float, count: int) -> int:
        """How many Gaussians there may be: growing evenly from those at first to the cap at full_at."""
        self.first = self.first or count
        start, full = self.settings.start_at, self.settings.full_at
        grown = min(1.0, (time - start + self.settings.every) / max(full - start + self.settings.every, 1e-9))
        return int(self.first + (self.span.max_gaussians - self.first) * grown)

    def _coarsest(self, alive: Tensor, allowed: int) -> Tensor:
        """(N,) True for Gaussians to be divided: all above the threshold, or as many of the worst as there is room."""
        mean = (self.gradient / self.seen.clamp(min=1)).nan_to_num_(0, 0, 0)
        coarse = alive & (mean > self.settings.threshold)
        room = max(0, allowed - int(alive.sum()))  # both clone and split add one
        if int(coarse.sum()) > room:
            worst = torch.where(coarse, mean, -1).argsort(descending=True, stable=True)[:room]
            coarse = torch.zeros_like(coarse).index_fill_(0, worst, True)
        return coarse

    def _scatter_halves(self, changed: Gaussians, count: int) -> None:
        """Place the last `count` rows at random points of the Gaussians they come from, and shrink them."""
        first = len(changed) - count
        halves = changed[first:]
        offsets = torch.randn(count, 3, generator=self.random).to(halves.means) * halves.scales
        changed.means[first:] += (halves.rotations @ offsets[:, :, None])[:, :, 0]
        changed.log_scales[first:] -= math.log(self.settings.split_shrink)


def _reset(edit: Edit) -> Edit:
    """The edit, and then no opacity above FADED: what is really needed will come back (Kerbl et al. 2023, 5.2)."""
    faded = edit.gaussians.logit_opacities.clamp(max=math.log(FADED / (1 - FADED)))
    return replace(edit, gaussians=replace(edit.gaussians, logit_opacities=faded), forget=("logit_opacities",))
