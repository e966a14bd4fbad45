"""TRON as play money: its chain, its node for clients, a wallet to pay with, a facilitator."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from tronpy.keys import PrivateKey

from adapters.sandbox.anvil import Anvil
from adapters.sandbox.faults import Faults
from adapters.sandbox.tron_chain import CHAIN_ID, PERMIT, USDT, WORDS, SandboxTron, selector
from adapters.sandbox.tron_facilitator import SandboxTronFacilitator
from adapters.sandbox.tron_node import SandboxTronNode
from adapters.sandbox.tron_transactions import account_of
from adapters.sandbox.wallets import ThrowawayWallet
from domain.ports.clock import Clock

# What a wallet needs for the transactions that it sends itself, in suns: 100 TRX.
TRX_GIVEN = 100_000_000
_WORD = 32
_EVERYTHING = 2**256 - 1


class SandboxTronNetwork:
    """Implements `SandboxNetwork` on anvil.

    `wallet` is the customer's; it holds dollars and TRX and has allowed nothing yet: clients do
    that themselves. `till` is whom they pay, and who pays back.
    """

    name = "tron"
    chain = "tron"

    def __init__(
        self,
        chain: SandboxTron,
        clock: Clock,
        faults: Faults,
        *,
        networks: tuple[str, ...],
        wallet: ThrowawayWallet,
        till: ThrowawayWallet,
        carrier: ThrowawayWallet,
    ) -> None:
        self.networks = networks
        self.wallet = wallet
        self.till = till
        self.pay_to = till.address
        self.reader = SandboxTronNode(chain, clock, faults)
        self.node: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = self.reader.serve
        self.facilitator = SandboxTronFacilitator(
            self.reader, clock, faults, key=bytes.fromhex(carrier.secret_key)
        )
        self._chain = chain

    @classmethod
    @asynccontextmanager
    async def opened(
        cls,
        binary: Path,
        clock: Clock,
        faults: Faults,
        *,
        networks: tuple[str, ...],
        state: Path | None,
        wallets: tuple[ThrowawayWallet, ThrowawayWallet, ThrowawayWallet],
    ) -> AsyncIterator[SandboxTronNetwork]:
        """Run its chain until the block is left; a new one on the same state file is the same.

        The wallets are the customer's, our till's and the facilitator's.
        """
        async with Anvil.started(binary, *WORDS, chain_id=CHAIN_ID, state=state) as anvil:
            chain = SandboxTron(anvil, clock)
            await chain.open()
            wallet, till, carrier = wallets
            network = cls(
                chain, clock, faults, networks=networks, wallet=wallet, till=till, carrier=carrier
            )
            await network._let_the_till_pay_back()
            yield network

    async def fund(self, address: str, amount: int) -> str:
        """Mint dollars, and give TRX to whoever has none; returns the minting transaction."""
        holder = account_of(address)
        if amount <= 0:
            msg = f"expected a positive amount (got {amount})"
            raise ValueError(msg)
        if await self._chain.suns(holder) == 0:
            await self._chain.give(holder, TRX_GIVEN)
        return await self._chain.mint(holder, amount)

    async def balance(self, address: str) -> int:
        data = selector("balanceOf(address)") + account_of(address).rjust(_WORD, b"\0")
        return int.from_bytes(await self._chain.read(to=USDT, data=data, owner=PERMIT))

    async def _let_the_till_pay_back(self) -> None:
        till = account_of(self.till.address)
        asked = till.rjust(_WORD, b"\0") + PERMIT.rjust(_WORD, b"\0")
        allowed = await self._chain.read(
            to=USDT, data=selector("allowance(address,address)") + asked, owner=till
        )
        if not any(allowed):
            data = PERMIT.rjust(_WORD, b"\0") + _EVERYTHING.to_bytes(_WORD)
            await self._chain.run(
                transaction=os.urandom(_WORD).hex(),
                owner=till,
                to=USDT,
                data=selector("approve(address,uint256)") + data,
            )


def tron_wallet(path: Path | None = None) -> ThrowawayWallet:
    """A TRON wallet, kept in this file if one is named; its secret is 64 hex digits."""
    secret = os.urandom(_WORD).hex()
    if path is not None:
        if not path.exists():
            part = path.with_name(path.name + ".part")
            part.write_text(secret, encoding="ascii")
            part.chmod(0o600)
            part.replace(path)
        secret = path.read_text(encoding="ascii").strip()
    key = PrivateKey(bytes.fromhex(secret))
    return ThrowawayWallet(address=str(key.public_key.to_base58check_address()), secret_key=secret)
