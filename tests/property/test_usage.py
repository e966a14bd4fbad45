"""Reports of speech servers, however often and late they come, bill what ran and never more."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from domain.pricing import DEFAULT_PRICE_BOOK
from domain.session import Order, Session
from domain.usage import Usage, apply_usage

SESSION_ID, FIRST, SECOND = UUID(int=1), UUID(int=2), UUID(int=3)
QUANTITY_MS = 60_000
EXPIRES_MS = 1_000_000
STEPS_MS = st.lists(st.integers(1, 20_000), min_size=2, max_size=8)


def opened(service: str = "stt", quantity: int = QUANTITY_MS) -> Session:
    order = Order(
        service=service,
        tariff=DEFAULT_PRICE_BOOK.tariff(service),
        price_book=DEFAULT_PRICE_BOOK.version,
        quantity=quantity,
        expires_at_ms=EXPIRES_MS,
    )
    return Session.open(
        order,
        session_id=SESSION_ID,
        account_id=UUID(int=9),
        bundle_id=None,
        request_hash="",
        at_ms=0,
    )


def told(steps_ms: list[int], *, connection_id: UUID = FIRST, begin_ms: int = 1) -> list[Usage]:
    """The reports of one connection that starts, beats after each step, and leaves at the last."""
    times = [begin_ms]
    for step in steps_ms:
        times.append(times[-1] + step)
    beats = [
        Usage(
            session_id=SESSION_ID,
            connection_id=connection_id,
            from_ms=a,
            to_ms=b,
            runs=b < times[-1],
        )
        for a, b in pairwise(times)
    ]
    first = replace(beats[0], to_ms=begin_ms, runs=True)
    return [first, *beats]


def ran_ms(reports: list[Usage]) -> int:
    return min(QUANTITY_MS, reports[-1].to_ms - reports[0].from_ms)


@given(STEPS_MS, st.data())
def test_reports_sent_again_from_anywhere_bill_the_same(
    steps_ms: list[int], data: st.DataObject
) -> None:
    """B12: a sender that got no answer sends the batch again, and what follows it."""
    reports, session = told(steps_ms), opened()
    sent = 0
    while sent < len(reports):
        count = data.draw(st.integers(1, len(reports) - sent))
        for _ in range(data.draw(st.integers(1, 3))):
            for usage in reports[sent : sent + count]:
                apply_usage(session, usage, now_ms=10**6)
        sent += count

    assert session.used_at(10**6) == ran_ms(reports)
    assert not session.is_running


@given(STEPS_MS, st.data())
def test_a_gateway_that_begins_anew_between_reports_loses_nothing(
    steps_ms: list[int], data: st.DataObject
) -> None:
    """B10 stops the clock where it was seen; the next report goes on from there."""
    reports, session = told(steps_ms), opened()
    for usage in reports:
        apply_usage(session, usage, now_ms=10**6)
        if data.draw(st.booleans()):
            session.recover()

    assert session.used_at(10**6) == ran_ms(reports)


@given(STEPS_MS, STEPS_MS, st.data())
def test_late_reports_of_a_replaced_connection_bill_no_time_twice(
    older_ms: list[int], newer_ms: list[int], data: st.DataObject
) -> None:
    """B4."""
    older = told(older_ms)
    newer = told(newer_ms, connection_id=SECOND, begin_ms=older[-1].to_ms + 1)
    late = data.draw(st.integers(0, len(older)))
    session = opened(quantity=10**6)
    for usage in (*older[:late], *newer, *older[late:], *older):
        apply_usage(session, usage, now_ms=10**6)

    most = older[-1].to_ms - older[0].from_ms + newer[-1].to_ms - newer[0].from_ms
    assert newer[-1].to_ms - newer[0].from_ms <= session.used_at(10**6) <= most


@given(st.lists(st.integers(0, 500), min_size=1, max_size=8), st.data())
def test_characters_count_once_in_any_order(totals: list[int], data: st.DataObject) -> None:
    """B6."""
    session = opened("tts", quantity=300)
    reports = [
        Usage(session_id=SESSION_ID, connection_id=FIRST, from_ms=1, to_ms=1, characters=total)
        for total in totals
    ]
    for usage in (*data.draw(st.permutations(reports)), *reports):
        apply_usage(session, usage, now_ms=2)

    assert session.used == min(300, max(totals))


@given(STEPS_MS, st.integers(1, 100_000))
def test_no_report_reaches_past_now(steps_ms: list[int], now_ms: int) -> None:
    """A server whose clock is ahead, or that lies, bills no time that has not come."""
    session = opened()
    for usage in told(steps_ms):
        apply_usage(session, usage, now_ms=now_ms)

    assert session.used_at(now_ms) <= now_ms


def test_a_session_that_is_over_takes_no_more() -> None:
    session = opened()
    session.close("ended", at_ms=5)

    for usage in told([1_000, 1_000]):
        apply_usage(session, usage, now_ms=10**6)

    assert session.used == 0
