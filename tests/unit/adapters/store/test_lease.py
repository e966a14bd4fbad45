from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from uuid import UUID

import psycopg
import pytest
from eventsourcing.persistence import StoredEvent

from adapters.store.fence import FencedError
from adapters.store.lease import POLLS, TTL_MS, Lease, LeaseKeeper, Leases
from adapters.store.postgres import PostgresRecorder
from adapters.store.postgres_schema import LOCK_ORDER
from tests.fakes.cluster import Cluster
from tests.fakes.wire_cutter import wire_cutter

pytestmark = pytest.mark.postgres

# A lease that is over when it is given: what an owner who stopped renewing leaves behind.
LAPSED_MS = -1
TTL_SHORT_MS = 60
ADDRESS = "http://127.0.0.1:1"


def event(number: int) -> StoredEvent:
    return StoredEvent(
        originator_id=UUID(int=number), originator_version=1, topic="a.b", state=b"{}"
    )


@pytest.fixture
def recorder(database: str) -> Iterator[PostgresRecorder]:
    with closing(PostgresRecorder(database)) as opened:
        yield opened


@pytest.fixture
def leases(recorder: PostgresRecorder) -> Iterator[Leases]:
    with closing(Leases(recorder.url)) as opened:
        yield opened


def take(leases: Leases, owner: str, *, ttl_ms: int = TTL_MS) -> Lease:
    lease = leases.acquire(owner, address=ADDRESS, ttl_ms=ttl_ms)
    assert lease is not None
    return lease


def ids(recorder: PostgresRecorder) -> list[tuple[int, int]]:
    return [(r.position, r.originator_id.int) for r in recorder.scan()]


def test_one_owner_holds_the_lease(leases: Leases) -> None:
    first = take(leases, "first")

    assert leases.acquire("second", address=ADDRESS) is None
    assert leases.holder() == first
    assert first == Lease(partition=0, epoch=1, owner="first", address=ADDRESS)


def test_a_lease_that_lapsed_goes_to_the_next_in_a_new_epoch(leases: Leases) -> None:
    first = take(leases, "first", ttl_ms=LAPSED_MS)

    assert leases.holder() is None
    assert take(leases, "second").epoch == first.epoch + 1


def test_a_lapsed_lease_that_nobody_took_can_be_renewed(leases: Leases) -> None:
    first = take(leases, "first", ttl_ms=LAPSED_MS)

    assert leases.renew(first)
    assert leases.holder() == first


def test_a_lease_that_another_took_cannot_be_renewed(leases: Leases) -> None:
    first = take(leases, "first", ttl_ms=LAPSED_MS)
    second = take(leases, "second")

    assert not leases.renew(first)
    assert leases.holder() == second


def test_a_lease_given_back_is_free_at_once(leases: Leases) -> None:
    leases.release(take(leases, "first"))

    assert leases.holder() is None
    assert take(leases, "second").epoch == 2


def test_giving_back_anothers_lease_does_nothing(leases: Leases) -> None:
    first = take(leases, "first", ttl_ms=LAPSED_MS)
    second = take(leases, "second")

    leases.release(first)

    assert leases.holder() == second


def test_partitions_have_owners_of_their_own(leases: Leases) -> None:
    take(leases, "first")

    other = leases.acquire("second", address=ADDRESS, partition=1)

    assert other is not None
    assert leases.holder(1) == other


def test_of_many_that_want_a_lease_one_gets_it(leases: Leases) -> None:
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda n: leases.acquire(f"{n}", address=ADDRESS), range(8)))

    assert len([lease for lease in taken if lease is not None]) == 1


def test_an_owner_that_was_replaced_is_fenced(
    database: str, leases: Leases, recorder: PostgresRecorder
) -> None:
    recorder.hold(take(leases, "first", ttl_ms=LAPSED_MS))
    recorder.insert_events([event(1)])

    with closing(PostgresRecorder(database)) as successor:
        successor.hold(take(leases, "second"))
        with pytest.raises(FencedError):
            recorder.insert_events([event(2)])
        successor.insert_events([event(3)])

    assert ids(recorder) == [(1, 1), (2, 3)]


def test_a_writer_without_a_lease_is_fenced_once_there_was_one(
    leases: Leases, recorder: PostgresRecorder
) -> None:
    recorder.insert_events([event(1)])
    leases.release(take(leases, "first"))

    with pytest.raises(FencedError):
        recorder.insert_events([event(2)])


def test_a_lapsed_lease_writes_on_until_another_takes_it(
    leases: Leases, recorder: PostgresRecorder
) -> None:
    recorder.hold(take(leases, "first", ttl_ms=LAPSED_MS))

    recorder.insert_events([event(1)])

    assert ids(recorder) == [(1, 1)]


def test_taking_a_lease_waits_for_the_write_under_way(database: str, leases: Leases) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with (
        psycopg.connect(database) as writing,
        psycopg.connect(database, autocommit=True) as looking,
        ThreadPoolExecutor(1) as pool,
    ):
        writing.execute(LOCK_ORDER)
        taking = pool.submit(take, leases, "second")
        while looking.execute(waiting).fetchone() != (1,):
            assert not taking.done()
        writing.commit()

        assert taking.result(timeout=10).owner == "second"


def test_an_owner_that_lost_a_write_goes_on_under_its_lease(
    database: str, leases: Leases, recorder: PostgresRecorder
) -> None:
    with wire_cutter(database, b"a.b") as (cutter, url), closing(PostgresRecorder(url)) as cut:
        lease = take(leases, "first")
        cut.hold(lease)
        cutter.fault = "before"
        with pytest.raises(Exception, match="nothing was stored"):
            cut.insert_events([event(1)])

        assert leases.renew(lease)
        cut.insert_events([event(1)])

    assert ids(recorder) == [(1, 1)]


def test_an_owner_that_lost_a_write_and_its_lease_is_fenced(
    database: str, leases: Leases, recorder: PostgresRecorder
) -> None:
    with wire_cutter(database, b"a.b") as (cutter, url), closing(PostgresRecorder(url)) as cut:
        cut.hold(take(leases, "first", ttl_ms=LAPSED_MS))
        second = take(leases, "second")
        cutter.fault = "before"
        with pytest.raises(FencedError):
            cut.insert_events([event(1)])

    recorder.hold(second)
    assert list(recorder.insert_events([event(2)])) == [1]


class Owner:
    """Waits for what its keeper says."""

    def __init__(self, leases: Leases, address: str) -> None:
        self.taken = threading.Event()
        self.lost = threading.Event()
        self.keeper = LeaseKeeper(
            leases,
            address=address,
            taken=lambda _: self.taken.set(),
            lost=self.lost.set,
            ttl_ms=TTL_SHORT_MS,
        )


def test_a_dead_owner_is_replaced_within_five_seconds() -> None:
    assert TTL_MS + TTL_MS / POLLS < 5_000


def test_a_standby_takes_over_from_an_owner_that_leaves(leases: Leases) -> None:
    first = Owner(leases, "http://first")
    assert first.taken.wait(10)
    standby = Owner(leases, "http://standby")
    with closing(standby.keeper):
        first.keeper.close()

        assert standby.taken.wait(10)
        assert standby.keeper.held == leases.holder()
        assert not standby.lost.is_set()


def test_a_standby_knows_whom_to_ask(database: str, leases: Leases) -> None:
    holder = take(leases, "first")
    heard = threading.Event()

    class Telling(Leases):
        def holder(self, partition: int = 0) -> Lease | None:
            found = super().holder(partition)
            # The keeper asks twice a round; the third time it has kept the answer.
            asked.append(found)
            if len(asked) == 3:
                heard.set()
            return found

    asked: list[Lease | None] = []
    with closing(Telling(database)) as telling, closing(Owner(telling, "").keeper) as keeper:
        assert heard.wait(10)
        assert keeper.held is None
        assert keeper.holder == holder


def test_an_owner_that_was_asleep_is_told_that_it_lost_the_lease(
    database: str, leases: Leases
) -> None:
    owner = Owner(leases, ADDRESS)
    with closing(owner.keeper):
        assert owner.taken.wait(10)
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute("UPDATE ledger_leases SET owner = 'another', epoch = epoch + 1")

        assert owner.lost.wait(10)


def test_a_database_that_is_away_for_a_moment_costs_no_lease(server: Cluster) -> None:
    url = server.create_database()
    PostgresRecorder(url).close()
    with closing(Leases(url)) as leases:
        owner = Owner(leases, ADDRESS)
        with closing(owner.keeper):
            assert owner.taken.wait(10)
            lease = owner.keeper.held
            server.kill()
            server.start()

            assert leases.renew(lease) if lease else False
            assert not owner.lost.is_set()
