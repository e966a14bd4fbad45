"""The read side: lists over the past that a command does not need to decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRow:
    """One change of what a wallet may spend. `amount` and `balance_after` are µcr.

    `kind` is `purchase`, `reserve` (negative), `refund` or `adjustment`; the sum of all amounts is
    the available balance.
    """

    id: UUID
    kind: str
    amount: int
    balance_after: int
    reference_id: UUID | None
    service: str | None
    description: str
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """One session as lists show it. `status` is `active` or `settled`; money in µcr."""

    id: UUID
    account_id: UUID
    bundle_id: UUID | None
    service: str
    status: str
    reserved: int
    charged: int
    opened_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    expires_at_ms: int


class Views(Protocol):
    """Answers lists from tables that follow the log.

    Shape:  rows, newest first; `limit` and `offset` count rows.
    Units:  ms and µcr.
    Errors: none; `caught_up` waits until the tables have seen a position.
    Source: specs/ledger.md, views.
    """

    async def caught_up(self, position: int) -> None: ...

    async def transactions(
        self, account_id: UUID, *, limit: int, offset: int
    ) -> tuple[TransactionRow, ...]: ...

    async def sessions(
        self, account_id: UUID, *, limit: int, offset: int, status: str | None
    ) -> tuple[SessionRow, ...]: ...

    async def sessions_running(self) -> tuple[UUID, ...]:
        """Open sessions whose clock runs, as of the last event seen."""
        ...

    async def sessions_due(self, at_ms: int) -> tuple[UUID, ...]:
        """Open sessions whose time to be used has passed."""
        ...

    async def payments_unfinished(self) -> tuple[UUID, ...]:
        """Payments whose outcome a chain may still decide."""
        ...
