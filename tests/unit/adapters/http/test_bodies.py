from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.http.bodies import Body, parse_body, read_uuid
from domain.errors import MalformedError
from domain.gateway import Terms
from domain.money import Microcredits

TERMS = Terms()
CENTS_10 = Microcredits(100_000)
MUCH = Microcredits(10**12)


def body(text: str) -> Body:
    return parse_body(text.encode())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"5",
        b'"text"',
        b"{'a': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": -Infinity}',
        b'{"a": 1} {"a": 2}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": 01}',
        b'{"a": 1e99999999999999999999}',
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": "\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"a": ' + b"[" * 30_000,
        b'{"a": ' + b"[" * 17 + b"]" * 17 + b"}",
        b'{"a":' * 900 + b"1" + b"}" * 900,
    ],
)
def test_what_is_no_plain_json_object_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedError, match="body"):
        parse_body(raw)


def test_moderate_nesting_in_fields_nobody_asks_for_is_fine() -> None:
    assert body('{"a": [[{"b": [1, null]}]], "name": "x"}').name("name") == "x"


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1", 60_000),
        ("0.5", 30_000),
        ("1.5", 90_000),
        ("5.0", 300_000),
        ("1e1", 600_000),
        ("0.16666666666666666", 10_000),
        ("0.00001", 1),
        ("1440", 24 * 60 * 60_000),
    ],
)
def test_minutes_become_whole_ms(text: str, ms: int) -> None:
    assert body(f'{{"duration_minutes": {text}}}').minutes("duration_minutes", TERMS) == ms


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-1",
        "-0.0",
        "1441",
        "1440.001",
        "1e400",
        "1e-400",
        "0.000001",
        "true",
        "false",
        "null",
        '"5"',
        "[5]",
        "{}",
        "9" * 4_000,
    ],
)
def test_minutes_out_of_range_or_of_another_type_are_malformed(text: str) -> None:
    with pytest.raises(MalformedError, match="duration_minutes"):
        body(f'{{"duration_minutes": {text}}}').minutes("duration_minutes", TERMS)


@pytest.mark.parametrize(
    ("text", "count"), [("1", 1), ("10000000", 10**7), ("1e4", 10**4), ("5.0", 5)]
)
def test_whole_numbers_are_counts(text: str, count: int) -> None:
    assert body(f'{{"n": {text}}}').count("n", most=10**7) == count


@pytest.mark.parametrize(
    "text", ["0", "-5", "1.5", "10000001", "1e999", "1e999999999", "true", "null", '"5"', "[]"]
)
def test_other_numbers_are_no_counts(text: str) -> None:
    with pytest.raises(MalformedError, match="n: expected a whole number from 1 to 10000000"):
        body(f'{{"n": {text}}}').count("n", most=10**7)


def test_an_absent_or_null_count_is_its_default() -> None:
    assert body("{}").count("n", most=9, default=7) == 7
    assert body('{"n": null}').count("n", most=9, default=7) == 7


@pytest.mark.parametrize(
    ("text", "microcredits"),
    [
        ("0.1", 100_000),
        ("0.10", 100_000),
        ("1", 1_000_000),
        ("1.000001", 1_000_001),
        ("1e1", 10**7),
    ],
)
def test_dollars_are_exact(text: str, microcredits: int) -> None:
    amount = body(f'{{"usd": {text}}}').usd("usd", least=CENTS_10, most=MUCH)

    assert amount == Microcredits(microcredits)


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "0.099999",
        "-1",
        "0.1000001",
        "1000000.000001",
        "1e30",
        "1e999999999",
        "true",
        "null",
        '"0.1"',
        "0.1" + "0" * 40,
    ],
)
def test_other_dollars_are_malformed(text: str) -> None:
    with pytest.raises(MalformedError, match=r"usd: expected dollars from 0\.1 to 1000000"):
        body(f'{{"usd": {text}}}').usd("usd", least=CENTS_10, most=MUCH)


@pytest.mark.parametrize("value", ["x", "Zoë B 名", "a" * 128, "👩‍🚀"])
def test_free_text_is_a_name(value: str) -> None:
    assert Body({"name": value}).name("name") == value


@pytest.mark.parametrize(
    "value", ["", "a" * 129, "a\nb", "a\x00b", "a#b", "\ud800", "a\u2028b", 5, True, ["a"], None]
)
def test_other_values_are_no_names(value: object) -> None:
    with pytest.raises(MalformedError, match="name"):
        Body({"name": value}).name("name")


@pytest.mark.parametrize("value", ["en", "auto", "pt-BR", "zh-Hant-TW", "a", "EN"])
def test_language_codes_of_every_service_are_taken(value: str) -> None:
    assert Body({"language": value}).language() == value


@pytest.mark.parametrize("value", ["", "en_US", "e n", "-", "englishenglish", "en-", "e" * 36, 5])
def test_other_languages_are_malformed(value: object) -> None:
    with pytest.raises(MalformedError, match="language"):
        Body({"language": value}).language()


@pytest.mark.parametrize("value", ["127.0.0.1", "10.0.0.1", "203.0.113.9", "::1", "2001:db8::1"])
def test_any_address_is_a_client_ip(value: str) -> None:
    assert Body({"client_ip": value}).client_ip() == value


@pytest.mark.parametrize("value", ["", "localhost", "1.2.3", "1.2.3.4:80", "x" * 65, 7])
def test_other_text_is_no_client_ip(value: object) -> None:
    with pytest.raises(MalformedError, match="client_ip"):
        Body({"client_ip": value}).client_ip()


def test_metadata_may_be_any_text_but_not_endless() -> None:
    assert Body({"metadata": '{"a":\n1}'}).metadata() == '{"a":\n1}'
    for broken in ("x" * 4_097, "a\x00b", "\udfff"):
        with pytest.raises(MalformedError, match="metadata"):
            Body({"metadata": broken}).metadata()


ID = UUID("00000000-0000-4000-8000-00000000abcd")


def test_an_id_is_read_in_any_case() -> None:
    assert read_uuid(str(ID).upper()) == ID


@pytest.mark.parametrize("text", ["", ID.hex, f"{{{ID}}}", f"urn:uuid:{ID}", f" {ID}", "x" * 36])
def test_an_id_is_read_in_its_usual_form_only(text: str) -> None:
    assert read_uuid(text) is None


READERS: list[Callable[[Body], object]] = [
    lambda b: b.text("field", length_max=10),
    lambda b: b.name("field"),
    lambda b: b.language(),
    lambda b: b.client_ip(),
    lambda b: b.metadata(),
    lambda b: b.uuid("field"),
    lambda b: b.count("field", most=5),
    lambda b: b.minutes("field", TERMS),
    lambda b: b.usd("field", least=CENTS_10, most=MUCH),
]
NUMBERS = st.integers() | st.decimals(allow_nan=False, allow_infinity=False)
VALUES = st.none() | st.booleans() | NUMBERS | st.text() | st.lists(st.integers())


@given(value=VALUES, read=st.sampled_from(READERS))
@example(value="\ud800", read=READERS[1])
@example(value=Decimal("1e999999999"), read=READERS[6])
def test_any_value_is_read_or_malformed(value: object, read: Callable[[Body], object]) -> None:
    fields = dict.fromkeys(("field", "language", "client_ip", "metadata"), value)

    with suppress(MalformedError):
        read(Body(fields))


@given(raw=st.binary() | st.text().map(str.encode))
@example(raw=b'{"a": 1e9999999999999999999999}')
@example(raw=b"[" * 60_000)
def test_any_bytes_are_read_or_malformed(raw: bytes) -> None:
    with suppress(MalformedError):
        parse_body(raw)


FIELDS: list[Callable[[Body], object]] = [
    lambda b: b.name("field"),
    lambda b: b.uuid("field"),
    lambda b: b.count("field", most=5),
    lambda b: b.minutes("field", TERMS),
    lambda b: b.usd("field", least=CENTS_10, most=MUCH),
]


@pytest.mark.parametrize("read", FIELDS)
def test_a_missing_field_is_named(read: Callable[[Body], object]) -> None:
    with pytest.raises(MalformedError, match=r"field: expected .*, got nothing"):
        read(Body({}))


@pytest.mark.parametrize("read", FIELDS)
@pytest.mark.parametrize("value", ["x" * 60_000, 10**4_000, Decimal("1e400"), ["x"] * 9_000])
def test_a_refusal_stays_short(read: Callable[[Body], object], value: object) -> None:
    with pytest.raises(MalformedError) as refusal:
        read(Body({"field": value}))

    assert len(str(refusal.value)) < 250
    assert json.dumps(refusal.value.got)
