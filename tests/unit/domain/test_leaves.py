from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from domain.leaves import LeafError, parse_leaf, read_slowly, shapes
from domain.record import leaf_bytes

VECTORS = Path(__file__).parents[3] / "specs" / "vectors" / "events.jsonl"
STORED = [json.loads(line) for line in VECTORS.read_text(encoding="utf-8").splitlines()]
POSTINGS = b'[["world:cash",-5],["wallet:00000000-0000-0000-0000-000000000001:available",5]]'
GOOD = leaf_bytes(
    UUID(int=1),
    2,
    "account.credits_purchased",
    b'{"amount":5,"at_ms":1,"class_version":2,'
    b'"payment_id":"00000000-0000-0000-0000-000000000002","postings":%b,"rail":"cash"}' % POSTINGS,
)
OLD = leaf_bytes(
    UUID(int=1),
    2,
    "account.credits_purchased",
    b'{"amount":5,"at_ms":1,"payment_id":"00000000-0000-0000-0000-000000000002","rail":"cash"}',
)


def stored_leaf(vector: dict[str, Any]) -> bytes:
    return leaf_bytes(
        UUID(vector["originator_id"]),
        vector["originator_version"],
        vector["topic"],
        vector["state"].encode(),
    )


@pytest.mark.parametrize("vector", STORED, ids=lambda v: f"{v['topic']} {v['class_version']}")
def test_every_event_ever_stored_is_read(vector: dict[str, Any]) -> None:
    shape, originator, version, _ = read_slowly(stored_leaf(vector))

    assert shape.topic.decode() == vector["topic"]
    assert (originator.decode(), version) == (vector["originator_id"], vector["originator_version"])


def test_every_event_of_this_version_has_a_pattern() -> None:
    assert {topic.decode() for topic in shapes()} == {vector["topic"] for vector in STORED}


def test_a_plain_leaf_takes_the_fast_road() -> None:
    shape = shapes()[b"account.credits_purchased"]

    found = shape.pattern.fullmatch(GOOD)

    assert found is not None
    assert found.groups()[1:] == (b"2", b"5", POSTINGS, b"cash")


def test_a_plain_leaf_of_an_older_version_needs_no_json() -> None:
    shape = shapes()[b"account.credits_purchased"]
    ((older, names),) = shape.older

    assert older.fullmatch(OLD) is not None
    assert older.fullmatch(GOOD) is None
    assert "postings" not in names
    assert read_slowly(OLD) == (shape, str(UUID(int=1)).encode(), 2, (b"5", b"", b"cash"))


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (b'":5,', b'": 5,', "leaf"),
        (b'"amount":5,"at_ms":1', b'"at_ms":1,"amount":5', "leaf"),
        (b'"amount":5', b'"amount":5,"amount":5', "leaf"),
        (b'"amount":5', b'"amount":05', "leaf"),
        (b'"amount":5', b'"amount":-0', "leaf"),
        (b'"amount":5', b'"amount":5.0', "content"),
        (b'"amount":5', b'"amount":true', "content"),
        (b'"amount":5', b'"amount":-5', "content"),
        (b'"amount":5', b'"amount":9007199254740992', "content"),
        (b'"amount":5,', b"", "content"),
        (b'"rail"', b'"rails"', "content"),
        (b'"rail":"cash"', b'"rail":"cash","why":"x"', "content"),
        (b'"rail":"cash"', b'"rail":"c\\u0061sh"', "leaf"),
        (b'"rail":"cash"', b'"rail":"c\xffsh"', "leaf"),
        (b"0000-000000000002", b"0000-00000000000G", "content"),
        (b"00000000-0000-0000-0000-000000000001", b"1", "leaf"),
        (b"0000-000000000001", b"0000-00000000000A", "leaf"),
        (b'version":2', b'version":0', "leaf"),
        (b'version":2', b'version":"2"', "leaf"),
        (b"credits_purchased", b"minted", "newer event"),
        (b'"cash"}', b'"cash"},"sum":1', "leaf"),
        (b'"class_version":2,', b"", "postings"),
        (b'"class_version":2', b'"class_version":1', "postings"),
        (b'"postings":%b,' % POSTINGS, b"", "content"),
        (b'"postings":%b,' % POSTINGS, b'"postings":5,', "content"),
        (GOOD, b"", "leaf"),
        (GOOD, b"[]", "leaf"),
        (GOOD, b"[" * 100_000, "leaf"),
        (GOOD, b"null", "leaf"),
    ],
)
def test_a_leaf_has_one_spelling(before: bytes, after: bytes, kind: str) -> None:
    leaf = GOOD.replace(before, after, 1)

    assert all(shape.pattern.fullmatch(leaf) is None for shape in shapes().values())
    with pytest.raises(LeafError) as broken:
        read_slowly(leaf)
    assert broken.value.kind == kind


@pytest.mark.parametrize("leg", [b",5.0]]", b",5],[]]", b",true]]", b",5,5]]"])
def test_what_are_no_postings_is_refused(leg: bytes) -> None:
    with pytest.raises(LeafError, match=r"^content: expected a valid account\.credits_purchased"):
        read_slowly(GOOD.replace(b",5]]", leg, 1))


@pytest.mark.parametrize(
    ("before", "after"), [(b",-5]", b",-6]"), (b"available", b"reserved"), (b"world", b"moon")]
)
def test_postings_that_do_not_follow_are_named(before: bytes, after: bytes) -> None:
    with pytest.raises(LeafError, match=r"^postings: expected .*world:cash.*, found"):
        read_slowly(GOOD.replace(before, after, 1))


def test_a_later_version_is_named() -> None:
    leaf = GOOD.replace(b'"class_version":2,', b'"class_version":7,')

    with pytest.raises(LeafError, match="in version 7: written by a newer"):
        read_slowly(leaf)


def test_a_leaf_is_the_record_it_was_made_of() -> None:
    record = parse_leaf(GOOD, position=9)

    assert (record.position, record.leaf) == (9, GOOD)
