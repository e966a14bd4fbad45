"""The questions that the lists answer, in words that every store understands."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

from domain.ports.views import BalanceRow, ReservationRow, SessionRow, TransactionRow, UsageRow
from projections.fold import DAY_MS, HOUR_MS
from projections.follow import Follower

_TRANSACTIONS = (
    "SELECT position, kind, amount, balance_after, reference_id, service, description, at_ms "
    "FROM transactions WHERE account_id = ? ORDER BY position DESC LIMIT ? OFFSET ?"
)
_SESSIONS = (
    "SELECT id, account_id, bundle_id, service, status, reserved, charged, opened_at_ms, "
    "started_at_ms, ended_at_ms, expires_at_ms, reason FROM sessions "
    "WHERE account_id = ? AND status = COALESCE(?, status) ORDER BY position DESC LIMIT ? OFFSET ?"
)
_RUNNING = "SELECT id FROM sessions WHERE status = 'active' AND running = 1"
_DUE = "SELECT id FROM sessions WHERE status = 'active' AND expires_at_ms <= ?"
_UNFINISHED = "SELECT id FROM payments"
_UNPAID = "SELECT id FROM payouts"
_BALANCES = (
    "SELECT account_id, available, reserved, position FROM balances "
    "WHERE account_id = COALESCE(?, account_id) ORDER BY account_id LIMIT ? OFFSET ?"
)
_USAGE = (
    "SELECT account_id, service, day, sessions, used, charged FROM usage "
    "WHERE day >= ? AND day < ? AND account_id = COALESCE(?, account_id) "
    "ORDER BY day, account_id, service LIMIT ? OFFSET ?"
)
_RESERVATIONS = (
    "SELECT session_id, account_id, service, amount, since_ms FROM reservations "
    "WHERE account_id = COALESCE(?, account_id) ORDER BY since_ms, session_id LIMIT ? OFFSET ?"
)
# One statement, so that all of it is of one position.
_TRIAL_BALANCE = (
    "SELECT account, amount FROM chart "
    "UNION ALL SELECT 'wallets:available', SUM(available) FROM balances HAVING COUNT(*) > 0 "
    "UNION ALL SELECT 'wallets:reserved', SUM(reserved) FROM balances HAVING COUNT(*) > 0"
)
_CUT = "SELECT position - 1 FROM hours WHERE hour >= ? ORDER BY hour LIMIT 1"


class Selectable(Protocol):
    """Tables that run SQL with `?` for each value."""

    def select(self, statement: str, values: Sequence[object]) -> Sequence[Sequence[Any]]: ...


class StoredViews:
    """Implements `Views` over the tables of any store, and the position they follow."""

    def __init__(self, tables: Selectable, follower: Follower) -> None:
        self._select = tables.select
        self._follower = follower

    async def caught_up(self, position: int) -> None:
        await self._follower.caught_up(position)

    async def transactions(
        self, account_id: UUID, *, limit: int, offset: int
    ) -> tuple[TransactionRow, ...]:
        rows = await self._rows(_TRANSACTIONS, str(account_id), limit, offset)
        return tuple(_transaction(account_id, row) for row in rows)

    async def sessions(
        self, account_id: UUID, *, limit: int, offset: int, status: str | None
    ) -> tuple[SessionRow, ...]:
        rows = await self._rows(_SESSIONS, str(account_id), status, limit, offset)
        return tuple(map(_session, rows))

    async def sessions_running(self) -> tuple[UUID, ...]:
        return await self._ids(_RUNNING)

    async def sessions_due(self, at_ms: int) -> tuple[UUID, ...]:
        return await self._ids(_DUE, at_ms)

    async def payments_unfinished(self) -> tuple[UUID, ...]:
        return await self._ids(_UNFINISHED)

    async def payouts_unfinished(self) -> tuple[UUID, ...]:
        return await self._ids(_UNPAID)

    async def balances(
        self, *, account_id: UUID | None, limit: int, offset: int
    ) -> tuple[BalanceRow, ...]:
        rows = await self._rows(_BALANCES, _text(account_id), limit, offset)
        return tuple(BalanceRow(UUID(key), *row) for key, *row in rows)

    async def usage(
        self, *, account_id: UUID | None, from_ms: int, to_ms: int, limit: int, offset: int
    ) -> tuple[UsageRow, ...]:
        days = (from_ms // DAY_MS, -(-to_ms // DAY_MS))
        rows = await self._rows(_USAGE, *days, _text(account_id), limit, offset)
        return tuple(
            UsageRow(UUID(key), service, day * DAY_MS, *row) for key, service, day, *row in rows
        )

    async def reservations(
        self, *, account_id: UUID | None, limit: int, offset: int
    ) -> tuple[ReservationRow, ...]:
        rows = await self._rows(_RESERVATIONS, _text(account_id), limit, offset)
        return tuple(ReservationRow(UUID(s), UUID(a), *row) for s, a, *row in rows)

    async def trial_balance(self) -> dict[str, int]:
        rows = await self._rows(_TRIAL_BALANCE)
        return {account: int(amount) for account, amount in sorted(tuple(row) for row in rows)}

    async def cut(self, hour_ms: int) -> int | None:
        rows = await self._rows(_CUT, -(-hour_ms // HOUR_MS))
        return int(rows[0][0]) if rows else None

    async def _ids(self, statement: str, *values: object) -> tuple[UUID, ...]:
        return tuple(UUID(key) for (key,) in await self._rows(statement, *values))

    async def _rows(self, statement: str, *values: object) -> Sequence[Sequence[Any]]:
        return await asyncio.to_thread(self._select, statement, values)


def _text(account_id: UUID | None) -> str | None:
    return None if account_id is None else str(account_id)


def _id(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)


def _transaction(account_id: UUID, row: Sequence[Any]) -> TransactionRow:
    position, kind, amount, balance_after, reference_id, service, description, at_ms = row
    return TransactionRow(
        # One event makes one row, so its place in the log is its name.
        id=UUID(int=(account_id.int & ~0xFFFF_FFFF_FFFF) | position),
        kind=kind,
        amount=amount,
        balance_after=balance_after,
        reference_id=_id(reference_id),
        service=service,
        description=description,
        at_ms=at_ms,
    )


def _session(row: Sequence[Any]) -> SessionRow:
    key, owner, bundle, service, status, reserved, charged, opened, started, *rest = row
    ended, expires, reason = rest
    return SessionRow(
        id=UUID(key),
        account_id=UUID(owner),
        bundle_id=_id(bundle),
        service=service,
        status=status,
        reserved=reserved,
        charged=charged,
        opened_at_ms=opened,
        started_at_ms=started,
        ended_at_ms=ended,
        expires_at_ms=expires,
        reason=reason,
    )
