from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest

from projections.fold import Batch, Known
from projections.follow import MissingRecordsError
from projections.postgres import PostgresTables
from projections.rows import TABLES
from projections.sqlite import SqliteTables
from tests.fakes.cluster import Cluster
from tests.fakes.past import Past

pytestmark = pytest.mark.postgres

PAST = Past(seed=5)
RECORDS = tuple(PAST.journal.records)


@pytest.fixture
def tables(database: str) -> Iterator[PostgresTables]:
    with closing(PostgresTables(database)) as opened:
        yield opened


def contents(url: str) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table."""
    with psycopg.connect(url, autocommit=True) as connection:
        return {
            table: sorted(
                connection.execute(f"SELECT * FROM payphone_views.{table}".encode()).fetchall(),  # noqa: S608 (our own names)
                key=repr,
            )
            for table in TABLES
        }


def in_sqlite(*batches: tuple[int, int]) -> dict[str, list[tuple[object, ...]]]:
    with closing(SqliteTables(":memory:")) as tables:
        for start, end in batches:
            tables.apply(RECORDS[start:end])
        return {
            table: sorted(map(tuple, tables._db.execute(f"SELECT * FROM {table}")), key=repr)  # noqa: S608 (our own names)
            for table in TABLES
        }


@pytest.mark.parametrize("seed", range(3))
def test_a_batch_leaves_the_rows_that_its_changes_leave_one_by_one(
    database: str, tables: PostgresTables, seed: int
) -> None:
    records = tuple(Past(seed=seed).journal.records)
    with closing(SqliteTables(":memory:")) as single:
        single.apply(records)
        expected = {
            table: sorted(map(tuple, single._db.execute(f"SELECT * FROM {table}")), key=repr)  # noqa: S608 (our own names)
            for table in TABLES
        }

    tables.apply(records)

    assert contents(database) == expected


def test_tables_rebuilt_from_nothing_equal_the_ones_that_followed(
    database: str, tables: PostgresTables
) -> None:
    tables.apply(RECORDS)
    followed = contents(database)

    tables.clear()
    assert tables.position == 0
    assert not any(contents(database).values())
    tables.apply(RECORDS)

    assert contents(database) == followed
    assert tables.position == len(RECORDS)


def test_rows_and_position_move_together(database: str, tables: PostgresTables) -> None:
    tables.apply(RECORDS[:50])
    before = contents(database)
    known = next(r for r in RECORDS if r.topic == "session.opened")
    again = replace(known, position=61)

    # A session that is opened twice collides: nothing of the batch may stay.
    with pytest.raises(psycopg.IntegrityError):
        tables.apply([*RECORDS[50:60], again])

    assert contents(database) == before
    assert tables.position == 50


def test_what_one_gateway_applied_the_others_skip(database: str, tables: PostgresTables) -> None:
    with closing(PostgresTables(database)) as other:
        tables.apply(RECORDS[:60])
        other.apply(RECORDS[40:80])
        tables.apply(RECORDS[60:])

    assert contents(database) == in_sqlite((0, len(RECORDS)))


def test_gateways_that_follow_at_once_apply_everything_once(database: str) -> None:
    def follow(_: int) -> None:
        with closing(PostgresTables(database)) as tables:
            while (position := tables.position) < len(RECORDS):
                tables.apply(RECORDS[position : position + 10])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(follow, range(4)))

    assert contents(database) == in_sqlite((0, len(RECORDS)))


def test_a_batch_that_leaves_a_gap_is_refused(tables: PostgresTables) -> None:
    tables.apply(RECORDS[:10])

    with pytest.raises(MissingRecordsError, match="at 10, asked to go on from 12"):
        tables.apply(RECORDS[11:20])


def test_tables_outlive_a_crash_of_the_server(server: Cluster) -> None:
    url = server.create_database()
    with closing(PostgresTables(url)) as tables:
        tables.apply(RECORDS[:20])
        server.kill()
        server.start()

        # What was not on disk yet is told again, from wherever the tables say they are.
        tables.apply(RECORDS[tables.position :])

    assert contents(url) == in_sqlite((0, len(RECORDS)))


def test_an_amount_may_be_larger_than_four_bytes(database: str, tables: PostgresTables) -> None:
    bought = next(r for r in RECORDS if r.topic == "account.credits_purchased")
    state = json.dumps({**bought.fields, "amount": 2**53 - 1}).encode()

    tables.apply([replace(bought, position=1, state=state)])

    assert contents(database)["balances"] == [(str(bought.originator_id), 2**53 - 1, 0, 1)]


def test_tables_of_another_shape_are_told_again(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA payphone_views")
        connection.execute("CREATE TABLE payphone_views.position (one bigint, position bigint)")
        connection.execute("INSERT INTO payphone_views.position VALUES (1, 7)")

    with closing(PostgresTables(database)) as tables:
        tables.apply(RECORDS)
    with closing(PostgresTables(database)) as again:
        assert again.position == len(RECORDS)

    assert contents(database) == in_sqlite((0, len(RECORDS)))


def test_a_batch_writes_each_row_once_and_each_table_at_most_twice() -> None:
    known = Known(balances={}, sessions={}, hour=None)

    writes = list(Batch(RECORDS).writes(known))

    tables = Counter(write.statement.table for write in writes)
    assert len(RECORDS) > 300
    assert max(tables.values()) <= 2
    for write in writes:
        keys = [row[0] for row in write.rows]
        assert len(set(keys)) == len(keys) or write.statement.table == "usage"
