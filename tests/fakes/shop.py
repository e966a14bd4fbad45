"""A way to pay with one wallet of a dollar at its door, and the switches that it has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp.test_utils import TestServer

from adapters.rails.facilitator import HttpFacilitator
from adapters.rails.rpc import HttpRpc
from adapters.sandbox.facilitator import facilitator_app
from adapters.sandbox.rpc import node_app
from domain.money import Microcredits
from domain.ports.payments import PaymentRail, Proof, Purchase
from tests.fakes.rail import HEADER, CashRail
from tests.fakes.sandbox import JumpingClock, Sandbox, signed_header

EVM_WALLET = "0x1a642f0e3c3af545e7acbd38b07251b3990914f1"
PRICE = 100_000
MUCH = 1_000_000
BODY = b'{"amount_usd": 0.1}'


@dataclass(kw_only=True)
class Shop:
    """A rail, a wallet with `MUCH` at its door, and how to spoil things.

    `pay` answers the rail's challenge as an honest client does, and gives the headers. `received`
    is what came in so far. `expire` lets so much time pass, on our clock and on the chain's, that
    no payment made before can land. `remembers_terms` is whether a challenge is the same again for
    the same purchase.
    """

    rail: PaymentRail
    restarted: Callable[[], PaymentRail]
    pay: Callable[[Purchase], Awaitable[dict[str, str]]]
    garbage: dict[str, str]
    received: Callable[[], Awaitable[int]]
    expire: Callable[[], Awaitable[None]]
    switch_off: Callable[[], None]
    lose_answers: Callable[[], None]
    hide_the_chain: Callable[[], None]
    mend: Callable[[], None]
    chain: str = "evm"
    wallet: str = EVM_WALLET
    remembers_terms: bool = True
    receipt_header: str = "PAYMENT-RESPONSE"

    async def proof(self, amount: int = PRICE) -> Proof:
        """An honest payment, decoded."""
        purchase = self.purchase(amount)
        found = await self.rail.decode(await self.pay(purchase), purchase)
        assert found is not None
        return found

    def purchase(self, amount: int = PRICE) -> Purchase:
        return Purchase(
            chain=self.chain,
            wallet=self.wallet,
            amount=Microcredits(amount),
            resource_url="http://shop.test/",
            content=BODY,
        )


@asynccontextmanager
async def cash() -> AsyncIterator[Shop]:
    clock = JumpingClock()
    rail = CashRail(clock)
    rail.purses[EVM_WALLET] = MUCH
    numbers = iter(range(1, 100))

    async def pay(purchase: Purchase) -> dict[str, str]:
        return rail.coin(purchase, number=next(numbers))

    async def received() -> int:
        return sum(taken.amount.value for taken in rail.till.values())

    def mend() -> None:
        rail.down = rail.loses_answers = rail.unreadable = False

    yield Shop(
        rail=rail,
        restarted=lambda: rail,
        pay=pay,
        garbage={HEADER: "not a coin"},
        received=received,
        expire=lambda: _pass_time(clock),
        switch_off=lambda: setattr(rail, "down", True),
        lose_answers=lambda: setattr(rail, "loses_answers", True),
        hide_the_chain=lambda: setattr(rail, "unreadable", True),
        mend=mend,
    )


def x402_shop(sandbox: Sandbox, restarted: Callable[[], PaymentRail]) -> Shop:
    faults = sandbox.faults

    async def pay(purchase: Purchase) -> dict[str, str]:
        return signed_header(await sandbox.pay(purchase))

    async def received() -> int:
        return sandbox.received()

    def mend() -> None:
        faults.facilitator_down = faults.lose_answer = faults.chain_unreadable = False

    return Shop(
        rail=restarted(),
        restarted=restarted,
        pay=pay,
        garbage={"payment-signature": "bm90IGEgcGF5bWVudA=="},
        received=received,
        expire=lambda: _pass_time(sandbox.clock),
        switch_off=lambda: setattr(faults, "facilitator_down", True),
        lose_answers=lambda: setattr(faults, "lose_answer", True),
        hide_the_chain=lambda: setattr(faults, "chain_unreadable", True),
        mend=mend,
    )


@asynccontextmanager
async def x402_in_process() -> AsyncIterator[Shop]:
    sandbox = Sandbox()
    yield x402_shop(sandbox, sandbox.new_rail)


@asynccontextmanager
async def x402_over_http() -> AsyncIterator[Shop]:
    sandbox = Sandbox()
    async with (
        TestServer(facilitator_app(sandbox.facilitator)) as far_facilitator,
        TestServer(node_app(sandbox.node)) as far_node,
    ):
        facilitator = HttpFacilitator(str(far_facilitator.make_url("")), timeout_ms=10_000)
        rpc = HttpRpc(str(far_node.make_url("/")))
        yield x402_shop(sandbox, lambda: sandbox.new_rail(facilitator=facilitator, rpc=rpc))
        await facilitator.aclose()
        await rpc.aclose()


async def _pass_time(clock: JumpingClock) -> None:
    clock.advance(200_000)


SHOPS = (cash, x402_in_process, x402_over_http)
