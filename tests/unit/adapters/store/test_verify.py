from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from eventsourcing.persistence import StoredEvent

from adapters.keys import check_signature
from adapters.store.archive import in_processes
from adapters.store.audit import audit, bills
from adapters.store.postgres import PostgresRecorder
from adapters.store.sqlite import LedgerRecorder
from adapters.store.verify import LinedLog, Verified, verify
from domain.archive_audit import Run
from domain.breaks import BrokenHistoryError
from domain.checkpoint import SignerKey
from domain.record import Record
from tests.fakes.archive import heads_over
from tests.fakes.bills import Tale
from tests.fakes.log import SIGNER_KEY
from tests.fakes.stored_house import ledger_at

TALE = Tale(steps=(("resume", 1), ("wait", 10_000), ("pause", 1), ("extend", 60_000)))
RECORDS = tuple(TALE.journal.records)
BLOCK = 4


def filled(recorder: LedgerRecorder | PostgresRecorder) -> None:
    recorder.insert_events([stored(record) for record in RECORDS])
    for size, note in heads_over(RECORDS, [0, 5, len(RECORDS)]):
        recorder.add_checkpoint(size, note)


def stored(record: Record) -> StoredEvent:
    return StoredEvent(
        originator_id=record.originator_id,
        originator_version=record.originator_version,
        topic=record.topic,
        state=record.state,
    )


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[LedgerRecorder]:
    with ledger_at(tmp_path) as (_, made):
        filled(made)
        yield made


def run(log: LinedLog, keys: tuple[SignerKey, ...] = (SIGNER_KEY,), run: Run = map) -> Verified:
    return verify(
        log,
        keys=keys,
        check=check_signature,
        progress=lambda _: None,
        run=run,
        block_events=BLOCK,
    )


def slowly(log: LinedLog) -> Verified:
    """What the replay event by event says of it."""
    found = audit(
        log.scan(),
        checkpoints=log.checkpoints(),
        key=SIGNER_KEY,
        check=check_signature,
        progress=lambda _: None,
    )
    return Verified(
        events=found.events,
        heads=found.checkpoints,
        bills=sum(1 for _ in bills(log.scan(), found.aggregates)),
        total=found.books.total,
        root=found.root,
    )


def edit(recorder: LedgerRecorder, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(recorder.datastore.pool.db_name, uri=True)) as connection:
        connection.execute(statement, values)
        connection.commit()


def test_an_honest_ledger_holds_as_it_does_event_by_event(recorder: LedgerRecorder) -> None:
    found = run(recorder)

    assert found == slowly(recorder)
    assert (found.events, found.heads, found.bills, found.total) == (len(RECORDS), 3, 1, 0)


@pytest.mark.postgres
def test_a_ledger_in_postgresql_holds_as_it_does_event_by_event(database: str) -> None:
    with closing(PostgresRecorder(database)) as recorder:
        filled(recorder)

        assert run(recorder) == slowly(recorder)


def test_every_core_may_help(recorder: LedgerRecorder) -> None:
    assert run(recorder, run=in_processes) == run(recorder)


def test_an_empty_ledger_holds_with_its_signed_head(tmp_path: Path) -> None:
    with ledger_at(tmp_path) as (_, recorder):
        recorder.add_checkpoint(*heads_over((), [0])[0])

        assert run(recorder) == slowly(recorder)


def test_without_a_key_no_head_is_checked(recorder: LedgerRecorder) -> None:
    edit(recorder, "UPDATE checkpoints SET note = 'x'")

    assert run(recorder, keys=()).heads == 0


def test_a_state_that_a_hand_made_text_is_the_same_bytes(recorder: LedgerRecorder) -> None:
    edit(recorder, "UPDATE stored_events SET state = CAST(state AS TEXT) WHERE rowid = 3")

    assert run(recorder).events == len(RECORDS)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM stored_events WHERE rowid = 3",
        "DELETE FROM stored_events WHERE rowid = (SELECT max(rowid) FROM stored_events)",
        "UPDATE stored_events SET rowid = -1 WHERE rowid = 1",
        "UPDATE stored_events SET rowid = 100 WHERE rowid = 3",
        "UPDATE stored_events SET originator_version = 9 WHERE rowid = 3",
        "UPDATE stored_events SET originator_version = 'x' WHERE rowid = 3",
        "UPDATE stored_events SET originator_id = 'x' WHERE rowid = 3",
        "UPDATE stored_events SET topic = 'account.minted' WHERE rowid = 3",
        "UPDATE stored_events SET topic = x'00' WHERE rowid = 3",
        "UPDATE stored_events SET state = x'7b7d' WHERE rowid = 3",
        "UPDATE stored_events SET state = state || x'0a' WHERE rowid = 3",
        "UPDATE stored_events SET state = state || x'00' WHERE rowid = 3",
        "UPDATE stored_events SET state = replace(state, '\"at_ms\":', '\"at_ms\":1')",
        "UPDATE stored_events SET state = replace(state, '\"used\":', '\"used\":1')",
        "UPDATE checkpoints SET note = replace(note, char(10) || '5' || char(10), char(10))",
        "UPDATE checkpoints SET size = 4 WHERE size = 5",
        "UPDATE checkpoints SET size = -4 WHERE size = 5",
        "UPDATE checkpoints SET size = size + 100 WHERE size > 5",
    ],
)
def test_a_break_is_named_as_it_is_event_by_event(recorder: LedgerRecorder, statement: str) -> None:
    edit(recorder, statement)

    with pytest.raises(BrokenHistoryError) as broken:
        run(recorder)

    with pytest.raises(BrokenHistoryError) as exactly:
        slowly(recorder)
    assert str(broken.value) == str(exactly.value)


def test_two_events_in_one_row_are_not_taken_for_two(recorder: LedgerRecorder) -> None:
    """The bytes between two rows, put into the first, spell the very same lines."""
    first, second = RECORDS[2], RECORDS[3]
    opening = second.leaf[: second.leaf.index(second.state)]
    joined = first.state + f',"topic":"{first.topic}"}}\n'.encode() + opening + second.state
    edit(
        recorder,
        "UPDATE stored_events SET state = ?, topic = ? WHERE rowid = 3",
        joined,
        second.topic,
    )
    edit(recorder, "DELETE FROM stored_events WHERE rowid = 4")

    with pytest.raises(BrokenHistoryError):
        run(recorder)


@pytest.mark.postgres
def test_lines_of_postgresql_are_its_leaves(database: str) -> None:
    with closing(PostgresRecorder(database)) as recorder:
        filled(recorder)

        lines = recorder.lines(2, 5)()

    assert lines == b"".join(record.leaf + b"\n" for record in RECORDS[1:6])


def test_lines_of_a_file_are_its_leaves(recorder: LedgerRecorder) -> None:
    assert recorder.lines(2, 5)() == b"".join(r.leaf + b"\n" for r in RECORDS[1:6])


def test_lines_that_are_not_there_are_not_made_up(recorder: LedgerRecorder) -> None:
    with pytest.raises(ValueError, match="0 lines for 5 events"):
        recorder.lines(1_000, 5)()


def test_a_service_that_nobody_sold_is_a_break_and_no_crash(recorder: LedgerRecorder) -> None:
    edit(recorder, "DELETE FROM checkpoints")
    edit(
        recorder,
        """UPDATE stored_events SET state = replace(state, '"service":"stt"', '"service":"fax"') """
        "WHERE topic = 'session.opened'",
    )

    with pytest.raises(BrokenHistoryError, match="no tariff for fax"):
        run(recorder)


def test_an_edit_that_only_the_blocks_can_see_is_still_a_break(recorder: LedgerRecorder) -> None:
    """Event by event, a session of an account that never reserved for it passes."""
    edit(recorder, "DELETE FROM checkpoints")
    edit(
        recorder,
        "UPDATE stored_events SET state = replace(state, ?, ?) WHERE topic = 'session.opened'",
        str(TALE.account.id),
        "0" * 8 + str(TALE.account.id)[8:],
    )

    with pytest.raises(BrokenHistoryError, match="an event of account 00000000"):
        run(recorder)
