"""Statements of any periods of any past: they add up, they meet, and a closed one never changes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.focus import focus_csv
from domain.period import Cuts, Period
from domain.postings import TrialBalance, wallet_accounts
from domain.price_list import PublishedPriceBook
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.record import Record, canonical
from domain.statement import Balance, Statement, statement, totals
from projections.sqlite import SqliteTables
from tests.contract.focus import problems, read
from tests.fakes.past import Past
from tests.fakes.stored import Journal
from tests.strategies import START_MS

STEPS = 120
SPAN_MS = STEPS * 5_000
instants = st.lists(
    st.integers(START_MS - 10, START_MS + SPAN_MS), min_size=2, max_size=6, unique=True
).map(sorted)


def past(seed: int, *, back_ms: int = 0) -> tuple[Record, ...]:
    """A past whose times go back here and there, by at most so much, as after crashes."""
    dice = random.Random(seed)  # noqa: S311 (a test wants repeatable dice)
    records = Past(seed=seed, steps=STEPS).journal.records
    return tuple(_earlier(r, dice.randrange(back_ms + 1) * dice.randrange(2)) for r in records)


def _earlier(record: Record, ms: int) -> Record:
    fields = record.fields
    return replace(record, state=canonical(fields | {"at_ms": fields["at_ms"] - ms}))


def _price_book() -> Record:
    journal = Journal()
    journal.save(PublishedPriceBook.publish(DEFAULT_PRICE_BOOK, at_ms=START_MS))
    return journal.records[0]


def cut(records: Sequence[Record], from_ms: int, to_ms: int) -> Period:
    cuts = Cuts((from_ms, to_ms))
    for record in records:
        cuts.see(record)
    return cuts.period()


def told(records: Sequence[Record], account_id: UUID, period: Period) -> Statement:
    account = [r for r in records if r.originator_id == account_id]
    others = [r for r in records if r.originator_id != account_id]
    return statement(account, [_price_book(), *others], period)


def accounts(records: Sequence[Record]) -> list[UUID]:
    return [r.originator_id for r in records if r.topic == "account.opened"]


def balance(records: Sequence[Record], account_id: UUID, position: int) -> Balance:
    books = TrialBalance().post_all(records[:position])
    return Balance(*(books.balances[name] for name in wallet_accounts(account_id)))


@given(seed=st.integers(0, 50), back_ms=st.sampled_from([0, 60_000]), bounds=instants)
def test_periods_meet_and_every_balance_is_the_books(
    seed: int, back_ms: int, bounds: list[int]
) -> None:
    records = past(seed, back_ms=back_ms)
    for account_id in accounts(records):
        periods = [cut(records, *pair) for pair in pairwise(bounds)]
        made = [told(records, account_id, period) for period in periods]

        for one in made:
            lines = sum((line.moved for line in one.lines), one.opening)
            assert lines == one.closing
            assert one.opening == balance(records, account_id, one.period.after)
            assert one.closing == balance(records, account_id, one.period.through)
        for earlier, later in pairwise(made):
            assert later.opening == earlier.closing
            assert later.period.after == earlier.period.through


@given(
    seed=st.integers(0, 50),
    back_ms=st.sampled_from([0, 60_000]),
    bounds=instants,
    size=st.integers(1, 500),
)
def test_a_closed_period_is_told_the_same_whatever_is_written_later(
    seed: int, back_ms: int, bounds: list[int], size: int
) -> None:
    records = past(seed, back_ms=back_ms)
    then = records[:size]
    for account_id in accounts(then):
        for pair in pairwise(bounds):
            period = cut(then, *pair)
            if period.closed:
                assert cut(records, *pair) == period
                assert told(then, account_id, period) == told(records, account_id, period)


@given(seed=st.integers(0, 50))
def test_focus_conforms_and_its_sums_are_the_statements(seed: int) -> None:
    records = past(seed)
    period = cut(records, START_MS, START_MS + SPAN_MS * 10)
    for account_id in accounts(records):
        made = told(records, account_id, period)
        text = focus_csv(made, provider="gateway.test")
        sums = totals(made)

        assert problems(text) == []
        rows = read(text)
        paid, fees = (
            sum(int(str(line.facts.get(f"{name}_microcredits", 0))) for line in made.lines)
            for name in ("paid", "fee")
        )
        billed = sum(Decimal(row["BilledCost"]) for row in rows) * 10**6
        effective = sum(Decimal(row["EffectiveCost"]) for row in rows) * 10**6
        corrected = sums["corrected_microcredits"]
        assert billed == sums["purchased_microcredits"] - corrected - paid
        assert effective == sums["charged_microcredits"] - corrected + fees


@given(seed=st.integers(0, 50), sizes=st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_lists_are_the_fold_after_every_batch(seed: int, sizes: list[int]) -> None:
    records = past(seed)
    start = 0
    with closing(SqliteTables(":memory:")) as tables:
        for size in sizes:
            batch = records[start : start + size]
            if not batch:
                break
            tables.apply(batch)
            start += len(batch)
            books = TrialBalance().post_all(records[:start])

            assert dict(tables.select(_BOOKS, ())) == {
                name: amount for name, amount in books.by_account().items() if amount
            }


_BOOKS = (
    "SELECT account, amount FROM chart WHERE amount <> 0 "
    "UNION ALL SELECT 'wallet:' || account_id || ':available', available FROM balances "
    "WHERE available <> 0 "
    "UNION ALL SELECT 'wallet:' || account_id || ':reserved', reserved FROM balances "
    "WHERE reserved <> 0"
)
