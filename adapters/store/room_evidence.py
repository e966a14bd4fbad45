"""What room servers told of one session, word for word, beside what was made of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

Row = tuple[Any, ...]
Select = Callable[[LiteralString, Row], list[Row]]

_FACT: LiteralString = (
    "s.kind, s.connection, s.room, s.at_ms, s.since_ms, s.room_name, s.identity, s.received_ms "
)
_IS_OF: LiteralString = (
    "(s.session_id = %s OR (s.session_id IS NULL AND s.kind = 'finished' AND s.room IN "
    "(SELECT room FROM payphone_private.sightings WHERE session_id = %s))) "
)
_TOLD: LiteralString = (
    "SELECT d.id, d.issuer, d.received_ms, d.body, d.token, d.is_read, "
    + _FACT
    + "FROM payphone_private.deliveries d LEFT JOIN payphone_private.sightings s "
    "ON s.delivery_id = d.id WHERE d.session_id = %s OR " + _IS_OF + "ORDER BY d.received_ms, d.id"
)
_SEEN: LiteralString = (
    "SELECT "  # noqa: S608 (constants above)
    + _FACT
    + "FROM payphone_private.sightings s WHERE "
    + _IS_OF
    + "AND NOT EXISTS (SELECT 1 FROM payphone_private.deliveries d WHERE d.id = s.delivery_id) "
    "ORDER BY s.received_ms, s.delivery_id"
)
_FACT_FIELDS = ("kind", "connection", "room", "at_ms", "since_ms", "room_name", "identity")


def room_evidence(select: Select, session_id: UUID) -> dict[str, object]:
    """Deliveries as they came, each with what was read from it, and what was seen when asking."""
    key = str(session_id)
    return {
        "session_id": key,
        "deliveries": [_delivery(row) for row in select(_TOLD, (key, key, key))],
        "asked": [{**_fact(row), "kept_ms": row[-1]} for row in select(_SEEN, (key, key))],
    }


@contextmanager
def evidence_in_file(path: Path) -> Iterator[Select]:
    """Reads a data folder's `rooms.db`, which a gateway may be using."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        yield lambda text, row: db.execute(_plain(text), row).fetchall()


def _plain(statement: str) -> str:
    return statement.replace("payphone_private.", "").replace("%s", "?")


def _delivery(row: Row) -> dict[str, object]:
    delivery_id, issuer, received_ms, body, token, is_read, *fact = row
    return {
        "id": delivery_id,
        "issuer": issuer,
        "received_ms": received_ms,
        "body": body,
        "token": token,
        "is_read": bool(is_read),
        # Nothing, where it was not believed or says nothing that is billed.
        "fact": _fact(tuple(fact)) if fact[0] is not None else None,
    }


def _fact(row: Row) -> dict[str, object]:
    return dict(zip(_FACT_FIELDS, row[:-1], strict=True))
