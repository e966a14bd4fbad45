"""The worked examples of specs/billing.md, and what a state machine does not say in words."""

from __future__ import annotations

from uuid import UUID

import pytest

from domain.errors import SessionOverError
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.session import Order, Session
from tests.strategies import START_MS

MINUTE_MS = 60_000
ONE, TWO = UUID(int=1), UUID(int=2)


def session(service: str = "stt", quantity: int = 5 * MINUTE_MS) -> Session:
    order = Order(
        service=service,
        tariff=DEFAULT_PRICE_BOOK.tariff(service),
        price_book=DEFAULT_PRICE_BOOK.version,
        quantity=quantity,
        expires_at_ms=START_MS + quantity + 60 * MINUTE_MS,
    )
    return Session.open(
        order,
        session_id=UUID(int=9),
        account_id=UUID(int=8),
        bundle_id=None,
        request_hash="",
        at_ms=START_MS,
    )


def at(minutes: int, seconds: int = 0, ms: int = 0) -> int:
    return START_MS + minutes * MINUTE_MS + seconds * 1_000 + ms


def test_a_call_with_a_reconnect_costs_what_the_spec_says() -> None:
    """B1, B4, B8."""
    call = session()
    assert call.reserved.value == 30_000

    call.resume(ONE, at_ms=at(0))
    call.pause(ONE, at_ms=at(1, 40))
    call.resume(TWO, at_ms=at(4))
    call.pause(TWO, at_ms=at(5, 23, 457))
    call.close("ended", at_ms=at(6))

    assert (call.used, call.charged.value, call.refunded.value) == (183_457, 18_346, 11_654)


def test_a_crash_costs_the_customer_nothing() -> None:
    """B10."""
    call = session()

    call.resume(ONE, at_ms=at(0))
    call.observe(ONE, at_ms=at(0, 10))
    call.observe(ONE, at_ms=at(0, 20))
    call.recover()

    assert call.used == 20_000
    call.resume(ONE, at_ms=at(0, 40))
    assert call.used_at(at(0, 41)) == 21_000


def test_a_paused_clock_is_free() -> None:
    """B4."""
    call = session()
    call.resume(ONE, at_ms=at(0))
    call.pause(ONE, at_ms=at(0, 1))

    assert call.used_at(at(30)) == 1_000


def test_a_clock_that_is_left_running_stops_at_what_was_bought() -> None:
    """B5."""
    call = session()
    call.resume(ONE, at_ms=at(0))

    assert call.used_at(at(5)) == call.used_at(at(50)) == 5 * MINUTE_MS
    assert call.is_spent(at(5))
    assert not call.is_spent(at(4, 59, 999))


def test_nothing_runs_past_expiry() -> None:
    """B5."""
    call = session()
    call.resume(ONE, at_ms=call.expires_at_ms - 1_000)

    assert call.used_at(call.expires_at_ms + 99_000) == 1_000


@pytest.mark.parametrize(("late_ms", "reason"), [(5 * MINUTE_MS, "spent"), (0, "expired")])
def test_a_session_with_nothing_left_says_why(late_ms: int, reason: str) -> None:
    """B5, B8."""
    call = session()
    call.resume(ONE, at_ms=at(0) if reason == "spent" else call.expires_at_ms - 1)
    now_ms = at(0) + late_ms if reason == "spent" else call.expires_at_ms

    with pytest.raises(SessionOverError) as over:
        call.resume(TWO, at_ms=now_ms)

    assert over.value.reason == reason


def test_a_newer_connection_takes_the_clock_without_a_gap() -> None:
    """B4."""
    call = session()
    call.resume(ONE, at_ms=at(0))
    call.resume(TWO, at_ms=at(1))
    call.pause(ONE, at_ms=at(2))

    assert call.connection_id == TWO
    assert call.used_at(at(3)) == 3 * MINUTE_MS


def test_characters_past_what_was_bought_are_not_charged() -> None:
    """B6."""
    speech = session("tts", 100)
    speech.speak(150, at_ms=at(0))

    assert speech.close("spent", at_ms=at(0)).value == 800


def test_the_first_use_is_when_it_started() -> None:
    call, speech = session(), session("tts", 100)

    call.resume(ONE, at_ms=at(1))
    call.pause(ONE, at_ms=at(2))
    call.resume(TWO, at_ms=at(3))
    speech.speak(1, at_ms=at(4))
    speech.speak(2, at_ms=at(5))

    assert [call.started_at_ms, speech.started_at_ms] == [at(1), at(4)]


def test_nothing_happens_to_a_settled_session() -> None:
    """B8."""
    call = session()
    call.close("ended", at_ms=at(1))
    call.collect_events()

    call.speak(5, at_ms=at(2))
    call.observe(ONE, at_ms=at(2))
    call.pause(ONE, at_ms=at(2))
    call.recover()
    call.close("expired", at_ms=at(2))

    assert list(call.collect_events()) == []
    with pytest.raises(SessionOverError, match="ended"):
        call.resume(ONE, at_ms=at(2))
