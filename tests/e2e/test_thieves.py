"""Thieves with real payments of others, copied from the chain or made up from what it shows."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from adapters.cli.customer import Customer
from adapters.sandbox.wallets import fresh_evm_wallet
from tests.e2e.conftest import GatewayProcess, StartGateway
from tests.e2e.payer import Payer

TWENTY_MINUTES_USD = 0.12


@pytest.fixture
async def payer(gateway: GatewayProcess) -> Payer:
    """A wallet of its own: others have left sessions open with the gateway's."""
    wallet = fresh_evm_wallet()
    gift = {"chain": "base", "address": wallet.address, "amount_usd": 1}
    async with httpx.AsyncClient() as client:
        (await client.post(gateway.url + "/sandbox/fund", json=gift)).raise_for_status()
    return Payer(gateway.url, wallet.secret_key)


def made_up(proof: dict[str, str], **lies: str) -> dict[str, str]:
    """A payment by the same payer under the same nonce, that nobody has signed."""
    payment: dict[str, Any] = json.loads(base64.b64decode(proof["PAYMENT-SIGNATURE"]))
    payment["payload"]["authorization"].update(lies)
    payment["payload"]["signature"] = "0x" + "11" * 64 + "1b"
    header = base64.b64encode(json.dumps(payment).encode()).decode("ascii")
    return {"PAYMENT-SIGNATURE": header}


async def turn(url: str, fault: str, value: int) -> None:
    async with httpx.AsyncClient() as client:
        (await client.post(url + "/sandbox/faults", json={fault: value})).raise_for_status()


async def account_of(payer: Payer) -> dict[str, Any]:
    async with Customer(payer.url, payer.secret_key) as customer:
        found: dict[str, Any] = await customer.call("GET", "/v1/account")
    return found


async def test_a_payment_for_credit_opens_no_session_for_who_copied_it(payer: Payer) -> None:
    body = payer.body(TWENTY_MINUTES_USD)
    proof = await payer.proof(body)
    assert (await payer.post(body, proof)).status_code == 200

    async with httpx.AsyncClient() as thief:
        stolen = await thief.post(payer.url + "/v1/session", json={"minutes": 20}, headers=proof)

    assert (stolen.status_code, stolen.json()["code"]) == (409, "conflicting_request")
    account = await account_of(payer)
    assert account["available_balance"] == account["credit_balance"]


async def test_a_made_up_copy_voids_no_payment_under_way(start: StartGateway) -> None:
    """It says that the time of the payment was over long ago."""
    gateway = start("feign_success=1")
    payer = Payer(gateway.url, gateway.secret_key)
    proof = await payer.proof()
    pending = await payer.post(payer.body(), proof)

    forged = await payer.post(payer.body(), made_up(proof, validBefore="1"))
    await turn(gateway.url, "feign_success", 0)
    again = await payer.post(payer.body(), proof)

    statuses = [reply.status_code for reply in (pending, forged, again)]
    assert statuses == [503, 503, 200]
    assert (await account_of(payer))["credit_balance"] == "100000"
