from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import MICROCREDITS_MAX, NOTHING, Microcredits
from tests.strategies import microcredits


@pytest.mark.parametrize("value", [-1, MICROCREDITS_MAX + 1, 1.0, True, "1", None])
def test_an_amount_is_a_whole_number_that_json_can_hold(value: object) -> None:
    with pytest.raises(ValueError, match="whole numbers from 0 to 2"):
        Microcredits(value)  # type: ignore[arg-type]  # the point of it


@given(st.integers(0, MICROCREDITS_MAX), st.integers(0, MICROCREDITS_MAX))
def test_amounts_add_and_subtract_as_numbers_or_refuse(one: int, two: int) -> None:
    if one + two <= MICROCREDITS_MAX:
        assert Microcredits(one) + Microcredits(two) == Microcredits(one + two)
    else:
        with pytest.raises(ValueError, match="microcredits"):
            Microcredits(one) + Microcredits(two)
    if one >= two:
        assert Microcredits(one) - Microcredits(two) == Microcredits(one - two)
    else:
        with pytest.raises(ValueError, match="microcredits"):
            Microcredits(one) - Microcredits(two)


def test_nothing_is_false_and_anything_is_true() -> None:
    assert not NOTHING
    assert Microcredits(1)


def test_amounts_are_ordered() -> None:
    assert NOTHING < Microcredits(1) < Microcredits(2)


def test_an_amount_says_its_unit() -> None:
    assert str(Microcredits(12)) == "12 µcr"


@pytest.mark.parametrize(
    ("value", "usd"),
    [
        (0, "0"),
        (1, "0.000001"),
        (100_000, "0.1"),
        (1_000_000, "1"),
        (10_000_000, "10"),
        (12_345_678, "12.345678"),
    ],
)
def test_dollars_are_written_exactly_and_short(value: int, usd: str) -> None:
    assert Microcredits(value).usd == usd


@given(microcredits)
def test_dollars_written_read_back_equal(amount: Microcredits) -> None:
    assert Microcredits.from_usd(amount.usd) == amount
    assert Decimal(amount.usd) * 1_000_000 == amount.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.1", 100_000),
        ("0.10", 100_000),
        ("0.1000000000", 100_000),
        ("1E+1", 10_000_000),
        ("1e-6", 1),
        (".5", 500_000),
        ("0", 0),
    ],
)
def test_dollars_are_read_in_any_plain_spelling(text: str, value: int) -> None:
    """B13."""
    assert Microcredits.from_usd(text) == Microcredits(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "-1",
        "-0",
        "+1",
        "1_000",
        " 1",
        "1\n",
        "\u0661",
        "1,5",
        "0.0000001",
        # One more digit than any rounding would keep.
        "1.00000000000000000000000000001",
        "1e-7",
        "9007199254.740992",
        "1e400",
        "1e999999",
        "1e9999999999",
        "NaN",
        "sNaN",
        "Infinity",
        "0." + "0" * 31,
    ],
)
def test_anything_else_is_not_an_amount_of_dollars(text: str) -> None:
    """B13."""
    with pytest.raises(ValueError, match="expected a dollar amount with at most 6 decimal places"):
        Microcredits.from_usd(text)
