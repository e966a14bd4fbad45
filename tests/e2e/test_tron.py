"""Money by the official TRON clients on a real chain: no coin is lost and none is doubled."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tronpy.keys import to_hex_address

from adapters.store.audit import Audit, audit
from adapters.store.sqlite import LedgerRecorder, sqlite_environment
from domain.ledger import Ledger
from tests.e2e.conftest import GatewayProcess, StartGateway, start_gateway
from tests.e2e.tron_payer import TRON, TronPayer
from tests.fakes.anvil import anvil_or_skip

pytestmark = pytest.mark.usefixtures("node")

# Without speech of its own a gateway starts sooner.
BARE = {"role": "gateway", "PAYPHONE_FLEET_SECRET": "the secret of a fleet that is not there"}
DOOM = str(Path(__file__).parent / "purchase_doom")
RAIL = "adapters.rails.tron:TronRail"
# Before: a look into the ledger, verifying, (after it), the claim, settling, (after it), the
# credit, the answer.
STEPS = 8


@pytest.fixture(scope="module", autouse=True)
def _anvil() -> None:
    anvil_or_skip()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with a TRON chain, for every test that leaves it as it was for the next."""
    gateway = start_gateway(tmp_path_factory.mktemp("tron") / "data")
    yield gateway
    assert gateway.stop() == 0


@pytest.fixture
def payer(running: GatewayProcess) -> TronPayer:
    return TronPayer.at(running)


def replayed(data: Path) -> Audit:
    """The ledger as an auditor sees it; any break is an error."""
    with Ledger(env=sqlite_environment(str(data / "ledger.db"))) as ledger:
        recorder = ledger.recorder
        assert isinstance(recorder, LedgerRecorder)
        return audit(
            recorder.scan(),
            checkpoints=recorder.checkpoints(),
            key=None,
            check=lambda _key, _message, _signature: False,
            progress=lambda _done: None,
        )


async def test_the_python_client_buys_twice(payer: TronPayer) -> None:
    async with payer.client() as client:
        replies = [
            await client.request_with_payment("POST", TRON, json={"amount_usd": amount})
            for amount in (0.25, 1.001)
        ]

    assert [reply.status_code for reply in replies] == [200, 200]
    assert [r.json()["credited_microcredits"] for r in replies] == ["250000", "1001000"]


async def test_the_answer_names_the_transaction_on_the_chain(payer: TronPayer) -> None:
    payment = await payer.payment()
    reply = await payer.post(payment)

    shown = reply.json()["tron_tx_hash"]
    fee = payment["payload"]["paymentPermit"]["fee"]["feeAmount"]
    assert reply.json()["fee_microcredits"] == fee
    known = await payer.node("wallet/gettransactioninfobyid", value=shown)
    said = json.loads(base64.b64decode(reply.headers["PAYMENT-RESPONSE"]))
    assert known["receipt"]["result"] == "SUCCESS"
    assert said == {
        "success": True,
        "transaction": shown,
        "network": "tron:mainnet",
        "errorReason": None,
    }


async def test_the_npm_client_buys_and_its_wallet_spends(
    running: GatewayProcess, node: Callable[..., str]
) -> None:
    wallet = await funded(running)

    told = node("tron.mjs", running.url, wallet.node_url, wallet.secret_key, "0.5")

    done = json.loads(told.splitlines()[-1])
    assert done["bought"]["status"] == 200
    assert done["bought"]["body"]["tron_tx_hash"] == done["bought"]["receipt"]["transaction"]
    assert done["session"]["status"] == 200
    account = done["account"]["body"]
    assert (account["wallet_chain"], account["wallet_address"]) == ("tron", wallet.address)
    assert (account["credit_balance"], account["available_balance"]) == ("500000", "492000")
    # Allowing the contract is the client's own affair, and it did.
    assert "[ALLOWANCE] Approve confirmed: SUCCESS" in told


async def funded(gateway: GatewayProcess) -> TronPayer:
    """A wallet that nobody knew before, with play money."""
    wallet = TronPayer.at(gateway, secrets.token_hex(32))
    reply = await fund(gateway, wallet.address)
    assert reply == 200
    return wallet


async def fund(gateway: GatewayProcess, address: str) -> int:
    async with httpx.AsyncClient(timeout=60) as http:
        asked = {"chain": "tron", "address": address, "amount_usd": 10}
        return (await http.post(f"{gateway.url}/sandbox/fund", json=asked)).status_code


async def test_a_wallet_spends_its_credit_with_calls_that_tronpy_signs(payer: TronPayer) -> None:
    await payer.post(await payer.payment(1), amount_usd=1)
    before = await payer.balance()

    opened = await payer.call("POST", "/v1/tts/session", {"max_characters": 1000})
    ended = await payer.call("POST", f"/v1/sessions/{opened.json()['session_id']}/end")

    assert (opened.status_code, ended.status_code) == (200, 200)
    assert await payer.balance() == before


async def test_a_replayed_payment_gets_the_first_answer(payer: TronPayer) -> None:
    payment = await payer.payment()
    first = await payer.post(payment)
    before = await payer.balance()

    again = await payer.post(payment)

    assert (first.status_code, again.status_code) == (200, 200)
    assert again.json() == first.json()
    assert again.headers["PAYMENT-RESPONSE"] == first.headers["PAYMENT-RESPONSE"]
    assert await payer.balance() == before


async def test_four_parallel_copies_are_one_purchase(payer: TronPayer) -> None:
    await payer.post(await payer.payment())
    before = await payer.balance()
    payment = await payer.payment()

    replies = await asyncio.gather(*(payer.post(payment) for _ in range(4)))

    assert [reply.status_code for reply in replies] == [200] * 4
    assert len({reply.text for reply in replies}) == 1
    assert await payer.balance() == before + 100_000


async def test_a_permit_does_not_buy_more_than_it_pays(payer: TronPayer) -> None:
    payment = await payer.payment(0.1)

    reply = await payer.post(payment, amount_usd=0.2)

    assert reply.status_code == 402
    assert reply.headers["PAYMENT-REQUIRED"]
    assert "100000" in reply.json()["error"]


async def test_somebody_elses_wallet_is_refused_before_money_moves(payer: TronPayer) -> None:
    payment = await payer.payment()

    named = await payer.post(payment, wallet_address="TJRabPrwbZy45sbavfcjinPJC18kjpRTv8")
    honest = await payer.post(payment, wallet_address=payer.address)

    assert named.status_code == 400
    assert "wallet" in named.json()["error"]
    assert honest.status_code == 200


async def test_a_wallet_without_money_is_told_so(running: GatewayProcess) -> None:
    poor = TronPayer.at(running, secrets.token_hex(32))

    reply = await poor.post(await poor.payment())

    assert reply.status_code == 402
    assert "does not hold enough USDT" in reply.json()["error"]


@pytest.mark.parametrize("garbage", ["bm90IGpzb24=", "e30=", "A" * 4_000, "not base64"])
async def test_a_garbled_payment_is_a_clear_error(payer: TronPayer, garbage: str) -> None:
    async with httpx.AsyncClient(timeout=60) as http:
        reply = await http.post(
            payer.url + TRON, json={"amount_usd": 0.1}, headers={"PAYMENT-SIGNATURE": garbage}
        )

    assert reply.status_code == 400
    assert isinstance(reply.json()["error"], str)


def spoiled(payment: dict[str, Any], **fields: object) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(payment))
    copy["payload"]["paymentPermit"].update(fields)
    return copy


async def test_a_buyer_in_another_spelling_is_no_second_identity(payer: TronPayer) -> None:
    payment = await payer.payment()
    hexed = payer.key.public_key.to_hex_address()

    reply = await payer.post(spoiled(payment, buyer=hexed))
    honest = await payer.post(payment)

    assert reply.status_code == 400
    assert honest.json()["wallet_address"] == payer.address


@asynccontextmanager
async def fault(payer: TronPayer, **switches: int) -> AsyncIterator[None]:
    """Let something go wrong, and put it right again."""
    async with httpx.AsyncClient(base_url=payer.url, timeout=60) as http:
        assert (await http.post("/sandbox/faults", json=switches)).status_code == 200
        yield
        await http.post("/sandbox/faults", json=dict.fromkeys(switches, 0))


async def test_a_facilitator_that_is_down_costs_nothing(payer: TronPayer) -> None:
    payment = await payer.payment()
    before = await head_of(payer)

    async with fault(payer, facilitator_down=1):
        reply = await payer.post(payment)

    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
    assert await head_of(payer) == before
    assert (await payer.post(payment)).status_code == 200


async def test_an_answer_lost_after_the_chain_moved_is_still_credited(payer: TronPayer) -> None:
    payment = await payer.payment()
    before = await payer.balance()

    async with fault(payer, lose_answer=1):
        replies = [await payer.post(payment) for _ in range(2)]

    assert [reply.status_code for reply in replies] == [200, 200]
    assert await payer.balance() == before + 100_000


async def test_an_unreadable_chain_asks_to_repeat_and_never_to_pay_again(
    payer: TronPayer,
) -> None:
    payment = await payer.payment()
    before, head = await payer.balance(), await head_of(payer)

    async with fault(payer, lose_answer=1, settle_delay_ms=1_000):
        buying = asyncio.create_task(payer.post(payment))
        await until_moved(payer, head)
        async with fault(payer, chain_unreadable=1):
            reply = await buying
    again = await payer.post(payment)

    assert reply.status_code == 503
    assert int(reply.headers["Retry-After"]) > 0
    assert again.status_code == 200
    assert await payer.balance() == before + 100_000


async def test_death_between_settle_and_credit_credits_once_though_nobody_asks(
    start: StartGateway,
) -> None:
    gateway = start("settle_delay_ms=60000", **BARE)
    payer = TronPayer.at(gateway)
    payment = await payer.payment()
    before = await head_of(payer)
    buying = asyncio.create_task(payer.post(payment))
    await until_moved(payer, before)
    gateway.kill()
    await asyncio.gather(buying, return_exceptions=True)

    running = start(**BARE)
    healed = TronPayer.at(running)
    for _ in range(300):
        if await healed.balance():
            break
        await asyncio.sleep(0.1)
    again = await healed.post(payment)

    assert again.status_code == 200
    assert len(again.json()["tron_tx_hash"]) == 64
    assert await healed.balance() == 100_000
    assert running.stop() == 0
    assert replayed(running.data).books.total == 0


@pytest.mark.parametrize("steps", range(STEPS))
async def test_killed_between_any_two_steps_it_credits_once(
    start: StartGateway, steps: int
) -> None:
    doom = {"PYTHONPATH": DOOM, "DOOM_AFTER": str(steps), "DOOM_RAIL": RAIL}
    gateway = start(**BARE, **doom)
    payment = await TronPayer.at(gateway).payment()
    with pytest.raises(httpx.HTTPError):
        await TronPayer.at(gateway).post(payment)
    gateway.process.wait(timeout=10)

    healed = TronPayer.at(start(**BARE))
    again = await healed.post(payment)

    assert again.status_code == 200, again.text
    assert await healed.balance() == 100_000
    assert await held(healed, payment["accepted"]["payTo"]) == 100_000


async def held(payer: TronPayer, address: str) -> int:
    """How much USDT an address has on the chain."""
    answer = await payer.node(
        "wallet/triggerconstantcontract",
        owner_address=address,
        contract_address="TR7NHqjeKQxGTCi8q8ZY4pL8otSzgjLj6t",
        function_selector="balanceOf(address)",
        parameter=to_hex_address(address)[2:].rjust(64, "0"),
        visible=True,
    )
    return int(answer["constant_result"][0], 16)


async def head_of(payer: TronPayer) -> int:
    head = await payer.node("wallet/getnowblock")
    return int(head["block_header"]["raw_data"]["number"])


async def until_moved(payer: TronPayer, before: int) -> None:
    """Wait until the chain has one more block than `before`, for ten seconds at most."""
    for _ in range(200):
        if await head_of(payer) > before:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the chain never moved")
