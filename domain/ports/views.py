"""The read side: lists over the past that a command does not need to decide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class TransactionRow:
    """One change of what a wallet may spend. `amount` and `balance_after` are µcr.

    `kind` is `purchase`, `reserve` (negative), `refund`, `adjustment`, `payout` (negative) or
    `payout_returned`; the sum of all amounts is the available balance.
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
    """One session as lists show it. `status` is `active` or `settled`; money in µcr.

    `reason` is why it was settled, "" before.
    """

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
    reason: str


@dataclass(frozen=True, slots=True)
class BalanceRow:
    """What a wallet has, in µcr, and the position of the last event that changed it."""

    account_id: UUID
    available: int
    reserved: int
    position: int


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What a wallet used of a service, in sessions closed on the day of UTC that began at `day_ms`.

    `used` is ms or characters, `charged` µcr.
    """

    account_id: UUID
    service: str
    day_ms: int
    sessions: int
    used: int
    charged: int


@dataclass(frozen=True, slots=True)
class ReservationRow:
    """What is set aside for an open session, in µcr, and since when."""

    session_id: UUID
    account_id: UUID
    service: str
    amount: int
    since_ms: int


class Views(Protocol):
    """Answers lists from tables that follow the log.

    Shape:  rows, newest first where nothing else is said; `limit` and `offset` count rows. Where an
            `account_id` may be None, that means every account.
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

    async def payouts_unfinished(self) -> tuple[UUID, ...]:
        """Payouts that are neither paid nor failed."""
        ...

    async def balances(
        self, *, account_id: UUID | None, limit: int, offset: int
    ) -> tuple[BalanceRow, ...]:
        """What each wallet has, by account."""
        ...

    async def usage(
        self, *, account_id: UUID | None, from_ms: int, to_ms: int, limit: int, offset: int
    ) -> tuple[UsageRow, ...]:
        """What was used on the days that overlap the time from `from_ms` to before `to_ms`."""
        ...

    async def reservations(
        self, *, account_id: UUID | None, limit: int, offset: int
    ) -> tuple[ReservationRow, ...]:
        """What is set aside for open sessions, the longest first."""
        ...

    async def trial_balance(self) -> dict[str, int]:
        """The books in a few rows, as `TrialBalance.by_kind` has them."""
        ...

    async def cut(self, hour_ms: int) -> int | None:
        """How many events lie before the first one at or after this full hour; None: it is not yet.

        Later events belong behind the cut whatever their times.
        """
        ...
