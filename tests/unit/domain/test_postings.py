from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from domain.postings import (
    MONEY_TOPICS,
    Posting,
    PostingsError,
    TrialBalance,
    balance_at,
    following,
    postings,
    wallet_accounts,
)
from domain.record import Record, canonical
from tests.fakes.bills import Tale

ACCOUNT_ID = UUID(int=1)
AVAILABLE, RESERVED = wallet_accounts(ACCOUNT_ID)


def record(topic: str, **fields: object) -> Record:
    return Record(
        position=3,
        originator_id=ACCOUNT_ID,
        originator_version=1,
        topic=topic,
        state=canonical(fields),
    )


PURCHASED = record("account.credits_purchased", amount=100, rail="cash")
HELD = record("account.credits_reserved", amount=60, service="stt")
SETTLED = record("account.reservation_settled", charged=25, refunded=35, service="stt")


@pytest.mark.parametrize(
    ("event", "moved"),
    [
        (PURCHASED, (Posting("world:cash", -100), Posting(AVAILABLE, 100))),
        (HELD, (Posting(AVAILABLE, -60), Posting(RESERVED, 60))),
        (
            SETTLED,
            (Posting(RESERVED, -60), Posting("revenue:stt", 25), Posting(AVAILABLE, 35)),
        ),
        (record("session.closed", charged=5), ()),
    ],
)
def test_every_event_that_moves_value_has_two_sides(
    event: Record, moved: tuple[Posting, ...]
) -> None:
    assert postings(event) == moved
    assert sum(posting.amount for posting in moved) == 0


@pytest.mark.parametrize(
    ("topic", "fields", "moved"),
    [
        ("account.credits_reserved", {"amount": 0}, []),
        (
            "account.reservation_settled",
            {"charged": 0, "refunded": 7, "service": "stt"},
            [(RESERVED, -7), (AVAILABLE, 7)],
        ),
        (
            "account.reservation_settled",
            {"charged": 7, "refunded": 0, "service": "stt"},
            [(RESERVED, -7), ("revenue:stt", 7)],
        ),
        ("account.reservation_settled", {"charged": 0, "refunded": 0, "service": "stt"}, []),
        (
            "account.credits_corrected",
            {"added": 0, "removed": 3},
            [("adjustments", 3), (AVAILABLE, -3)],
        ),
        ("account.credits_corrected", {"added": 3, "removed": 3}, []),
    ],
)
def test_a_posting_of_nothing_is_left_out(
    topic: str, fields: dict[str, object], moved: list[tuple[str, int]]
) -> None:
    assert list(following(topic, ACCOUNT_ID, fields)) == moved


def test_every_money_event_says_what_it_moves() -> None:
    tale = Tale(steps=(("resume", 1), ("wait", 999), ("extend", 5)))
    said = [r for r in tale.journal.records if "postings" in r.fields]

    assert [r.topic for r in tale.journal.records if r.topic in MONEY_TOPICS] == [
        r.topic for r in said
    ]
    for event in said:
        assert event.fields["postings"] == [list(p) for p in postings(event)]
        assert event.fields["class_version"] == 2


MOVED = [["world:cash", -100], [AVAILABLE, 100]]


@pytest.mark.parametrize(
    ("version", "said"),
    [
        (2, MOVED[::-1]),
        (2, [["world:cash", -100], [AVAILABLE, 100, 1]]),
        (2, [["world:cash", -100.0], [AVAILABLE, 100]]),
        (2, [["world:x402", -100], [AVAILABLE, 100]]),
        (2, [["world:cash", -99], [AVAILABLE, 99]]),
        (2, [["world:cash", -100], []]),
        (2, [["world:cash", -100], [AVAILABLE, 100], []]),
        (2, ["world:cash", -100]),
        (2, []),
        (2, None),
        (1, MOVED),
    ],
)
def test_postings_that_do_not_follow_are_refused(version: int, said: object) -> None:
    told = record(
        "account.credits_purchased", amount=100, rail="cash", class_version=version, postings=said
    )

    with pytest.raises(PostingsError, match=r"postings at 3: expected .*, found .*"):
        postings(told)


def test_an_event_of_version_2_without_postings_is_refused() -> None:
    told = record("account.credits_purchased", amount=100, rail="cash", class_version=2)

    with pytest.raises(PostingsError, match="found none"):
        postings(told)


def at(position: int, at_ms: int, amount: int) -> Record:
    told = record("account.credits_purchased", amount=amount, rail="cash", at_ms=at_ms)
    return replace(told, position=position)


# The third tells of a time before the second was written.
HISTORY = [at(1, 1_000, 1), at(2, 3_000, 10), at(3, 2_000, 100), at(4, 4_000, 1_000)]


@pytest.mark.parametrize(
    ("position", "at_ms", "available", "events"),
    [
        (None, None, 1_111, 4),
        (2, None, 11, 2),
        (0, None, 0, 0),
        (None, 2_000, 101, 2),
        (None, 1_999, 1, 1),
        (2, 2_000, 1, 1),
    ],
)
def test_the_books_at_a_position_are_not_those_at_a_time(
    position: int | None, at_ms: int | None, available: int, events: int
) -> None:
    books = balance_at(HISTORY, position=position, at_ms=at_ms)

    assert (books.balances[AVAILABLE], books.events) == (available, events)
    assert books.total == 0


def test_the_books_in_a_few_rows() -> None:
    """B8: what was charged is revenue, the rest is the wallet's again."""
    books = TrialBalance().post_all([PURCHASED, HELD, SETTLED])

    assert books.by_kind() == {
        "revenue:stt": 25,
        "wallets:available": 75,
        "wallets:reserved": 0,
        "world:cash": -100,
    }
    assert books.total == 0
    assert books.position == 3


def test_a_wallet_below_zero_is_named() -> None:
    books = TrialBalance().post_all([PURCHASED])
    too_much = record("account.credits_reserved", amount=101, service="stt")

    assert books.post(too_much) == (Posting(AVAILABLE, -101),)


def test_a_settlement_of_more_than_was_reserved_is_named() -> None:
    books = TrialBalance().post_all([PURCHASED])

    assert Posting(RESERVED, -60) in books.post(SETTLED)


def test_a_whole_history_balances_after_every_event() -> None:
    books = TrialBalance()
    for event in Tale(steps=(("resume", 1), ("wait", 999), ("extend", 5))).journal.records:
        assert books.post(event) == ()
        assert books.total == 0
