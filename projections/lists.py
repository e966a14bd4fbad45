"""What an operator asks of the lists: who has what, who used what, what is set aside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from domain.ports.views import BalanceRow, ReservationRow, UsageRow
from projections.fold import DAY_MS, HOUR_MS

# Runs SQL with `?` for each value, on whichever store has the tables.
Select = Callable[[str, Sequence[object]], Sequence[Sequence[Any]]]
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


class OperatorLists:
    """The part of `Views` that two stores answer with the same words."""

    def __init__(self, select: Select) -> None:
        self._select = select

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

    async def _rows(self, statement: str, *values: object) -> Sequence[Sequence[Any]]:
        return await asyncio.to_thread(self._select, statement, values)


def _text(account_id: UUID | None) -> str | None:
    return None if account_id is None else str(account_id)
