from __future__ import annotations

import json
from collections.abc import Awaitable
from uuid import UUID

import pytest

from domain.account import Account
from domain.errors import (
    BusyError,
    ConcurrencyLimitError,
    ConflictingRequestError,
    GatewayError,
    InsufficientCreditsError,
    LedgerDownError,
    NoCapacityError,
    NotFoundError,
    SessionOverError,
)
from domain.gateway import Terms
from domain.ports.private import SessionDetails
from domain.session import Session
from domain.use_cases.close_session import end_session
from domain.use_cases.open_session import SessionRequest, Ticket, open_bundle, open_session
from tests.fakes.gateway import House

WALLET = "0x" + "a" * 40
MINUTE_MS = 60_000
STT = SessionRequest(service="stt", quantity=MINUTE_MS, language="en")
TTS = SessionRequest(service="tts", quantity=1_000)
ROOM = SessionRequest(
    service="webrtc",
    quantity=MINUTE_MS,
    room_name="room",
    identity="who",
    metadata='{"a":1}',
    client_ip="192.0.2.7",
    role="agent",
)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def account_id(house: House) -> UUID:
    return await house.fund(WALLET, 100_000)


async def session(house: House, ticket: Ticket) -> Session:
    return await house.books.run(lambda work: work.session(ticket.session_id))


async def account(house: House, account_id: UUID) -> Account:
    return await house.books.run(lambda work: work.account(account_id))


async def refuses(house: House, kind: type[GatewayError], attempt: Awaitable[object]) -> None:
    """The refusal comes, and neither the ledger nor the names know of the attempt."""
    position, names = house.books.position, dict(house.details.kept)
    with pytest.raises(kind):
        await attempt
    assert house.books.position == position
    assert house.details.kept == names


async def test_names_are_kept_where_nobody_knows_what_was_opened(
    house: House, account_id: UUID
) -> None:
    house.books.down = True

    with pytest.raises(LedgerDownError):
        await open_session(house.gateway, account_id, STT)

    assert len(house.details.kept) == 1


async def test_opening_reserves_the_full_price(house: House, account_id: UUID) -> None:
    """B3."""
    ticket = await open_session(house.gateway, account_id, STT)

    holder = await account(house, account_id)
    assert holder.available.value == 94_000
    assert {i: r.value for i, r in holder.reserved.items()} == {ticket.session_id: 6_000}
    assert (await session(house, ticket)).reserved.value == 6_000


async def test_a_session_remembers_its_price_book(house: House, account_id: UUID) -> None:
    """B2."""
    opened = await session(house, await open_session(house.gateway, account_id, STT))

    assert opened.price_book == "2026-1"
    assert opened.tariff == house.gateway.price_book.tariff("stt")


async def test_a_clock_is_valid_for_its_time_and_the_pause_allowance(
    house: House, account_id: UUID
) -> None:
    """B5."""
    ticket = await open_session(house.gateway, account_id, STT)

    assert ticket.expires_at_ms == house.clock.now_ms() + MINUTE_MS + 60 * MINUTE_MS


async def test_characters_are_valid_for_an_hour(house: House, account_id: UUID) -> None:
    ticket = await open_session(house.gateway, account_id, TTS)

    assert ticket.expires_at_ms == house.clock.now_ms() + 60 * MINUTE_MS


async def test_the_key_of_a_speech_session_names_it(house: House, account_id: UUID) -> None:
    ticket = await open_session(house.gateway, account_id, STT)

    key = house.gateway.keys.read(ticket.token)
    assert (key.session_id, key.service) == (ticket.session_id, "stt")
    assert key.expires_at_ms >= ticket.expires_at_ms
    assert (ticket.url, ticket.quantity) == ("http://stt.test", MINUTE_MS)


async def test_a_room_session_is_a_ticket_to_the_room(house: House, account_id: UUID) -> None:
    ticket = await open_session(house.gateway, account_id, ROOM)

    ((join, client_ip),) = house.rooms.joins
    assert (join.session_id, join.room_name, join.identity, join.metadata) == (
        str(ticket.session_id),
        "room",
        "who",
        '{"a":1}',
    )
    assert client_ip == "192.0.2.7"
    assert join.expires_at_ms == ticket.expires_at_ms
    # Room servers allow no skew: the token must be good already.
    assert join.not_before_ms == house.clock.now_ms() - 10_000
    assert ticket.url == "wss://node.test"


async def test_names_of_people_stay_beside_the_ledger(house: House, account_id: UUID) -> None:
    request = SessionRequest(
        service="webrtc",
        quantity=MINUTE_MS,
        room_name="Room of Ann",
        identity="Ann Example",
        metadata="born 1970",
    )

    ticket = await open_session(house.gateway, account_id, request, request_key="k")

    history = b"".join(record.leaf for record in house.books.records())
    assert not any(name in history for name in (b"Ann", b"1970"))
    assert house.details.kept[ticket.session_id] == SessionDetails(
        server_url="wss://node.test",
        room_name="Room of Ann",
        identity="Ann Example",
        metadata="born 1970",
    )


async def test_what_cannot_be_paid_is_refused_whole(house: House, account_id: UUID) -> None:
    """B3."""
    dear = SessionRequest(service="tts", quantity=12_501)

    await refuses(house, InsufficientCreditsError, open_session(house.gateway, account_id, dear))


async def test_the_last_microcredit_can_be_reserved(house: House, account_id: UUID) -> None:
    await open_session(house.gateway, account_id, SessionRequest(service="tts", quantity=12_500))

    assert (await account(house, account_id)).available.value == 0


async def test_an_unknown_account_is_not_found(house: House) -> None:
    await refuses(house, NotFoundError, open_session(house.gateway, UUID(int=5), STT))


async def test_a_service_nobody_can_give_is_refused_before_anything(
    house: House, account_id: UUID
) -> None:
    house.close_service("stt")
    house.close_service("tts")

    for request in (STT, TTS):
        await refuses(house, NoCapacityError, open_session(house.gateway, account_id, request))
    await open_session(house.gateway, account_id, ROOM)


async def test_open_sessions_are_limited(account_id: UUID) -> None:
    """B14."""
    house = House(terms=Terms(units_max=2))
    account_id = await house.fund(WALLET, 100_000)
    first = await open_session(house.gateway, account_id, STT)
    await open_session(house.gateway, account_id, STT)

    await refuses(house, ConcurrencyLimitError, open_session(house.gateway, account_id, STT))

    await end_session(house.gateway, account_id, first.session_id)
    await open_session(house.gateway, account_id, STT)


async def test_a_bundle_counts_once(account_id: UUID) -> None:
    """B14."""
    house = House(terms=Terms(units_max=2))
    account_id = await house.fund(WALLET, 100_000)

    await open_bundle(house.gateway, account_id, [ROOM, STT, TTS])
    await open_bundle(house.gateway, account_id, [ROOM, STT, TTS])

    await refuses(
        house, ConcurrencyLimitError, open_bundle(house.gateway, account_id, [ROOM, STT, TTS])
    )


async def test_a_bundle_opens_in_the_order_asked(house: House, account_id: UUID) -> None:
    tickets = await open_bundle(house.gateway, account_id, [ROOM, STT, TTS])

    assert [(t.service, t.role, t.quantity) for t in tickets] == [
        ("webrtc", "agent", MINUTE_MS),
        ("stt", "", MINUTE_MS),
        ("tts", "", 1_000),
    ]
    (bundle_id,) = {t.bundle_id for t in tickets}
    assert bundle_id is not None
    bundle = await house.books.run(lambda work: work.bundle(bundle_id))
    assert bundle.session_ids == tuple(t.session_id for t in tickets)
    assert bundle.account_id == account_id


async def test_everything_in_a_bundle_lives_as_long_as_its_longest(
    house: House, account_id: UUID
) -> None:
    longer = SessionRequest(service="stt", quantity=3 * MINUTE_MS)

    tickets = await open_bundle(house.gateway, account_id, [ROOM, longer, TTS])

    assert {t.expires_at_ms for t in tickets} == {house.clock.now_ms() + 63 * MINUTE_MS}


async def test_a_bundle_reserves_all_or_nothing(house: House, account_id: UUID) -> None:
    """B3."""
    too_much = SessionRequest(service="tts", quantity=12_000)

    await refuses(
        house,
        InsufficientCreditsError,
        open_bundle(house.gateway, account_id, [ROOM, STT, too_much]),
    )
    assert (await account(house, account_id)).available.value == 100_000


async def test_the_same_key_again_is_the_same_session(house: House, account_id: UUID) -> None:
    """B12."""
    first = await open_session(house.gateway, account_id, STT, request_key="k")
    position = house.books.position

    again = await open_session(house.gateway, account_id, STT, request_key="k")

    assert again == first
    assert house.books.position == position


async def test_the_same_key_again_is_the_same_bundle(house: House, account_id: UUID) -> None:
    """B12."""
    first = await open_bundle(house.gateway, account_id, [ROOM, STT], request_key="k")

    again = await open_bundle(house.gateway, account_id, [ROOM, STT], request_key="k")

    assert again == first
    assert (await account(house, account_id)).units_open == 1


@pytest.mark.parametrize(
    "other",
    [
        TTS,
        SessionRequest(service="stt", quantity=MINUTE_MS + 1, language="en"),
        SessionRequest(service="stt", quantity=MINUTE_MS, language="es"),
    ],
)
async def test_the_same_key_for_something_else_is_refused(
    house: House, account_id: UUID, other: SessionRequest
) -> None:
    """B12."""
    await open_session(house.gateway, account_id, STT, request_key="k")

    await refuses(
        house,
        ConflictingRequestError,
        open_session(house.gateway, account_id, other, request_key="k"),
    )


@pytest.mark.parametrize("requests", [[ROOM], [STT, ROOM], [ROOM, STT, TTS]])
async def test_the_same_key_for_another_bundle_is_refused(
    house: House, account_id: UUID, requests: list[SessionRequest]
) -> None:
    """B12."""
    await open_bundle(house.gateway, account_id, [ROOM, STT], request_key="k")

    await refuses(
        house,
        ConflictingRequestError,
        open_bundle(house.gateway, account_id, requests, request_key="k"),
    )


async def test_one_key_is_not_a_session_and_a_bundle(house: House, account_id: UUID) -> None:
    """B12."""
    await open_session(house.gateway, account_id, STT, request_key="session first")
    await open_bundle(house.gateway, account_id, [ROOM, STT], request_key="bundle first")

    await refuses(
        house,
        ConflictingRequestError,
        open_bundle(house.gateway, account_id, [ROOM, STT], request_key="session first"),
    )
    await refuses(
        house,
        ConflictingRequestError,
        open_session(house.gateway, account_id, STT, request_key="bundle first"),
    )


async def test_a_key_whose_session_is_over_opens_no_other(house: House, account_id: UUID) -> None:
    first = await open_session(house.gateway, account_id, STT, request_key="k")
    await end_session(house.gateway, account_id, first.session_id)

    await refuses(
        house, SessionOverError, open_session(house.gateway, account_id, STT, request_key="k")
    )


async def test_two_wallets_may_use_one_key(house: House, account_id: UUID) -> None:
    other_id = await house.fund("0x" + "b" * 40, 100_000)

    mine = await open_session(house.gateway, account_id, STT, request_key="k")
    theirs = await open_session(house.gateway, other_id, STT, request_key="k")

    assert mine.session_id != theirs.session_id


async def test_without_a_key_every_request_is_its_own(house: House, account_id: UUID) -> None:
    one = await open_session(house.gateway, account_id, STT)
    two = await open_session(house.gateway, account_id, STT)

    assert one.session_id != two.session_id


async def test_a_refused_repeat_forgets_no_names(house: House, account_id: UUID) -> None:
    first = await open_session(house.gateway, account_id, ROOM, request_key="k")
    house.books.busy = True

    with pytest.raises(BusyError):
        await open_session(house.gateway, account_id, ROOM, request_key="k")

    assert house.details.kept[first.session_id].identity == "who"


async def test_the_fingerprint_of_a_request_is_all_the_log_knows_of_it(
    house: House, account_id: UUID
) -> None:
    await open_session(house.gateway, account_id, ROOM, request_key="k")
    await open_session(house.gateway, account_id, ROOM)

    hashes = [
        json.loads(r.state)["request_hash"]
        for r in house.books.records()
        if r.topic == "session.opened"
    ]
    assert [len(fingerprint) for fingerprint in hashes] == [64, 0]
