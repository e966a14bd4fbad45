"""The tables of the lists, and the statements that change them, for whichever store has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

# Tables of another shape are made anew, and filled from the log.
SHAPE = 4
COLUMNS: dict[str, dict[str, str]] = {
    "position": {"one": "BIGINT PRIMARY KEY", "position": "BIGINT NOT NULL"},
    "transactions": {
        "position": "BIGINT PRIMARY KEY",
        "account_id": "TEXT NOT NULL",
        "kind": "TEXT NOT NULL",
        "amount": "BIGINT NOT NULL",
        "balance_after": "BIGINT NOT NULL",
        "reference_id": "TEXT",
        "service": "TEXT",
        "description": "TEXT NOT NULL",
        "at_ms": "BIGINT NOT NULL",
    },
    "balances": {
        "account_id": "TEXT PRIMARY KEY",
        "available": "BIGINT NOT NULL",
        "reserved": "BIGINT NOT NULL",
        "position": "BIGINT NOT NULL",
    },
    "sessions": {
        "id": "TEXT PRIMARY KEY",
        "position": "BIGINT NOT NULL",
        "account_id": "TEXT NOT NULL",
        "bundle_id": "TEXT",
        "service": "TEXT NOT NULL",
        "status": "TEXT NOT NULL",
        "running": "BIGINT NOT NULL",
        "reserved": "BIGINT NOT NULL",
        "charged": "BIGINT NOT NULL",
        "opened_at_ms": "BIGINT NOT NULL",
        "started_at_ms": "BIGINT",
        "ended_at_ms": "BIGINT",
        "expires_at_ms": "BIGINT NOT NULL",
        "reason": "TEXT NOT NULL",
    },
    "reservations": {
        "session_id": "TEXT PRIMARY KEY",
        "account_id": "TEXT NOT NULL",
        "service": "TEXT NOT NULL",
        "amount": "BIGINT NOT NULL",
        "since_ms": "BIGINT NOT NULL",
    },
    "usage": {
        "account_id": "TEXT NOT NULL",
        "service": "TEXT NOT NULL",
        "day": "BIGINT NOT NULL",
        "sessions": "BIGINT NOT NULL",
        "used": "BIGINT NOT NULL",
        "charged": "BIGINT NOT NULL",
    },
    "chart": {"account": "TEXT PRIMARY KEY", "amount": "BIGINT NOT NULL"},
    "hours": {"hour": "BIGINT PRIMARY KEY", "position": "BIGINT NOT NULL"},
    "payments": {"id": "TEXT PRIMARY KEY"},
    "payouts": {"id": "TEXT PRIMARY KEY"},
}
TABLES = tuple(COLUMNS)
_INDEXES = (
    "CREATE INDEX IF NOT EXISTS transactions_by_account ON transactions (account_id, position)",
    "CREATE INDEX IF NOT EXISTS sessions_by_account ON sessions (account_id, position)",
    # Settled sessions, which soon are nearly all, need no place in it.
    (
        "CREATE INDEX IF NOT EXISTS sessions_active ON sessions (expires_at_ms) "
        "WHERE status = 'active'"
    ),
    "CREATE UNIQUE INDEX IF NOT EXISTS usage_by_day ON usage (day, account_id, service)",
)
SCHEMA = (
    *(
        f"CREATE TABLE IF NOT EXISTS {table} "
        f"({', '.join(f'{name} {kind}' for name, kind in columns.items())})"
        for table, columns in COLUMNS.items()
    ),
    *_INDEXES,
)


class NoTablesError(Exception):
    """There are no lists to read, or they were made by another version of Payphone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One change of many rows of a table; the first column names the row to update or delete.

    `more` follows an insertion: what to do where the row is there.
    """

    verb: Literal["insert", "update", "delete"]
    table: str
    columns: tuple[str, ...]
    more: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """A statement and the rows it is for, each in the order of the statement's columns."""

    statement: Statement
    rows: Sequence[tuple[Any, ...]]


def _insert(table: str, more: str = "") -> Statement:
    return Statement(verb="insert", table=table, columns=tuple(COLUMNS[table]), more=more)


MOVE_POSITION = _insert("position", "ON CONFLICT (one) DO UPDATE SET position = excluded.position")
PUT_BALANCES = _insert(
    "balances",
    "ON CONFLICT (account_id) DO UPDATE SET available = excluded.available, "
    "reserved = excluded.reserved, position = excluded.position",
)
LIST_TRANSACTIONS = _insert("transactions")
OPEN_SESSIONS = _insert("sessions")
CHANGE_SESSIONS = Statement(
    verb="update",
    table="sessions",
    columns=(
        "id",
        "status",
        "running",
        "reserved",
        "charged",
        "started_at_ms",
        "ended_at_ms",
        "expires_at_ms",
        "reason",
    ),
)
ADD_RESERVATIONS = _insert(
    "reservations",
    "ON CONFLICT (session_id) DO UPDATE SET amount = reservations.amount + excluded.amount",
)
END_RESERVATIONS = Statement(verb="delete", table="reservations", columns=("session_id",))
ADD_USAGE = _insert(
    "usage",
    "ON CONFLICT (day, account_id, service) DO UPDATE SET "
    "sessions = usage.sessions + excluded.sessions, used = usage.used + excluded.used, "
    "charged = usage.charged + excluded.charged",
)
ADD_TO_CHART = _insert(
    "chart", "ON CONFLICT (account) DO UPDATE SET amount = chart.amount + excluded.amount"
)
MARK_HOURS = _insert("hours")
CLAIM_PAYMENTS = _insert("payments")
FINISH_PAYMENTS = Statement(verb="delete", table="payments", columns=("id",))
REQUEST_PAYOUTS = _insert("payouts")
FINISH_PAYOUTS = Statement(verb="delete", table="payouts", columns=("id",))
