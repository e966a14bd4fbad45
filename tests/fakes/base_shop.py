"""A shop on Base that carries its payments itself, on a chain of its own (anvil)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.ports.payments import PaymentRail, Purchase
from tests.fakes.base_anvil import OwnShop, own_shop, payment_for
from tests.fakes.sandbox import signed_header
from tests.fakes.shop import MUCH, Shop


@asynccontextmanager
async def x402_own_on_anvil() -> AsyncIterator[Shop]:
    async with own_shop(funds=MUCH, receipt_wait_ms=300) as own:
        yield _shop(own)


def _shop(own: OwnShop) -> Shop:
    nodes = (own.node, own.reading)

    def restarted() -> PaymentRail:
        own.restart()
        return own.rail

    async def pay(purchase: Purchase) -> dict[str, str]:
        challenge = await own.rail.challenge(purchase)
        return signed_header(await payment_for(challenge, own.buyer))

    def switch_off() -> None:
        for node in nodes:
            node.deaf.add("*")

    def mend() -> None:
        for node in nodes:
            node.deaf.clear()
            node.mute.clear()

    return Shop(
        rail=own.rail,
        restarted=restarted,
        pay=pay,
        garbage={"payment-signature": "bm90IGEgcGF5bWVudA=="},
        received=own.received,
        expire=lambda: own.chain.pass_time(200),
        switch_off=switch_off,
        lose_answers=lambda: own.node.mute.update(
            ("eth_sendRawTransaction", "eth_getTransactionReceipt")
        ),
        hide_the_chain=lambda: own.reading.deaf.add("*"),
        mend=mend,
    )


BASE_SHOPS = (x402_own_on_anvil,)
