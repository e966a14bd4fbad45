"""TRON wired as the program wires it, and the official client in front of it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agent_wallet.core.adapters.tron import TronSigner
from aiohttp import web
from aiohttp.test_utils import TestServer
from bankofai.x402.clients import X402Client
from bankofai.x402.mechanisms.tron.exact_permit import ExactPermitTronClientMechanism
from bankofai.x402.signers.client import TronClientSigner
from bankofai.x402.types import PaymentRequired
from coincurve import PrivateKey
from tronpy import AsyncTron
from tronpy.providers.async_http import AsyncHTTPProvider

from adapters.rails.tron import TronRail
from adapters.rails.tron_chain import TronChain
from adapters.rails.tron_desk import PermitDesk
from adapters.rails.tron_facilitator import HttpTronFacilitator, TronFacilitator
from adapters.rails.tron_networks import TRON_MAINNET
from adapters.rails.tron_node import HttpTronNode, TronNode
from adapters.rails.tron_payout import TronPayout
from adapters.rails.tron_permit import Permit
from adapters.rails.tron_terms import Permits, Quotes
from adapters.sandbox.faults import Faults
from adapters.sandbox.tron_facilitator import tron_facilitator_app
from adapters.sandbox.tron_network import SandboxTronNetwork, tron_wallet
from adapters.sandbox.wallets import ThrowawayWallet
from domain.money import Microcredits
from domain.ports.payments import Challenge, Proof, Purchase
from tests.fakes.anvil import anvil_or_skip
from tests.fakes.sandbox import JumpingClock
from tests.fakes.shop import MUCH, Shop

URL = "http://gateway.test/v1/credits/purchase/tron"
SEED = bytes(range(32))
FEE_MAX = 1_000
# Throwaway: 32 bytes of 0x11. Nobody should send anything to it.
BUYER_KEY = b"\x11" * 32
BUYER = "TCLBgkbfVkJroVBJVqBEsxtPNQEQMTQCLQ"
# Longer than a permit lives and the chain takes to be sure.
LONG_MS = 800_000


@dataclass
class TronSandbox:
    """A chain with one funded buyer, and the rail that is paid there."""

    network: SandboxTronNetwork
    node: TestServer
    clock: JumpingClock
    faults: Faults
    purse: int = MUCH
    client: X402Client = field(init=False)

    async def open(self, client: X402Client) -> None:
        await self.network.fund(BUYER, self.purse)
        self.rail = self.new_rail()
        self.client = client

    def new_rail(
        self,
        *,
        facilitator: TronFacilitator | None = None,
        node: TronNode | None = None,
        fee_max: int = FEE_MAX,
        seed: bytes = SEED,
        settle_timeout_ms: int = 30_000,
    ) -> TronRail:
        """A rail without memory, as after a restart."""
        parts = self._parts(facilitator, node, fee_max, seed, settle_timeout_ms)
        return TronRail(
            pay_to=self.network.pay_to,
            facilitator=facilitator or self.network.facilitator,
            clock=self.clock,
            **parts,
        )

    def new_payout(self, key: bytes | None = None) -> TronPayout:
        """Our hot wallet: the till's, unless another key is given."""
        secret = key or bytes.fromhex(self.network.till.secret_key)
        return TronPayout(key=PrivateKey(secret), **self._parts(None, None, FEE_MAX, SEED, 30_000))

    def _parts(
        self,
        facilitator: TronFacilitator | None,
        node: TronNode | None,
        fee_max: int,
        seed: bytes,
        settle_timeout_ms: int,
    ) -> dict[str, Any]:
        carrier = facilitator or self.network.facilitator
        chain = TronChain(node or self.network.reader, TRON_MAINNET)
        return {
            "network": TRON_MAINNET,
            "chain": chain,
            "desk": PermitDesk(
                rail="x402-tron",
                network=TRON_MAINNET,
                facilitator=carrier,
                chain=chain,
                clock=self.clock,
                settle_timeout_ms=settle_timeout_ms,
            ),
            "permits": Permits(seed=seed, network=TRON_MAINNET, clock=self.clock),
            "quotes": Quotes(
                rail="x402-tron",
                network=TRON_MAINNET,
                facilitator=carrier,
                clock=self.clock,
                fee_max=fee_max,
            ),
        }

    def purchase(self, amount: int = 100_000) -> Purchase:
        return Purchase(chain="tron", wallet=None, amount=Microcredits(amount), resource_url=URL)

    async def pay(self, purchase: Purchase | None = None) -> dict[str, Any]:
        """What the official client signs for our challenge, as JSON; it allows the contract."""
        return await self.answer(await self.rail.challenge(purchase or self.purchase()))

    async def answer(self, challenge: Challenge) -> dict[str, Any]:
        required = PaymentRequired(**decoded(challenge.headers["PAYMENT-REQUIRED"]))
        assert required.extensions is not None
        payment = await self.client.handle_payment(
            required.accepts, URL, required.extensions.model_dump(by_alias=True)
        )
        dumped: dict[str, Any] = payment.model_dump(by_alias=True)
        return dumped

    async def proof(self, amount: int = 100_000) -> Proof:
        """An honest payment, decoded."""
        purchase = self.purchase(amount)
        return await self.decoded(await self.pay(purchase), purchase)

    async def decoded(self, payment: dict[str, Any], purchase: Purchase | None = None) -> Proof:
        found = await self.rail.decode(signed_header(payment), purchase or self.purchase())
        assert found is not None
        return found

    async def received(self) -> int:
        return await self.network.balance(self.network.pay_to)


@asynccontextmanager
async def tron_sandbox(state: Path | None = None) -> AsyncIterator[TronSandbox]:
    """Open one on an anvil of its own; the test is skipped where there is none."""
    clock, faults = JumpingClock(), Faults()
    carrier = ThrowawayWallet(address="TBvJUBXorwBPzqvV38vjDgegj5Eh6g2Tsq", secret_key="22" * 32)
    async with SandboxTronNetwork.opened(
        anvil_or_skip(),
        clock,
        faults,
        networks=TRON_MAINNET.names,
        state=state,
        wallets=(tron_wallet(), tron_wallet(), carrier),
    ) as network:
        assert network.node is not None
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", network.node)
        async with (
            TestServer(app) as node,
            client_of(BUYER_KEY, str(node.make_url("/"))) as client,
        ):
            sandbox = TronSandbox(network, node, clock, faults)
            await sandbox.open(client)
            yield sandbox


@asynccontextmanager
async def client_of(key: bytes, node_url: str) -> AsyncIterator[X402Client]:
    """The official client with a wallet of its own, which knows TRON by this node."""
    wallet = TronSigner(key)
    signer = TronClientSigner(wallet)
    signer.set_address(wallet._address)
    provider = AsyncHTTPProvider(endpoint_uri=node_url)
    signer._async_tron_clients[TRON_MAINNET.name] = AsyncTron(provider=provider)
    yield X402Client().register("tron:*", ExactPermitTronClientMechanism(signer))
    await provider.client.aclose()


def changed(payment: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The payment with one field of its permit changed, under the old signature."""
    copy: dict[str, Any] = json.loads(json.dumps(payment))
    fields = copy["payload"]["paymentPermit"]
    *parents, name = path.split(".")
    for parent in parents:
        fields = fields[parent]
    fields[name] = value
    return copy


def signed_again(payment: dict[str, Any], key: bytes = BUYER_KEY) -> dict[str, Any]:
    """The payment signed for what it says now."""
    copy: dict[str, Any] = json.loads(json.dumps(payment))
    permit = Permit.parse(copy["payload"]["paymentPermit"])
    copy["payload"]["signature"] = permit.signed_by(PrivateKey(key), TRON_MAINNET)
    return copy


def signed_header(payment: dict[str, Any]) -> dict[str, str]:
    raw = json.dumps(payment).encode()
    return {"payment-signature": base64.b64encode(raw).decode("ascii")}


def decoded(header: str) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(base64.b64decode(header))
    return whole


def tron_shop(sandbox: TronSandbox, restarted: Callable[[], TronRail]) -> Shop:
    faults = sandbox.faults

    async def pay(purchase: Purchase) -> dict[str, str]:
        return signed_header(await sandbox.pay(purchase))

    async def expire() -> None:
        sandbox.clock.advance(LONG_MS)

    def mend() -> None:
        faults.facilitator_down = faults.lose_answer = faults.chain_unreadable = False

    return Shop(
        rail=restarted(),
        restarted=restarted,
        pay=pay,
        garbage={"payment-signature": "bm90IGEgcGF5bWVudA=="},
        received=sandbox.received,
        expire=expire,
        switch_off=lambda: setattr(faults, "facilitator_down", True),
        lose_answers=lambda: setattr(faults, "lose_answer", True),
        hide_the_chain=lambda: setattr(faults, "chain_unreadable", True),
        mend=mend,
        chain="tron",
        wallet=BUYER,
        remembers_terms=False,
    )


@asynccontextmanager
async def tron_in_process() -> AsyncIterator[Shop]:
    async with tron_sandbox() as sandbox:
        yield tron_shop(sandbox, sandbox.new_rail)


@asynccontextmanager
async def tron_over_http() -> AsyncIterator[Shop]:
    async with tron_sandbox() as sandbox:
        asked = web.Application()
        asked.router.add_post("/{tail:.*}", _read_by_us(sandbox))
        async with (
            TestServer(tron_facilitator_app(sandbox.network.facilitator)) as far,
            TestServer(asked) as far_node,
        ):
            facilitator = HttpTronFacilitator(str(far.make_url("")), timeout_ms=10_000)
            node = HttpTronNode(str(far_node.make_url("")))
            yield tron_shop(sandbox, lambda: sandbox.new_rail(facilitator=facilitator, node=node))
            await facilitator.aclose()
            await node.aclose()


def _read_by_us(sandbox: TronSandbox) -> Any:  # noqa: ANN401 (an aiohttp handler)
    """The node as a far one that can be switched off."""

    async def answer(request: web.Request) -> web.Response:
        try:
            said = await sandbox.network.reader.ask(
                request.match_info["tail"], await request.json()
            )
        except ConnectionError:
            return web.json_response({}, status=503)
        return web.json_response(said)

    return answer


TRON_SHOPS = (tron_in_process, tron_over_http)
