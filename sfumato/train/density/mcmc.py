"""Gaussians as samples of a Markov chain (Kheradmand et al. 2024): relocate, grow, and shake by noise."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.core.rotation import matrix_from_quaternion
from sfumato.kernels.stages import Splats
from sfumato.train.density.strategy import Span
from sfumato.train.edit import Edit

__all__ = ["MCMC", "divided"]

MOST_COPIES = 51  # of one Gaussian in one edit (code of Kheradmand et al. 2024)
MIN_OPACITY, MAX_OPACITY = 0.005, 1 - 1e-6  # what a divided Gaussian keeps
MOST_DRAWN = 2**24  # torch.multinomial takes no more rows
WHOLE = 2.0**32  # steps of a weight from 0 to 1
USUAL_EXTENT = 5.0  # world units, of the paper's scenes: noise and penalty are as there in such a scene


@dataclass(frozen=True)
class MCMC:
    """Settings of the Markov chain; times are shares of the training, 0 to 1."""

    name: Literal["mcmc"] = "mcmc"
    every: float = 0.025  # between relocations; the paper: 100 of 30 000 steps, and then growth is 0.05
    start_at: float = 0.02  # the paper: 500 of 30 000 steps
    stop_at: float = 0.83  # the paper: 25 000 of 30 000 steps
    growth: float = 0.15  # new Gaussians per edit, relative to those there are
    dead_opacity: float = 0.005  # fainter Gaussians are relocated
    clamp_scale: float = 10.0  # of the extent: larger ones, too, and removed once none are relocated any more
    noise: float = 80.0  # 5e5 times the rate of means, 1.6e-4
    noise_end: float = 0.01  # its share at the end, as the rate of means falls
    opacity_penalty: float = 0.01  # lambda_o and lambda_Sigma of Eq. 8
    scale_penalty: float = 0.01
    probe: Literal["signed", "absolute"] = "signed"  # not looked at
    opacity: float = 0.5
    scale: float = 0.1

    def start(self, span: Span) -> "_Chain":
        """See `Density.start`."""
        return _Chain(self, span)


class _Chain:
    """The chain's random numbers; all else is in the Gaussians."""

    def __init__(self, settings: MCMC, span: Span) -> None:
        self.settings, self.span = settings, span
        self.random = torch.Generator().manual_seed(span.seed)
        self._shaking = self.random  # of every step: on a GPU, so that no step waits until its numbers are there
        if span.device.type != "cpu":
            self._shaking = torch.Generator(span.device).manual_seed(span.seed)
        self._log_largest = math.log(settings.clamp_scale * span.extent)

    def penalty(self, gaussians: Gaussians) -> Tensor:
        """See `Strategy.penalty`: the last two terms of Eq. 8, as means as in the authors' code."""
        opacity = self.settings.opacity_penalty * gaussians.opacities.mean()
        size = gaussians.scales.mean() * (USUAL_EXTENT / self.span.extent)
        return opacity + self.settings.scale_penalty * size

    def observe(self, camera: Camera, splats: Splats) -> None:
        """See `Strategy.observe`: nothing to see."""

    def edit(self, step: int, gaussians: Gaussians) -> Edit:
        """See `Strategy.edit`."""
        time = self.span.time(step)
        edit = Edit(replace(gaussians, means=self._shaken(time, gaussians)))
        due = self.span.is_due(step, self.settings.every)
        if due and self.settings.start_at <= time < self.settings.stop_at:
            edit = self._relocated_and_grown(edit.gaussians)
        elif due and time >= self.settings.stop_at:
            edit = self._without_runaways(edit)
        return edit

    def follow(self, edit: Edit) -> None:
        """See `Strategy.follow`: nothing is kept per row."""

    def state(self) -> dict[str, Tensor]:
        """See `Strategy.state`."""
        both = {"random": self.random.get_state()}
        return both if self._shaking is self.random else {**both, "shaking": self._shaking.get_state()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """See `Strategy.restore`."""
        self.random.set_state(state["random"])
        if self._shaking is self.random:
            return
        try:
            self._shaking.set_state(state["shaking"])
        except (KeyError, RuntimeError):  # training was elsewhere: on a CPU, or on another kind of GPU
            self._shaking.manual_seed(int(torch.randint(2**62, (), generator=self.random)))

    def _shaken(self, time: float, gaussians: Gaussians) -> Tensor:
        """(N, 3) means with the noise of Eq. 7: strong for faint Gaussians, none for opaque ones.

        The authors' code moves a mean by noise * extent * covariance @ normal, a length cubed; to make it a length
        the extent is replaced by USUAL_EXTENT^2 / extent.
        """
        means, shapes = gaussians.means, (gaussians.logit_opacities, gaussians.quats, gaussians.log_scales)
        faint = gaussians.logit_opacities < math.log(0.1 / 0.9)  # the gate of others is below 1e-4
        if means.device.type != "cpu":  # how many are faint, one would have to wait for
            return means + torch.where(faint[:, None], self._noise(time, *shapes), 0)
        rows = faint.nonzero()[:, 0]
        return means.index_add(0, rows, self._noise(time, *(tensor.index_select(0, rows) for tensor in shapes)))

    def _noise(self, time: float, logit_opacities: Tensor, quats: Tensor, log_scales: Tensor) -> Tensor:
        """(M, 3) what is added to the means of M Gaussians."""
        gates = torch.sigmoid(100 * (self.settings.dead_opacity - logit_opacities.sigmoid()))
        strength: float = self.settings.noise * USUAL_EXTENT**2 / self.span.extent * self.settings.noise_end**time
        normal = torch.randn(len(quats), 3, generator=self._shaking, dtype=quats.dtype, device=quats.device)
        axes = matrix_from_quaternion(quats)
        variances = log_scales.mul(2).exp_()
        along = (axes * normal[:, :, None]).sum(dim=1) * variances  # S S^T R^T normal
        return (axes * along[:, None, :]).sum(dim=2) * (strength * gates)[:, None]

    def _run_away(self, gaussians: Gaussians) -> Tensor:
        """(N,) True for Gaussians that are too large or broken."""
        return ~gaussians.finite | (gaussians.log_scales.amax(dim=1) > self._log_largest)

    def _without_runaways(self, edit: Edit) -> Edit:
        """The edit, whose rows are those before it, without Gaussians that nothing would bring back."""
        gone = self._run_away(edit.gaussians)
        if gone.all() or not gone.any():
            return edit
        staying = (~gone).nonzero()[:, 0]
        return Edit(edit.gaussians[staying], staying)

    def _relocated_and_grown(self, gaussians: Gaussians) -> Edit:
        """Dead Gaussians move onto living ones, drawn by opacity, and new ones join them there."""
        threshold = math.log(self.settings.dead_opacity / (1 - self.settings.dead_opacity))
        alive = (gaussians.logit_opacities > threshold) & ~self._run_away(gaussians)
        weights = torch.where(alive, gaussians.logit_opacities.double().sigmoid(), 0)
        N = len(gaussians)
        dead = (~alive).nonzero()[:, 0]
        target = min(self.span.max_gaussians, int(N * (1 + self.settings.growth)))
        born = max(0, target - N)
        if len(dead) + born == 0 or len(dead) == N:
            return Edit(gaussians)
        sources = _drawn(weights, len(dead) + born, self.random)
        parents = torch.arange(N + born, device=weights.device)
        parents[dead], parents[N:] = sources[: len(dead)], sources[len(dead) :]
        copies = torch.bincount(sources, minlength=N) + 1  # the source itself included
        copies = copies.index_select(0, parents)
        divided = (copies > 1).nonzero()[:, 0]
        return Edit(_divided_rows(gaussians[parents], divided, copies[divided]), parents, copies > 1)


def _drawn(weights: Tensor, count: int, random: torch.Generator) -> Tensor:
    """(count,) int64 rows, each as probable as its weight (N,) in [0, 1]; the random numbers are the CPU's."""
    if weights.device.type == "cpu" and len(weights) < MOST_DRAWN:
        return torch.multinomial(weights, count, replacement=True, generator=random)
    ends: Tensor = (weights * WHOLE).long().cumsum(0)  # sums of whole numbers are the same in any order, and exact
    places = torch.rand(count, dtype=torch.float64, generator=random).to(weights.device) * ends[-1]
    return torch.searchsorted(ends, places.long().minimum(ends[-1] - 1), right=True)


def _divided_rows(gaussians: Gaussians, rows: Tensor, copies: Tensor) -> Gaussians:
    """The Gaussians, whose tensors are changed in place, with each of `rows` made one of its `copies`."""
    logits = gaussians.logit_opacities[rows].double()
    opacities, shrink = divided(logits.sigmoid(), copies)
    opacities = opacities.clamp(MIN_OPACITY, MAX_OPACITY)
    gaussians.logit_opacities[rows] = opacities.logit().float()
    gaussians.log_scales[rows] += shrink.log().float()[:, None]
    return gaussians


def divided(opacities: Tensor, copies: Tensor) -> tuple[Tensor, Tensor]:
    """Opacity of each, and factor of its scales, when a Gaussian becomes `copies` equal ones that render alike.

    Both (M,) float64, copies (M,) >= 1. Eq. 9 of Kheradmand et al. 2024; the two sums there run over binomials that
    add up to one sum over k of C(n, k) (-1)^(k-1) o^k / sqrt(k).
    """
    copies = copies.clamp(max=MOST_COPIES)
    each = 1 - (1 - opacities) ** (1 / copies)
    choices = [[math.comb(n, k) for n in range(MOST_COPIES + 1)] for k in range(MOST_COPIES + 1)]
    table = torch.tensor(choices, dtype=torch.float64).to(opacities.device)
    overlap = torch.zeros_like(each)
    for k in range(1, MOST_COPIES + 1):  # one by one: all at once would be (M, 51), and take more than all the rest
        overlap.addcmul_(table[k].index_select(0, copies), each**k, value=(-1) ** (k - 1) / math.sqrt(k))
    return each, opacities / overlap
