"""What a gateway may expect of its lists, wherever they are kept."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol
from uuid import UUID

import pytest

from domain.ports.views import SessionRow, TransactionRow, Views
from domain.postings import TrialBalance
from domain.record import Record
from projections.follow import Follower
from projections.postgres import PostgresTables
from projections.sqlite import SqliteTables
from projections.views import StoredViews
from tests.fakes.past import Past
from tests.fakes.views import MemoryViews
from tests.strategies import START_MS

PAST = Past(seed=3)
RECORDS = tuple(PAST.journal.records)
ALL = 10_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
END_MS = PAST.now_ms + HOUR_MS


class Shelf(Protocol):
    """A place for lists: what is put there, and how it is asked."""

    views: Views

    async def put(self, records: Sequence[Record]) -> None: ...


class MemoryShelf:
    def __init__(self) -> None:
        self.views = MemoryViews()

    async def put(self, records: Sequence[Record]) -> None:
        self.views.apply(tuple(records))


class TableShelf:
    """Tables that follow a log, each put of which is one batch."""

    def __init__(self, tables: SqliteTables | PostgresTables, stack: ExitStack) -> None:
        self._log: list[Record] = []
        self._follower = Follower(
            tables,
            read=lambda after, limit: tuple(self._log[after : after + limit]),
            head=0,
        )
        stack.enter_context(closing(tables))
        stack.enter_context(closing(self._follower))
        self.views: Views = StoredViews(tables, self._follower)

    async def put(self, records: Sequence[Record]) -> None:
        self._log.extend(records)
        self._follower.notify(len(self._log))
        await self.views.caught_up(len(self._log))


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def shelf(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Shelf]:
    with ExitStack() as stack:
        match request.param:
            case "memory":
                yield MemoryShelf()
            case "sqlite":
                yield TableShelf(SqliteTables(tmp_path / "views.db"), stack)
            case _:
                database = request.getfixturevalue("database")
                yield TableShelf(PostgresTables(database), stack)


def comparable(rows: Sequence[TransactionRow]) -> list[TransactionRow]:
    """Rows without their names and their prose, which each place makes as it likes."""
    return [replace(row, id=UUID(int=0), description="") for row in rows]


async def everything(views: Views) -> list[object]:
    found: list[object] = []
    for account in PAST.accounts:
        found += comparable(await views.transactions(account.id, limit=ALL, offset=0))
        found += await views.sessions(account.id, limit=ALL, offset=0, status=None)
    found.append(sorted(await views.sessions_running()))
    found.append(sorted(await views.sessions_due(PAST.now_ms)))
    found.append(sorted(await views.payments_unfinished()))
    found.append(sorted(await views.payouts_unfinished()))
    found += await views.balances(account_id=None, limit=ALL, offset=0)
    found += await views.usage(account_id=None, from_ms=0, to_ms=END_MS, limit=ALL, offset=0)
    found += await views.reservations(account_id=None, limit=ALL, offset=0)
    found.append(await views.trial_balance())
    hours = range(START_MS - START_MS % HOUR_MS, END_MS, HOUR_MS)
    found.append([await views.cut(hour_ms) for hour_ms in hours])
    return found


async def expected() -> list[object]:
    memory = MemoryShelf()
    await memory.put(RECORDS)
    return await everything(memory.views)


async def test_one_batch_gives_the_lists_of_the_whole_past(shelf: Shelf) -> None:
    await shelf.put(RECORDS)

    assert await everything(shelf.views) == await expected()


@pytest.mark.parametrize("size", [1, 7, 100])
async def test_batches_may_be_cut_anywhere(shelf: Shelf, size: int) -> None:
    for start in range(0, len(RECORDS), size):
        await shelf.put(RECORDS[start : start + size])

    assert await everything(shelf.views) == await expected()


async def test_amounts_add_up_to_the_balance_after_each(shelf: Shelf) -> None:
    await shelf.put(RECORDS)

    for account in PAST.accounts:
        rows = await shelf.views.transactions(account.id, limit=ALL, offset=0)
        assert rows[0].balance_after == account.available.value == sum(r.amount for r in rows)
        for later, earlier in pairwise(rows):
            assert later.balance_after == earlier.balance_after + later.amount


async def test_payouts_that_are_neither_paid_nor_failed_are_unfinished(shelf: Shelf) -> None:
    await shelf.put(RECORDS)

    unfinished = {payout.id for payout in PAST.payouts if not payout.is_over}

    assert set(await shelf.views.payouts_unfinished()) == unfinished
    assert unfinished


async def test_transactions_have_names_of_their_own(shelf: Shelf) -> None:
    await shelf.put(RECORDS)

    rows: list[TransactionRow] = []
    for account in PAST.accounts:
        rows += await shelf.views.transactions(account.id, limit=ALL, offset=0)

    assert len({row.id for row in rows}) == len(rows)


async def test_lists_are_cut_by_limit_and_offset(shelf: Shelf) -> None:
    await shelf.put(RECORDS)
    account_id = PAST.accounts[0].id
    moves = await shelf.views.transactions(account_id, limit=ALL, offset=0)
    sessions = await shelf.views.sessions(account_id, limit=ALL, offset=0, status=None)

    assert await shelf.views.transactions(account_id, limit=3, offset=2) == moves[2:5]
    assert await shelf.views.sessions(account_id, limit=3, offset=2, status=None) == sessions[2:5]
    assert await shelf.views.transactions(account_id, limit=3, offset=ALL) == ()


async def test_sessions_are_listed_by_status(shelf: Shelf) -> None:
    await shelf.put(RECORDS)
    account_id = PAST.accounts[0].id

    async def listed(status: str | None) -> set[SessionRow]:
        return set(await shelf.views.sessions(account_id, limit=ALL, offset=0, status=status))

    active, settled = await listed("active"), await listed("settled")
    assert {row.status for row in active} == {"active"}
    assert {row.status for row in settled} == {"settled"}
    assert active | settled == await listed(None)


async def test_nobody_sees_anothers_rows(shelf: Shelf) -> None:
    await shelf.put(RECORDS)
    stranger = UUID(int=1)

    assert await shelf.views.transactions(stranger, limit=ALL, offset=0) == ()
    assert await shelf.views.sessions(stranger, limit=ALL, offset=0, status=None) == ()


async def test_lists_of_no_past_are_empty(shelf: Shelf) -> None:
    nothing_cut = [None] * len(range(START_MS - START_MS % HOUR_MS, END_MS, HOUR_MS))

    assert await everything(shelf.views) == [[], [], [], [], {}, nothing_cut]


async def test_balances_are_what_the_accounts_have(shelf: Shelf) -> None:
    await shelf.put(RECORDS)

    rows = await shelf.views.balances(account_id=None, limit=ALL, offset=0)

    assert {(r.account_id, r.available, r.available + r.reserved) for r in rows} == {
        (a.id, a.available.value, a.balance.value) for a in PAST.accounts
    }
    for row in rows:
        assert RECORDS[row.position - 1].originator_id == row.account_id


async def test_the_books_are_those_of_the_log(shelf: Shelf) -> None:
    await shelf.put(RECORDS)

    books = await shelf.views.trial_balance()

    assert books == TrialBalance().post_all(RECORDS).by_kind()
    assert sum(books.values()) == 0


async def test_what_is_set_aside_is_set_aside_for_open_sessions(shelf: Shelf) -> None:
    await shelf.put(RECORDS)

    rows = await shelf.views.reservations(account_id=None, limit=ALL, offset=0)

    assert {(r.session_id, r.account_id, r.amount) for r in rows} == {
        (s.id, s.account_id, s.reserved.value) for s in PAST.sessions if s.is_open
    }
    assert [r.since_ms for r in rows] == sorted(r.since_ms for r in rows)


async def test_usage_adds_up_the_sessions_closed_on_a_day(shelf: Shelf) -> None:
    await shelf.put(RECORDS)

    rows = await shelf.views.usage(account_id=None, from_ms=0, to_ms=END_MS, limit=ALL, offset=0)

    closed = [s for s in PAST.sessions if not s.is_open]
    assert sum(row.sessions for row in rows) == len(closed)
    assert sum(row.charged for row in rows) == sum(s.charged.value for s in closed)
    assert {row.day_ms % DAY_MS for row in rows} == {0}


async def test_usage_is_of_the_days_asked_for(shelf: Shelf) -> None:
    await shelf.put(RECORDS)
    day_ms = PAST.now_ms - PAST.now_ms % DAY_MS
    options = {"account_id": PAST.accounts[0].id, "limit": ALL, "offset": 0}

    day = await shelf.views.usage(from_ms=day_ms + 1, to_ms=day_ms + 2, **options)
    before = await shelf.views.usage(from_ms=0, to_ms=START_MS - DAY_MS, **options)

    assert {(row.account_id, row.day_ms) for row in day} == {(PAST.accounts[0].id, day_ms)}
    assert before == ()


async def test_one_account_may_be_asked_for(shelf: Shelf) -> None:
    await shelf.put(RECORDS)
    account_id = PAST.accounts[1].id

    (balance,) = await shelf.views.balances(account_id=account_id, limit=ALL, offset=0)
    held = await shelf.views.reservations(account_id=account_id, limit=ALL, offset=0)

    assert balance.account_id == account_id
    assert sum(row.amount for row in held) == balance.reserved


async def test_an_hour_cuts_the_log_before_its_first_event_whatever_follows(shelf: Shelf) -> None:
    """Times go back after a crash: what is written then belongs where it was written."""
    hour_ms = START_MS - START_MS % HOUR_MS + HOUR_MS
    times = [hour_ms - 2, hour_ms - 1, hour_ms, hour_ms - 1, hour_ms + HOUR_MS * 5 // 2]
    await shelf.put(
        [
            replace(RECORDS[0], position=n, originator_version=n, state=b'{"at_ms":%d}' % at_ms)
            for n, at_ms in enumerate(times, start=1)
        ]
    )

    cuts = [await shelf.views.cut(hour_ms + n * HOUR_MS) for n in range(-1, 4)]

    assert cuts == [0, 2, 4, 4, None]
