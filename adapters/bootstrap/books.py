"""The ledger, its log and its lists: in one data folder, or in a database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

from adapters.bootstrap.log_parts import open_log
from adapters.bootstrap.parts import Books, Told
from adapters.bootstrap.problems import CannotStartError
from adapters.config import Settings
from adapters.log_keys import PUBLIC, LogKeys, load_log_keys
from adapters.store.exclusive import held, joined, turn
from adapters.store.owner import LedgerOwner
from adapters.store.private import SqliteDetails
from adapters.store.room_log import SqliteTables as RoomTables
from adapters.store.room_log import StoredRoomLog
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.ledger import Ledger
from domain.ports.books import Books as RunsCommands
from domain.record import Record
from domain.switchboard import NoTrunk
from projections.follow import Follower
from projections.sqlite import SqliteTables
from projections.views import StoredViews

HEAD_MS = 60_000

log = logging.getLogger(__name__)


@contextmanager
def folder_of(settings: Settings) -> Iterator[None]:
    """Use the data folder: alone where the ledger is in it, else beside others."""
    with (joined if settings.storage.database else held)(settings.storage.data):
        yield


def open_books(
    settings: Settings, url: str, stack: AsyncExitStack | ExitStack, told: Told
) -> Books:
    """The ledger with its log and lists; closed in the order that loses nothing.

    `told` hears of what other processes write, too.
    """
    keys = _log_keys(settings, url)
    if not settings.storage.database:
        return _open_folder(settings.storage.data, keys, stack)
    if find_spec("psycopg") is None:
        raise CannotStartError(
            "a ledger in PostgreSQL needs its driver: pip install 'payphone[postgres]'"
        )
    # Only who keeps the ledger there has the driver.
    from adapters.bootstrap.postgres_books import open_postgres_books  # noqa: PLC0415 (an extra)

    return open_postgres_books(settings.storage.database, keys, stack, told)


def _open_folder(data: Path, keys: LogKeys, stack: AsyncExitStack | ExitStack) -> Books:
    ledger = stack.enter_context(Ledger(env=sqlite_environment(str(data / "ledger.db"))))
    recorder = ledger.recorder
    assert isinstance(recorder, LedgerRecorder)  # noqa: S101 (the environment above says so)
    merkle = open_log(recorder, keys)
    tables = stack.enter_context(closing(SqliteTables(data / "views.db")))
    follower = stack.enter_context(
        closing(
            Follower(
                tables,
                read=lambda after, limit: ledger.records(after=after, limit=limit),
                head=ledger.position,
            )
        )
    )

    def committed(records: tuple[Record, ...]) -> None:
        merkle.extend(records)
        follower.notify(records[-1].position)

    owner = LedgerOwner(ledger, history=recorder.history, committed=committed)
    stack.enter_context(closing(owner))
    details = stack.enter_context(closing(SqliteDetails(data / "private.db")))
    room_log = stack.enter_context(closing(StoredRoomLog(RoomTables(data / "rooms.db"))))
    return Books(
        owner=owner,
        views=StoredViews(tables, follower),
        details=details,
        room_log=room_log,
        log=merkle,
        merkle=merkle,
        keys=keys,
        trunk=NoTrunk(),
        attach=lambda _switchboard: None,
        is_alone=True,
        is_owner=lambda: True,
    )


@contextmanager
def idle_books(settings: Settings) -> Iterator[RunsCommands]:
    """The ledger for an operator's hand.

    One in a folder must belong to a gateway that is stopped; in a database commands go through the
    gateway that owns the ledger, or through this process where none does.
    """
    data, database = settings.storage.data, settings.storage.database
    if not database and not (data / "ledger.db").is_file():
        raise CannotStartError(
            f"no ledger in {data}: give the gateway's data folder with --data, or --database"
        )
    if not (data / PUBLIC).is_file():
        raise CannotStartError(f"no log.pub in {data}: give the gateway's data folder with --data")
    with ExitStack() as stack:
        stack.enter_context(folder_of(settings))
        yield open_books(settings, "", stack, lambda _records: None).owner


def _log_keys(settings: Settings, url: str) -> LogKeys:
    """The log's keys; processes that start together take turns, so that they agree."""
    data = settings.storage.data
    name = settings.log.name or url.partition("://")[2].partition("/")[0]
    with turn(data):
        return load_log_keys(data, name=name)


async def sign_heads(books: Books) -> None:
    """Sign the log's head by time, so that even a quiet hour is pinned down; one process does."""
    while True:
        await asyncio.sleep(HEAD_MS / 1_000)
        if not books.is_owner():
            continue
        try:
            await asyncio.to_thread(books.merkle.checkpoint)
        except Exception:
            log.exception("signing the log failed")
