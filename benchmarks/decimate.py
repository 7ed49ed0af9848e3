"""What fewer Gaussians cost, merged or merely the most important: python benchmarks/decimate.py DATA RUNS.

DATA is the folder with fox, fern and lego; RUNS holds a folder per scene, trained by `sfumato train DATA/SCENE -o
RUNS/SCENE --downscale D`, with the same --downscale as here. Prints PSNR and SSIM on the held-out photos.
"""

import argparse
from pathlib import Path

import sfumato
from sfumato import edit
from sfumato.core.gaussians import Gaussians


def most_opaque(gaussians: Gaussians, count: int) -> Gaussians:
    return gaussians[gaussians.opacities.topk(count).indices]


def largest(gaussians: Gaussians, count: int) -> Gaussians:
    """By opacity times area: the product of the two larger standard deviations."""
    _, middle, longest = gaussians.scales.sort(dim=1).values.unbind(1)
    return gaussians[(gaussians.opacities * middle * longest).topk(count).indices]


WAYS = {"merged": edit.decimate, "most opaque": most_opaque, "largest opacity times area": largest}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the scenes")
    parser.add_argument("runs", type=Path, help="folder of their trainings")
    parser.add_argument("--scenes", nargs="+", default=["fox", "fern"])
    parser.add_argument("--downscale", type=float, default=2.0)
    parser.add_argument("--shares", nargs="+", type=float, default=[0.5, 0.25])
    options = parser.parse_args()
    print("| scene | Gaussians | kept | " + " | ".join(WAYS) + " |")
    print("|---|---|---" + "|---" * len(WAYS) + "|", flush=True)
    for name in options.scenes:
        scene = sfumato.load_scene(options.data / name, downscale=options.downscale, holdout=8)
        whole = sfumato.read(options.runs / name / "splat.ply")
        for share in (1.0, *options.shares):
            cells = []
            for way in WAYS.values():
                fewer = whole if share == 1 else way(whole, round(share * len(whole)))
                scores = sfumato.evaluate(fewer, scene.test, background=scene.background)
                cells.append(f"{scores.psnr:.2f} dB, {scores.ssim:.3f}")
            print(f"| {name} | {len(whole):,} | {100 * share:g} % | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
