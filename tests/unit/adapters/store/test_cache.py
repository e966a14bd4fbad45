from __future__ import annotations

from uuid import UUID

import pytest

from adapters.store import cache as cache_module
from adapters.store.cache import AggregateCache
from domain.account import Account
from domain.aggregate import LedgerAggregate
from domain.pricing import DEFAULT_PRICE_BOOK
from domain.session import Order, Session


def account(number: int) -> Account:
    return Account.open(chain="evm", wallet=f"0x{number:040x}", at_ms=1)


def session(number: int) -> Session:
    order = Order(
        service="stt",
        tariff=DEFAULT_PRICE_BOOK.tariff("stt"),
        price_book=DEFAULT_PRICE_BOOK.version,
        quantity=60_000,
        expires_at_ms=10**12,
    )
    return Session.open(
        order,
        session_id=UUID(int=number),
        account_id=UUID(int=1),
        bundle_id=None,
        request_hash="",
        at_ms=1,
    )


def closed(number: int) -> Session:
    over = session(number)
    over.close("ended", at_ms=2)
    return over


def keep(cache: AggregateCache, *aggregates: LedgerAggregate) -> None:
    for aggregate in aggregates:
        cache.keep({aggregate.id.int: aggregate})


def test_the_longest_unchanged_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "CACHE_MAX", 2)
    cache = AggregateCache()
    first, second, third = account(1), account(2), account(3)

    keep(cache, first, second, first, third)

    assert cache.get(second.id.int) is None
    assert cache.get(first.id.int) is first


def test_sessions_that_are_over_do_not_crowd_out_the_living(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cache_module, "OVER_MAX", 1)
    cache = AggregateCache()
    living = account(1)

    keep(cache, living, closed(2), closed(3))

    assert cache.get(living.id.int) is living
    assert cache.get(2) is None
    assert cache.get(3) is not None


def test_what_ends_is_kept_once_and_as_it_ended() -> None:
    cache = AggregateCache()
    keep(cache, session(2))

    keep(cache, closed(2))

    found = cache.get(2)
    assert isinstance(found, Session)
    assert not found.is_open


def test_what_is_dropped_is_gone_alive_or_over() -> None:
    cache = AggregateCache()
    keep(cache, session(2), closed(3))

    cache.drop([2, 3])

    assert cache.get(2) is None
    assert cache.get(3) is None
