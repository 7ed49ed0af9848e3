"""Pictures of labels beside photos: gray levels, palettes, colors, folders; resized and undistorted as the photos."""

from pathlib import Path

import numpy as np
import pytest
import torch
from offerings import colmap
from PIL import Image
from ring import SIZE

from sfumato.capture import load_scene
from sfumato.capture.labels import BACKGROUND, Labels, load_labels
from sfumato.core.errors import InputError
from sfumato.core.scene import Scene

W, H = SIZE


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    colmap(tmp_path / "in")
    (tmp_path / "labels").mkdir()
    return load_scene(tmp_path / "in")


def areas() -> np.ndarray:
    """0 on the left, 1 in the middle, 7 on the right."""
    picture = np.zeros((H, W), np.uint8)
    picture[:, W // 3 : 2 * W // 3], picture[:, 2 * W // 3 :] = 1, 7
    return picture


def read(tmp_path: Path, scene: Scene) -> Labels:
    return load_labels(tmp_path / "in", tmp_path / "labels", scene.views)


def check(labels: Labels, scene: Scene, *names: str) -> None:
    assert labels.names == (BACKGROUND, *names)
    view = next(view for view in scene.views if view.name.endswith("0.jpg"))
    assert view in labels
    expected = torch.stack([torch.from_numpy(areas() == value) for value in (0, 1, 7)], dim=2).float()
    torch.testing.assert_close(labels.of(view), expected)


def test_gray_levels(tmp_path: Path, scene: Scene) -> None:
    Image.fromarray(areas()).save(tmp_path / "labels" / "0.png")
    labels = read(tmp_path, scene)
    check(labels, scene, "1", "7")
    assert sum(view in labels for view in scene.views) == 1


def test_indices_of_a_palette(tmp_path: Path, scene: Scene) -> None:
    picture = Image.frombytes("P", (W, H), areas().tobytes())
    picture.putpalette([value for index in range(256) for value in (255 - index, index, 90)])
    picture.save(tmp_path / "labels" / "0.png")
    check(read(tmp_path, scene), scene, "1", "7")


@pytest.mark.parametrize("transparent", [False, True])
def test_colors(tmp_path: Path, scene: Scene, transparent: bool) -> None:
    colors = np.zeros((H, W, 4), np.uint8)
    colors[..., 3] = 255
    colors[areas() == 1, :3], colors[areas() == 7, :3] = (0, 0, 200), (200, 10, 0)
    if transparent:
        colors[areas() == 0] = (9, 9, 99, 0)
    Image.fromarray(colors).convert("RGBA" if transparent else "RGB").save(tmp_path / "labels" / "0.jpg.png")
    check(read(tmp_path, scene), scene, "0000c8", "c80a00")


def test_a_folder_per_label(tmp_path: Path, scene: Scene) -> None:
    for name, value in (("fox", 1), ("wall", 7)):
        (tmp_path / "labels" / name).mkdir()
        Image.fromarray((areas() == value).astype(np.uint8) * 255).save(tmp_path / "labels" / name / "0.png")
    Image.fromarray((areas() == 7).astype(np.uint8) * 255).save(tmp_path / "labels" / "wall" / "1.png")
    labels = read(tmp_path, scene)
    check(labels, scene, "fox", "wall")
    view = next(view for view in scene.views if view.name.endswith("1.jpg"))
    assert labels.of(view).sum(dim=(0, 1)).tolist() == [2 * W * H / 3, 0, W * H / 3]


def test_smaller_photos_share_pixels(tmp_path: Path, scene: Scene) -> None:
    """A third of a label's pixel and two thirds of another's make one that votes for both; larger pictures shrink."""
    picture = Image.fromarray(areas()).resize((3 * W, 3 * H), Image.Resampling.NEAREST)
    picture.save(tmp_path / "labels" / "0.png")
    small = load_scene(tmp_path / "in", downscale=3)
    labels = load_labels(tmp_path / "in", tmp_path / "labels", small.views)
    view = next(view for view in small.views if view in labels)
    found = labels.of(view)
    assert found.shape == (H // 3, W // 3, 3)
    torch.testing.assert_close(found.sum(dim=2), torch.ones(H // 3, W // 3), atol=0.01, rtol=0)
    assert found[0, W // 9].tolist() == pytest.approx([1 / 3, 2 / 3, 0], abs=0.01)


def test_bent_lenses_bend_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SFUMATO_CACHE", str(tmp_path / "cache"))
    colmap(tmp_path / "in", model=2, params=(40.0, W / 2, H / 2, -0.3))
    scene = load_scene(tmp_path / "in")
    (tmp_path / "labels").mkdir()
    Image.fromarray(np.full((H, W), 3, np.uint8)).save(tmp_path / "labels" / "0.png")
    labels = load_labels(tmp_path / "in", tmp_path / "labels", scene.views)
    view = next(view for view in scene.views if view in labels)
    found = labels.of(view)
    assert found.shape == (view.camera.height, view.camera.width, 2)
    assert found[..., 0].max() == 0  # what the lens did not see is not background either
    assert found[H // 2, W // 2, 1] == 1


def test_one_sentence(tmp_path: Path, scene: Scene) -> None:
    place = tmp_path / "labels"
    with pytest.raises(InputError, match=r"no picture in .*labels has the name of a photo, such as 0.png for"):
        read(tmp_path, scene)
    noise = np.random.default_rng(0).integers(0, 255, (H, W, 3), dtype=np.uint8)
    Image.fromarray(noise).save(place / "0.png")
    with pytest.raises(InputError, match=r"0.png has 1,\d{3} gray levels or colors: save label pictures as PNG"):
        read(tmp_path, scene)
    Image.new("L", (W, H), 0).save(place / "0.png")
    with pytest.raises(InputError, match="are black everywhere"):
        read(tmp_path, scene)
    Image.new("L", (W, W), 1).save(place / "0.png")
    labels = read(tmp_path, scene)
    with pytest.raises(InputError, match=rf"0.png is {W} x {W}, but its photo {W} x {H}; make the labels again"):
        labels.of(next(view for view in scene.views if view in labels))
    (place / "0.png").write_text("hello")
    with pytest.raises(InputError, match=r"0\.png"):
        read(tmp_path, scene)
    (place / "0.png").unlink()
    (place / BACKGROUND).mkdir()
    Image.new("L", (W, H), 255).save(place / BACKGROUND / "0.png")
    with pytest.raises(InputError, match="no label may be called so"):
        read(tmp_path, scene)
    with pytest.raises(InputError, match="is not there"):
        load_labels(tmp_path / "in", tmp_path / "nowhere", scene.views)
