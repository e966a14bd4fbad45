from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest
from eventsourcing.persistence import IntegrityError, StoredEvent

from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.account import Account
from domain.ledger import Ledger
from domain.money import Microcredits
from tests.fakes.stored_house import ledger_at

AT_MS = 1_700_000_000_000
POOL_SIZE = 5
SYNCHRONOUS_FULL = 2


def account(wallet: str) -> Account:
    return Account.open(chain="evm", wallet=wallet, at_ms=AT_MS)


def pragma(recorder: LedgerRecorder, name: str) -> list[object]:
    """The setting on every connection the pool can hold."""
    found = []
    with ExitStack() as stack:
        for _ in range(POOL_SIZE):
            connection = stack.enter_context(recorder.datastore.get_connection(commit=False))
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA {name}")
            found.append(cursor.fetchone()[0])
    return found


def test_every_connection_flushes_its_commits(tmp_path: Path) -> None:
    with ledger_at(tmp_path) as (_, recorder):
        assert pragma(recorder, "synchronous") == [SYNCHRONOUS_FULL] * POOL_SIZE


def test_every_connection_writes_ahead(tmp_path: Path) -> None:
    with ledger_at(tmp_path) as (_, recorder):
        assert pragma(recorder, "journal_mode") == ["wal"] * POOL_SIZE


def test_events_come_back_in_the_order_and_bytes_they_were_stored(tmp_path: Path) -> None:
    one = account("0x" + "1" * 40)
    one.purchase(Microcredits(5), payment_id=UUID(int=1), rail="cash", at_ms=AT_MS + 1)
    with ledger_at(tmp_path) as (ledger, recorder):
        stored = ledger.append(one.collect_events())

        assert tuple(recorder.scan()) == stored == ledger.records(after=0, limit=10)
        assert ledger.load(one.id) == one

    with ledger_at(tmp_path) as (ledger, _):
        assert ledger.records(after=0, limit=10) == stored


def test_records_are_read_from_past_a_position(tmp_path: Path) -> None:
    with ledger_at(tmp_path) as (ledger, _):
        for number in range(5):
            ledger.append(account(f"0x{number:040x}").collect_events())

        assert [r.position for r in ledger.records(after=2, limit=2)] == [3, 4]
        assert ledger.records(after=5, limit=2) == ()
        assert ledger.position == 5


def test_positions_have_no_holes_after_a_failed_insert(tmp_path: Path) -> None:
    with ledger_at(tmp_path) as (ledger, recorder):
        ledger.append(account("0x" + "1" * 40).collect_events())
        fresh, known = account("0x" + "2" * 40), account("0x" + "1" * 40)

        with pytest.raises(IntegrityError):
            ledger.append([*fresh.collect_events(), *known.collect_events()])
        ledger.append(account("0x" + "3" * 40).collect_events())

        assert [record.position for record in recorder.scan()] == [1, 2]
        assert ledger.load(fresh.id) is None


def test_positions_go_on_after_a_restart(tmp_path: Path) -> None:
    with ledger_at(tmp_path) as (ledger, _):
        ledger.append(account("0x" + "1" * 40).collect_events())

    with ledger_at(tmp_path) as (ledger, _):
        records = ledger.append(account("0x" + "2" * 40).collect_events())

    assert [record.position for record in records] == [2]


def test_a_long_log_is_scanned_to_its_end(tmp_path: Path) -> None:
    size = 5_001
    with ledger_at(tmp_path) as (_, recorder):
        recorder.insert_events(
            [
                StoredEvent(
                    originator_id=UUID(int=number + 1),
                    originator_version=1,
                    topic="account.opened",
                    state=b"{}",
                )
                for number in range(size)
            ]
        )

        assert [record.position for record in recorder.scan()] == list(range(1, size + 1))


def test_the_first_head_of_a_size_stays(tmp_path: Path) -> None:
    with ledger_at(tmp_path) as (_, recorder):
        recorder.add_checkpoint(7, "the first")
        recorder.add_checkpoint(7, "another")
        recorder.add_checkpoint(3, "a smaller one")

        assert recorder.checkpoint(7) == "the first"
        assert recorder.checkpoint(8) is None
        assert recorder.checkpoints() == ((3, "a smaller one"), (7, "the first"))


def test_the_environment_of_the_process_does_not_reach_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The library would take these from the process, and history would be unreadable without them.
    monkeypatch.setenv("COMPRESSOR_TOPIC", "eventsourcing.compressor:ZlibCompressor")
    monkeypatch.setenv("SQLITE_DBNAME", "elsewhere.db")

    with Ledger(env=sqlite_environment(str(tmp_path / "ledger.db"))) as ledger:
        (record,) = ledger.append(account("0x" + "1" * 40).collect_events())

    assert record.state.startswith(b'{"at_ms":')
    assert (tmp_path / "ledger.db").exists()


def test_history_is_what_was_stored_of_these_aggregates(tmp_path: Path) -> None:
    one, two = account("0x" + "1" * 40), account("0x" + "2" * 40)
    with ledger_at(tmp_path) as (ledger, recorder):
        ledger.append([*one.collect_events(), *two.collect_events()])
        one.purchase(Microcredits(5), payment_id=UUID(int=1), rail="cash", at_ms=AT_MS)
        ledger.append(one.collect_events())

        assert [r.position for r in recorder.history([one.id])] == [1, 3]
        assert [r.position for r in recorder.history([two.id, one.id])] == [1, 2, 3]
        assert recorder.history([]) == ()
        assert recorder.history([UUID(int=9)]) == ()
