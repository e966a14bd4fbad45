"""The lists made anew beside the old ones."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import psycopg
import pytest

from domain.record import Record
from projections.follow import Follower
from projections.postgres import PostgresTables
from projections.rebuild import RebuildError, rebuild_sqlite
from projections.rebuild_postgres import rebuild_postgres
from projections.sqlite import SqliteTables
from projections.views import StoredViews
from tests.fakes.past import Past

PAST = Past(seed=11)
RECORDS = tuple(PAST.journal.records)
BALANCES = "SELECT account_id, available, reserved, position FROM balances ORDER BY account_id"


def read(after: int, limit: int) -> tuple[Record, ...]:
    return RECORDS[after : after + min(limit, 50)]


def test_a_file_of_wrong_rows_is_replaced_by_one_of_right_ones(tmp_path: Path) -> None:
    path, told = tmp_path / "views.db", list[int]()
    with closing(SqliteTables(path)) as old:
        old.apply(RECORDS)
        expected = [tuple(row) for row in old.select(BALANCES, ())]
        old._db.execute("UPDATE balances SET available = 7")
        old._db.commit()

    assert rebuild_sqlite(path, read, told.append) == len(RECORDS)

    assert [p.name for p in tmp_path.iterdir()] == ["views.db"]
    with closing(SqliteTables(path, read_only=True)) as tables:
        assert [tuple(row) for row in tables.select(BALANCES, ())] == expected
        assert tables.position == len(RECORDS)
    assert told == [*range(50, len(RECORDS), 50), len(RECORDS)]


def test_a_rebuild_that_died_is_begun_again(tmp_path: Path) -> None:
    path = tmp_path / "views.db"
    with closing(SqliteTables(path)) as old:
        old.apply(RECORDS[:10])

    def dies(after: int, limit: int) -> tuple[Record, ...]:
        if after >= 100:
            raise KeyboardInterrupt
        return read(after, limit)

    with pytest.raises(KeyboardInterrupt):
        rebuild_sqlite(path, dies, lambda _: None)
    with closing(SqliteTables(path, read_only=True)) as still:
        assert still.position == 10

    assert rebuild_sqlite(path, read, lambda _: None) == len(RECORDS)


@pytest.mark.postgres
def test_gateways_read_whole_lists_before_during_and_after(database: str) -> None:
    with closing(PostgresTables(database)) as gateway:
        gateway.apply(RECORDS)
        expected = gateway.select(BALANCES, ())
        seen: list[bool] = []

        def looks(_: int) -> None:
            seen.append(gateway.select(BALANCES, ()) == expected)

        assert rebuild_postgres(database, read, looks) == len(RECORDS)

        assert seen
        assert all(seen)
        assert gateway.select(BALANCES, ()) == expected
        assert gateway.position == len(RECORDS)


@pytest.mark.postgres
def test_no_reader_meets_the_moment_of_the_swap(database: str) -> None:
    done = threading.Event()

    def reads(tables: PostgresTables) -> set[int]:
        seen = {tables.position}
        while not done.is_set():
            seen.add(len(tables.select(BALANCES, ())))
            seen.add(tables.position)
        return seen

    with ExitStack() as stack:
        gateways = [stack.enter_context(closing(PostgresTables(database))) for _ in range(2)]
        gateways[0].apply(RECORDS)
        pool = stack.enter_context(ThreadPoolExecutor(2))
        reading = [pool.submit(reads, gateway) for gateway in gateways]
        for _ in range(3):
            rebuild_postgres(database, read, lambda _: None)
        done.set()

        for seen in reading:
            assert seen.result(timeout=30) == {len(PAST.accounts), len(RECORDS)}


@pytest.mark.postgres
def test_wrong_rows_in_a_database_are_replaced_and_followers_go_on(database: str) -> None:
    log = list(RECORDS[:200])

    def logged(after: int, limit: int) -> tuple[Record, ...]:
        return tuple(log[after : after + limit])

    with closing(PostgresTables(database)) as tables:
        follower = Follower(tables, read=logged, head=200)
        views = StoredViews(tables, follower)
        with closing(follower):
            asyncio.run(views.caught_up(200))
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute("UPDATE payphone_views.balances SET available = 7")

            rebuild_postgres(database, logged, lambda _: None)
            log.extend(RECORDS[200:])
            follower.notify(len(RECORDS))
            asyncio.run(views.caught_up(len(RECORDS)))
            found = tables.select(BALANCES, ())

    assert [(row[0], row[1]) for row in found] == sorted(
        (str(a.id), a.available.value) for a in PAST.accounts
    )


@pytest.mark.postgres
def test_what_gateways_saw_while_the_lists_were_made_is_in_them(database: str) -> None:
    """A gateway runs ahead of what the rebuild has read: the rest is read under the lock."""
    with closing(PostgresTables(database)) as gateway:
        ahead = threading.Event()

        def behind(after: int, limit: int) -> tuple[Record, ...]:
            if after < 100:
                return RECORDS[after : min(after + limit, 100)]
            if not ahead.is_set():
                gateway.apply(RECORDS)
                ahead.set()
                return ()
            return RECORDS[after : after + limit]

        assert rebuild_postgres(database, behind, lambda _: None) == len(RECORDS)
        assert gateway.position == len(RECORDS)


@pytest.mark.postgres
def test_a_rebuild_in_a_database_that_died_is_begun_again(database: str) -> None:
    def dies(after: int, limit: int) -> tuple[Record, ...]:
        if after >= 100:
            raise KeyboardInterrupt
        return read(after, limit)

    with pytest.raises(KeyboardInterrupt):
        rebuild_postgres(database, dies, lambda _: None)

    assert rebuild_postgres(database, read, lambda _: None) == len(RECORDS)
    with psycopg.connect(database) as connection:
        rows = connection.execute("SELECT nspname FROM pg_namespace WHERE nspname ~ 'payphone'")
        assert rows.fetchall() == [("payphone_views",)]


@pytest.mark.postgres
def test_two_rebuilds_of_one_database_do_not_meet(database: str) -> None:
    def again(after: int, limit: int) -> tuple[Record, ...]:
        rebuild_postgres(database, read, lambda _: None)
        return read(after, limit)

    with pytest.raises(RebuildError, match="another process"):
        rebuild_postgres(database, again, lambda _: None)
