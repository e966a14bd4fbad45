"""A Tempo chain wired as the program wires it, with one payer who holds a dollar."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from eth_account import Account

from adapters.sandbox.faults import Faults
from adapters.sandbox.tempo import TempoSandbox
from adapters.sandbox.wallets import ThrowawayWallet
from tests.fakes.anvil import anvil_or_skip
from tests.fakes.mpp_payer import PAY_TO, THROWAWAY_KEY, Payer
from tests.fakes.sandbox import JumpingClock
from tests.fakes.shop import MUCH, Shop


@dataclass
class Tempo:
    """The chain, the clock it goes by, and the payer at the rail that is paid there."""

    chain: TempoSandbox
    clock: JumpingClock
    faults: Faults
    payer: Payer

    async def sent(self, raw: str) -> str:
        """Send a transaction as its payer would, past the gateway; its hash."""
        return str(await self.chain._forward("eth_sendRawTransaction", [raw]))

    async def received(self) -> int:
        """What we were paid so far, in base units."""
        return await self.chain.balance(PAY_TO)


@asynccontextmanager
async def tempo() -> AsyncIterator[Tempo]:
    """A chain of its own; skips where there is no anvil."""
    clock, faults = JumpingClock(), Faults()
    address = Account.from_key(THROWAWAY_KEY).address
    wallet = ThrowawayWallet(address=address, secret_key=THROWAWAY_KEY)
    async with TempoSandbox.started(
        anvil_or_skip(), clock, faults, pay_to=PAY_TO, wallet=wallet
    ) as chain:
        running = Tempo(chain, clock, faults, Payer(chain, clock))
        await chain.fund(address, MUCH)
        yield running


@asynccontextmanager
async def mpp_on_tempo() -> AsyncIterator[Shop]:
    """For the suite of all rails."""
    async with tempo() as running:
        faults = running.faults

        async def expire() -> None:
            running.clock.advance(400_000)

        def mend() -> None:
            faults.facilitator_down = faults.lose_answer = faults.chain_unreadable = False

        yield Shop(
            rail=running.payer.new_rail(),
            restarted=running.payer.new_rail,
            pay=running.payer.pay,
            garbage={"authorization": "Payment bm90IGEgcGF5bWVudA"},
            received=running.received,
            expire=expire,
            switch_off=lambda: setattr(faults, "facilitator_down", True),
            lose_answers=lambda: setattr(faults, "lose_answer", True),
            hide_the_chain=lambda: setattr(faults, "chain_unreadable", True),
            mend=mend,
            remembers_terms=False,
            receipt_header="Cache-Control",
        )
