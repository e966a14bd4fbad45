"""Money by the official x402 client: whatever goes wrong, no coin is lost and none is doubled."""

from __future__ import annotations

import asyncio

import pytest
from eth_account import Account
from x402 import x402Client
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.evm.exact.register import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner

from adapters.cli.customer import Customer
from tests.e2e.conftest import GatewayProcess, StartGateway
from tests.e2e.payer import PURCHASE, Payer


@pytest.fixture
def payer(gateway: GatewayProcess) -> Payer:
    return Payer(gateway.url, gateway.secret_key)


async def balance(url: str, secret_key: str) -> int:
    async with Customer(url, secret_key) as customer:
        account = await customer.call("GET", "/v1/account")
    return int(account["credit_balance"])


async def test_the_httpx_client_buys(payer: Payer) -> None:
    client = x402Client()
    register_exact_evm_client(client, EthAccountSigner(payer.account))

    async with x402HttpxClient(client, timeout=60) as http:
        reply = await http.post(payer.url + PURCHASE, json=payer.body(0.25))

    assert reply.status_code == 200
    assert reply.json()["credited_microcredits"] == "250000"
    assert reply.headers["PAYMENT-RESPONSE"]


async def test_a_replayed_proof_gets_the_first_answer(payer: Payer) -> None:
    proof = await payer.proof()
    first = await payer.post(payer.body(), proof)
    before = await balance(payer.url, payer.secret_key)

    again = await payer.post(payer.body(), proof)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert await balance(payer.url, payer.secret_key) == before


async def test_four_parallel_copies_are_one_purchase(payer: Payer) -> None:
    await payer.post(payer.body(), await payer.proof())
    before = await balance(payer.url, payer.secret_key)
    proof = await payer.proof()

    replies = await asyncio.gather(*(payer.post(payer.body(), proof) for _ in range(4)))

    assert [reply.status_code for reply in replies] == [200] * 4
    assert len({reply.text for reply in replies}) == 1
    assert await balance(payer.url, payer.secret_key) == before + 100_000


async def test_somebody_elses_wallet_is_refused_before_money_moves(payer: Payer) -> None:
    proof = await payer.proof()
    stranger = Account.create().address

    reply = await payer.post(payer.body(wallet=stranger), proof)
    honest = await payer.post(payer.body(), proof)

    assert reply.status_code == 400
    assert "wallet" in reply.json()["error"]
    assert honest.status_code == 200


async def test_a_payment_for_less_is_asked_for_again(payer: Payer) -> None:
    proof = await payer.proof(payer.body(0.1))

    reply = await payer.post(payer.body(0.2), proof)

    assert reply.status_code == 402
    assert reply.headers["PAYMENT-REQUIRED"]
    assert isinstance(reply.json()["error"], str)


async def test_an_expired_payment_is_refused(payer: Payer) -> None:
    terms = await payer.terms(payer.body())
    # The client signs for as long as the terms say: a moment is over when it arrives.
    terms.accepts[0].max_timeout_seconds = 1
    proof = await payer.sign(terms)

    reply = await payer.post(payer.body(), proof)

    assert reply.status_code == 402


async def test_a_wallet_without_money_is_refused(gateway: GatewayProcess) -> None:
    poor = Payer(gateway.url, "0x" + bytes(Account.create().key).hex())

    reply = await poor.post(poor.body(), await poor.proof())

    assert reply.status_code == 402
    assert "does not hold enough USDC" in reply.json()["error"]


@pytest.mark.parametrize("garbage", ["", "not base64", "e30=", "bnVsbA==", "A" * 9_000])
async def test_a_garbled_payment_header_is_a_clear_error(payer: Payer, garbage: str) -> None:
    reply = await payer.post(payer.body(), {"PAYMENT-SIGNATURE": garbage})

    assert reply.status_code == 400
    assert isinstance(reply.json()["error"], str)


async def test_an_answer_lost_after_the_chain_moved_is_still_credited(start: StartGateway) -> None:
    gateway = start("lose_answer=1")
    payer = Payer(gateway.url, gateway.secret_key)
    proof = await payer.proof()

    reply = await payer.post(payer.body(), proof)
    again = await payer.post(payer.body(), proof)

    assert (reply.status_code, again.status_code) == (200, 200)
    assert await balance(gateway.url, gateway.secret_key) == 100_000


async def test_an_unreadable_chain_asks_to_repeat_and_never_to_pay_again(
    start: StartGateway,
) -> None:
    gateway = start("chain_unreadable=1")
    payer = Payer(gateway.url, gateway.secret_key)
    proof = await payer.proof()

    reply = await payer.post(payer.body(), proof)
    gateway.kill()
    healed = start()
    again = await Payer(healed.url, healed.secret_key).post(payer.body(), proof)

    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
    assert again.status_code == 200
    assert await balance(healed.url, healed.secret_key) == 100_000


async def test_a_facilitator_that_is_down_costs_nothing(start: StartGateway) -> None:
    gateway = start("facilitator_down=1")
    payer = Payer(gateway.url, gateway.secret_key)

    reply = await payer.post(payer.body())

    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
