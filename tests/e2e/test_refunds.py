"""Credits bought, partly spent, and the rest paid back on the chain they came from (B16)."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from solders.keypair import Keypair
from tronpy.keys import PrivateKey

from adapters.cli.customer import Customer
from adapters.store.audit import Audit, audit
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.ledger import Ledger
from domain.payout import Payout
from tests.e2e.conftest import ROOT, GatewayProcess, StartGateway
from tests.e2e.mpp_payer import MppPayer
from tests.e2e.solana_payer import SolanaPayer
from tests.e2e.tron_payer import TronPayer

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


async def test_what_is_left_after_a_call_goes_back_to_the_chain(start: StartGateway) -> None:
    gateway = start(**ON)
    async with wallet_at(gateway) as wallet:
        before = await wallet.on_chain()
        await wallet.customer.buy("0.90")
        ticket = await wallet.customer.call("POST", "/v1/stt/session", {"duration_minutes": 5})
        call = await wallet.customer.listen(ticket, language="en")
        await call.say(bytes(32_000))
        await call.hang_up()
        ended = await wallet.customer.call("POST", f"/v1/sessions/{ticket['session_id']}/end")
        quote = await wallet.customer.call("GET", PATH)

        refund = await wallet.ask(amount_usd=quote["max_usd"], fee_usd=quote["fee_usd"])

        left = BOUGHT - int(ended["charged_microcredits"])
        assert int(ended["charged_microcredits"]) > 0
        assert (refund["http"], refund["status"]) == (200, "paid")
        assert int(refund["net_microcredits"]) == left - FEE
        assert await wallet.on_chain() == before - BOUGHT + left - FEE
        assert await wallet.available() == 0
    assert gateway.stop() == 0
    rows = audited(gateway.data).books.by_kind()
    assert (rows["payouts:pending"], rows["revenue:payout_fee"]) == (0, FEE)
    assert rows["world:x402-base"] == -BOUGHT + left - FEE


async def test_four_copies_of_a_request_are_one_refund(start: StartGateway) -> None:
    gateway = start(**ON, **BARE)
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")
        before = await wallet.on_chain()

        answers = await asyncio.gather(*(wallet.ask() for _ in range(4)))

        assert {answer["status"] for answer in answers} == {"paid"}
        assert len({answer["reference"] for answer in answers}) == 1
        assert await wallet.on_chain() == before + NET
        assert await wallet.available() == BOUGHT - 500_000


@pytest.mark.parametrize("steps", range(STEPS))
async def test_killed_between_any_two_steps_it_pays_once_or_takes_nothing(
    start: StartGateway, steps: int
) -> None:
    gateway = start(**ON, **BARE, PYTHONPATH=DOOM, DOOM_AFTER=str(steps))
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
        with pytest.raises(aiohttp.ClientError):
            await wallet.ask()
    gateway.process.wait(timeout=10)

    healed = start(**ON, **BARE)
    async with wallet_at(healed) as wallet:
        refund = await wallet.ask()
        refund = await wallet.outcome(refund["id"])

        assert refund["status"] == "paid"
        assert await wallet.on_chain() == before + NET
        assert await wallet.available() == BOUGHT - 500_000
    assert healed.stop() == 0
    found = audited(healed.data)
    assert found.books.by_kind()["payouts:pending"] == 0
    assert [a.state for a in found.aggregates.values() if isinstance(a, Payout)] == ["paid"]


async def test_what_was_begun_is_carried_out_without_anybody_asking_again(
    start: StartGateway,
) -> None:
    """Killed before it signed: the next process signs, sends, and tells who looks."""
    gateway = start(**ON, **BARE, PYTHONPATH=DOOM, DOOM_AFTER="2")
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
        with pytest.raises(aiohttp.ClientError):
            await wallet.ask()
    gateway.process.wait(timeout=10)
    (begun,) = (a for a in audited(gateway.data).aggregates.values() if isinstance(a, Payout))

    healed = start(**ON, **BARE)
    async with wallet_at(healed) as wallet:
        refund = await wallet.outcome(str(begun.id))

        assert (begun.state, refund["status"]) == ("requested", "paid")
        assert await wallet.on_chain() == before + NET


async def test_a_lost_answer_is_found_on_the_chain(start: StartGateway) -> None:
    gateway = start(**ON, **BARE)
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
        await wallet.break_("lose_answer")

        refund = await wallet.ask()

        assert refund["status"] == "paid"
        assert await wallet.on_chain() == before + NET


async def test_killed_while_the_chain_had_moved_it_is_found_by_the_next(
    start: StartGateway,
) -> None:
    gateway = start(**ON, **BARE)
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
        await wallet.break_("settle_delay_ms", 60_000)
        asking = asyncio.create_task(wallet.ask())
        await wallet.until_on_chain(before + NET)
        gateway.kill()
        await asyncio.gather(asking, return_exceptions=True)

    healed = start(**ON, **BARE)
    async with wallet_at(healed) as wallet:
        refund = await wallet.ask()

        assert refund["status"] == "paid"
        assert await wallet.on_chain() == before + NET


async def test_a_dark_chain_takes_nothing_from_who_has_not_asked_yet(start: StartGateway) -> None:
    gateway = start(**ON, **BARE)
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")
        await wallet.break_("chain_unreadable")

        refused = await wallet.ask()

        assert (refused["http"], refused["code"]) == (503, "rail_down")
        assert await wallet.available() == BOUGHT


async def test_it_is_off_unless_the_operator_turns_it_on(start: StartGateway) -> None:
    gateway = start(**BARE)
    async with wallet_at(gateway) as wallet:
        await wallet.customer.buy("0.90")

        refused = await wallet.ask(fee_usd=0)

        assert (refused["http"], refused["code"]) == (409, "refund_refused")
        assert await wallet.available() == BOUGHT


def operator(gateway: GatewayProcess, *words: str) -> subprocess.CompletedProcess[str]:
    where = ("--data", str(gateway.data), "--why", "the call was cut off", "--who", "ops-1")
    return payphone("refund", *where, *words)


async def test_an_operator_refunds_while_the_gateway_runs(start: StartGateway) -> None:
    """Off for wallets, and no fee: the operator decides."""
    gateway = start(**BARE)
    async with wallet_at(gateway) as wallet:
        account = await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
        words = ("--account", account["account_id"], "--amount", "0.4", "--wait")
        named = (*words, "--id", "00000000-0000-4000-8000-000000000001")

        done = [await asyncio.to_thread(operator, gateway, *named) for _ in range(2)]
        everything = await asyncio.to_thread(
            operator, gateway, "--wallet", f"evm:{wallet.customer.address}", "--amount", "all"
        )
        too_much = await asyncio.to_thread(operator, gateway, *words[:2], "--amount", "0.1")

        assert [d.returncode for d in done] == [0, 0], done[0].stderr
        assert "paid 0.4 USD: eip155:8453 0x" in done[0].stdout
        assert done[1].stdout == done[0].stdout
        assert (everything.returncode, "0.5 USD of credit" in everything.stdout) == (0, True)
        assert (too_much.returncode, "0 USD are available" in too_much.stderr) == (1, True)
        await wallet.until_on_chain(before + BOUGHT)
        assert await wallet.available() == 0


async def test_an_operator_refunds_while_the_gateway_is_stopped(start: StartGateway) -> None:
    gateway = start(**BARE)
    async with wallet_at(gateway) as wallet:
        account = await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
    assert gateway.stop() == 0

    done = operator(gateway, "--account", account["account_id"], "--amount", "0.4", "--fee", "0.1")

    assert done.returncode == 0, done.stderr
    assert "0.1 of it kept, the rest to be paid over x402-base" in done.stdout
    assert "pays it when it starts" in done.stdout
    again = start(**BARE)
    async with wallet_at(again) as wallet:
        await wallet.until_on_chain(before + 300_000)
        assert await wallet.available() == BOUGHT - 400_000


@pytest.mark.postgres
async def test_an_operator_refunds_through_the_gateway_that_owns_the_database(
    start: StartGateway, database: str
) -> None:
    gateway = start(**BARE, PAYPHONE_DATABASE=database)
    async with wallet_at(gateway) as wallet:
        account = await wallet.customer.buy("0.90")
        before = await wallet.on_chain()
        words = ("--account", account["account_id"], "--amount", "all", "--database", database)

        done = await asyncio.to_thread(operator, gateway, *words, "--wait")

        assert done.returncode == 0, done.stderr
        assert "paid 0.9 USD" in done.stdout
        assert await wallet.on_chain() == before + BOUGHT
    assert gateway.stop() == 0
    verified = payphone("ledger", "verify", "--database", database, "--data", str(gateway.data))
    assert verified.returncode == 0, verified.stdout + verified.stderr


async def on_solana(gateway: GatewayProcess) -> None:
    payer = SolanaPayer.of(gateway)
    reply = await payer.post(payer.body(0.9), await payer.proof(payer.body(0.9)))
    assert reply.status_code == 200, reply.text


async def on_tempo(gateway: GatewayProcess) -> None:
    sandbox = gateway.ready["sandbox"]
    payer = MppPayer(gateway.url, sandbox["tempo_private_key"], sandbox["tempo_rpc_url"])
    reply = await payer.post(payer.body(0.9), await payer.credential(payer.body(0.9)))
    assert reply.status_code == 200, reply.text


async def on_tron(gateway: GatewayProcess) -> None:
    payer = TronPayer.at(gateway)
    reply = await payer.post(await payer.payment(0.9), amount_usd=0.9)
    assert reply.status_code == 200, reply.text


def signed(gateway: GatewayProcess, chain: str, method: str, path: str) -> dict[str, str]:
    """What the sandbox's wallet of this chain signs a request with."""
    sandbox, now = gateway.ready["sandbox"], str(int(time.time()))
    text = f"{method}\n{path}\n{now}"
    if chain == "solana":
        key = Keypair.from_base58_string(sandbox["solana_secret_key"])
        address = str(key.pubkey())
        signature = base64.b64encode(bytes(key.sign_message(text.encode()))).decode("ascii")
    elif chain == "tron":
        secret = PrivateKey(bytes.fromhex(sandbox["tron_private_key"]))
        address = str(secret.public_key.to_base58check_address())
        signature = secret.sign_msg(text.encode()).hex()
    else:
        account = Account.from_key(sandbox["tempo_private_key"])
        address = account.address
        signature = account.sign_message(encode_defunct(text=text)).signature.to_0x_hex()
    return {
        "Authorization": f"{chain}:{signature}",
        "X-Wallet-Address": address,
        "X-Wallet-Chain": chain,
        "X-Timestamp": now,
    }


RAILS = pytest.mark.parametrize(
    ("network", "chain", "buy"),
    [
        ("solana", "solana", on_solana),
        pytest.param("tempo", "evm", on_tempo, marks=pytest.mark.anvil),
        pytest.param("tron", "tron", on_tron, marks=pytest.mark.anvil),
    ],
)
Buy = Callable[[GatewayProcess], Awaitable[None]]


async def balance(gateway: GatewayProcess, network: str) -> int:
    """What the sandbox's wallet of this network holds."""
    async with (
        aiohttp.ClientSession(gateway.url) as http,
        http.get("/sandbox/chains") as reply,
    ):
        chains = (await reply.json())["chains"]
    return next(int(c["wallet_balance"]) for c in chains if c["name"] == network)


async def ask_as(gateway: GatewayProcess, chain: str) -> dict[str, Any]:
    headers = {**signed(gateway, chain, "POST", PATH), "Idempotency-Key": "1"}
    async with (
        aiohttp.ClientSession(gateway.url) as http,
        http.post(PATH, json=REFUND, headers=headers) as reply,
    ):
        found: dict[str, Any] = await reply.json()
        return found


@RAILS
async def test_money_goes_back_over_every_rail_it_came_by(
    start: StartGateway, network: str, chain: str, buy: Buy
) -> None:
    gateway = start(**ON, **BARE)
    await buy(gateway)
    before = await balance(gateway, network)

    refund = await ask_as(gateway, chain)

    assert refund["status"] == "paid", refund
    assert await balance(gateway, network) == before + NET
    assert gateway.stop() == 0
    assert audited(gateway.data).books.by_kind()[f"world:{refund['rail']}"] == -BOUGHT + NET


@RAILS
async def test_killed_after_it_was_sent_it_is_found_on_every_chain(
    start: StartGateway, network: str, chain: str, buy: Buy
) -> None:
    gateway = start(**ON, **BARE, PYTHONPATH=DOOM, DOOM_AFTER=str(SENT))
    await buy(gateway)
    before = await balance(gateway, network)
    with pytest.raises(aiohttp.ClientError):
        await ask_as(gateway, chain)
    gateway.process.wait(timeout=10)

    healed = start(**ON, **BARE)
    refund = await ask_as(healed, chain)

    assert refund["status"] == "paid", refund
    assert await balance(healed, network) == before + NET
    assert healed.stop() == 0
    assert audited(healed.data).books.by_kind()["payouts:pending"] == 0
