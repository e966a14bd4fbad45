"""What must be true of any ledger after any step, read from its events alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from domain.account import Account
from domain.aggregate import LedgerAggregate
from domain.ports.views import Views
from domain.postings import TrialBalance
from domain.record import Record
from domain.session import Session
from tests.fakes.stored import replay_all

ROWS_MAX = 10_000


def check_books(
    records: Sequence[Record], *, bought: int, units_max: int
) -> dict[UUID, LedgerAggregate]:
    """Positions, postings, reservations and sums; returns what the events add up to."""
    books = TrialBalance()
    for record in records:
        assert books.post(record) == ()
        assert books.total == 0
    aggregates = replay_all(records)
    sessions = sessions_of(aggregates)
    accounts = accounts_of(aggregates)
    revenue = sum(v for k, v in books.balances.items() if k.startswith("revenue:"))

    assert [record.position for record in records] == list(range(1, len(records) + 1))
    for account in accounts:
        held = {s.id: s.reserved for s in sessions if s.account_id == account.id and s.is_open}
        reserved = sum(amount.value for amount in account.reserved.values())
        assert account.reserved == held
        assert account.units_open <= units_max
        assert books.balances[f"wallet:{account.id}:available"] == account.available.value
        assert books.balances[f"wallet:{account.id}:reserved"] == reserved
    assert bought == -sum(v for k, v in books.balances.items() if k.startswith("world:"))
    assert bought == revenue + sum(account.balance.value for account in accounts)
    assert revenue == sum(session.charged.value for session in sessions)
    return aggregates


async def check_lists(views: Views, aggregates: Mapping[UUID, LedgerAggregate]) -> None:
    """The lists say what the aggregates are."""
    sessions = sessions_of(aggregates)

    assert set(await views.sessions_running()) == {s.id for s in sessions if s.is_running}
    for account in accounts_of(aggregates):
        rows = await views.transactions(account.id, limit=ROWS_MAX, offset=0)
        assert sum(row.amount for row in rows) == account.available.value
        assert not rows or rows[0].balance_after == account.available.value
        listed = await views.sessions(account.id, limit=ROWS_MAX, offset=0, status=None)
        assert {
            (r.id, r.status, r.reserved, r.charged, r.started_at_ms, r.ended_at_ms) for r in listed
        } == {
            (
                s.id,
                "active" if s.is_open else "settled",
                s.reserved.value,
                s.charged.value,
                s.started_at_ms,
                s.closed_at_ms,
            )
            for s in sessions
            if s.account_id == account.id
        }


def accounts_of(aggregates: Mapping[UUID, LedgerAggregate]) -> list[Account]:
    return [a for a in aggregates.values() if isinstance(a, Account)]


def sessions_of(aggregates: Mapping[UUID, LedgerAggregate]) -> list[Session]:
    return [a for a in aggregates.values() if isinstance(a, Session)]
