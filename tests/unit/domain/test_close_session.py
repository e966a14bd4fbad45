from __future__ import annotations

from uuid import UUID

import pytest

from adapters.keys import check_signature
from domain.account import Account
from domain.audit import verify_bill
from domain.errors import ConflictingRequestError, NotFoundError, SessionOpenError
from domain.ledger import Work
from domain.price_list import PublishedPriceBook
from domain.pricing import PriceBook
from domain.session import Session
from domain.use_cases.close_session import end_bundle, end_session, settle_session
from domain.use_cases.open_session import SessionRequest, Ticket, open_bundle, open_session
from domain.use_cases.publish_prices import publish_prices
from domain.use_cases.read_bill import read_bill
from tests.fakes.gateway import House
from tests.fakes.log import SIGNER_KEY

MINUTE_MS = 60_000
STT = SessionRequest(service="stt", quantity=MINUTE_MS)
TTS = SessionRequest(service="tts", quantity=1_000)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def account_id(house: House) -> UUID:
    return await house.fund("0x" + "a" * 40, 100_000)


@pytest.fixture
async def ticket(house: House, account_id: UUID) -> Ticket:
    await publish_prices(house.gateway)
    return await open_session(house.gateway, account_id, STT)


async def account(house: House, account_id: UUID) -> Account:
    return await house.books.run(lambda work: work.account(account_id))


async def run_clock(house: House, ticket: Ticket, ms: int) -> None:
    """Let a connection be there for so long, and leave its clock running."""
    now_ms = house.clock.now_ms()
    await house.books.run(
        lambda work: work.session(ticket.session_id).resume(UUID(int=9), at_ms=now_ms)
    )
    await house.clock.advance(ms)


class Speaker:
    """A line with characters that are not in the ledger yet."""

    def __init__(self, house: House, session_id: UUID, spoken: int) -> None:
        self._house = house
        self._session_id = session_id
        self._spoken = spoken
        self.rung = 0

    async def catch_up(self) -> None:
        now_ms = self._house.clock.now_ms()

        def command(work: Work) -> None:
            work.session(self._session_id).speak(self._spoken, at_ms=now_ms)

        await self._house.books.run(command)

    async def taken_over(self) -> None: ...

    def changed(self) -> None:
        self.rung += 1


async def test_ending_charges_what_was_used_and_returns_the_rest(
    house: House, account_id: UUID, ticket: Ticket
) -> None:
    """B8: 10,001 ms at 6,000 µcr a minute are 1,000.1, rounded up once."""
    await run_clock(house, ticket, 10_001)

    ended = await end_session(house.gateway, account_id, ticket.session_id)

    assert (ended.used, ended.charged.value, ended.refunded.value) == (10_001, 1_001, 4_999)
    holder = await account(house, account_id)
    assert holder.available.value == 98_999
    assert not holder.reserved


async def test_an_unused_session_costs_nothing(
    house: House, account_id: UUID, ticket: Ticket
) -> None:
    await house.clock.advance(30_000)

    ended = await end_session(house.gateway, account_id, ticket.session_id)

    assert (ended.charged.value, ended.refunded.value) == (0, 6_000)


async def test_ending_again_answers_as_it_ended(
    house: House, account_id: UUID, ticket: Ticket
) -> None:
    """B8, B12."""
    await run_clock(house, ticket, 5_000)
    first = await end_session(house.gateway, account_id, ticket.session_id)
    position = house.books.position
    await house.clock.advance(5_000)

    again = await end_session(house.gateway, account_id, ticket.session_id)

    assert again == first
    assert house.books.position == position


async def test_the_charge_and_the_rest_are_two_lines(
    house: House, account_id: UUID, ticket: Ticket
) -> None:
    """B8."""
    await run_clock(house, ticket, 10_000)
    await end_session(house.gateway, account_id, ticket.session_id)

    bill = await read_bill(house.gateway, account_id, ticket.session_id)

    lines = {line["kind"]: line for line in bill["statement"]["lines"]}
    assert lines["charged"]["microcredits"] == 1_000
    assert lines["refunded"]["microcredits"] == 5_000


async def test_another_wallet_ends_nothing(house: House, ticket: Ticket) -> None:
    stranger = await house.fund("0x" + "b" * 40, 1)

    with pytest.raises(NotFoundError):
        await end_session(house.gateway, stranger, ticket.session_id)


async def test_a_live_connection_settles_up_first_and_is_told(
    house: House, account_id: UUID
) -> None:
    """B6, B8."""
    ticket = await open_session(house.gateway, account_id, TTS)
    speaker = Speaker(house, ticket.session_id, 250)
    house.gateway.switchboard.connect(ticket.session_id, speaker)

    ended = await end_session(house.gateway, account_id, ticket.session_id)

    assert (ended.used, ended.charged.value) == (250, 2_000)
    assert speaker.rung == 1


@pytest.mark.parametrize("reason", ["spent", "expired"])
async def test_a_session_remembers_why_it_ended(house: House, ticket: Ticket, reason: str) -> None:
    settled = await settle_session(house.gateway, ticket.session_id, reason=reason)

    assert (settled.reason, settled.closed_at_ms) == (reason, house.clock.now_ms())


async def test_ending_a_bundle_ends_all_of_it(house: House, account_id: UUID) -> None:
    tickets = await open_bundle(house.gateway, account_id, [STT, TTS])
    assert tickets[0].bundle_id is not None

    ended = await end_bundle(house.gateway, account_id, tickets[0].bundle_id)

    assert [session.id for session in ended] == [t.session_id for t in tickets]
    assert not any(session.is_open for session in ended)
    assert (await account(house, account_id)).available.value == 100_000


async def test_another_wallet_ends_no_bundle(house: House, account_id: UUID) -> None:
    tickets = await open_bundle(house.gateway, account_id, [STT])
    stranger = await house.fund("0x" + "b" * 40, 1)
    assert tickets[0].bundle_id is not None

    with pytest.raises(NotFoundError, match="Bundle"):
        await end_bundle(house.gateway, stranger, tickets[0].bundle_id)


async def test_the_bill_of_an_ended_session_proves_itself(
    house: House, account_id: UUID, ticket: Ticket
) -> None:
    await run_clock(house, ticket, 10_000)
    # Others' business stands in between, and on nobody else's bill.
    await open_session(house.gateway, account_id, TTS)
    await end_session(house.gateway, account_id, ticket.session_id)

    bill = await read_bill(house.gateway, account_id, ticket.session_id)

    verdict = verify_bill(bill, check=check_signature, trusted=SIGNER_KEY)
    assert (verdict.charged, verdict.refunded) == (1_000, 5_000)
    assert bill["statement"]["session"]["id"] == str(ticket.session_id)


async def test_an_open_session_has_no_bill_yet(
    house: House, account_id: UUID, ticket: Ticket
) -> None:
    with pytest.raises(SessionOpenError, match="still open; end it first"):
        await read_bill(house.gateway, account_id, ticket.session_id)


async def test_anothers_bill_is_not_found(house: House, ticket: Ticket) -> None:
    stranger = await house.fund("0x" + "b" * 40, 1)

    with pytest.raises(NotFoundError):
        await read_bill(house.gateway, stranger, ticket.session_id)


async def test_prices_are_published_once(house: House) -> None:
    """B2."""
    await publish_prices(house.gateway)
    await publish_prices(house.gateway)

    (record,) = house.books.records()
    assert record.topic == "price_book.published"
    assert record.fields["content"] == house.gateway.price_book.content


async def test_other_rates_under_a_published_name_are_refused(house: House) -> None:
    """B2."""
    await publish_prices(house.gateway)
    other = PriceBook(
        version=house.gateway.price_book.version, tariffs=house.gateway.price_book.tariffs[:1]
    )

    def command(work: Work) -> None:
        book_id = PublishedPriceBook.create_id(other.version)
        published = work.find(PublishedPriceBook, book_id)
        assert published is not None
        published.check_same(other)

    with pytest.raises(ConflictingRequestError, match="price book version 2026-1"):
        await house.books.run(command)


async def test_a_settled_session_is_the_same_after_replay(
    house: House, account_id: UUID, ticket: Ticket
) -> None:
    await run_clock(house, ticket, 1_234)
    ended = await end_session(house.gateway, account_id, ticket.session_id)

    replayed = house.books.ledger.load(ticket.session_id)

    assert isinstance(replayed, Session)
    assert replayed == ended
