from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from uuid import UUID

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent

from adapters.store import postgres_writer
from adapters.store.postgres import PostgresRecorder, postgres_environment
from adapters.store.postgres_schema import FENCED
from adapters.store.stored import NewerSchemaError
from domain.account import Account
from domain.ledger import Ledger
from tests.fakes.cluster import Cluster
from tests.fakes.wire_cutter import WireCutter, wire_cutter

pytestmark = pytest.mark.postgres


def event(number: int, version: int = 1, state: bytes = b"{}") -> StoredEvent:
    return StoredEvent(
        originator_id=UUID(int=number), originator_version=version, topic="a.b", state=state
    )


def numbers(recorder: PostgresRecorder) -> list[tuple[int, int]]:
    return [(r.position, r.originator_id.int) for r in recorder.scan()]


def connection_of(recorder: PostgresRecorder) -> psycopg.Connection[tuple[object, ...]]:
    connection = recorder._writer._connection
    assert connection is not None
    return connection


def ask(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(statement.encode()).fetchall()


@pytest.fixture
def recorder(database: str) -> Iterator[PostgresRecorder]:
    with closing(PostgresRecorder(database)) as opened:
        yield opened


@contextmanager
def cut_off(database: str) -> Iterator[tuple[PostgresRecorder, WireCutter]]:
    """A recorder whose wire can be cut, with one event stored through it."""
    with wire_cutter(database, b"a.b") as (cutter, url), closing(PostgresRecorder(url)) as recorder:
        recorder.insert_events([event(1)])
        yield recorder, cutter


def test_a_write_that_never_arrived_is_refused_and_can_be_made_again(database: str) -> None:
    with cut_off(database) as (recorder, cutter):
        cutter.fault = "before"
        with pytest.raises(OperationalError, match="nothing was stored"):
            recorder.insert_events([event(2), event(3)])

        assert list(recorder.insert_events([event(2), event(3)])) == [2, 3]
        assert numbers(recorder) == [(1, 1), (2, 2), (3, 3)]


def test_a_write_whose_answer_was_lost_is_found_and_answered(database: str) -> None:
    with cut_off(database) as (recorder, cutter):
        cutter.fault = "after"
        positions = recorder.insert_events([event(2), event(3)])

        assert cutter.happened.is_set()
        assert list(positions) == [2, 3]
        assert numbers(recorder) == [(1, 1), (2, 2), (3, 3)]


def test_a_write_that_arrives_after_it_was_given_up_is_refused(database: str) -> None:
    with cut_off(database) as (recorder, cutter):
        cutter.fault = "late"
        with pytest.raises(OperationalError, match="nothing was stored"):
            recorder.insert_events([event(2)])
        answer = cutter.deliver()

        assert FENCED.encode() in answer
        assert numbers(recorder) == [(1, 1)]


def test_a_write_that_is_still_under_way_is_waited_for(database: str) -> None:
    waiting = b"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with (
        cut_off(database) as (recorder, cutter),
        psycopg.connect(database) as blocking,
        psycopg.connect(database, autocommit=True) as looking,
        ThreadPoolExecutor(1) as pool,
    ):
        # The write has passed the fence and stops before it is whole.
        blocking.execute("LOCK TABLE ledger_batches IN SHARE MODE")
        cutter.fault = "during"
        writing = pool.submit(recorder.insert_events, [event(2)])
        while looking.execute(waiting).fetchone() != (1,) and not writing.done():
            continue
        blocking.rollback()

        assert list(writing.result(timeout=10)) == [2]


def test_a_write_of_unknown_outcome_is_cleared_up_before_the_next(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_writer, "RESOLVE_S", 0.1)
    with cut_off(database) as (recorder, cutter):
        cutter.fault, cutter.unreachable = "late", True
        with pytest.raises(OperationalError, match="outcome unknown"):
            recorder.insert_events([event(2)])
        cutter.unreachable = False

        recorder.insert_events([event(3)])

        assert FENCED.encode() in cutter.deliver()
        assert numbers(recorder) == [(1, 1), (2, 3)]


def test_another_event_under_the_same_version_is_not_taken_for_the_lost_one(
    database: str, recorder: PostgresRecorder
) -> None:
    with cut_off(database) as (cut, cutter):
        cutter.fault = "late"
        recorder.insert_events([event(2, state=b'{"of":"another"}')])

        with pytest.raises(OperationalError, match="nothing was stored"):
            cut.insert_events([event(2), event(3)])


def test_a_backend_that_is_terminated_loses_no_later_write(
    database: str, recorder: PostgresRecorder
) -> None:
    recorder.insert_events([event(1)])
    ask(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )

    with pytest.raises(OperationalError, match="nothing was stored"):
        recorder.insert_events([event(2)])
    recorder.insert_events([event(2)])

    assert numbers(recorder) == [(1, 1), (2, 2)]


def test_reads_outlive_their_connections(database: str, recorder: PostgresRecorder) -> None:
    recorder.insert_events([event(1)])
    assert recorder.max_notification_id() == 1
    ask(
        database,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )

    assert recorder.max_notification_id() == 1


def test_a_crash_of_the_server_takes_nothing_that_was_acknowledged(
    server: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_writer, "RESOLVE_S", 0.1)
    with closing(PostgresRecorder(server.create_database())) as recorder:
        recorder.insert_events([event(1), event(2)])
        server.kill()
        with pytest.raises(OperationalError, match="outcome unknown"):
            recorder.insert_events([event(3)])
        server.start()

        recorder.insert_events([event(4)])
        assert numbers(recorder) == [(1, 1), (2, 2), (3, 4)]


def test_commits_wait_for_the_disk_whatever_the_server_prefers(
    database: str, recorder: PostgresRecorder
) -> None:
    assert ask(database, "SHOW synchronous_commit") == [("off",)]

    recorder.insert_events([event(1)])

    shown = connection_of(recorder).execute("SHOW synchronous_commit").fetchall()
    assert shown == [("on",)]


def test_a_batch_is_one_call_and_one_commit(database: str, recorder: PostgresRecorder) -> None:
    recorder.insert_events([event(0)])
    count = "SELECT calls FROM pg_stat_user_functions WHERE funcname = 'ledger_append'"
    writer = connection_of(recorder)
    writer.execute("SET track_functions = 'pl'")

    xid = "SELECT max(xmin::text::bigint) FROM ledger_batches"
    ((before,),) = ask(database, xid)
    recorder.insert_events([event(n) for n in range(1, 501)])
    ((after,),) = ask(database, xid)

    writer.execute("SELECT pg_stat_force_next_flush()")
    assert ask(database, count) == [(1,)]
    assert after == before + 1


def test_every_batch_is_chained_to_the_one_before(
    database: str, recorder: PostgresRecorder
) -> None:
    batches = [[event(1), event(2)], [event(3)], [event(1, version=2)]]
    for batch in batches:
        recorder.insert_events(batch)

    rows = ask(
        database, "SELECT first, last, count, hash, chain FROM ledger_batches ORDER BY first"
    )

    chain = b""
    for (first, last, count, digest, found), batch in zip(rows, batches, strict=True):
        leaves = [r.leaf for r in recorder.scan() if first <= r.position <= last]
        chain = hashlib.sha256(chain + digest + struct.pack(">qq", first, last)).digest()
        assert count == len(batch) == len(leaves)
        assert digest == hashlib.sha256(b"".join(leaf + b"\n" for leaf in leaves)).digest()
        assert found == chain


def test_listeners_hear_of_the_new_head(database: str, recorder: PostgresRecorder) -> None:
    with psycopg.connect(database, autocommit=True) as listener:
        listener.execute("LISTEN ledger_events")
        recorder.insert_events([event(1), event(2)])

        heard = next(listener.notifies(timeout=10, stop_after=1))

    assert heard.payload == "2"


def test_gateways_that_start_at_once_all_start(database: str) -> None:
    def start(number: int) -> None:
        with closing(PostgresRecorder(database)) as recorder:
            recorder.insert_events([event(number)])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(start, range(8)))

    with closing(PostgresRecorder(database)) as recorder:
        assert [position for position, _ in numbers(recorder)] == list(range(1, 9))


def test_gateways_that_write_at_once_leave_no_hole(database: str) -> None:
    def write(number: int) -> list[int]:
        with closing(PostgresRecorder(database)) as recorder:
            batches = [[event(number * 100 + n), event(number * 100 + 50 + n)] for n in range(25)]
            return [position for batch in batches for position in recorder.insert_events(batch)]

    with ThreadPoolExecutor(4) as pool:
        given = [position for positions in pool.map(write, range(4)) for position in positions]

    assert sorted(given) == list(range(1, 201))


@pytest.mark.usefixtures("recorder")
def test_tables_of_a_newer_payphone_are_left_alone(database: str) -> None:
    ask(database, "INSERT INTO ledger_schema VALUES (99) RETURNING version")

    with pytest.raises(NewerSchemaError, match="version 99, this Payphone knows 1"):
        PostgresRecorder(database)


def test_a_conflict_does_not_cost_the_connection(recorder: PostgresRecorder) -> None:
    recorder.insert_events([event(1)])
    writer = connection_of(recorder)

    with pytest.raises(IntegrityError):
        recorder.insert_events([event(1)])
    recorder.insert_events([event(2)])

    assert connection_of(recorder) is writer


def test_a_database_that_is_not_there_says_so() -> None:
    with pytest.raises(OperationalError):
        PostgresRecorder("postgresql://nobody@/nothing?host=/nowhere")


def test_the_environment_of_the_process_does_not_reach_the_ledger(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMPRESSOR_TOPIC", "eventsourcing.compressor:ZlibCompressor")
    monkeypatch.setenv("POSTGRES_URL", "postgresql://elsewhere")
    account = Account.open(chain="evm", wallet="0x" + "1" * 40, at_ms=1)

    with Ledger(env=postgres_environment(database)) as ledger:
        (record,) = ledger.append(account.collect_events())

    assert record.state.startswith(b'{"at_ms":')
