"""How keys are issued, listed, recognised and revoked."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import pytest

from domain.api_key import KEYS_MAX, KeyScope
from domain.errors import (
    ConflictingRequestError,
    LedgerDownError,
    MalformedError,
    NotFoundError,
    TooManyKeysError,
    UnauthenticatedError,
)
from domain.money import Microcredits
from domain.use_cases.api_keys import (
    hash_of_secret,
    holds_secret,
    issue_key,
    list_keys,
    recognise_key,
    revoke_key,
)
from domain.use_cases.close_session import end_session
from domain.use_cases.open_session import SessionRequest, open_session
from tests.fakes.api_keys import ALL_SERVICES, SECRET, issued, key_in_ledger
from tests.fakes.gateway import House

STT = SessionRequest(service="stt", quantity=60_000)


@pytest.fixture
def house() -> House:
    return House()


@pytest.fixture
async def account_id(house: House) -> UUID:
    return await house.fund("0x" + "a" * 40, 1_000_000)


async def test_a_revoked_key_opens_nothing_and_its_session_settles(
    house: House, account_id: UUID
) -> None:
    key_id = await issued(house, account_id)
    ticket = await open_session(house.gateway, account_id, STT, api_key_id=key_id)
    await revoke_key(house.gateway, account_id, key_id)

    with pytest.raises(UnauthenticatedError, match="revoked"):
        await open_session(house.gateway, account_id, STT, api_key_id=key_id)
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await recognise_key(house.gateway, key_id, SECRET)
    await end_session(house.gateway, account_id, ticket.session_id)
    assert (await key_in_ledger(house, key_id)).spent == Microcredits(0)


async def test_an_expired_key_opens_nothing(house: House, account_id: UUID) -> None:
    until_ms = house.clock.now_ms() + 1
    scope = KeyScope(services=ALL_SERVICES, expires_at_ms=until_ms)
    key_id = (await issue_key(house.gateway, account_id, scope, label="", secret=SECRET)).key.id
    assert (await recognise_key(house.gateway, key_id, SECRET)).account_id == account_id
    await house.clock.advance(1)

    with pytest.raises(UnauthenticatedError, match="expired"):
        await open_session(house.gateway, account_id, STT, api_key_id=key_id)
    with pytest.raises(UnauthenticatedError, match="expired"):
        await recognise_key(house.gateway, key_id, SECRET)


async def test_a_key_that_would_be_expired_is_not_issued(house: House, account_id: UUID) -> None:
    scope = KeyScope(services=ALL_SERVICES, expires_at_ms=house.clock.now_ms())

    with pytest.raises(MalformedError, match="expires_at"):
        await issue_key(house.gateway, account_id, scope, label="the past", secret=SECRET)

    assert house.details.kept == {}


async def test_only_the_secret_itself_is_recognised(house: House, account_id: UUID) -> None:
    key_id = await issued(house, account_id)

    for wrong_id, secret in ((key_id, SECRET + "x"), (account_id, SECRET), (UUID(int=7), SECRET)):
        with pytest.raises(UnauthenticatedError, match="not known"):
            await recognise_key(house.gateway, wrong_id, secret)


async def test_no_secret_and_no_label_is_in_the_log(house: House, account_id: UUID) -> None:
    await issue_key(
        house.gateway,
        account_id,
        KeyScope(services=ALL_SERVICES),
        label="Anna's laptop",
        secret=SECRET,
        request_key="api_key:k",
    )

    log = b"".join(record.state for record in house.books.records())
    assert b"Anna" not in log
    assert SECRET.encode() not in log
    assert hash_of_secret(SECRET).encode() in log


async def test_a_key_asked_for_again_is_the_first_one(house: House, account_id: UUID) -> None:
    """B12."""
    scope = KeyScope(services=ALL_SERVICES)
    ask = partial(issue_key, house.gateway, account_id, request_key="api_key:k")
    first = await ask(scope, label="a", secret="one")
    position = house.books.position

    again = await ask(scope, label="a", secret="two")

    assert again == first
    assert (holds_secret(again.key, "one"), holds_secret(again.key, "two")) == (True, False)
    assert house.books.position == position
    with pytest.raises(ConflictingRequestError):
        await ask(scope, label="b", secret="three")
    assert [key.label for key in await list_keys(house.gateway, account_id)] == ["a"]


async def test_a_label_stays_where_nobody_knows_whether_its_key_is_there(
    house: House, account_id: UUID
) -> None:
    house.books.down = True

    with pytest.raises(LedgerDownError):
        await issue_key(
            house.gateway, account_id, KeyScope(services=ALL_SERVICES), label="a", secret=SECRET
        )

    assert [details.metadata for details in house.details.kept.values()] == ["a"]


async def test_keys_are_listed_newest_first_each_with_its_label(
    house: House, account_id: UUID
) -> None:
    for label in ("a", "", "b"):
        scope = KeyScope(services=ALL_SERVICES)
        await issue_key(house.gateway, account_id, scope, label=label, secret=SECRET)

    assert [key.label for key in await list_keys(house.gateway, account_id)] == ["b", "", "a"]


async def test_another_wallets_key_is_not_found(house: House, account_id: UUID) -> None:
    key_id = await issued(house, account_id)
    other_id = await house.fund("0x" + "b" * 40, 1)

    with pytest.raises(NotFoundError, match="API key not found"):
        await revoke_key(house.gateway, other_id, key_id)

    assert await list_keys(house.gateway, other_id) == ()


async def test_a_full_ring_gives_up_the_oldest_dead_key_and_no_working_one(
    house: House, account_id: UUID
) -> None:
    key_ids = [await issued(house, account_id) for _ in range(KEYS_MAX)]
    with pytest.raises(TooManyKeysError):
        await issued(house, account_id)
    for key_id in key_ids[3:5]:
        await revoke_key(house.gateway, account_id, key_id)

    newest = await issued(house, account_id)

    listed = [key.key.id for key in await list_keys(house.gateway, account_id)]
    assert listed == [newest, *reversed(key_ids[4:]), *reversed(key_ids[:3])]
