"""The auditor's short arithmetic agrees with the bill's own, on every history and every change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from domain.bill import BillError, statement
from domain.leaves import WANTED, read_slowly, shapes
from domain.plain_bill import SessionEvent, is_whole, plain_rate
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.record import Record
from tests.fakes.bills import Tale
from tests.fakes.stored import retold

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
# The price book is looked up apart; a service says no more than which of its rates.
NOT_HERE = {"class_version", "service", "price_book", "unit", "rate_microcredits", "rate_per"}
CLOCKED = Tale(steps=(("resume", 1), ("wait", 9_000), ("pause", 1), ("extend", 60_000)))
SPOKEN = Tale(service="tts", quantity=1_000, steps=(("speak", 210), ("speak", 333)))


def plain(records: Sequence[Record]) -> list[SessionEvent]:
    found: list[SessionEvent] = []
    for record in records:
        shape, originator, _, values = read_slowly(record.leaf)
        if shape.topic in WANTED and record.topic != "price_book.published":
            found.append((record.position, shape.topic, originator, values))
    return found


def is_billable(records: Sequence[Record]) -> bool:
    try:
        statement(records)
    except (BillError, ValueError):
        return False
    return True


@given(service=st.sampled_from(["stt", "tts", "webrtc"]), steps=STEPS)
def test_a_bill_of_any_history_adds_up(service: str, steps: list[tuple[str, int]]) -> None:
    tale = Tale(service=service, quantity=2_000 if service == "tts" else 120_000, steps=steps)

    events = plain(tale.records)

    tariff = DEFAULT_PRICE_BOOK.tariff(service)
    assert is_whole(events)
    assert plain_rate(events) == (
        DEFAULT_PRICE_BOOK.version.encode(),
        service.encode(),
        tariff.unit.encode(),
        tariff.microcredits,
        tariff.per,
    )


@given(st.sampled_from([CLOCKED, SPOKEN]), st.data())
def test_a_changed_number_adds_up_in_both_or_in_neither(tale: Tale, data: st.DataObject) -> None:
    records = list(tale.records)
    index = data.draw(st.integers(1, len(records) - 1))
    fields: dict[str, Any] = records[index].fields
    names = [n for n, v in fields.items() if type(v) is int and n not in NOT_HERE]
    name = data.draw(st.sampled_from(names))
    value = data.draw(
        st.one_of(st.integers(0, 10**12), st.integers(-2, 2).map(fields[name].__add__))
    )
    records[index] = retold(records[index], **{name: max(0, value)})

    assert (plain_rate(plain(records)) is not None) == is_billable(records)


@given(st.sampled_from([CLOCKED, SPOKEN]), st.data())
def test_events_moved_doubled_or_missing_add_up_in_both_or_in_neither(
    tale: Tale, data: st.DataObject
) -> None:
    honest = tale.records[1:]
    picked = data.draw(st.lists(st.integers(0, len(honest) - 1), max_size=len(honest) + 1))
    # Versions as they would have to be: without them `statement` alone would see the gap.
    versions = iter(range(1, len(picked) + 1))
    records = [
        replace(
            honest[index],
            position=100 + place,
            originator_version=next(versions)
            if honest[index].topic.startswith("session.")
            else honest[index].originator_version,
        )
        for place, index in enumerate(picked)
    ]
    events = plain(records) if is_readable(records) else []

    adds_up = bool(events) and is_whole(events) and plain_rate(events) is not None
    assert adds_up == is_billable([tale.records[0], *records])


def is_readable(records: Sequence[Record]) -> bool:
    """Whether the session's first event opens it, as versions in a history always say."""
    own = [r for r in records if r.topic.startswith("session.")]
    opened = [r.topic == "session.opened" for r in own]
    return bool(own) and opened[0] and not any(opened[1:])


@given(st.sampled_from([*CLOCKED.journal.records, *SPOKEN.journal.records]))
@example(CLOCKED.journal.records[0])
def test_the_fast_road_and_the_slow_one_read_the_same(record: Record) -> None:
    found = shapes()[record.topic.encode()].pattern.fullmatch(record.leaf)

    shape, originator, version, values = read_slowly(record.leaf)

    assert shape.topic == record.topic.encode()
    if found is not None:
        # Postings are held against the amounts on either road, so one of them says no more.
        plainly = (b"" if value.startswith(b"[") else value for value in found.groups())
        assert tuple(plainly) == (originator, str(version).encode(), *values)
    else:
        assert record.topic == "price_book.published"
