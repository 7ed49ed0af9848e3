"""How verbs read the scene of a trained splat: with the flags of train, in its frame and around its origin."""

from dataclasses import fields
from pathlib import Path

import pytest
import torch

from sfumato.cli.clean import Clean
from sfumato.cli.edit import Edit
from sfumato.cli.eval import Eval
from sfumato.cli.flags import parse
from sfumato.cli.reading import Reading
from sfumato.cli.run import in_frame_of
from sfumato.cli.train import Train
from sfumato.core.asset import Asset
from sfumato.core.axes import reframe
from sfumato.core.scene import Points, Scene

from scenes import dot


def test_flags_are_those_of_training() -> None:
    """What was trained with some flags is scored, cleaned and edited with the same ones."""
    of_train = {field.name: (field.type, field.default) for field in fields(Train)}
    for field in fields(Reading):
        assert of_train[field.name] == (field.type, field.default)


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        (Eval, ["a.ply", "photos"]),
        (Clean, ["a.ply", "--scene", "photos", "--dry-run"]),
        (Edit, ["a.ply", "--scene", "photos", "-o", "b.ply"]),
    ],
)
def test_verbs_that_read_a_scene_take_them(verb: type, words: list[str]) -> None:
    given = ["--downscale", "2", "--holdout", "0", "--masks", "empty", "--invert-masks", "--frames", "9"]
    assert parse(verb, words + given).reading == Reading(2.0, 0, "empty", True, 9)
    assert parse(verb, words).reading == Reading()


def test_a_splat_in_its_own_frame_and_origin_comes_to_the_scene(tmp_path: Path) -> None:
    there = dot(1, 2, 3)
    points = Points(torch.zeros(1, 3), torch.zeros(1, 3, dtype=torch.uint8))
    scene = Scene([], points, origin=(100.0, 0.0, 0.0))
    raw = Asset(reframe(there, "RDF", "RUB"), axes="RUB", origin=(110.0, -20.0, -30.0))  # y and z the other way
    assert in_frame_of(scene, raw).means.tolist() == [[11.0, 22.0, 33.0]]
    assert in_frame_of(scene, Asset(there, origin=(100.0, 0.0, 0.0))) is there
