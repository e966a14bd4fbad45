from __future__ import annotations

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from adapters.http.gate import FAILURE_COST, Gate, caller_ip
from adapters.http.origin import Origins, networks_of
from domain.errors import GatewayError, RateLimitError, UnauthenticatedError
from tests.fakes.clock import ManualClock
from tests.fakes.street import Street, Wallet

PROXY, ANN, BEN = "10.0.0.1", "93.184.216.34", "93.184.216.35"
OPEN, SIGNED = "/v1/pricing", "/v1/account"


class Door:
    """A gate behind a trusted proxy, at ten requests a second; behind it everything is found."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.gate = Gate(self.clock, origins=Origins(networks_of(PROXY)), rate_max=10)
        self.served: list[str] = []

    async def come(self, path: str, ip: str = ANN, *, signed: bool = True) -> type | None:
        """How a request is refused, if it is."""

        async def handler(request: web.Request) -> web.StreamResponse:
            self.served.append(caller_ip(request))
            if not signed:
                raise UnauthenticatedError("no")
            return web.Response()

        request = make_mocked_request("GET", path, headers={"X-Forwarded-For": ip})
        try:
            await self.gate.pass_in(request.clone(remote=PROXY), handler)
        except GatewayError as refusal:
            return type(refusal)
        return None

    async def exhaust(self) -> int:
        """How many requests an open route answered Ann at once."""
        number = 0
        while await self.come(OPEN) is None:
            number += 1
        return number


async def test_open_routes_are_counted_by_address() -> None:
    door = Door()

    assert await door.exhaust() == 20
    assert await door.come(OPEN, BEN) is None


async def test_an_address_that_waits_is_welcome_again() -> None:
    door = Door()
    await door.exhaust()

    await door.clock.advance(100)

    assert await door.come(OPEN) is None


async def test_signed_requests_are_not_counted_by_address() -> None:
    door = Door()

    assert {await door.come(SIGNED) for _ in range(100)} == {None}


async def test_signatures_that_do_not_hold_are_and_cost_more() -> None:
    door = Door()

    refusals = [await door.come(SIGNED, signed=False) for _ in range(8)]

    assert refusals == [UnauthenticatedError] * (20 // FAILURE_COST) + [RateLimitError] * 4
    assert len(door.served) == 20 // FAILURE_COST


async def test_a_wallet_elsewhere_does_not_notice() -> None:
    door = Door()
    for _ in range(8):
        await door.come(SIGNED, signed=False)

    assert await door.come(SIGNED, BEN) is None


async def test_a_flood_is_forgiven_after_two_seconds_however_long_it_was() -> None:
    door = Door()
    for _ in range(100):
        await door.come(SIGNED, signed=False)

    await door.clock.advance(2_000)

    assert await door.exhaust() == 20


async def test_the_request_knows_where_it_came_from() -> None:
    door = Door()

    await door.come(OPEN, BEN)

    assert door.served == [BEN]


def test_a_request_that_passed_no_gate_came_from_nowhere() -> None:
    assert caller_ip(make_mocked_request("GET", "/")) == ""


async def test_a_refusal_at_the_gate_has_the_contracts_text_and_header(street: Street) -> None:
    answers = [await street.call("GET", "/v1/pricing") for _ in range(201)]

    assert [a.status for a in answers] == [200] * 200 + [429]
    assert "concurrent" not in answers[-1].json["error"].lower()
    assert answers[-1].headers["Retry-After"] == "1"


async def test_wrong_signatures_are_refused_unread_after_a_while(street: Street) -> None:
    stranger = Wallet("0x" + "03" * 32)
    forged = {**stranger.headers("GET", "/elsewhere", street.house.clock.now_ms() // 1000)}

    statuses = [(await street.call("GET", SIGNED, headers=forged)).status for _ in range(42)]

    assert statuses == [401] * 40 + [429] * 2


@pytest.mark.parametrize("path", ["/v1/stream", "/v1/nothing", "/verify", "/internal/health"])
async def test_every_route_without_a_signature_is_counted(path: str) -> None:
    door = Door()
    await door.exhaust()

    assert await door.come(path) is RateLimitError
