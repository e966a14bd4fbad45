from __future__ import annotations

import ast
import pickle
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from domain.errors import GatewayError, NotFoundError
from domain.ledger import Work
from domain.session import Session
from domain.use_cases.extend_session import extend_bundle, extend_session
from domain.use_cases.meter import Meter
from domain.use_cases.open_session import SessionRequest, open_bundle, open_session
from tests.fakes.gateway import House
from tests.unit.domain.test_errors import EXAMPLES

ROOT = Path(__file__).parents[3]
SOURCES = sorted([*(ROOT / "domain").rglob("*.py"), *(ROOT / "adapters").rglob("*.py")])
MINUTE_MS = 60_000
STT = SessionRequest(service="stt", quantity=MINUTE_MS)
FIRST, SECOND = UUID(int=1), UUID(int=2)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def account_id(house: House) -> UUID:
    return await house.fund("0x" + "a" * 40, 100_000)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_command_is_a_closure(path: Path) -> None:
    asked = [
        call
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("books.run")
    ]

    assert [ast.unparse(call) for call in asked if isinstance(call.args[0], ast.Lambda)] == []


async def test_the_gateway_of_the_tests_sends_every_command_through_pickle(house: House) -> None:
    with pytest.raises(AttributeError, match="local object"):
        await house.gateway.books.run(lambda work: work)


async def test_the_gateway_of_the_tests_asks_every_command_twice(
    house: House, account_id: UUID
) -> None:
    with pytest.raises(AssertionError, match="more the second time"):
        await house.gateway.books.run(partial(_charge_a_minute, account_id=account_id))


@pytest.mark.parametrize("refusal", EXAMPLES, ids=lambda refusal: refusal.code)
def test_a_refusal_survives_the_journey_with_its_facts(refusal: GatewayError) -> None:
    arrived = pickle.loads(pickle.dumps(refusal))  # noqa: S301 (our own)

    assert type(arrived) is type(refusal)
    assert vars(arrived) == vars(refusal)
    assert str(arrived) == str(refusal)


async def test_a_refusal_of_a_command_is_the_same_from_afar(house: House) -> None:
    with pytest.raises(NotFoundError, match="Session not found"):
        await house.gateway.books.run(partial(Work.session, session_id=FIRST))


async def test_two_extensions_without_a_key_are_two(house: House, account_id: UUID) -> None:
    ticket = await open_session(house.gateway, account_id, STT)

    for _ in range(2):
        ticket = await extend_session(
            house.gateway, account_id, ticket.session_id, service="stt", quantity=MINUTE_MS
        )

    assert ticket.quantity == 3 * MINUTE_MS


async def test_an_extension_asked_again_leaves_what_was_not_in_it_alone(
    house: House, account_id: UUID
) -> None:
    longer = SessionRequest(service="stt", quantity=2 * MINUTE_MS)
    brief, _ = await open_bundle(house.gateway, account_id, [STT, longer])
    meter = await _started(house, brief.session_id, FIRST)
    gone_ms = house.clock.now_ms()
    await house.clock.advance(MINUTE_MS)
    assert brief.bundle_id is not None
    more = partial(extend_bundle, house.gateway, account_id, brief.bundle_id, request_key="k")
    first = await more(duration_ms=MINUTE_MS, characters=0)
    await meter.stop(gone_ms)

    again = await more(duration_ms=MINUTE_MS, characters=0)

    assert [t.quantity for t in first] == [3 * MINUTE_MS]
    assert [t.quantity for t in again] == [MINUTE_MS, 3 * MINUTE_MS]


async def test_a_start_that_comes_again_after_another_connection_bills_nothing_twice(
    house: House, account_id: UUID
) -> None:
    ticket = await open_session(house.gateway, account_id, STT)
    began_ms = house.clock.now_ms()
    start = partial(_resume, session_id=ticket.session_id, connection_id=FIRST, at_ms=began_ms)
    await house.books.run(start)
    await house.clock.advance(10_000)
    meter = await _started(house, ticket.session_id, SECOND)
    await house.clock.advance(5_000)
    await meter.stop()

    session = await house.books.run(start)

    assert session.used_at(house.clock.now_ms()) == 15_000


def _charge_a_minute(work: Work, *, account_id: UUID) -> None:
    account = work.account(account_id)
    account.reserve(
        account.available,
        session_id=UUID(int=account.version),
        service="stt",
        unit_id=FIRST,
        at_ms=1,
    )


def _resume(work: Work, *, session_id: UUID, connection_id: UUID, at_ms: int) -> Session:
    session = work.session(session_id)
    session.resume(connection_id, at_ms=at_ms)
    return session


async def _started(house: House, session_id: UUID, connection_id: UUID) -> Meter:
    session = await house.books.run(partial(Work.session, session_id=session_id))
    meter = Meter(house.booth, session, connection_id)
    await meter.start()
    return meter
