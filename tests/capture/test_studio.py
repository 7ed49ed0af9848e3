"""The studio's photographs are true: depth, normals and cameras agree with formulas and with each other."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sfumato.capture.studio import Photograph, phone_walk, photograph, shoot
from sfumato.capture.studio.light import illuminate
from sfumato.capture.studio.photograph import lens_of, studio
from sfumato.capture.studio.shapes import Ball, Mesh, Patch, box, lathe, leaf
from sfumato.capture.studio.still_life import BACKDROP, TABLE
from sfumato.capture.studio.texture import Texture, bilinear
from sfumato.capture.studio.visibility import first_hits
from sfumato.capture.studio.world import Material, World
from sfumato.core.camera import Camera
from sfumato.core.errors import InputError

WIDTH, HEIGHT = 96, 72
GRAY = {"gray": Material(Texture.of(np.full((8, 8, 3), 0.5)), 0.1)}


@pytest.fixture(scope="module")
def cameras() -> list[Camera]:
    return phone_walk(36, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def photos(cameras: list[Camera]) -> list[Photograph]:
    return [photograph(cameras[k]) for k in (0, 1, 18)]


def points_of(photo: Photograph) -> torch.Tensor:
    """(H, W, 3) where in the world each pixel's center looks, from its depth."""
    camera = photo.camera.to(torch.float64)
    y, x = torch.meshgrid(torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij")
    rays = torch.stack([x, y, torch.ones_like(x)], dim=-1).double() @ camera.K.inverse().T
    local = rays * photo.depth.double()[..., None]
    return (local - camera.viewmat[:3, 3]) @ camera.viewmat[:3, :3]


def test_a_photograph_has_the_promised_shapes(photos: list[Photograph]) -> None:
    photo = photos[0]
    assert photo.image.shape == (HEIGHT, WIDTH, 3)
    assert photo.image.dtype == torch.uint8
    assert photo.depth.shape == (HEIGHT, WIDTH)
    assert photo.depth.dtype == photo.normal.dtype == torch.float32
    lengths = photo.normal.norm(dim=-1)[photo.depth.isfinite()]
    torch.testing.assert_close(lengths, torch.ones_like(lengths))


def test_the_same_photograph_has_the_same_bits(cameras: list[Camera], photos: list[Photograph]) -> None:
    again = photograph(cameras[0])
    assert torch.equal(again.image, photos[0].image)
    assert torch.equal(again.depth, photos[0].depth)
    assert torch.equal(again.normal, photos[0].normal)


def test_table_balls_and_backdrop_are_where_their_formulas_say(cameras: list[Camera], photos: list[Photograph]) -> None:
    world, kinds = studio(0).world, set()
    for photo in photos:
        ids = torch.from_numpy(first_hits(world, lens_of(photo.camera, 1)).ids)
        points, normals = points_of(photo), photo.normal.double()
        for number in ids.unique().tolist():
            here = ids == number
            if number < 0:
                kinds.add("backdrop")
                assert (points[here][:, :2].norm(dim=1) / BACKDROP[0] - 1).abs().max() < 1e-5
            elif number >= len(world.corners):
                kinds.add("ball")
                ball = world.balls[number - len(world.corners)]
                outward = (points[here] - torch.from_numpy(ball.center)) / ball.radius
                assert (outward.norm(dim=1) - 1).abs().max() < 1e-4
                assert (outward - normals[here]).abs().max() < 1e-3
            elif number >= len(world.faces) and world.patches[number - len(world.faces)].material == "wood":
                kinds.add("table")
                assert (points[here][:, 2] - TABLE[0]).abs().max() < 1e-5
                assert (points[here][:, :2].norm(dim=1)).max() < TABLE[1] + 1e-5
                assert torch.equal(normals[here], torch.tensor([0.0, 0.0, 1.0]).double().expand(int(here.sum()), 3))
    assert kinds == {"backdrop", "ball", "table"}


def test_normals_turn_towards_the_camera(photos: list[Photograph]) -> None:
    for photo in photos:
        away = (points_of(photo) - photo.camera.position.double()).float()
        cosine = -(photo.normal * away).sum(dim=-1) / away.norm(dim=-1)
        # smooth normals of meshes may lean a little over the silhouette
        assert (cosine[photo.depth.isfinite()] > -0.35).all()
        assert (cosine[photo.depth.isfinite()] > 0).float().mean() > 0.99


def test_what_one_photo_shows_is_where_the_next_one_sees_it(photos: list[Photograph]) -> None:
    a, b = photos[0], photos[1]
    points = points_of(a).reshape(-1, 3)
    camera = b.camera.to(torch.float64)
    local = points @ camera.viewmat[:3, :3].T + camera.viewmat[:3, 3]
    pixel = local @ camera.K.T
    x, y = (pixel[:, 0] / pixel[:, 2]).floor().long(), (pixel[:, 1] / pixel[:, 2]).floor().long()
    seen = (x >= 0) & (x < WIDTH) & (y >= 0) & (y < HEIGHT)
    depth = b.depth[y[seen], x[seen]].double()
    agree = (depth / local[seen, 2] - 1).abs() < 0.02  # the rest is hidden from b, or on an edge
    assert agree.float().mean() > 0.75
    before = a.image.reshape(-1, 3)[seen][agree].float()
    after = b.image[y[seen], x[seen]][agree].float()
    difference = (before - after).abs().mean(dim=1)
    assert difference.median() < 12  # of 255; half a pixel of texture
    assert np.corrcoef(before.mean(dim=1), after.mean(dim=1))[0, 1] > 0.85


def test_samples_make_the_photo_smoother_not_different(cameras: list[Camera], photos: list[Photograph]) -> None:
    rough, smooth = photograph(cameras[0], samples=1).image.float(), photograph(cameras[0], samples=9).image.float()
    fine = photos[0].image.float()
    assert (smooth - fine).abs().mean() < (smooth - rough).abs().mean() < 12
    assert (smooth.mean() - fine.mean()).abs() < 1


def test_photos_are_well_exposed_and_detailed(photos: list[Photograph]) -> None:
    for photo in photos:
        gray = photo.image.float().mean(dim=-1)
        assert 80 < gray.mean() < 170
        assert gray.std() > 35
        assert ((gray < 3) | (gray > 252)).float().mean() < 0.02


def test_a_bad_number_of_samples_is_refused(cameras: list[Camera]) -> None:
    with pytest.raises(InputError, match=r"samples must be 1, 4, 9 or 16 rays a pixel; got 3"):
        photograph(cameras[0], samples=3)


# --- the parts, on worlds of a few shapes


def meeting(world: World, origin: np.ndarray, direction: np.ndarray) -> tuple[float, int]:
    """Nearest hit of one ray among triangles and parallelograms, by Moeller and Trumbore 1997."""
    best, who = np.inf, -1
    for k, rows in enumerate(world.corners):
        corner, a, b = world.points[rows]
        e1, e2 = a - corner, b - corner
        p = np.cross(direction, e2)
        determinant = e1 @ p
        u = (origin - corner) @ p / determinant
        q = np.cross(origin - corner, e1)
        v, t = direction @ q / determinant, e2 @ q / determinant
        inside = u >= 0 and v >= 0 and (u + v <= 1 if k < len(world.faces) else max(u, v) <= 1)
        if inside and 1e-3 < t < best:
            best, who = t, k
    return best, who


def test_first_hits_agree_with_another_algorithm() -> None:
    seed = 5
    rng = np.random.default_rng(seed)
    corners = rng.normal(0, 1.2, (40, 1, 3)) + rng.normal(0, 0.5, (40, 3, 3)) + (0, 0, 3)  # some reach behind it
    triangles = Mesh(
        corners.reshape(-1, 3),
        np.tile([0.0, 0, 1], (120, 1)),
        np.zeros((120, 2)),
        np.arange(120).reshape(-1, 3),
        "gray",
        np.ones((120, 3)),
    )
    ahead = np.array([[0.0, 0, 3], [0, 0, 0], [0, 0, 0]])
    quads = [Patch(*(rng.normal(0, 1, (3, 3)) + ahead), "gray") for _ in range(5)]
    world = World.of([triangles, *quads], GRAY)
    K = torch.tensor([[20.0, 0, 12], [0, 20, 9], [0, 0, 1]])
    camera = Camera(torch.eye(4), K, 24, 18)
    sight = first_hits(world, lens_of(camera, 1))
    wrong = 0
    for y in range(18):
        for x in range(24):
            t, who = meeting(world, np.zeros(3), np.array([(x + 0.5 - 12) / 20, (y + 0.5 - 9) / 20, 1]))
            if who != sight.ids[y, x]:
                wrong += 1  # only on an edge, within rounding
            elif who >= 0:
                assert sight.depth[y, x] == pytest.approx(t, rel=1e-5), (seed, x, y)
    assert wrong <= 1, (seed, wrong)


def test_triangles_without_area_or_seen_edge_on_are_not_met() -> None:
    nothing = [[0, 0, 3], [0, 0, 3], [1, 0, 3]]
    edge_on = [[0.2, 0, 2], [0.4, 0, 4], [0.3, 0, 3.5]]  # in the plane y = 0, through the camera
    corners = np.array([nothing, edge_on, [[-9, -9, 5], [9, -9, 5], [0, 9, 5]]], dtype=np.float64).reshape(-1, 3)
    flat = np.tile([0.0, 0, 1], (9, 1))
    world = World.of([Mesh(corners, flat, np.zeros((9, 2)), np.arange(9).reshape(3, 3), "gray", np.ones((9, 3)))], GRAY)
    camera = Camera(torch.eye(4), torch.tensor([[20.0, 0, 8], [0, 20, 8.5], [0, 0, 1]]), 16, 16)
    sight = first_hits(world, lens_of(camera, 1))
    assert set(sight.ids.ravel()) == {2}
    assert sight.depth == pytest.approx(5)


def test_shadows_fall_where_the_light_is_blocked() -> None:
    ground = Patch(np.array([-0.5, -0.5, 0.8]), np.array([1.0, 0, 0]), np.array([0, 1.0, 0]), "gray", light=(40, 40))
    ball = Ball(np.array([0.0, 0.0, 1.05]), 0.12, np.eye(3), "gray")
    open_sky, blocked = World.of([tiny(), ground], GRAY), World.of([tiny(), ground, ball], GRAY)
    bright, dim = illuminate(open_sky).patches[0], illuminate(blocked).patches[0]
    assert bright.mean(axis=-1).std() < 0.02 * bright.mean()
    shade = dim.mean(axis=-1) / bright.mean()
    # the sun stands towards (-0.55, -0.42, 0.72): the middle of the ball, 0.25 up, throws its shadow to (0.19, 0.15)
    assert shade[26, 27] < 0.5  # there
    assert shade[13, 12] > 0.7  # as far on the sunny side
    assert shade[0, 0] > 0.9
    again = illuminate(blocked).patches[0]
    assert np.array_equal(again, dim)


def tiny() -> Mesh:
    """A leaf far below everything, since a world has at least one mesh."""
    along, up = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
    return leaf(-3 * up, along, up, (0.1, 0.05), 0.3, "gray", np.ones(3))


def test_shapes_face_outwards() -> None:
    cup = lathe([(0.1, 0.0), (0.2, 0.1), (0.2, 0.3)], "gray", 24)
    middle = cup.vertices.mean(axis=0)
    assert (np.einsum("ni,ni->n", cup.normals, cup.vertices - middle) > 0).all()
    for patch in box((1, 2, 3), (0.2, 0.4, 0.6), 0.3, dict.fromkeys(("top", "front", "side"), "gray")):
        normal = np.cross(patch.e1, patch.e2)
        center = patch.origin + (patch.e1 + patch.e2) / 2
        assert normal @ (center - (1, 2, 3)) > 0


def test_textures_blend_between_texels_and_wrap_along_u() -> None:
    picture = np.zeros((2, 4, 1))
    picture[:, 0], picture[:, 3] = 1.0, 3.0
    middle_of_seam = bilinear(picture, np.array([0.0, 0.125]), np.array([0.5, 0.5]))
    assert middle_of_seam[:, 0] == pytest.approx([2.0, 1.0])  # between texel 3 and 0; the middle of texel 0


# --- the walk


def test_the_walk_goes_around_in_small_steps() -> None:
    cameras = phone_walk(36)
    positions = torch.stack([camera.position for camera in cameras])
    assert len(cameras) == 36
    assert (positions[:, :2].norm(dim=1) > TABLE[1] + 0.4).all()
    assert positions[:, 2].max() - positions[:, 2].min() > 0.3
    steps = positions.diff(dim=0).norm(dim=1)
    assert steps.max() < 0.35
    middle = torch.tensor([0.0, 0.0, 0.93])
    for camera in cameras:
        u, v, w = camera.K @ (camera.viewmat[:3, :3] @ middle + camera.viewmat[:3, 3])
        assert abs(u / w - camera.width / 2) < 0.1 * camera.width
        assert abs(v / w - camera.height / 2) < 0.15 * camera.height
    same, other = phone_walk(36), phone_walk(36, seed=1)
    assert all(torch.equal(a.viewmat, b.viewmat) for a, b in zip(cameras, same, strict=True))
    assert not torch.equal(cameras[0].viewmat, other[0].viewmat)


def test_files_are_a_phones(tmp_path: Path, cameras: list[Camera]) -> None:
    told: list[tuple[str, int, int]] = []
    shoot(tmp_path / "a", cameras[:3], lambda *report: told.append(report), workers=2)
    shoot(tmp_path / "b", cameras[:3], workers=1)
    files = sorted((tmp_path / "a").iterdir())
    assert [file.name for file in files] == ["photo_001.jpg", "photo_002.jpg", "photo_003.jpg"]
    assert [file.read_bytes() for file in files] == [file.read_bytes() for file in sorted((tmp_path / "b").iterdir())]
    assert told == [("photos", done, 3) for done in range(4)]
    with Image.open(files[0]) as file:
        assert file.size == (WIDTH, HEIGHT)
        tags = file.getexif().get_ifd(0x8769)
    focal = float(cameras[0].K[0, 0])
    diagonal = float(np.hypot(WIDTH, HEIGHT))
    assert tags[0xA405] / 43.266615 * diagonal == pytest.approx(focal, rel=1e-3)  # FocalLengthIn35mmFilm
    assert float(tags[0x920A]) * float(tags[0xA20E]) / 10 == pytest.approx(focal, rel=1e-3)  # mm times pixels per mm
