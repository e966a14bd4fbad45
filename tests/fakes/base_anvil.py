"""Base on anvil: our token at USDC's address, and our own facilitator as production has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from eth_abi.abi import encode
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils.crypto import keccak
from x402.client import x402Client
from x402.http.utils import decode_payment_required_header
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner
from x402.schemas import PaymentPayload

from adapters.clock import SystemClock
from adapters.rails.chain import EvmChainReader
from adapters.rails.evm_sender import Sender
from adapters.rails.evm_signer import GasKeySigner
from adapters.rails.networks import BASE
from adapters.rails.node_line import NodeLine
from adapters.rails.own_facilitator import OwnFacilitator
from adapters.rails.rpc import HttpRpc
from adapters.rails.x402 import X402Rail
from adapters.sandbox.anvil import Anvil
from adapters.sandbox.evm import MINTER, USDC, token_code
from domain.money import Microcredits
from domain.ports.payments import Challenge, Proof, Purchase
from tests.fakes.anvil import anvil_or_skip
from tests.fakes.sandbox import PAY_TO, THROWAWAY_KEY, signed_header, submission

# Throwaway: 32 bytes of 0x02. It pays gas on test chains.
GAS_KEY = "0x" + "02" * 32
GAS_WEI = 10**18
FUNDS = 5_000_000
_WAIT_TRIES = 3_000
URL = "http://gateway.test/v1/credits/purchase"


async def payment_for(challenge: Challenge, buyer: LocalAccount) -> PaymentPayload:
    """What the official client signs for a challenge."""
    client = register_exact_evm_client(x402Client(), EthAccountSigner(buyer))
    required = decode_payment_required_header(challenge.headers["PAYMENT-REQUIRED"])
    payment = await client.create_payment_payload(required)
    assert isinstance(payment, PaymentPayload)
    return payment


@dataclass
class BaseChain:
    """A chain with the token, where anybody's account can be spoken for."""

    anvil: Anvil

    async def number(self, method: str, *params: object) -> int:
        return int(str(await self.anvil.call(method, list(params))), 16)

    async def place(self, address: str, code: bytes) -> None:
        await self.anvil.call("anvil_setCode", [address, "0x" + code.hex()])

    async def give_gas(self, address: str, wei: int = GAS_WEI) -> None:
        await self.anvil.call("anvil_setBalance", [address, hex(wei)])

    async def gas(self, address: str) -> int:
        return await self.number("eth_getBalance", address, "latest")

    async def sent(self, address: str) -> int:
        """How many transactions of this account are mined."""
        return await self.number("eth_getTransactionCount", address, "latest")

    async def send(self, caller: str, to: str, data: bytes, *, wait: bool = True) -> str:
        """A transaction in anybody's name, mined when this returns, unless nobody waits."""
        await self.give_gas(caller)
        await self.anvil.call("anvil_impersonateAccount", [caller])
        call = {
            "from": caller,
            "to": to,
            "data": "0x" + data.hex(),
            "gas": hex(500_000),
            # Nobody's transaction displaces it for a better price.
            "gasPrice": hex(50 * 10**9),
        }
        tell = self.anvil.call if wait else self.anvil.ask
        return str(await tell("eth_sendTransaction", [call]))

    async def mint(self, address: str, amount: int) -> None:
        selector = keccak(text="mint(address,uint256)")[:4]
        await self.send(MINTER, USDC, selector + encode(["address", "uint256"], [address, amount]))

    async def balance(self, address: str) -> int:
        selector = keccak(text="balanceOf(address)")[:4]
        call = {"to": USDC, "data": "0x" + (selector + encode(["address"], [address])).hex()}
        return await self.number("eth_call", call, "latest")

    async def waiting(self, count: int) -> None:
        """Return when so many transactions wait for a block."""
        for _ in range(_WAIT_TRIES):
            if await self._pending() >= count:
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"{count} transactions never came")

    async def _pending(self) -> int:
        status = await self.anvil.ask("txpool_status", [])
        assert isinstance(status, dict)
        return int(status["pending"], 16)

    async def submit(self, payment: PaymentPayload) -> str:
        """What anybody can do who sees a payment: carry it to the chain themselves."""
        return await self.send(Account.create().address, USDC, submission(payment))

    async def pass_time(self, seconds: int) -> None:
        await self.anvil.call("evm_increaseTime", [seconds])
        await self.anvil.call("evm_mine", [])


@asynccontextmanager
async def base_on_anvil(*words: str) -> AsyncIterator[BaseChain]:
    """A chain of its own, gone at the end; the test is skipped where there is no anvil."""
    async with Anvil.started(anvil_or_skip(), *words, chain_id=BASE.chain_id) as anvil:
        chain = BaseChain(anvil)
        await chain.place(USDC, token_code())
        # The first block's time is not yet the world's.
        await anvil.call("evm_mine", [])
        yield chain


@dataclass
class FlakyNode:
    """A node between us and the chain that fails as it is told, method by method.

    `deaf`: it hangs up before it has passed the call on, `*` is all; `mute`: after that.
    `refusals`: its error for a method, once each. `counted_beyond`: so many more transactions are
    pending than it has. `counts_mined_only`: it counts none that are pending. `before_send`: what
    happens once while a transaction is on its way. `sent`: the transactions as they came, signed.
    """

    chain: BaseChain
    deaf: set[str] = field(default_factory=set)
    mute: set[str] = field(default_factory=set)
    refusals: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)
    counted_beyond: int = 0
    counts_mined_only: bool = False
    before_send: Callable[[], Awaitable[object]] | None = None
    _asked: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def heard(self, method: str, times: int) -> None:
        """Return when the method was called so often."""
        async with self._asked:
            await self._asked.wait_for(lambda: self.asked.count(method) >= times)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        call = json.loads(await request.read())
        method = call["method"]
        async with self._asked:
            self.asked.append(method)
            self._asked.notify_all()
        if method == "eth_sendRawTransaction":
            self.sent.append(call["params"][0])
            if self.before_send is not None:
                meanwhile, self.before_send = self.before_send, None
                await meanwhile()
        if method in self.refusals:
            error = {"code": -32000, "message": self.refusals.pop(method)}
            return web.json_response({"jsonrpc": "2.0", "id": call["id"], "error": error})
        if method in self.deaf or "*" in self.deaf:
            return web.Response(status=502)
        if self.counts_mined_only and method == "eth_getTransactionCount":
            call["params"][1] = "latest"
        try:
            result = await self.chain.anvil.ask(method, call["params"])
        except ConnectionError as refused:
            # The data that comes with a real node's error is in its words here already.
            error = {"code": 3, "message": str(refused)}
            return web.json_response({"jsonrpc": "2.0", "id": call["id"], "error": error})
        if method == "eth_getTransactionCount" and call["params"][1] == "pending":
            result = hex(int(str(result), 16) + self.counted_beyond)
        if method in self.mute:
            return web.Response(status=502)
        return web.json_response({"jsonrpc": "2.0", "id": call["id"], "result": result})


@dataclass
class OwnShop:
    """A rail that carries its payments itself, and one funded buyer.

    It sends through `node` and looks up through `reading`.
    """

    chain: BaseChain
    node: FlakyNode
    reading: FlakyNode
    url: str
    stack: AsyncExitStack
    buyer: LocalAccount = field(default_factory=lambda: Account.from_key(THROWAWAY_KEY))
    gas_key: LocalAccount = field(default_factory=lambda: Account.from_key(GAS_KEY))
    receipt_wait_ms: int = 10_000
    resend_after_ms: int = 6_000

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A facilitator and a rail without memory."""
        line, clock = NodeLine(self.url), SystemClock()
        self.stack.callback(line.close)
        sender = Sender(
            line,
            self.gas_key,
            chain_id=BASE.chain_id,
            clock=clock,
            receipt_wait_ms=self.receipt_wait_ms,
            resend_after_ms=self.resend_after_ms,
            poll_ms=20,
        )
        signer = GasKeySigner(line, sender, address=self.gas_key.address, chain_id=BASE.chain_id)
        self.facilitator = OwnFacilitator(signer, BASE)
        self.stack.push_async_callback(self.facilitator.aclose)
        rpc = HttpRpc(f"{self.url}reading")
        self.stack.push_async_callback(rpc.aclose)
        self.reader = EvmChainReader(rpc, chain_id=BASE.chain_id)
        self.rail = X402Rail(
            pay_to=PAY_TO,
            network=BASE,
            facilitator=self.facilitator,
            chain=self.reader,
            clock=clock,
            confirm_wait_ms=20,
        )

    def purchase(self, amount: int = 100_000) -> Purchase:
        return Purchase(
            chain="evm",
            wallet=self.buyer.address.lower(),
            amount=Microcredits(amount),
            resource_url=URL,
        )

    async def pay(self, purchase: Purchase | None = None) -> PaymentPayload:
        challenge: Challenge = await self.rail.challenge(purchase or self.purchase())
        return await payment_for(challenge, self.buyer)

    async def decoded(self, payment: PaymentPayload) -> Proof:
        found = await self.rail.decode(signed_header(payment), self.purchase())
        assert found is not None
        return found

    async def proof(self) -> Proof:
        return await self.decoded(await self.pay())

    async def received(self) -> int:
        return await self.chain.balance(PAY_TO)

    async def gas_sent(self) -> int:
        """How many transactions the gas key has paid for."""
        return await self.chain.sent(self.gas_key.address)


@asynccontextmanager
async def own_shop(*words: str, funds: int = FUNDS, **waits_ms: int) -> AsyncIterator[OwnShop]:
    """Everything between a purchase and a chain, with nothing of the sandbox in it."""
    async with base_on_anvil(*words) as chain, AsyncExitStack() as stack:
        node, reading = FlakyNode(chain), FlakyNode(chain)
        app = web.Application()
        app.router.add_post("/", node.answer)
        app.router.add_post("/reading", reading.answer)
        server = await stack.enter_async_context(TestServer(app))
        shop = OwnShop(chain, node, reading, str(server.make_url("/")), stack, **waits_ms)
        await chain.give_gas(shop.gas_key.address)
        await chain.mint(shop.buyer.address, funds)
        yield shop
