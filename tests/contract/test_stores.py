"""What the ledger may expect of a store, whichever it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID

import pytest
from eventsourcing.persistence import ApplicationRecorder, IntegrityError, StoredEvent

from adapters.store.postgres import postgres_environment
from adapters.store.sqlite import sqlite_environment
from adapters.store.stored import StoredLog
from domain.account import Account
from domain.ledger import Ledger
from domain.money import Microcredits
from domain.snapshot import SnapshotStore
from tests.fakes.memory_store import memory_environment

AT_MS = 1_700_000_000_000
WRITERS = 4
BATCHES = 25


class Recorder(ApplicationRecorder, StoredLog, SnapshotStore):
    """What every store has: the library's own methods, and ours."""


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    match request.param:
        case "memory":
            return memory_environment()
        case "sqlite":
            return sqlite_environment(str(tmp_path / "ledger.db"))
        case _:
            return postgres_environment(request.getfixturevalue("database"))


@pytest.fixture
def ledger(environment: dict[str, str]) -> Iterator[Ledger]:
    with Ledger(env=environment) as opened:
        yield opened


@pytest.fixture
def recorder(ledger: Ledger) -> Recorder:
    return ledger.recorder  # type: ignore[return-value]  # the contract under test


def event(number: int, version: int = 1, state: bytes = b"{}") -> StoredEvent:
    return StoredEvent(
        originator_id=UUID(int=number), originator_version=version, topic="a.b", state=state
    )


def positions(recorder: Recorder) -> list[int]:
    return [record.position for record in recorder.scan()]


def test_a_new_store_is_empty(ledger: Ledger, recorder: Recorder) -> None:
    assert ledger.position == 0
    assert ledger.records(after=0, limit=10) == ()
    assert list(recorder.scan()) == []
    assert recorder.checkpoints() == ()
    assert ledger.load(UUID(int=1)) is None


def test_an_aggregate_comes_back_as_it_was(ledger: Ledger) -> None:
    account = Account.open(chain="evm", wallet="0x" + "1" * 40, at_ms=AT_MS)
    account.purchase(Microcredits(5), payment_id=UUID(int=1), rail="cash", at_ms=AT_MS + 1)

    ledger.append(account.collect_events())

    assert ledger.load(account.id) == account


def test_records_come_back_in_the_order_and_bytes_they_were_stored(
    ledger: Ledger, recorder: Recorder
) -> None:
    states = [b"{}", '{"name":"zażółć \U0001f600"}'.encode(), bytes(range(256)), b"x" * 1_000_000]

    recorder.insert_events([event(9 - n, state=state) for n, state in enumerate(states)])

    stored = tuple(recorder.scan())
    assert stored == ledger.records(after=0, limit=10)
    assert [(r.originator_id.int, r.state) for r in stored] == list(
        zip([9, 8, 7, 6], states, strict=True)
    )


def test_positions_count_on_from_one(recorder: Recorder) -> None:
    assert list(recorder.insert_events([event(1), event(2)]) or ()) == [1, 2]
    assert list(recorder.insert_events([event(3)]) or ()) == [3]
    assert positions(recorder) == [1, 2, 3]


def test_an_empty_batch_changes_nothing(recorder: Recorder) -> None:
    recorder.insert_events([event(1)])

    assert list(recorder.insert_events([]) or ()) == []
    assert list(recorder.insert_events([event(2)]) or ()) == [2]


def test_a_version_that_is_taken_is_a_conflict(recorder: Recorder) -> None:
    recorder.insert_events([event(1, version=1)])

    with pytest.raises(IntegrityError):
        recorder.insert_events([event(1, version=1, state=b'{"other":1}')])

    assert [r.state for r in recorder.scan()] == [b"{}"]


def test_a_version_named_twice_in_a_batch_is_a_conflict(recorder: Recorder) -> None:
    with pytest.raises(IntegrityError):
        recorder.insert_events([event(1), event(1)])

    assert positions(recorder) == []


def test_a_batch_is_stored_whole_or_not_at_all_and_leaves_no_hole(recorder: Recorder) -> None:
    recorder.insert_events([event(1)])

    with pytest.raises(IntegrityError):
        recorder.insert_events([event(2), event(3), event(1)])
    recorder.insert_events([event(4)])

    assert [(r.position, r.originator_id.int) for r in recorder.scan()] == [(1, 1), (2, 4)]
    assert list(recorder.select_events(UUID(int=2))) == []


def test_records_are_read_from_past_a_position(ledger: Ledger, recorder: Recorder) -> None:
    recorder.insert_events([event(n) for n in range(5)])

    assert [r.position for r in ledger.records(after=2, limit=2)] == [3, 4]
    assert ledger.records(after=5, limit=2) == ()
    assert ledger.position == 5


def test_notifications_are_cut_by_start_stop_and_topic(recorder: Recorder) -> None:
    recorder.insert_events([event(n) for n in range(5)])
    other = StoredEvent(originator_id=UUID(int=9), originator_version=1, topic="c.d", state=b"{}")
    recorder.insert_events([other])

    def ids(start: int | None, stop: int | None = None, topics: Sequence[str] = ()) -> list[int]:
        return [n.id for n in recorder.select_notifications(start, 10, stop, topics)]

    assert ids(None) == [1, 2, 3, 4, 5, 6]
    assert ids(3) == [3, 4, 5, 6]
    assert ids(2, 4) == [2, 3, 4]
    assert ids(None, None, ["c.d"]) == [6]


def test_the_events_of_an_aggregate_are_cut_by_version(recorder: Recorder) -> None:
    recorder.insert_events([event(1, version=v) for v in range(1, 7)])
    recorder.insert_events([event(2)])

    def versions(
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[int]:
        found = recorder.select_events(UUID(int=1), gt=gt, lte=lte, desc=desc, limit=limit)
        return [e.originator_version for e in found]

    assert versions() == [1, 2, 3, 4, 5, 6]
    assert versions(gt=2, lte=5) == [3, 4, 5]
    assert versions(desc=True, limit=2) == [6, 5]


def test_history_is_every_record_of_these_aggregates_by_position(recorder: Recorder) -> None:
    recorder.insert_events([event(2), event(1), event(3), event(2, version=2)])

    found = recorder.history([UUID(int=1), UUID(int=2), UUID(int=7)])

    assert [(r.position, r.originator_id.int) for r in found] == [(1, 2), (2, 1), (4, 2)]
    assert recorder.history([UUID(int=7)]) == ()


def test_a_long_log_is_scanned_to_its_end(recorder: Recorder) -> None:
    size = 10_001
    recorder.insert_events([event(number) for number in range(size)])

    assert positions(recorder) == list(range(1, size + 1))


def test_the_first_head_of_a_size_stays(recorder: Recorder) -> None:
    recorder.add_checkpoint(7, "the first")
    recorder.add_checkpoint(7, "another")
    recorder.add_checkpoint(3, "a smaller one")

    assert recorder.checkpoint(7) == "the first"
    assert recorder.checkpoint(8) is None
    assert recorder.checkpoints() == ((3, "a smaller one"), (7, "the first"))


def test_a_head_with_more_signatures_takes_the_place_of_its_own_size(recorder: Recorder) -> None:
    recorder.add_checkpoint(7, "signed")
    recorder.add_checkpoint(8, "the next")

    recorder.put_checkpoint(7, "signed and witnessed")
    recorder.put_checkpoint(9, "new")

    assert recorder.checkpoints() == (
        (7, "signed and witnessed"),
        (8, "the next"),
        (9, "new"),
    )


def test_the_last_snapshot_of_an_aggregate_is_kept(recorder: Recorder) -> None:
    assert isinstance(recorder, SnapshotStore)
    assert recorder.snapshot(UUID(int=1)) is None

    recorder.add_snapshots([event(1, version=100), event(2, version=100, state=b'{"of":2}')])
    recorder.add_snapshots([event(1, version=200, state=b'{"later":1}')])

    assert recorder.snapshot(UUID(int=1)) == event(1, version=200, state=b'{"later":1}')
    assert recorder.snapshot(UUID(int=2)) == event(2, version=100, state=b'{"of":2}')
    assert positions(recorder) == []


def run_writers(write: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))


def test_writers_at_once_leave_no_hole_and_no_batch_apart(recorder: Recorder) -> None:
    def write(writer: int) -> None:
        for batch in range(BATCHES):
            one = [event(writer + 1, version=batch * 3 + v) for v in (1, 2, 3)]
            first, second, third = recorder.insert_events(one) or ()
            assert [second, third] == [first + 1, first + 2]

    run_writers(write)

    assert positions(recorder) == list(range(1, WRITERS * BATCHES * 3 + 1))


def test_of_writers_of_the_same_version_one_wins(recorder: Recorder) -> None:
    won = []

    def write(writer: int) -> None:
        for version in range(1, BATCHES + 1):
            try:
                recorder.insert_events([event(1, version=version, state=b"%d" % writer)])
            except IntegrityError:
                continue
            won.append(version)

    run_writers(write)

    assert sorted(won) == list(range(1, BATCHES + 1))


def test_a_follower_of_busy_writers_misses_nothing(ledger: Ledger, recorder: Recorder) -> None:
    seen: list[int] = []
    is_over = threading.Event()

    def follow() -> None:
        while True:
            was_over = is_over.is_set()
            records = ledger.records(after=seen[-1] if seen else 0, limit=100)
            seen.extend(r.position for r in records)
            if was_over and not records:
                return

    follower = threading.Thread(target=follow)
    follower.start()
    run_writers(
        lambda writer: [  # type: ignore[arg-type]  # for its effect
            recorder.insert_events([event(writer + 1, version=v)]) for v in range(1, BATCHES + 1)
        ]
    )
    is_over.set()
    follower.join()

    assert seen == list(range(1, WRITERS * BATCHES + 1))
