"""The lists in memory: rows folded from records, as the tables fold them."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any
from uuid import UUID

from domain.aggregate import derive_id
from domain.ports.views import (
    BalanceRow,
    ReservationRow,
    SessionRow,
    TransactionRow,
    UsageRow,
)
from domain.postings import TrialBalance, postings, wallet_accounts
from domain.record import Record

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


class MemoryViews:
    """Implements `Views`; give it every committed batch through `apply`."""

    def __init__(self) -> None:
        self._position = 0
        self._balances: defaultdict[UUID, int] = defaultdict(int)
        self._transactions: defaultdict[UUID, list[TransactionRow]] = defaultdict(list)
        self._sessions: dict[UUID, SessionRow] = {}
        self._running: set[UUID] = set()
        self._payments: set[UUID] = set()
        self._payouts: set[UUID] = set()
        self._books = TrialBalance()
        self._moved: dict[UUID, int] = {}
        self._used: dict[tuple[int, UUID, str], list[int]] = {}
        self._held: dict[UUID, ReservationRow] = {}
        self._times: list[int] = []

    def apply(self, records: tuple[Record, ...]) -> None:
        for record in records:
            self._times.append(record.fields.get("at_ms", 0))
            self._books.post(record)
            if any(p.account.startswith("wallet:") for p in postings(record)):
                self._moved[record.originator_id] = record.position
            fold = getattr(self, "_" + record.topic.replace(".", "_"), None)
            if fold is not None:
                fold(record, record.fields)
            self._position = record.position

    async def caught_up(self, position: int) -> None:
        assert self._position >= position, "the fake is fed in the same step as the ledger"

    async def transactions(
        self, account_id: UUID, *, limit: int, offset: int
    ) -> tuple[TransactionRow, ...]:
        return tuple(self._transactions[account_id][::-1][offset : offset + limit])

    async def sessions(
        self, account_id: UUID, *, limit: int, offset: int, status: str | None
    ) -> tuple[SessionRow, ...]:
        found = [
            row
            for row in reversed(self._sessions.values())
            if row.account_id == account_id and status in (None, row.status)
        ]
        return tuple(found[offset : offset + limit])

    async def sessions_running(self) -> tuple[UUID, ...]:
        return tuple(self._running)

    async def sessions_due(self, at_ms: int) -> tuple[UUID, ...]:
        rows = self._sessions.values()
        return tuple(r.id for r in rows if r.status == "active" and r.expires_at_ms <= at_ms)

    async def payments_unfinished(self) -> tuple[UUID, ...]:
        return tuple(self._payments)

    async def payouts_unfinished(self) -> tuple[UUID, ...]:
        return tuple(self._payouts)

    async def balances(
        self, *, account_id: UUID | None, limit: int, offset: int
    ) -> tuple[BalanceRow, ...]:
        found = [
            BalanceRow(key, *(self._books.balances[name] for name in wallet_accounts(key)), moved)
            for key, moved in sorted(self._moved.items())
            if account_id in (None, key)
        ]
        return tuple(found[offset : offset + limit])

    async def usage(
        self, *, account_id: UUID | None, from_ms: int, to_ms: int, limit: int, offset: int
    ) -> tuple[UsageRow, ...]:
        found = [
            UsageRow(key, service, day_ms, *used)
            for (day_ms, key, service), used in sorted(self._used.items())
            if account_id in (None, key) and from_ms < day_ms + DAY_MS and day_ms < to_ms
        ]
        return tuple(found[offset : offset + limit])

    async def reservations(
        self, *, account_id: UUID | None, limit: int, offset: int
    ) -> tuple[ReservationRow, ...]:
        held = sorted(self._held.values(), key=lambda row: (row.since_ms, row.session_id))
        found = [row for row in held if account_id in (None, row.account_id)]
        return tuple(found[offset : offset + limit])

    async def trial_balance(self) -> dict[str, int]:
        return self._books.by_kind()

    async def cut(self, hour_ms: int) -> int | None:
        late = (n for n, at_ms in enumerate(self._times) if at_ms >= hour_ms)
        return next(late, None)

    def _move(
        self,
        record: Record,
        *,
        kind: str,
        amount: int,
        reference_id: str | None,
        service: str | None,
        description: str,
    ) -> None:
        account_id = record.originator_id
        self._balances[account_id] += amount
        self._transactions[account_id].append(
            TransactionRow(
                id=derive_id("transaction", str(record.position)),
                kind=kind,
                amount=amount,
                balance_after=self._balances[account_id],
                reference_id=None if reference_id is None else UUID(reference_id),
                service=service,
                description=description,
                at_ms=record.fields["at_ms"],
            )
        )

    def _account_credits_purchased(self, record: Record, fields: dict[str, Any]) -> None:
        self._move(
            record,
            kind="purchase",
            amount=fields["amount"],
            reference_id=fields["payment_id"],
            service=None,
            description=f"bought on {fields['rail']}",
        )

    def _account_credits_reserved(self, record: Record, fields: dict[str, Any]) -> None:
        self._move(
            record,
            kind="reserve",
            amount=-fields["amount"],
            reference_id=fields["session_id"],
            service=fields["service"],
            description=f"reserved for {fields['service']}",
        )
        session_id = UUID(fields["session_id"])
        held = self._held.get(session_id)
        self._held[session_id] = (
            ReservationRow(
                session_id,
                record.originator_id,
                fields["service"],
                fields["amount"],
                fields["at_ms"],
            )
            if held is None
            else replace(held, amount=held.amount + fields["amount"])
        )

    def _account_reservation_settled(self, record: Record, fields: dict[str, Any]) -> None:
        self._move(
            record,
            kind="refund",
            amount=fields["refunded"],
            reference_id=fields["session_id"],
            service=fields["service"],
            description=f"charged {fields['charged']}, the rest returned",
        )
        del self._held[UUID(fields["session_id"])]

    def _account_credits_corrected(self, record: Record, fields: dict[str, Any]) -> None:
        self._move(
            record,
            kind="adjustment",
            amount=fields["added"] - fields["removed"],
            reference_id=None,
            service=None,
            description=f"correction of entry {fields['corrects_position']}: {fields['why']}",
        )

    def _account_credits_withdrawn(self, record: Record, fields: dict[str, Any]) -> None:
        self._move(
            record,
            kind="payout",
            amount=-fields["amount"],
            reference_id=fields["payout_id"],
            service=None,
            description=f"to be refunded on {fields['rail']}",
        )

    def _account_payout_returned(self, record: Record, fields: dict[str, Any]) -> None:
        self._move(
            record,
            kind="payout_returned",
            amount=fields["amount"],
            reference_id=fields["payout_id"],
            service=None,
            description=f"could not be refunded on {fields['rail']}",
        )

    def _session_opened(self, record: Record, fields: dict[str, Any]) -> None:
        bundle_id = fields["bundle_id"]
        self._sessions[record.originator_id] = SessionRow(
            id=record.originator_id,
            account_id=UUID(fields["account_id"]),
            bundle_id=None if bundle_id is None else UUID(bundle_id),
            service=fields["service"],
            status="active",
            reserved=fields["reserved"],
            charged=0,
            opened_at_ms=fields["at_ms"],
            started_at_ms=None,
            ended_at_ms=None,
            expires_at_ms=fields["expires_at_ms"],
            reason="",
        )

    def _session_clock_resumed(self, record: Record, fields: dict[str, Any]) -> None:
        self._running.add(record.originator_id)
        self._started(record.originator_id, fields["at_ms"])

    def _session_clock_paused(self, record: Record, fields: dict[str, Any]) -> None:
        self._running.discard(record.originator_id)

    def _session_characters_spoken(self, record: Record, fields: dict[str, Any]) -> None:
        self._started(record.originator_id, fields["at_ms"])

    def _session_extended(self, record: Record, fields: dict[str, Any]) -> None:
        row = self._sessions[record.originator_id]
        self._sessions[row.id] = replace(
            row,
            reserved=row.reserved + fields["reserved"],
            expires_at_ms=fields["expires_at_ms"],
        )

    def _session_closed(self, record: Record, fields: dict[str, Any]) -> None:
        row = self._sessions[record.originator_id]
        self._running.discard(row.id)
        self._sessions[row.id] = replace(
            row,
            status="settled",
            charged=fields["charged"],
            ended_at_ms=fields["at_ms"],
            reason=fields["reason"],
        )
        day_ms = fields["at_ms"] // DAY_MS * DAY_MS
        used = self._used.setdefault((day_ms, row.account_id, row.service), [0, 0, 0])
        for n, more in enumerate((1, fields["used"], fields["charged"])):
            used[n] += more

    def _started(self, session_id: UUID, at_ms: int) -> None:
        row = self._sessions[session_id]
        if row.started_at_ms is None:
            self._sessions[session_id] = replace(row, started_at_ms=at_ms)

    def _payment_claimed(self, record: Record, fields: dict[str, Any]) -> None:
        self._payments.add(record.originator_id)

    def _payment_credited(self, record: Record, fields: dict[str, Any]) -> None:
        self._payments.discard(record.originator_id)

    def _payment_rejected(self, record: Record, fields: dict[str, Any]) -> None:
        if fields["final"]:
            self._payments.discard(record.originator_id)

    def _payout_requested(self, record: Record, fields: dict[str, Any]) -> None:
        self._payouts.add(record.originator_id)

    def _payout_paid(self, record: Record, fields: dict[str, Any]) -> None:
        self._payouts.discard(record.originator_id)

    def _payout_failed(self, record: Record, fields: dict[str, Any]) -> None:
        self._payouts.discard(record.originator_id)
