"""Dollars on Solana by the real clients: whatever goes wrong, none is lost and none is doubled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from solders.keypair import Keypair
from x402.http.clients.httpx import x402HttpxClient
from x402.schemas.v1 import PaymentRequiredV1

from tests.e2e.conftest import GatewayProcess, StartGateway
from tests.e2e.payer import PURCHASE
from tests.e2e.solana_payer import SolanaPayer
from tests.fakes.solana_client import solana_client

# Without speech of its own a gateway starts sooner.
BARE = {"role": "gateway", "PAYPHONE_FLEET_SECRET": "the secret of a fleet that is not there"}
DOOM = str(Path(__file__).parent / "purchase_doom")
RAIL = "adapters.rails.solana:SolanaRail"
# Before: a look into the ledger, verifying, (after it), the claim, settling, (after it), the
# credit, the answer.
STEPS = 8


@pytest.fixture
def payer(gateway: GatewayProcess) -> SolanaPayer:
    return SolanaPayer.of(gateway)


@pytest.fixture(scope="module")
def told(gateway: GatewayProcess, node: Callable[..., str]) -> dict[str, Any]:
    """What the npm clients got."""
    play = gateway.ready["sandbox"]
    found: dict[str, Any] = json.loads(
        node(
            "solana.mjs",
            gateway.url,
            play["solana_secret_key"],
            f"--solana={play['solana_rpc_url']}",
        )
    )
    return found


def test_the_dtelecom_client_buys_for_ten_cents_and_for_a_dollar(told: dict[str, Any]) -> None:
    assert told["dime"]["creditedMicrocredits"] == "100000"
    assert told["dollar"]["creditedMicrocredits"] == "1000000"
    assert told["dime"]["accountId"] == told["dollar"]["accountId"]


def test_above_a_dollar_the_client_itself_refuses(told: dict[str, Any]) -> None:
    assert told["more"]["name"] == "PaymentError"
    assert "spendControls" in told["more"]["message"]


def test_the_x402_projects_own_fetch_buys(told: dict[str, Any]) -> None:
    bought = told["fetch"]

    assert (bought["status"], bought["body"]["credited_microcredits"]) == (200, "250000")
    assert bought["receipt"]["success"] is True
    assert bought["receipt"]["network"].startswith("solana:")


async def test_the_httpx_client_buys(payer: SolanaPayer) -> None:
    with solana_client(payer.key, payer.rpc_url) as client:
        async with x402HttpxClient(client, timeout=60) as http:
            reply = await http.post(payer.url + PURCHASE, json=payer.body(0.25))

    assert reply.status_code == 200
    assert reply.json()["credited_microcredits"] == "250000"
    assert reply.headers["PAYMENT-RESPONSE"]


async def test_a_client_of_version_1_buys(payer: SolanaPayer) -> None:
    asked = await payer.post(payer.body())
    proof = await payer.sign(PaymentRequiredV1.model_validate(asked.json()))

    reply = await payer.post(payer.body(), proof)

    assert reply.status_code == 200
    assert reply.headers["X-PAYMENT-RESPONSE"]


async def test_a_replayed_proof_gets_the_first_answer(payer: SolanaPayer) -> None:
    proof = await payer.proof()
    first = await payer.post(payer.body(), proof)
    before = await payer.balance()

    again = await payer.post(payer.body(), proof)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert await payer.balance() == before


async def test_four_parallel_copies_are_one_purchase(payer: SolanaPayer) -> None:
    await payer.post(payer.body(), await payer.proof())
    before = await payer.balance()
    proof = await payer.proof()

    replies = await asyncio.gather(*(payer.post(payer.body(), proof) for _ in range(4)))

    assert [reply.status_code for reply in replies] == [200] * 4
    assert len({reply.text for reply in replies}) == 1
    assert await payer.balance() == before + 100_000


async def test_somebody_elses_wallet_is_refused_before_money_moves(payer: SolanaPayer) -> None:
    proof = await payer.proof()
    stranger = str(Keypair().pubkey())

    reply = await payer.post(payer.body(wallet=stranger), proof)
    honest = await payer.post(payer.body(), proof)

    assert reply.status_code == 400
    assert "wallet" in reply.json()["error"]
    assert honest.status_code == 200


async def test_more_than_was_asked_for_is_not_taken(payer: SolanaPayer) -> None:
    """The library takes it, and would keep what is too much."""
    terms = await payer.terms(payer.body(0.1))
    terms.accepts[0].amount = "250000"
    proof = await payer.sign(terms)

    reply = await payer.post(payer.body(0.1), proof)

    assert reply.status_code == 402
    assert "250000" in reply.json()["error"]
    assert (await payer.post(payer.body(0.25), proof)).status_code == 200


async def test_a_wallet_without_money_is_refused(gateway: GatewayProcess) -> None:
    rpc = gateway.ready["sandbox"]["solana_rpc_url"]
    poor = SolanaPayer(gateway.url, str(Keypair()), rpc)

    reply = await poor.post(poor.body(), await poor.proof())

    assert reply.status_code == 402
    assert isinstance(reply.json()["error"], str)


async def test_an_answer_lost_after_the_chain_moved_is_still_credited(start: StartGateway) -> None:
    payer = SolanaPayer.of(start("lose_answer=1", **BARE))
    proof = await payer.proof()

    reply = await payer.post(payer.body(), proof)
    again = await payer.post(payer.body(), proof)

    assert (reply.status_code, again.status_code) == (200, 200)
    assert await payer.balance() == 100_000


async def test_a_chain_that_goes_blind_asks_to_repeat_and_never_to_pay_again(
    start: StartGateway,
) -> None:
    gateway = start(**BARE)
    payer = SolanaPayer.of(gateway)
    proof = await payer.proof()
    gateway.kill()
    blind = SolanaPayer.of(start("chain_unreadable=1", **BARE))

    reply = await blind.post(blind.body(), proof)

    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0


async def test_a_facilitator_that_is_down_costs_nothing(start: StartGateway) -> None:
    payer = SolanaPayer.of(start("facilitator_down=1", **BARE))

    reply = await payer.post(payer.body())

    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0


async def test_success_that_is_only_said_gives_no_credit(start: StartGateway) -> None:
    payer = SolanaPayer.of(start("feign_success=1", **BARE))

    reply = await payer.post(payer.body(), await payer.proof())

    assert reply.status_code == 503
    assert "PAYMENT-RESPONSE" in reply.headers


def transactions(gateway: GatewayProcess) -> int:
    """How many the cluster has seen."""
    return (gateway.data / "sandbox-solana" / "1.journal").read_bytes().count(b"\n")


@pytest.mark.parametrize("steps", range(STEPS))
async def test_killed_between_any_two_steps_it_credits_once(
    start: StartGateway, steps: int
) -> None:
    doom = {"PYTHONPATH": DOOM, "DOOM_AFTER": str(steps), "DOOM_RAIL": RAIL}
    gateway = start(**BARE, **doom)
    payer = SolanaPayer.of(gateway)
    proof = await payer.proof()
    before = transactions(gateway)
    with pytest.raises(httpx.HTTPError):
        await payer.post(payer.body(), proof)
    gateway.process.wait(timeout=10)

    healed = start(**BARE)
    payer = SolanaPayer.of(healed)
    again = await payer.post(payer.body(), proof)

    assert again.status_code == 200
    assert await payer.balance() == 100_000
    assert transactions(healed) == before + 1


async def test_death_between_settle_and_credit_is_mended_without_the_customer(
    start: StartGateway,
) -> None:
    """Nobody repeats the proof: the look at the chain after the start finds the payment."""
    gateway = start("settle_delay_ms=60000", **BARE)
    payer = SolanaPayer.of(gateway)
    proof = await payer.proof()
    before = transactions(gateway)
    buying = asyncio.create_task(payer.post(payer.body(), proof))
    for _ in range(200):
        if transactions(gateway) > before:
            break
        await asyncio.sleep(0.05)
    gateway.kill()
    await asyncio.gather(buying, return_exceptions=True)

    healed = SolanaPayer.of(start(**BARE))
    for _ in range(100):
        if await healed.has_account():
            break
        await asyncio.sleep(0.1)

    assert await healed.balance() == 100_000
    assert transactions(gateway) == before + 1
