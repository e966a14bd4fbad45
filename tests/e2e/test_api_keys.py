"""A program that cannot sign spends with an API key, at a gateway that is killed in between."""

from __future__ import annotations

from typing import Any

import aiohttp

from adapters.cli.customer import Customer
from tests.e2e.conftest import StartGateway
from tests.e2e.test_statements import ledger

STT = {"duration_minutes": 5}


async def ask(
    url: str, key: str, method: str, path: str, body: object = None
) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession(url) as http,
        http.request(method, path, json=body, headers=headers) as reply,
    ):
        return reply.status, await reply.json()


async def test_a_key_spends_within_its_cap_also_after_a_crash(start: StartGateway) -> None:
    """B15."""
    gateway = start()
    wishes = {"services": ["stt"], "daily_limit_microcredits": "60000", "label": "a script"}
    async with Customer(gateway.url, gateway.secret_key) as customer:
        await customer.buy("0.10")
        key = (await customer.call("POST", "/v1/keys", wishes))["key"]
    first, opened = await ask(gateway.url, key, "POST", "/v1/stt/session", STT)
    await ask(gateway.url, key, "POST", "/v1/stt/session", STT)

    gateway.kill()
    gateway = start()

    refused, why = await ask(gateway.url, key, "POST", "/v1/stt/session", STT)
    ended, settled = await ask(gateway.url, key, "POST", f"/v1/sessions/{opened['session_id']}/end")
    with_bill, _ = await ask(gateway.url, key, "GET", f"/v1/sessions/{opened['session_id']}/bill")
    again, _ = await ask(gateway.url, key, "POST", "/v1/stt/session", STT)
    async with Customer(gateway.url, gateway.secret_key) as customer:
        listed = (await customer.call("GET", "/v1/keys"))["keys"]
        await customer.call("POST", f"/v1/keys/{listed[0]['id']}/revoke")
    gone, _ = await ask(gateway.url, key, "GET", "/v1/account")
    assert (first, refused, why["code"], why["left"]) == (200, 403, "key_cap", "0")
    assert (ended, settled["refunded_microcredits"], again) == (200, "30000", 200)
    assert (listed[0]["label"], listed[0]["spent_today_microcredits"]) == ("a script", "60000")
    assert (with_bill, gone) == (200, 401)
    assert gateway.stop() == 0
    assert "VERIFIED" in ledger(gateway, "verify")
