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

    def state(self) -> dict[str, Tensor]:
        """See `Strategy.state`."""
        return {"random": self.random.get_state()}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """See `Strategy.restore`."""
        self.random.set_state(state["random"])

    def _shaken(self, time: float, gaussians: Gaussians) -> Tensor:
        """(N, 3) means with the noise of Eq. 7: strong for faint Gaussians, none for opaque ones.

        The authors' code moves a mean by noise * extent * covariance @ normal, a length cubed; to make it a length
        the extent is replaced by USUAL_EXTENT^2 / extent.
        """
        faint = (gaussians.logit_opacities < math.log(0.1 / 0.9)).nonzero()[:, 0]  # the gate of others is below 1e-4
        opacities = gaussians.logit_opacities[faint].sigmoid()
        gates = torch.sigmoid(100 * (self.settings.dead_opacity - opacities))
        strength = self.settings.noise * USUAL_EXTENT**2 / self.span.extent * self.settings.noise_end**time
        normal = torch.randn(len(faint), 3, generator=self.random)
        axes = matrix_from_quaternion(gaussians.quats.index_select(0, faint))
        variances = gaussians.log_scales.index_select(0, faint).mul(2).exp_()
        along = (axes * normal[:, :, None]).sum(dim=1) * variances  # S S^T R^T normal
        noise = (axes * along[:, None, :]).sum(dim=2) * (strength * gates)[:, None]
        return gaussians.means.index_add(0, faint, noise)

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
        sources = torch.multinomial(weights, len(dead) + born, replacement=True, generator=self.random)
        parents = torch.arange(N + born)
        parents[dead], parents[N:] = sources[: len(dead)], sources[len(dead) :]
        copies = torch.bincount(sources, minlength=N) + 1  # the source itself included
        copies = copies.index_select(0, parents)
        divided = (copies > 1).nonzero()[:, 0]
        return Edit(_divided_rows(gaussians[parents], divided, copies[divided]), parents, copies > 1)


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
    k = torch.arange(1, MOST_COPIES + 1)
    table = torch.tensor([[math.comb(n, i) for i in k.tolist()] for n in range(MOST_COPIES + 1)], dtype=torch.float64)
    signed = torch.where(k % 2 == 1, 1.0, -1.0).double() / k.double().sqrt()
    overlap = (table[copies] * signed * each[:, None] ** k).sum(dim=1)
    return each, opacities / overlap
