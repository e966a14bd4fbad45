"""Keys that spend for a wallet, within their caps (B15)."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import pytest

from domain.api_key import DAY_MS
from domain.errors import (
    ConflictingRequestError,
    InsufficientCreditsError,
    KeyCapError,
    KeyScopeError,
    NotFoundError,
)
from domain.ledger import Work
from domain.money import Microcredits
from domain.use_cases.close_session import end_bundle, end_session
from domain.use_cases.extend_session import extend_bundle, extend_session
from domain.use_cases.open_session import SessionRequest, open_bundle, open_session
from tests.fakes.api_keys import issued, key_in_ledger
from tests.fakes.gateway import House

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
# 6,000 µcr and 8,000 µcr.
STT = SessionRequest(service="stt", quantity=MINUTE_MS)
TTS = SessionRequest(service="tts", quantity=1_000)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def account_id(house: House) -> UUID:
    return await house.fund("0x" + "a" * 40, 1_000_000)


async def available(house: House, account_id: UUID) -> int:
    account = await house.books.run(partial(Work.account, account_id=account_id))
    return account.available.value


async def use(house: House, session_id: UUID, ms: int) -> None:
    """Let a connection be there for so long."""
    await house.books.run(partial(_there, session_id=session_id, at_ms=house.clock.now_ms()))
    await house.clock.advance(ms)
    await house.books.run(partial(_gone, session_id=session_id, at_ms=house.clock.now_ms()))


def _there(work: Work, *, session_id: UUID, at_ms: int) -> None:
    work.session(session_id).resume(UUID(int=9), at_ms=at_ms)


def _gone(work: Work, *, session_id: UUID, at_ms: int) -> None:
    work.session(session_id).pause(UUID(int=9), at_ms=at_ms)


async def test_a_reservation_over_the_total_cap_changes_nothing(
    house: House, account_id: UUID
) -> None:
    key_id = await issued(house, account_id, total_max=11_999)
    await open_session(house.gateway, account_id, STT, api_key_id=key_id)
    position = house.books.position

    with pytest.raises(KeyCapError) as refusal:
        await open_session(house.gateway, account_id, STT, api_key_id=key_id)

    assert (refusal.value.cap, refusal.value.left) == ("total", Microcredits(5_999))
    assert house.books.position == position
    assert await available(house, account_id) == 994_000


async def test_the_last_microcredit_of_a_cap_may_be_reserved(
    house: House, account_id: UUID
) -> None:
    key_id = await issued(house, account_id, total_max=12_000, day_max=12_000)

    for _ in range(2):
        await open_session(house.gateway, account_id, STT, api_key_id=key_id)

    assert (await key_in_ledger(house, key_id)).spent == Microcredits(12_000)


async def test_the_day_of_the_example_in_the_specification(house: House, account_id: UUID) -> None:
    key_id = await issued(house, account_id, day_max=10_000)
    await house.clock.advance(DAY_MS - house.clock.now_ms() % DAY_MS - 10 * MINUTE_MS)
    first = await open_session(house.gateway, account_id, STT, api_key_id=key_id)
    with pytest.raises(KeyCapError):
        await open_session(house.gateway, account_id, STT, api_key_id=key_id)
    await house.clock.advance(MINUTE_MS)
    await use(house, first.session_id, 20_000)
    await end_session(house.gateway, account_id, first.session_id)
    spent = [(await key_in_ledger(house, key_id)).spent_on_day_of(house.clock.now_ms()).value]
    await house.clock.advance(6 * MINUTE_MS)
    second = await open_session(house.gateway, account_id, STT, api_key_id=key_id)
    spent.append((await key_in_ledger(house, key_id)).spent_on_day_of(house.clock.now_ms()).value)
    await house.clock.advance(3 * MINUTE_MS)
    spent.append((await key_in_ledger(house, key_id)).spent_on_day_of(house.clock.now_ms()).value)

    await end_session(house.gateway, account_id, second.session_id)

    spent.append((await key_in_ledger(house, key_id)).spent_on_day_of(house.clock.now_ms()).value)
    assert spent == [2_000, 8_000, 0, 0]
    assert (await key_in_ledger(house, key_id)).spent == Microcredits(2_000)


async def test_what_was_refunded_of_two_days_goes_back_to_the_later_first(
    house: House, account_id: UUID
) -> None:
    key_id = await issued(house, account_id)
    await house.clock.advance(90 * MINUTE_MS)
    ticket = await open_session(house.gateway, account_id, STT, api_key_id=key_id)
    await use(house, ticket.session_id, 10_000)
    await house.clock.advance(30 * MINUTE_MS)
    more = partial(extend_session, house.gateway, account_id, service="stt", quantity=MINUTE_MS)
    await more(ticket.session_id, api_key_id=key_id)

    await end_session(house.gateway, account_id, ticket.session_id)

    key = await key_in_ledger(house, key_id)
    assert key.spent_on_day_of(house.clock.now_ms()) == Microcredits(0)
    assert key.spent == Microcredits(1_000)


async def test_a_clock_that_went_back_opens_no_second_day(house: House, account_id: UUID) -> None:
    key_id = await issued(house, account_id, day_max=12_000)
    ask = partial(open_session, house.gateway, account_id, STT, api_key_id=key_id)
    await house.clock.advance(2 * HOUR_MS)
    await ask()
    house.clock.set_back(HOUR_MS)
    await ask()
    with pytest.raises(KeyCapError):
        await ask()
    await house.clock.advance(HOUR_MS)

    with pytest.raises(KeyCapError):
        await ask()


async def test_a_bundle_is_opened_within_the_cap_or_not_at_all(
    house: House, account_id: UUID
) -> None:
    key_id = await issued(house, account_id, total_max=13_999)
    position = house.books.position

    with pytest.raises(KeyCapError):
        await open_bundle(house.gateway, account_id, [STT, TTS], api_key_id=key_id)

    assert house.books.position == position


async def test_a_bundle_is_extended_within_the_cap_or_not_at_all(
    house: House, account_id: UUID
) -> None:
    key_id = await issued(house, account_id, total_max=14_000 + 6_000 + 7_999)
    opened = await open_bundle(house.gateway, account_id, [STT, TTS], api_key_id=key_id)
    assert opened[0].bundle_id is not None
    more = partial(extend_bundle, house.gateway, account_id, opened[0].bundle_id)
    position = house.books.position

    with pytest.raises(KeyCapError):
        await more(duration_ms=MINUTE_MS, characters=1_000, api_key_id=key_id)

    assert house.books.position == position
    await more(duration_ms=MINUTE_MS, characters=0, api_key_id=key_id)
    assert (await key_in_ledger(house, key_id)).spent == Microcredits(20_000)


async def test_an_extension_asked_again_counts_once(house: House, account_id: UUID) -> None:
    key_id = await issued(house, account_id)
    ticket = await open_session(house.gateway, account_id, STT, api_key_id=key_id)

    for _ in range(2):
        await extend_session(
            house.gateway,
            account_id,
            ticket.session_id,
            service="stt",
            quantity=MINUTE_MS,
            request_key="k",
            api_key_id=key_id,
        )

    assert (await key_in_ledger(house, key_id)).spent == Microcredits(12_000)


async def test_a_session_asked_for_again_counts_once(house: House, account_id: UUID) -> None:
    """B12."""
    key_id = await issued(house, account_id, total_max=6_000)

    tickets = [
        await open_session(
            house.gateway, account_id, STT, request_key="session:k", api_key_id=key_id
        )
        for _ in range(2)
    ]

    assert tickets[0] == tickets[1]


async def test_the_key_of_a_request_belongs_to_who_used_it(house: House, account_id: UUID) -> None:
    """B12."""
    key_id = await issued(house, account_id)
    await open_session(house.gateway, account_id, STT, request_key="session:k", api_key_id=key_id)

    with pytest.raises(ConflictingRequestError):
        await open_session(house.gateway, account_id, STT, request_key="session:k")


async def test_what_the_wallet_adds_counts_under_no_cap_and_is_used_last(
    house: House, account_id: UUID
) -> None:
    key_id = await issued(house, account_id, total_max=6_000)
    ticket = await open_session(house.gateway, account_id, STT, api_key_id=key_id)
    await extend_session(
        house.gateway, account_id, ticket.session_id, service="stt", quantity=MINUTE_MS
    )
    await use(house, ticket.session_id, MINUTE_MS + 30_000)

    session = await end_session(house.gateway, account_id, ticket.session_id)

    assert session.charged == Microcredits(9_000)
    assert (await key_in_ledger(house, key_id)).spent == Microcredits(6_000)
    assert (await key_in_ledger(house, key_id)).reserved == {}
    assert (await key_in_ledger(house, key_id)).reserved_of_day == {}


async def test_a_key_extends_and_ends_only_what_it_opened(house: House, account_id: UUID) -> None:
    key_id = await issued(house, account_id)
    ticket = await open_session(house.gateway, account_id, STT)
    bundle = await open_bundle(
        house.gateway, account_id, [STT, TTS], api_key_id=await issued(house, account_id)
    )
    assert bundle[0].bundle_id is not None
    position = house.books.position

    with pytest.raises(NotFoundError, match="Session not found"):
        await extend_session(
            house.gateway,
            account_id,
            ticket.session_id,
            service="stt",
            quantity=1,
            api_key_id=key_id,
        )
    with pytest.raises(NotFoundError, match="Session not found"):
        await end_session(house.gateway, account_id, ticket.session_id, api_key_id=key_id)
    with pytest.raises(NotFoundError, match="Bundle not found"):
        await end_bundle(house.gateway, account_id, bundle[0].bundle_id, api_key_id=key_id)
    with pytest.raises(NotFoundError, match="Bundle not found"):
        await extend_bundle(
            house.gateway,
            account_id,
            bundle[0].bundle_id,
            duration_ms=1,
            characters=0,
            api_key_id=key_id,
        )
    assert house.books.position == position


async def test_a_key_ends_what_it_opened(house: House, account_id: UUID) -> None:
    key_id = await issued(house, account_id)
    bundle = await open_bundle(house.gateway, account_id, [STT, TTS], api_key_id=key_id)
    assert bundle[0].bundle_id is not None

    await end_bundle(house.gateway, account_id, bundle[0].bundle_id, api_key_id=key_id)

    assert (await key_in_ledger(house, key_id)).spent == Microcredits(0)


async def test_a_key_opens_only_the_services_it_is_for(house: House, account_id: UUID) -> None:
    key_id = await issued(house, account_id, services=frozenset({"stt"}))
    await open_session(house.gateway, account_id, STT, api_key_id=key_id)

    with pytest.raises(KeyScopeError) as refusal:
        await open_bundle(house.gateway, account_id, [STT, TTS], api_key_id=key_id)

    assert (refusal.value.service, refusal.value.services) == ("tts", "stt")


async def test_credits_that_are_not_there_are_missed_within_the_cap_too(house: House) -> None:
    account_id = await house.fund("0x" + "b" * 40, 5_999)
    key_id = await issued(house, account_id)

    with pytest.raises(InsufficientCreditsError):
        await open_session(house.gateway, account_id, STT, api_key_id=key_id)

    assert (await key_in_ledger(house, key_id)).spent == Microcredits(0)
