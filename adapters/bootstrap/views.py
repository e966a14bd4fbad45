"""The lists by themselves, for an operator's hand: read as they are, or made anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from adapters.store.exclusive import held
from adapters.store.stored import StoredLog
from domain.ports.views import Views
from domain.record import Record
from projections.follow import Follower, Tables
from projections.rebuild import RebuildError, rebuild_sqlite
from projections.rows import NoTablesError
from projections.sqlite import SqliteTables
from projections.views import Selectable, StoredViews

__all__ = ["ListsAsTheyAre", "NoTablesError", "RebuildError", "rebuild", "stored_lists"]


class ClosingTables(Tables, Selectable, Protocol):
    """Tables of whichever store."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ListsAsTheyAre:
    """Views that nobody moves, and the last event they have seen."""

    views: Views
    position: int


@contextmanager
def stored_lists(data: Path, database: str) -> Iterator[ListsAsTheyAre]:
    """The lists of a folder or of a database; a gateway that runs may go on with them.

    `NoTablesError` where there are none.
    """
    with ExitStack() as stack:
        tables = _tables(data, database)
        stack.enter_context(closing(tables))
        position = tables.position
        # It has seen everything it is asked to see, and so writes nothing.
        follower = Follower(tables, read=lambda _after, _limit: (), head=position)
        stack.enter_context(closing(follower))
        yield ListsAsTheyAre(views=StoredViews(tables, follower), position=position)


def _tables(data: Path, database: str) -> ClosingTables:
    if not database:
        return SqliteTables(data / "views.db", read_only=True)
    from projections.postgres import PostgresTables  # noqa: PLC0415 (an extra)

    return PostgresTables(database, read_only=True)


def rebuild(data: Path, database: str, recorder: StoredLog, progress: Callable[[int], None]) -> int:
    """Make the lists anew from the log and put them in place; how many events they have seen.

    In a database gateways go on meanwhile; a data folder must not have one running
    (`FolderInUseError`).
    """

    def read(after: int, limit: int) -> tuple[Record, ...]:
        return recorder.records(after=after, limit=limit)

    if database:
        from projections.rebuild_postgres import rebuild_postgres  # noqa: PLC0415 (an extra)

        return rebuild_postgres(database, read, progress)
    with held(data):
        return rebuild_sqlite(data / "views.db", read, progress)
