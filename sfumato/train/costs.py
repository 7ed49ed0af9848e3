"""What a backend holds per Gaussian, pixel and pair of tile and splat, beside what is stored of a Gaussian.

The numbers of processors were measured, and benchmarks/memory.py measures them again. Those of a GPU are counted from
the kernels' tensors, and nobody has measured them yet.
"""

from dataclasses import dataclass

__all__ = ["COSTS", "ON_GPU", "Costs"]


@dataclass(frozen=True)
class Costs:
    """What a backend holds beside the tensors that are stored, in bytes."""

    base: int  # Python, torch, kernels, the libraries that read photos and cameras, and what reading them left behind
    gaussian: int  # splats, their gradients, and what lies between them and the Gaussians
    pixel: int  # of a training step: the picture, its gradient, the windows of D-SSIM
    pixel_masked: int  # more where the photo has a mask: what counts, as floats, and the picture without the rest
    pixel_scored: int  # of an evaluation: the picture, the photo as floats, their difference in double precision
    pair: int  # of a tile and a splat that touches it: both lists, and a row of gradients
    pair_in_order: int = 0  # more where gradients are added in a fixed order, and that is an option


COSTS = {
    # splats 56 and their gradients 44, records 64, places in lists 40, what the strategy counts 12
    "cpu": Costs(base=500_000_000, gaussian=216, pixel=77, pixel_masked=32, pixel_scored=150, pair=70),
    # autograd holds every intermediate result: of each of a tile's 256 pixels for each pair
    "reference": Costs(base=400_000_000, gaussian=3000, pixel=1300, pixel_masked=110, pixel_scored=500, pair=14_000),
    # the rest is on the GPU; libraries of CUDA or ROCm, and Triton's compiler, come on top of the CPU's; a picture that
    # is scored comes back as floats 12, to be compared with the photo 12, as an error 4 and as bytes
    "gpu": Costs(base=1_500_000_000, gaussian=0, pixel=0, pixel_masked=0, pixel_scored=50, pair=0),
}
# of the GPU's own memory, without what its driver takes, which is gone before anybody asks how much is free
ON_GPU = {
    "gpu": Costs(
        base=100_000_000,  # code of the kernels, and what torch keeps for itself
        # splats 56 and their gradients 48; records 48 and their gradients 48; tiles counted, sorted by depth and summed
        # up 56; what the strategy counts 12, and a penalty's gradients 16
        gaussian=284,
        # the picture 12, alpha 4, three derivatives of SSIM 36; gradients of the loss 12, the picture 12, alpha 4; and
        # the picture of the step before 12
        pixel=92,
        pixel_masked=36,  # where it counts 4, where it is empty 4, the photo without the rest 4, the picture's 24
        pixel_scored=140,  # the picture and its light 20, the photo as floats 12, twice in double precision 48, their
        # difference 24, its square 24, and the photo
        pair=38,  # tile 2, splat 4; sorted: tile 2, place 8, torch's buffers 18; the splats in order 4
        pair_in_order=60,  # a row of gradients 48, and where a splat's pairs are 12
    )
}
