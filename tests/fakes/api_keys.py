"""Keys for tests to spend with."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from domain.api_key import ApiKey, KeyScope
from domain.ledger import Work
from domain.money import Microcredits
from domain.use_cases.api_keys import issue_key
from tests.fakes.gateway import House

ALL_SERVICES = frozenset({"stt", "tts", "webrtc"})
# Throwaway.
SECRET = "a secret of the tests"


async def issued(
    house: House,
    account_id: UUID,
    *,
    services: frozenset[str] = ALL_SERVICES,
    day_max: int = 10**9,
    total_max: int = 10**9,
) -> UUID:
    """A new key of the account, by its id."""
    scope = KeyScope(
        services=services, day_max=Microcredits(day_max), total_max=Microcredits(total_max)
    )
    return (await issue_key(house.gateway, account_id, scope, label="", secret=SECRET)).key.id


async def key_in_ledger(house: House, key_id: UUID) -> ApiKey:
    return await house.books.run(partial(Work.api_key, key_id=key_id))
