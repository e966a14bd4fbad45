"""The auditor's commands over a ledger that somebody has been at."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.persistence import StoredEvent

from adapters.__main__ import main
from adapters.keys import Ed25519Signer
from domain.checkpoint import SignerKey
from tests.fakes.busy import Busy
from tests.fakes.log import SIGNER_KEY
from tests.fakes.stored_house import ledger_at, merkle_log

# Throwaway: 32 bytes of 0x0a.
OTHER = Ed25519Signer(b"\x0a" * 32)
OTHER_KEY = SignerKey(name="other.test", public=OTHER.public)
RECORDS = tuple(Busy(accounts=2, overlap=2).records(60))
SIZE = len(RECORDS)
CLOSED = next(r for r in RECORDS if r.topic == "session.closed")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A ledger under signed heads of 20 events and of all."""
    folder = tmp_path / "data"
    folder.mkdir()
    with ledger_at(folder) as (_, recorder):
        log = merkle_log(recorder)
        for part in (RECORDS[:20], RECORDS[20:]):
            recorder.insert_events(
                [StoredEvent(r.originator_id, r.originator_version, r.topic, r.state) for r in part]
            )
            log.extend(part)
            log.checkpoint()
    (folder / "log.pub").write_text(SIGNER_KEY.text + "\n")
    return folder


class Screen:
    """Runs a command; what it printed, on one line."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object, status: int = 0) -> str:
        assert main([str(a) for a in arguments]) == status
        printed = self._capsys.readouterr()
        assert "Traceback" not in printed.err
        return " ".join((printed.out + printed.err).split())


@pytest.fixture
def payphone(capsys: pytest.CaptureFixture[str]) -> Screen:
    return Screen(capsys)


def tamper(folder: Path, *statements: str) -> None:
    connection = sqlite3.connect(folder / "ledger.db")
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def test_an_honest_ledger_is_verified(data: Path, payphone: Screen) -> None:
    text = payphone("ledger", "verify", "--data", data)

    assert f"VERIFIED {SIZE} events, 2 signed heads" in text
    assert SIGNER_KEY.text in text


MOVE = "UPDATE stored_events SET rowid = {} WHERE rowid = {}"
COPY = (
    "INSERT INTO stored_events (rowid, originator_id, originator_version, topic, state) "
    "SELECT {}, {}, {}, topic, state FROM stored_events WHERE rowid = 3"
)
SET = "UPDATE stored_events SET {} WHERE rowid = 7"
REPLACE = "UPDATE stored_events SET state = replace(state, '{}', '{}')"


@pytest.mark.parametrize(
    ("statements", "message"),
    [
        (["DELETE FROM stored_events WHERE rowid > 50"], f"51: truncated: expected {SIZE} events"),
        (["DELETE FROM stored_events WHERE rowid = 30"], "30: gap: expected 30, found 31"),
        ([MOVE.format(-1, 30), MOVE.format(30, 31), MOVE.format(31, -1)], "30: version"),
        (
            [
                "UPDATE stored_events SET rowid = -rowid - 1 WHERE rowid >= 30",
                "UPDATE stored_events SET rowid = -rowid WHERE rowid < 0",
                COPY.format(30, f"'{170:032x}'", 1),
            ],
            f"{SIZE}: signed head: expected root",
        ),
        ([COPY.format(-5, "originator_id", 99)], "1: gap: expected 1, found -5"),
        ([REPLACE.format("1000000000", "1000000001")], "20: signed head: expected root"),
        ([REPLACE.format('"used":', '"used": ')], ": state: expected canonical JSON"),
        ([SET.format("state = '{}'")], "7: content: expected a valid"),
        ([SET.format("state = x'ff'")], "7: content: expected a valid"),
        ([SET.format("state = NULL")], "7: row: expected a stored event"),
        ([SET.format("originator_id = 'me'")], "7: row: expected a stored event"),
        (
            [SET.format("topic = 'account.minted'")],
            "7: newer event: expected an event this version",
        ),
        (
            [REPLACE.format('"at_ms"', '"class_version":9,"at_ms"') + " WHERE rowid = 7"],
            "7: ",
        ),
        (
            ["UPDATE checkpoints SET note = replace(note, 'test', 'tset')"],
            "20: wrong key: expected",
        ),
        (["UPDATE checkpoints SET note = 'none'"], "20: signed head: expected a good signature"),
        (["UPDATE checkpoints SET size = -1 WHERE size = 20"], "signed heads: expected a size of"),
        (["UPDATE checkpoints SET size = 21 WHERE size = 20"], "21: signed head: expected root"),
        (["DROP TABLE checkpoints"], "no such table"),
        (["DROP TABLE stored_events"], "no such table"),
    ],
)
def test_a_ledger_that_was_changed_names_its_first_break(
    data: Path, payphone: Screen, statements: list[str], message: str
) -> None:
    tamper(data, *statements)

    assert message in payphone("ledger", "verify", "--data", data, status=1)


def test_a_ledger_under_another_key_says_so(data: Path, payphone: Screen) -> None:
    text = payphone("ledger", "verify", "--data", data, "--key", OTHER_KEY.text, status=1)

    assert "20: wrong key" in text
    assert f"it is signed by gateway.test (key hint {SIGNER_KEY.hint.hex()})" in text


def test_a_key_that_is_none_says_so(data: Path, payphone: Screen) -> None:
    (data / "log.pub").write_text("gateway.test+00\n")

    assert "WRONG KEY expected a verifier key" in payphone(
        "ledger", "verify", "--data", data, status=1
    )


@pytest.mark.parametrize("content", [b"", b"no database at all, but long enough to be one" * 90])
def test_a_file_that_is_no_database_says_so(data: Path, payphone: Screen, content: bytes) -> None:
    (data / "ledger.db").write_bytes(content)

    text = payphone("ledger", "verify", "--data", data, status=1)

    assert text.startswith("DAMAGED the database cannot be read: ")


def test_events_that_nobody_signed_for_yet_are_counted(data: Path, payphone: Screen) -> None:
    tamper(data, "DELETE FROM checkpoints WHERE size > 20")

    text = payphone("ledger", "verify", "--data", data)

    assert f"{SIZE - 20} events are not under a signed head yet" in text


def test_an_archive_is_written_and_verified(data: Path, tmp_path: Path, payphone: Screen) -> None:
    written = payphone("ledger", "export", "--data", data, "--out", tmp_path)
    path = tmp_path / f"log-{SIZE}.zip"

    verified = payphone("verify", path, "--key", data / "log.pub")

    assert f"{SIZE} events in 1 segments, 2 signed heads" in written
    assert f"VERIFIED {SIZE} events, 2 signed heads" in verified
    assert f"signer {SIGNER_KEY.text} (2 heads)" in verified
    assert "wrong key" in payphone("verify", path, "--key", OTHER_KEY.text, status=1)
    path.write_bytes(path.read_bytes()[:-5])
    assert "NOT VERIFIED position 0: file" in payphone("verify", path, status=1)


def test_an_archive_is_held_against_a_head_kept_from_before(
    data: Path, tmp_path: Path, payphone: Screen
) -> None:
    with ledger_at(data) as (_, recorder):
        kept = tmp_path / "kept"
        kept.write_text(recorder.checkpoint(SIZE) or "")
    tamper(
        data,
        "DELETE FROM stored_events WHERE rowid > 20",
        "DELETE FROM checkpoints WHERE size > 20",
    )
    path = tmp_path / "log.zip"
    payphone("ledger", "export", "--data", data, "--out", path)

    assert "VERIFIED 20 events" in payphone("verify", path)
    assert f"position 21: truncated: expected {SIZE} events" in payphone(
        "verify", path, "--checkpoint", kept, status=1
    )


def test_a_proof_is_made_for_any_position_and_size(data: Path, payphone: Screen) -> None:
    found: dict[str, Any] = json.loads(payphone("ledger", "proof", "--data", data, "--position", 7))
    older = json.loads(payphone("ledger", "proof", "--data", data, "--position", 7, "--size", 20))

    assert (found["position"], found["size"]) == (7, SIZE)
    assert (older["size"], older["leaf_hash"]) == (20, found["leaf_hash"])
    assert older["checkpoint"].startswith("gateway.test\n20\n")


def test_consistency_is_shown_between_two_sizes(data: Path, payphone: Screen) -> None:
    found = json.loads(payphone("ledger", "consistency", "--data", data, "--first", 20))

    assert (found["first"], found["second"]) == (20, SIZE)
    assert [note is not None for note in found["checkpoints"]] == [True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["proof"], f"--position is a whole number from 1 to {SIZE} (got None)"),
        (["proof", "--position", "0"], f"--position is a whole number from 1 to {SIZE} (got 0)"),
        (["proof", "--position", "9", "--size", "8"], "--position is a whole number from 1 to 8"),
        (["proof", "--position", "1", "--size", "999"], "--size is a whole number from 1 to"),
        (["consistency"], f"--first is a whole number from 1 to {SIZE} (got None)"),
        (["consistency", "--first", "9", "--second", "8"], "--first is a whole number from 1 to 8"),
        (["export"], "give a file or a folder to write to with --out"),
        (["replay", "--session", "00000000-0000-0000-0000-000000000001"], "no session 00000000"),
        (["bill"], "no session None (give one with --session)"),
    ],
)
def test_what_cannot_be_asked_is_answered_with_what_can(
    data: Path, payphone: Screen, arguments: list[str], message: str
) -> None:
    assert message in payphone("ledger", *arguments, "--data", data, status=2)


def test_a_folder_without_a_ledger_says_so(tmp_path: Path, payphone: Screen) -> None:
    assert "no ledger: " in payphone("ledger", "verify", "--data", tmp_path, status=2)


def test_a_bill_is_replayed_and_compared(data: Path, tmp_path: Path, payphone: Screen) -> None:
    session = ("--data", data, "--session", CLOSED.originator_id)
    bill = tmp_path / "bill.json"
    payphone("ledger", "bill", *session, "--out", bill)

    same = payphone("ledger", "replay", *session, "--bill", bill)
    assert same.startswith("SAME the bill is the ledger's, byte for byte: 8 events")
    issued = json.loads(bill.read_text())

    paused = issued["evidence"]["events"][5]
    paused["state"]["used_ms"] += 1
    issued["statement"]["totals"]["used"] += 1
    bill.write_text(json.dumps(issued))
    differs = payphone("ledger", "replay", *session, "--bill", bill, status=1)
    used_ms = paused["state"]["used_ms"]
    assert differs == (
        f"DIFFERS event at position {paused['position']} (session.clock_paused) "
        f"field state.used_ms expected {used_ms - 1} (the ledger's) found {used_ms} (the bill's)"
    )


def test_a_session_whose_events_make_no_bill_names_the_first_that_contradicts(
    data: Path, payphone: Screen
) -> None:
    session = ("--data", data, "--session", CLOSED.originator_id)
    paused = next(
        r
        for r in RECORDS
        if r.topic == "session.clock_paused" and r.originator_id == CLOSED.originator_id
    )
    used_ms = paused.fields["used_ms"]
    tamper(
        data,
        "DELETE FROM checkpoints",
        f"{REPLACE} WHERE rowid = {paused.position}".format(
            f'"used_ms":{used_ms}', f'"used_ms":{used_ms + 1}'
        ),
    )

    assert payphone("ledger", "replay", *session, status=1) == (
        f"BROKEN position {paused.position}: session.clock_paused: "
        f"used at position {paused.position}: expected {used_ms}, found {used_ms + 1}"
    )


def test_a_session_that_is_open_has_no_bill_yet(data: Path, payphone: Screen) -> None:
    ended = {r.originator_id for r in RECORDS if r.topic == "session.closed"}
    session = next(
        r.originator_id
        for r in RECORDS
        if r.topic == "session.opened" and r.originator_id not in ended
    )

    for action in ("replay", "bill"):
        text = payphone("ledger", action, "--data", data, "--session", session, status=2)
        assert "is still open" in text


def test_a_bill_that_lacks_an_event_or_has_one_too_many_differs_there(
    data: Path, tmp_path: Path, payphone: Screen
) -> None:
    session = ("--data", data, "--session", CLOSED.originator_id)
    bill = tmp_path / "bill.json"
    payphone("ledger", "bill", *session, "--out", bill)
    issued = json.loads(bill.read_text())
    gone = issued["evidence"]["events"].pop()

    bill.write_text(json.dumps(issued))
    assert f"DIFFERS event at position {gone['position']} (" in payphone(
        "ledger", "replay", *session, "--bill", bill, status=1
    )
    issued["evidence"]["events"] += [gone, {**gone, "position": 999}]
    bill.write_text(json.dumps(issued))
    assert "DIFFERS event at position 999" in payphone(
        "ledger", "replay", *session, "--bill", bill, status=1
    )


def test_a_bill_under_a_head_the_ledger_never_had_differs_there(
    data: Path, tmp_path: Path, payphone: Screen
) -> None:
    session = ("--data", data, "--session", CLOSED.originator_id)
    bill = tmp_path / "bill.json"
    payphone("ledger", "bill", *session, "--out", bill)
    tamper(data, "DELETE FROM checkpoints")
    tamper(data, "UPDATE stored_events SET state = replace(state, '1000000000', '1000000001')")

    assert "BROKEN root over" in payphone("ledger", "replay", *session, "--bill", bill, status=1)
