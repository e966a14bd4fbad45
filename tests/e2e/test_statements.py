"""A wallet's statement over HTTP, and the same one recomputed from the gateway's folder."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import aiohttp

from adapters.cli.customer import Customer
from tests.contract.focus import problems, read
from tests.e2e.conftest import ROOT, GatewayProcess, StartGateway


def ledger(gateway: GatewayProcess, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "adapters", "ledger", *arguments),
            *("--data", str(gateway.data)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


async def statement(customer: Customer, gateway: GatewayProcess, query: str) -> str:
    path = f"/v1/account/statement?{query}"
    async with (
        aiohttp.ClientSession() as http,
        http.get(gateway.url + path, headers=customer.headers("GET", path)) as reply,
    ):
        assert reply.status == 200, await reply.text()
        return await reply.text()


async def test_a_statement_is_the_same_from_the_gateway_and_from_its_folder(
    start: StartGateway,
) -> None:
    gateway = start()
    today = datetime.now(UTC).date()
    since, until = str(today - timedelta(days=1)), str(today + timedelta(days=2))
    period = f"from={since}&to={until}"
    async with Customer(gateway.url, gateway.secret_key) as customer:
        await customer.buy("0.10")
        ticket = await customer.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        await customer.call("POST", f"/v1/sessions/{ticket['session_id']}/end")
        await customer.call("POST", "/v1/stt/session", {"duration_minutes": 1})

        told = json.loads(await statement(customer, gateway, period))
        focus = await statement(customer, gateway, f"{period}&format=focus")
    wallet = ("--wallet", f"evm:{customer.address}", "--from", since, "--to", until)

    recomputed = json.loads(ledger(gateway, "statement", *wallet))
    assert recomputed["statement"] == told["statement"]
    assert told["statement"]["closing"] == {
        "available_microcredits": 94_000,
        "reserved_microcredits": 6_000,
    }
    assert told["statement"]["lines"][0]["reference"].startswith("0x")
    assert problems(focus) == []
    assert [row["ChargeCategory"] for row in read(focus)] == ["Purchase", "Usage"]

    assert "94000" in ledger(gateway, "balances")
    assert "is in use by process" in ledger(gateway, "rebuild", status=1)
    assert gateway.stop() == 0
    assert "rebuilt from" in ledger(gateway, "rebuild")
    assert "6000" in ledger(gateway, "reservations")
