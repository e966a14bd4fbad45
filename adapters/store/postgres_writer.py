"""Writes to PostgreSQL: one statement a batch, and a look at what became of it when in doubt."""

from __future__ import annotations

import hashlib
import logging
import struct
import threading
from collections.abc import Sequence
from time import monotonic

import psycopg
from eventsourcing.persistence import OperationalError, StoredEvent

from adapters.store import postgres_schema as sql
from adapters.store.fence import FencedError
from adapters.store.lease import Lease
from adapters.store.postgres_arrays import BIGINTS, BYTES, TEXTS, UUIDS, PackedArray
from adapters.store.postgres_connections import Connection, connect, translated
from domain.record import leaf_bytes

# How long a writer whose connection broke asks for the outcome before it says that it is unknown.
RESOLVE_S = 5.0
RESOLVE_PAUSE_S = 0.05
# Nobody waits for a lock for ever, and nobody who fell asleep holds one.
_SETTINGS = (
    "SET lock_timeout = '10s'; "
    "SET idle_in_transaction_session_timeout = '5s'; "
    "SET default_transaction_isolation = 'read committed'"
)

_BIGINT = struct.Struct("!q").pack

log = logging.getLogger(__name__)


class Writer:
    """The one connection of a process that writes events; any thread may use it, one at a time.

    When it breaks in the middle of a write, the writer looks what became of that write before it
    answers, and shuts out whatever of it may still be on the way by taking a new epoch.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._partition, self._owner, self._epoch = 0, "", 0
        # A write of which nobody knows whether it happened.
        self._doubt: Sequence[StoredEvent] = ()
        self._patience = threading.Event()

    def hold(self, lease: Lease) -> None:
        """Write from now on under this lease."""
        with self._lock:
            self._partition, self._owner, self._epoch = lease.partition, lease.owner, lease.epoch

    def append(self, events: Sequence[StoredEvent]) -> int:
        """Store the events; the position of the first."""
        with self._lock, translated():
            if self._doubt:
                self._look(self._doubt)
                self._doubt = ()
            return self._append(events)

    def close(self) -> None:
        with self._lock:
            self._hang_up()

    def _append(self, events: Sequence[StoredEvent]) -> int:
        writer = self._connection or self._connect()
        try:
            ((first,),) = writer.execute(
                sql.APPEND,
                (self._partition, self._epoch, *columns(events), batch_hash(events)),
                prepare=True,
                binary=True,
            ).fetchall()
        except psycopg.Error as failure:
            if failure.sqlstate == sql.FENCED:
                raise FencedError(str(failure)) from failure
            if not writer.closed:
                raise
            self._hang_up()
            return self._resolve(events, failure)
        return int(first)

    def _resolve(self, events: Sequence[StoredEvent], failure: psycopg.Error) -> int:
        """What became of a write whose connection broke; its first position if it was stored."""
        log.warning("connection lost in a write", extra={"events": len(events)})
        deadline = monotonic() + RESOLVE_S
        while True:
            try:
                first = self._look(events)
            except psycopg.OperationalError as still:
                self._hang_up()
                if monotonic() > deadline:
                    self._doubt = events
                    raise OperationalError(f"outcome unknown: {still}") from failure
                self._patience.wait(RESOLVE_PAUSE_S)
                continue
            if first is None:
                raise OperationalError("connection lost; nothing was stored") from failure
            return first

    def _look(self, events: Sequence[StoredEvent]) -> int | None:
        """Where these very events stand, or None; then the lost write can no longer happen."""
        writer = self._connect()
        with writer.transaction():
            # Behind the lock there is no write half done: it is in the table, or has not begun.
            writer.execute(sql.LOCK_ORDER)
            first = _place(writer, events)
            ((epoch, owner),) = writer.execute(sql.READ_LEASE, (self._partition,)).fetchall()
            if first is None:
                if owner != self._owner:
                    raise FencedError(f"partition {self._partition} has another owner: {owner}")
                writer.execute(sql.RAISE_EPOCH, (self._partition,))
        if first is None:
            self._epoch = epoch + 1
        return first

    def _connect(self) -> Connection:
        self._hang_up()
        writer = self._connection = connect(self._url)
        writer.execute(_SETTINGS)
        return writer

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def batch_hash(events: Sequence[StoredEvent]) -> bytes:
    """SHA-256 over the leaves of the batch, one a line: what `sha256sum` says of them."""
    return hashlib.sha256(
        b"".join(
            leaf_bytes(e.originator_id, e.originator_version, e.topic, e.state) + b"\n"  # type: ignore[arg-type]  # ids are UUIDs here
            for e in events
        )
    ).digest()


def columns(events: Sequence[StoredEvent]) -> tuple[PackedArray, ...]:
    """Ids, versions, topics and states, as the server reads arrays of them."""
    return (
        PackedArray.of(UUIDS, [event.originator_id.bytes for event in events]),  # type: ignore[union-attr]  # ids are UUIDs here
        PackedArray.of(BIGINTS, [_BIGINT(event.originator_version) for event in events]),
        PackedArray.of(TEXTS, [event.topic.encode() for event in events]),
        PackedArray.of(BYTES, [event.state for event in events]),
    )


def _place(connection: Connection, events: Sequence[StoredEvent]) -> int | None:
    rows = connection.execute(
        sql.SINCE_EVENT, (events[0].originator_id, events[0].originator_version, len(events))
    ).fetchall()
    theirs = [(e.originator_id, e.originator_version, e.topic, e.state) for e in events]
    if not rows or [tuple(row[1:]) for row in rows] != theirs:
        return None
    return int(rows[0][0])
