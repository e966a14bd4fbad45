"""The ledger in PostgreSQL, from one gateway process or from several at once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack, closing

import psycopg
from eventsourcing.persistence import OperationalError, PersistenceError

from adapters.bootstrap.log_parts import open_log
from adapters.bootstrap.parts import Books, Told
from adapters.bootstrap.problems import CannotStartError
from adapters.log_keys import LogKeys
from adapters.store.feed import Feed
from adapters.store.followed_log import FollowedLog
from adapters.store.lease import Leases
from adapters.store.listener import Listener
from adapters.store.postgres import PostgresRecorder, postgres_environment
from adapters.store.postgres_details import PostgresDetails
from adapters.store.postgres_room_log import PostgresTables as RoomTables
from adapters.store.room_log import StoredRoomLog
from adapters.store.shared import SharedBooks
from adapters.store.stored import NewerSchemaError
from adapters.store.trunk import PostgresTrunk
from domain.errors import GatewayError, LedgerDownError
from domain.ledger import Ledger
from domain.record import Record
from projections.follow import Follower
from projections.postgres import PostgresTables
from projections.views import StoredViews

log = logging.getLogger(__name__)


def open_postgres_books(
    url: str, keys: LogKeys, stack: AsyncExitStack | ExitStack, told: Told
) -> Books:
    """The books of this process; `CannotStartError` says what is wrong with the database."""
    try:
        return _open(url, keys, stack, told)
    except NewerSchemaError as newer:
        raise CannotStartError(str(newer)) from newer
    except (PersistenceError, psycopg.Error, GatewayError) as failure:
        text = str(failure).strip().partition("\n")[0]
        raise CannotStartError(
            f"cannot use the database ({text}): check PAYPHONE_DATABASE or --database, "
            "its password, and that the server runs"
        ) from failure


def _open(url: str, keys: LogKeys, stack: AsyncExitStack | ExitStack, told: Told) -> Books:
    ledger = stack.enter_context(Ledger(env=postgres_environment(url)))
    recorder = ledger.recorder
    assert isinstance(recorder, PostgresRecorder)  # noqa: S101 (the environment above says so)
    merkle = open_log(recorder, keys)
    tables = stack.enter_context(closing(PostgresTables(url)))
    read = _reader(ledger)
    follower = stack.enter_context(closing(Follower(tables, read=read, head=ledger.position)))

    def committed(records: tuple[Record, ...]) -> None:
        merkle.extend(records)
        follower.notify(records[-1].position)
        told(records)

    feed = Feed(read, position=merkle.size, sink=committed)
    leases = stack.enter_context(closing(Leases(url)))
    owner = SharedBooks(
        ledger,
        leases,
        committed=feed.take,
        became_owner=lambda: feed.reach(ledger.position),
        lost=lambda: log.info("ledger given away"),
    )
    stack.enter_context(closing(owner))
    merkle.sign_while(lambda: owner.is_owner)
    trunk = stack.enter_context(closing(PostgresTrunk(url)))

    def grown(head: int) -> None:
        try:
            feed.reach(head)
        except LedgerDownError as failure:
            log.warning("following stopped for now", extra={"failure": str(failure)})

    stack.enter_context(closing(Listener(url, grown=grown, asked=trunk.heard)))
    details = stack.enter_context(closing(PostgresDetails(url)))
    room_log = stack.enter_context(closing(StoredRoomLog(RoomTables(url))))
    return Books(
        owner=owner,
        views=StoredViews(tables, follower),
        details=details,
        room_log=room_log,
        log=FollowedLog(merkle, feed, head=lambda: ledger.position),
        merkle=merkle,
        keys=keys,
        trunk=trunk,
        attach=trunk.attach,
        is_alone=False,
        is_owner=lambda: owner.is_owner,
    )


def _reader(ledger: Ledger) -> Callable[[int, int], tuple[Record, ...]]:
    def read(after: int, limit: int) -> tuple[Record, ...]:
        try:
            return ledger.records(after=after, limit=limit)
        except OperationalError as failure:
            raise LedgerDownError from failure

    return read
