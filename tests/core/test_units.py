"""Bytes in words."""

import pytest

from sfumato.core.errors import InputError
from sfumato.core.units import parse_bytes, say_bytes


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("4GB", 4_000_000_000), ("4 gb", 4_000_000_000), ("1.5GiB", 1_610_612_736), ("800M", 800_000_000),
     (" 2Ki ", 2048), (".5k", 500), ("123456", 123_456), ("7B", 7), ("1TiB", 2**40), ("3.", 3)],
)  # fmt: skip
def test_amounts(text: str, wanted: int) -> None:
    assert parse_bytes(text) == wanted


@pytest.mark.parametrize("text", ["", "GB", "4 GBs", "-4GB", "4e9", "nan", "4,5GB", "4 G B", "٤GB", "1EB"])
def test_what_is_no_amount_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InputError, match=r"must be a number with a unit, such as 4GB or 1\.5GiB; got"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["0", "0GB", "0.1"])
def test_nothing_is_too_little(text: str) -> None:
    with pytest.raises(InputError, match="at least one byte"):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["9" * 310, "9" * 5000 + "GB", "1" + "0" * 300 + ".5 TiB", "1000000TB"])
def test_more_than_there_can_be_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InputError, match="must be below a million TB; got") as error:
        parse_bytes(text)
    assert len(str(error.value)) < 120


def test_much_is_an_amount() -> None:
    assert parse_bytes("999999TB") == 999_999 * 10**12


def test_saying() -> None:
    assert [say_bytes(n) for n in (0, 959.7e6, 999.4e6, 999.9e6, 12.345e9)] == [
        "0 MB", "960 MB", "999 MB", "1.00 GB", "12.35 GB",
    ]  # fmt: skip
