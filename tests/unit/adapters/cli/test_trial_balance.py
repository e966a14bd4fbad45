"""The books at a position and at a time, on the screen and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.persistence import StoredEvent

from adapters.__main__ import main
from adapters.cli.evidence import UsageError
from adapters.cli.trial_balance import parse_time
from domain.postings import balance_at
from tests.fakes.bills import Tale
from tests.fakes.stored_house import ledger_at

TALE = Tale(steps=(("resume", 1), ("wait", 30_000), ("crash", 0), ("extend", 60_000)))
RECORDS = tuple(TALE.journal.records)
SETTLED = next(r for r in RECORDS if r.topic == "account.reservation_settled")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with ledger_at(tmp_path) as (_, recorder):
        recorder.insert_events(
            [StoredEvent(r.originator_id, r.originator_version, r.topic, r.state) for r in RECORDS]
        )
    return tmp_path


def shown(data: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    arguments = ["ledger", "trial-balance", "--data", str(data), "--format", "json", *options]
    assert main(arguments) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_at_a_position_the_books_are_as_they_were_written(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    position = SETTLED.position - 1

    found = shown(data, capsys, "--at", str(position), "--by-account")

    expected = balance_at(RECORDS, position=position)
    assert found == {
        "position": position,
        "at_ms": None,
        "events": position,
        "total": 0,
        "by": "account",
        "rows": expected.by_account(),
    }
    assert found["rows"][f"wallet:{TALE.account.id}:reserved"] == 12_001


def test_at_a_time_the_books_are_of_what_was_so(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = shown(data, capsys, "--at-time", "2023-11-14T23:13:20+01:00")

    assert (found["at_ms"], found["position"]) == (1_700_000_000_000, len(RECORDS))
    assert found["events"] == sum(r.fields["at_ms"] <= 1_700_000_000_000 for r in RECORDS)
    assert found["rows"]["wallets:reserved"] == 6_001
    assert found["total"] == 0


def test_the_screen_shows_a_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "trial-balance", "--data", str(data)]) == 0

    text = capsys.readouterr().out
    assert f"trial balance at position {len(RECORDS)}" in text
    assert "wallets:available" in text


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-21", "2026-11-21T15:00:00", "1700"])
def test_a_time_without_its_offset_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="2026-11-21T15:00:00Z"):
        parse_time(text)


def test_a_time_is_whole_milliseconds() -> None:
    assert parse_time("1970-01-01T00:00:01.5009Z") == 1_500
    assert parse_time("1970-01-01T02:00:00+02:00") == 0
