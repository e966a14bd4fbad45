from __future__ import annotations

from uuid import UUID

import pytest

from domain.postings import Posting, TrialBalance, postings, wallet_accounts
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
