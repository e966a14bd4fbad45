"""A bill proves itself: every honest one verifies, and no change of one goes unseen."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from functools import reduce
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.keys import Ed25519Signer, check_signature
from domain.audit import AuditError, Verdict, parse_bill, verify_bill
from domain.bill import statement
from domain.checkpoint import SignerKey
from domain.record import Record, canonical
from tests.fakes.bills import Tale, document_of
from tests.fakes.log import SIGNER_KEY
from tests.fakes.stored import retold

# Throwaway: 32 bytes of 0x09.
FORGER = Ed25519Signer(b"\x09" * 32)
CLOCKED = Tale(
    steps=(
        ("resume", 1),
        ("wait", 7_001),
        ("observe", 1),
        ("resume", 2),
        ("wait", 3_000),
        ("crash", 0),
        ("extend", 30_000),
        ("wait", 999),
        ("resume", 3),
        ("wait", 12_345),
        ("pause", 3),
    )
)
SPOKEN = Tale(service="tts", quantity=1_000, steps=(("speak", 210), ("wait", 5), ("speak", 333)))
BILLS = [CLOCKED.file(), SPOKEN.file()]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
Path = tuple[str | int, ...]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.integers(0, 400_000)),
        st.tuples(st.sampled_from(["resume", "pause", "observe"]), st.integers(1, 3)),
        st.tuples(st.just("crash"), st.just(0)),
        st.tuples(st.just("extend"), st.integers(0, 100_000)),
        st.tuples(st.just("speak"), st.integers(0, 5_000)),
    ),
    max_size=25,
)


def verify(data: bytes) -> Verdict:
    return verify_bill(parse_bill(data), check=check_signature, trusted=SIGNER_KEY)


def first_break(data: bytes) -> AuditError | None:
    try:
        verify(data)
    except AuditError as broken:
        return broken
    return None


def meaning(data: bytes) -> bytes:
    """The document's value, where 1, 1.0 and true are three."""
    return canonical(json.loads(data))


@given(service=st.sampled_from(["stt", "tts", "webrtc"]), steps=STEPS)
def test_the_bill_of_any_history_verifies(service: str, steps: list[tuple[str, int]]) -> None:
    tale = Tale(service=service, quantity=2_000 if service == "tts" else 120_000, steps=steps)

    verdict = verify(tale.file())

    assert verdict.charged == tale.session.charged.value
    assert verdict.charged + verdict.refunded == tale.session.reserved.value
    assert verdict.session_id == str(tale.session.id)
    assert verdict.events == len(tale.records)


@given(steps=STEPS)
def test_the_lines_of_a_bill_add_up(steps: list[tuple[str, int]]) -> None:
    bill = statement(Tale(steps=steps).records)

    def total(kind: str, unit: str) -> int:
        return sum(line[unit] for line in bill["lines"] if line["kind"] == kind)

    assert total("reserved", "microcredits") == bill["totals"]["reserved_microcredits"]
    assert total("used", "quantity") == total("charged", "quantity") == bill["totals"]["used"]
    assert total("charged", "microcredits") + total("refunded", "microcredits") == (
        total("reserved", "microcredits")
    )


def test_a_bill_recomputes_byte_for_byte() -> None:
    again = document_of(CLOCKED.journal.records, CLOCKED.records)

    assert canonical(again) == canonical(CLOCKED.document())


@settings(max_examples=600)
@given(data=st.sampled_from(BILLS), at=st.integers(0, 2**16), change=st.integers(1, 255))
def test_a_changed_byte_is_found_or_means_nothing(data: bytes, at: int, change: int) -> None:
    at %= len(data)
    changed = data[:at] + bytes([data[at] ^ change]) + data[at + 1 :]

    found = first_break(changed)

    assert found.where if found else meaning(changed) == meaning(data)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(rb'\n",', rb'\f",', id="another line end after the signature"),
        pytest.param(rb'\n",', rb'",', id="no line end after the signature"),
        pytest.param(rb"gateway.test+", rb" gateway.test+", id="a blank around the key"),
        pytest.param(b'"bundle_id": null', b'"bundle_ie": null', id="a name for nothing"),
        pytest.param(b"6f4120b7-6c35", b"6F4120b7-6c35", id="an id in capitals"),
        pytest.param(b"6f4120b7-6c35", b"6f4120b76c35", id="an id without a hyphen"),
        pytest.param(b'"position": 1,', b'"position": 1.0,', id="a number with a point"),
        pytest.param(b'"position": 1,', b'"position": true,', id="a truth for a number"),
        pytest.param(
            b'"originator_version": 1,', b'"originator_version": 1.9,', id="a version and a bit"
        ),
        pytest.param(b'"position": 1,', b'"position": 1, "position": 1,', id="the same name twice"),
    ],
)
def test_a_bill_has_one_spelling(before: bytes, after: bytes) -> None:
    data = BILLS[0]
    assert before in data

    found = first_break(data.replace(before, after, 1))

    assert found is not None


def test_a_hash_has_one_spelling() -> None:
    document = json.loads(BILLS[0])
    for event in document["evidence"]["events"]:
        for index, text in enumerate(event["proof"]):
            # The last letter before the padding carries two bits that mean nothing.
            same_bytes = text[:-2] + LETTERS[LETTERS.index(text[-2]) ^ 1] + "="
            assert base64.b64decode(same_bytes) == base64.b64decode(text)
            changed = copy.deepcopy(document)
            place = document["evidence"]["events"].index(event)
            changed["evidence"]["events"][place]["proof"][index] = same_bytes

            with pytest.raises(AuditError, match="canonical base64"):
                verify_bill(changed, check=check_signature, trusted=SIGNER_KEY)


@pytest.mark.parametrize("data", BILLS)
def test_every_digit_of_a_bill_counts(data: bytes) -> None:
    document = json.loads(data)
    for where in numbers(document):
        for other in (lambda n: n + 1, lambda n: n - 1, lambda n: n * 10 + 7, float, str):
            changed = copy.deepcopy(document)
            put(changed, where, other(get(document, where)))

            with pytest.raises(AuditError) as found:
                verify_bill(changed, check=check_signature, trusted=SIGNER_KEY)
            assert found.value.where


@pytest.mark.parametrize("data", BILLS)
def test_every_field_of_a_bill_is_needed_and_no_other_is_taken(data: bytes) -> None:
    document = json.loads(data)
    for where in objects(document):
        for name in get(document, where):
            fewer, renamed = copy.deepcopy(document), copy.deepcopy(document)
            put(renamed, (*where, f"{name}x"), get(renamed, where).pop(name))
            get(fewer, where).pop(name)

            for changed in (fewer, renamed):
                with pytest.raises(AuditError):
                    verify(json.dumps(changed).encode())
        more = copy.deepcopy(document)
        put(more, (*where, "note"), "paid in full")
        with pytest.raises(AuditError):
            verify(json.dumps(more).encode())


def test_an_event_that_is_missing_doubled_or_moved_is_found() -> None:
    document = CLOCKED.document()
    events = document["evidence"]["events"]
    for index in range(len(events)):
        missing = [*events[:index], *events[index + 1 :]]
        doubled = [*events[: index + 1], *events[index:]]
        moved = [*events[index + 1 :], *events[: index + 1]]
        for changed in (missing, doubled, *([moved] if index + 1 < len(events) else [])):
            edited = {**document, "evidence": {**document["evidence"], "events": changed}}

            with pytest.raises(AuditError):
                verify(json.dumps(edited).encode())


@given(data=st.sampled_from(BILLS), length=st.integers(0, 2**16))
def test_a_truncated_file_is_no_bill(data: bytes, length: int) -> None:
    with pytest.raises(AuditError, match=r"^(file|format):"):
        parse_bill(data[: length % (len(data) - 1)])


def rewritten(topic: str, **fields: object) -> list[Record]:
    """The log with one event told differently, as its keeper could."""
    return [retold(r, **fields) if r.topic == topic else r for r in CLOCKED.journal.records]


def test_history_signed_with_another_key_is_not_ours() -> None:
    key = SignerKey(name=SIGNER_KEY.name, public=FORGER.public)
    forged = CLOCKED.document(key=key, signer=FORGER)

    with pytest.raises(AuditError, match="signer"):
        verify_bill(forged, check=check_signature, trusted=SIGNER_KEY)
    # Without a key to trust it holds together, and the verdict says by whom.
    assert verify_bill(forged, check=check_signature).signer == key


def test_a_forged_signature_under_our_name_is_found() -> None:
    forged = CLOCKED.document(key=SIGNER_KEY, signer=FORGER)

    with pytest.raises(AuditError, match="checkpoint: expected a good signature"):
        verify_bill(forged, check=check_signature)


@pytest.mark.parametrize(
    ("topic", "fields", "where"),
    [
        ("session.opened", {"rate_microcredits": 6_001}, "rate"),
        ("session.opened", {"rate_per": 59_999}, "rate per"),
        ("session.opened", {"unit": "character"}, "unit"),
        ("session.opened", {"price_book": "2027-1"}, "price book version"),
        ("session.opened", {"reserved": 1}, "reserved at position 6"),
        ("session.opened", {"account_id": str(CLOCKED.session.id)}, "event at position 5"),
        ("session.extended", {"quantity": 1}, "reserved at position"),
        ("session.clock_paused", {"used_ms": 60_000}, "used at position"),
        ("session.closed", {"used": 1}, "used"),
        ("session.closed", {"charged": 6_000}, "charged"),
        ("session.closed", {"refunded": 0}, "charged [+] refunded"),
        ("account.credits_reserved", {"amount": 1}, "reserved by the account"),
        ("account.reservation_settled", {"charged": 1}, "settled by the account"),
        ("account.credits_reserved", {"postings": []}, "postings at position 5"),
        ("account.credits_reserved", {"class_version": 1}, "postings at position 5"),
        ("account.credits_reserved", {"class_version": 3}, "class_version at position 5"),
        ("account.reservation_settled", {"class_version": True}, "class_version at position"),
        ("session.opened", {"class_version": 2}, "class_version at position 6"),
        ("price_book.published", {"content": "{}"}, "price book at position 1"),
        ("price_book.published", {"content_hash": "00"}, "price book hash"),
    ],
)
def test_our_own_signature_does_not_make_a_wrong_history_right(
    topic: str, fields: dict[str, object], where: str
) -> None:
    logged = rewritten(topic, **fields)
    records = [r for r in logged if r.position in {own.position for own in CLOCKED.records}]
    # The statement stays the honest one: what is claimed must follow from the events.
    forged = document_of(logged, records, claimed=CLOCKED.document()["statement"])

    with pytest.raises(AuditError, match=where):
        verify_bill(forged, check=check_signature, trusted=SIGNER_KEY)


def numbers(value: object, where: Path = ()) -> Iterator[Path]:
    """Where the whole numbers of a document are."""
    if type(value) is int:
        yield where
    for name, inner in members(value):
        yield from numbers(inner, (*where, name))


def objects(value: object, where: Path = ()) -> Iterator[Path]:
    """Where the objects of a document are."""
    if isinstance(value, dict):
        yield where
    for name, inner in members(value):
        yield from objects(inner, (*where, name))


def members(value: object) -> list[tuple[str | int, object]]:
    if isinstance(value, dict):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list) else []


def get(document: Any, where: Path) -> Any:  # noqa: ANN401 (any part of a document)
    return reduce(lambda part, name: part[name], where, document)


def put(document: Any, where: Path, value: object) -> None:  # noqa: ANN401 (any part of a document)
    get(document, where[:-1])[where[-1]] = value
