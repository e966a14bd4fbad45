from __future__ import annotations

import pytest

from adapters.http.limits import CALLERS_MAX, RateLimit
from domain.errors import RateLimitError
from tests.fakes.clock import ManualClock


def taken_at_once(limit: RateLimit, caller: str) -> int:
    """How many requests are let through before the first refusal."""
    for number in range(1_000):
        try:
            limit.take(caller)
        except RateLimitError:
            return number
    return 1_000


def test_twice_the_rate_is_taken_at_once_after_a_rest() -> None:
    assert taken_at_once(RateLimit(ManualClock(), rate_max=5), "alice") == 10


async def test_then_one_request_each_fifth_of_a_second() -> None:
    clock = ManualClock()
    limit = RateLimit(clock, rate_max=5)
    taken_at_once(limit, "alice")

    await clock.advance(200)

    assert taken_at_once(limit, "alice") == 1


async def test_a_refusal_says_when_to_come_back_and_means_it() -> None:
    clock = ManualClock()
    limit = RateLimit(clock, rate_max=3)
    taken_at_once(limit, "alice")
    with pytest.raises(RateLimitError) as refusal:
        limit.take("alice")

    await clock.advance(refusal.value.retry_after_ms - 1)
    with pytest.raises(RateLimitError):
        limit.take("alice")

    await clock.advance(1)
    limit.take("alice")


async def test_a_refused_request_costs_nothing() -> None:
    clock = ManualClock()
    limit = RateLimit(clock, rate_max=5)
    taken_at_once(limit, "alice")
    for _ in range(50):
        with pytest.raises(RateLimitError):
            limit.take("alice")

    await clock.advance(2_000)

    assert taken_at_once(limit, "alice") == 10


def test_callers_do_not_share_a_bucket() -> None:
    limit = RateLimit(ManualClock(), rate_max=5)
    taken_at_once(limit, "alice")

    assert taken_at_once(limit, "bob") == 10


def test_the_caller_longest_unseen_is_forgotten_first() -> None:
    limit = RateLimit(ManualClock(), rate_max=5)
    taken_at_once(limit, "alice")
    taken_at_once(limit, "bob")
    for number in range(CALLERS_MAX - 1):
        limit.take(number)

    assert taken_at_once(limit, "alice") == 10
    assert len(limit._full_at) <= CALLERS_MAX


def test_a_caller_who_keeps_coming_is_not_forgotten() -> None:
    limit = RateLimit(ManualClock(), rate_max=5)
    limit.take("alice")
    limit.take("bob")
    taken_at_once(limit, "alice")
    for number in range(CALLERS_MAX - 1):
        limit.take(number)

    assert taken_at_once(limit, "alice") == 0


async def test_nobody_owes_more_than_a_whole_bucket() -> None:
    clock = ManualClock()
    limit = RateLimit(clock, rate_max=5)
    limit.charge("alice", 1_000)

    await clock.advance(2_000)

    assert taken_at_once(limit, "alice") == 10


def test_a_look_costs_nothing() -> None:
    limit = RateLimit(ManualClock(), rate_max=5)

    for _ in range(50):
        limit.check("alice")

    assert taken_at_once(limit, "alice") == 10
