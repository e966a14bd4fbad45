"""What each event means to the lists: pure changes of rows, one function an event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from domain.record import Record


@dataclass(frozen=True, slots=True)
class Change:
    """One SQL statement (portable across our stores) and its values."""

    statement: str
    values: dict[str, Any]


SCHEMA = (
    "CREATE TABLE IF NOT EXISTS position (one INTEGER PRIMARY KEY, position INTEGER NOT NULL)",
    (
        "CREATE TABLE IF NOT EXISTS transactions ("
        "position INTEGER PRIMARY KEY, account_id TEXT NOT NULL, kind TEXT NOT NULL, "
        "amount INTEGER NOT NULL, balance_after INTEGER NOT NULL, reference_id TEXT, service TEXT, "
        "description TEXT NOT NULL, at_ms INTEGER NOT NULL)"
    ),
    "CREATE INDEX IF NOT EXISTS transactions_by_account ON transactions (account_id, position)",
    "CREATE TABLE IF NOT EXISTS balances (account_id TEXT PRIMARY KEY, available INTEGER NOT NULL)",
    (
        "CREATE TABLE IF NOT EXISTS sessions ("
        "id TEXT PRIMARY KEY, position INTEGER NOT NULL, account_id TEXT NOT NULL, bundle_id TEXT, "
        "service TEXT NOT NULL, status TEXT NOT NULL, running INTEGER NOT NULL, "
        "reserved INTEGER NOT NULL, charged INTEGER NOT NULL, opened_at_ms INTEGER NOT NULL, "
        "started_at_ms INTEGER, ended_at_ms INTEGER, expires_at_ms INTEGER NOT NULL)"
    ),
    "CREATE INDEX IF NOT EXISTS sessions_by_account ON sessions (account_id, position)",
    "CREATE INDEX IF NOT EXISTS sessions_by_status ON sessions (status, expires_at_ms)",
    "CREATE TABLE IF NOT EXISTS payments (id TEXT PRIMARY KEY)",
)
TABLES = ("position", "transactions", "balances", "sessions", "payments")


def changes(record: Record) -> Iterator[Change]:
    """What this event changes in the tables, in order; nothing for events no list shows."""
    fold = _FOLDS.get(record.topic)
    if fold is not None:
        fields = {**record.fields, "id": str(record.originator_id), "position": record.position}
        yield from fold(fields)


def _move(fields: dict[str, Any], **row: Any) -> Iterator[Change]:  # noqa: ANN401 (column values)
    values = {"reference_id": None, "service": None, **fields, **row}
    yield Change(
        "INSERT INTO balances VALUES (:id, :amount) ON CONFLICT (account_id) "
        "DO UPDATE SET available = balances.available + :amount",
        values,
    )
    yield Change(
        "INSERT INTO transactions SELECT :position, :id, :kind, :amount, available, "
        ":reference_id, :service, :description, :at_ms FROM balances WHERE account_id = :id",
        values,
    )


def _purchased(fields: dict[str, Any]) -> Iterator[Change]:
    yield from _move(
        fields,
        kind="purchase",
        reference_id=fields["payment_id"],
        description=f"bought on {fields['rail']}",
    )


def _reserved(fields: dict[str, Any]) -> Iterator[Change]:
    yield from _move(
        fields,
        kind="reserve",
        amount=-fields["amount"],
        reference_id=fields["session_id"],
        description=f"reserved for {fields['service']}",
    )


def _settled(fields: dict[str, Any]) -> Iterator[Change]:
    whole = fields["charged"] + fields["refunded"]
    yield from _move(
        fields,
        kind="refund",
        amount=fields["refunded"],
        reference_id=fields["session_id"],
        description=f"charged {fields['charged']} of {whole} reserved, the rest returned",
    )


def _corrected(fields: dict[str, Any]) -> Iterator[Change]:
    yield from _move(
        fields,
        kind="adjustment",
        amount=fields["added"] - fields["removed"],
        description=f"correction of entry {fields['corrects_position']}: {fields['why']}",
    )


def _opened(fields: dict[str, Any]) -> Iterator[Change]:
    yield Change(
        "INSERT INTO sessions VALUES (:id, :position, :account_id, :bundle_id, :service, 'active', "
        "0, :reserved, 0, :at_ms, NULL, NULL, :expires_at_ms)",
        fields,
    )


def _set(assignments: str) -> Callable[[dict[str, Any]], Iterator[Change]]:
    statement = f"UPDATE sessions SET {assignments} WHERE id = :id"  # noqa: S608 (constants below)

    def fold(fields: dict[str, Any]) -> Iterator[Change]:
        yield Change(statement, fields)

    return fold


def _claimed(fields: dict[str, Any]) -> Iterator[Change]:
    yield Change("INSERT INTO payments VALUES (:id)", fields)


def _credited(fields: dict[str, Any]) -> Iterator[Change]:
    yield Change("DELETE FROM payments WHERE id = :id", fields)


def _rejected(fields: dict[str, Any]) -> Iterator[Change]:
    if fields["final"]:
        yield from _credited(fields)


_STARTED = "started_at_ms = COALESCE(started_at_ms, :at_ms)"
_FOLDS: dict[str, Callable[[dict[str, Any]], Iterator[Change]]] = {
    "account.credits_purchased": _purchased,
    "account.credits_reserved": _reserved,
    "account.reservation_settled": _settled,
    "account.credits_corrected": _corrected,
    "session.opened": _opened,
    "session.clock_resumed": _set(f"running = 1, {_STARTED}"),
    "session.clock_paused": _set("running = 0"),
    "session.characters_spoken": _set(_STARTED),
    "session.extended": _set("reserved = reserved + :reserved, expires_at_ms = :expires_at_ms"),
    "session.closed": _set(
        "status = 'settled', running = 0, charged = :charged, ended_at_ms = :at_ms"
    ),
    "payment.claimed": _claimed,
    "payment.credited": _credited,
    "payment.rejected": _rejected,
}
