"""What a batch of events means to the lists: read what they touch, fold, write each row once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from domain.postings import following, wallet_accounts
from domain.record import Record, id_text
from projections.rows import (
    ADD_RESERVATIONS,
    ADD_TO_CHART,
    ADD_USAGE,
    CHANGE_SESSIONS,
    CLAIM_PAYMENTS,
    END_RESERVATIONS,
    FINISH_PAYMENTS,
    FINISH_PAYOUTS,
    LIST_TRANSACTIONS,
    MARK_HOURS,
    MOVE_POSITION,
    OPEN_SESSIONS,
    PUT_BALANCES,
    REQUEST_PAYOUTS,
    Write,
)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# A quote inside a string is escaped, so this cannot stand inside one.
_AT_MS = re.compile(rb'"at_ms":(-?[0-9]+)')
Fields = dict[str, Any]


@dataclass(slots=True)
class SessionState:
    """A session's row, in the order of its columns."""

    id: str
    position: int
    account_id: str
    bundle_id: str | None
    service: str
    status: str
    running: int
    reserved: int
    charged: int
    opened_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    expires_at_ms: int
    reason: str


@dataclass(slots=True, kw_only=True)
class Known:
    """What the tables say of what a batch touches; `hour` is the last one marked."""

    balances: dict[str, tuple[int, int]]
    sessions: dict[str, SessionState]
    hour: int | None


class Batch:
    """Records, read once. `accounts` and `sessions` are what `writes` must be told of."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._told = [record for record in records if record.topic in _FOLDS]
        self._fields = _fields(self._told)
        self._ids = [id_text(record.originator_id) for record in self._told]
        kinds = ("account", "session", "payment", "payout")
        touched: dict[str, set[str]] = {kind: set() for kind in kinds}
        opened: set[str] = set()
        for record, own_id in zip(self._told, self._ids, strict=True):
            kind, _, what = record.topic.partition(".")
            (opened if what == "opened" else touched[kind]).add(own_id)
        self.accounts = touched["account"]
        self.sessions = touched["session"] - opened

    def writes(self, known: Known) -> Iterator[Write]:
        """The changes, every row once, the position last."""
        rows = _Rows(
            balances={key: [*found, 0] for key, found in known.balances.items()},
            sessions=known.sessions,
        )
        for record, own_id, fields in zip(self._told, self._ids, self._fields, strict=True):
            _FOLDS[record.topic](rows, record, own_id, fields)
        yield from rows.writes()
        hours = tuple(_hours(self._records, known.hour))
        if hours:
            yield Write(MARK_HOURS, hours)
        yield Write(MOVE_POSITION, [(1, self._records[-1].position)])


def _fields(records: Sequence[Record]) -> list[Fields]:
    """What the events say, read in one go: calling the parser costs as much as what it does."""
    fields: list[Fields] = json.loads(b"[" + b",".join(record.state for record in records) + b"]")
    if len(fields) != len(records):
        raise ValueError(f"{len(records)} events hold {len(fields)} states")
    return fields


def _hours(records: Iterable[Record], last: int | None) -> Iterator[tuple[int, int]]:
    """The first event of each hour that is later than every event before it."""
    for record in records:
        found = _AT_MS.search(record.state)
        if found is None:
            continue
        hour = int(found[1]) // HOUR_MS
        if last is None or hour > last:
            last = hour
            yield hour, record.position


@dataclass(slots=True)
class _Unfinished:
    """What a batch began and ended; what it did both of leaves no row."""

    begun: dict[str, None] = field(default_factory=dict)
    ended: list[tuple[str]] = field(default_factory=list)

    def begin(self, own_id: str) -> None:
        self.begun[own_id] = None

    def end(self, own_id: str) -> None:
        if own_id in self.begun:
            del self.begun[own_id]
        else:
            self.ended.append((own_id,))


@dataclass(slots=True)
class _Rows:
    """Rows as they become; only what a batch touches is here."""

    # Available, reserved, position.
    balances: dict[str, list[int]]
    sessions: dict[str, SessionState]
    transactions: list[tuple[Any, ...]] = field(default_factory=list)
    opened: list[SessionState] = field(default_factory=list)
    changed: dict[str, SessionState] = field(default_factory=dict)
    reservations: dict[str, list[Any]] = field(default_factory=dict)
    ended: list[tuple[str]] = field(default_factory=list)
    usage: dict[tuple[str, str, int], list[int]] = field(default_factory=dict)
    chart: dict[str, int] = field(default_factory=dict)
    payments: _Unfinished = field(default_factory=_Unfinished)
    payouts: _Unfinished = field(default_factory=_Unfinished)

    def writes(self) -> Iterator[Write]:
        fresh = {session.id for session in self.opened}
        changed = [s for s in self.changed.values() if s.id not in fresh]
        for statement, rows in (
            (PUT_BALANCES, [(key, *row) for key, row in self.balances.items() if row[2]]),
            (LIST_TRANSACTIONS, self.transactions),
            (OPEN_SESSIONS, [_ROW(session) for session in self.opened]),
            (CHANGE_SESSIONS, [_CHANGES(session) for session in changed]),
            (ADD_RESERVATIONS, [(key, *row) for key, row in self.reservations.items()]),
            (END_RESERVATIONS, self.ended),
            (ADD_USAGE, [(*key, *row) for key, row in self.usage.items()]),
            (ADD_TO_CHART, list(self.chart.items())),
            (CLAIM_PAYMENTS, [(key,) for key in self.payments.begun]),
            (FINISH_PAYMENTS, self.payments.ended),
            (REQUEST_PAYOUTS, [(key,) for key in self.payouts.begun]),
            (FINISH_PAYOUTS, self.payouts.ended),
        ):
            if rows:
                yield Write(statement, rows)

    def move(
        self,
        record: Record,
        own_id: str,
        fields: Fields,
        *,
        kind: str,
        reference_id: str | None,
        service: str | None,
        description: str,
    ) -> None:
        """Post an event, and list what it changed of what the wallet may spend."""
        available, reserved = wallet_accounts(record.originator_id)
        balance = self.balances.get(own_id)
        if balance is None:
            balance = self.balances[own_id] = [0, 0, 0]
        before = balance[0]
        for account, amount in following(record.topic, record.originator_id, fields):
            if account == available:
                balance[0] += amount
            elif account == reserved:
                balance[1] += amount
            else:
                self.post(account, amount)
        balance[2] = record.position
        self.transactions.append(
            (
                record.position,
                own_id,
                kind,
                balance[0] - before,
                balance[0],
                reference_id,
                service,
                description,
                fields["at_ms"],
            )
        )

    def post(self, account: str, amount: int) -> None:
        """Move an account of the chart that is no wallet's."""
        self.chart[account] = self.chart.get(account, 0) + amount


_ROW = attrgetter(*OPEN_SESSIONS.columns)
_CHANGES = attrgetter(*CHANGE_SESSIONS.columns)


def _purchased(rows: _Rows, record: Record, own_id: str, fields: Fields) -> None:
    rows.move(
        record,
        own_id,
        fields,
        kind="purchase",
        reference_id=fields["payment_id"],
        service=None,
        description=f"bought on {fields['rail']}",
    )


def _reserved(rows: _Rows, record: Record, own_id: str, fields: Fields) -> None:
    session_id, service, amount = fields["session_id"], fields["service"], fields["amount"]
    rows.move(
        record,
        own_id,
        fields,
        kind="reserve",
        reference_id=session_id,
        service=service,
        description=f"reserved for {service}",
    )
    known = rows.reservations.get(session_id)
    if known is None:
        rows.reservations[session_id] = [own_id, service, amount, fields["at_ms"]]
    else:
        known[2] += amount


def _settled(rows: _Rows, record: Record, own_id: str, fields: Fields) -> None:
    charged, session_id = fields["charged"], fields["session_id"]
    rows.move(
        record,
        own_id,
        fields,
        kind="refund",
        reference_id=session_id,
        service=fields["service"],
        description=f"charged {charged} of {charged + fields['refunded']} reserved, "
        "the rest returned",
    )
    rows.reservations.pop(session_id, None)
    rows.ended.append((session_id,))


def _corrected(rows: _Rows, record: Record, own_id: str, fields: Fields) -> None:
    rows.move(
        record,
        own_id,
        fields,
        kind="adjustment",
        reference_id=None,
        service=None,
        description=f"correction of entry {fields['corrects_position']}: {fields['why']}",
    )


def _of_payout(kind: str, words: str) -> Fold:
    def fold(rows: _Rows, record: Record, own_id: str, fields: Fields) -> None:
        rows.move(
            record,
            own_id,
            fields,
            kind=kind,
            reference_id=fields["payout_id"],
            service=None,
            description=f"{words} {fields['rail']}",
        )

    return fold


def _paid_out(rows: _Rows, record: Record, _: str, fields: Fields) -> None:
    for account, amount in following(record.topic, record.originator_id, fields):
        rows.post(account, amount)


def _opened(rows: _Rows, record: Record, own_id: str, fields: Fields) -> None:
    session = SessionState(
        own_id,
        record.position,
        fields["account_id"],
        fields["bundle_id"],
        fields["service"],
        status="active",
        running=0,
        reserved=fields["reserved"],
        charged=0,
        opened_at_ms=fields["at_ms"],
        started_at_ms=None,
        ended_at_ms=None,
        expires_at_ms=fields["expires_at_ms"],
        reason="",
    )
    rows.sessions[own_id] = session
    rows.opened.append(session)


def _of_session(change: Callable[[_Rows, SessionState, Fields], None]) -> Fold:
    def fold(rows: _Rows, _: Record, own_id: str, fields: Fields) -> None:
        session = rows.sessions.get(own_id)
        if session is not None:
            rows.changed[own_id] = session
            change(rows, session, fields)

    return fold


def _started(_: _Rows, session: SessionState, fields: Fields) -> None:
    if session.started_at_ms is None:
        session.started_at_ms = fields["at_ms"]


def _resumed(rows: _Rows, session: SessionState, fields: Fields) -> None:
    session.running = 1
    _started(rows, session, fields)


def _paused(_: _Rows, session: SessionState, __: Fields) -> None:
    session.running = 0


def _extended(_: _Rows, session: SessionState, fields: Fields) -> None:
    session.reserved += fields["reserved"]
    session.expires_at_ms = fields["expires_at_ms"]


def _closed(rows: _Rows, session: SessionState, fields: Fields) -> None:
    session.status, session.running = "settled", 0
    session.charged, session.ended_at_ms = fields["charged"], fields["at_ms"]
    session.reason = fields["reason"]
    key = (session.account_id, session.service, fields["at_ms"] // DAY_MS)
    used = rows.usage.setdefault(key, [0, 0, 0])
    used[0] += 1
    used[1] += fields["used"]
    used[2] += fields["charged"]


def _claimed(rows: _Rows, _: Record, own_id: str, __: Fields) -> None:
    rows.payments.begin(own_id)


def _finished(rows: _Rows, _: Record, own_id: str, fields: Fields) -> None:
    if fields.get("final", True):
        rows.payments.end(own_id)


def _requested(rows: _Rows, _: Record, own_id: str, __: Fields) -> None:
    rows.payouts.begin(own_id)


def _over(rows: _Rows, _: Record, own_id: str, __: Fields) -> None:
    rows.payouts.end(own_id)


Fold = Callable[[_Rows, Record, str, Fields], None]
_FOLDS: dict[str, Fold] = {
    "account.credits_purchased": _purchased,
    "account.credits_reserved": _reserved,
    "account.reservation_settled": _settled,
    "account.credits_corrected": _corrected,
    "account.credits_withdrawn": _of_payout("payout", "to be paid back on"),
    "account.payout_paid": _paid_out,
    "account.payout_returned": _of_payout("payout_returned", "could not be paid back on"),
    "session.opened": _opened,
    "session.clock_resumed": _of_session(_resumed),
    "session.clock_paused": _of_session(_paused),
    "session.characters_spoken": _of_session(_started),
    "session.extended": _of_session(_extended),
    "session.closed": _of_session(_closed),
    "payment.claimed": _claimed,
    "payment.credited": _finished,
    "payment.rejected": _finished,
    "payout.requested": _requested,
    "payout.paid": _over,
    "payout.failed": _over,
}
