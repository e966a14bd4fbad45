from __future__ import annotations

from aiohttp.test_utils import TestClient, TestServer

from adapters.sandbox.evm import GAS_LIMIT, GAS_PRICE_WEI
from adapters.sandbox.facilitator import facilitator_app
from tests.fakes.sandbox import Sandbox


async def body_of(sandbox: Sandbox) -> dict[str, object]:
    payment = await sandbox.pay()
    return {
        "x402Version": 2,
        "paymentPayload": payment.model_dump(by_alias=True, exclude_none=True),
        "paymentRequirements": payment.accepted.model_dump(by_alias=True),
    }


async def test_it_says_what_it_settles() -> None:
    async with TestClient(TestServer(facilitator_app(Sandbox().facilitator))) as client:
        supported = await (await client.get("/supported")).json()

    assert {"x402Version": 2, "scheme": "exact", "network": "eip155:8453"} in supported["kinds"]


async def test_it_verifies_and_settles_over_http() -> None:
    sandbox = Sandbox()
    body = await body_of(sandbox)
    async with TestClient(TestServer(facilitator_app(sandbox.facilitator))) as client:
        verified = await (await client.post("/verify", json=body)).json()
        settled = await (await client.post("/settle", json=body)).json()

    assert (verified["isValid"], settled["success"]) == (True, True)
    assert sandbox.received() == 100_000


async def test_a_body_that_is_no_request_is_refused() -> None:
    async with TestClient(TestServer(facilitator_app(Sandbox().facilitator))) as client:
        answers = [await client.post("/settle", data=body) for body in (b"{", b"{}", b"null")]

    assert {answer.status for answer in answers} == {400}


async def test_faults_look_like_a_far_away_facilitator_in_trouble() -> None:
    sandbox = Sandbox()
    body = await body_of(sandbox)
    async with TestClient(TestServer(facilitator_app(sandbox.facilitator))) as client:
        sandbox.faults.facilitator_down = True
        down = await client.post("/settle", json=body)
        sandbox.faults.facilitator_down, sandbox.faults.lose_answer = False, True
        lost = await client.post("/settle", json=body)

    assert (down.status, lost.status) == (503, 504)


async def test_a_facilitator_without_gas_settles_nothing() -> None:
    sandbox = Sandbox()
    payment = await sandbox.pay()
    (signer,) = sandbox.facilitator.get_supported().signers["eip155:*"]
    spare = sandbox.chain.balance_wei(signer) - GAS_LIMIT * GAS_PRICE_WEI
    sandbox.chain.transact(caller=signer, to="0x" + "99" * 20, value_wei=spare)

    settled = await sandbox.facilitator.settle(payment, payment.accepted)

    assert (settled.success, sandbox.received()) == (False, 0)
