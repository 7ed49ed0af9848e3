"""What cleaning costs on held-out photos, and what it finds, as tables: python benchmarks/clean.py DATA [--runs DIR].

DATA is the folder with fox, fern and lego. Each is trained, unless DIR holds its run (DIR/fox/splat.ply, trained with
--downscale 2), and cleaned with the defaults, without and with its training cameras. Then floaters are planted: blobs
close before training cameras, specks far away, spikes; how many are found, and what the photos say before and after.
"""

import argparse
import math
from dataclasses import replace
from pathlib import Path

import torch

import sfumato
from sfumato.core.gaussians import Gaussians
from sfumato.core.scene import Scene
from sfumato.edit.clean import REASONS, Findings, inspect
from sfumato.edit.spoilage import spoilage
from sfumato.edit.visibility import visibility
from sfumato.kernels.stages import RenderSettings

SCENES = ("fox", "fern", "lego")
PLANTED = 40  # of each kind
WORST = 0.05  # decibels that the defaults may cost


def trained(scene: Scene, folder: Path | None, name: str, backend: str) -> Gaussians:
    """The run's splat, or one that is trained now."""
    path = folder / name / "splat.ply" if folder else None
    return sfumato.read(path) if path and path.is_file() else sfumato.train(scene, backend=backend)


def look(gaussians: Gaussians, scene: Scene, backend: str) -> Findings:
    settings = RenderSettings(near=scene.near, depth=False)
    seen = visibility(gaussians, [view.camera for view in scene.train], settings, backend)
    return inspect(gaussians, None, seen, spoilage(gaussians, scene.train, settings, scene.background, backend))


def score(gaussians: Gaussians, scene: Scene, backend: str) -> sfumato.Evaluation:
    settings = RenderSettings(near=scene.near, depth=False)
    return sfumato.evaluate(gaussians, scene.test, settings, scene.background, backend)


def kept(gaussians: Gaussians, findings: Findings) -> Gaussians:
    return gaussians[findings.kept.nonzero()[:, 0]]


def row(name: str, cameras: str, findings: Findings, before: sfumato.Evaluation, after: sfumato.Evaluation) -> str:
    why = ", ".join(f"{reason} {count:,}" for reason, count in findings.counts.items() if count)
    count = len(findings.reasons)
    cost = after.psnr - before.psnr
    verdict = "yes" if cost >= -WORST else "NO"
    return (
        f"| {name} | {cameras} | {count:,} | {int(findings.removed.sum()):,} | {before.psnr:.3f} | {cost:+.4f} "
        f"| {after.ssim - before.ssim:+.5f} | {verdict} | {why} |"
    )


def floaters(gaussians: Gaussians, scene: Scene, seed: int = 0) -> dict[str, Gaussians]:
    """Kind -> floaters of random colors. `blobs` lie before random training cameras, a tenth to a third of the way."""
    random = torch.Generator().manual_seed(seed)
    middle, spread = gaussians.means.median(dim=0).values, scene.extent
    rows = torch.arange(PLANTED)
    like = gaussians[rows % len(gaussians)].map(torch.clone)
    like = replace(like, sh0=torch.randn(PLANTED, 1, 3, generator=random), shN=torch.zeros_like(like.shN))
    round_ = torch.tensor([1.0, 0, 0, 0]).repeat(PLANTED, 1)

    def made(means: torch.Tensor, scales: torch.Tensor, opacity: float) -> Gaussians:
        logits = torch.full((PLANTED,), math.log(opacity / (1 - opacity)))
        return replace(like, means=means, quats=round_, log_scales=scales.log(), logit_opacities=logits)

    chosen = torch.randint(len(scene.train), (PLANTED,), generator=random).tolist()
    means, sizes = [], []
    for place in chosen:
        camera = scene.train[place].camera
        ahead = (gaussians.means - camera.position.to(gaussians.means)) @ camera.viewmat[2, :3].to(gaussians.means)
        depth = ahead[ahead > scene.near].median() * (0.1 + 0.2 * torch.rand((), generator=random))
        depth = depth.clamp(min=1.5 * scene.near)
        aside = 0.6 * (torch.rand(2, generator=random) - 0.5)
        inside = torch.tensor([aside[0] * camera.width / camera.K[0, 0], aside[1] * camera.height / camera.K[1, 1], 1])
        means.append(camera.position + camera.viewmat[:3, :3].T @ (inside * depth))
        sizes.append(0.03 * depth)
    away = torch.nn.functional.normalize(torch.randn(PLANTED, 3, generator=random), dim=1)
    thin = torch.tensor([0.4, 0.002, 0.002]) * spread
    return {
        "blobs": made(torch.stack(means), torch.stack(sizes)[:, None].repeat(1, 3), 0.8),
        "specks": made(middle + 20 * spread * away, torch.full((PLANTED, 3), 0.02 * spread), 0.9),
        "spikes": made(torch.stack(means), thin.repeat(PLANTED, 1), 0.5),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with fox, fern and lego")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--runs", type=Path, help="folder with runs that are trained already")
    parser.add_argument("--backend", default="auto")
    options = parser.parse_args()

    print("| scene | cameras | Gaussians | removed | PSNR | change, dB | SSIM change | within 0.05 dB | why |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    found = []
    for name in options.scenes:
        scene = sfumato.load_scene(options.data / name, downscale=2, holdout=8)
        gaussians = trained(scene, options.runs, name, options.backend)
        before = score(gaussians, scene, options.backend)
        for cameras, findings in (("no", inspect(gaussians)), ("yes", look(gaussians, scene, options.backend))):
            after = score(kept(gaussians, findings), scene, options.backend)
            print(row(name, cameras, findings, before, after), flush=True)
        found += planted(name, gaussians, scene, before.psnr, options.backend)
    print(
        "\n| scene | planted | found | PSNR without them | with them | cleaned | why |\n|---|---|---|---|---|---|---|"
    )
    print("\n".join(found))


def planted(name: str, gaussians: Gaussians, scene: Scene, clean: float, backend: str) -> list[str]:
    """A row for each kind of floater."""
    rows = []
    for kind, extra in floaters(gaussians, scene).items():
        dirty = Gaussians.cat([gaussians, extra])
        findings = look(dirty, scene, backend)
        reasons = findings.reasons[-PLANTED:]
        told = {reason: int((reasons == place).sum()) for place, reason in enumerate(REASONS, start=1)}
        why = ", ".join(f"{reason} {count}" for reason, count in told.items() if count)
        spoiled, after = (score(g, scene, backend).psnr for g in (dirty, kept(dirty, findings)))
        share = f"{int((reasons > 0).sum())} of {PLANTED}"
        rows.append(f"| {name} | {kind} | {share} | {clean:.2f} | {spoiled:.2f} | {after:.2f} | {why} |")
    return rows


if __name__ == "__main__":
    main()
