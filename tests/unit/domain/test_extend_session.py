from __future__ import annotations

from uuid import UUID

import pytest

from domain.account import Account
from domain.errors import (
    ConflictingRequestError,
    InsufficientCreditsError,
    NotFoundError,
    SessionOverError,
)
from domain.session import Session
from domain.use_cases.close_session import end_session
from domain.use_cases.extend_session import extend_bundle, extend_session
from domain.use_cases.open_session import SessionRequest, Ticket, open_bundle, open_session
from tests.fakes.gateway import House

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
STT = SessionRequest(service="stt", quantity=MINUTE_MS)
TTS = SessionRequest(service="tts", quantity=1_000)
ROOM = SessionRequest(service="webrtc", quantity=MINUTE_MS)


class Bell:
    """A line that counts how often it was told to look again."""

    def __init__(self) -> None:
        self.rung = 0

    async def catch_up(self) -> None: ...

    async def taken_over(self) -> None: ...

    def changed(self) -> None:
        self.rung += 1


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def account_id(house: House) -> UUID:
    return await house.fund("0x" + "a" * 40, 100_000)


async def session(house: House, ticket: Ticket) -> Session:
    return await house.books.run(lambda work: work.session(ticket.session_id))


async def account(house: House, account_id: UUID) -> Account:
    return await house.books.run(lambda work: work.account(account_id))


async def test_extended_time_is_reserved_and_lengthens_the_validity(
    house: House, account_id: UUID
) -> None:
    """B9."""
    opened = await open_session(house.gateway, account_id, STT)

    extended = await extend_session(
        house.gateway, account_id, opened.session_id, service="stt", quantity=2 * MINUTE_MS
    )

    assert extended.quantity == 3 * MINUTE_MS
    assert extended.expires_at_ms == opened.expires_at_ms + 2 * MINUTE_MS
    assert (await session(house, opened)).reserved.value == 18_000
    assert (await account(house, account_id)).available.value == 82_000
    key = house.gateway.keys.read(extended.token)
    assert key.expires_at_ms >= extended.expires_at_ms


async def test_two_halves_cost_what_the_whole_does(house: House, account_id: UUID) -> None:
    """B1, B9: 5 ms and 5 ms cost 1 µcr, as 10 ms do, and not 1 each."""
    opened = await open_session(
        house.gateway, account_id, SessionRequest(service="stt", quantity=5)
    )

    await extend_session(house.gateway, account_id, opened.session_id, service="stt", quantity=5)

    assert (await session(house, opened)).reserved.value == 1
    assert (await account(house, account_id)).available.value == 99_999


async def test_extended_characters_live_an_hour_from_now(house: House, account_id: UUID) -> None:
    opened = await open_session(house.gateway, account_id, TTS)
    await house.clock.advance(MINUTE_MS)

    extended = await extend_session(
        house.gateway, account_id, opened.session_id, service="tts", quantity=500
    )

    assert extended.quantity == 1_500
    assert extended.expires_at_ms == house.clock.now_ms() + HOUR_MS


async def test_what_cannot_be_paid_changes_nothing(house: House, account_id: UUID) -> None:
    """B9."""
    opened = await open_session(house.gateway, account_id, STT)
    before, position = await session(house, opened), house.books.position

    with pytest.raises(InsufficientCreditsError) as refusal:
        await extend_session(
            house.gateway, account_id, opened.session_id, service="stt", quantity=HOUR_MS
        )

    assert (refusal.value.needed.value, refusal.value.available.value) == (360_000, 94_000)
    assert house.books.position == position
    assert await session(house, opened) == before


async def test_a_live_connection_is_told(house: House, account_id: UUID) -> None:
    """B9."""
    opened = await open_session(house.gateway, account_id, STT)
    bell = Bell()
    house.gateway.switchboard.connect(opened.session_id, bell)

    await extend_session(house.gateway, account_id, opened.session_id, service="stt", quantity=1)

    assert bell.rung == 1


async def test_the_same_key_again_extends_once(house: House, account_id: UUID) -> None:
    """B12."""
    opened = await open_session(house.gateway, account_id, STT)

    tickets = [
        await extend_session(
            house.gateway,
            account_id,
            opened.session_id,
            service="stt",
            quantity=MINUTE_MS,
            request_key="k",
        )
        for _ in range(2)
    ]

    assert tickets[0] == tickets[1]
    assert tickets[0].quantity == 2 * MINUTE_MS


async def test_the_same_key_for_more_is_refused(house: House, account_id: UUID) -> None:
    """B12."""
    opened = await open_session(house.gateway, account_id, STT)
    where = (house.gateway, account_id, opened.session_id)
    await extend_session(*where, service="stt", quantity=MINUTE_MS, request_key="k")
    position = house.books.position

    with pytest.raises(ConflictingRequestError):
        await extend_session(*where, service="stt", quantity=2 * MINUTE_MS, request_key="k")

    assert house.books.position == position


async def test_a_session_of_another_or_of_another_service_is_not_found(
    house: House, account_id: UUID
) -> None:
    opened = await open_session(house.gateway, account_id, STT)
    stranger = await house.fund("0x" + "b" * 40, 100_000)

    with pytest.raises(NotFoundError):
        await extend_session(house.gateway, stranger, opened.session_id, service="stt", quantity=1)
    with pytest.raises(NotFoundError):
        await extend_session(
            house.gateway, account_id, opened.session_id, service="tts", quantity=1
        )


async def test_a_session_that_is_over_is_not_extended(house: House, account_id: UUID) -> None:
    """B5, B8."""
    ended, expired = [await open_session(house.gateway, account_id, STT) for _ in range(2)]
    await end_session(house.gateway, account_id, ended.session_id)
    await house.clock.advance(expired.expires_at_ms - house.clock.now_ms())

    for ticket, reason in ((ended, "ended"), (expired, "expired")):
        with pytest.raises(SessionOverError, match=reason):
            await extend_session(
                house.gateway, account_id, ticket.session_id, service="stt", quantity=1
            )


async def test_a_bundle_is_extended_as_one(house: House, account_id: UUID) -> None:
    """B9."""
    opened = await open_bundle(house.gateway, account_id, [ROOM, STT, TTS])
    bells = [Bell() for _ in opened]
    for ticket, bell in zip(opened, bells, strict=True):
        house.gateway.switchboard.connect(ticket.session_id, bell)
    assert opened[0].bundle_id is not None

    extended = await extend_bundle(
        house.gateway, account_id, opened[0].bundle_id, duration_ms=MINUTE_MS, characters=500
    )

    assert [t.quantity for t in extended] == [2 * MINUTE_MS, 2 * MINUTE_MS, 1_500]
    assert {t.expires_at_ms for t in extended} == {opened[0].expires_at_ms + MINUTE_MS}
    assert [bell.rung for bell in bells] == [1, 1, 1]
    # 1,000 + 6,000 + 8,000 at first; 1,000 + 6,000 + 4,000 on top.
    assert (await account(house, account_id)).available.value == 100_000 - 26_000


async def test_a_bundle_is_extended_whole_or_not_at_all(house: House, account_id: UUID) -> None:
    """B9."""
    opened = await open_bundle(house.gateway, account_id, [ROOM, STT, TTS])
    position = house.books.position
    assert opened[0].bundle_id is not None

    with pytest.raises(InsufficientCreditsError):
        await extend_bundle(
            house.gateway,
            account_id,
            opened[0].bundle_id,
            duration_ms=MINUTE_MS,
            characters=10_000,
        )

    assert house.books.position == position


async def test_what_has_ended_in_a_bundle_is_left_out(house: House, account_id: UUID) -> None:
    opened = await open_bundle(house.gateway, account_id, [ROOM, STT])
    await end_session(house.gateway, account_id, opened[0].session_id)
    assert opened[0].bundle_id is not None

    extended = await extend_bundle(
        house.gateway, account_id, opened[0].bundle_id, duration_ms=MINUTE_MS, characters=0
    )

    assert [t.session_id for t in extended] == [opened[1].session_id]


async def test_a_bundle_extension_with_the_same_key_counts_once(
    house: House, account_id: UUID
) -> None:
    """B12."""
    opened = await open_bundle(house.gateway, account_id, [STT, TTS])
    assert opened[0].bundle_id is not None
    where = (house.gateway, account_id, opened[0].bundle_id)

    first = await extend_bundle(*where, duration_ms=5, characters=7, request_key="k")
    position = house.books.position
    again = await extend_bundle(*where, duration_ms=5, characters=7, request_key="k")

    assert again == first
    assert house.books.position == position


@pytest.mark.parametrize(("duration_ms", "characters"), [(6, 7), (5, 8)])
async def test_a_bundle_extension_with_the_same_key_for_more_is_refused(
    house: House, account_id: UUID, duration_ms: int, characters: int
) -> None:
    """B12."""
    opened = await open_bundle(house.gateway, account_id, [STT, TTS])
    assert opened[0].bundle_id is not None
    where = (house.gateway, account_id, opened[0].bundle_id)
    await extend_bundle(*where, duration_ms=5, characters=7, request_key="k")
    position = house.books.position

    with pytest.raises(ConflictingRequestError):
        await extend_bundle(*where, duration_ms=duration_ms, characters=characters, request_key="k")

    assert house.books.position == position


async def test_a_bundle_of_another_or_with_nothing_left_is_not_found(
    house: House, account_id: UUID
) -> None:
    opened = await open_bundle(house.gateway, account_id, [STT])
    stranger = await house.fund("0x" + "b" * 40, 100_000)
    assert opened[0].bundle_id is not None

    with pytest.raises(NotFoundError, match="Bundle"):
        await extend_bundle(
            house.gateway, stranger, opened[0].bundle_id, duration_ms=1, characters=0
        )
    await end_session(house.gateway, account_id, opened[0].session_id)
    with pytest.raises(NotFoundError, match="Open session"):
        await extend_bundle(
            house.gateway, account_id, opened[0].bundle_id, duration_ms=1, characters=0
        )
