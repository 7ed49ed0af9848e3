"""Conditions: what they mean, beside Python's own meaning, and where they stop making sense."""

import math
import random
from contextlib import suppress
from dataclasses import replace

import pytest
import torch

from sfumato import edit
from sfumato.core.asset import Asset
from sfumato.core.errors import InputError
from sfumato.core.gaussians import Gaussians
from sfumato.edit import condition as module
from sfumato.edit.condition.properties import PROPERTIES

from scenes import crowd, dot


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("-2**2 == -4", True),
        ("2**3**2 == 512", True),
        ("2**-1 == 0.5", True),
        ("1 + 2*3 - 4/2 == 5", True),
        ("10 - 3 - 2 == 5", True),
        ("8/4/2 == 1", True),
        ("(1 + 2)*3 == 9", True),
        ("1 < 2 < 3", True),
        ("1 < 3 < 2", False),
        ("3 > 2 >= 2 == 2 != 1", True),
        ("1 < 2 or 1 > 2 and 1 > 2", True),
        ("not 1 > 2 and 1 < 2", True),
        ("not (1 < 2 and 1 < 2)", False),
        ("not not 1 < 2", True),
        ("- -1 == +1", True),
        ("max(1, 3, 2) == 3", True),
        ("min(1, 3) + abs(-2) == sqrt(9)", True),
        ("exp(log(5)) - 5 < .1e-6", True),
        ("sqrt(-1) < 1", False),
        ("sqrt(-1) >= 1", False),
        ("sqrt(-1) == sqrt(-1)", False),
        ("sqrt(-1) != 1", False),
        ("1/0 > 1E9", True),
        ("0/0 == 0", False),
    ],
)
def test_meaning(condition: str, holds: bool) -> None:
    assert edit.matches(dot(0, 0, 0), condition).item() is holds


def test_as_python_means_it(seed: int) -> None:
    """Random conditions, whose values Python finds for one Gaussian at a time."""

    def number(depth: int) -> str:
        if depth == 0 or random.random() < 0.2:
            return random.choice(["x", "y", "z", "1", "0.5", "2.25"])
        left, right = number(depth - 1), number(depth - 1)
        return random.choice(
            [f"({left} + {right})", f"{left} * {right}", f"{left} - {right}", f"-{left}", f"max({left}, {right})"]
        )

    def truth(depth: int) -> str:
        if depth == 0 or random.random() < 0.2:
            return f"{number(2)} {random.choice(['<', '<=', '>', '>='])} {number(2)}"
        left, right = truth(depth - 1), truth(depth - 1)
        return random.choice([f"{left} and {right}", f"{left} or {right}", f"not {left}", f"({left})"])

    some = crowd(40, 0)
    for _ in range(150):
        condition = truth(3)
        wanted = [eval(condition, {"max": max, "x": x, "y": y, "z": z}) for x, y, z in some.means.double().tolist()]
        assert edit.matches(some, condition).tolist() == wanted, condition


def test_properties_by_hand() -> None:
    one = Gaussians(
        means=torch.tensor([[3.0, 4.0, 12.0]]),
        quats=torch.tensor([[1.0, 0, 0, 0]]),
        log_scales=torch.tensor([[0.2, 0.8, 0.4]]).log(),
        logit_opacities=torch.tensor([0.0]),
        sh0=(torch.tensor([[[0.8, 0.4, 0.2]]]) - 0.5) / 0.28209479177387814,
        shN=torch.full((1, 3, 3), 0.5),
    )
    wanted = {
        "x": 3, "y": 4, "z": 12, "distance": 13, "opacity": 0.5, "scale_x": 0.2, "scale_y": 0.8, "scale_z": 0.4,
        "min_scale": 0.2, "mid_scale": 0.4, "max_scale": 0.8, "volume": 0.064, "anisotropy": 4,
        "red": 0.8, "green": 0.4, "blue": 0.2, "saturation": 0.75, "index": 0,
        "luminance": 0.2126 * 0.8 + 0.7152 * 0.4 + 0.0722 * 0.2,
        "sh_energy": 9 * 0.25 / (12 * math.pi),
    }  # fmt: skip
    assert set(wanted) == set(PROPERTIES)
    for name, value in wanted.items():
        assert edit.matches(one, f"abs({name} - {value}) < 1e-6").item(), name


def test_sh_energy_is_a_mean_square_over_directions(seed: int) -> None:
    from sfumato.core.sh import basis

    some = crowd(1, 3)
    seen = torch.nn.functional.normalize(torch.randn(200_000, 3).double(), dim=1)
    change = basis(3, seen)[:, 1:] @ some.shN[0].double()
    energy = change.square().mean().item()
    assert edit.matches(some, f"{0.98 * energy} < sh_energy < {1.02 * energy}").item()


def test_chunks_are_one_whole(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(module, "CHUNK", 7)
    some = crowd(50, 1)
    assert edit.matches(some, "13 <= index < 29").nonzero()[:, 0].tolist() == list(range(13, 29))
    assert torch.equal(edit.matches(some, "x > 0"), some.means[:, 0] > 0)
    assert edit.matches(some, "1 < 2").all()
    assert edit.matches(Gaussians.empty(), "x > 0").shape == (0,)


def test_select_and_remove_share_out(seed: int) -> None:
    some = Asset(crowd(60, 1), generator="me")
    kept, rest = edit.select(some, "opacity > 0.5"), edit.remove(some, "opacity > 0.5")
    assert len(kept) + len(rest) == 60
    assert 0 < len(kept) < 60
    assert (kept.gaussians.opacities > 0.5).all()
    assert kept.generator == "me"


def test_what_is_not_a_number_is_never_less_or_more() -> None:
    bad = replace(dot(0, 0, 0), means=torch.tensor([[math.nan, 0.0, 0.0]]))
    assert not any(edit.matches(bad, f"x {symbol} 0").item() for symbol in ("<", "<=", ">", ">=", "==", "!="))


@pytest.mark.parametrize(
    ("condition", "column", "told"),
    [
        ("opacty < 1", 1, "no name 'opacty'; did you mean opacity?"),
        ("y > 1 and zzzzz < 1", 11, "known: x y z "),
        ("x", 1, "this is a number; compare it"),
        ("x +", 4, "ends too early"),
        ("x > ", 5, "ends too early"),
        ("(x > 1", 7, "expected ) for the bracket in column 1"),
        ("x > 1)", 6, "')' is more than a condition"),
        ("x > 1 y", 7, "'y' is more than a condition"),
        ("x = 1", 3, "'=' means nothing here; write =="),
        ("x > 1 && y > 1", 7, "write and"),
        ("x > 1 | y > 1", 7, "write or"),
        ("x ^ 2 > 1", 3, "write **"),
        ("x > 1; y", 6, "';' means nothing here"),
        ("__import__('os')", 12, "means nothing here"),
        ("x.y > 1", 2, "'.' means nothing here"),
        ("x and y > 1", 1, "this is a number, and 'and' needs a comparison"),
        ("not x", 5, "needs a comparison"),
        ("x + (y < 1) > 2", 5, "this is true or false, and '+' needs a number"),
        ("(x < 1) < 2", 1, "'<' needs a number"),
        ("-(x < 1)", 2, "'-' needs a number"),
        ("sqrt(1, 2) > 0", 1, "sqrt takes 1 number; got 2"),
        ("max(1) > 0", 1, "max takes 2 to 8 numbers; got 1"),
        ("abs() > 0", 5, "expected a number, a name or a bracket; got ')'"),
        ("abs > 0", 1, "abs is a function; write abs(...)"),
        ("x(1) > 0", 1, "no name 'x'"),
        ("1e999 < x", 1, "too large"),
        ("2x < 1", 1, "no number"),
        ("1.2.3 < x", 1, "no number"),
        ("x > * 2", 5, "got '*'"),
        ("x ≤ 2", 3, "write <="),
        ("é > 2", 1, "means nothing here"),
    ],
)
def test_errors_point_at_the_place(condition: str, column: int, told: str) -> None:
    with pytest.raises(InputError) as error:
        edit.Condition.read(condition)
    sentence = str(error.value)
    assert told in sentence
    assert f"in column {column}:" in sentence
    assert "[here]" in sentence
    assert "\n" not in sentence


def test_limits() -> None:
    for condition in (
        "(" * 500 + "x" + ")" * 500 + "> 1",
        "-" * 1500 + "1 < x",
        "not " * 400 + "x > 1",
        "2**" * 600 + "x > 1",
    ):
        with pytest.raises(InputError, match="inside each other"):
            edit.Condition.read(condition)
    with pytest.raises(InputError, match="may have 2000 letters; this one has 3000"):
        edit.Condition.read("x" * 3000)
    for nothing in ("", " \n\t"):
        with pytest.raises(InputError, match="is empty"):
            edit.Condition.read(nothing)
    assert edit.matches(dot(1, 0, 0), "+".join(["x"] * 900) + " == 900").item()
    assert edit.matches(dot(1, 0, 0), " or ".join(["x>2"] * 280) + " or x == 1").item()


def test_any_text_is_read_or_refused(seed: int) -> None:
    pieces = [
        "x",
        "y",
        "1",
        "2.5",
        "<",
        "==",
        "and",
        "or",
        "not",
        "(",
        ")",
        "-",
        "**",
        ",",
        "max",
        "opacity",
        "$",
        "'",
        "é",
    ]
    read = 0
    for _ in range(3000):
        condition = " ".join(random.choice(pieces) for _ in range(random.randint(1, 9)))
        with suppress(InputError):
            edit.matches(dot(0, 0, 0), condition)
            read += 1
    assert read > 0
