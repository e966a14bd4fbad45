from __future__ import annotations

import hashlib
import json
import re
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.money import Microcredits
from domain.pricing import DEFAULT_PRICE_BOOK, QUANTITY_MAX, PriceBook, Tariff
from tests.strategies import price_books, quantities, tariffs

BILLING = Path(__file__).parents[3] / "specs" / "billing.md"
STT, TTS, WEBRTC = (DEFAULT_PRICE_BOOK.tariff(name) for name in ("stt", "tts", "webrtc"))


@given(tariffs(), st.integers(0, 10**9))
def test_a_price_is_the_exact_price_rounded_up_once(tariff: Tariff, quantity: int) -> None:
    """B1."""
    exact = Fraction(quantity * tariff.microcredits, tariff.per)

    assert tariff.price(quantity) == Microcredits(ceil(exact))


@given(tariffs(), st.integers(0, 10**8), st.integers(0, 10**8))
def test_two_halves_never_cost_less_than_the_whole(tariff: Tariff, one: int, two: int) -> None:
    """B1: rounding once, and not per piece, is in the customer's favour."""
    assert tariff.price(one + two) <= tariff.price(one) + tariff.price(two)
    assert tariff.price(one) <= tariff.price(one + two)


@pytest.mark.parametrize(
    ("tariff", "quantity", "price"),
    [
        (STT, 60_000, 6_000),
        (STT, 1, 1),
        (STT, 10, 1),
        (STT, 11, 2),
        (STT, 0, 0),
        (WEBRTC, 60_000, 1_000),
        (WEBRTC, 61, 2),
        (TTS, 1_000, 8_000),
        (TTS, 1, 8),
    ],
)
def test_the_default_rates_are_the_promised_ones(tariff: Tariff, quantity: int, price: int) -> None:
    """B2."""
    assert tariff.price(quantity) == Microcredits(price)


def promised() -> list[tuple[str, int, int]]:
    """The worked prices of the spec: service, quantity, µcr."""
    rows = re.findall(r"^\| (\w+) \| (\d+) \| (\d+) \|", BILLING.read_text("utf-8"), re.MULTILINE)
    return [(service, int(quantity), int(price)) for service, quantity, price in rows]


def test_the_spec_has_worked_prices() -> None:
    assert {service for service, _, _ in promised()} == {"stt", "tts", "webrtc"}


@pytest.mark.parametrize(("service", "quantity", "price"), promised())
def test_the_worked_prices_of_the_spec_are_right(service: str, quantity: int, price: int) -> None:
    """B1, B2."""
    assert DEFAULT_PRICE_BOOK.tariff(service).price(quantity) == Microcredits(price)


@pytest.mark.parametrize("quantity", [-1, QUANTITY_MAX + 1])
def test_a_quantity_out_of_bounds_has_no_price(quantity: int) -> None:
    with pytest.raises(ValueError, match="a quantity is 0 to"):
        STT.price(quantity)


@given(quantities)
def test_every_quantity_in_bounds_has_a_price_under_the_default_rates(quantity: int) -> None:
    assert TTS.price(quantity).value == quantity * 8


@pytest.mark.parametrize(
    ("unit", "microcredits", "per"),
    [
        ("hour", 1, 1),
        ("ms", -1, 1),
        ("ms", 1, 0),
        ("ms", 1.5, 1),
        ("ms", 1, 2.0),
        ("ms", True, 1),
        ("ms", "1", 1),
    ],
)
def test_a_rate_that_is_not_whole_or_of_a_known_unit_is_refused(
    unit: str, microcredits: int, per: int
) -> None:
    with pytest.raises(ValueError, match="not a tariff"):
        Tariff(unit=unit, microcredits=microcredits, per=per)


@given(price_books())
def test_a_price_book_reads_back_equal(book: PriceBook) -> None:
    assert PriceBook.parse(book.content) == book


@given(price_books(), price_books())
def test_books_of_one_hash_are_one_book(one: PriceBook, two: PriceBook) -> None:
    assert (one.hash == two.hash) == (one == two)


def test_the_default_book_never_changes_under_its_name() -> None:
    """B2: a session names the version it was sold under; changed rates need a new version."""
    content = (
        '{"tariffs":{"stt":{"microcredits":6000,"per":60000,"unit":"ms"},'
        '"tts":{"microcredits":8000,"per":1000,"unit":"character"},'
        '"webrtc":{"microcredits":1000,"per":60000,"unit":"ms"}},"version":"2026-1"}'
    )

    assert DEFAULT_PRICE_BOOK.content == content
    assert DEFAULT_PRICE_BOOK.hash == hashlib.sha256(content.encode()).hexdigest()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "5",
        "{}",
        '{"tariffs":[],"version":"1"}',
        '{"tariffs":{"stt":{}},"version":"1"}',
        '{"tariffs":{"stt":{"microcredits":1.5,"per":1,"unit":"ms"}},"version":"1"}',
        # The same book in another spelling has another hash.
        json.dumps(json.loads(DEFAULT_PRICE_BOOK.content), indent=1),
        DEFAULT_PRICE_BOOK.content.replace('"version"', '"note":"","version"'),
    ],
)
def test_anything_but_canonical_content_is_no_price_book(content: str) -> None:
    with pytest.raises(ValueError, match=r"price book|not a tariff|Expecting value"):
        PriceBook.parse(content)


def test_a_service_without_a_rate_is_named() -> None:
    with pytest.raises(LookupError, match="price book 2026-1 has no tariff for fax"):
        DEFAULT_PRICE_BOOK.tariff("fax")
