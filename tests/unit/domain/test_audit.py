"""What the verifier says, word for word: a customer reads it, and acts on it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from adapters.keys import check_signature
from domain.audit import AuditError, parse_bill, verify_bill
from domain.bill import BillError, statement
from domain.record import Record, canonical
from tests.fakes.bills import Tale, document_of
from tests.fakes.log import SIGNER_KEY

TALE = Tale(steps=(("resume", 1), ("wait", 10_000), ("pause", 1)))


def verify(document: dict[str, Any]) -> None:
    verify_bill(document, check=check_signature, trusted=SIGNER_KEY)


def told(document: dict[str, Any]) -> str:
    with pytest.raises(AuditError) as broken:
        verify(document)
    return str(broken.value)


def edited(**statement_fields: object) -> dict[str, Any]:
    document = copy.deepcopy(TALE.document())
    document["statement"]["totals"].update(statement_fields)
    return document


def test_a_changed_total_is_named_with_both_values() -> None:
    assert told(edited(charged_microcredits=999)) == (
        "statement.totals.charged_microcredits: expected 1000, found 999"
    )


def test_a_changed_event_is_named_by_its_place_and_topic() -> None:
    document = TALE.document()
    document["evidence"]["events"][-1]["state"]["charged"] = 0

    assert told(document) == (
        "event at position 10 (account.reservation_settled): expected to stand in the signed log "
        "of 11 events, found its inclusion proof does not lead to the signed root"
    )


def test_a_missing_line_is_counted() -> None:
    document = TALE.document()
    document["statement"]["lines"].pop()

    assert told(document) == "statement.lines count: expected 4, found 3"


def test_a_changed_line_is_numbered() -> None:
    document = TALE.document()
    document["statement"]["lines"][1]["quantity"] = 1

    assert told(document) == "statement.lines[1].quantity: expected 10000, found 1"


def test_a_text_for_a_number_is_another_value() -> None:
    assert told(edited(used="10000")).startswith("statement.totals.used: expected 10000")


def test_an_unknown_signer_is_named() -> None:
    document = TALE.document()
    document["evidence"]["signer"] = "me"

    assert told(document).startswith("checkpoint: expected a good signature, found expected a ver")


def test_long_values_are_cut() -> None:
    document = TALE.document()
    document["statement"]["session"]["reason"] = "x" * 10_000

    message = told(document)
    assert message.endswith("x…")
    assert len(message) < 300


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "file: expected a bill in JSON"),
        (b"\xff\xfe\xfd", "file: expected a bill in JSON"),
        (b"[" * 100_000, "file: expected a bill in JSON"),
        (b"[]", "format: expected payphone-bill-1, found list"),
        (b"{}", "format: expected payphone-bill-1, found None"),
        (b'{"format":"payphone-bill-2"}', "format: expected payphone-bill-1, found payphone-bill-"),
        (b'{"format":"payphone-bill-1","format":"payphone-bill-1"}', "'format' twice"),
    ],
)
def test_a_file_that_is_no_bill_says_so(data: bytes, message: str) -> None:
    with pytest.raises(AuditError) as broken:
        parse_bill(data)

    assert message in str(broken.value)


@pytest.mark.parametrize("part", ["evidence", "statement"])
@pytest.mark.parametrize("value", [None, 5, "text", [], {}])
def test_a_part_that_is_no_object_says_so(part: str, value: object) -> None:
    document = {**TALE.document(), part: value}

    assert told(document).split(":")[0].split(".")[0] in {"structure", "evidence", "statement"}


@pytest.mark.parametrize("name", ["position", "originator_version"])
@pytest.mark.parametrize("value", [None, "1", 1.0, True, [], -1, 0, 10**30])
def test_a_place_that_is_no_number_of_the_log_says_so(name: str, value: object) -> None:
    document = TALE.document()
    document["evidence"]["events"][0][name] = value

    assert "event" in told(document)


@pytest.mark.parametrize("value", ["", "x", None, 7, "ffffffff-ffff-ffff-ffff-fffffffffffff"])
def test_an_id_that_is_none_says_so(value: object) -> None:
    document = TALE.document()
    document["evidence"]["events"][0]["originator_id"] = value

    assert told(document)


def test_an_event_that_has_no_business_on_a_bill_is_refused() -> None:
    logged = TALE.journal.records
    strange = next(r for r in logged if r.topic == "account.opened")
    document = document_of(logged, [strange], claimed={})

    assert told(document) == "event at 2: expected an event of a bill, found account.opened"


def claim_over(records: list[Record]) -> dict[str, Any]:
    """Every record is in the signed log; the claim is the honest one."""
    return document_of(records, records, claimed=TALE.document()["statement"])


def moved(record: Record, position: int, **fields: object) -> Record:
    return Record(
        position=position,
        originator_id=record.originator_id,
        originator_version=fields.pop("version", record.originator_version),  # type: ignore[arg-type]  # a number
        topic=record.topic,
        state=canonical({**record.fields, **fields}),
    )


def renumbered(records: list[Record]) -> list[Record]:
    return [moved(record, position) for position, record in enumerate(records, start=1)]


def pick(topic: str) -> Record:
    return next(r for r in TALE.records if r.topic == topic)


BOOK, OPENED = pick("price_book.published"), pick("session.opened")
RESUMED, PAUSED = pick("session.clock_resumed"), pick("session.clock_paused")
CLOSED = pick("session.closed")
HELD, SETTLED = pick("account.credits_reserved"), pick("account.reservation_settled")


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([BOOK, HELD], "session: expected the events of one session, found 0"),
        (
            [BOOK, moved(RESUMED, 1, version=1), CLOSED],
            "session.opened: expected one, found 0",
        ),
        (
            [BOOK, HELD, OPENED],
            "session: expected a settled session, found one that is still open",
        ),
        ([OPENED, CLOSED], "price book: expected 2026-1, found none in the evidence"),
        ([BOOK, BOOK, OPENED, CLOSED], "price book: expected one, found two"),
        (
            [BOOK, OPENED, moved(PAUSED, 1, version=2)],
            "position 3: expected a running clock, found none",
        ),
        (
            [BOOK, OPENED, moved(RESUMED, 1, version=2), moved(RESUMED, 1, version=3)],
            "position 4: expected a paused clock, found running",
        ),
        (
            [BOOK, OPENED, moved(RESUMED, 1, version=2), moved(CLOSED, 1, version=3)],
            "close: expected a paused clock, found a running one",
        ),
        (
            [BOOK, OPENED, RESUMED, PAUSED, CLOSED, moved(RESUMED, 1, version=5)],
            "close: expected the last event, found session.clock_resumed",
        ),
        (
            [BOOK, OPENED, RESUMED, PAUSED, CLOSED, HELD, SETTLED, SETTLED],
            "settlement: expected one, found two",
        ),
        (
            [BOOK, OPENED, moved(PAUSED, 1, version=7)],
            "position 3 version: expected 2, found 7",
        ),
    ],
)
def test_events_that_make_no_bill_say_where(records: list[Record], message: str) -> None:
    assert told(claim_over(renumbered(records))) == message


def test_an_extension_before_any_opening_is_no_bill() -> None:
    extended = Record(
        position=1,
        originator_id=OPENED.originator_id,
        originator_version=1,
        topic="session.extended",
        state=canonical({"at_ms": 1, "quantity": 1, "reserved": 0, "expires_at_ms": 2}),
    )

    with pytest.raises(BillError, match="a session opened under a price book"):
        statement([extended])


@pytest.mark.parametrize("used", [-1, 5, 1_001])
def test_characters_only_grow_and_never_past_what_was_bought(used: int) -> None:
    tale = Tale(service="tts", quantity=1_000, steps=(("speak", 10), ("speak", 20)))
    records = [
        moved(r, r.position, used_characters=used)
        if r.topic == "session.characters_spoken" and r.fields["used_characters"] == 20
        else r
        for r in tale.records
    ]

    with pytest.raises(BillError, match=r"characters at position \d+: expected 10 to 1000"):
        statement(records)
