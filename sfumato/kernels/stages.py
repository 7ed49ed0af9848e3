"""The nouns between the stages of rendering, and the functions every backend has."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from sfumato.core.camera import Camera
from sfumato.core.gaussians import Gaussians
from sfumato.core.sh import bases_of_degree

__all__ = ["MOST_PAIRS", "TILE", "AdamStep", "Backend", "Moments", "Rates", "RenderSettings", "Splats", "TileLists"]

TILE = 16  # pixels, side of a tile
MOST_PAIRS = 2**31 - 1  # positions in tile lists are int32


@dataclass(frozen=True)
class RenderSettings:
    """How Gaussians become a picture; every discontinuity is a number here, so that tests can move it away."""

    sh_degree: int | None = None  # highest degree that is evaluated; None: all that are stored
    antialiased: bool = False  # opacity shrinks as the low-pass widens (Yu et al. 2024, Eq. 9)
    low_pass: float = 0.3  # pixels^2 added to both variances (code of Kerbl et al. 2023)
    near: float = 0.2  # world units; what is nearer is not drawn (code of Kerbl et al. 2023)
    fov_margin: float = 0.3  # the Jacobian is taken at most this share of the half picture outside it
    alpha_min: float = 1 / 255  # fainter contributions are left out
    alpha_max: float = 0.999  # keeps 1 / (1 - alpha) finite
    transmittance_min: float = 1e-4  # a pixel this dark behind its Gaussians is finished
    depth: bool = True  # also blend depth; False saves its time and gives Render.depth = None
    probe: Literal["signed", "absolute"] = "signed"  # absolute: sum of |gradient| over pixels (Ye et al. 2024)
    most_pairs: int = MOST_PAIRS  # entries of the tile lists; bin refuses to make longer ones
    room: int | None = None  # entries to make room for without waiting for a GPU to count them, see TileLists.missing
    deterministic: bool = False  # the same bits each time, on a GPU too; the other backends always are

    def degree_of(self, gaussians: Gaussians) -> int:
        """The degree of spherical harmonics that is evaluated of these Gaussians."""
        return gaussians.degree if self.sh_degree is None else min(self.sh_degree, gaussians.degree)


@dataclass(frozen=True, eq=False)
class Splats:
    """Gaussians as seen by one camera; row i is Gaussian i, and radii of 0 mean unseen.

    All fields but radii and nonfinite carry gradients.
    """

    means2d: Tensor  # (N, 2) pixels; the top-left pixel's center is (0.5, 0.5)
    conics: Tensor  # (N, 3) xx, xy, yy of the inverse 2D covariance, 1 / pixels^2
    depths: Tensor  # (N,) distance along the camera's z axis, world units
    radii: Tensor  # (N, 2) half width and height in pixels of the box where alpha >= alpha_min; 0: unseen
    colors: Tensor  # (N, 3) >= 0
    opacities: Tensor  # (N,)
    probe: Tensor  # (N, 2) zeros; its .grad after backward is the gradient of means2d, signed or absolute
    nonfinite: Tensor  # () int64: how many were left out because their shape, or their color here, is not finite

    @property
    def seen(self) -> Tensor:
        """(N,) True where the Gaussian touches the picture."""
        return self.radii[:, 0] > 0

    def leaves(self) -> "Splats":
        """The same numbers as the end of autograd's road: backward leaves its gradients on them."""

        def leaf(tensor: Tensor) -> Tensor:
            return tensor.detach().requires_grad_()

        return Splats(
            leaf(self.means2d),
            leaf(self.conics),
            leaf(self.depths),
            self.radii,
            leaf(self.colors),
            leaf(self.opacities),
            leaf(self.probe),
            self.nonfinite,
        )


@dataclass(frozen=True, eq=False)
class TileLists:
    """Which splats touch which 16x16 tile, nearest first; tiles run row by row.

    A pair is one (tile, splat) entry; there are P. `starts` and `pairs` are the same lists seen from the splats,
    for backends that gather gradients without atomics; backends that do not need them leave them None.

    With RenderSettings.room, a GPU makes room for that many pairs and goes on without waiting until they are counted.
    When there are more, some are `missing`, and what is drawn from these lists is wrong: draw again with more room.
    """

    offsets: Tensor  # (T + 1,) int64: the pairs of tile t are offsets[t] to offsets[t + 1]
    splats: Tensor  # (P,) int32: the splat of each pair; behind offsets[T] there may be room that nothing fills
    width: int  # pixels
    height: int
    starts: Tensor | None = None  # (N + 1,) int64: the pairs of splat i are pairs[starts[i]:starts[i + 1]]
    pairs: Tensor | None = None  # (P,) int32: positions in `splats`
    counted: Callable[[], int] | None = None  # waits for the GPU: how many pairs there are, in the lists or not

    @property
    def count(self) -> int:
        """How many pairs there are, also those that found no room; waits for the GPU that counts them."""
        return self.splats.numel() if self.counted is None else self.counted()

    @property
    def missing(self) -> int:
        """Pairs that found no room; waits for the GPU that counts them, not for what it was asked to do since."""
        return max(0, self.count - self.splats.numel())

    @property
    def tiles_x(self) -> int:
        """Tiles in a row."""
        return -(-self.width // TILE)

    @property
    def tiles_y(self) -> int:
        """Rows of tiles."""
        return -(-self.height // TILE)


class Rates(NamedTuple):
    """Learning rates, one per field of Gaussians."""

    means: float
    quats: float
    log_scales: float
    logit_opacities: float
    sh0: float
    shN: float


class Moments(NamedTuple):
    """Adam's two running means per number; being Gaussians, they follow the rows wherever those go."""

    mean: Gaussians
    square: Gaussians

    @classmethod
    def zeros(cls, gaussians: Gaussians) -> "Moments":
        """Moments before the first step."""
        return cls(gaussians.map(torch.zeros_like), gaussians.map(torch.zeros_like))


@dataclass(frozen=True)
class AdamStep:
    """Everything about one step of Adam (Kingma and Ba 2015) that is not a tensor."""

    rates: Rates
    count: int  # steps taken, this one included; for the bias correction
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-15  # code of Kerbl et al. 2023
    sh_degree: int | None = None  # higher degrees stay untouched; None: all move
    sparse: bool = False  # True: rows of unseen Gaussians stay untouched, moments too
    sh_count: int | None = None  # steps that shN took, where it steps less often; None: count

    def count_of(self, field: str) -> int:
        """Steps that the field took, this one included; 1 also where shN has taken none and stays."""
        return self.count if field != "shN" or self.sh_count is None else max(1, self.sh_count)

    def moved_of(self, width: int) -> int:
        """How many of the `width` numbers in a row of shN take part: those of the first degrees come first."""
        return width if self.sh_degree is None else min(width, 3 * (bases_of_degree(self.sh_degree) - 1))


class Backend(Protocol):
    """What a processor's folder offers as plain module functions.

    Outputs of project, blend and photometric carry gradients where their inputs ask for them. A backend that lacks
    a gradient raises BackendError in the forward pass; it never returns zeros in its place.
    """

    def project(self, gaussians: Gaussians, camera: Camera, settings: RenderSettings) -> Splats:
        """EWA projection (Zwicker et al. 2001) and view-dependent color."""

    def bin(self, splats: Splats, width: int, height: int, settings: RenderSettings) -> TileLists:
        """Sort by depth and list per tile; no gradients.

        Raises TileListError, before anything is allocated for them, when there are more than settings.most_pairs
        pairs, or splats reach into more rows of tiles than that. With settings.room, which a GPU heeds, it does not:
        there the lists may have pairs missing.
        """

    def blend(
        self, splats: Splats, tiles: TileLists, background: Tensor, settings: RenderSettings
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Front-to-back over: image (H, W, 3), alpha (H, W) and expected depth (H, W) or None.

        background is (3,). Expected depth is the mean depth weighted as the colors are, 0 where alpha is 0.
        """

    def photometric(self, image: Tensor, target: Tensor, ssim_weight: float) -> Tensor:
        """() the loss (1 - w) L1 + w (1 - SSIM), Eq. 7 of Kerbl et al. 2023, of (H, W, 3) images.

        target is uint8 or floats in [0, 1]. SSIM has an 11x11 Gaussian window, sigma 1.5, zeros outside.
        """

    def adam(self, gaussians: Gaussians, moments: Moments, step: AdamStep) -> None:
        """One step in place from the `.grad` of the Gaussians' fields; fields without one stay untouched.

        With step.sparse, rows whose gradients are all zero stay untouched.
        """

    def adam_from_splats(
        self,
        gaussians: Gaussians,
        splats: Splats,
        camera: Camera,
        settings: RenderSettings,
        moments: Moments,
        step: AdamStep,
    ) -> None:
        """The chain rule from splats to Gaussians and one step of Adam in place, in a single pass.

        splats are the leaves that a loss has been backpropagated to, projected from exactly these gaussians with
        the same camera and settings. Any `.grad` on the gaussians' own fields (a penalty's) is added to theirs.
        """
