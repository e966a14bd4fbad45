"""What must be true of any ledger after any step, read from its events alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

from domain.account import Account
from domain.aggregate import LedgerAggregate
from domain.ports.views import Views
from domain.postings import MONEY_TOPICS, TrialBalance
from domain.record import Record
from domain.session import Session
from tests.fakes.stored import replay_all

ROWS_MAX = 10_000


def check_books(
    records: Sequence[Record], *, bought: int, units_max: int
) -> dict[UUID, LedgerAggregate]:
    """Positions, postings, reservations and sums; returns what the events add up to."""
    books = TrialBalance()
    added_up: Counter[str] = Counter()
    for record in records:
        assert books.post(record) == ()
        assert books.total == 0
        # As somebody adds them up who has the events and no code of ours.
        pairs = record.fields.get("postings", [])
        assert (record.topic in MONEY_TOPICS) == ("postings" in record.fields)
        assert sum(amount for _, amount in pairs) == 0
        assert all(amount != 0 for _, amount in pairs)
        for account, amount in pairs:
            added_up[account] += amount
    assert added_up == books.balances
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
    balances = await views.balances(account_id=None, limit=ROWS_MAX, offset=0)
    held = await views.reservations(account_id=None, limit=ROWS_MAX, offset=0)

    assert set(await views.sessions_running()) == {s.id for s in sessions if s.is_running}
    assert {(r.account_id, r.available, r.available + r.reserved) for r in balances} == {
        (a.id, a.available.value, a.balance.value) for a in accounts_of(aggregates) if a.version > 1
    }
    assert {(r.session_id, r.amount) for r in held} == {
        (s.id, s.reserved.value) for s in sessions if s.is_open
    }
    assert sum((await views.trial_balance()).values()) == 0
    for account in accounts_of(aggregates):
        rows = await views.transactions(account.id, limit=ROWS_MAX, offset=0)
        assert sum(row.amount for row in rows) == account.available.value
        assert not rows or rows[0].balance_after == account.available.value
        listed = await views.sessions(account.id, limit=ROWS_MAX, offset=0, status=None)
        assert {
            (r.id, r.reason, r.status, r.reserved, r.charged, r.started_at_ms, r.ended_at_ms)
            for r in listed
        } == {
            (
                s.id,
                s.reason,
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
