"""The official httpx client, unmodified, against a shop of a dozen lines."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from eth_account import Account
from x402.http.clients import x402HttpxClient
from x402.http.utils import decode_payment_response_header

from domain.errors import PaymentRefusedError
from domain.ports.payments import Outcome, Settled
from tests.fakes.sandbox import Sandbox


@pytest.fixture(params=["v2", "v1"])
async def url(request: pytest.FixtureRequest, sandbox: Sandbox) -> AsyncIterator[str]:
    async def sell(asked: web.Request) -> web.Response:
        amount = json.loads(await asked.read())["amount"]
        purchase = sandbox.purchase(amount)
        headers = {name.lower(): value for name, value in asked.headers.items()}
        try:
            proof = await sandbox.rail.decode(headers, purchase)
            if proof is not None:
                await sandbox.rail.verify(proof, purchase)
        except PaymentRefusedError as refusal:
            return web.json_response({"error": str(refusal)}, status=402)
        if proof is None:
            challenge = await sandbox.rail.challenge(purchase)
            # An old client is one that sees the body only.
            shown = challenge.headers if request.param == "v2" else {}
            return web.json_response(challenge.terms, status=402, headers=shown)
        settled = await sandbox.rail.settle(proof)
        assert isinstance(settled, Settled)
        outcome = Outcome(
            success=True, payer=settled.payer, amount=settled.amount, reference=settled.reference
        )
        receipt = sandbox.rail.receipt(outcome, purchase)
        return web.json_response({"paid": settled.amount.value}, headers=receipt.headers)

    app = web.Application()
    app.router.add_post("/buy", sell)
    async with TestServer(app) as server:
        yield str(server.make_url("/buy"))


async def test_it_buys(sandbox: Sandbox, url: str) -> None:
    async with x402HttpxClient(sandbox.client()) as client:
        answer = await client.post(url, json={"amount": 100_000})

    assert answer.json() == {"paid": 100_000}
    assert sandbox.received() == 100_000
    receipt = decode_payment_response_header(answer.headers["PAYMENT-RESPONSE"])
    assert receipt.payer == sandbox.buyer.address
    assert sandbox.chain.receipt(receipt.transaction) is not None


async def test_it_is_told_when_its_wallet_is_too_poor(sandbox: Sandbox, url: str) -> None:
    sandbox.buyer = Account.create()

    async with x402HttpxClient(sandbox.client()) as client:
        answer = await client.post(url, json={"amount": 100_000})

    assert answer.status_code == 402
    assert "does not hold enough USDC" in answer.json()["error"]
