"""PostgreSQL as the ledger's store: one call a batch, positions without holes, a fence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    InfrastructureFactory,
    Notification,
    ProcessRecorder,
    StoredEvent,
    Subscription,
    TrackingRecorder,
)
from eventsourcing.utils import Environment

from adapters.store import postgres_schema as sql
from adapters.store.lease import Lease
from adapters.store.lines import checked
from adapters.store.postgres_connections import Readers, connect, translated
from adapters.store.postgres_writer import Writer, columns
from adapters.store.stored import NewerSchemaError
from domain.record import Record

VERSION_MAX = 2**63 - 1
POSITION_MIN = -(2**63)
SCAN_EVENTS = 2_000


class PostgresRecorder(ApplicationRecorder):
    """The library's recorder over our own tables; `insert_events` is one statement a batch.

    It writes under the lease it was given by `hold`, or without one while nobody ever had one.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        """`create=False` is for who only reads: nothing is made, and there must be a ledger."""
        self.url = url
        self._readers = Readers(url)
        self._writer = Writer(url)
        with translated():
            if create:
                self._create()
            else:
                self._check(self._readers.read(sql.READ_VERSION))

    def hold(self, lease: Lease) -> None:
        """Write from now on under this lease."""
        self._writer.hold(lease)

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:  # noqa: ANN401 (the library's signature)
        """Store the batch, all or nothing, and return the events' positions.

        IntegrityError where a version is taken, FencedError where the epoch is over, and
        OperationalError where nothing was stored or where, after some seconds, nobody can tell.
        """
        if not stored_events:
            return ()
        first = self._writer.append(stored_events)
        return range(first, first + len(stored_events))

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        rows = self._readers.read(
            sql.EVENTS_DOWN if desc else sql.EVENTS_UP,
            (originator_id, gt or 0, VERSION_MAX if lte is None else lte, limit),
        )
        return [_stored(row) for row in rows]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        first = POSITION_MIN if start is None else start if inclusive_of_start else start + 1
        chosen = list(topics) or None
        rows = self._readers.read(
            sql.NOTIFICATIONS,
            (first, VERSION_MAX if stop is None else stop, chosen, chosen, limit),
        )
        return [
            Notification(id=n, originator_id=i, originator_version=v, topic=t, state=s)
            for n, i, v, t, s in rows
        ]

    def max_notification_id(self) -> int | None:
        ((head,),) = self._readers.read(sql.HEAD)
        return None if head is None else int(head)

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        raise NotImplementedError("followers read by position and are told by their owner")

    def history(self, originator_ids: Sequence[UUID]) -> tuple[Record, ...]:
        """Every record of these aggregates, by position."""
        rows = self._readers.read(sql.HISTORY, (list(originator_ids),))
        return tuple(_record(row) for row in rows)

    def extent(self) -> tuple[int, int, int]:
        """How many events there are, the lowest position and the highest; 0 for none."""
        ((events, lowest, highest),) = self._readers.read(sql.EXTENT)
        return events, lowest, highest

    def lines(self, first: int, events: int) -> Callable[[], bytes]:
        """Reads the leaves at so many positions from `first` on, one a line, in any process."""
        return ServerLines(url=self.url, first=first, events=events)

    def records(self, *, after: int, limit: int) -> tuple[Record, ...]:
        """The first so many events past a position."""
        return tuple(map(_record, self._readers.read(sql.SCAN, (after, limit))))

    def scan(self) -> Iterator[Record]:
        """Every record in order, with whatever positions the table has."""
        # Rows at 0 and below are not ours, and a hand may have put them there.
        after = POSITION_MIN
        while rows := self._readers.read(sql.SCAN, (after, SCAN_EVENTS)):
            yield from map(_record, rows)
            after = rows[-1][0]

    def add_checkpoint(self, size: int, note: str) -> None:
        """Keep a signed head; the first one of a size stays."""
        self._readers.read(sql.ADD_CHECKPOINT, (size, note))

    def put_checkpoint(self, size: int, note: str) -> None:
        """Keep a signed head in place of the one of its size: the same with more signatures."""
        self._readers.read(sql.PUT_CHECKPOINT, (size, note))

    def checkpoints(self) -> tuple[tuple[int, str], ...]:
        """Every (size, note), smallest first."""
        return tuple(self._readers.read(sql.CHECKPOINTS))

    def checkpoint(self, size: int) -> str | None:
        rows = self._readers.read(sql.CHECKPOINT, (size,))
        return None if not rows else str(rows[0][0])

    def add_snapshots(self, snapshots: Sequence[StoredEvent]) -> None:
        """Keep one of each aggregate, in place of the one before."""
        self._readers.read(sql.ADD_SNAPSHOTS, columns(snapshots))

    def snapshot(self, originator_id: UUID) -> StoredEvent | None:
        rows = self._readers.read(sql.SNAPSHOT, (originator_id,))
        return _stored(rows[0]) if rows else None

    def close(self) -> None:
        self._writer.close()
        self._readers.close()

    def _check(self, rows: Sequence[tuple[Any, ...]]) -> None:
        ((version,),) = rows
        if version is not None and version > sql.SCHEMA_VERSION:
            raise NewerSchemaError(
                f"the ledger's tables have version {version}, this Payphone knows "
                f"{sql.SCHEMA_VERSION}: start the newer one that made them"
            )

    def _create(self) -> None:
        """Make what is missing; processes that start together take turns."""
        with connect(self.url) as connection, connection.transaction():
            connection.execute(sql.LOCK_SCHEMA)
            connection.execute(sql.TABLES)
            self._check(connection.execute(sql.READ_VERSION).fetchall())
            connection.execute(sql.CREATE_APPEND)
            connection.execute(sql.CREATE_LEASE)
            connection.execute(sql.WRITE_VERSION, (sql.SCHEMA_VERSION,))


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLines:
    """Leaves of a ledger, one a line, as the server joins them; for any process."""

    url: str
    first: int
    events: int

    def __call__(self) -> bytes:
        """The lines; ValueError where they are not so many, OSError where they cannot be read."""
        if self.events == 0:
            return b""
        try:
            with connect(self.url) as connection:
                ((data,),) = connection.execute(
                    sql.LINES, (self.first, self.first + self.events), binary=True
                ).fetchall()
        except psycopg.Error as failure:
            raise OSError(str(failure)) from failure
        return checked(data or b"", self.events)


def _stored(row: tuple[Any, ...]) -> StoredEvent:
    originator_id, originator_version, topic, state = row
    return StoredEvent(
        originator_id=originator_id,
        originator_version=originator_version,
        topic=topic,
        state=state,
    )


def _record(row: tuple[Any, ...]) -> Record:
    position, originator_id, originator_version, topic, state = row
    return Record(
        position=position,
        originator_id=originator_id,
        originator_version=originator_version,
        topic=topic,
        state=state,
    )


class Factory(InfrastructureFactory[TrackingRecorder]):
    """What `PERSISTENCE_MODULE=adapters.store.postgres` makes the library use."""

    def __init__(self, env: Environment) -> None:
        super().__init__(env)
        self._opened: list[PostgresRecorder] = []

    def application_recorder(self) -> ApplicationRecorder:
        recorder = PostgresRecorder(
            self.env["POSTGRES_URL"], create=self.env.get("CREATE_TABLE") != "no"
        )
        self._opened.append(recorder)
        return recorder

    def close(self) -> None:
        for recorder in self._opened:
            recorder.close()

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        raise NotImplementedError("the ledger has one table of events and nothing beside it")

    def tracking_recorder(
        self, tracking_recorder_class: type[TrackingRecorder] | None = None
    ) -> TrackingRecorder:
        raise NotImplementedError("projections keep their own position")

    def process_recorder(self) -> ProcessRecorder:
        raise NotImplementedError("projections keep their own position")


def postgres_environment(url: str) -> dict[str, str]:
    """The library's settings for a ledger in this database."""
    return {"PERSISTENCE_MODULE": "adapters.store.postgres", "POSTGRES_URL": url}
