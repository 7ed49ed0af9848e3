"""How to photograph, measured: python benchmarks/capture_advice.py [--pictures docs/capture] [--keep FOLDER].

The still life is photographed well and badly, in small. For each way: how many photos get a camera, and how good a
short training becomes on photos that it never saw. The pictures of docs/capture.md are made on the way.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

import sfumato
from sfumato.capture import load_scene
from sfumato.capture.colmap_model import read_model
from sfumato.capture.sfm import solve
from sfumato.capture.studio import phone_walk, photograph
from sfumato.capture.studio.photograph import picture, studio
from sfumato.core.camera import Camera
from sfumato.core.errors import InputError
from sfumato.core.scene import Scene
from sfumato.train import TrainConfig

WIDTH, HEIGHT, MARGIN = 480, 360, 24  # pixels; the margin is for motion blur
PHOTOS, TURNED = 32, 16
STEP = 7.5  # degrees from photo to photo of the walk, but for its first tenth
STEPS, HOLDOUT = 1000, 8
MIDDLE = (0.0, 0.0, 0.93)  # of the table's things, metres
NEAR, FAR = (-0.12, 0.17, 1.09), (3.12, 3.12, 1.17)  # the vase, a ball on a pillar of the terrace
GAP = range(13, 20)  # photos that are missing in the walk with a gap
INK, PAPER, GOOD, BAD = "#222222", "#ffffff", "#1b7f5c", "#c0392b"
Array = np.ndarray


def widened(camera: Camera) -> Camera:
    """The same camera with a margin around its picture."""
    K = camera.K.clone()
    K[:2, 2] += MARGIN
    return replace(camera, K=K, width=camera.width + 2 * MARGIN, height=camera.height + 2 * MARGIN)


def turning(count: int, like: Camera) -> list[Camera]:
    """Cameras at one place, each turned by 5 degrees more than the one before."""
    position = like.position.double()
    target = torch.tensor(MIDDLE, dtype=torch.float64)
    focal, up = float(like.K[0, 0]), torch.tensor([0.0, 0, 1], dtype=torch.float64)
    cameras = []
    for angle in np.deg2rad(5.0) * (np.arange(count) - (count - 1) / 2):
        cos, sin = np.cos(angle), np.sin(angle)
        spin = torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], dtype=torch.float64)
        aim = position + spin @ (target - position)
        cameras.append(Camera.look_at(position, aim, up, focal, WIDTH, HEIGHT).to(torch.float32))
    return cameras


def rendered(cameras: Sequence[Camera], kept: Path) -> list[Array]:
    """(H, W, 3) uint8 with margins, from `kept` when it has them."""
    kept.mkdir(parents=True, exist_ok=True)
    studio(0)  # once, not by every thread

    def one(numbered: tuple[int, Camera]) -> Array:
        path = kept / f"{numbered[0]:03d}.png"
        if not path.exists():
            Image.fromarray(picture(studio(0), widened(numbered[1]))).save(path)
        return np.asarray(Image.open(path).convert("RGB"))

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, enumerate(cameras)))


def cut(image: Array) -> Array:
    """Without the margin."""
    return image[MARGIN:-MARGIN, MARGIN:-MARGIN]


def linear(image: Array) -> Array:
    return (image / 255.0) ** 2.2


def encoded(light: Array) -> Array:
    return (np.clip(light, 0, 1) ** (1 / 2.2) * 255 + 0.5).astype(np.uint8)


def shaken(image: Array, focal: float, pixels: float, seed: int) -> Array:
    """What the camera takes when it turns while the shutter is open, so that the middle moves by `pixels`."""
    rng = np.random.default_rng([seed, 5])
    direction = rng.uniform(0, 2 * np.pi)
    x, y, z = np.array([np.cos(direction), np.sin(direction), 0.3 * rng.normal()]) * pixels / focal
    K = np.array([[focal, 0, image.shape[1] / 2], [0, focal, image.shape[0] / 2], [0, 0, 1]])
    total = np.zeros(image.shape)
    moments = np.linspace(-0.5, 0.5, max(2, int(2 * pixels)))
    for moment in moments:
        turn = torch.linalg.matrix_exp(moment * torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64))
        grid = K @ turn.numpy() @ np.linalg.inv(K)
        numbers = tuple((grid / grid[2, 2]).ravel()[:8])
        photo = Image.fromarray(image)
        total += linear(
            np.asarray(photo.transform(photo.size, Image.Transform.PERSPECTIVE, numbers, Image.Resampling.BICUBIC))
        )
    return encoded(total / len(moments))


def exposed(image: Array, stops: float) -> Array:
    """The photo with its light multiplied by 2 ** stops."""
    return encoded(linear(image) * 2.0**stops)


@dataclass(frozen=True)
class Kind:
    """A way to photograph."""

    name: str
    photos: list[Array]
    chosen: list[int]  # which photos of the walk these are; training is of the same ones, with the walk's cameras


def kinds_of(walk: list[Array], focal: float) -> list[Kind]:
    """The walk, and what people do instead."""
    every = list(range(PHOTOS))

    def blurred(pixels: float) -> list[Array]:
        return [cut(shaken(image, focal, pixels, k)) for k, image in enumerate(walk)]

    def some(name: str, chosen: list[int]) -> Kind:
        return Kind(name, [cut(walk[k]) for k in chosen], chosen)

    stops = np.random.default_rng(3).uniform(-1, 1, PHOTOS)
    return [
        some("walk, 32 photos, 7.5 degrees apart", every),
        some("every 2nd photo, 15 degrees apart", every[::2]),
        some("every 4th photo, 30 degrees apart", every[::4]),
        some("every 6th photo, 45 degrees apart", every[::6]),
        some(f"a gap of {len(GAP)} photos, 60 degrees", [k for k in every if k not in GAP]),
        some("the lower half of the photos", []),
        Kind("all blurred along 3 pixels", blurred(3), every),
        Kind("all blurred along 6 pixels", blurred(6), every),
        Kind("all blurred along 12 pixels", blurred(12), every),
        Kind(
            "brightness differs by up to 1 stop", [exposed(cut(w), s) for w, s in zip(walk, stops, strict=True)], every
        ),
    ]


def write_photos(folder: Path, photos: Sequence[Array]) -> None:
    folder.mkdir(parents=True)
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 27  # FocalLengthIn35mmFilm, as a phone writes it
    for number, photo in enumerate(photos, start=1):
        Image.fromarray(photo).save(folder / f"photo_{number:03d}.jpg", quality=95, subsampling=0, exif=exif)


def cameras_found(photos: Sequence[Array]) -> str:
    """How many get a camera, as cells of a table."""
    with tempfile.TemporaryDirectory() as place:
        write_photos(Path(place) / "photos", photos)
        try:
            found = solve(Path(place) / "photos", Path(place) / "out")
        except InputError as error:
            print(f"    {str(error).split(': ', 1)[-1].split('; see ')[0]}")
            return f"0 of {len(photos)} | - | - | -"
        lens = next(iter(read_model(found.folder / "sparse" / "0").lenses.values()))
        focals = f"{lens.focals[0]:,.0f}, {lens.focals[1]:,.0f}"
        return f"{found.registered} of {found.photos} | {found.points:,} | {found.reprojection_error:.2f} | {focals}"


def walk_scene(walk: list[Array], kept: Path) -> Scene:
    """The walk with the cameras that were found for all of its photos."""
    folder = kept / "walk_photos"
    if not folder.exists():
        write_photos(folder, [cut(image) for image in walk])
    return load_scene(folder, downscale=2, holdout=HOLDOUT, cache=kept / "cache")


def trained(scene: Scene, kind: Kind) -> tuple[sfumato.Gaussians, list[float]]:
    """The splat of a kind's photos at half size, and the PSNR of each photo held out of the walk: these are sharp."""
    shown = dict(zip(kind.chosen, kind.photos, strict=True))
    views = []
    for number, view in enumerate(scene.views):
        if view.split == "test":
            views.append(view)
        elif number in shown:
            small = Image.fromarray(shown[number]).resize((view.camera.width, view.camera.height), Image.Resampling.BOX)
            views.append(replace(view, photo=torch.from_numpy(np.array(small))))
    config = TrainConfig(steps=STEPS, max_gaussians=20_000)
    gaussians = sfumato.train(replace(scene, views=views), config)
    scores = sfumato.evaluate(gaussians, scene.test, background=scene.background).views
    return gaussians, [score.psnr for score in scores]


def overlap(cameras: Sequence[Camera], step: int) -> float:
    """Mean share of a photo's pixels that show what the photo `step` later shows too."""
    shares = []
    for a in range(0, len(cameras) - step, 4):
        one, other = (cameras[k].resized(WIDTH // 4, HEIGHT // 4) for k in (a, a + step))
        truth, hidden = photograph(one, 1).depth, photograph(other, 1).depth
        y, x = torch.meshgrid(*(torch.arange(n) + 0.5 for n in truth.shape), indexing="ij")
        rays = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ torch.linalg.inv(one.K).T
        local = rays * truth[..., None]
        world = (local - one.viewmat[:3, 3]) @ one.viewmat[:3, :3]
        there = world @ other.viewmat[:3, :3].T + other.viewmat[:3, 3]
        place = there @ other.K.T
        u, v = (place[..., k] / place[..., 2] for k in (0, 1))
        inside = (there[..., 2] > 0) & (u >= 0) & (u < other.width) & (v >= 0) & (v < other.height) & truth.isfinite()
        seen = hidden[v.long().clamp(0, other.height - 1), u.long().clamp(0, other.width - 1)]
        same = inside & ((seen - there[..., 2]).abs() < 0.03 * there[..., 2])
        shares.append(float(same.sum() / truth.isfinite().sum()))
    return float(np.mean(shares))


def smear(speed: float, exposure: float, distance: float = 1.4, near: float = 0.8) -> float:
    """Pixels of a 1920 x 1080 film along which a thing `near` metres away is smeared, by a lens of 27 mm (35 mm film),
    when the camera circles something `distance` metres away at `speed` metres a second."""
    focal = 27 / 43.2666 * np.hypot(1920, 1080)
    return float(speed * (1 / near - 1 / distance) * exposure * focal)


# pictures


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def labeled(image: Array | Image.Image, words: str, color: str = INK) -> Image.Image:
    """The picture with words below it."""
    photo = image if isinstance(image, Image.Image) else Image.fromarray(image)
    sheet = Image.new("RGB", (photo.width, photo.height + 26), PAPER)
    sheet.paste(photo, (0, 0))
    ImageDraw.Draw(sheet).text((2, photo.height + 4), words, fill=color, font=font(15))
    return sheet


def grid(rows: Sequence[Sequence[Image.Image]], path: Path) -> None:
    """Pictures of the same size in rows."""
    width, height = rows[0][0].size
    sheet = Image.new("RGB", (len(rows[0]) * (width + 8) - 8, len(rows) * (height + 6) - 6), PAPER)
    for r, row in enumerate(rows):
        for c, one in enumerate(row):
            sheet.paste(one, (c * (width + 8), r * (height + 6)))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, quality=82)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def place_of(camera: Camera, point: tuple[float, float, float]) -> tuple[float, float]:
    """Pixels."""
    local = camera.viewmat[:3, :3] @ torch.tensor(point) + camera.viewmat[:3, 3]
    x, y, z = (camera.K @ local).tolist()
    return x / z, y / z


def angle_between(camera: Camera, points: Sequence[tuple[float, float, float]]) -> float:
    """Degrees between two points as the camera sees them: turning the camera does not change it."""
    one, other = (torch.nn.functional.normalize(torch.tensor(p) - camera.position, dim=0) for p in points)
    return float(torch.rad2deg(torch.arccos(one @ other)))


def parallax_picture(pairs: dict[str, tuple[list[Camera], list[Array]]], path: Path) -> None:
    rows = []
    for name, (cameras, photos) in pairs.items():
        row = []
        for k, (camera, photo) in enumerate(zip(cameras, photos, strict=True)):
            image = Image.fromarray(photo)
            draw = ImageDraw.Draw(image)
            near, far = place_of(camera, NEAR), place_of(camera, FAR)
            draw.line((*near, *far), fill="#ffffff", width=3)
            for x, y in (near, far):
                draw.ellipse((x - 15, y - 15, x + 15, y + 15), outline="#ffffff", width=4)
            small = image.resize((400, 300), Image.Resampling.LANCZOS)
            angle = angle_between(camera, (NEAR, FAR))
            row.append(labeled(small, f"{name}, photo {k + 1}: vase to ball {angle:.1f} degrees"))
        rows.append(row)
    grid(rows, path)


def plan(cameras: Sequence[Camera], words: str, color: str) -> Image.Image:
    """Cameras around the table, seen from above."""
    size, scale = 330, 100
    sheet = Image.new("RGB", (size, size), "#f3f0ea")
    draw = ImageDraw.Draw(sheet, "RGBA")

    def at(x: float, y: float) -> tuple[float, float]:
        return size / 2 + scale * x, size / 2 - scale * y

    (a, b), (c, d) = at(-0.63, 0.63), at(0.63, -0.63)
    draw.ellipse((a, b, c, d), fill="#b98d62")
    for camera in cameras:
        x, y, z = camera.position.tolist()
        forward = camera.viewmat[2, :2].numpy()
        side = np.array([-forward[1], forward[0]])
        corners = [np.array([x, y]) + 0.16 * forward + s * 0.09 * side for s in (-1, 1)]
        draw.polygon([at(x, y), *(at(*corner) for corner in corners)], fill=(27, 127, 92, 70))
        (u, v), shade = at(x, y), "#123f5c" if z > 1.42 else "#e07b1f"
        draw.ellipse((u - 4, v - 4, u + 4, v + 4), fill=shade)
    return labeled(sheet, words, color)


def ring(low: int, high: int) -> list[Camera]:
    """Two rings all around, the upper one closer to the middle."""
    up, target = torch.tensor([0.0, 0, 1]), torch.tensor(MIDDLE)
    rings = ((low, 1.42, 1.2), (high, 1.1, 1.7))
    return [
        Camera.look_at(torch.tensor([r * np.cos(t), r * np.sin(t), z], dtype=torch.float32), target, up, 374, 480, 360)
        for count, r, z in rings
        for t in np.linspace(0, 2 * np.pi, count, endpoint=False)
    ]


def crop(image: Array) -> Image.Image:
    """The middle, twice as large."""
    return Image.fromarray(image[110:230, 150:310]).resize((320, 240), Image.Resampling.NEAREST)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, help="where to write the pictures")
    parser.add_argument("--keep", type=Path, help="where photographs are kept for the next time")
    parser.add_argument("--only-pictures", action="store_true", help="no table of cameras")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run(options.keep or Path(place), options.pictures, not options.only_pictures)


def run(kept: Path, pictures: Path | None, measured: bool) -> None:
    cameras = phone_walk(PHOTOS, WIDTH, HEIGHT)
    focal = float(cameras[0].K[0, 0])
    spot = turning(TURNED, cameras[PHOTOS // 2])
    walk, turned = rendered(cameras, kept / "walk"), rendered(spot, kept / "turned")
    kinds = kinds_of(walk, focal)
    low = sorted(sorted(range(PHOTOS), key=lambda k: float(cameras[k].position[2]))[: PHOTOS // 2])
    kinds = [replace(k, photos=[cut(walk[n]) for n in low], chosen=low) if not k.photos else k for k in kinds]
    scene = walk_scene(walk, kept)
    renders: dict[str, sfumato.Gaussians] = {}
    print(f"true focal length: {focal:.0f} pixels\n")
    if measured:
        print("| step of the walk | share of a photo that the next one shows too |\n|---|---|")
        for step in (1, 2, 4, 6):
            print(f"| {step}: {STEP * step:g} degrees | {overlap(cameras, step):.0%} |", flush=True)
        columns = "error, pixels | focal lengths | PSNR, dB | of the worst photo | of one in the gap"
        print(f"\n| photos | with a camera | points | {columns} |")
        print("|---|---|---|---|---|---|---|---|", flush=True)
    for kind in kinds:
        cells = cameras_found(kind.photos) if measured else ""
        if measured or "gap" in kind.name or kind.name.startswith("walk"):
            renders[kind.name], scores = trained(scene, kind)
            numbers = " | ".join(
                f"{number:.1f}" for number in (np.mean(scores), min(scores), scores[GAP[3] // HOLDOUT])
            )
            print(f"| {kind.name} | {cells} | {numbers} |", flush=True)
    if measured:
        print(
            f"| turned on the spot, 5 degrees apart | {cameras_found([cut(image) for image in turned])} | - | - | - |"
        )
    print("\n| camera moves | shutter 1/50 s | 1/100 s | 1/250 s |\n|---|---|---|---|")
    for speed in (0.15, 0.3, 0.6, 1.2):
        cells = " | ".join(f"{smear(speed, 1 / rate):.0f} pixels" for rate in (50, 100, 250))
        print(f"| {speed} m/s | {cells} |")
    if pictures:
        draw_all(pictures, cameras, spot, walk, turned, focal, scene, renders)


def draw_all(
    folder: Path,
    cameras: list[Camera],
    spot: list[Camera],
    walk: list[Array],
    turned: list[Array],
    focal: float,
    scene: Scene,
    renders: dict[str, sfumato.Gaussians],
) -> None:
    gap = [camera for k, camera in enumerate(cameras) if k not in GAP]
    plans = [
        plan(ring(24, 12), "good: all around, two heights", GOOD),
        plan(cameras, "good: a walk, higher and lower", GOOD),
        plan(gap, "bad: a gap of 60 degrees", BAD),
    ]
    grid([plans], folder / "coverage.jpg")
    view = scene.views[GAP[3]]
    shown = [labeled(view.image.numpy(), "photo that training never saw")]
    for name, gaussians in renders.items():
        if "gap" in name or name.startswith("walk"):
            image = sfumato.render(gaussians, view.camera).image.detach().clamp(0, 1).mul(255).byte().numpy()
            shown.append(
                labeled(image, "from a walk without a gap" if "gap" not in name else "from a walk with a gap here")
            )
    grid([shown], folder / "gap.jpg")
    a = PHOTOS // 2 - 2
    half: Callable[[Sequence[Camera]], list[Camera]] = list
    pairs = {
        "turned": (half(spot[6:10:3]), [cut(turned[k]) for k in (6, 9)]),
        "walked": ([cameras[a], cameras[a + 2]], [cut(walk[a]), cut(walk[a + 2])]),
    }
    parallax_picture(pairs, folder / "parallax.jpg")
    blurs = [(0, "sharp"), (3, "along 3 pixels"), (6, "along 6 pixels"), (12, "along 12 pixels")]
    middle = walk[a]
    crops = [labeled(crop(cut(middle if not n else shaken(middle, focal, n, 1))), words) for n, words in blurs]
    grid([crops[:2], crops[2:]], folder / "blur.jpg")
    lights = [(-1.0, "1 stop darker"), (0.0, "as it was"), (1.0, "1 stop brighter")]
    shots = [Image.fromarray(exposed(cut(walk[a]), s)).resize((320, 240), Image.Resampling.LANCZOS) for s, _ in lights]
    grid([[labeled(shot, words) for shot, (_, words) in zip(shots, lights, strict=True)]], folder / "exposure.jpg")
    steps = [(0, "a photo"), (1, "7.5 degrees on"), (4, "30 degrees on"), (6, "45 degrees on: too far")]
    seen = [Image.fromarray(cut(walk[a + n])).resize((320, 240), Image.Resampling.LANCZOS) for n, _ in steps]
    marked = [labeled(one, words, BAD if n > 4 else INK) for one, (n, words) in zip(seen, steps, strict=True)]
    grid([marked[:2], marked[2:]], folder / "overlap.jpg")


if __name__ == "__main__":
    main()
