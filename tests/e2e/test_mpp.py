"""Money by the official MPP clients on a real Tempo chain: no coin is lost and none is doubled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from mpp import Credential, Receipt
from mpp.client import Mpp

from adapters.cli.customer import Customer
from tests.e2e.conftest import GatewayProcess, StartGateway, start_gateway
from tests.e2e.mpp_payer import MPP, MppPayer

PROBLEMS = "https://paymentauth.org/problems/"
POOR_KEY = "0x" + "02" * 32


@pytest.fixture
def payer(gateway: GatewayProcess) -> MppPayer:
    return payer_at(gateway)


def payer_at(gateway: GatewayProcess) -> MppPayer:
    sandbox = gateway.ready["sandbox"]
    return MppPayer(gateway.url, sandbox["tempo_private_key"], sandbox["tempo_rpc_url"])


async def balance(payer: MppPayer) -> int:
    async with Customer(payer.url, payer.secret_key) as customer:
        account = await customer.call("GET", "/v1/account")
    return int(account["credit_balance"])


async def test_the_python_client_buys_twice(payer: MppPayer) -> None:
    async with Mpp(methods=[payer.method]) as mpp, mpp.client(timeout=60) as http:
        replies = [
            await http.post(
                payer.url + MPP,
                content=payer.body(amount),
                headers={"Content-Type": "application/json"},
            )
            for amount in (0.25, 0.1)
        ]

    assert [reply.status_code for reply in replies] == [200, 200]
    assert [r.json()["credited_microcredits"] for r in replies] == ["250000", "100000"]
    receipt = Receipt.from_payment_receipt(replies[0].headers["Payment-Receipt"])
    assert (receipt.status, receipt.method) == ("success", "tempo")
    assert "private" in replies[0].headers["Cache-Control"]


async def test_the_receipt_names_the_transaction_on_the_chain(payer: MppPayer) -> None:
    reply = await payer.post(payer.body(), await payer.credential())

    receipt = Receipt.from_payment_receipt(reply.headers["Payment-Receipt"])
    shown = await payer.node("eth_getTransactionReceipt", receipt.reference)
    assert shown["status"] == "0x1"
    assert shown["from"].lower() == payer.address.lower()


async def test_a_repeated_credential_gets_the_first_answer(payer: MppPayer) -> None:
    credential = await payer.credential()
    first = await payer.post(payer.body(), credential)
    before = await balance(payer)

    again = await payer.post(payer.body(), credential)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert again.headers["Payment-Receipt"] == first.headers["Payment-Receipt"]
    assert await balance(payer) == before


async def test_four_parallel_copies_are_one_purchase(payer: MppPayer) -> None:
    await payer.post(payer.body(), await payer.credential())
    before = await balance(payer)
    credential = await payer.credential()

    replies = await asyncio.gather(*(payer.post(payer.body(), credential) for _ in range(4)))

    assert [reply.status_code for reply in replies] == [200] * 4
    assert len({reply.text for reply in replies}) == 1
    assert await balance(payer) == before + 100_000


async def test_a_payment_that_its_payer_sent_is_credited_once(payer: MppPayer) -> None:
    await payer.post(payer.body(), await payer.credential())
    before = await balance(payer)
    signed = await payer.credential()
    sent = await payer.sent(signed)

    replies = [await payer.post(payer.body(), shown) for shown in (sent, signed, sent)]

    assert [reply.status_code for reply in replies] == [200] * 3
    assert len({reply.text for reply in replies}) == 1
    assert await balance(payer) == before + 100_000


async def test_what_has_moved_is_credited_to_who_paid_whoever_was_named(payer: MppPayer) -> None:
    body = payer.body(wallet=Account.create().address)
    sent = await payer.sent(await payer.credential(body))
    before = await balance(payer)

    reply = await payer.post(body, sent)

    assert reply.status_code == 200
    assert reply.json()["wallet_address"] == payer.address
    assert await balance(payer) == before + 100_000


async def test_somebody_elses_wallet_is_refused_before_money_moves(payer: MppPayer) -> None:
    body = payer.body(wallet=Account.create().address)
    credential = await payer.credential(body)

    reply = await payer.post(body, credential)

    assert reply.status_code == 400
    assert "wallet" in reply.json()["error"]
    assert await payer.node("eth_getTransactionReceipt", transaction_of(credential)) is None


def transaction_of(credential: str) -> str:
    """The hash of the transaction in a credential."""
    raw = Credential.from_authorization(credential).payload["signature"]
    return "0x" + keccak(bytes.fromhex(raw[2:])).hex()


async def test_a_hash_of_another_challenge_is_refused(payer: MppPayer) -> None:
    sent = Credential.from_authorization(await payer.sent(await payer.credential()))
    other = await payer.challenge(payer.body())

    reply = await payer.post(
        payer.body(), Credential(other.to_echo(), sent.payload).to_authorization()
    )

    assert reply.status_code == 402
    assert reply.json()["type"] == PROBLEMS + "verification-failed"


async def test_a_hash_that_the_chain_does_not_show_yet_asks_for_no_second_payment(
    payer: MppPayer,
) -> None:
    challenge = await payer.challenge(payer.body())
    payload = {"type": "hash", "hash": "0x" + "ab" * 32}

    reply = await payer.post(
        payer.body(), Credential(challenge.to_echo(), payload).to_authorization()
    )

    assert (reply.status_code, reply.json()["code"]) == (503, "settlement_pending")
    assert reply.headers["Retry-After"]


async def test_a_wallet_without_money_is_told_so(payer: MppPayer) -> None:
    poor = MppPayer(payer.url, POOR_KEY, payer.rpc_url)

    reply = await poor.post(poor.body(), await poor.credential())

    assert reply.status_code == 402
    assert reply.json()["type"] == PROBLEMS + "payment-insufficient"


async def test_another_body_is_refused_with_a_fresh_challenge(payer: MppPayer) -> None:
    credential = await payer.credential(payer.body(0.1))

    reply = await payer.post(payer.body(0.2), credential)

    assert reply.status_code == 402
    assert reply.json()["type"] == PROBLEMS + "invalid-challenge"
    assert reply.headers["WWW-Authenticate"].startswith("Payment ")


@pytest.mark.parametrize("authorization", ["Payment rubbish", "Bearer rubbish"])
async def test_garbage_is_asked_to_pay(payer: MppPayer, authorization: str) -> None:
    reply = await payer.post(payer.body(), authorization)

    assert reply.status_code == 402
    assert reply.headers["WWW-Authenticate"].startswith("Payment ")
    assert reply.headers["Cache-Control"] == "no-store"
    assert reply.headers["Content-Type"] == "application/problem+json"


async def test_after_a_restart_a_credential_is_answered_as_it_was(start: StartGateway) -> None:
    gateway = start()
    payer = payer_at(gateway)
    credential = await payer.credential()
    first = await payer.post(payer.body(), credential)
    gateway.kill()

    healed = payer_at(start())
    again = await healed.post(payer.body(), credential)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert await balance(healed) == 100_000


async def test_death_between_settle_and_credit_credits_once(start: StartGateway) -> None:
    gateway = start("settle_delay_ms=60000")
    payer = payer_at(gateway)
    credential = await payer.credential()
    buying = asyncio.create_task(payer.post(payer.body(), credential))
    await until_moved(payer, credential)
    gateway.kill()
    await asyncio.gather(buying, return_exceptions=True)

    healed = payer_at(start())
    again = await healed.post(payer.body(), credential)

    assert again.status_code == 200
    assert await balance(healed) == 100_000


async def until_moved(payer: MppPayer, credential: str) -> None:
    """Wait until the chain has the transaction, for ten seconds at most."""
    for _ in range(200):
        if await payer.node("eth_getTransactionReceipt", transaction_of(credential)) is not None:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the chain never moved")


async def test_a_lost_answer_is_answered_again(start: StartGateway) -> None:
    payer = payer_at(start("lose_answer=1"))
    credential = await payer.credential()

    replies = [await payer.post(payer.body(), credential) for _ in range(2)]

    assert replies[-1].status_code == 200
    assert await balance(payer) == 100_000


def test_the_node_client_buys_twice(node: Callable[..., str], payer: MppPayer) -> None:
    for amount in (0.3, 0.4):
        said = node(
            *("mppx.mjs", payer.rpc_url, payer.secret_key),
            *(payer.url + MPP, "-J", payer.body(amount).decode()),
        )

        assert f'"credited_microcredits": "{round(amount * 1_000_000)}"' in said


def test_the_node_clients_judge_is_content_and_has_paid(
    node: Callable[..., str], payer: MppPayer
) -> None:
    said = node(
        *("mppx.mjs", payer.rpc_url, payer.secret_key, "validate", payer.url, "--yes"),
        *("-e", f"POST:{MPP}", "--body", payer.body(0.25).decode()),
    )

    assert "25 passed" in said
    assert "Payment: successful (HTTP 200)" in said
    assert "skipped" not in said


@pytest.mark.postgres
async def test_copies_at_two_gateways_are_one_purchase(tmp_path: Path, database: str) -> None:
    gateways = [
        start_gateway(tmp_path / "data", name=name, PAYPHONE_DATABASE=database)
        for name in ("one", "two")
    ]
    try:
        # Both are known by one name: what one of them asked for, the other takes.
        payer = payer_at(gateways[0])
        credential = await payer.credential()

        replies = await asyncio.gather(
            *(payer.post(payer.body(), credential, url=gateway.url) for gateway in gateways * 2)
        )

        assert 200 in [reply.status_code for reply in replies]
        assert await balance(payer) == 100_000
    finally:
        for gateway in gateways:
            gateway.kill()
