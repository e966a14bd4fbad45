"""A gateway killed between any two steps of taking a payment: one credit, and one transfer.

On Base and on Tempo; Solana and TRON have theirs beside their other tests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from adapters.cli.customer import Customer
from tests.e2e.conftest import GatewayProcess, StartGateway
from tests.e2e.mpp_payer import MppPayer
from tests.e2e.payer import Payer

DOOM = str(Path(__file__).parent / "purchase_doom")
BARE = {"role": "gateway", "PAYPHONE_FLEET_SECRET": "the secret of a fleet that is not there"}
STEPS = 8
PRICE = 100_000

Present = Callable[[GatewayProcess], Awaitable[httpx.Response]]


@dataclass(frozen=True)
class Way:
    """A rail to be killed at, and a payment on it that any gateway can be shown."""

    rail: str
    network: str
    pay: Callable[[GatewayProcess], Awaitable[Present]]


async def on_base(gateway: GatewayProcess) -> Present:
    payer = Payer(gateway.url, gateway.secret_key)
    proof = await payer.proof()

    async def present(at: GatewayProcess) -> httpx.Response:
        return await Payer(at.url, payer.secret_key).post(payer.body(), proof)

    return present


async def on_tempo(gateway: GatewayProcess) -> Present:
    play = gateway.ready["sandbox"]
    payer = MppPayer(gateway.url, play["tempo_private_key"], play["tempo_rpc_url"])
    credential = await payer.credential()

    async def present(at: GatewayProcess) -> httpx.Response:
        return await payer.post(payer.body(), credential, url=at.url)

    return present


WAYS = {
    "base": Way("adapters.rails.x402:X402Rail", "base", on_base),
    "tempo": Way("adapters.rails.mpp:MppRail", "tempo", on_tempo),
}


async def received(gateway: GatewayProcess, network: str) -> int:
    """What the gateway was paid on this chain so far."""
    async with httpx.AsyncClient() as http:
        chains = (await http.get(f"{gateway.url}/sandbox/chains")).json()["chains"]
    return next(int(chain["pay_to_balance"]) for chain in chains if chain["name"] == network)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("steps", range(STEPS))
async def test_killed_between_any_two_steps_it_credits_once(
    start: StartGateway, way: Way, steps: int
) -> None:
    doomed = start(**BARE, PYTHONPATH=DOOM, DOOM_AFTER=str(steps), DOOM_RAIL=way.rail)
    present = await way.pay(doomed)
    with pytest.raises(httpx.HTTPError):
        await present(doomed)
    doomed.process.wait(timeout=10)

    healed = start(**BARE)
    again = await present(healed)

    assert again.status_code == 200
    async with Customer(healed.url, healed.secret_key) as customer:
        account = await customer.call("GET", "/v1/account")
    assert account["credit_balance"] == str(PRICE)
    assert await received(healed, way.network) == PRICE
