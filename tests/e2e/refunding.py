"""Somebody who has credit paid back to the chain, at a gateway in a process of its own."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from adapters.cli.customer import Customer
from adapters.store.audit import Audit, audit
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.ledger import Ledger
from tests.e2e.conftest import ROOT, GatewayProcess

PATH = "/v1/account/refund"
FEE = 50_000
BOUGHT = 900_000
REFUND = {"amount_usd": 0.5, "fee_usd": 0.05}
NET = 450_000
ON = {
    "PAYPHONE_REFUND_ENABLED": "1",
    "PAYPHONE_REFUND_FEE_USD": "0.05",
    "PAYPHONE_REFUND_MIN_USD": "0.1",
}
# Without speech of its own a gateway starts sooner.
BARE = {"role": "gateway", "PAYPHONE_FLEET_SECRET": "the secret of a fleet that is not there"}
DOOM = str(Path(__file__).parent / "doom")
# Before: a look into the ledger, taking the credit, signing, writing down what was signed, noting
# that it is sent, sending, writing down that it is paid, answering.
STEPS, SENT = 8, 6


class Wallet:
    """The sandbox's own wallet at one gateway."""

    def __init__(self, gateway: GatewayProcess, customer: Customer) -> None:
        self.url = gateway.url
        self.customer = customer
        self._http = aiohttp.ClientSession()

    async def ask(self, *, key: str = "1", **changes: object) -> dict[str, Any]:
        """POST a refund; its answer with the HTTP status in it."""
        headers = {**self.customer.headers("POST", PATH), "Idempotency-Key": key}
        async with self._http.post(
            self.url + PATH, json={**REFUND, **changes}, headers=headers
        ) as reply:
            return {**await reply.json(), "http": reply.status}

    async def outcome(self, refund_id: str) -> dict[str, Any]:
        """The refund when it is over, or after some seconds as it is."""
        for _ in range(100):
            found = await self.customer.call("GET", f"/v1/account/refunds/{refund_id}")
            if found["status"] != "pending":
                break
            await asyncio.sleep(0.2)
        return found

    async def on_chain(self) -> int:
        """What the wallet holds on Base, in µUSD."""
        async with self._http.get(self.url + "/sandbox/chains") as reply:
            chains = (await reply.json())["chains"]
        return next(int(c["wallet_balance"]) for c in chains if "eip155:8453" in c["networks"])

    async def until_on_chain(self, amount: int) -> None:
        """Wait until the wallet holds this much there, for forty seconds at most."""
        for _ in range(200):
            if await self.on_chain() == amount:
                return
            await asyncio.sleep(0.2)
        raise AssertionError(f"expected {amount} on the chain, found {await self.on_chain()}")

    async def break_(self, fault: str, value: int = 1) -> None:
        """Turn a switch of the sandbox."""
        async with self._http.post(self.url + "/sandbox/faults", json={fault: value}) as reply:
            assert reply.status == 200, await reply.text()

    async def available(self) -> int:
        account = await self.customer.call("GET", "/v1/account")
        return int(account["available_balance"])

    async def close(self) -> None:
        await self._http.close()


@asynccontextmanager
async def wallet_at(gateway: GatewayProcess) -> AsyncIterator[Wallet]:
    async with Customer(gateway.url, gateway.secret_key) as customer:
        wallet = Wallet(gateway, customer)
        try:
            yield wallet
        finally:
            await wallet.close()


def audited(data: Path) -> Audit:
    """The ledger as an auditor sees it; any break is an error."""
    with Ledger(env=sqlite_environment(str(data / "ledger.db"))) as ledger:
        recorder = ledger.recorder
        assert isinstance(recorder, LedgerRecorder)
        found = audit(
            recorder.scan(),
            checkpoints=recorder.checkpoints(),
            key=None,
            check=lambda _key, _message, _signature: False,
            progress=lambda _done: None,
        )
    assert found.books.total == 0
    return found


def payphone(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "adapters", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
